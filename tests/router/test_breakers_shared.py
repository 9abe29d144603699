"""`Breakers` of several processes over one `SharedState`, as two registries stand for them."""

from __future__ import annotations

import asyncio
import random
import threading
from itertools import pairwise

import pytest

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.breaker import CLOSED, HALF_OPEN, OPEN, BreakerRules, Permit, Refused
from rag_memory_plugins.router.breakers import Breakers
from rag_memory_plugins.stores.local_state import LocalState

PATIENCE = 60.0  # that none of these tests runs into


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


class Watched(LocalState):
    """Counts what it is asked, and does what a test wants before it answers."""

    def __init__(self, clock):
        super().__init__(clock)
        self.asked = []
        self.first = None

    async def aget(self, key):
        self.asked.append("get")
        if self.first is not None:
            await self.first("get")
        return await super().aget(key)

    async def aswap(self, key, expected, numbers, seconds):
        self.asked.append("swap")
        if self.first is not None:
            await self.first("swap")
        swapped = await super().aswap(key, expected, numbers, seconds)
        if self.first is not None:
            await self.first("swapped")
        return swapped


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(clock):
    return Watched(clock)


@pytest.fixture
def two(state, clock):
    return tuple(Breakers(state, clock=clock, patience=PATIENCE) for _ in range(2))


async def half_open(two, clock):
    """Both know that it is open, and its end is past."""
    one, other = two
    permits = await one.aallow("k"), await other.aallow("k")
    one.failed(permits[0], at_once=True, cool_down=60)
    await one.adrain()
    clock.now += 2
    assert isinstance(await one.aallow("k"), Refused)
    await other.aallow("k")
    await other.adrain()
    assert isinstance(await other.aallow("k"), Refused)
    clock.now += 60
    return permits


async def test_while_it_is_closed_only_the_first_call_waits_and_the_state_is_asked_once_a_second(
    two, state, clock
):
    one, _ = two
    for number in range(1, 4):
        for _ in range(100):
            one.succeeded(await one.aallow("k"))
        await one.adrain()
        assert state.asked == ["get"] * number
        clock.now += 1.001


async def test_a_call_of_a_closed_breaker_never_waits_for_a_state_that_hangs(two, state, clock):
    one, _ = two
    await one.aallow("k")
    held = threading.Event()

    async def hang(step):
        assert await asyncio.to_thread(held.wait, 10)

    state.first = hang
    clock.now += 5
    with pytest.raises(StopIteration) as answered:
        one.aallow("k").send(None)
    assert answered.value.value == Permit("k", 0)
    held.set()
    await one.adrain()


async def test_a_process_that_begins_knows_before_its_first_call_what_the_others_know(two, clock):
    one, other = two
    one.failed(await one.aallow("k"), at_once=True, cool_down=60)
    await one.adrain()
    assert await other.aallow("k") == Refused(clock.now + 60, "open")


async def test_a_process_that_was_calling_learns_of_it_within_a_second(two, clock):
    one, other = two
    late = await other.aallow("k")
    one.failed(await one.aallow("k"), at_once=True, cool_down=60)
    await one.adrain()
    clock.now += 1.001
    assert isinstance(await other.aallow("k"), Permit)  # it looks behind this call
    await other.adrain()
    assert await other.aallow("k") == Refused(clock.now + 58.999, "open")
    other.succeeded(late)
    assert other.states()["k"].phase == OPEN


async def test_everybody_learns_that_the_probe_closed_it(two, clock):
    one, other = two
    await half_open(two, clock)
    probe = await one.aallow("k")
    assert probe.probe
    assert (await other.aallow("k")).why == "half-open"
    one.succeeded(probe)
    await one.adrain()
    clock.now += 1.001
    assert await other.aallow("k") == await one.aallow("k") == Permit("k", probe.generation)


async def test_everybody_learns_that_the_probe_failed(two, clock):
    one, other = two
    await half_open(two, clock)
    one.failed(await one.aallow("k"))
    await one.adrain()
    clock.now += 1.001
    assert await other.aallow("k") == Refused(clock.now - 1.001 + 20, "open")


async def test_a_probe_that_one_gives_back_another_gets(two, clock):
    one, other = two
    await half_open(two, clock)
    one.cancelled(await one.aallow("k"))
    await one.adrain()
    assert (await other.aallow("k")).probe
    assert (await one.aallow("k")).why == "half-open"


