"""`ItemStore` on SQL: values by path and key, as messages of a scope of their own.

So an item has the keywords, the vectors, the queue and the erase of any message. What is beside
that, its times and how long it stays, are integers in a table of their own and updated in place;
rows that hold texts are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import ItemChange, StoredItem
from rag_memory_plugins.results import EraseReceipt, Hit
from rag_memory_plugins.stores import filtering, replacing, snapshot
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import Numbers, one_of
from rag_memory_plugins.stores.erasing import aerase, finished
from rag_memory_plugins.stores.remaining import Taken
from rag_memory_plugins.stores.rows import in_batches, keyword_row, message_of, stored_columns
from rag_memory_plugins.stores.schema import items, messages, scopes, sessions, text_hash
from rag_memory_plugins.stores.sql import find_scope
from rag_memory_plugins.types import Message

__all__ = ["SqlItems"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_INLINE_CHARACTERS: Final = 4_000
"""What is stemmed on the loop itself, in about a millisecond; more goes to a thread."""
_AT_ONCE: Final = 2_000
"""Items erased in one transaction by what may have to erase many."""
_SCOPES: Final = 64
"""Scopes whose expired items are erased in one transaction."""


class SqlItems:
    """Items in the log's own file; implements `ports.ItemStore`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def aread(
        self, scope: Scope, places: Sequence[tuple[str, str]], now: datetime
    ) -> list[StoredItem | None]:
        """The item at each (path, key); see `ports.ItemStore`."""
        keys: dict[str, list[bytes]] = {}
        for path, key in places:
            keys.setdefault(path, []).append(text_hash(key))

        def unit(connection: Connection) -> list[StoredItem | None]:
            found: dict[tuple[str, str], StoredItem] = {}
            for path, hashes in keys.items():
                at = {"scope": text_hash(scope.key), "path": text_hash(path), "now": micros(now)}
                for some in in_batches(hashes):
                    for row in connection.execute(_AT, {**at, "hashes": some}):
                        item = _item_of(row)
                        found[item.path, item.message.id] = item
            return [found.get(place) for place in places]

        return await self.database.aread(unit, scope)

    async def apick(self, scope: Scope, hits: Sequence[Hit], now: datetime) -> list[StoredItem]:
        """The items that a search found, as far as they are still there, in order."""
        values = {
            "seqs": [hit.seq for hit in hits],
            "now": micros(now),
            "scope": text_hash(scope.key),
        }
        rows = await self.database.aread(lambda c: snapshot.fetched(c, _TIMES, values), scope)
        times = {row[0]: row[1:] for row in rows}
        return [
            _timed(hit.seq, hit.session, hit.message, *times[hit.seq])
            for hit in hits
            if hit.seq in times
        ]

    async def alist(
        self,
        scope: Scope,
        under: str,
        where: Filter | None,
        limit: int,
        offset: int,
        now: datetime,
    ) -> list[StoredItem]:
        """Items that match, last written first; see `ports.ItemStore`."""

        def unit(connection: Connection) -> list[StoredItem]:
            scope_id = find_scope(connection, scope)
            if scope_id is None:
                return []
            chosen = _LISTED.where(items.c.scope_id == scope_id)
            values: dict[str, Any] = {"now": micros(now)}
            if where is not None:
                found = filtering.seqs(connection, scope_id, where, under=under)
                chosen = chosen.where(one_of(items.c.seq, _SEQS))
                values["seqs"] = found.tolist()
            elif under:
                inside = filtering.sessions_under(scope_id, under)
                chosen = chosen.where(items.c.session_id.in_(inside))
            page = chosen.order_by(*_LAST_FIRST).limit(limit).offset(offset)
            return [_item_of(row) for row in connection.execute(page, values)]

        return await self.database.aread(unit, scope)

    async def apaths(self, scope: Scope, under: str = "") -> list[str]:
        """Paths that hold an item, in no order."""

        def unit(connection: Connection) -> list[str]:
            scope_id = find_scope(connection, scope)
            query = select(sessions.c.name).where(sessions.c.scope_id == scope_id)
            if under and scope_id is not None:
                query = query.where(sessions.c.id.in_(filtering.sessions_under(scope_id, under)))
            return list(connection.execute(query).scalars())

        return await self.database.aread(unit, scope)

    async def achange(self, scope: Scope, changes: Sequence[ItemChange], now: datetime) -> int:
        """Make all changes or none, durably; see `ports.ItemStore`."""
        last = list({(change.path, change.key): change for change in changes}.values())
        if not last:
            return 0
        for path in {change.path for change in last}:
            Namespace(scope.tenant, scope.user, path, items=True)  # refuses what cannot be one

        def derive() -> list[replacing.Prepared]:
            return [
                (change, None if change.message is None else keyword_row(change.message, item=True))
                for change in last
            ]

        size = sum(len(change.message.content) for change in last if change.message is not None)
        portal = get_portal()
        rows = derive() if size <= _INLINE_CHARACTERS else await portal.acompute(derive)
        return await self.database.awrite(
            lambda connection: replacing.change(connection, scope, rows, micros(now)), scope
        )

    async def arefresh(self, scope: Scope, seqs: Sequence[int], now: datetime) -> None:
        """Let items stay as long again as when they were written."""
        values = {"seqs": list(seqs), "now": micros(now), "scope": text_hash(scope.key)}
        if seqs and not self.database.readonly:
            await self.database.awrite(
                lambda connection: connection.execute(_REFRESH, values).rowcount, scope
            )

    async def aexpire(self, now: datetime, scope: Scope | None = None) -> int:
        """Erase what has expired, of one scope or of all; return how many."""
        if self.database.readonly:
            return 0
        values: dict[str, Any] = {"now": micros(now)}
        expired = _EXPIRED
        if scope is not None:
            values["scope"] = text_hash(scope.key)
            expired = _EXPIRED.where(scopes.c.key_hash == bindparam("scope"))
        whose = expired.with_only_columns(items.c.scope_id).distinct().limit(_SCOPES)
        total = 0
        # Looking costs little; only what is there is worth a write transaction.
        while ids := await self.database.aread(lambda c: _first_column(c, whose, values)):
            query = expired.where(items.c.scope_id.in_(ids)).limit(_AT_ONCE).params(values)
            gone = await self.database.awrite(partial(replacing.drop, query=query), ids)
            total += gone["messages"]
        return total

    async def aerase(self, scope: Scope, under: str = "") -> EraseReceipt:
        """Erase the items at a path and below it, from every file."""
        place = Namespace(scope.tenant, scope.user, under or "/", items=True)
        if not under:
            return await aerase(self.database, place, "user")
        gone: dict[str, int] = {}
        while True:
            part = await self.database.awrite(partial(_erase_some, scope=scope, under=under), scope)
            if not part["messages"]:
                break
            gone = {name: gone.get(name, 0) + count for name, count in part.items()}
        return await finished(self.database, place, "session", Taken(counts=gone))


