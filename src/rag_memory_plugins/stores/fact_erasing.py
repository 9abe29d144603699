"""Facts go with the messages they rest on: what an erase of messages takes of them.

A statement goes when every message it rested on is gone, and one that rested on none when the
session is erased in which it was stated. What is left of its slot is folded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, exists, func, literal_column, select, update

from rag_memory_plugins.stores.fact_rows import refold_all
from rag_memory_plugins.stores.naming import forget_names
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import fact_marks, fact_sources, fact_statements

__all__ = ["drop_statements", "resting_on", "stated_in"]


def resting_on(connection: Connection, seqs: Sequence[int]) -> dict[int, list[int]]:
    """Statements that rest on these messages alone, by scope; of others these are no sources more.

    The messages are no sources of anything after this.
    """
    touched: set[int] = set()
    for some in in_batches(seqs):
        mine = fact_sources.c.source.in_(some)
        touched |= set(connection.execute(select(fact_sources.c.seq).where(mine)).scalars())
        if touched:
            connection.execute(delete(fact_sources).where(mine))
    alone: dict[int, list[int]] = {}
    changed: dict[int, set[bytes]] = {}
    for some in in_batches(sorted(touched)):
        rest = exists().where(fact_sources.c.seq == _f.seq)
        query = select(_f.seq, _f.scope_id, _f.slot, rest.label("rests")).where(_f.seq.in_(some))
        for row in connection.execute(query):
            if row.rests:
                _first_again(connection, row.seq)
                changed.setdefault(row.scope_id, set()).add(bytes(row.slot))
            else:
                alone.setdefault(row.scope_id, []).append(row.seq)
    for scope_id, slots in changed.items():
        refold_all(connection, scope_id, slots)
    return alone


def stated_in(connection: Connection, session_ids: Iterable[int]) -> dict[int, list[int]]:
    """Statements that were stated in these sessions and rest on no message, by scope."""
    found: dict[int, list[int]] = {}
    rests = exists().where(fact_sources.c.seq == _f.seq)
    for some in in_batches(list(session_ids)):
        inside = _f.session_id.in_(some) & (_f.session_id != literal_column("0"))
        query = select(_f.seq, _f.scope_id).where(inside, ~rests)
        for row in connection.execute(query):
            found.setdefault(row.scope_id, []).append(row.seq)
    return found


def drop_statements(connection: Connection, seqs: Sequence[int]) -> int:
    """Forget statements whose texts are being erased, and fold what is left; how many they were."""
    count = 0
    changed: dict[int, set[bytes]] = {}
    gone: dict[int, list[int]] = {}
    names: dict[int, set[bytes]] = {}
    columns = (_f.scope_id, _f.slot, _f.seq, _f.name, _f.object)
    for some in in_batches(seqs):
        for row in connection.execute(select(*columns).where(_f.seq.in_(some))):
            changed.setdefault(row.scope_id, set()).add(bytes(row.slot))
            gone.setdefault(row.scope_id, []).append(row.seq)
            names.setdefault(row.scope_id, set()).update((bytes(row.name), bytes(row.object)))
        if not changed:
            continue
        for table in (fact_sources, fact_marks, fact_statements):
            rows = connection.execute(delete(table).where(table.c.seq.in_(some))).rowcount
            count += rows if table is fact_statements else 0
    for scope_id, slots in changed.items():
        refold_all(connection, scope_id, slots)
        forget_names(connection, scope_id, gone[scope_id], names[scope_id])
    return count


def _first_again(connection: Connection, seq: int) -> None:
    """The message that a statement was read out of may be another one now."""
    first = select(func.min(fact_sources.c.source)).where(fact_sources.c.seq == seq)
    said = first.scalar_subquery()
    read = (_f.seq == seq) & (_f.said > 0)
    connection.execute(update(fact_statements).where(read).values(said=said))


_f = fact_statements.c
