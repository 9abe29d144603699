"""What every `VectorIndex` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Encoded, Found, ItemChange, Query
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.index_queue import BOB, IndexQueue
from rag_memory_plugins.testing.stores import MONDAY, NOON, Stores, said
from rag_memory_plugins.testing.vector_points import AWKWARD
from rag_memory_plugins.types import Message

__all__ = ["VectorIndexConformance"]

TUESDAY = Namespace("acme", "ann", "tuesday")
COLOURS = ("a red kite", "a green kite", "a blue kite", "a blue boat", "the kitchen is grey")


def contents(found: Found) -> list[str]:
    """What the hits say, best first."""
    return [hit.message.content for hit in found.hits]


def scores(found: Found) -> list[tuple[int, float, dict[str, float]]]:
    """Of each hit its number, its score and the score's parts."""
    return [(hit.seq, hit.score, dict(hit.parts)) for hit in found.hits]


class VectorIndexConformance(IndexQueue):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    The index is opened for `WordEmbedder`: "words/1" and 64 numbers. One that asks a store only for
    users of many messages is opened so that it asks for all. Those of its queue stand in
    `testing/index_queue.py`.

    >>> import pathlib, tempfile
    >>> from rag_memory_plugins.stores.flat import FlatIndex
    >>> from rag_memory_plugins.stores.sql import SqlLog
    >>> from rag_memory_plugins.stores.sqlite import SqliteDatabase
    >>> folder = tempfile.TemporaryDirectory()
    >>> class TestFlat(VectorIndexConformance):
    ...     async def aopen(self):
    ...         database = SqliteDatabase(pathlib.Path(folder.name) / "a.db", busy_timeout=10.0)
    ...         await database.aopen()
    ...         index = FlatIndex(database, "words/1", 64)
    ...         await index.aopen()
    ...         return Stores(SqlLog(database), index=index)
    ...     async def ashare(self, kept):
    ...         return await self.aopen()
    >>> TestFlat().test_where_nothing_is_stored_nothing_is_found()
    >>> folder.cleanup()
    """

    async def _asearch(
        self, stores: Stores, text: str, place: Namespace = MONDAY, **asked: Any
    ) -> Found:
        values = {"limit": 20, "level": "user", "now": NOON, "neighbours": 0, **asked}
        encoded = Encoded((await WordEmbedder().aembed_query(text))[None, :])
        return await self._index(stores).asearch(
            place, Query(**{"text": text, "encoded": encoded, **values})
        )

    async def _afill(self, stores: Stores, texts: Sequence[str] = COLOURS) -> None:
        await self._asay(stores, *texts)
        await self._aembed(stores)

    def test_where_nothing_is_stored_nothing_is_found(self) -> None:
        async def story(stores: Stores) -> None:
            found = await self._asearch(stores, "kite")
            assert (found.hits, found.total, found.pending, found.degraded) == ((), 0, 0, ())
            assert await self._index(stores).amirror() == 0
            assert await self._index(stores).aclean() == ""
            await self._index(stores).acalibrate(MONDAY.scope, "{}")
            assert (await self._asearch(stores, "kite")).calibration is None

        self._with_stores(story)

    def test_what_says_the_question_is_the_best(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            for text in COLOURS:
                found = await self._asearch(stores, text)
                assert contents(found)[0] == text
                assert (found.total, found.pending, found.degraded) == (5, 0, ())
                ordered = [hit.score for hit in found.hits]
                assert ordered == sorted(ordered, reverse=True)
                best = found.hits[0]
                assert abs(sum(best.parts.values()) - best.score) < 1e-6
                assert (best.session, best.tokens) == ("monday", 5)
            assert len((await self._asearch(stores, "kite", limit=2)).hits) == 2

        self._with_stores(story)

    def test_what_waits_for_a_vector_is_found_by_its_words(self) -> None:
        async def story(stores: Stores) -> None:
            await self._asay(stores, *COLOURS)
            found = await self._asearch(stores, "boat")
            assert contents(found)[0] == "a blue boat"
            assert found.pending == 5
            words = await self._asearch(stores, "boat", encoded=None)
            assert contents(words)[0] == "a blue boat"

        self._with_stores(story)

    def test_a_session_may_be_searched_alone(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            await self._asay(stores, "another red kite", place=TUESDAY)
            await self._aembed(stores)
            assert "another red kite" in contents(await self._asearch(stores, "red kite"))
            found = await self._asearch(stores, "red kite", TUESDAY, level="session")
            assert contents(found) == ["another red kite"]
            assert found.hits[0].session == "tuesday"
            nothing = Namespace("acme", "ann", "nothing")
            assert (await self._asearch(stores, "kite", nothing, level="session")).hits == ()
            assert len((await self._asearch(stores, "kite", nothing)).hits) > 1

        self._with_stores(story)

    def test_hits_and_their_neighbours_match_the_filter(self) -> None:
        async def story(stores: Stores) -> None:
            batch = [
                Message("user", text, f"m{n}", metadata={"n": n, "tenant": "acme"}, time=NOON)
                for n, text in enumerate(COLOURS * 2)
            ]
            await stores.log.aappend(MONDAY, batch, [5] * len(batch))
            await self._asay(stores, "a red kite of bob's", place=BOB)
            await self._aembed(stores)
            for where in (
                Filter(metadata={"n": {"gte": 3}}),
                ~Filter(metadata={"n": 0}),
                Filter(ids=["m2", "%"]) | Filter(metadata={"tenant": "*"}),
                Filter(metadata={"tenant": {"ne": "acme"}}),
                Filter(sessions="monday") | ~Filter(sessions="monday"),
            ):
                right = {m.id for m in batch if where.matches(m, "monday")}
                found = await self._asearch(stores, "a kite", where=where, neighbours=2)
                assert {hit.message.id for hit in found.hits} == right
                assert {near.id for hit in found.hits for near in hit.neighbours} <= right

        self._with_stores(story)

    def test_hits_bring_what_was_said_around_them(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            best = (await self._asearch(stores, "a green kite", limit=1, neighbours=1)).hits[0]
            assert [near.id for near in best.neighbours] == ["m0", "m2"]
            first = (await self._asearch(stores, "a red kite", limit=1, neighbours=2)).hits[0]
            assert [near.id for near in first.neighbours] == ["m1", "m2"]

        self._with_stores(story)

    def test_what_others_say_changes_no_score(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            before = [scores(await self._asearch(stores, text)) for text in COLOURS]
            for name in ("bob", "Ann", "a%", "*"):
                place = Namespace("acme", name, "monday")
                await self._asay(stores, *COLOURS, "kite kite kite", place=place)
                await self._asay(stores, "kite", place=Namespace(name, "ann", "monday"))
            await self._aembed(stores)
            assert [scores(await self._asearch(stores, text)) for text in COLOURS] == before

        self._with_stores(story)

    def test_names_that_look_alike_are_apart(self) -> None:
        async def story(stores: Stores) -> None:
            places = [Namespace("acme", name, "monday") for name in AWKWARD]
            places += [Namespace(name, "ann", "monday") for name in AWKWARD]
            for place in places:
                await self._asay(stores, place.key, "a red kite", place=place)
            await self._aembed(stores)
            own = [(place, said(place.key, "a red kite")) for place in places]
            for place, messages in own:
                found = await self._asearch(stores, "a red kite", place, neighbours=1)
                seen = [hit.message for hit in found.hits]
                seen += [near for hit in found.hits for near in hit.neighbours]
                assert [m for m in seen if m not in messages] == []
                assert (len(found.hits), found.total) == (2, 2)
            await stores.log.aerase(places[0], "user")
            await self._aembed(stores)
            assert (await self._asearch(stores, "a red kite", places[0])).hits == ()
            for place in places[1:]:
                assert len((await self._asearch(stores, "a red kite", place)).hits) == 2

        self._with_stores(story)

    def test_what_was_erased_is_not_found(self) -> None:
        async def run(stores: Stores) -> None:
            async with self._shared(stores) as others:
                await self._afill(stores)
                assert len((await self._asearch(others, "kite")).hits) == 5
                await stores.log.aforget(MONDAY, ["m1"], None, "session")
                for each in (stores, others):
                    found = await self._asearch(each, "a green kite", neighbours=2)
                    shown = [m.id for hit in found.hits for m in (hit.message, *hit.neighbours)]
                    assert "m1" not in shown
                    assert found.total == 4
                await others.log.aerase(MONDAY, "user")
                for each in (stores, others):
                    assert (await self._asearch(each, "kite")).hits == ()
                await self._asay(others, "a new kite")
                await self._aembed(others)
                for each in (stores, others):
                    assert contents(await self._asearch(each, "kite")) == ["a new kite"]

        self._with_stores(run)

    def test_two_processes_find_the_same(self) -> None:
        async def run(stores: Stores) -> None:
            async with self._shared(stores) as others:
                await self._afill(stores)
                await self._asearch(others, "kite")
                for number, text in enumerate(("a black kite", "a white boat")):
                    await self._asay((stores, others)[number], text)
                    await self._aembed((others, stores)[number])
                for text in (*COLOURS, "a black kite"):
                    found = [scores(await self._asearch(each, text)) for each in (stores, others)]
                    assert found[0] == found[1]
                    assert len(found[0]) == 7

        self._with_stores(run)

    def test_writes_and_searches_may_run_at_once(self) -> None:
        async def story(stores: Stores) -> None:
            async def write(number: int) -> None:
                place = Namespace("acme", f"user {number % 3}", f"session {number}")
                await self._asay(stores, *(f"{text} {number}" for text in COLOURS), place=place)
                await self._aembed(stores)
                found = await self._asearch(stores, f"red kite {number}", place)
                assert {f"{text} {number}" for text in COLOURS} <= set(contents(found))

            await asyncio.gather(*(write(number) for number in range(6)))
            assert await self._index(stores).abacklog() == 0

        self._with_stores(story)

    def test_a_calibration_is_its_users(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            await self._asay(stores, "x", place=BOB)
            for text in ("one", "two"):
                await self._index(stores).acalibrate(MONDAY.scope, text)
                assert (await self._asearch(stores, "kite")).calibration == text
            assert (await self._asearch(stores, "kite", BOB)).calibration is None
            await stores.log.aerase(MONDAY, "user")
            await self._asay(stores, "kite")
            assert (await self._asearch(stores, "kite")).calibration is None

        self._with_stores(story)

    def test_a_rebuilt_index_finds_the_same(self) -> None:
        async def story(stores: Stores) -> None:
            await self._afill(stores)
            before = [scores(await self._asearch(stores, text)) for text in COLOURS]
            await self._index(stores).arebuild()
            await self._aembed(stores)
            assert [scores(await self._asearch(stores, text)) for text in COLOURS] == before

        self._with_stores(story)

    def test_items_are_found_under_their_path_alone(self) -> None:
        async def story(stores: Stores) -> None:
            if stores.items is None:
                return
            await self._afill(stores)
            scope = Scope("acme", "ann", items=True)
            paths = ("a", "a/b", "ab", "a%", "_")
            changes = [
                ItemChange(path, "x", Message("user", f"a kite at {path}", "x")) for path in paths
            ]
            await stores.items.achange(scope, changes, NOON)
            await self._aembed(stores)
            place = Namespace("acme", "ann", "/", items=True)
            for under, right in (("", paths), ("a", ("a", "a/b")), ("_", ("_",)), ("%", ())):
                found = await self._asearch(stores, "kite", place, under=under, paged=True)
                assert {hit.session for hit in found.hits} == set(right)
            assert len((await self._asearch(stores, "kite")).hits) == 5

        self._with_stores(story)
