"""What every `SharedState` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rag_memory_plugins.ports import SharedState
from rag_memory_plugins.testing.conforming import SharedConformance

__all__ = ["SharedStateConformance"]

# Names that a pattern, a separator or a fold would take for another one.
_AWKWARD = (
    "a",
    "a/b",
    "a:b",
    "a*",
    "a?b",
    "[a]",
    "a\\b",
    "a b",
    "A",
    "a\u0301",
    "\u00e1",
    "\u4e00",
    "\U0001f600",
    "%2F",
    "_",
)


class SharedStateConformance(SharedConformance):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    `lifetime` is in seconds: an engine whose clock is real takes a short one.

    >>> from rag_memory_plugins.stores.local_state import LocalState
    >>> class TestLocalState(SharedStateConformance):
    ...     async def aopen(self):
    ...         self.now = 0.0
    ...         return LocalState(clock=lambda: self.now)
    ...     async def apass(self, seconds):
    ...         self.now += seconds
    >>> TestLocalState().test_amounts_are_added()
    """

    port = SharedState
    lifetime: ClassVar[float] = 60.0

    async def aopen(self) -> SharedState:
        """An empty state."""
        raise NotImplementedError

    async def apass(self, seconds: float) -> None:
        """Let time pass for the state: move its clock, or wait."""
        raise NotImplementedError

    def test_it_is_a_shared_state(self) -> None:
        async def story(state: SharedState) -> None:
            assert isinstance(state, SharedState)

        self._with(story)

    def test_a_key_that_was_never_changed_has_no_numbers(self) -> None:
        async def story(state: SharedState) -> None:
            assert await state.aget("a") == {}
            assert await state.akeys("") == []

        self._with(story)

    def test_amounts_are_added(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 2, "y": 1}, self.lifetime)
            await state.aadd("a", {"x": 3, "z": -4}, self.lifetime)
            assert await state.aget("a") == {"x": 5, "y": 1, "z": -4}

        self._with(story)

    def test_numbers_are_whole_beyond_what_a_float_holds(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 2**53}, self.lifetime)
            await state.aadd("a", {"x": 1}, self.lifetime)
            assert await state.aget("a") == {"x": 2**53 + 1}

        self._with(story)

    def test_what_was_read_is_the_readers_own(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            (await state.aget("a"))["x"] = 99
            assert await state.aget("a") == {"x": 1}

        self._with(story)

    def test_names_and_keys_are_kept_as_they_are(self) -> None:
        async def story(state: SharedState) -> None:
            for number, key in enumerate(_AWKWARD, 1):
                await state.aadd(key, {key: number}, self.lifetime)
            for number, key in enumerate(_AWKWARD, 1):
                assert await state.aget(key) == {key: number}
            assert await state.akeys("") == sorted(_AWKWARD)

        self._with(story)

    def test_a_prefix_is_a_prefix_and_no_pattern(self) -> None:
        async def story(state: SharedState) -> None:
            for key in _AWKWARD:
                await state.aadd(key, {"x": 1}, self.lifetime)
            for prefix in (*_AWKWARD, "", "a:", "nothing"):
                found = sorted(key for key in _AWKWARD if key.startswith(prefix))
                assert await state.akeys(prefix) == found

        self._with(story)

    def test_dropped_keys_are_forgotten_and_counted(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            await state.aadd("ab", {"x": 1}, self.lifetime)
            assert await state.adrop(["a", "nothing", "a"]) == 1
            assert await state.adrop([]) == 0
            assert await state.akeys("") == ["ab"]
            await state.aadd("a", {"y": 1}, self.lifetime)
            assert await state.aget("a") == {"y": 1}

        self._with(story)

    def test_a_key_ends_after_its_last_change(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            await state.aadd("b", {"x": 1}, self.lifetime)
            await self.apass(0.6 * self.lifetime)
            await state.aadd("a", {"x": 1}, self.lifetime)
            await self.apass(0.6 * self.lifetime)
            assert await state.aget("a") == {"x": 2}
            assert await state.aget("b") == {}
            assert await state.akeys("") == ["a"]
            assert await state.adrop(["b"]) == 0

        self._with(story)

    def test_a_later_change_may_bring_the_end_nearer(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, 100 * self.lifetime)
            await state.aadd("a", {"x": 1}, self.lifetime)
            await self.apass(1.2 * self.lifetime)
            assert await state.aget("a") == {}

        self._with(story)

    def test_a_key_that_ended_begins_anew(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 7}, self.lifetime)
            await self.apass(1.2 * self.lifetime)
            await state.aadd("a", {"y": 1}, self.lifetime)
            assert await state.aget("a") == {"y": 1}

        self._with(story)

    def test_no_update_is_lost_between_those_who_share_it(self) -> None:
        async def story(state: SharedState) -> None:
            other = await self.ashare(state)
            adds = [
                each.aadd("a", {"x": 1, f"of {number % 5}": 2}, self.lifetime)
                for number in range(50)
                for each in (state, other)
            ]
            await asyncio.gather(*adds)
            expected = {"x": 100, **{f"of {number}": 40 for number in range(5)}}
            assert await state.aget("a") == expected
            assert await other.aget("a") == expected
            if other is not state:
                await other.aclose()

        self._with(story)

    def test_what_is_expected_is_swapped_whole(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1, "y": 2}, self.lifetime)
            assert await state.aswap("a", {"y": 2, "x": 1}, {"x": 3, "z": 0}, self.lifetime)
            assert await state.aget("a") == {"x": 3, "z": 0}
            assert await state.aswap("a", {"x": 3, "z": 0}, {"w": -(2**53) - 1}, self.lifetime)
            assert await state.aget("a") == {"w": -(2**53) - 1}

        self._with(story)

    def test_what_is_not_expected_is_left_alone(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1, "y": 0}, self.lifetime)
            others: tuple[dict[str, int], ...] = (
                {},
                {"x": 1},
                {"x": 1, "y": 1},
                {"x": 1, "z": 0},
                {"x": 1, "y": 0, "z": 0},
            )
            for other in others:
                assert not await state.aswap("a", other, {"w": 9}, self.lifetime)
            assert not await state.aswap("b", {"x": 1}, {"w": 9}, self.lifetime)
            assert await state.aget("a") == {"x": 1, "y": 0}
            assert await state.akeys("") == ["a"]

        self._with(story)

    def test_no_numbers_are_expected_where_there_are_none(self) -> None:
        async def story(state: SharedState) -> None:
            assert await state.aswap("a", {}, {"x": 1}, self.lifetime)
            assert not await state.aswap("a", {}, {"x": 2}, self.lifetime)
            assert await state.aget("a") == {"x": 1}

        self._with(story)

    def test_a_key_swapped_for_no_numbers_is_gone(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            assert await state.aswap("a", {"x": 1}, {}, self.lifetime)
            assert await state.aswap("b", {}, {}, self.lifetime)
            assert await state.aget("a") == {}
            assert await state.akeys("") == []

        self._with(story)

    def test_a_swap_moves_a_keys_end_and_a_refused_one_does_not(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            await state.aadd("b", {"x": 1}, self.lifetime)
            await self.apass(0.6 * self.lifetime)
            assert await state.aswap("a", {"x": 1}, {"x": 2}, self.lifetime)
            assert not await state.aswap("b", {"x": 7}, {"x": 2}, self.lifetime)
            await self.apass(0.6 * self.lifetime)
            assert await state.aget("a") == {"x": 2}
            assert await state.aget("b") == {}

        self._with(story)

    def test_a_key_that_ended_is_expected_to_have_no_numbers(self) -> None:
        async def story(state: SharedState) -> None:
            await state.aadd("a", {"x": 1}, self.lifetime)
            await self.apass(1.2 * self.lifetime)
            assert not await state.aswap("a", {"x": 1}, {"x": 2}, self.lifetime)
            assert await state.aswap("a", {}, {"x": 3}, self.lifetime)
            assert await state.aget("a") == {"x": 3}

        self._with(story)

    def test_amounts_are_added_to_what_was_swapped_in(self) -> None:
        async def story(state: SharedState) -> None:
            assert await state.aswap("a", {}, {"x": 5}, self.lifetime)
            await state.aadd("a", {"x": 2}, self.lifetime)
            assert not await state.aswap("a", {"x": 5}, {"x": 0}, self.lifetime)
            assert await state.aget("a") == {"x": 7}

        self._with(story)

    def test_of_many_who_expect_the_same_one_swaps(self) -> None:
        async def story(state: SharedState) -> None:
            other = await self.ashare(state)
            for before in ({}, {"x": 0}):
                swaps = [
                    each.aswap("a", before, {"of": number, "x": 1}, self.lifetime)
                    for number in range(25)
                    for each in (state, other)
                ]
                if before:
                    await state.adrop(["a"])
                    await state.aadd("a", before, self.lifetime)
                assert sum(await asyncio.gather(*swaps)) == 1
            if other is not state:
                await other.aclose()

        self._with(story)
