"""What every `ItemStore` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import SHARED, Namespace, Scope
from rag_memory_plugins.ports import ItemChange, ItemStore, StoredItem
from rag_memory_plugins.results import Hit
from rag_memory_plugins.testing.stores import NOON, Stores, StoresConformance, said
from rag_memory_plugins.testing.vector_points import AWKWARD
from rag_memory_plugins.types import Message

__all__ = ["ItemStoreConformance"]

ANN: Final = Scope("acme", "ann", items=True)
BOB: Final = Scope("acme", "bob", items=True)
MINUTE: Final = timedelta(minutes=1)


def change(path: str, key: str, value: object = None, stay: timedelta | None = None) -> ItemChange:
    """An item of this value; with None there is to be nothing."""
    message = None
    if value is not None:
        message = Message("user", f"value {value}", key, metadata={"value": value}, time=NOON)
    return ItemChange(path, key, message, stay)


def values(found: Sequence[StoredItem | None]) -> list[Any]:
    """What items hold; None where there is none."""
    return [None if item is None else item.message.metadata["value"] for item in found]


class ItemStoreConformance(StoresConformance):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    >>> import pathlib, tempfile
    >>> from rag_memory_plugins.stores.items import SqlItems
    >>> from rag_memory_plugins.stores.sql import SqlLog
    >>> from rag_memory_plugins.stores.sqlite import SqliteDatabase
    >>> folder = tempfile.TemporaryDirectory()
    >>> class TestSqlite(ItemStoreConformance):
    ...     async def aopen(self):
    ...         database = SqliteDatabase(pathlib.Path(folder.name) / "a.db", busy_timeout=10.0)
    ...         await database.aopen()
    ...         return Stores(SqlLog(database), SqlItems(database))
    ...     async def ashare(self, kept):
    ...         return await self.aopen()
    >>> TestSqlite().test_where_nothing_is_stored_nothing_is_read()
    >>> folder.cleanup()
    """

    part = "items"
    port = ItemStore

    async def _aput(
        self, items: ItemStore, *changes: ItemChange, now: datetime = NOON, scope: Scope = ANN
    ) -> int:
        return await items.achange(scope, changes, now)

    async def _avalues(self, items: ItemStore, under: str = "", scope: Scope = ANN) -> list[Any]:
        return values(await items.alist(scope, under, None, 1_000, 0, NOON))

    def test_where_nothing_is_stored_nothing_is_read(self) -> None:
        async def story(items: ItemStore) -> None:
            assert await items.aread(ANN, [("a", "x"), ("a", "y")], NOON) == [None, None]
            assert await items.aread(ANN, [], NOON) == []
            assert await self._avalues(items) == []
            assert await items.apaths(ANN) == []
            assert await items.apick(ANN, [], NOON) == []
            await items.arefresh(ANN, [], NOON)
            assert await items.aexpire(NOON) == 0
            assert await items.achange(ANN, [], NOON) == 0
            assert (await items.aerase(ANN)).messages == 0
            assert (await items.aerase(ANN, "a")).complete

        self._with(story)

    def test_what_is_put_is_read_by_path_and_key(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, change("a", "x", 1), change("a", "y", 2), change("b", "x", 3))
            places = [("b", "x"), ("a", "z"), ("a", "y"), ("a", "x"), ("b", "x"), ("A", "x")]
            found = await items.aread(ANN, places, NOON)
            assert values(found) == [3, None, 2, 1, 3, None]
            item = found[0]
            assert item is not None
            assert (item.path, item.message.id, item.stays) == ("b", "x", True)
            assert (item.created, item.updated) == (NOON, NOON)

        self._with(story)

    def test_what_is_replaced_is_gone_and_keeps_when_it_was_made(self) -> None:
        async def story(items: ItemStore) -> None:
            assert await self._aput(items, change("a", "x", 1)) == 0
            assert await self._aput(items, change("a", "x", 2), now=NOON + MINUTE) == 1
            (item,) = await items.aread(ANN, [("a", "x")], NOON)
            assert item is not None
            assert values([item]) == [2]
            assert (item.created, item.updated) == (NOON, NOON + MINUTE)
            assert await self._avalues(items) == [2]
            # The same value is touched and keeps its number.
            assert await self._aput(items, change("a", "x", 2), now=NOON + 2 * MINUTE) == 0
            (again,) = await items.aread(ANN, [("a", "x")], NOON)
            assert again is not None
            assert (again.seq, again.updated) == (item.seq, NOON + 2 * MINUTE)

        self._with(story)

    def test_the_last_change_of_a_place_counts(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(
                items,
                change("a", "x", 1),
                change("a", "y", 2),
                change("a", "x"),
                change("a", "x", 3),
                change("a", "y"),
            )
            assert values(await items.aread(ANN, [("a", "x"), ("a", "y")], NOON)) == [3, None]
            assert await self._aput(items, change("a", "x"), change("a", "no")) == 1
            assert await self._avalues(items) == []
            assert await items.apaths(ANN) == []

        self._with(story)

    def test_all_changes_are_made_or_none(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, change("a", "x", 1))
            for path in ("", "a\x00", "x" * 257):
                bad = [change("a", "x", 2), change("a", "y", 3), change(path, "z", 4)]
                (outcome,) = await asyncio.gather(self._aput(items, *bad), return_exceptions=True)
                assert isinstance(outcome, InvalidNamespace), path
            assert await self._avalues(items) == [1]

        self._with(story)

    def test_items_are_listed_last_written_first_page_by_page(self) -> None:
        async def story(items: ItemStore) -> None:
            for number in range(5):
                await self._aput(
                    items, change("a", str(number), number), now=NOON + number * MINUTE
                )
            await self._aput(items, change("a", "1", 1), now=NOON + 9 * MINUTE)
            assert await self._avalues(items) == [1, 4, 3, 2, 0]
            pages = [await items.alist(ANN, "", None, 2, at, NOON) for at in (0, 2, 4, 6)]
            assert [values(page) for page in pages] == [[1, 4], [3, 2], [0], []]

        self._with(story)

    def test_a_path_leads_to_itself_and_below_and_nowhere_else(self) -> None:
        async def story(items: ItemStore) -> None:
            paths = ["a", "a/b", "a/b/c", "ab", "A", "a%", "a_", "b/a", "a/", "%", "_", "a/B"]
            await self._aput(items, *(change(path, "x", path) for path in paths))
            assert sorted(await items.apaths(ANN)) == sorted(paths)
            for under in [*paths, "a/b/c/d", "*"]:
                below = [path for path in paths if path == under or path.startswith(f"{under}/")]
                assert sorted(await self._avalues(items, under)) == sorted(below), under
                assert sorted(await items.apaths(ANN, under)) == sorted(below), under

        self._with(story)

    def test_a_filter_picks_among_what_is_under_a_path(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, *(change(f"a/{n % 2}", f"k{n}", n) for n in range(10)))
            await self._aput(items, change("a/0", "k4", 4), scope=BOB)
            where = Filter(metadata={"value": {"gte": 4}})
            found = await items.alist(ANN, "a/0", where, 10, 0, NOON)
            assert sorted(values(found)) == [4, 6, 8]
            assert sorted(values(await items.alist(ANN, "", where, 10, 0, NOON))) == [*range(4, 10)]
            either = Filter(metadata={"value": "*"}) | Filter(ids=["k1", "%"])
            assert values(await items.alist(ANN, "a", either, 10, 0, NOON)) == [1]
            assert len(await items.alist(ANN, "a", ~either, 3, 7, NOON)) == 2

        self._with(story)

    def test_what_has_expired_is_not_read_and_is_erased_when_asked(self) -> None:
        async def story(items: ItemStore) -> None:
            soon, late = NOON + MINUTE, NOON + 2 * MINUTE
            await self._aput(items, change("a", "x", 1, MINUTE), change("a", "y", 2))
            await self._aput(items, change("a", "x", 3, MINUTE), scope=BOB)
            (item,) = await items.aread(ANN, [("a", "x")], soon - timedelta(microseconds=1))
            assert item is not None
            assert not item.stays
            assert await items.aread(ANN, [("a", "x")], soon) == [None]
            assert values(await items.alist(ANN, "", None, 9, 0, soon)) == [2]
            assert values(await items.alist(ANN, "a", Filter(), 9, 0, soon)) == [2]
            hit = Hit(item.message, "a", 0.0, {}, seq=item.seq)
            assert await items.apick(ANN, [hit], soon) == []
            assert await items.aexpire(NOON) == 0
            assert await items.aexpire(soon, ANN) == 1
            assert await items.aexpire(late) == 1
            assert await self._avalues(items) == [2]
            assert await items.apaths(BOB) == []

        self._with(story)

    def test_what_is_refreshed_or_written_again_stays_as_long_again(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, change("a", "x", 1, MINUTE), change("a", "y", 2, MINUTE))
            await self._aput(items, change("a", "z", 3))
            found = await items.aread(ANN, [("a", "x"), ("a", "z")], NOON)
            half, late = NOON + MINUTE / 2, NOON + MINUTE * 1.2
            await items.arefresh(ANN, [item.seq for item in found if item is not None], half)
            await self._aput(items, change("a", "y", 2, MINUTE), now=half)
            assert sorted(values(await items.alist(ANN, "", None, 9, 0, late))) == [1, 2, 3]
            assert await items.aexpire(NOON + 2 * MINUTE) == 2
            assert await self._avalues(items) == [3]
            # One that expired begins anew.
            await self._aput(items, change("a", "w", 4, MINUTE))
            assert await self._aput(items, change("a", "w", 4), now=late) == 1
            (item,) = await items.aread(ANN, [("a", "w")], late)
            assert item is not None
            assert (item.created, item.stays) == (late, True)

        self._with(story)

    def test_nobody_refreshes_what_is_anothers(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, change("a", "x", 1, MINUTE))
            (item,) = await items.aread(ANN, [("a", "x")], NOON)
            assert item is not None
            others = (BOB, Scope("acme", "ann"), Scope("evil", "ann", items=True))
            for other in others:
                await items.arefresh(other, [item.seq], NOON + MINUTE / 2)
            assert await items.aread(ANN, [("a", "x")], NOON + MINUTE) == [None]

        self._with(story)

    def test_what_a_search_found_is_picked_in_its_order(self) -> None:
        async def story(items: ItemStore) -> None:
            await self._aput(items, *(change("a", key, key) for key in "xyz"))
            found = await items.aread(ANN, [("a", key) for key in "zxy"], NOON)
            hits = [
                Hit(item.message, item.path, 1.0, {}, seq=item.seq)
                for item in found
                if item is not None
            ]
            assert values(await items.apick(ANN, hits, NOON)) == ["z", "x", "y"]
            assert await items.apick(BOB, hits, NOON) == []
            await self._aput(items, change("a", "x"))
            assert values(await items.apick(ANN, hits, NOON)) == ["z", "y"]

        self._with(story)

    def test_an_erase_takes_a_path_and_what_is_below(self) -> None:
        async def story(items: ItemStore) -> None:
            paths = ["a", "a/b", "ab", "a%", "b"]
            for scope in (ANN, BOB):
                await self._aput(items, *(change(path, "x", path) for path in paths), scope=scope)
            receipt = await items.aerase(ANN, "a")
            assert (receipt.scope, receipt.messages, receipt.complete) == (ANN.key, 2, True)
            assert sorted(await self._avalues(items)) == ["a%", "ab", "b"]
            assert (await items.aerase(ANN, "nothing")).messages == 0
            assert (await items.aerase(ANN)).messages == 3
            assert await self._avalues(items) == []
            assert len(await self._avalues(items, scope=BOB)) == 5

        self._with(story)

    def test_names_that_look_alike_are_apart(self) -> None:
        async def story(items: ItemStore) -> None:
            scopes = [Scope("acme", name, items=True) for name in AWKWARD]
            scopes += [Scope(name, "ann", items=True) for name in AWKWARD]
            scopes.append(Scope("acme", SHARED, items=True))
            for scope in scopes:
                await self._aput(items, change("a", "x", scope.key), scope=scope)
            await self._aput(items, *(change("a", key, key) for key in AWKWARD))
            await self._aput(items, *(change(path, "x", path) for path in AWKWARD if path != "a"))
            for scope in scopes:
                assert await self._avalues(items, scope=scope) == [scope.key]
            for name in AWKWARD:
                places = [("a", name), (name, "x")][: 1 if name == "a" else 2]
                assert values(await items.aread(ANN, places, NOON)) == [name] * len(places)
            assert (await items.aerase(scopes[0])).messages == 1
            for scope in scopes[1:]:
                assert await self._avalues(items, scope=scope) == [scope.key]

        self._with(story)

    def test_what_was_said_is_no_item_and_an_item_was_not_said(self) -> None:
        async def story(stores: Stores) -> None:
            assert stores.items is not None
            here = Namespace("acme", "ann", "a")
            await stores.log.aappend(here, said("hello"), [1])
            await self._aput(stores.items, change("a", "m0", 1))
            assert await stores.log.anamespaces() == [here]
            assert list(await stores.log.amessages(here)) == said("hello")
            await stores.log.aerase(here, "user")
            assert await self._avalues(stores.items) == [1]

        self._with_stores(story)

    def test_of_two_processes_at_one_place_one_item_is_left(self) -> None:
        async def story(items: ItemStore, other: ItemStore) -> None:
            for turn in range(4):
                puts = [
                    self._aput(each, change("a", "x", [turn, who]), change("a", "y", [turn, who]))
                    for who, each in enumerate([items, other] * 3)
                ]
                await asyncio.gather(*puts)
                for reader in (items, other):
                    found = await self._avalues(reader)
                    assert len(found) == 2
                    assert found[0] == found[1]
                    assert found[0][0] == turn

        self._with_two(story)
