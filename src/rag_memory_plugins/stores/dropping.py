"""What is removed of an index that no embedder is used for any more. Plain units of work."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, delete, func, select, update

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import RemovedPoint
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.mirroring import MARK
from rag_memory_plugins.stores.schema import (
    ACTIVE,
    calibrations,
    indexes,
    meta,
    mirror_removals,
    mirrors,
    outbox,
    scopes,
    tokens,
    vectors,
)

__all__ = ["Retired", "finish", "page", "removals", "remove", "retire"]

_ROWS: Final = 1_000


@dataclass(frozen=True)
class Retired:
    """An index that no search uses: its number and the length of its vectors."""

    id: int
    dimension: int
    fingerprint: str


def retire(connection: Connection, fingerprint: str) -> Retired | list[str] | None:
    """Give it no new messages; None for the last one that serves, the known ones for no one."""
    rows = connection.execute(select(indexes)).all()
    found = next((row for row in rows if row.fingerprint == fingerprint), None)
    if found is None:
        return [row.fingerprint for row in rows]
    if found.active == ACTIVE and sum(row.active == ACTIVE for row in rows) == 1:
        return None
    connection.execute(update(indexes).where(indexes.c.id == found.id).values(active=0))
    connection.execute(delete(outbox).where(outbox.c.index_id == found.id))
    return Retired(found.id, found.dimension, fingerprint)


def page(connection: Connection, place: Retired) -> tuple[list[RemovedPoint], list[int]]:
    """(points of the next vectors, their numbers)."""
    query = (
        select(vectors.c.id, vectors.c.seq, vectors.c.data, scopes.c.key)
        .join(scopes, scopes.c.id == vectors.c.scope_id)
        .where(vectors.c.index_id == place.id)
        .limit(_ROWS)
    )
    rows = connection.execute(query).all()
    points = [
        RemovedPoint(Scope.from_key(row.key), row.seq, len(row.data) // (2 * place.dimension))
        for row in rows
        if row.data
    ]
    return points, [row.id for row in rows]


def remove(connection: Connection, place: Retired, ids: Sequence[int]) -> int:
    """Delete these vectors and the token vectors beside them; how many vectors there were."""
    gone = 0
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        seqs = select(vectors.c.seq).where(vectors.c.id.in_(some))
        connection.execute(
            delete(tokens).where(tokens.c.index_id == place.id, tokens.c.seq.in_(seqs))
        )
        gone += connection.execute(delete(vectors).where(vectors.c.id.in_(some))).rowcount
    # Their bytes are overwritten as those of what was erased: see `stores/erasing.py`.
    mark = upsert(meta).values(key="erase_pending", value=uuid.uuid4().hex)
    connection.execute(
        mark.on_conflict_do_update(index_elements=["key"], set_={"value": mark.excluded.value})
    )
    return gone


def removals(connection: Connection, place: Retired, name: str) -> list[RemovedPoint]:
    """What was erased and a vector store of this index still holds."""
    query = select(mirror_removals).where(mirror_removals.c.mirror_id.in_(_of_store(place, name)))
    return [
        RemovedPoint(Scope.from_key(row.scope), row.seq, row.pieces)
        for row in connection.execute(query)
    ]


def finish(connection: Connection, place: Retired, name: str) -> list[str]:
    """Forget the index; names of vector stores that were not emptied."""
    emptied = set(connection.execute(_of_store(place, name)).scalars()) if name else set()
    rows = connection.execute(select(mirrors).where(mirrors.c.index_id == place.id)).all()
    ids = [row.id for row in rows]
    connection.execute(delete(mirror_removals).where(mirror_removals.c.mirror_id.in_(ids)))
    connection.execute(delete(mirrors).where(mirrors.c.id.in_(ids)))
    connection.execute(delete(tokens).where(tokens.c.index_id == place.id))
    connection.execute(delete(calibrations).where(calibrations.c.fingerprint == place.fingerprint))
    connection.execute(delete(indexes).where(indexes.c.id == place.id))
    return sorted(row.name for row in rows if row.id not in emptied)


def _of_store(place: Retired, name: str) -> Select[tuple[int]]:
    stem = name.partition(MARK)[0]
    own = (mirrors.c.name == stem) | (func.substr(mirrors.c.name, 1, len(stem) + 1) == stem + MARK)
    return select(mirrors.c.id).where(mirrors.c.index_id == place.id, own)
