"""What an erase took, and a second look at every table for what is left of it.

Plain units of work. Conditions name every index, so that no look reads other tenants' rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    folds,
    indexes,
    metadata,
    mirror_removals,
    scopes,
    sessions,
)

__all__ = ["NAMES", "Taken", "left"]

NAMES: Final[Mapping[str, str]] = {
    "messages": "messages",
    "keywords": "keywords",
    "vectors": "vectors",
    "tokens": "token vectors",
    "summaries": "summaries",
    "pins": "pins",
    "items": "items",
    "facts": "facts",
    "fact_statements": "facts",
    "calibrations": "calibrations",
    "sessions": "sessions",
}
"""Tables as a receipt names them."""


@dataclass
class Taken:
    """What one erase took, by numbers that are never given out again."""

    scope_id: int = 0
    whole: bool = False
    """The scope itself."""
    sessions: Sequence[int] = ()
    """Sessions that were erased as such."""
    seqs: Sequence[int] = ()
    counts: dict[str, int] = field(default_factory=dict)


def left(connection: Connection, taken: Taken) -> dict[str, int]:
    """How many rows each table still has of it; empty when nothing is left."""
    found = {}
    for table in metadata.sorted_tables:
        count = _left_in(connection, table, taken)
        if count:
            found[NAMES.get(table.name, table.name)] = count
    return found


def _left_in(connection: Connection, table: Table, taken: Taken) -> int:
    if table is scopes:
        return _count(connection, table, table.c.id == taken.scope_id) if taken.whole else 0
    if table is sessions:
        return _in(connection, table, table.c.id, taken.sessions)
    if table is mirror_removals:  # a receipt says by itself what a vector store still has
        return 0
    inside: list[Any] = []
    if "index_id" in table.c:
        inside = [table.c.index_id.in_(select(indexes.c.id))]
    if "scope_id" in table.c and taken.whole:
        return _count(connection, table, table.c.scope_id == taken.scope_id, *inside)
    if "seq" in table.c and "session_id" not in table.c:
        if "scope_id" in table.c:
            inside.append(table.c.scope_id == taken.scope_id)
        # What notes that a message is gone names it.
        return (
            0
            if table.name == "removals"
            else _in(connection, table, table.c.seq, taken.seqs, *inside)
        )
    if "seq" in table.c:
        return _in(connection, table, table.c.seq, taken.seqs)
    if "session_id" in table.c and table is not folds:
        return _in(connection, table, table.c.session_id, taken.sessions)
    return 0


def _in(
    connection: Connection, table: Table, column: Any, values: Sequence[int], *inside: Any
) -> int:
    return sum(
        _count(connection, table, column.in_(some), *inside) for some in in_batches(list(values))
    )


def _count(connection: Connection, table: Table, *inside: Any) -> int:
    query = select(func.count()).select_from(table).where(*inside)
    return int(connection.execute(query).scalar_one())
