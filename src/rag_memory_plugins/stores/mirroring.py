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
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)

from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.ports import Point, RemovedPoint
from rag_memory_plugins.retrieval.columns import from_halves
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.stores.dialects import larger, tenant_of
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
    "MARK",
    "busy",
    "find",
    "lease",
    "next_points",
    "note_removals",
    "open_mirror",
    "release",
    "removed",
    "removed_tenant",
    "to_remove",
    "unmirrored",
    "waiting",
]


MARK: Final = "#"
"""Before what tells one making of a store from the next, in its name."""


def find(connection: Connection, index_id: int, name: str) -> int:
    """The id of a store's row, 0 when it was never opened with this index."""
    row = _row(connection, index_id, name)
    return row[0] if row else 0


def open_mirror(connection: Connection, index_id: int, name: str) -> int:
    """The id of a store's row, made if there is none: it then gets every vector there is.

    So does a store that was made anew since, by the mark in its name; what it must let go of stays
    noted. Of a store whose mark is not known yet nothing is changed.
    """
    row = _row(connection, index_id, name)
    if row:
        found, known = row
        if known != name and MARK in name:
            again = update(mirrors).where(mirrors.c.id == found).values(name=name, upto=0)
            connection.execute(again)
        return found
    key = connection.execute(
        insert(mirrors), {"index_id": index_id, "name": name, "upto": 0, "due": 0.0}
    ).inserted_primary_key
    return int(key[0]) if key is not None else 0


def _row(connection: Connection, index_id: int, name: str) -> tuple[int, str] | None:
    """(id, name) of a store's row, whatever mark it had."""
    stem = name.partition(MARK)[0]
    query = select(mirrors.c.id, mirrors.c.name).where(
        mirrors.c.index_id == index_id,
        # Not LIKE, which folds case.
        (mirrors.c.name == stem) | (func.substr(mirrors.c.name, 1, len(stem) + 1) == stem + MARK),
    )
    row = connection.execute(query.order_by(mirrors.c.id.desc()).limit(1)).first()
    return (int(row.id), str(row.name)) if row else None


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
    connection: Connection, mirror_id: int, dimension: int, limit: int, horizon: int | None
) -> tuple[list[Point], int]:
    """(the next messages that the store has not got, how far it will be then).

    Beyond the `horizon` a vector may still be written that has a smaller number than one that is
    there: passing it by would lose it.
    """
    values = {"mirror": mirror_id, "some": limit, "horizon": _END if horizon is None else horizon}
    found = connection.execute(_NEXT, values).all()
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


def release(connection: Connection, mirror_id: int, name: str, upto: int = 0) -> None:
    """Let others at the store, which has everything up to `upto` if this is still its name."""
    reached = case((mirrors.c.name == name, larger(mirrors.c.upto, upto)), else_=mirrors.c.upto)
    values = {"upto": reached, "due": 0.0}
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


def removed_tenant(connection: Connection, mirror_id: int, tenant: str) -> None:
    """Cross off all of a tenant: the store has let go of it as a whole."""
    key = Scope(tenant, SHARED).key.partition("/")[0]
    own = (mirror_removals.c.mirror_id == mirror_id) & (tenant_of(mirror_removals.c.scope) == key)
    connection.execute(delete(mirror_removals).where(own))


def waiting(connection: Connection, index_id: int | None = None) -> tuple[int, str]:
    """(how many removals stores of an index, or of any, wait for; the name of one of them)."""
    query = (
        select(func.count(), func.max(mirrors.c.name))
        .join_from(mirror_removals, mirrors, mirrors.c.id == mirror_removals.c.mirror_id)
        .where(literal(True) if index_id is None else mirrors.c.index_id == index_id)
    )
    count, name = connection.execute(query).one()
    return int(count), name or ""


_END: Final = 2**63 - 1
_MINE: Final = mirrors.c.id == bindparam("mirror")
_UPTO: Final = select(mirrors.c.upto).where(_MINE).scalar_subquery()
_INDEX: Final = select(mirrors.c.index_id).where(_MINE).scalar_subquery()
_PIECES: Final = func.length(vectors.c.data) // (2 * indexes.c.dimension)
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
    .where(_AFTER, vectors.c.id <= bindparam("horizon"))
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
