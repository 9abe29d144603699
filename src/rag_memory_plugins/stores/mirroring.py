"""What a vector store beside the log still has to get, and to let go of.

Plain units of work; `stores/mirrored.py` runs them. A store follows the vectors in the order they
were written: `mirrors.upto` is moved after the store has acknowledged a batch, so a crash repeats
that batch and loses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Point, RemovedPoint
from rag_memory_plugins.retrieval.columns import from_halves
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    indexes,
    messages,
    mirror_removals,
    mirrors,
    scopes,
    sessions,
    vectors,
)

__all__ = [
    "busy",
    "find",
    "lease",
    "next_points",
    "note_removals",
    "open_mirror",
    "release",
    "removed",
    "to_remove",
    "unmirrored",
    "waiting",
]


def find(connection: Connection, index_id: int, name: str) -> int:
    """The id of a store's row, 0 when it was never opened with this index."""
    query = select(mirrors.c.id).where(mirrors.c.index_id == index_id, mirrors.c.name == name)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def open_mirror(connection: Connection, index_id: int, name: str) -> int:
    """The id of a store's row, made if there is none: it then gets every vector there is."""
    found = find(connection, index_id, name)
    if found:
        return found
    key = connection.execute(
        insert(mirrors), {"index_id": index_id, "name": name, "upto": 0, "due": 0.0}
    ).inserted_primary_key
    return int(key[0]) if key is not None else 0


def busy(connection: Connection, mirror_id: int) -> bool:
    """Whether there is anything that the store must get or let go of."""
    return bool(connection.execute(_BUSY, {"mirror": mirror_id}).scalar_one())


def lease(connection: Connection, mirror_id: int, now: float, seconds: float) -> bool:
    """Take the store for `seconds`; False while somebody else is at it.

    One at a time: what was read to be put must not arrive after its removal.
    """
    statement = (
        update(mirrors)
        .where(mirrors.c.id == mirror_id, mirrors.c.due <= now)
        .values(due=now + seconds)
    )
    return connection.execute(statement).rowcount == 1


def next_points(
    connection: Connection, mirror_id: int, dimension: int, limit: int
) -> tuple[list[Point], int]:
    """(the next messages that the store has not got, how far it will be then)."""
    found = connection.execute(_NEXT, {"mirror": mirror_id, "some": limit}).all()
    if not found:
        return [], 0
    texts = {}
    for some in in_batches([row.seq for row in found]):
        query = stored_columns().where(messages.c.seq.in_(some))
        for row in connection.execute(query):
            texts[row.seq] = index_text(message_of(row).message)
    points = [
        Point(
            Scope.from_key(row.scope),
            row.session,
            row.seq,
            texts[row.seq],
            from_halves(np.frombuffer(row.data, "<f2")).reshape(-1, dimension),
        )
        for row in found
        if row.data
    ]
    return points, int(found[-1].id)


def release(connection: Connection, mirror_id: int, upto: int = 0) -> None:
    """Let others at the store, which has everything up to `upto`."""
    values = {"upto": func.max(mirrors.c.upto, upto), "due": 0.0}
    connection.execute(update(mirrors).where(mirrors.c.id == mirror_id).values(**values))


def unmirrored(
    connection: Connection, mirror_id: int, scope_id: int, limit: int
) -> tuple[list[int], int]:
    """(seqs of a scope's newest messages that the store has not got, how many there are)."""
    values = {"mirror": mirror_id, "scope": scope_id, "some": limit}
    seqs = [row.seq for row in connection.execute(_NOT_YET, values)]
    if len(seqs) < limit:
        return seqs, len(seqs)
    return seqs, int(connection.execute(_HOW_MANY, values).scalar_one())


def note_removals(connection: Connection, seqs: Sequence[int]) -> None:
    """Write down what stores must let go of, before these messages' vectors are deleted."""
    if connection.execute(select(mirrors.c.id).limit(1)).first() is None:
        return
    for some in in_batches(seqs):
        gone = (
            select(mirrors.c.id, scopes.c.key, vectors.c.seq, _PIECES)
            .join_from(vectors, mirrors, mirrors.c.index_id == vectors.c.index_id)
            .join(indexes, indexes.c.id == vectors.c.index_id)
            .join(scopes, scopes.c.id == vectors.c.scope_id)
            # Naming every index lets it use its own: see `stores/erasing.py`.
            .where(vectors.c.index_id.in_(select(indexes.c.id)), vectors.c.seq.in_(some))
        )
        columns = ["mirror_id", "scope", "seq", "pieces"]
        connection.execute(insert(mirror_removals).from_select(columns, gone))


def to_remove(connection: Connection, mirror_id: int, limit: int) -> list[tuple[int, RemovedPoint]]:
    """(id, point) of what the store must let go of, the oldest first."""
    query = (
        select(mirror_removals)
        .where(mirror_removals.c.mirror_id == mirror_id)
        .order_by(mirror_removals.c.id)
        .limit(limit)
    )
    return [
        (row.id, RemovedPoint(Scope.from_key(row.scope), row.seq, row.pieces))
        for row in connection.execute(query)
    ]


def removed(connection: Connection, ids: Sequence[int]) -> None:
    """Cross these off: the store has let go of them."""
    for some in in_batches(ids):
        connection.execute(delete(mirror_removals).where(mirror_removals.c.id.in_(some)))


def waiting(connection: Connection, index_id: int) -> tuple[int, str]:
    """(how many removals stores of an index wait for, the name of one of them)."""
    query = (
        select(func.count(), func.max(mirrors.c.name))
        .join_from(mirror_removals, mirrors, mirrors.c.id == mirror_removals.c.mirror_id)
        .where(mirrors.c.index_id == index_id)
    )
    count, name = connection.execute(query).one()
    return int(count), name or ""


_MINE: Final = mirrors.c.id == bindparam("mirror")
_UPTO: Final = select(mirrors.c.upto).where(_MINE).scalar_subquery()
_INDEX: Final = select(mirrors.c.index_id).where(_MINE).scalar_subquery()
_PIECES: Final = func.length(vectors.c.data) / (2 * indexes.c.dimension)
# By its number alone: an index of the table's would be read from its start.
_AFTER: Final = (literal_column("+vectors.index_id") == _INDEX) & (vectors.c.id > _UPTO)
_BUSY: Final = select(
    exists().where(_AFTER) | exists().where(mirror_removals.c.mirror_id == bindparam("mirror"))
)
_NEXT: Final = (
    select(
        vectors.c.id,
        vectors.c.seq,
        vectors.c.data,
        scopes.c.key.label("scope"),
        sessions.c.name.label("session"),
    )
    .join(scopes, scopes.c.id == vectors.c.scope_id)
    .join(messages, messages.c.seq == vectors.c.seq)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .where(_AFTER)
    .order_by(vectors.c.id)
    .limit(bindparam("some"))
)
_OF_SCOPE: Final = (
    (vectors.c.index_id == _INDEX)
    & (vectors.c.scope_id == bindparam("scope"))
    & (vectors.c.id > _UPTO)
)
_NOT_YET: Final = (
    select(vectors.c.seq).where(_OF_SCOPE).order_by(vectors.c.id.desc()).limit(bindparam("some"))
)
_HOW_MANY: Final = select(func.count()).select_from(vectors).where(_OF_SCOPE)
