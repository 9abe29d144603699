"""`Append`: the unit that stores messages, and many of them as a few statements.

Units that are committed together are mostly of different sessions, one message each. What each would
look up and write by itself is then looked up and written for all of them at once:

    places    scopes and sessions, made where they are missing
    messages  inserted, but for those that are stored already: these go their own way
    derived   keywords, outbox and sizes of what was new
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, insert, literal, select

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.stores.appending import append
from rag_memory_plugins.stores.dialects import Numbers, one_of, upsert
from rag_memory_plugins.stores.rows import message_row
from rag_memory_plugins.stores.schema import (
    indexes,
    keywords,
    messages,
    outbox,
    scopes,
    session_sizes,
    sessions,
    text_hash,
)
from rag_memory_plugins.stores.sizing import Size, grow_all
from rag_memory_plugins.types import Message

__all__ = ["Append"]


@dataclass(frozen=True)
class Append:
    """Store messages of one namespace, given with their keyword columns and tokens."""

    namespace: Namespace
    rows: Sequence[tuple[Message, dict[str, Any], int]]

    def __call__(self, connection: Connection) -> int:
        """All or none; how many were new. Raises `MessageConflict`."""
        return append(connection, self.namespace, self.rows)

    @property
    def simple(self) -> bool:
        """Whether it is one message that belongs to no call of a tool."""
        if len(self.rows) > 1:
            return False
        message = self.rows[0][0]
        return not message.tool_calls and message.tool_call_id is None

    @staticmethod
    def together(connection: Connection, units: Sequence[Append]) -> list[int]:
        """What each comes to, in order. Raises `MessageConflict` if any does."""
        results: list[int] = []
        for some in _runs(units):
            if len(some) == 1:
                results.append(some[0](connection))
            else:
                results += _append_all(connection, some)
        return results


@dataclass
class _Place:
    """A session as it stands before its message."""

    scope_id: int
    session_id: int
    size: Size | None


def _runs(units: Sequence[Append]) -> Iterator[list[Append]]:
    """Neighbours that may be written at once: simple ones, no session twice."""
    run: list[Append] = []
    seen: set[Namespace] = set()
    for unit in units:
        if run and (not unit.simple or not run[0].simple or unit.namespace in seen):
            yield run
            run, seen = [], set()
        run.append(unit)
        seen.add(unit.namespace)
    if run:
        yield run


def _append_all(connection: Connection, units: Sequence[Append]) -> list[int]:
    """One message each, every session once."""
    places = _places(connection, units)
    rows = [
        message_row(place.session_id, unit.rows[0][0])
        for unit, place in zip(units, places, strict=True)
    ]
    for row, group in zip(rows, _groups(connection, rows), strict=True):
        row["group_seq"] = group
    seqs = {row.session_id: row.seq for row in connection.execute(_INSERT_NEW, rows)}
    derived, grown = [], []
    for unit, place in zip(units, places, strict=True):
        seq = seqs.get(place.session_id)
        if seq is not None:
            _, keyword, tokens = unit.rows[0]
            at = {"scope_id": place.scope_id, "session_id": place.session_id}
            derived.append({"seq": seq, **at, **keyword})
            grown.append((place.session_id, place.size, seq, tokens))
    if derived:
        connection.execute(_INSERT_KEYWORDS, derived)
        connection.execute(_INSERT_OUTBOX, {"seqs": [row["seq"] for row in derived]})
        grow_all(connection, grown)
    # What was stored already is a retry, or a conflict; `append` tells which.
    return [
        1 if place.session_id in seqs else unit(connection)
        for unit, place in zip(units, places, strict=True)
    ]


def _groups(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[int | None]:
    """The tool group that each answers: its session's last message may be a tool's result."""
    asking = [row["session_id"] for row in rows if row["role"] == "assistant"]
    if not asking:
        return [None] * len(rows)
    found = connection.execute(_ANSWERED, {"ids": asking})
    answered = {row.id: row.answered for row in found}
    return [answered.get(row["session_id"]) if row["role"] == "assistant" else None for row in rows]


def _places(connection: Connection, units: Sequence[Append]) -> list[_Place]:
    """Where each message goes; scopes and sessions that are not there are made."""
    names = [
        (text_hash(unit.namespace.scope.key), text_hash(unit.namespace.session)) for unit in units
    ]
    hashes = {
        "scopes": list({scope for scope, _ in names}),
        "sessions": list({session for _, session in names}),
    }
    scope_ids: dict[bytes, int] = {}
    found: dict[tuple[bytes, bytes], _Place] = {}
    for row in connection.execute(_FIND_PLACES, hashes):
        scope = bytes(row.key_hash)
        scope_ids[scope] = row.scope_id
        if row.session_id is not None:
            size = None if row.said is None else Size(row.tokens, row.said, row.peak)
            place = _Place(row.scope_id, row.session_id, size)
            found[scope, bytes(row.name_hash)] = place
    _make_scopes(connection, units, names, scope_ids)
    _make_sessions(connection, units, names, scope_ids, found)
    return [found[name] for name in names]


def _make_scopes(
    connection: Connection,
    units: Sequence[Append],
    names: Sequence[tuple[bytes, bytes]],
    ids: dict[bytes, int],
) -> None:
    missing = {
        scope: {"key": unit.namespace.scope.key, "key_hash": scope, "generation": 0}
        for unit, (scope, _) in zip(units, names, strict=True)
        if scope not in ids
    }
    if missing:
        for row in connection.execute(_INSERT_SCOPES, list(missing.values())):
            ids[bytes(row.key_hash)] = row.id


def _make_sessions(
    connection: Connection,
    units: Sequence[Append],
    names: Sequence[tuple[bytes, bytes]],
    scope_ids: dict[bytes, int],
    found: dict[tuple[bytes, bytes], _Place],
) -> None:
    hashes = {number: scope for scope, number in scope_ids.items()}
    missing = [
        {"scope_id": scope_ids[scope], "name": unit.namespace.session, "name_hash": session}
        for unit, (scope, session) in zip(units, names, strict=True)
        if (scope, session) not in found
    ]
    if missing:
        for row in connection.execute(_INSERT_SESSIONS, missing):
            place = _Place(row.scope_id, row.id, None)
            found[hashes[row.scope_id], bytes(row.name_hash)] = place


# Statements built once: compiling them anew would cost as much as running them.
_FIND_PLACES: Final = (
    select(
        scopes.c.key_hash,
        scopes.c.id.label("scope_id"),
        sessions.c.name_hash,
        sessions.c.id.label("session_id"),
        session_sizes.c.tokens,
        session_sizes.c.said,
        session_sizes.c.peak,
    )
    .select_from(scopes)
    .outerjoin(
        sessions,
        (sessions.c.scope_id == scopes.c.id)
        & sessions.c.name_hash.in_(bindparam("sessions", expanding=True)),
    )
    .outerjoin(session_sizes, session_sizes.c.session_id == sessions.c.id)
    .where(scopes.c.key_hash.in_(bindparam("scopes", expanding=True)))
)
_ANSWERED: Final = select(
    sessions.c.id,
    select(case((messages.c.role == literal("tool"), messages.c.group_seq)))
    .where(messages.c.session_id == sessions.c.id)
    .order_by(messages.c.seq.desc())
    .limit(1)
    .scalar_subquery()
    .label("answered"),
).where(one_of(sessions.c.id, bindparam("ids", type_=Numbers)))
_INSERT_SCOPES: Final = insert(scopes).returning(scopes.c.id, scopes.c.key_hash)
_INSERT_SESSIONS: Final = insert(sessions).returning(
    sessions.c.id, sessions.c.scope_id, sessions.c.name_hash
)
_INSERT_NEW: Final = (
    upsert(messages)
    .on_conflict_do_nothing(index_elements=["session_id", "id_hash"])
    .returning(messages.c.seq, messages.c.session_id)
)
_INSERT_KEYWORDS: Final = insert(keywords)
_INSERT_OUTBOX: Final = insert(outbox).from_select(
    ["index_id", "scope_id", "seq", "due"],
    select(indexes.c.id, keywords.c.scope_id, keywords.c.seq, literal(0.0))
    .select_from(keywords.join(indexes, indexes.c.active > 0))
    .where(one_of(keywords.c.seq, bindparam("seqs", type_=Numbers))),
)
