"""What was said around a message, read by its place in the session: no query, no search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, func, select

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import messages, text_hash
from rag_memory_plugins.stores.summarising import find_session
from rag_memory_plugins.types import Messages

__all__ = ["windows_of"]

_END: Final = 2**63 - 1


def windows_of(
    connection: Connection, namespace: Namespace, ids: Sequence[str], before: int, after: int
) -> list[Messages]:
    """Messages of these ids with those around them; see `ports.MessageLog.aaround`."""
    place = find_session(connection, namespace)
    if place is None:
        return []
    session = {"session": place.session_id}
    edges: list[tuple[int, int]] = []
    for some in in_batches([text_hash(key) for key in dict.fromkeys(ids)]):
        asked = {**session, "before": before, "after": after, "hashes": some}
        edges += [(row.below, row.above) for row in connection.execute(_EDGES, asked)]
    windows = [{**session, "below": below, "above": above} for below, above in _merged(edges)]
    return [
        Messages(message_of(row).message for row in connection.execute(_BETWEEN, window))
        for window in windows
    ]


def _merged(edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Edges are of the first messages outside: where one is inside the other, windows touch."""
    merged: list[tuple[int, int]] = []
    for below, above in sorted(edges):
        if merged and below < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], above))
        else:
            merged.append((below, above))
    return merged


def _outside(*, below: bool) -> ColumnElement[int]:
    """`seq` of the nearest message of the session that is not in the window any more."""
    other = messages.alias()
    side = other.c.seq < messages.c.seq if below else other.c.seq > messages.c.seq
    nearest = (
        select(other.c.seq)
        .where(other.c.session_id == bindparam("session"), side)
        .order_by(other.c.seq.desc() if below else other.c.seq)
        .limit(1)
        .offset(bindparam("before" if below else "after", type_=Integer))
        .correlate(messages)
        .scalar_subquery()
    )
    return func.coalesce(nearest, 0 if below else _END)


_EDGES: Final = select(
    _outside(below=True).label("below"), _outside(below=False).label("above")
).where(
    messages.c.session_id == bindparam("session"),
    messages.c.id_hash.in_(bindparam("hashes", expanding=True)),
)
_BETWEEN: Final = (
    stored_columns()
    .where(
        messages.c.session_id == bindparam("session"),
        messages.c.seq > bindparam("below"),
        messages.c.seq < bindparam("above"),
    )
    .order_by(messages.c.seq)
)
