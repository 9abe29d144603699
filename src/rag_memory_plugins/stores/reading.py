"""The queue of messages that nobody has read facts out of yet: the outbox, under a reader's name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, delete, select, update

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Unread
from rag_memory_plugins.stores import queueing
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.erasing import delete_messages
from rag_memory_plugins.stores.fact_rows import EXTRACTED
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    READ,
    fact_statements,
    indexes,
    messages,
    outbox,
    scopes,
    sessions,
)

__all__ = ["SqlReadingQueue"]


class SqlReadingQueue:
    """What one reader has still to read; implements `ports.ReadingQueue`.

    It stands in the table of embedders under the reader's name, so that every message that is
    stored queues for it in the same transaction.
    """

    def __init__(
        self, database: Database, reader: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.database = database
        self.reader = reader
        self._fingerprint = f"facts: {reader}"
        self._clock = clock
        self._index_id = 0
        self._last_scope = 0

    async def aopen(self) -> None:
        """Queue every message for the reader, unless it is the one they queue for already."""
        query = select(indexes.c.id).where(
            indexes.c.fingerprint == self._fingerprint, indexes.c.active == READ
        )
        found = await self.database.aread(lambda c: c.execute(query).scalar_one_or_none())
        self._index_id = found or 0
        if not found and not self.database.readonly:
            self._index_id = await self.database.awrite(self._activate, "everybody")

    def _activate(self, connection: Connection) -> int:
        others = select(indexes.c.id).where(indexes.c.active == READ)
        connection.execute(delete(outbox).where(outbox.c.index_id.in_(others)))
        connection.execute(update(indexes).where(indexes.c.active == READ).values(active=0))
        row = upsert(indexes).values(fingerprint=self._fingerprint, dimension=0, active=READ)
        row = row.on_conflict_do_update(index_elements=["fingerprint"], set_={"active": READ})
        index_id = int(connection.execute(row.returning(indexes.c.id)).scalar_one())
        queueing.queue_missing(connection, index_id)
        return index_id

    async def alease(self, limit: int, seconds: float) -> list[Unread]:
        """Take up to `limit` messages, scopes in turn, for `seconds`."""
        if not self._index_id or self.database.readonly:
            return []
        now, index = self._clock(), self._index_id

        def unit(connection: Connection) -> tuple[list[tuple[int, int]], int]:
            return queueing.take(connection, index, self._last_scope, limit, now, seconds)

        if not await self.database.aread(lambda c: queueing.any_due(c, index, now)):
            return []
        taken, self._last_scope = await self.database.awrite(unit)
        return await self.database.aread(partial(_unread, taken=taken))

    async def asettle(self, read: Sequence[Unread]) -> None:
        """Take messages off the queue."""
        rows = [{"o": item.scope_id, "s": item.seq} for item in read]
        if rows:
            gone = _SETTLE.where(outbox.c.index_id == self._index_id)
            await self.database.awrite(lambda c: c.execute(gone, rows).rowcount)

    async def arelease(self, unread: Sequence[Unread], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""
        due, places = self._clock() + seconds, [(item.scope_id, item.seq) for item in unread]
        await self.database.awrite(lambda c: queueing.set_due(c, self._index_id, places, due))

    async def abacklog(self) -> int:
        """Messages of all users that wait to be read."""
        return await self.database.aread(lambda c: queueing.backlog(c, self._index_id))

    async def arebuild(self) -> int:
        """Erase what was read, and queue every message again; how many facts that were.

        What was undone stays, undone: it would be read again.
        """
        query = select(fact_statements.c.scope_id).where(_READ).distinct()
        ids = await self.database.aread(lambda c: list(c.execute(query).scalars()))
        count = 0
        for scope_id in ids:
            count += await self.database.awrite(partial(_drop, scope_id=scope_id), [scope_id])
        if self._index_id:
            await self.database.awrite(
                lambda c: queueing.queue_missing(c, self._index_id), "everybody"
            )
        return count


def _unread(connection: Connection, taken: Sequence[tuple[int, int]]) -> list[Unread]:
    """The messages that are still there, in order; what no conversation holds without a text."""
    found: dict[int, Unread] = {}
    for some in in_batches([seq for _, seq in taken]):
        query = stored_columns().add_columns(scopes.c.id.label("scope_id"), scopes.c.key)
        query = query.join(scopes, scopes.c.id == sessions.c.scope_id)
        for row in connection.execute(query.where(messages.c.seq.in_(some))):
            scope, stored = Scope.from_key(row.key), message_of(row)
            place = Namespace(
                scope.tenant, scope.user, stored.session, items=scope.items, facts=scope.facts
            )
            found[row.seq] = Unread(place, row.scope_id, row.seq, stored.message)
    return [found[seq] for _, seq in taken if seq in found]


def _drop(connection: Connection, scope_id: int) -> int:
    query = select(fact_statements.c.seq).where(fact_statements.c.scope_id == scope_id, _READ)
    return delete_messages(connection, scope_id, list(connection.execute(query).scalars()))["facts"]


_READ = (fact_statements.c.flags >= EXTRACTED) & (fact_statements.c.undone == 0)
_SETTLE = delete(outbox).where(outbox.c.scope_id == bindparam("o"), outbox.c.seq == bindparam("s"))
