"""The write path of items: what was under a key goes and what comes instead, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.stores.appending import ensure_place, insert_messages, queue
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.erasing import delete_messages
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import items, messages, paths, scopes, sessions, text_hash
from rag_memory_plugins.stores.sizing import forget_sessions

__all__ = ["Prepared", "change", "drop"]

Prepared = tuple[ItemChange, dict[str, Any] | None]
"""A change, and the keyword columns of its message."""

_MICROSECOND: Final = timedelta(microseconds=1)


def change(connection: Connection, scope: Scope, rows: Sequence[Prepared], now: int) -> int:
    """Make these changes, each of another place; how many items were erased or replaced."""
    by_path: dict[str, list[Prepared]] = {}
    for row in rows:
        by_path.setdefault(row[0].path, []).append(row)
    gone: list[Row[Any]] = []
    fresh: list[tuple[str, list[tuple[Prepared, int]]]] = []
    for path, some in by_path.items():
        held = _held(connection, scope, path, [item.key for item, _ in some])
        new = []
        for prepared in some:
            item, old = prepared[0], held.get(text_hash(prepared[0].key))
            message = item.message
            expired = old is not None and old.expires_us is not None and old.expires_us <= now
            if (
                old is not None
                and not expired
                and message is not None
                and old.digest.hex() == message.digest
            ):
                connection.execute(_TOUCH, {"s": old.seq, **_times(item, old.created_us, now)})
                continue
            if old is not None:
                gone.append(old)
            if message is not None:
                new.append((prepared, now if old is None or expired else old.created_us))
        if new:
            fresh.append((path, new))
    if gone:
        delete_messages(connection, gone[0].scope_id, [row.seq for row in gone], anew=False)
    for path, new in fresh:
        _insert(connection, Namespace(scope.tenant, scope.user, path, items=True), new, now)
    _forget_empty(connection, {row.session_id for row in gone})
    return len(gone)


def drop(connection: Connection, query: Select[Any]) -> dict[str, int]:
    """Erase the items that `query` finds, by (scope_id, session_id, seq); counts as an erase's."""
    by_scope: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(query):
        by_scope.setdefault(row.scope_id, []).append(row)
    total = dict.fromkeys(("messages", "vectors", "pins"), 0)
    for scope_id, rows in by_scope.items():
        gone = delete_messages(connection, scope_id, [row.seq for row in rows], anew=False)
        total = {name: total.get(name, 0) + count for name, count in gone.items()}
        _forget_empty(connection, {row.session_id for row in rows})
    return total


def _held(connection: Connection, scope: Scope, path: str, keys: Sequence[str]) -> dict[bytes, Any]:
    """What is stored under these keys, by their hashes."""
    place = {"scope": text_hash(scope.key), "path": text_hash(path)}
    found = {}
    for some in in_batches([text_hash(key) for key in keys]):
        for row in connection.execute(_HELD, {**place, "hashes": some}):
            found[row.id_hash] = row
    return found


def _insert(
    connection: Connection,
    namespace: Namespace,
    rows: Sequence[tuple[Prepared, int]],
    now: int,
) -> None:
    """Store new items, given with the time each was created."""
    batch = [item.message for (item, _), _ in rows if item.message is not None]
    scope_id, session_id, _ = ensure_place(connection, namespace, batch[0].id)
    place = {"scope_id": scope_id, "session_id": session_id}
    above = [{**place, "path_hash": text_hash(path)} for path in _above(namespace.session)]
    connection.execute(_INSERT_PATHS, above)
    derived, times = [], []
    for seq, ((item, keyword), created) in zip(
        insert_messages(connection, session_id, batch), rows, strict=True
    ):
        derived.append({"seq": seq, **place, **(keyword or {})})
        times.append({"seq": seq, **place, **_times(item, created, now)})
    queue(connection, scope_id, derived)
    connection.execute(_INSERT_ITEMS, times)


def _times(item: ItemChange, created: int, now: int) -> dict[str, int | None]:
    stay = None if item.stay is None else item.stay // _MICROSECOND
    return {
        "created_us": created,
        "updated_us": now,
        "stay_us": stay,
        "expires_us": None if stay is None else now + stay,
    }


def _above(path: str) -> Iterator[str]:
    """The path and every shorter one that it is under."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path


def _forget_empty(connection: Connection, session_ids: set[int]) -> None:
    """Forget those of these sessions that hold no item any more: nobody lists an empty path."""
    for some in in_batches(sorted(session_ids)):
        empty = select(sessions.c.id).where(
            sessions.c.id.in_(some), ~exists().where(items.c.session_id == sessions.c.id)
        )
        gone = list(connection.execute(empty).scalars())
        if gone:
            forget_sessions(connection, gone)
            connection.execute(delete(sessions).where(sessions.c.id.in_(gone)))


# Statements built once: compiling them anew would cost as much as running them.
_HELD: Final = (
    select(
        messages.c.id_hash,
        messages.c.digest,
        items.c.seq,
        items.c.scope_id,
        items.c.session_id,
        items.c.created_us,
        items.c.expires_us,
    )
    .join(items, items.c.seq == messages.c.seq)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .join(scopes, scopes.c.id == sessions.c.scope_id)
    .where(
        scopes.c.key_hash == bindparam("scope"),
        sessions.c.name_hash == bindparam("path"),
        messages.c.id_hash.in_(bindparam("hashes", expanding=True)),
    )
)
_TOUCH: Final = (
    update(items)
    .where(items.c.seq == bindparam("s"))
    .values(
        {name: bindparam(name) for name in ("created_us", "updated_us", "stay_us", "expires_us")}
    )
)
_INSERT_ITEMS: Final = insert(items)
_INSERT_PATHS: Final = upsert(paths).on_conflict_do_nothing()
