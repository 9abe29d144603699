"""What every `MessageLog` gives back: listings, archives, views, pins, windows, filters, exports."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from rag_memory_plugins.errors import InvalidMessage
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import MessageLog
from rag_memory_plugins.testing.log_writing import BOB, LogWriting
from rag_memory_plugins.testing.stores import MONDAY, NOON, ids, said
from rag_memory_plugins.types import Message

__all__ = ["LogReading"]

TUESDAY = Namespace("acme", "ann", "tuesday")


class LogReading(LogWriting):
    """Tests of everything that reads, and of marks that change what is read."""

    filters: ClassVar[int] = 25
    """How many filters are compared with `Filter.matches`."""

    def test_where_nothing_is_stored_nothing_is_read(self) -> None:
        async def story(log: MessageLog) -> None:
            assert await log.arecent(MONDAY, 5) == []
            assert await log.alisted(MONDAY) == []
            assert await log.acounted(MONDAY) == 0
            assert await log.aarchive(MONDAY, ["m0"]) == []
            assert await log.asessions(MONDAY.scope) == []
            assert (await log.aview(MONDAY, 100, 1)).tokens == 0
            assert await log.asummary(MONDAY) is None
            assert await log.apins(MONDAY) == []
            assert await log.afind(MONDAY, None, 5, "user") == []
            assert [row async for row in log.aexport(MONDAY, "user")] == []
            assert list(await log.amessages(MONDAY)) == []
            assert await log.aaround(MONDAY, ["m0"], 1, 1) == []
            assert await log.anamespaces() == []
            stats = await log.astats(MONDAY.scope)
            assert (stats.messages, stats.sessions, stats.first, stats.last) == (0, 0, None, None)
            await log.aunpin(MONDAY, "m0")

        self._with(story)

    def test_the_last_messages_are_given_oldest_first(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said(*"abcde"))
            await self._aput(log, said("other"), TUESDAY)
            assert ids(await log.arecent(MONDAY, 2)) == ["m3", "m4"]
            assert ids(await log.arecent(MONDAY, 50)) == ["m0", "m1", "m2", "m3", "m4"]

        self._with(story)

    def test_archived_messages_leave_the_active_list_and_nothing_else(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said(*"abcdef"))
            await self._aput(log, said("other"), TUESDAY)
            wanted = ["m4", "nothing", "m0", "m1", "m0"]
            assert ids(await log.aarchive(MONDAY, wanted)) == ["m0", "m1", "m4"]
            assert await log.aarchive(MONDAY, []) == []
            assert ids(await log.alisted(MONDAY, archived=False)) == ["m2", "m3", "m5"]
            assert ids(await log.alisted(MONDAY, archived=True)) == ["m0", "m1", "m4"]
            assert len(await log.alisted(MONDAY)) == len(await log.amessages(MONDAY)) == 6
            assert ids(await log.alisted(MONDAY, False, limit=1, offset=1)) == ["m3"]
            assert ids(await log.alisted(MONDAY, limit=2, offset=5)) == ["m5"]
            assert ids(await log.alisted(MONDAY, True, offset=2)) == ["m4"]
            counts = [await log.acounted(MONDAY, which) for which in (False, True, None)]
            assert counts == [3, 3, 6]
            assert await log.acounted(TUESDAY, True) == 0
            assert ids(await log.aarchive(MONDAY, ["m0", "m5"], archived=False)) == ["m0", "m5"]
            assert ids(await log.alisted(MONDAY, False)) == ["m0", "m2", "m3", "m5"]
            await log.aforget(MONDAY, ["m1"], None, "session")
            await self._aput(log, said("b", first=1))
            assert ids(await log.alisted(MONDAY, False)) == ["m0", "m2", "m3", "m5", "m1"]

        self._with(story)

    def test_sessions_come_in_the_order_they_began_while_they_hold_a_message(self) -> None:
        async def story(log: MessageLog) -> None:
            for name in ("b", "a", "c"):
                await self._aput(log, said("x"), Namespace("acme", "ann", name))
            await self._aput(log, said("y", first=1), Namespace("acme", "ann", "b"))
            assert await log.asessions(MONDAY.scope) == ["b", "a", "c"]
            assert await log.asessions(BOB.scope) == []
            await log.aforget(Namespace("acme", "ann", "a"), ["m0"], None, "session")
            assert await log.asessions(MONDAY.scope) == ["b", "c"]

        self._with(story)

    def test_a_view_shows_sizes_first_goal_and_last_turns(self) -> None:
        async def story(log: MessageLog) -> None:
            first = Message("assistant", "hello", "a")
            await self._aput(log, [first, *said(*["x"] * 39)], size=10)
            await self._aput(log, said(*["x"] * 5), BOB, size=10)
            view = await log.aview(MONDAY, 200, 2)
            assert (view.tokens, view.said, view.peak) == (400, 400, 400)
            assert ids(view.goal) == ["m0", "m1"]
            assert ids(view.recent) == [f"m{n}" for n in range(19, 39)]
            assert (list(view.pins), view.summary) == ([], None)
            assert list((await log.aview(MONDAY, 0, 0)).recent) == []
            assert list((await log.aview(MONDAY, 0, 0)).goal) == []
            few = ids((await log.aview(MONDAY, 1, 0)).recent)
            assert 1 < len(few) < 20
            assert few[-1] == "m38"
            assert len((await log.aview(MONDAY, 10, 0, 400)).recent) == 40
            assert ids((await log.aview(MONDAY, 10, 0, 399)).recent) == few

        self._with(story)

    def test_a_view_never_reads_more_than_a_thousand_turns(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said(*["x"] * 1_100), size=1)
            recent = (await log.aview(MONDAY, 5_000, 0, 5_000)).recent
            assert ids(recent) == [f"m{n}" for n in range(100, 1_100)]

        self._with(story)

    def test_a_peak_falls_by_a_fifth_or_not_at_all(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said(*["x"] * 10), size=10)
            sizes = []
            for key in ("m0", "m1", "m2"):
                await log.aforget(MONDAY, [key], None, "session")
                view = await log.aview(MONDAY, 0, 0)
                sizes.append((view.tokens, view.said, view.peak))
            assert sizes == [(90, 100, 100), (80, 100, 100), (70, 100, 70)]

        self._with(story)

    def test_pins_are_of_a_session_or_of_the_user(self) -> None:
        async def story(log: MessageLog) -> None:
            for place in (MONDAY, TUESDAY, BOB):
                await self._aput(log, said("a", "b", "c"), place)
            await log.apin(MONDAY, "m2", "session")
            await log.apin(MONDAY, "m0", "user")
            assert ids(await log.apins(MONDAY)) == ["m0", "m2"]
            assert [(item.session, item.message.id) for item in await log.apins(TUESDAY)] == [
                ("monday", "m0")
            ]
            assert await log.apins(BOB) == []
            assert ids((await log.aview(TUESDAY, 0, 0)).pins) == ["m0"]
            assert ids((await log.aview(Namespace("acme", "ann", "new"), 0, 0)).pins) == ["m0"]
            await log.apin(MONDAY, "m0", "session")  # another level is no second pin
            assert ids(await log.apins(MONDAY)) == ["m0", "m2"]
            assert await log.apins(TUESDAY) == []
            assert (await log.astats(MONDAY.scope)).pins == 2
            await log.aunpin(TUESDAY, "m0")  # another message of the same id
            for _ in range(2):
                await log.aunpin(MONDAY, "m0")
            assert ids(await log.apins(MONDAY)) == ["m2"]

        self._with(story)

    def test_what_is_not_stored_in_the_session_cannot_be_pinned(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said("a"))
            await self._aput(log, said("a", "b"), BOB)
            outcomes = await asyncio.gather(
                *(log.apin(place, "m1", "user") for place in (MONDAY, TUESDAY)),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [InvalidMessage] * 2
            assert await log.apins(MONDAY) == await log.apins(BOB) == []

        self._with(story)

    def test_windows_around_messages_that_touch_are_one(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said(*["x"] * 12))
            await self._aput(log, said(*["y"] * 12), TUESDAY)

            async def around(keys: Sequence[str], before: int, after: int) -> list[list[str]]:
                found = await log.aaround(MONDAY, keys, before, after)
                return [[message.id.removeprefix("m") for message in window] for window in found]

            assert await around(["m5"], 1, 2) == [["4", "5", "6", "7"]]
            assert await around(["m0", "m11"], 2, 2) == [["0", "1", "2"], ["9", "10", "11"]]
            assert await around(["m8", "m2", "m5", "m2"], 1, 1) == [[str(n) for n in range(1, 10)]]
            assert await around(["m2", "m6"], 1, 1) == [["1", "2", "3"], ["5", "6", "7"]]
            assert await around(["m2", "m2", "none"], 0, 0) == [["2"]]
            assert await around([], 1, 1) == []

        self._with(story)

    def test_what_is_found_is_the_last_that_match(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said("a", "b", "c", metadata={"n": 1}))
            await self._aput(log, said("d", metadata={"n": 1}), TUESDAY)
            await self._aput(log, said("e", metadata={"n": 1}), BOB)
            where = Filter(metadata={"n": 1})
            texts = [item.message.content for item in await log.afind(MONDAY, where, 2, "user")]
            assert texts == ["c", "d"]
            assert ids(await log.afind(MONDAY, where, 2, "session")) == ["m1", "m2"]
            assert ids(await log.afind(MONDAY, None, 1, "session")) == ["m2"]
            assert await log.afind(MONDAY, Filter(ids=[]), 9, "user") == []

        self._with(story)

    def test_a_filter_means_what_its_matches_says(self) -> None:
        import hypothesis

        from rag_memory_plugins.testing.filters import filters, samples

        loop_of: list[asyncio.AbstractEventLoop] = []

        async def story(log: MessageLog) -> None:
            loop_of.append(asyncio.get_running_loop())
            stored: list[tuple[str, Message]] = []
            for number, (session, message) in enumerate(samples()):
                place = Namespace("acme", "ann", session)
                await self._aput(log, [message], place)
                await self._aput(log, said("another's", first=number), BOB)
                stored.append((session, message))

            async def compare(where: Filter) -> None:
                right = [row for row in stored if where.matches(row[1], row[0])]
                found = await log.afind(MONDAY, where, 10_000, "user")
                assert [(item.session, item.message) for item in found] == right
                inside = [row for row in right if row[0] == "monday"]
                found = await log.afind(MONDAY, where, 3, "session")
                assert [(item.session, item.message) for item in found] == inside[-3:]

            @hypothesis.settings(
                max_examples=self.filters,
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(filters)
            def each(where: Filter) -> None:
                asyncio.run_coroutine_threadsafe(compare(where), loop_of[0]).result(60)

            await asyncio.to_thread(each)

        self._with(story)

    def test_an_export_is_whole_and_in_order_page_after_page(self) -> None:
        async def story(log: MessageLog) -> None:
            batch = said(*(f"turn {n}" for n in range(1_003)))
            for start in range(0, len(batch), 200):
                place = TUESDAY if start == 400 else MONDAY
                await self._aput(log, batch[start : start + 200], place)
            await self._aput(log, said("x"), BOB)
            exported = [row async for row in log.aexport(MONDAY, "user")]
            assert [message for _, message in exported] == batch
            here = [message for session, message in exported if session == "monday"]
            assert [row async for row in log.aexport(MONDAY, "session")] == [
                ("monday", message) for message in here
            ]
            assert len(here) == 803
            assert list(await log.amessages(MONDAY)) == here

        self._with(story)

    def test_stats_count_one_users_messages(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said("a", "b", "c"))
            await self._aput(log, said("d"), TUESDAY)
            await self._aput(log, said("e"), BOB)
            await log.apin(MONDAY, "m0", "session")
            stats = await log.astats(MONDAY.scope)
            counts = (stats.scope, stats.messages, stats.sessions, stats.pins)
            assert counts == (MONDAY.scope.key, 4, 2, 1)
            assert (stats.first, stats.last) == (NOON, NOON + timedelta(minutes=2))
            other = await log.astats(BOB.scope)
            assert (other.messages, other.sessions, other.pins) == (1, 1, 0)
            items = await log.astats(Scope("acme", "ann", items=True))
            assert items.messages == 0

        self._with(story)

    def test_the_owner_is_shown_every_session_and_health(self) -> None:
        async def story(log: MessageLog) -> None:
            places = [MONDAY, TUESDAY, BOB, Namespace("evil", "ann", "monday")]
            for place in places:
                await self._aput(log, said("x"), place)
            found = await log.anamespaces()
            assert sorted(space.key for space in found) == sorted(space.key for space in places)
            health: dict[str, Any] = await log.ahealth()
            assert health["problems"] == []

        self._with(story)