def _erase_some(connection: Connection, scope: Scope, under: str) -> dict[str, int]:
    scope_id = find_scope(connection, scope)
    query = select(items.c.scope_id, items.c.session_id, items.c.seq)
    inside = filtering.sessions_under(scope_id or 0, under)
    return replacing.drop(connection, query.where(items.c.session_id.in_(inside)).limit(_AT_ONCE))


def _first_column(connection: Connection, query: Select[Any], values: dict[str, Any]) -> list[int]:
    return list(connection.execute(query, values).scalars())


def micros(time: datetime) -> int:
    """Microseconds since 1970, as times are stored."""
    return (time - _EPOCH) // _MICROSECOND


def _item_of(row: Row[Any]) -> StoredItem:
    stored = message_of(row)
    return _timed(
        stored.seq, stored.session, stored.message, row.created_us, row.updated_us, row.stay_us
    )


def _timed(
    seq: int, path: str, message: Message, created: int, updated: int, stay: int | None
) -> StoredItem:
    first, last = (_EPOCH + timedelta(microseconds=time) for time in (created, updated))
    return StoredItem(seq, path, message, first, last, stay is None)


# Statements built once: see `stores/sql.py`.
_SEQS: Final = bindparam("seqs", type_=Numbers)
_ALIVE: Final = items.c.expires_us.is_(None) | (items.c.expires_us > bindparam("now"))
_LISTED: Final[Select[Any]] = (
    stored_columns()
    .add_columns(items.c.created_us, items.c.updated_us, items.c.stay_us)
    .join(items, items.c.seq == messages.c.seq)
    .where(_ALIVE)
)
_LAST_FIRST: Final = (items.c.updated_us.desc(), items.c.seq.desc())
_OF_SCOPE: Final = _LISTED.join(scopes, scopes.c.id == items.c.scope_id).where(
    scopes.c.key_hash == bindparam("scope")
)
_AT: Final = _OF_SCOPE.where(
    sessions.c.scope_id == scopes.c.id,
    sessions.c.name_hash == bindparam("path"),
    messages.c.id_hash.in_(bindparam("hashes", expanding=True)),
)
_TIMES: Final = snapshot.as_prepared(
    select(items.c.seq, items.c.created_us, items.c.updated_us, items.c.stay_us)
    .join(scopes, scopes.c.id == items.c.scope_id)
    .where(scopes.c.key_hash == bindparam("scope"), one_of(items.c.seq, _SEQS), _ALIVE)
)
_EXPIRED: Final = (
    select(items.c.scope_id, items.c.session_id, items.c.seq)
    .join(scopes, scopes.c.id == items.c.scope_id)
    .where(items.c.expires_us <= bindparam("now"))
)
_REFRESH: Final = (
    update(items)
    .where(
        one_of(items.c.seq, _SEQS),
        items.c.stay_us.is_not(None),
        items.c.scope_id.in_(select(scopes.c.id).where(scopes.c.key_hash == bindparam("scope"))),
    )
    .values(expires_us=bindparam("now") + items.c.stay_us)
)