async def test_of_128_tasks_of_two_processes_one_gets_the_probe(two, clock, state):
    await half_open(two, clock)
    chance = random.Random(7)

    async def dawdle(step):
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    state.first = dawdle
    answers = await asyncio.gather(*(each.aallow("k") for _ in range(64) for each in two))
    assert sum(isinstance(answer, Permit) for answer in answers) == 1


async def test_of_64_tasks_of_one_process_one_asks_the_state(two, clock, state):
    await half_open(two, clock)
    state.asked.clear()
    answers = await asyncio.gather(*(two[0].aallow("k") for _ in range(64)))
    assert state.asked == ["get", "swap"]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert {(answer.why, answer.until >= clock.now) for answer in refused} == {("half-open", True)}
    assert len(refused) == 63


def test_of_64_threads_of_two_processes_one_gets_the_probe(two, clock):
    asyncio.run(half_open(two, clock))
    answers, start = [], threading.Barrier(64)

    def one(breakers):
        start.wait()
        answers.append(asyncio.run(breakers.aallow("k")))

    threads = [threading.Thread(target=one, args=(two[number % 2],)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 64
    assert sum(isinstance(answer, Permit) for answer in answers) == 1


async def test_the_longer_cool_down_of_two_processes_stands(two, clock):
    for first, last in ((60, 120), (120, 60)):
        permits = [await each.aallow("k") for each in two]
        for each, permit, seconds in zip(two, permits, (first, last), strict=True):
            each.failed(permit, at_once=True, cool_down=seconds)
        for each in two:
            await each.adrain()
        clock.now += 119
        for each in two:
            assert await each.aallow("k") == Refused(clock.now + 1, "open")
        clock.now += 1
        two[0].succeeded(await two[0].aallow("k"))
        await two[0].adrain()
        assert await two[1].aallow("k") == await two[0].aallow("k")


async def test_a_late_failure_does_not_open_what_others_saw_open_and_close(two, clock, state):
    one, other = two
    late = await other.aallow("k")
    one.failed(await one.aallow("k"), at_once=True, cool_down=60)
    await one.adrain()
    clock.now += 60
    probe = await one.aallow("k")
    one.succeeded(probe)
    await one.adrain()
    clock.now += 5
    shared = await state.aget("breaker/k")
    other.failed(late, at_once=True, cool_down=60)
    await other.adrain()
    assert await state.aget("breaker/k") == shared
    assert await other.aallow("k") == await one.aallow("k") == Permit("k", probe.generation)


async def test_failures_are_counted_by_each_process_and_cost_no_look(two, state):
    permits = [await each.aallow("k") for each in two]
    asked = list(state.asked)
    for each, permit in zip(two, permits, strict=True):
        each.failed(permit)
        each.failed(permit)
    assert state.asked == asked
    two[0].failed(permits[0])
    await two[0].adrain()
    assert await state.akeys("") == ["breaker/k"]


async def test_what_happens_while_the_state_is_slow_is_told_in_one_go(two, clock, state):
    one, other = two
    await half_open(two, clock)
    probe = await one.aallow("k")
    held = threading.Event()

    async def hang(step):
        assert await asyncio.to_thread(held.wait, 10)

    state.first = hang
    one.succeeded(probe)
    one.failed(probe)
    assert str(one.states()["k"]) == "closed"
    held.set()
    await one.adrain()
    clock.now += 1.001
    assert one.states()["k"].failures == 1
    assert await state.aget("breaker/k") == {"generation": probe.generation}
    assert await other.aallow("k") == Permit("k", probe.generation)


async def test_a_call_cancelled_while_it_asks_gives_back_the_probe_it_wins(two, clock, state):
    one, other = two
    await half_open(two, clock)
    won, held, released = threading.Event(), threading.Event(), threading.Event()

    async def hang(step):
        if step == "swapped" and not won.is_set():
            won.set()
            assert await asyncio.to_thread(held.wait, 10)
        elif step == "swapped":
            released.set()

    state.first = hang
    asking = asyncio.create_task(one.aallow("k"))
    assert await asyncio.to_thread(won.wait, 10)
    assert (await other.aallow("k")).why == "half-open"
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    held.set()
    assert await asyncio.to_thread(released.wait, 10)
    clock.now += 1.001
    assert (await other.aallow("k")).probe


async def test_a_probe_whose_process_ended_is_given_up_after_its_lease(two, clock):
    one, other = two
    await half_open(two, clock)
    lost = await one.aallow("k", lease=30)
    clock.now += 29.9
    assert await other.aallow("k") == Refused(clock.now + 0.1, "half-open")
    clock.now += 0.1
    probe = await other.aallow("k")
    assert probe.probe
    assert probe.generation > lost.generation
    one.succeeded(lost)  # it was only slow: what it says counts no more
    await one.adrain()
    assert (await one.aallow("k")).why == "half-open"
    other.succeeded(probe)


@pytest.mark.parametrize("seed", range(12))
def test_under_random_schedules_of_two_processes_one_probe_is_out(seed, clock):
    """64 tasks; all on one loop, so that a seed is a schedule."""
    chance, state = random.Random(seed), Watched(clock)
    rules = BreakerRules(failures=2, cool_down=1, longest=4, longest_stated=6, lease=4)
    two = [Breakers(state, rules=rules, clock=clock, patience=PATIENCE) for _ in range(2)]
    probes: dict[int, float] = {}  # when each was given (ms, its generation) -> when it ended

    async def dawdle(step=""):
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)

    async def task(breakers):
        for _ in range(200):
            await dawdle()
            clock.now += chance.choice([0, 0, 0.01, 0.03])
            answer = await breakers.aallow("k")
            if isinstance(answer, Refused):
                assert answer.until <= clock.now + 6
                continue
            if answer.probe:
                assert answer.generation not in probes
                probes[answer.generation] = answer.generation + 3_900
            await dawdle()
            what = chance.choice(["succeeded", "failed", "failed", "cancelled", ""])
            if what and answer.probe:
                ended = min(probes[answer.generation], int(clock.now * 1_000))
                probes[answer.generation] = ended
            if what == "failed":
                stated = chance.choice([None, 0.5, 6])
                breakers.failed(answer, at_once=chance.random() < 0.5, cool_down=stated)
            elif what:
                getattr(breakers, what)(answer)

    async def story():
        state.first = dawdle
        await asyncio.gather(*(task(each) for each in two for _ in range(32)))
        state.first = None
        for each in two:
            await each.adrain()
        clock.now += 7
        answers = [await each.aallow("k") for each in two]
        assert any(isinstance(answer, Permit) for answer in answers), "blocked for ever"

    get_portal().call(story())
    assert len(probes) > 10
    given = sorted(probes)
    assert all(probes[one] <= following for one, following in pairwise(given)), "two are out"


class Failing(Watched):
    """Refuses everything while `down`."""

    down = True

    async def aget(self, key):
        if self.down:
            self.asked.append("get")
            raise StoreError("the state is down")
        return await super().aget(key)


@pytest.fixture
def failing(clock):
    return Failing(clock)


async def test_a_state_that_fails_is_told_and_left_alone_for_a_second(failing, clock):
    events = []
    breakers = Breakers(failing, clock=clock, hooks=(events.append,), patience=PATIENCE)
    for key in "abcabc":
        assert isinstance(await breakers.aallow(key), Permit)
    assert failing.asked == ["get"]
    [event] = events
    assert event.name == "breaker.degraded"
    assert event.data == {
        "key": "a",
        "error": "StoreError('the state is down')",
        "state": "Failing",
    }
    clock.now += 1
    await breakers.aallow("b")
    assert failing.asked == ["get"] * 2


async def test_without_its_state_a_breaker_opens_probes_and_closes_for_this_process(failing, clock):
    breakers = Breakers(failing, clock=clock, patience=PATIENCE)
    breakers.failed(await breakers.aallow("k"), at_once=True, cool_down=60)
    assert await breakers.aallow("k") == Refused(clock.now + 60, "open")
    clock.now += 60
    answers = await asyncio.gather(*(breakers.aallow("k") for _ in range(64)))
    [probe] = [answer for answer in answers if isinstance(answer, Permit)]
    breakers.succeeded(probe)
    assert isinstance(await breakers.aallow("k"), Permit)
    assert set(failing.asked) == {"get"}


async def test_what_happened_meanwhile_is_shared_when_the_state_is_back(failing, clock):
    one, other = (Breakers(failing, clock=clock, patience=PATIENCE) for _ in range(2))
    one.failed(await one.aallow("k"), at_once=True, cool_down=60)
    failing.down = False
    clock.now += 2
    assert await one.aallow("k") == Refused(clock.now + 58, "open")
    assert await other.aallow("k") == Refused(clock.now + 58, "open")


async def test_a_breaker_whose_opening_could_not_be_told_probes_and_closes(failing, clock):
    failing.down = False
    breakers = Breakers(failing, clock=clock, patience=PATIENCE)
    permit = await breakers.aallow("k")
    failing.down = True
    breakers.failed(permit, at_once=True, cool_down=60)
    await breakers.adrain()
    assert await breakers.aallow("k") == Refused(clock.now + 60, "open")
    failing.down = False
    clock.now += 60
    probe = await breakers.aallow("k")
    assert probe.probe
    breakers.succeeded(probe)
    await breakers.adrain()
    assert await breakers.aallow("k") == Permit("k", probe.generation)


async def test_that_it_closed_meanwhile_is_shared_too(two, failing, clock):
    failing.down = False
    one, other = (Breakers(failing, clock=clock, patience=PATIENCE) for _ in range(2))
    await half_open((one, other), clock)
    probe = await one.aallow("k")
    failing.down = True
    one.succeeded(probe)
    await one.adrain()
    failing.down = False
    assert (await other.aallow("k")).why == "half-open"
    clock.now += 1.001
    assert await one.aallow("k") == Permit("k", probe.generation)
    await one.adrain()
    assert await other.aallow("k") == Permit("k", probe.generation)


async def test_a_state_that_hangs_is_waited_for_no_longer_than_patience(state, clock):
    events = []
    breakers = Breakers(state, clock=clock, hooks=(events.append,), patience=0.01)

    async def hang(step):
        await asyncio.Event().wait()

    state.first = hang
    assert await breakers.aallow("k") == Permit("k", 0)
    breakers.failed(Permit("k", 0), at_once=True)
    assert (await breakers.aallow("k")).why == "open"
    assert [event.name for event in events] == ["breaker.degraded", "breaker.opened"]
    assert "TimeoutError" in str(events[0].data["error"])


async def test_numbers_that_are_no_breakers_are_told_and_not_followed(state, clock):
    events = []
    await state.aadd("breaker/k", {"phase": 9}, 60)
    breakers = Breakers(state, clock=clock, hooks=(events.append,), patience=PATIENCE)
    assert await breakers.aallow("k") == Permit("k", 0)
    assert "drop the key" in str(events[0].data["error"])


async def test_a_change_that_loses_every_compare_and_set_stands_here_and_is_told(state, clock):
    events = []
    breakers = Breakers(state, clock=clock, hooks=(events.append,), patience=PATIENCE)
    permit = await breakers.aallow("k")

    async def meddle(step):
        if step == "swap":
            await state.aadd("breaker/k", {"noise": 1}, 60)

    state.first = meddle
    breakers.failed(permit, at_once=True, cool_down=60)
    await breakers.adrain()
    assert state.asked.count("swap") == 5
    assert events[-1].name == "breaker.degraded"
    assert (await breakers.aallow("k")).why == "open"


async def test_numbers_that_were_lost_do_not_open_the_door_to_all(two, state, clock):
    await half_open(two, clock)
    await state.adrop(["breaker/k"])
    answers = [await each.aallow("k") for _ in range(3) for each in two]
    assert sum(isinstance(answer, Permit) for answer in answers) == 1


async def test_from_whatever_loop_it_is_asked_the_state_sees_the_portals(state, clock):
    loops = set()

    async def look(step):
        loops.add(asyncio.get_running_loop())

    state.first = look
    breakers = Breakers(state, clock=clock, patience=PATIENCE)
    permit = await breakers.aallow("k")
    breakers.failed(permit, at_once=True)
    await breakers.adrain()
    clock.now += 20
    probe = await asyncio.to_thread(lambda: asyncio.run(breakers.aallow("k")))
    assert probe.probe
    assert breakers.states()["k"].phase == HALF_OPEN
    breakers.succeeded(probe)
    assert breakers.states()["k"].phase == CLOSED
    await breakers.adrain()
    assert loops == {get_portal().loop}
