"""The queue of messages that wait for a vector, and what is written when they have one.

Plain units of work over one index; `stores/flat.py` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, literal, select, update

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Encoded, Pending
from rag_memory_plugins.retrieval.sentences import passages
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.mirroring import note_removals
from rag_memory_plugins.stores.rows import in_batches, keyword_row, message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    indexes,
    keywords,
    messages,
    outbox,
    scopes,
    sessions,
    tokens,
    vectors,
)

__all__ = [
    "any_due",
    "backlog",
    "due",
    "queue_missing",
    "rebuild",
    "set_due",
    "store",
    "take",
    "texts",
    "waiting",
]

_SCOPES: Final = 8
"""Scopes that share one lease, and how many are looked at to find them."""
_VISITS: Final = 256


def any_due(connection: Connection, index_id: int, now: float) -> bool:
    """Whether there is anything to take."""
    return connection.execute(_ANY_DUE, {"index": index_id, "now": now}).first() is not None


def due(
    connection: Connection, index_id: int, start: int, limit: int, now: float
) -> tuple[list[tuple[int, int]], int]:
    """((scope id, seq) of messages to take, one of each scope in turn; where to go on next time).

    Scopes are visited in a circle from `start`, so that a large backlog of one starves nobody.
    """
    lists: dict[int, list[tuple[int, int]]] = {}
    scope = start
    for _ in range(_VISITS):
        values: dict[str, Any] = {"index": index_id, "scope": scope}
        following = connection.execute(_NEXT_SCOPE, values).scalar_one()
        if following is None and scope == 0:
            break
        scope = following or 0
        if scope in lists:
            break
        values = {"index": index_id, "scope": scope, "now": now, "some": limit}
        lists[scope] = [(scope, row.seq) for row in connection.execute(_DUE, values)]
        if sum(map(bool, lists.values())) == _SCOPES:
            break
    turns = [item for turn in zip_longest(*lists.values()) for item in turn if item is not None]
    return turns[:limit], scope


def take(
    connection: Connection, index_id: int, start: int, limit: int, now: float, seconds: float
) -> tuple[list[tuple[int, int]], int]:
    """What `due` gives, taken for so many seconds."""
    taken, following = due(connection, index_id, start, limit, now)
    set_due(connection, index_id, taken, now + seconds)
    return taken, following


def backlog(connection: Connection, index_id: int) -> int:
    """How many messages wait."""
    query = select(func.count()).where(outbox.c.index_id == index_id)
    return int(connection.execute(query).scalar_one())


def set_due(
    connection: Connection, index_id: int, places: Sequence[tuple[int, int]], at: float
) -> None:
    """Let these (scope id, seq) be taken from the time `at` on."""
    rows = [{"i": index_id, "o": scope, "s": seq, "at": at} for scope, seq in places]
    if rows:
        connection.execute(_SET_DUE, rows)


def waiting(
    connection: Connection, index_id: int, scope_id: int | None, limit: int
) -> list[Pending]:
    """Up to `limit` messages of the scope without a vector, oldest first, leased or not."""
    query = (
        select(outbox.c.seq)
        .where(outbox.c.index_id == index_id, outbox.c.scope_id == scope_id)
        .order_by(outbox.c.seq)
        .limit(limit)
    )
    return texts(connection, [row.seq for row in connection.execute(query)])


def store(
    connection: Connection,
    index_id: int,
    pending: Sequence[Pending],
    encoded: Sequence[Encoded],
) -> int:
    """Write vectors of messages that still exist and take them off the queue; return how many."""
    rows = [
        {
            "s": item.seq,
            "i": index_id,
            "data": made.vectors.astype("<f2").tobytes(),
            "passages": None if made.passages is None else made.passages.tobytes(),
            "width": None if made.passages is None else made.passages.shape[1],
            "spans": _spans(item.text, made),
        }
        for item, made in zip(pending, encoded, strict=True)
    ]
    # Not every client adds up what many inserts did.
    written = sum(connection.execute(_INSERT_VECTOR, row).rowcount for row in rows)
    token_rows = [
        {
            "s": item.seq,
            "i": index_id,
            "width": made.tokens.shape[1],
            "data": made.tokens.astype(np.int8, copy=False).tobytes(),
        }
        for item, made in zip(pending, encoded, strict=True)
        if made.tokens is not None and len(made.tokens)
    ]
    if token_rows:
        connection.execute(_INSERT_TOKENS, token_rows)
    settled = [{"s": item.seq, "o": item.scope_id, "i": index_id} for item in pending]
    connection.execute(_SETTLE, settled)
    return written


def _spans(text: str, made: Encoded) -> bytes | None:
    """Where the passages stand, of a text that has several."""
    if made.passages is None or len(made.passages) < 2:
        return None
    spans = passages(text)
    return np.array(spans, "<i4").tobytes() if len(spans) == len(made.passages) else None


def texts(connection: Connection, seqs: Sequence[int]) -> list[Pending]:
    """The texts to embed of these messages, in order; erased ones are left out."""
    found: dict[int, Pending] = {}
    for some in in_batches(seqs):
        query = stored_columns().add_columns(sessions.c.scope_id)
        chosen = query.where(messages.c.seq.in_(some))
        for row in connection.execute(chosen):
            message = message_of(row).message
            text = "" if message.role == "system" else index_text(message)
            found[row.seq] = Pending(row.seq, row.scope_id, text)
    return [found[seq] for seq in seqs if seq in found]


def queue_missing(connection: Connection, index_id: int) -> None:
    """Queue every message that has no vector in this index."""
    has = exists().where(vectors.c.index_id == index_id, vectors.c.seq == keywords.c.seq)
    missing = select(literal(index_id), keywords.c.scope_id, keywords.c.seq, literal(0.0)).where(
        ~has
    )
    statement = upsert(outbox).from_select(["index_id", "scope_id", "seq", "due"], missing)
    connection.execute(statement.on_conflict_do_nothing())


def rebuild(connection: Connection, scope_id: int, *, vectors_too: bool) -> int:
    """Make a scope's keyword rows again, and queue its messages; return how many there are."""
    connection.execute(delete(keywords).where(keywords.c.scope_id == scope_id))
    key = connection.execute(select(scopes.c.key).where(scopes.c.id == scope_id)).scalar_one()
    item = Scope.from_key(key).items
    if vectors_too:
        of_scope = select(vectors.c.seq).where(
            # Every index by name: by scope alone this would scan all tenants' rows.
            vectors.c.index_id.in_(select(indexes.c.id)),
            vectors.c.scope_id == scope_id,
        )
        note_removals(connection, [row.seq for row in connection.execute(of_scope)])
        connection.execute(
            delete(tokens).where(
                # Every index by name: by seq alone this would scan all tenants' rows.
                tokens.c.index_id.in_(select(indexes.c.id)),
                tokens.c.seq.in_(select(vectors.c.seq).where(vectors.c.scope_id == scope_id)),
            )
        )
        connection.execute(delete(vectors).where(vectors.c.scope_id == scope_id))
    query = (
        stored_columns()
        .add_columns(messages.c.session_id)
        .where(sessions.c.scope_id == scope_id)
        .order_by(messages.c.seq)
    )
    rows = [
        {
            "seq": row.seq,
            "scope_id": scope_id,
            "session_id": row.session_id,
            **keyword_row(message_of(row).message, item=item),
        }
        for row in connection.execute(query)
    ]
    if rows:
        connection.execute(insert(keywords), rows)
    if vectors_too:
        each = keywords.join(indexes, indexes.c.active > 0)
        every = (
            select(indexes.c.id, keywords.c.scope_id, keywords.c.seq, literal(0.0))
            .select_from(each)
            .where(keywords.c.scope_id == scope_id)
        )
        queue = upsert(outbox).from_select(["index_id", "scope_id", "seq", "due"], every)
        connection.execute(
            queue.on_conflict_do_update(
                index_elements=["index_id", "scope_id", "seq"], set_={"due": 0.0}
            )
        )
    connection.execute(
        update(scopes).where(scopes.c.id == scope_id).values(generation=scopes.c.generation + 1)
    )
    return len(rows)


