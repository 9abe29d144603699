"""`MessageLog` on SQL: the truth. Messages, keyword rows and outbox rows commit together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from rag_memory_plugins.errors import InvalidMessage, MessageConflict
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.retrieval.corpus import index_text, traits
from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.stores import erasing
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.schema import (
    indexes,
    keywords,
    messages,
    outbox,
    pins,
    scopes,
    sessions,
    text_hash,
    vectors,
)
from rag_memory_plugins.types import EraseReceipt, Level, Message, Messages, Stats

__all__ = ["SqlLog", "find_scope", "keyword_row", "message_of", "stored_columns"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)
_INLINE_CHARACTERS: Final = 4_000
"""What is stemmed on the loop itself, in about a millisecond; more goes to a thread."""
_PAGE: Final = 500
"""Rows read at a time by what walks a whole session."""


class SqlLog:
    """The message log in one database file; implements `ports.MessageLog`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def aappend(self, namespace: Namespace, messages: Sequence[Message]) -> int:
        """Store all or none, durably; see `ports.MessageLog`."""

        def derive() -> list[tuple[Message, dict[str, Any]]]:
            return [(message, keyword_row(message)) for message in messages]

        small = sum(len(message.content) for message in messages) <= _INLINE_CHARACTERS
        rows = derive() if small else await get_portal().acompute(derive)
        return await self.database.awrite(lambda connection: _append(connection, namespace, rows))

    async def arecent(self, namespace: Namespace, limit: int) -> list[StoredMessage]:
        """The last `limit` messages of the session, oldest first."""
        return await self.database.aread(
            lambda connection: _stored(
                connection,
                _of_session(namespace).order_by(messages.c.seq.desc()).limit(limit),
            )[::-1]
        )

    async def amessages(self, namespace: Namespace) -> Messages:
        """Every message of the session, in order."""
        query = _of_session(namespace).order_by(messages.c.seq)
        found = await self.database.aread(lambda connection: _stored(connection, query))
        return Messages(item.message for item in found)

    async def agroups(self, scope: Scope, groups: Sequence[int]) -> list[StoredMessage]:
        """Every message of these tool groups, oldest first."""
        query = (
            stored_columns()
            .join(scopes, scopes.c.id == sessions.c.scope_id)
            .where(scopes.c.key_hash == text_hash(scope.key), messages.c.group_seq.in_(groups))
            .order_by(messages.c.seq)
        )
        return await self.database.aread(lambda connection: _stored(connection, query))

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

        await self.database.awrite(unit)

    async def aunpin(self, namespace: Namespace, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""

        def unit(connection: Connection) -> None:
            place = _place_of(connection, namespace, message_id)
            if place is not None:
                connection.execute(delete(pins).where(pins.c.seq == place[2]))

        await self.database.awrite(unit)

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
        return await self.database.aread(lambda connection: _stored(connection, query))

    async def aforget(self, namespace: Namespace, ids: Sequence[str]) -> EraseReceipt:
        """Erase these messages of the session."""
        return await erasing.aforget(self.database, namespace, ids)

    async def aerase(self, namespace: Namespace, level: Level) -> EraseReceipt:
        """Erase the session, or all the user's sessions, from every file."""
        return await erasing.aerase(self.database, namespace, level)

    async def astats(self, scope: Scope) -> Stats:
        """Counts of one scope."""
        return await self.database.aread(lambda connection: _stats(connection, scope))

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
            found = await self.database.aread(partial(_stored, query=page))
            for item in found:
                yield item.session, item.message
            if len(found) < _PAGE:
                return
            last = found[-1].seq

    async def ahealth(self) -> dict[str, object]:
        """Integrity, sizes and counts of the file; see `ports.MessageLog`."""
        path = self.database.path
        facts = await self.database.aread(_health)
        return {"path": str(path), "bytes": path.stat().st_size, **facts}

    async def atidy(self) -> bool:
        """Finish an erase that had to wait for a reader; True when none waits."""
        return self.database.readonly or await erasing.afinish(self.database)

    async def aclose(self) -> None:
        """Close the file."""
        await self.database.aclose()


def stored_columns() -> Select[Any]:
    """The columns that `message_of` reads, with the session's name."""
    columns = (
        messages.c.seq,
        sessions.c.name.label("session"),
        messages.c.group_seq,
        messages.c.time_us,
        messages.c.digest,
        messages.c.role,
        messages.c.id,
        messages.c.name,
        messages.c.extra,
        messages.c.content,
    )
    return select(*columns).join(sessions, sessions.c.id == messages.c.session_id)


def message_of(row: Row[Any]) -> StoredMessage:
    """A stored message from the columns of `stored_columns`."""
    values: dict[str, Any] = {
        "id": row.id,
        "role": row.role,
        "content": row.content,
        "name": row.name,
        "time": _EPOCH + timedelta(microseconds=row.time_us),
        "digest": row.digest.hex(),
    }
    if row.extra:
        values.update(json.loads(row.extra))
    return StoredMessage(row.seq, row.session, Message.restored(values), row.group_seq)


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


def keyword_row(message: Message) -> dict[str, Any]:
    """`flags` and `terms` of a message: the date it was said stands among its words."""
    flags = traits(message)
    day = f"{message.time.day} {_MONTHS[message.time.month - 1]} {message.time.year}"
    terms = terms_of(f"{day} {index_text(message)}")
    return {"flags": flags, "terms": np.array(terms, "<u8").tobytes()}


def _append(
    connection: Connection,
    namespace: Namespace,
    rows: Sequence[tuple[Message, dict[str, Any]]],
) -> int:
    first = rows[0][0]
    scope_id, session_id, digest = _ensure_place(connection, namespace, first.id)
    known = {} if digest is None else {first.id: digest}
    if len(rows) > 1:
        known = _known(connection, session_id, [message for message, _ in rows])
    new: list[tuple[Message, dict[str, Any]]] = []
    for message, keyword in rows:
        digest = known.get(message.id)
        if digest is None:
            known[message.id] = message.digest
            new.append((message, keyword))
        elif digest != message.digest:
            raise MessageConflict(
                "id",
                message.id,
                f"session {namespace.session!r} holds other content under it; use another id",
            )
    if not new:
        return 0
    seqs = _insert_messages(connection, session_id, [message for message, _ in new])
    place = {"scope_id": scope_id, "session_id": session_id}
    derived = [
        {"seq": seq, **place, **keyword} for seq, (_, keyword) in zip(seqs, new, strict=True)
    ]
    connection.execute(_INSERT_KEYWORDS, derived)
    connection.execute(_INSERT_OUTBOX, [{"s": seq, "scope": scope_id} for seq in seqs])
    return len(new)


def _ensure_place(
    connection: Connection, namespace: Namespace, message_id: str
) -> tuple[int, int, str | None]:
    """(scope id, session id, digest stored under the message id), the first two made if need be.

    One statement for all three: an add is the most frequent write, and most add one message.
    """
    scope, session = namespace.scope, namespace.session
    keys = {
        "scope_hash": text_hash(scope.key),
        "session_hash": text_hash(session),
        "id_hash": text_hash(message_id),
    }
    row = connection.execute(_FIND_PLACE, keys).one_or_none()
    scope_id = row.scope_id if row is not None else None
    session_id = row.session_id if row is not None else None
    digest = row.digest.hex() if row is not None and row.digest is not None else None
    if scope_id is None:
        values = {"key": scope.key, "key_hash": keys["scope_hash"], "generation": 0}
        scope_id = _new_id(connection.execute(insert(scopes), values).inserted_primary_key)
    if session_id is None:
        values = {"scope_id": scope_id, "name": session, "name_hash": keys["session_hash"]}
        session_id = _new_id(connection.execute(insert(sessions), values).inserted_primary_key)
    return scope_id, session_id, digest


def _new_id(key: Row[Any] | None) -> int:
    assert key is not None  # a single insert always has one
    return int(key[0])


def _known(connection: Connection, session_id: int, batch: Iterable[Message]) -> dict[str, str]:
    """Digests of those ids of the batch that are stored."""
    hashes = {text_hash(message.id): message.id for message in batch}
    found: dict[str, str] = {}
    wanted = list(hashes)
    for start in range(0, len(wanted), _PAGE):
        some = wanted[start : start + _PAGE]
        for row in connection.execute(_KNOWN, {"session": session_id, "hashes": some}):
            found[hashes[row.id_hash]] = row.digest.hex()
    return found


def _insert_messages(
    connection: Connection, session_id: int, batch: Sequence[Message]
) -> list[int]:
    """Insert in order and return each seq; tool messages join the group of their call."""
    rows = [_message_row(session_id, message) for message in batch]
    if not any(message.tool_calls or message.tool_call_id for message in batch):
        if len(rows) == 1:
            return [_new_id(connection.execute(_INSERT_MESSAGE, rows[0]).inserted_primary_key)]
        result = connection.execute(_INSERT_MESSAGES, rows)
        return [row.seq for row in result]
    seqs = []
    for message, row in zip(batch, rows, strict=True):
        if message.tool_call_id is not None:
            row["group_seq"] = _group_of(connection, session_id, message.tool_call_id)
        seq = _new_id(connection.execute(_INSERT_MESSAGE, row).inserted_primary_key)
        if message.tool_calls:
            connection.execute(update(messages).where(messages.c.seq == seq).values(group_seq=seq))
        seqs.append(seq)
    return seqs


def _message_row(session_id: int, message: Message) -> dict[str, Any]:
    data = message.to_dict()
    keys = ("tool_calls", "tool_call_id", "images", "metadata")
    extra = {key: data[key] for key in keys if key in data}
    return {
        "session_id": session_id,
        "id_hash": text_hash(message.id),
        "digest": bytes.fromhex(message.digest),
        "group_seq": None,
        "time_us": (message.time - _EPOCH) // timedelta(microseconds=1),
        "role": message.role,
        "id": message.id,
        "name": message.name,
        "extra": json.dumps(extra, ensure_ascii=False) if extra else None,
        "content": message.content,
    }


def _group_of(connection: Connection, session_id: int, call_id: str) -> int | None:
    """Find the latest message that made this call, a few calls back at most; its seq."""
    query = (
        select(messages.c.seq, messages.c.extra)
        .where(
            messages.c.session_id == session_id,
            messages.c.group_seq == messages.c.seq,
        )
        .order_by(messages.c.seq.desc())
        .limit(8)
    )
    for row in connection.execute(query):
        if any(call["id"] == call_id for call in json.loads(row.extra)["tool_calls"]):
            return int(row.seq)
    return None


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
        first=_when(first),
        last=_when(last),
    )


