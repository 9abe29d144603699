"""Physical erase: delete, make every cache stale, overwrite, and say when it is done.

Deleted rows are zeroed in their pages (secure_delete), the pages go into the file and the WAL is
cut to nothing (TRUNCATE checkpoint). A reader of an old snapshot blocks the cut: the receipt is
then `pending`, a mark in the file asks whoever works on it next, in any process, to try again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.results import EraseReceipt
from rag_memory_plugins.stores import filtering
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.fact_erasing import drop_statements, resting_on, stated_in
from rag_memory_plugins.stores.mirroring import note_removals
from rag_memory_plugins.stores.remaining import NAMES, Taken, left
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    archived,
    calibrations,
    indexes,
    items,
    keywords,
    messages,
    meta,
    outbox,
    pins,
    removals,
    scopes,
    sessions,
    text_hash,
    tokens,
    vectors,
)
from rag_memory_plugins.stores.sizing import forget_sessions, shrink
from rag_memory_plugins.types import Level

__all__ = ["aerase", "afinish", "aforget", "delete_messages", "finished"]

_MARK: Final = "erase_pending"
MOST_REMOVED: Final = 2_000
"""Items of a scope that columns in memory may still hold, left out; then they are read anew."""
_WAITING: Final = "so its bytes cannot be overwritten yet; this is tried again in the background"


async def aerase(database: Database, namespace: Namespace, level: Level) -> EraseReceipt:
    """Erase a session, or all of a user's sessions."""

    def unit(connection: Connection) -> Taken:
        place = _find(connection, namespace)
        if place is None or (level == "session" and place[1] is None):
            return Taken()
        scope_id, session_id = place
        chosen = select(keywords.c.seq).where(keywords.c.scope_id == scope_id)
        if level == "session":
            chosen = chosen.where(keywords.c.session_id == session_id)
        seqs = list(connection.execute(chosen).scalars())
        own = select(sessions.c.id).where(sessions.c.scope_id == scope_id)
        if level == "session":
            own = own.where(sessions.c.id == session_id)
        ids = list(connection.execute(own).scalars())
        gone = delete_messages(connection, scope_id, seqs)
        gone["facts"] += _erase_facts(connection, stated_in(connection, ids))
        if level == "user":
            gone["facts"] += _erase_beside(connection, namespace)
        forget_sessions(connection, own)
        gone["sessions"] = connection.execute(
            delete(sessions).where(sessions.c.id.in_(own))
        ).rowcount
        if level == "user":
            of_scope = calibrations.c.scope_id == scope_id
            gone["calibrations"] = connection.execute(delete(calibrations).where(of_scope)).rowcount
            connection.execute(delete(scopes).where(scopes.c.id == scope_id))
        return Taken(scope_id, level == "user", ids, seqs, gone)

    return await finished(database, namespace, level, await database.awrite(unit, namespace.scope))


async def aforget(
    database: Database,
    namespace: Namespace,
    ids: Sequence[str] | None,
    where: Filter | None,
    level: Level,
) -> EraseReceipt:
    """Erase messages of a session, or of all a user's: those of these ids that match.

    What matches is looked for in the transaction that erases it. A tool call and its result are
    two messages here: erasing more than was asked for would be worse than parting them.
    """
    session = namespace.session if level == "session" else None

    def unit(connection: Connection) -> Taken:
        place = _find(connection, namespace)
        if place is None or (level == "session" and place[1] is None):
            return Taken()
        scope_id, session_id = place
        chosen = None if ids is None else _by_id(connection, scope_id, session_id, ids, level)
        if chosen is None or (chosen and where is not None):
            matching = filtering.seqs(connection, scope_id, where, session).tolist()
            chosen = matching if chosen is None else np.intersect1d(chosen, matching).tolist()
        gone = delete_messages(connection, scope_id, chosen)
        return Taken(scope_id, False, (), chosen, gone)

    return await finished(database, namespace, level, await database.awrite(unit, namespace.scope))


def _by_id(
    connection: Connection,
    scope_id: int,
    session_id: int | None,
    ids: Sequence[str],
    level: Level,
) -> list[int]:
    """Seqs of the messages of these ids; the same id may be in several sessions."""
    inside = select(sessions.c.id).where(sessions.c.scope_id == scope_id)
    if level == "session":
        inside = inside.where(sessions.c.id == session_id)
    found: list[int] = []
    for some in in_batches([text_hash(message_id) for message_id in ids]):
        query = select(messages.c.seq).where(
            messages.c.session_id.in_(inside), messages.c.id_hash.in_(some)
        )
        found += connection.execute(query).scalars()
    return found


async def afinish(database: Database) -> str:
    """Clean up if an erase still waits for it; why it must wait on, "" when nothing is left."""
    waits = select(meta.c.value).where(meta.c.key == _MARK)
    mark = await database.aread(lambda connection: connection.execute(waits).scalar_one_or_none())
    if mark is None:
        return ""
    waits_for = await database.acheckpoint()
    if waits_for:
        return waits_for
    done = delete(meta).where(meta.c.key == _MARK, meta.c.value == mark)
    await database.awrite(lambda connection: connection.execute(done).rowcount)
    return ""


