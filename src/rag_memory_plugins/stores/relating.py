"""Entities and the facts between them, read from names and what holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Entity, Relation
from rag_memory_plugins.stores.fact_reading import facts_of, id_of
from rag_memory_plugins.stores.fact_rows import micros, told
from rag_memory_plugins.stores.naming import PAIRS, key_of, meant
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import fact_names, fact_statements, holds, messages

__all__ = ["entities", "relations"]

_MOST: Final = 10_000
"""Facts of one graph."""


def entities(connection: Connection, scope: Scope, name: str | None, limit: int) -> list[Entity]:
    """The entity that a name means, or all that facts hold of, most facts first."""
    scope_id = id_of(connection, scope)
    if scope_id is None:
        return []
    count = func.count().label("facts")
    query = select(holds.c.subject, count).where(
        holds.c.scope_id == scope_id,
        holds.c.to_us.is_(None),
        holds.c.predicate.not_in(list(PAIRS)),
    )
    if name is not None:
        found = meant(connection, scope_id, name)
        if found is None:
            return []
        rows: Sequence[Any] = connection.execute(
            query.where(holds.c.subject == found).group_by(holds.c.subject)
        ).all()
        counted = {bytes(row.subject): int(row.facts) for row in rows} or {found: 0}
    else:
        ordered = query.group_by(holds.c.subject).order_by(count.desc(), holds.c.subject)
        rows = connection.execute(ordered.limit(limit)).all()
        counted = {bytes(row.subject): int(row.facts) for row in rows}
    spelt = _names(connection, scope_id, counted)
    return [
        Entity(names[0], names, facts)
        for entity, facts in counted.items()
        if (names := spelt.get(entity, ()))
    ]


def relations(
    connection: Connection, scope: Scope, name: str | None, depth: int, at: datetime
) -> list[Relation]:
    """Facts between entities at a moment: up to `depth` steps from a name, or all."""
    scope_id = id_of(connection, scope)
    if scope_id is None:
        return []
    values = {"scope": scope_id, "at": micros(at), "n": _MOST}
    rows: dict[int, Any] = {}
    if name is None:
        rows = {row.id: row for row in connection.execute(_EDGES, values)}
    else:
        start = meant(connection, scope_id, name)
        known, last = ({start}, {start}) if start is not None else (set(), set())
        for _ in range(depth):
            found: list[Any] = []
            for some in in_batches(sorted(last)):
                for ends in (holds.c.subject, fact_names.c.entity):
                    found += connection.execute(_EDGES.where(ends.in_(some)), values)
            rows |= {row.id: row for row in found}
            near = {bytes(end) for row in found for end in (row.subject, row.entity)}
            last = near - known
            known |= near
            if not last:
                break
    spelt = _names(
        connection, scope_id, {bytes(e) for r in rows.values() for e in (r.subject, r.entity)}
    )
    edges = sorted(rows.values(), key=lambda row: (row.from_us, row.id))
    facts = facts_of(connection, edges)
    return [
        Relation(spelt[bytes(row.subject)][0], spelt[bytes(row.entity)][0], fact)
        for row, fact in zip(edges, facts, strict=True)
    ]


def _names(
    connection: Connection, scope_id: int, found: Collection[bytes]
) -> dict[bytes, tuple[str, ...]]:
    """The names of each entity, the fullest first."""
    spelt: dict[bytes, list[tuple[bool, str]]] = {}
    for some in in_batches(sorted(found)):
        query = _TEXTS.where(fact_names.c.scope_id == scope_id, fact_names.c.entity.in_(some))
        for row in connection.execute(query):
            text = told(row.extra)["object" if row.in_object else "subject"]
            entity = bytes(row.entity)
            spelt.setdefault(entity, []).append((key_of(text) != entity, text))
    return {entity: tuple(text for _, text in sorted(names)) for entity, names in spelt.items()}


_TEXTS: Final = select(fact_names, messages.c.extra).join(
    messages, messages.c.seq == fact_names.c.seq
)
_EDGES: Final = (
    select(holds, fact_names.c.entity)
    .join(fact_statements, fact_statements.c.seq == holds.c.seq)
    .join(
        fact_names,
        (fact_names.c.scope_id == holds.c.scope_id)
        & (fact_names.c.name == fact_statements.c.object),
    )
    .where(
        holds.c.scope_id == bindparam("scope"),
        holds.c.from_us <= bindparam("at"),
        holds.c.to_us.is_(None) | (holds.c.to_us > bindparam("at")),
        fact_names.c.entity != holds.c.subject,
        holds.c.predicate.not_in(list(PAIRS)),
    )
    .order_by(holds.c.from_us, holds.c.id)
    .limit(bindparam("n"))
)