def _when(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def _health(connection: Connection) -> dict[str, object]:
    check = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check")]
    problems = [] if check == ["ok"] else check
    counts = {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in (scopes, sessions, messages, keywords, vectors, outbox, pins)
    }
    if counts["messages"] != counts["keywords"]:
        problems.append(
            f"{counts['messages']} messages but {counts['keywords']} keyword rows; "
            "run `rag-memory rebuild`"
        )
    rows = connection.execute(select(indexes.c.fingerprint, indexes.c.active)).all()
    embedders = {row.fingerprint: "active" if row.active else "replaced" for row in rows}
    return {"problems": problems, "rows": counts, "embedders": embedders}


# Statements of the write path, built once: compiling them anew would cost as much as running them.
_FIND_PLACE: Final = (
    select(
        scopes.c.id.label("scope_id"),
        sessions.c.id.label("session_id"),
        select(messages.c.digest)
        .where(messages.c.session_id == sessions.c.id, messages.c.id_hash == bindparam("id_hash"))
        .scalar_subquery()
        .label("digest"),
    )
    .select_from(scopes)
    .outerjoin(
        sessions,
        (sessions.c.scope_id == scopes.c.id) & (sessions.c.name_hash == bindparam("session_hash")),
    )
    .where(scopes.c.key_hash == bindparam("scope_hash"))
)
_KNOWN: Final = select(messages.c.id_hash, messages.c.digest).where(
    messages.c.session_id == bindparam("session"),
    messages.c.id_hash.in_(bindparam("hashes", expanding=True)),
)
_INSERT_MESSAGE: Final = insert(messages)
_INSERT_MESSAGES: Final = insert(messages).returning(messages.c.seq, sort_by_parameter_order=True)
_INSERT_KEYWORDS: Final = insert(keywords)
_INSERT_OUTBOX: Final = insert(outbox).from_select(
    ["index_id", "scope_id", "seq", "due"],
    select(indexes.c.id, bindparam("scope"), bindparam("s"), literal(0.0)).where(
        indexes.c.active == 1
    ),
)