def _find(connection: Connection, namespace: Namespace) -> tuple[int, int | None] | None:
    """(scope id, session id or None) of a namespace, or None when the scope holds nothing."""
    query = (
        select(scopes.c.id, sessions.c.id)
        .select_from(scopes)
        .outerjoin(
            sessions,
            (sessions.c.scope_id == scopes.c.id)
            & (sessions.c.name_hash == text_hash(namespace.session)),
        )
        .where(scopes.c.key_hash == text_hash(namespace.scope.key))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def delete_messages(
    connection: Connection, scope_id: int, seqs: Sequence[int], *, anew: bool = True
) -> dict[str, int]:
    """Delete messages and all that is derived of them; their bytes go with the next `afinish`.

    With `anew` the scope begins a generation, for which columns in memory are read anew. Of items,
    a few are left out of the columns instead.
    """
    names = ("messages", "vectors", "pins", "keywords", "tokens", "items", "facts")
    gone = dict.fromkeys(names, 0)
    gone["facts"] = drop_statements(connection, seqs)
    gone["facts"] += _erase_facts(connection, resting_on(connection, seqs))
    note_removals(connection, seqs)
    gone["summaries"] = shrink(connection, seqs)
    for some in in_batches(seqs):
        for name, table in (("pins", pins), ("messages", messages)):
            gone[name] += connection.execute(delete(table).where(table.c.seq.in_(some))).rowcount
        connection.execute(delete(archived).where(archived.c.seq.in_(some)))
        for name, derived in (("keywords", keywords), ("items", items)):
            of_table = delete(derived).where(derived.c.seq.in_(some))
            gone[name] += connection.execute(of_table).rowcount
        # Naming every index lets these three use their own: a scan would grow with all tenants.
        every = select(indexes.c.id)
        of_index = vectors.c.index_id.in_(every) & vectors.c.seq.in_(some)
        gone["vectors"] += connection.execute(delete(vectors).where(of_index)).rowcount
        of_tokens = tokens.c.index_id.in_(every) & tokens.c.seq.in_(some)
        gone["tokens"] += connection.execute(delete(tokens).where(of_tokens)).rowcount
        queued = outbox.c.index_id.in_(every) & (outbox.c.scope_id == scope_id)
        connection.execute(delete(outbox).where(queued & outbox.c.seq.in_(some)))
    if seqs:
        anew = anew or _removed(connection, scope_id) + len(seqs) > MOST_REMOVED
        if anew:
            connection.execute(delete(removals).where(removals.c.scope_id == scope_id))
            connection.execute(
                update(scopes)
                .where(scopes.c.id == scope_id)
                .values(generation=scopes.c.generation + 1)
            )
        else:
            rows = [{"scope_id": scope_id, "seq": seq} for seq in seqs]
            connection.execute(insert(removals), rows)
        # A new value each time: who finishes an earlier erase must not take this mark away.
        mark = upsert(meta).values(key=_MARK, value=uuid.uuid4().hex)
        connection.execute(
            mark.on_conflict_do_update(index_elements=["key"], set_={"value": mark.excluded.value})
        )
    return gone


def _erase_facts(connection: Connection, statements: Mapping[int, Sequence[int]]) -> int:
    """Erase these statements of each scope of facts, texts and all; how many they were."""
    return sum(
        delete_messages(connection, scope_id, seqs)["facts"]
        for scope_id, seqs in statements.items()
    )


def _erase_beside(connection: Connection, namespace: Namespace) -> int:
    """Erase what a user's facts are, and their scope; how many they were."""
    if namespace.scope.items:
        return 0
    place = _find(connection, namespace.scope.of_facts)
    if place is None:
        return 0
    scope_id = place[0]
    chosen = select(keywords.c.seq).where(keywords.c.scope_id == scope_id)
    gone = delete_messages(connection, scope_id, list(connection.execute(chosen).scalars()))
    for table in (calibrations, removals, sessions):
        connection.execute(delete(table).where(table.c.scope_id == scope_id))
    connection.execute(delete(scopes).where(scopes.c.id == scope_id))
    return gone["facts"]


def _removed(connection: Connection, scope_id: int) -> int:
    query = select(func.count()).select_from(removals).where(removals.c.scope_id == scope_id)
    return int(connection.execute(query).scalar_one())


async def finished(
    database: Database, namespace: Namespace, level: Level, taken: Taken
) -> EraseReceipt:
    """The receipt of an erase, once its bytes are overwritten or a reader is in the way.

    A second transaction counts what is left.
    """
    waits_for = await afinish(database)
    remains = await database.aread(partial(left, taken=taken), namespace.scope)
    counts = {NAMES[name]: count for name, count in taken.counts.items() if count}
    waits = [f"{waits_for}, {_WAITING}"] if waits_for else []
    if remains:
        waits.append(f"rows are left: {remains}; erase it again, and report this")
    return EraseReceipt(
        scope=namespace.scope.key,
        level=level,
        messages=counts.get("messages", 0),
        vectors=counts.get("vectors", 0),
        pins=counts.get("pins", 0),
        complete=not waits,
        pending="; ".join(waits),
        removed=counts,
        left=remains,
        note=database.erase_note,
    )
