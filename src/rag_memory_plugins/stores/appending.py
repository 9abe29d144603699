"""The write path of the log: messages, keyword rows and outbox rows in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, literal, select, update

from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.stores.rows import in_batches, message_row
from rag_memory_plugins.stores.schema import (
    indexes,
    keywords,
    messages,
    outbox,
    scopes,
    sessions,
    text_hash,
)
from rag_memory_plugins.stores.sizing import grow
from rag_memory_plugins.types import Message

__all__ = ["append", "ensure_place", "insert_messages", "make_place", "queue"]


def append(
    connection: Connection,
    namespace: Namespace,
    rows: Sequence[tuple[Message, dict[str, Any], int]],
) -> int:
    """Store all of `rows` (message, its keyword columns, its tokens) or none; how many were new."""
    first = rows[0][0]
    scope_id, session_id, digest = ensure_place(connection, namespace, first.id)
    known = {} if digest is None else {first.id: digest}
    if len(rows) > 1:
        known = _known(connection, session_id, [message for message, _, _ in rows])
    new: list[tuple[Message, dict[str, Any], int]] = []
    for message, keyword, tokens in rows:
        digest = known.get(message.id)
        if digest is None:
            known[message.id] = message.digest
            new.append((message, keyword, tokens))
        elif digest != message.digest:
            raise MessageConflict(
                "id",
                message.id,
                f"session {namespace.session!r} holds other content under it; use another id",
            )
    if not new:
        return 0
    seqs = insert_messages(connection, session_id, [message for message, _, _ in new])
    place = {"scope_id": scope_id, "session_id": session_id}
    derived = [
        {"seq": seq, **place, **keyword} for seq, (_, keyword, _) in zip(seqs, new, strict=True)
    ]
    grow(connection, session_id, list(zip(seqs, (tokens for _, _, tokens in new), strict=True)))
    queue(connection, scope_id, derived)
    return len(new)


def queue(connection: Connection, scope_id: int, derived: Sequence[dict[str, Any]]) -> None:
    """Write keyword rows, and have their messages embedded."""
    connection.execute(_INSERT_KEYWORDS, derived)
    connection.execute(_INSERT_OUTBOX, [{"s": row["seq"], "scope": scope_id} for row in derived])


def ensure_place(
    connection: Connection, namespace: Namespace, message_id: str
) -> tuple[int, int, str | None]:
    """(scope id, session id, digest stored under the message id), the first two made if need be.

    One statement for all three: an add is the most frequent write, and most add one message.
    """
    keys = {
        "scope_hash": text_hash(namespace.scope.key),
        "session_hash": text_hash(namespace.session),
        "id_hash": text_hash(message_id),
    }
    row = connection.execute(_FIND_PLACE, keys).one_or_none()
    scope_id = row.scope_id if row is not None else None
    session_id = row.session_id if row is not None else None
    digest = row.digest.hex() if row is not None and row.digest is not None else None
    return *make_place(connection, namespace, scope_id, session_id), digest


def make_place(
    connection: Connection, namespace: Namespace, scope_id: int | None, session_id: int | None
) -> tuple[int, int]:
    """(scope id, session id), each made where it is None."""
    scope, session = namespace.scope, namespace.session
    if scope_id is None:
        values = {"key": scope.key, "key_hash": text_hash(scope.key), "generation": 0}
        scope_id = _new_id(connection.execute(insert(scopes), values).inserted_primary_key)
    if session_id is None:
        values = {"scope_id": scope_id, "name": session, "name_hash": text_hash(session)}
        session_id = _new_id(connection.execute(insert(sessions), values).inserted_primary_key)
    return scope_id, session_id


def _new_id(key: Row[Any] | None) -> int:
    assert key is not None  # a single insert always has one
    return int(key[0])


def _known(connection: Connection, session_id: int, batch: Iterable[Message]) -> dict[str, str]:
    """Digests of those ids of the batch that are stored."""
    hashes = {text_hash(message.id): message.id for message in batch}
    found: dict[str, str] = {}
    wanted = list(hashes)
    for some in in_batches(wanted):
        for row in connection.execute(_KNOWN, {"session": session_id, "hashes": some}):
            found[hashes[row.id_hash]] = row.digest.hex()
    return found


def insert_messages(connection: Connection, session_id: int, batch: Sequence[Message]) -> list[int]:
    """Insert in order and return each seq; tool messages join the group of their call."""
    rows = [message_row(session_id, message) for message in batch]
    plain = not any(message.tool_calls or message.tool_call_id for message in batch)
    if plain and batch[0].role == "assistant":  # the one that may answer what is stored already
        rows[0]["group_seq"] = _answered_group(connection, session_id)
    if plain:
        if len(rows) == 1:
            return [_new_id(connection.execute(_INSERT_MESSAGE, rows[0]).inserted_primary_key)]
        result = connection.execute(_INSERT_MESSAGES, rows)
        return [row.seq for row in result]
    seqs = []
    for message, row in zip(batch, rows, strict=True):
        if message.tool_call_id is not None:
            row["group_seq"] = _group_of(connection, session_id, message.tool_call_id)
        elif message.role == "assistant" and not message.tool_calls:
            row["group_seq"] = _answered_group(connection, session_id)
        seq = _new_id(connection.execute(_INSERT_MESSAGE, row).inserted_primary_key)
        if message.tool_calls:
            connection.execute(update(messages).where(messages.c.seq == seq).values(group_seq=seq))
        seqs.append(seq)
    return seqs


def _answered_group(connection: Connection, session_id: int) -> int | None:
    """The tool group whose results an assistant message would answer now: the last message's."""
    row = connection.execute(_LAST, {"session": session_id}).one_or_none()
    return row.group_seq if row is not None and row.role == "tool" else None


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
_LAST: Final = (
    select(messages.c.role, messages.c.group_seq)
    .where(messages.c.session_id == bindparam("session"))
    .order_by(messages.c.seq.desc())
    .limit(1)
)
_INSERT_MESSAGE: Final = insert(messages)
_INSERT_MESSAGES: Final = insert(messages).returning(messages.c.seq, sort_by_parameter_order=True)
_INSERT_KEYWORDS: Final = insert(keywords)
_INSERT_OUTBOX: Final = insert(outbox).from_select(
    ["index_id", "scope_id", "seq", "due"],
    select(indexes.c.id, bindparam("scope"), bindparam("s"), literal(0.0)).where(
        indexes.c.active > 0
    ),
)