# Statements built once: compiling them anew would cost as much as running them.
_NEXT_SCOPE: Final = select(func.min(outbox.c.scope_id)).where(
    outbox.c.index_id == bindparam("index"), outbox.c.scope_id > bindparam("scope")
)
_ANY_DUE: Final = (
    select(outbox.c.seq)
    .where(outbox.c.index_id == bindparam("index"), outbox.c.due <= bindparam("now"))
    .limit(1)
)
_DUE: Final = (
    select(outbox.c.seq)
    .where(
        outbox.c.index_id == bindparam("index"),
        outbox.c.scope_id == bindparam("scope"),
        outbox.c.due <= bindparam("now"),
    )
    .order_by(outbox.c.seq)
    .limit(bindparam("some"))
    .with_for_update(skip_locked=True)  # two workers take turns, neither waits
)
_INSERT_VECTOR: Final = (
    upsert(vectors)
    .from_select(
        ["index_id", "scope_id", "seq", "data", "passages", "width", "spans"],
        # Only of a message that exists in this transaction: an erase cannot be undone by a worker.
        select(
            bindparam("i"),
            keywords.c.scope_id,
            keywords.c.seq,
            bindparam("data"),
            bindparam("passages"),
            bindparam("width"),
            bindparam("spans"),
        ).where(keywords.c.seq == bindparam("s")),
    )
    .on_conflict_do_nothing()
    .execution_options(preserve_rowcount=True)  # psycopg forgets that of an INSERT otherwise
)
_INSERT_TOKENS: Final = (
    upsert(tokens)
    .from_select(
        ["index_id", "seq", "width", "data"],
        select(bindparam("i"), keywords.c.seq, bindparam("width"), bindparam("data")).where(
            keywords.c.seq == bindparam("s")
        ),
    )
    .on_conflict_do_nothing()
)
_PLACE: Final = (
    (outbox.c.index_id == bindparam("i"))
    & (outbox.c.scope_id == bindparam("o"))
    & (outbox.c.seq == bindparam("s"))
)
_SETTLE: Final = delete(outbox).where(_PLACE)
_SET_DUE: Final = update(outbox).where(_PLACE).values(due=bindparam("at"))
