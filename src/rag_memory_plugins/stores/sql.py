"""`MessageLog` on SQL: the truth. Messages, keyword rows and outbox rows commit together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    select,
)

from rag_memory_plugins.errors import InvalidMessage
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Fold, SessionView, StoredMessage
from rag_memory_plugins.results import EraseReceipt, Stats, Summary
from rag_memory_plugins.stores import archiving, erasing, filtering, summarising
from rag_memory_plugins.stores.batching import Append
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.rows import keyword_row, message_of, stored_columns, when
from rag_memory_plugins.stores.schema import (
    ACTIVE,
    FILLED,
    indexes,
    keywords,
    messages,
    outbox,
    pins,
    scopes,
    sessions,
    text_hash,
    tokens,
    vectors,
)
from rag_memory_plugins.stores.surroundings import windows_of
from rag_memory_plugins.types import Level, Message, Messages

__all__ = ["SqlLog", "find_scope"]

_INLINE_CHARACTERS: Final = 4_000
"""What is stemmed on the loop itself, in about a millisecond; more goes to a thread."""
_PAGE: Final = 500
"""Rows read at a time by what walks a whole session."""


class SqlLog:
    """The message log in one database file; implements `ports.MessageLog`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def aappend(
        self, namespace: Namespace, messages: Sequence[Message], tokens: Sequence[int]
    ) -> int:
        """Store all or none, durably; see `ports.MessageLog`."""

        def derive() -> list[tuple[Message, dict[str, Any], int]]:
            derived = map(keyword_row, messages)
            return list(zip(messages, derived, tokens, strict=True))

        small = sum(len(message.content) for message in messages) <= _INLINE_CHARACTERS
        rows = derive() if small else await get_portal().acompute(derive)
        return await self.database.awrite(Append(namespace, rows), namespace.scope)

    async def arecent(self, namespace: Namespace, limit: int) -> list[StoredMessage]:
        """The last `limit` messages of the session, oldest first."""
        return await self.database.aread(
            lambda connection: _stored(
                connection,
                _of_session(namespace).order_by(messages.c.seq.desc()).limit(limit),
            )[::-1],
            namespace.scope,
        )

    async def amessages(self, namespace: Namespace) -> Messages:
        """Every message of the session, in order."""
        query = _of_session(namespace).order_by(messages.c.seq)
        found = await self.database.aread(
            lambda connection: _stored(connection, query), namespace.scope
        )
        return Messages(item.message for item in found)

    async def aaround(
        self, namespace: Namespace, ids: Sequence[str], before: int, after: int
    ) -> list[Messages]:
        """Messages of these ids and those around them; see `ports.MessageLog`."""
        return await self.database.aread(
            lambda connection: windows_of(connection, namespace, ids, before, after),
            namespace.scope,
        )

    async def alisted(
        self,
        namespace: Namespace,
        archived: bool | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredMessage]:
        """Messages of the session in order; see `ports.MessageLog`."""
        return await self.database.aread(
            lambda connection: archiving.listed(connection, namespace, archived, limit, offset),
            namespace.scope,
        )

    async def acounted(self, namespace: Namespace, archived: bool | None = None) -> int:
        """How many messages of the session there are; see `ports.MessageLog`."""
        return await self.database.aread(
            lambda connection: archiving.counted(connection, namespace, archived), namespace.scope
        )

    async def aarchive(
        self, namespace: Namespace, ids: Sequence[str], *, archived: bool = True
    ) -> list[StoredMessage]:
        """Archive messages of the session, or bring them back; see `ports.MessageLog`."""
        return await self.database.awrite(
            lambda connection: archiving.archive(connection, namespace, ids, archived),
            namespace.scope,
        )

    async def asessions(self, scope: Scope) -> list[str]:
        """The user's sessions that hold a message, in the order they began."""
        return await self.database.aread(
            lambda connection: archiving.names(connection, scope), scope
        )

    async def aview(
        self, namespace: Namespace, recent: int, goal: int, whole: int = 0
    ) -> SessionView:
        """What a context needs of a session, of one snapshot; see `ports.MessageLog`."""
        return await self.database.aread(
            lambda connection: summarising.view(connection, namespace, recent, goal, whole),
            namespace.scope,
        )

    async def atake_fold(self, every: int, keep: int, least: int, seconds: float) -> Fold | None:
        """A session with turns to fold; see `ports.MessageLog`."""
        now = time.time()

        def unit(connection: Connection) -> tuple[Fold | None, bool]:
            return summarising.take(connection, every, keep, least, now, now + seconds)

        more = await self.database.aread(lambda connection: summarising.due(connection, now))
        while more:
            fold, more = await self.database.awrite(unit)
            if fold is not None:
                return fold
        return None

    async def aput_summary(self, fold: Fold, summary: Summary) -> bool:
        """Keep a summary, unless its session has changed since it was taken."""
        now = time.time()
        return await self.database.awrite(
            lambda connection: summarising.put(connection, fold, summary, now), fold.namespace.scope
        )

    async def arelease_fold(self, fold: Fold, seconds: float) -> None:
        """Give a fold back, to be taken again after `seconds`."""
        due = time.time() + seconds

        def unit(connection: Connection) -> None:
            place = summarising.find_session(connection, fold.namespace)
            if place is not None:
                summarising.release(connection, place.session_id, due)

        await self.database.awrite(unit, fold.namespace.scope)

    async def asummary(self, namespace: Namespace) -> Summary | None:
        """The session's summary, if there is one."""

        def unit(connection: Connection) -> Summary | None:
            place = summarising.find_session(connection, namespace)
            return summarising.summary_of(connection, place.session_id) if place else None

        return await self.database.aread(unit, namespace.scope)

    async def adrop_summary(self, namespace: Namespace | None = None) -> None:
        """Forget the session's summary, or everybody's, so that it is made anew from the log."""

        def unit(connection: Connection) -> None:
            if namespace is None:
                summarising.drop_all(connection)
                return
            place = summarising.find_session(connection, namespace)
            if place is not None:
                summarising.drop(connection, place.session_id)
                summarising.release(connection, place.session_id, 0.0)

        await self.database.awrite(unit, namespace.scope if namespace else "everybody")

    async def agroups(self, scope: Scope, groups: Sequence[int]) -> list[StoredMessage]:
        """Every message of these tool groups, oldest first."""
        query = (
            stored_columns()
            .join(scopes, scopes.c.id == sessions.c.scope_id)
            .where(scopes.c.key_hash == text_hash(scope.key), messages.c.group_seq.in_(groups))
            .order_by(messages.c.seq)
        )
        return await self.database.aread(lambda connection: _stored(connection, query), scope)

    async def apin(self, namespace: Namespace, message_id: str, level: Level) -> None:
        """Keep a stored message in every context."""

        def unit(connection: Connection) -> None:
            place = _place_of(connection, namespace, message_id)
            if place is None:
                raise InvalidMessage(
                    "message_id", message_id, f"no such message in session {namespace.session!r}"
                )
            row = {"scope_id": place[0], "session_id": place[1], "seq": place[2], "level": level}
            statement = upsert(pins).values(row)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["seq"], set_={"level": level})
            )

        await self.database.awrite(unit, namespace.scope)

    async def aunpin(self, namespace: Namespace, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""

        def unit(connection: Connection) -> None:
            place = _place_of(connection, namespace, message_id)
            if place is not None:
                connection.execute(delete(pins).where(pins.c.seq == place[2]))

        await self.database.awrite(unit, namespace.scope)

    async def apins(self, namespace: Namespace) -> list[StoredMessage]:
        """Pinned messages of the session and of the user, oldest first."""
        query = (
            stored_columns()
            .join(pins, pins.c.seq == messages.c.seq)
            .join(scopes, scopes.c.id == pins.c.scope_id)
            .where(
                scopes.c.key_hash == text_hash(namespace.scope.key),
                (pins.c.level == "user") | (sessions.c.name_hash == text_hash(namespace.session)),
            )
            .order_by(messages.c.seq)
        )
        return await self.database.aread(
            lambda connection: _stored(connection, query), namespace.scope
        )

    async def afind(
        self, namespace: Namespace, where: Filter | None, limit: int, level: Level
    ) -> list[StoredMessage]:
        """The last `limit` messages that match, oldest first."""
        session = namespace.session if level == "session" else None

        def unit(connection: Connection) -> list[StoredMessage]:
            scope_id = find_scope(connection, namespace.scope)
            return filtering.last(connection, scope_id, where, session, limit) if scope_id else []

        return await self.database.aread(unit, namespace.scope)

    async def aforget(
        self,
        namespace: Namespace,
        ids: Sequence[str] | None,
        where: Filter | None,
        level: Level,
    ) -> EraseReceipt:
        """Erase messages of these ids that match, from every file."""
        return await erasing.aforget(self.database, namespace, ids, where, level)

    async def aerase(self, namespace: Namespace, level: Level) -> EraseReceipt:
        """Erase the session, or all the user's sessions, from every file."""
        return await erasing.aerase(self.database, namespace, level)

    async def astats(self, scope: Scope) -> Stats:
        """Counts of one scope."""
        return await self.database.aread(lambda connection: _stats(connection, scope), scope)

    async def anamespaces(self) -> list[Namespace]:
        """Every session in the file, of every tenant: for the owner of the file only."""
        query = select(scopes.c.key, sessions.c.name).join(
            sessions, sessions.c.scope_id == scopes.c.id
        )

        def unit(connection: Connection) -> list[Namespace]:
            rows = connection.execute(query.order_by(scopes.c.id, sessions.c.id)).all()
            return [
                Namespace(scope.tenant, scope.user, row.name)
                for row in rows
                for scope in (Scope.from_key(row.key),)
                if not scope.items
            ]

        return await self.database.aread(unit)

    async def aexport(
        self, namespace: Namespace, level: Level
    ) -> AsyncIterator[tuple[str, Message]]:
        """(session, message) of everything stored, in order, read page by page."""
        last = 0
        while True:
            query = stored_columns().where(messages.c.seq > last)
            if level == "session":
                query = query.where(messages.c.session_id.in_(_session_ids(namespace)))
            else:
                query = query.where(messages.c.session_id.in_(_session_ids(namespace.scope)))
            page = query.order_by(messages.c.seq).limit(_PAGE)
            found = await self.database.aread(partial(_stored, query=page), namespace.scope)
            for item in found:
                yield item.session, item.message
            if len(found) < _PAGE:
                return
            last = found[-1].seq

    async def ahealth(self) -> dict[str, object]:
        """Integrity, sizes and counts of the file; see `ports.MessageLog`."""
        facts, problems = await self.database.ahealth()
        more, others = await self.database.aread(_health)
        return {**facts, "problems": [*problems, *others], **more}

    async def atidy(self) -> bool:
        """Finish an erase that had to wait for a reader; True when none waits."""
        return self.database.readonly or not await erasing.afinish(self.database)

    async def aclose(self) -> None:
        """Close the file."""
        await self.database.aclose()


def _stored(connection: Connection, query: Select[Any]) -> list[StoredMessage]:
    return [message_of(row) for row in connection.execute(query)]


def find_scope(connection: Connection, scope: Scope) -> int | None:
    """The scope's id, or None when nothing is stored for it."""
    query = select(scopes.c.id, scopes.c.key).where(scopes.c.key_hash == text_hash(scope.key))
    row = connection.execute(query).one_or_none()
    return row.id if row is not None and row.key == scope.key else None


def _session_ids(place: Namespace | Scope) -> Select[Any]:
    """Ids of a namespace's session, or of all sessions of a scope."""
    scope = place.scope if isinstance(place, Namespace) else place
    query = (
        select(sessions.c.id)
        .join(scopes, scopes.c.id == sessions.c.scope_id)
        .where(scopes.c.key_hash == text_hash(scope.key))
    )
    if isinstance(place, Namespace):
        query = query.where(sessions.c.name_hash == text_hash(place.session))
    return query


def _of_session(namespace: Namespace) -> Select[Any]:
    return stored_columns().where(
        messages.c.session_id == _session_ids(namespace).scalar_subquery()
    )


def _place_of(
    connection: Connection, namespace: Namespace, message_id: str
) -> tuple[int, int, int] | None:
    """(scope id, session id, seq) of a stored message."""
    query = (
        select(sessions.c.scope_id, messages.c.session_id, messages.c.seq)
        .join(sessions, sessions.c.id == messages.c.session_id)
        .where(
            messages.c.session_id == _session_ids(namespace).scalar_subquery(),
            messages.c.id_hash == text_hash(message_id),
        )
    )
    row = connection.execute(query).one_or_none()
    return (row.scope_id, row.session_id, row.seq) if row is not None else None


def _stats(connection: Connection, scope: Scope) -> Stats:
    scope_id = find_scope(connection, scope)

    def count(table: Any) -> int:
        query = select(func.count()).select_from(table).where(table.c.scope_id == scope_id)
        return int(connection.execute(query).scalar_one())

    times = select(func.min(messages.c.time_us), func.max(messages.c.time_us)).where(
        messages.c.session_id.in_(select(sessions.c.id).where(sessions.c.scope_id == scope_id))
    )
    first, last = connection.execute(times).one()
    active = select(indexes.c.id).where(indexes.c.active == 1)
    waiting = select(func.count(outbox.c.seq.distinct())).where(
        outbox.c.index_id.in_(active), outbox.c.scope_id == scope_id
    )
    return Stats(
        scope=scope.key,
        messages=count(keywords),
        sessions=count(sessions),
        pins=count(pins),
        pending=int(connection.execute(waiting).scalar_one()),
        first=when(first),
        last=when(last),
    )


def _health(connection: Connection) -> tuple[dict[str, object], list[str]]:
    problems = []
    counts = {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in (scopes, sessions, messages, keywords, vectors, tokens, outbox, pins)
    }
    if counts["messages"] != counts["keywords"]:
        problems.append(
            f"{counts['messages']} messages but {counts['keywords']} keyword rows; "
            "run `rag-memory rebuild`"
        )
    rows = connection.execute(
        select(indexes.c.fingerprint, indexes.c.active, indexes.c.dimension)
    ).all()
    states = {ACTIVE: "active", FILLED: "being filled"}
    embedders = {
        row.fingerprint: states.get(row.active, "replaced") for row in rows if row.dimension
    }
    return {"rows": counts, "embedders": embedders}, problems
