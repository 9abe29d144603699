"""Which messages of a session are archived, for whoever keeps a short list of active ones.

The messages stand in the log as before and are found as before. Tables of integers of their own:
rows that hold texts are never updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Select,
    delete,
    exists,
    func,
    select,
)

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    archive_ends,
    archived,
    messages,
    scopes,
    sessions,
    text_hash,
)
from rag_memory_plugins.stores.summarising import find_session

__all__ = ["archive", "counted", "listed", "names"]


def listed(
    connection: Connection,
    namespace: Namespace,
    is_archived: bool | None,
    limit: int | None = None,
    offset: int = 0,
) -> list[StoredMessage]:
    """Messages of the session in order: the archived, the others (False) or all (None)."""
    place = find_session(connection, namespace)
    if place is None:
        return []
    query = _chosen(stored_columns(), place.session_id, is_archived).order_by(messages.c.seq)
    query = query.limit(limit).offset(offset or None)
    return [message_of(row) for row in connection.execute(query)]


def counted(connection: Connection, namespace: Namespace, is_archived: bool | None) -> int:
    """How many messages `listed` gives."""
    place = find_session(connection, namespace)
    if place is None:
        return 0
    query = _chosen(select(func.count(messages.c.seq)), place.session_id, is_archived)
    return int(connection.execute(query).scalar_one())


def archive(
    connection: Connection, namespace: Namespace, ids: Sequence[str], is_archived: bool
) -> list[StoredMessage]:
    """Archive messages of the session, or bring them back; those of the ids that there are."""
    place = find_session(connection, namespace)
    found: list[StoredMessage] = []
    for some in in_batches([text_hash(message_id) for message_id in ids]) if place else ():
        query = stored_columns().where(
            messages.c.session_id == place.session_id, messages.c.id_hash.in_(some)
        )
        found += [message_of(row) for row in connection.execute(query)]
    for batch in in_batches([item.seq for item in found]):
        if is_archived:
            rows = [{"seq": seq} for seq in batch]
            connection.execute(upsert(archived).on_conflict_do_nothing(), rows)
        else:
            connection.execute(delete(archived).where(archived.c.seq.in_(batch)))
    if found:
        _move_end(connection, place.session_id, min(item.seq for item in found), is_archived)
    return sorted(found, key=lambda item: item.seq)


def _chosen(query: Select[Any], session_id: int, is_archived: bool | None) -> Select[Any]:
    query = query.where(messages.c.session_id == session_id)
    if is_archived is None:
        return query
    marked = exists().where(archived.c.seq == messages.c.seq)
    if is_archived:
        return query.where(marked)
    return query.where(messages.c.seq > func.coalesce(_end(session_id), 0), ~marked)


def _end(session_id: int) -> ScalarSelect[int]:
    """Up to which message everything in the session is archived: what is active stands behind.

    Messages are archived oldest first, and by the thousand. One number a session spares whoever
    lists the active ones a look at each of those.
    """
    of_session = archive_ends.c.session_id == session_id
    return select(archive_ends.c.upto).where(of_session).scalar_subquery()


def _move_end(connection: Connection, session_id: int, changed: int, is_archived: bool) -> None:
    """Put the end right after messages from `changed` on were archived, or brought back."""
    end = connection.execute(select(func.coalesce(_end(session_id), 0))).scalar_one()
    if is_archived:
        behind = _chosen(select(func.min(messages.c.seq)), session_id, False)
        last = select(func.max(messages.c.seq)).where(messages.c.session_id == session_id)
        first = connection.execute(behind).scalar_one()
        new = first - 1 if first is not None else connection.execute(last).scalar_one()
    else:
        new = min(end, changed - 1)
    if new != end:
        statement = upsert(archive_ends).values({"session_id": session_id, "upto": new})
        change = {"upto": statement.excluded.upto}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["session_id"], set_=change)
        )


def names(connection: Connection, scope: Scope) -> list[str]:
    """The scope's sessions that hold a message, in the order they began."""
    query = (
        select(sessions.c.name)
        .join(scopes, scopes.c.id == sessions.c.scope_id)
        .where(
            scopes.c.key_hash == text_hash(scope.key),
            exists().where(messages.c.session_id == sessions.c.id),
        )
        .order_by(sessions.c.id)
    )
    return list(connection.execute(query).scalars())
