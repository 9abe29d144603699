"""What every `MessageLog` keeps of summaries: who folds what, and when a fold has come too late."""

from __future__ import annotations

import asyncio

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.ports import Fold, MessageLog
from rag_memory_plugins.results import Summary, SummaryLine
from rag_memory_plugins.testing.log_writing import BOB, LogWriting
from rag_memory_plugins.testing.stores import MONDAY, NOON, ids, said

__all__ = ["LogFolding"]

LONG = 3_600.0


def summed(fold: Fold, upto: int | None = None) -> Summary:
    """A summary of everything that a fold holds."""
    version = fold.summary.version + 1 if fold.summary else 1
    line = SummaryLine("caf\u00e9, in May", NOON, tuple(ids(fold.messages)))
    return Summary((line,), version, upto or fold.messages[-1].seq, "me", ("something failed",))


class LogFolding(LogWriting):
    """Tests of `atake_fold` and of what becomes of a fold. Sessions grow by 600 tokens a message."""

    async def _agrow(
        self, log: MessageLog, place: Namespace = MONDAY, first: int = 0, count: int = 6
    ) -> None:
        turns = (f"turn {number}" for number in range(first, first + count))
        await self._aput(log, said(*turns, first=first), place, size=600)

    async def _atake(self, log: MessageLog, seconds: float = LONG) -> Fold | None:
        return await log.atake_fold(1_000, 1_200, 2_000, seconds)

    async def _afolded(self, log: MessageLog, seconds: float = LONG) -> Fold:
        fold = await self._atake(log, seconds)
        assert fold is not None
        return fold

    def test_a_session_is_folded_up_to_its_last_turns(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._agrow(log)
            fold = await self._afolded(log)
            assert (fold.namespace, fold.summary) == (MONDAY, None)
            assert ids(fold.messages) == ["m0", "m1", "m2", "m3"]
            summary = summed(fold)
            assert await log.aput_summary(fold, summary)
            assert await log.asummary(MONDAY) == summary
            assert (await log.aview(MONDAY, 0, 0)).summary == summary
            assert await log.asummary(BOB) is None
            await self._agrow(log, first=6, count=3)
            again = await self._afolded(log)
            assert (again.summary, ids(again.messages)) == (summary, ["m4", "m5", "m6"])
            assert await log.aput_summary(again, summed(again))
            found = await log.asummary(MONDAY)
            assert found is not None
            assert found.version == 2

        self._with(story)

    def test_what_is_short_or_has_little_to_fold_is_not_taken(self) -> None:
        async def story(log: MessageLog) -> None:
            assert await self._atake(log) is None
            await self._agrow(log, count=3)
            assert await self._atake(log) is None
            await self._agrow(log, first=3, count=1)
            assert ids((await self._afolded(log)).messages) == ["m0", "m1"]

        self._with(story)

    def test_what_is_taken_is_nobody_elses_until_its_time_is_over(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            await self._agrow(log)
            fold = await self._afolded(log)
            assert await self._atake(log) is None
            assert await self._atake(other) is None
            await log.arelease_fold(fold, LONG)
            assert await self._atake(other) is None
            await log.arelease_fold(fold, 0.0)
            assert await self._atake(other, -1.0) is not None  # it is over at once
            assert await self._atake(log) is not None

        self._with_two(story)

    def test_each_session_is_taken_by_one_of_many_workers(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            places = [Namespace("acme", f"user {n}", "monday") for n in range(6)]
            for place in places:
                await self._agrow(log, place)
            taken: list[Fold] = []
            for _ in range(4):  # whoever comes while another looks may go away with nothing
                found = await asyncio.gather(*(self._atake(each) for each in [log, other] * 5))
                taken += [fold for fold in found if fold is not None]
            keys = sorted(fold.namespace.key for fold in taken)
            assert keys == [place.key for place in places]
            kept = [
                each.aput_summary(fold, summed(fold)) for fold in taken for each in (log, other)
            ]
            assert sum(await asyncio.gather(*kept)) == len(places)

        self._with_two(story)

    def test_a_fold_of_what_changed_since_is_not_kept(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._agrow(log)
            late = await self._afolded(log, -1.0)
            first = await self._afolded(log)
            assert await log.aput_summary(first, summed(first))
            assert not await log.aput_summary(late, summed(late))  # another was first
            await self._agrow(log, first=6, count=4)
            fold = await self._afolded(log, -1.0)
            await log.aforget(MONDAY, ["m1"], None, "session")
            assert await log.asummary(MONDAY) is None  # it may tell what was forgotten
            assert not await log.aput_summary(fold, summed(fold))
            anew = await self._afolded(log)
            assert (anew.summary, ids(anew.messages)[:2]) == (None, ["m0", "m2"])
            await log.aerase(MONDAY, "session")
            assert not await log.aput_summary(anew, summed(anew))
            await log.arelease_fold(anew, 0.0)
            assert await log.asummary(MONDAY) is None
            assert await self._atake(log) is None

        self._with(story)

    def test_a_dropped_summary_is_made_anew_from_the_first_turn(self) -> None:
        async def story(log: MessageLog) -> None:
            for place in (MONDAY, BOB):
                await self._agrow(log, place)
            for _ in range(2):
                fold = await self._afolded(log)
                assert await log.aput_summary(fold, summed(fold))
            assert await self._atake(log) is None
            await log.adrop_summary(MONDAY)
            assert await log.asummary(MONDAY) is None
            assert await log.asummary(BOB) is not None
            fold = await self._afolded(log)
            assert (fold.namespace, len(fold.messages)) == (MONDAY, 4)
            assert await log.aput_summary(fold, summed(fold))
            await log.adrop_summary()
            assert await log.asummary(MONDAY) is await log.asummary(BOB) is None
            taken = [(await self._afolded(log)).namespace.user for _ in range(2)]
            assert sorted(map(str, taken)) == ["ann", "bob"]
            await log.adrop_summary(Namespace("acme", "ann", "nothing"))

        self._with(story)
