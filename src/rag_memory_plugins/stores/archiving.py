"""Which messages of a session are archived, for whoever keeps a short list of active ones.

The messages stand in the log as before and are found as before. A table of integers of its own:
rows that hold texts are never updated.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, select
from sqlalchemy.dialects.sqlite import insert as upsert

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import archived, messages, scopes, sessions, text_hash
from rag_memory_plugins.stores.summarising import find_session

__all__ = ["archive", "listed", "names"]


def listed(
    connection: Connection, namespace: Namespace, is_archived: bool | None
) -> list[StoredMessage]:
    """Messages of the session in order: the archived, the others (False) or all (None)."""
    place = find_session(connection, namespace)
    if place is None:
        return []
    query = stored_columns().where(messages.c.session_id == place.session_id)
    if is_archived is not None:
        marked = exists().where(archived.c.seq == messages.c.seq)
        query = query.where(marked if is_archived else ~marked)
    return [message_of(row) for row in connection.execute(query.order_by(messages.c.seq))]


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
    return sorted(found, key=lambda item: item.seq)


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
