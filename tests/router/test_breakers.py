"""`Breakers` in one process: one probe under real concurrency, cancelled calls, bounds, events."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.portal import at_once
from rag_memory_plugins.router.breaker import CLOSED, OPEN, BreakerRules, Permit, Refused
from rag_memory_plugins.router.breakers import Breakers


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ask(breakers, key="k"):
    return at_once(breakers.aallow(key))


def half_open(breakers, clock, key="k"):
    """Open it, and let its cool-down pass."""
    breakers.failed(ask(breakers, key), at_once=True, cool_down=60)
    assert isinstance(ask(breakers, key), Refused)
    clock.now += 60


async def test_of_64_tasks_at_a_half_open_door_one_goes_in(clock):
    breakers = Breakers(clock=clock)
    half_open(breakers, clock)

    async def one():
        await asyncio.sleep(0)
        answer = await breakers.aallow("k")
        await asyncio.sleep(0)
        return answer

    for _ in range(3):
        answers = await asyncio.gather(*(one() for _ in range(64)))
        [probe] = [answer for answer in answers if isinstance(answer, Permit)]
        assert probe.probe
        breakers.failed(probe)
        clock.now = breakers.states()["k"].until / 1_000


def test_of_64_threads_at_a_half_open_door_one_goes_in(clock):
    breakers = Breakers(clock=clock)
    half_open(breakers, clock)
    answers, start = [], threading.Barrier(64)

    def one():
        start.wait()
        answers.append(ask(breakers))

    threads = [threading.Thread(target=one) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Permit) for answer in answers) == 1
    assert len(answers) == 64


async def test_calls_that_are_cancelled_open_nothing(clock):
    breakers = Breakers(clock=clock, rules=BreakerRules(failures=1))
    answered = asyncio.Event()

    async def call():
        permit = await breakers.aallow("k")
        try:
            await answered.wait()
        except asyncio.CancelledError:
            breakers.cancelled(permit)
            raise

    calls = [asyncio.create_task(call()) for _ in range(64)]
    await asyncio.sleep(0)
    for each in calls:
        each.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert all(each.cancelled() for each in calls)
    assert breakers.states()["k"].phase == CLOSED
    assert isinstance(ask(breakers), Permit)


def test_a_cancelled_probe_leaves_the_door_to_the_next(clock):
    breakers = Breakers(clock=clock)
    half_open(breakers, clock)
    probe = ask(breakers)
    assert isinstance(ask(breakers), Refused)
    breakers.cancelled(probe)
    following = ask(breakers)
    assert following.probe
    breakers.succeeded(following)
    assert ask(breakers) == Permit("k", following.generation)


def test_of_64_calls_that_fail_together_the_first_opens_and_the_longest_cool_down_stands(clock):
    breakers = Breakers(clock=clock)
    permits = [ask(breakers) for _ in range(64)]
    for number, permit in enumerate(permits):
        breakers.failed(permit, at_once=True, cool_down=60 + number % 8)
    assert ask(breakers) == Refused(clock.now + 67, "open")
    assert breakers.states()["k"].reopened == 0


def test_each_key_has_a_breaker_of_its_own(clock):
    breakers = Breakers(clock=clock)
    half_open(breakers, clock, "a")
    assert ask(breakers, "b") == Permit("b", 0)
    assert {key: state.phase for key, state in breakers.states().items()} == {
        "a": OPEN,
        "b": CLOSED,
    }


def test_over_the_most_keys_a_closed_breaker_goes_before_an_open_one(clock):
    breakers = Breakers(clock=clock, most_keys=3)
    breakers.failed(ask(breakers, "open"), at_once=True)
    breakers.failed(ask(breakers, "failing"))
    for number in range(20):
        ask(breakers, f"closed {number}")
    assert list(breakers.states()) == ["open", "failing", "closed 19"]


def test_there_are_never_more_breakers_than_the_most(clock):
    breakers = Breakers(clock=clock, most_keys=3)
    for number in range(20):
        breakers.failed(ask(breakers, f"{number}"), at_once=True)
    assert list(breakers.states()) == ["17", "18", "19"]
    breakers.succeeded(Permit("never asked", 0))
    assert len(breakers.states()) == 3


def test_opening_probing_and_closing_are_told(clock):
    events = []
    breakers = Breakers(clock=clock, hooks=(events.append,))
    half_open(breakers, clock)
    ask(breakers)
    breakers.succeeded(ask_probe(breakers, clock))
    breakers.failed(ask(breakers))
    assert [event.name for event in events] == [
        "breaker.opened",
        "breaker.half_open",
        "breaker.half_open",
        "breaker.closed",
    ]
    assert events[0].data == {"key": "k", "until": clock.now - 120, "reopened": 0}


def ask_probe(breakers, clock):
    clock.now += 120  # the probe before reports nothing
    return ask(breakers)


def test_a_cool_down_that_is_none_changes_nothing(clock):
    breakers = Breakers(clock=clock)
    permit = ask(breakers)
    with pytest.raises(InvalidInput, match=r"^cool_down: got"):
        breakers.failed(permit, at_once=True, cool_down=-5)
    assert breakers.states()["k"].phase == CLOSED


@pytest.mark.parametrize("wrong", [{"most_keys": 0}, {"most_keys": True}, {"patience": 0}])
def test_settings_that_cannot_be_kept_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Breakers(**wrong)


async def test_how_long_a_key_stays_open_is_told_without_asking_for_it() -> None:
    now = [1_000.0]
    breakers = Breakers(clock=lambda: now[0])
    assert breakers.open_for("a") == 0.0
    permit = await breakers.aallow("a")
    breakers.failed(permit, at_once=True, cool_down=30.0)
    now[0] += 10
    assert breakers.open_for("a") == pytest.approx(20.0)
    now[0] += 25
    assert breakers.open_for("a") == 0.0
    assert (await breakers.aallow("a")).probe
