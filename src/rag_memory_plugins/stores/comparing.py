"""Whether two databases hold the same: digests of their rows, page by page.

Plain units of work over one side; `admin/checking.py` asks both.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from rag_memory_plugins.stores.moving import COPIED
from rag_memory_plugins.stores.schema import folds, keywords, messages, scopes, sessions, vectors

__all__ = ["COMPARED", "Digests", "digest_page", "sample", "scope_keys", "unembedded"]

COMPARED: Final = tuple(table for table in COPIED if table is not folds)
_GOES_ON: Final = {
    "scopes": {"generation"},  # a rebuild raises it
    "session_sizes": {"version"},  # a summary made anew does
}
_ROWS: Final = 500
_QUERY: Final = 200
"""Characters of a message that are searched for."""

Digests = dict[int, Any]
"""A running digest for each scope, of its messages in order; of other tables one under 0."""


def digest_page(
    connection: Connection, table: Table, after: tuple[Any, ...] | None, into: Digests
) -> tuple[tuple[Any, ...] | None, int]:
    """Digest the next rows; (where they end, None after the last; how many there were)."""
    keys = list(table.primary_key.columns)
    columns = [column for column in table.columns if column.name not in _left_out(table)]
    query = select(*keys, *columns).order_by(*keys).limit(_ROWS)
    query = query.execution_options(yield_per=50)
    if table is messages:
        place = sessions.join(messages, messages.c.session_id == sessions.c.id)
        query = query.add_columns(sessions.c.scope_id).select_from(place)
    if after is not None:
        query = query.where(_beyond(keys, after))
    last, rows = None, 0
    for row in connection.execute(query):
        values = tuple(row)
        last, rows = values[: len(keys)], rows + 1
        scope = values[-1] if table is messages else 0
        digest = into.get(scope) or into.setdefault(scope, hashlib.blake2b(digest_size=16))
        digest.update(repr(values[len(keys) :]).encode("utf-8", "surrogatepass"))
    return (last if rows == _ROWS else None), rows


def _left_out(table: Table) -> set[str]:
    return _GOES_ON.get(table.name, set())


def _beyond(keys: list[Any], after: tuple[Any, ...]) -> Any:
    from sqlalchemy import tuple_

    return keys[0] > after[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*after)


def scope_keys(connection: Connection, ids: list[int]) -> list[str]:
    """The keys of these scopes, sorted."""
    query = select(scopes.c.key).where(scopes.c.id.in_(ids))
    return sorted(connection.execute(query).scalars())


def sample(connection: Connection, limit: int) -> list[tuple[int, str, str, str]]:
    """(id, key, a session, what its first message says) of some scopes, evenly spread."""
    first = select(func.min(keywords.c.seq)).group_by(keywords.c.scope_id)
    seqs = list(connection.execute(first.order_by(func.min(keywords.c.seq))).scalars())
    chosen = seqs[:: max(1, len(seqs) // max(1, limit))][:limit]
    query = (
        select(scopes.c.id, scopes.c.key, sessions.c.name, messages.c.content)
        .join_from(messages, sessions, sessions.c.id == messages.c.session_id)
        .join(scopes, scopes.c.id == sessions.c.scope_id)
        .where(messages.c.seq.in_(chosen), ~scopes.c.key.like("%@"))
        .order_by(messages.c.seq)
    )
    return [(row[0], row[1], row[2], row[3][:_QUERY]) for row in connection.execute(query)]


def unembedded(connection: Connection, index_id: int, scope_id: int) -> int:
    """How many messages of a scope have no vector."""
    held = select(func.count()).where(
        vectors.c.index_id == index_id, vectors.c.scope_id == scope_id
    )
    every = select(func.count()).where(keywords.c.scope_id == scope_id)
    return int(connection.execute(every).scalar_one() - connection.execute(held).scalar_one())
