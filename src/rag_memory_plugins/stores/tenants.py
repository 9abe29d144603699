"""A store as its owner sees it: tenants, what each holds, and all that one holds, page by page.

Plain units of work; `admin/admin.py` runs them. Counts come from rows of numbers and from lengths
that the database knows without reading what is that long; no text is read but for an export.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from sqlalchemy import Connection, func, select

from rag_memory_plugins.namespace import SHARED, Scope, SharedUser
from rag_memory_plugins.stores import fact_reading
from rag_memory_plugins.stores.dialects import tenant_of
from rag_memory_plugins.stores.rows import message_of, stored_columns, when
from rag_memory_plugins.stores.schema import (
    ACTIVE,
    archived,
    fact_statements,
    indexes,
    items,
    keywords,
    message_sizes,
    messages,
    outbox,
    pins,
    scopes,
    sessions,
    vectors,
)

__all__ = ["counts", "export_page", "key_of", "scopes_of", "tenants"]

_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_named: Final = tenant_of(scopes.c.key)


def key_of(tenant: str) -> str:
    """The tenant's part of its users' keys. Raises `InvalidNamespace`."""
    return Scope(tenant, SHARED).key.partition("/")[0]


def tenants(connection: Connection, after: str, limit: int) -> list[str]:
    """Keys of the next tenants, in order."""
    name = _named.label("tenant")
    query = select(name).distinct().where(_named > after).order_by(name).limit(limit)
    return list(connection.execute(query).scalars())


def scopes_of(connection: Connection, key: str, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, key) of the next users of a tenant, those of items too."""
    query = select(scopes.c.id, scopes.c.key).where(_named == key, scopes.c.id > after)
    found = connection.execute(query.order_by(scopes.c.id).limit(limit))
    return [(row.id, row.key) for row in found]


def counts(connection: Connection, key: str) -> dict[str, Any]:
    """What a tenant holds."""
    of_tenant = scopes.c.id.in_(select(scopes.c.id).where(_named == key))
    own = select(scopes.c.id).where(of_tenant)
    places = select(sessions.c.id).where(sessions.c.scope_id.in_(own))
    active = select(indexes.c.id).where(indexes.c.active == ACTIVE)
    every = select(indexes.c.id)

    def one(*columns: Any, where: Sequence[Any]) -> Any:
        return connection.execute(select(*columns).where(*where)).one()

    users = one(func.count(func.distinct(_user())), where=[_named == key])[0]
    held = one(func.count(), func.sum(_bytes(keywords)), where=[keywords.c.scope_id.in_(own)])
    item_count = one(func.count(items.c.seq), where=[items.c.scope_id.in_(own)])[0]
    stated = one(func.count(fact_statements.c.seq), where=[fact_statements.c.scope_id.in_(own)])[0]
    inside = [vectors.c.index_id.in_(every), vectors.c.scope_id.in_(own)]
    vector = one(func.count(vectors.c.id), func.sum(func.length(vectors.c.data)), where=inside)
    size = one(func.sum(message_sizes.c.tokens), where=[message_sizes.c.session_id.in_(places)])[0]
    times = one(
        func.min(messages.c.time_us),
        func.max(messages.c.time_us),
        where=[messages.c.session_id.in_(places)],
    )
    waiting = [outbox.c.index_id.in_(active), outbox.c.scope_id.in_(own)]
    return {
        "users": int(users),
        "sessions": int(one(func.count(sessions.c.id), where=[sessions.c.scope_id.in_(own)])[0]),
        "messages": int(held[0]) - int(item_count) - int(stated),
        "items": int(item_count),
        "facts": int(stated),
        "tokens": int(size or 0),
        "vectors": int(vector[0]),
        "bytes": int(held[1] or 0) + int(vector[1] or 0),
        "pending": int(one(func.count(outbox.c.id), where=waiting)[0]),
        "pins": int(one(func.count(pins.c.id), where=[pins.c.scope_id.in_(own)])[0]),
        "first": when(times[0]),
        "last": when(times[1]),
    }


def _user() -> Any:
    return func.replace(func.replace(scopes.c.key, "@facts", ""), "@", "")


def _bytes(table: Any) -> Any:
    return func.length(table.c.terms) + func.length(table.c.names) + func.length(table.c.days)


def export_page(
    connection: Connection, scope_id: int, key: str, after: int
) -> tuple[list[dict[str, Any]], int]:
    """(the next messages or items of a user as plain values, after which to go on; 0 at the end)."""
    scope = Scope.from_key(key)
    query = (
        stored_columns()
        .add_columns(
            items.c.created_us,
            items.c.updated_us,
            items.c.stay_us,
            pins.c.level.label("pin"),
            archived.c.seq.label("archived"),
            fact_statements.c.undone,
        )
        .outerjoin(items, items.c.seq == messages.c.seq)
        .outerjoin(pins, pins.c.seq == messages.c.seq)
        .outerjoin(archived, archived.c.seq == messages.c.seq)
        .outerjoin(fact_statements, fact_statements.c.seq == messages.c.seq)
        .where(sessions.c.scope_id == scope_id, messages.c.seq > after)
        .order_by(messages.c.seq)
        .limit(_PAGE)
    )
    user = None if isinstance(scope.user, SharedUser) else scope.user
    found = connection.execute(query).all()
    sources: dict[int, list[Any]] = {}
    if scope.facts:
        said = fact_reading.sources(connection, [row.seq for row in found])
        sources = {seq: [each._asdict() for each in some] for seq, some in said.items()}
    rows = []
    for row in found:
        stored = message_of(row)
        told = {**stored.message.to_dict(), "session": stored.session, "user": user}
        if scope.facts:
            told["fact"] = {
                **told.pop("metadata")["fact"],
                "sources": sources.get(row.seq, []),
                "undone": bool(row.undone),
            }
        elif scope.items:
            told["item"] = {
                "path": stored.session,
                "key": stored.message.id,
                "created": (_EPOCH + timedelta(microseconds=row.created_us)).isoformat(),
                "updated": (_EPOCH + timedelta(microseconds=row.updated_us)).isoformat(),
                "stay_seconds": None if row.stay_us is None else row.stay_us / 1_000_000,
            }
        if row.pin is not None:
            told["pinned"] = row.pin
        if row.archived is not None:
            told["archived"] = True
        rows.append(told)
    return rows, (found[-1].seq if len(found) == _PAGE else 0)
