"""`LocalState`: the port's own tests, and what is its alone: bounds, ends, threads."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rag_memory_plugins.errors import InvalidInput, StoreClosed
from rag_memory_plugins.stores.local_state import LocalState
from rag_memory_plugins.testing.shared_state import SharedStateConformance


def drive(coroutine):
    """What a coroutine that never waits returns, without the price of a loop."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


class TestLocalState(SharedStateConformance):
    async def aopen(self):
        self.now = 0.0
        return LocalState(clock=lambda: self.now)

    async def apass(self, seconds):
        self.now += seconds


KEYS = st.sampled_from(["a", "a/b", "a/c", "b", "", "ä"])


class LikeADict(RuleBasedStateMachine):
    """Whatever is done to it, it holds what a dict of (numbers, end) holds that looks every time."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.state = LocalState(clock=lambda: self.now)
        self.model: dict[str, tuple[dict[str, int], float]] = {}

    @rule(key=KEYS, amounts=st.dictionaries(st.sampled_from("xy"), st.integers()),
          seconds=st.sampled_from([0.5, 1, 7, 100, math.inf]))  # fmt: skip
    def add(self, key, amounts, seconds):
        drive(self.state.aadd(key, amounts, seconds))
        numbers = dict(self.alive().get(key, {}))
        for name, amount in amounts.items():
            numbers[name] = numbers.get(name, 0) + amount
        self.model[key] = (numbers, self.now + seconds)

    @rule(key=KEYS, other=st.booleans(),
          numbers=st.dictionaries(st.sampled_from("xy"), st.integers()),
          seconds=st.sampled_from([0.5, 1, 7, 100, math.inf]))  # fmt: skip
    def swap(self, key, other, numbers, seconds):
        held = self.alive().get(key, {})
        expected = {**held, "z": 1} if other else held
        assert drive(self.state.aswap(key, expected, numbers, seconds)) is not other
        if not other:
            self.model.pop(key, None)
            if numbers:
                self.model[key] = (dict(numbers), self.now + seconds)

    @rule(keys=st.lists(KEYS, max_size=3))
    def drop(self, keys):
        found = {key for key in keys if key in self.alive()}
        assert drive(self.state.adrop(keys)) == len(found)
        for key in found:
            del self.model[key]

    @rule(seconds=st.sampled_from([0.25, 0.5, 3, 50]))
    def wait(self, seconds):
        self.now += seconds

    @rule(prefix=st.sampled_from(["", "a", "a/", "c"]))
    def list_keys(self, prefix):
        found = sorted(key for key in self.alive() if key.startswith(prefix))
        assert drive(self.state.akeys(prefix)) == found

    @invariant()
    def holds_the_same(self):
        alive = self.alive()
        for key in ("a", "a/b", "a/c", "b", "", "ä"):
            assert drive(self.state.aget(key)) == alive.get(key, {})

    @invariant()
    def every_key_waits_for_one_end(self):
        waiting = [key for queue in self.state._queues.values() for key in queue]
        assert sorted(waiting) == sorted(self.state._entries)
        assert all(self.state._queues.values())

    def alive(self):
        return {key: numbers for key, (numbers, end) in self.model.items() if self.now < end}


TestLikeADict = LikeADict.TestCase


async def test_over_the_most_keys_the_one_changed_longest_ago_goes():
    state = LocalState(most_keys=3)
    for key in "abca":
        await state.aadd(key, {"x": 1}, 60)
    await state.aadd("d", {"x": 1}, 60)
    assert await state.akeys("") == ["a", "c", "d"]
    assert await state.aget("a") == {"x": 2}


async def test_keys_that_ended_are_freed_without_being_asked_for():
    now = 0.0
    state = LocalState(clock=lambda: now)
    for number in range(1_000):
        await state.aadd(f"old/{number}", {"x": 1}, 10)
    now = 20.0
    for _ in range(500):
        await state.aadd("new", {"x": 1}, 10)
    assert repr(state) == "LocalState(1 keys)"


async def test_a_key_that_ended_begins_anew_among_a_great_many_that_ended():
    now = 0.0
    state = LocalState(clock=lambda: now)
    for number in range(100):
        await state.aadd(str(number), {"x": 1}, 10)
    now = 20.0
    await state.aadd("99", {"y": 1}, 10)
    assert await state.aget("99") == {"y": 1}
    assert await state.akeys("") == ["99"]


async def test_keys_of_many_lifetimes_are_freed_too():
    now = 0.0
    state = LocalState(clock=lambda: now)
    for number in range(1, 201):
        await state.aadd(str(number), {"x": 1}, number)
    now = 300.0
    for _ in range(500):
        await state.aadd("new", {"x": 1}, 10)
    assert repr(state) == "LocalState(1 keys)"


async def test_a_key_that_lives_long_does_not_keep_the_others():
    now = 0.0
    state = LocalState(clock=lambda: now)
    await state.aadd("longer", {"x": 1}, 10_000)
    for number in range(20):
        await state.aadd(f"short/{number}", {"x": 1}, 10)
    now = 20.0
    for _ in range(20):
        await state.aadd("long", {"x": 1}, 10_000)
    assert repr(state) == "LocalState(2 keys)"


def test_threads_that_add_at_once_lose_nothing():
    state = LocalState()

    def add():
        for _ in range(2_000):
            drive(state.aadd("a", {"x": 1}, 60))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(state.aget("a")) == {"x": 8_000}


@pytest.mark.parametrize("seconds", [0, -1, math.nan, "9", None])
async def test_a_lifetime_that_is_none_is_refused(seconds):
    with pytest.raises(InvalidInput, match=r"^seconds: got"):
        await LocalState().aadd("a", {"x": 1}, seconds)


async def test_an_amount_that_is_no_whole_number_changes_nothing():
    state = LocalState()
    with pytest.raises(InvalidInput, match=r"^amounts\['y'\]: got 0.5"):
        await state.aadd("a", {"x": 1, "y": 0.5}, 60)
    assert await state.aget("a") == {}


async def test_a_swap_for_what_is_no_whole_number_changes_nothing():
    state = LocalState()
    with pytest.raises(InvalidInput, match=r"^numbers\['y'\]: got 0.5"):
        await state.aswap("a", {}, {"x": 1, "y": 0.5}, 60)
    with pytest.raises(InvalidInput, match=r"^seconds: got"):
        await state.aswap("a", {}, {"x": 1}, 0)
    assert await state.aget("a") == {}


def test_of_threads_that_expect_the_same_one_swaps():
    state, won = LocalState(), []

    def swap():
        won.extend(
            number
            for number in range(500)
            if drive(state.aswap("a", {"x": number} if number else {}, {"x": number + 1}, 60))
        )

    threads = [threading.Thread(target=swap) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(set(won)) == asyncio.run(state.aget("a"))["x"]


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "9"])
def test_a_number_of_keys_that_is_none_is_refused(most):
    with pytest.raises(InvalidInput, match=r"^most_keys: got"):
        LocalState(most_keys=most)


async def test_a_closed_state_refuses_every_question_and_may_be_closed_again():
    state = LocalState()
    await state.aclose()
    await state.aclose()
    for question in (
        state.aadd("a", {"x": 1}, 60),
        state.aswap("a", {}, {"x": 1}, 60),
        state.aget("a"),
        state.akeys(""),
        state.adrop(["a"]),
    ):
        with pytest.raises(StoreClosed, match="closed"):
            await question
