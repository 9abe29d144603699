"""Summaries in SQL: which session has turns to fold, and what becomes of a fold."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select, true, update

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Fold, SessionView, StoredMessage
from rag_memory_plugins.results import Summary, SummaryLine
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.rows import message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    folds,
    message_sizes,
    messages,
    pins,
    scopes,
    session_sizes,
    sessions,
    summaries,
    text_hash,
)

__all__ = [
    "drop",
    "drop_all",
    "due",
    "find_session",
    "put",
    "release",
    "summary_of",
    "take",
    "view",
]

LOOKED_AT: Final = 8
"""Sessions looked at for one fold; the others wait for the next."""
MOST_RECENT, FEW = 1_000, 8
"""Messages read as recent ones, at most and at least: one alone may be longer than all it may be."""
MOST: Final = 400
MOST_TOKENS: Final = 8_000
"""Messages and tokens of one fold: a long import is folded in steps."""


def find_session(connection: Connection, namespace: Namespace) -> Any:
    """The session's id, its scope's id and generation; None when nothing is stored for it."""
    keys = {"scope": text_hash(namespace.scope.key), "session": text_hash(namespace.session)}
    row = connection.execute(_FIND, keys).one_or_none()
    return row if row is not None and row.key == namespace.scope.key else None


def view(
    connection: Connection, namespace: Namespace, recent: int, goal: int, whole: int
) -> SessionView:
    """What a context needs of a session, of one snapshot."""
    place = find_session(connection, namespace)
    pinned = connection.execute(
        _PINS,
        {
            "scope": text_hash(namespace.scope.key),
            "session": place.session_id if place is not None else 0,
        },
    )
    found_pins = [message_of(row) for row in pinned]
    if place is None:
        return SessionView(pins=found_pins)
    asked = {"session": place.session_id}
    sizes = connection.execute(_SIZES, asked).one_or_none()
    first = connection.execute(_GOAL, {**asked, "n": goal}) if goal else ()
    last: Any = ()
    if recent and sizes is not None:
        tokens = sizes.said if sizes.peak <= whole else recent
        within = connection.execute(_WITHIN, {**asked, "floor": sizes.said - tokens}).scalar_one()
        last = connection.execute(_RECENT, {**asked, "n": min(MOST_RECENT, max(FEW, within))})
    return SessionView(
        tokens=sizes.tokens if sizes is not None else 0,
        said=sizes.said if sizes is not None else 0,
        peak=sizes.peak if sizes is not None else 0,
        goal=[message_of(row) for row in first],
        pins=found_pins,
        recent=[message_of(row) for row in last][::-1],
        summary=summary_of(connection, place.session_id),
    )


def summary_of(connection: Connection, session_id: int) -> Summary | None:
    """The summary of a session as it stands."""
    row = connection.execute(_SUMMARY, {"session": session_id}).one_or_none()
    if row is None:
        return None
    data = json.loads(row.data)
    lines = tuple(
        SummaryLine(line["text"], datetime.fromisoformat(line["time"]), tuple(line["ids"]))
        for line in data["lines"]
    )
    return Summary(lines, row.version, row.upto, row.made_by, tuple(data["degraded"]))


def due(connection: Connection, now: float) -> bool:
    """Whether any session may have turns to fold."""
    return connection.execute(_DUE, {"now": now, "n": 1}).first() is not None


def take(
    connection: Connection, every: int, keep: int, least: int, now: float, until: float
) -> tuple[Fold | None, bool]:
    """(a session with turns to fold, whether there may be another); taken `until` then.

    Only sessions that have said `least` tokens, and of those all but the last `keep` tokens.
    """
    found = connection.execute(_TAKE, {"now": now, "n": LOOKED_AT}).scalars().all()
    for session_id in found:
        summary = summary_of(connection, session_id)
        sizes = connection.execute(_SIZES, {"session": session_id}).one_or_none()
        said = sizes.said if sizes is not None else 0
        waiting: list[StoredMessage] = []
        if said >= least:
            values = {"session": session_id, "after": summary.upto if summary else 0, "n": MOST}
            rows = [message_of(row) for row in connection.execute(_WAITING, values)]
            waiting = [item for item in rows if item.said + item.tokens <= said - keep]
            waiting = _some(waiting, max(MOST_TOKENS, 4 * every))
        if sum(item.tokens for item in waiting) < every:
            connection.execute(delete(folds).where(folds.c.session_id == session_id))
            continue
        connection.execute(_LEASE, {"session": session_id, "until": until})
        place = connection.execute(_PLACE, {"session": session_id}).one()
        scope = Scope.from_key(place.key)
        namespace = Namespace(scope.tenant, scope.user, place.name)
        return Fold(namespace, place.generation, summary, waiting), True
    return None, len(found) == LOOKED_AT


def _some(waiting: list[StoredMessage], tokens: int) -> list[StoredMessage]:
    """The first of them, up to so many tokens but at least one."""
    for count, item in enumerate(waiting):
        tokens -= item.tokens
        if tokens < 0:
            return waiting[: max(1, count)]
    return waiting


def put(connection: Connection, fold: Fold, summary: Summary, now: float) -> bool:
    """Keep a summary unless its session was erased in part, or another worker was first."""
    place = find_session(connection, fold.namespace)
    if place is None or place.generation != fold.generation:
        return False
    held = summary_of(connection, place.session_id)
    if (held.version if held else 0) != (fold.summary.version if fold.summary else 0):
        return False
    sizes = connection.execute(_SIZES, {"session": place.session_id}).one()
    version = sizes.version + 1
    lines = [
        {"text": line.text, "time": line.time.isoformat(), "ids": list(line.ids)}
        for line in summary.lines
    ]
    data = {"lines": lines, "degraded": list(summary.degraded)}
    drop(connection, place.session_id)
    connection.execute(
        insert(summaries).values(
            session_id=place.session_id,
            version=version,
            upto=summary.upto,
            made_by=summary.by,
            data=json.dumps(data, ensure_ascii=False),
        )
    )
    of = session_sizes.c.session_id == place.session_id
    connection.execute(update(session_sizes).where(of).values(version=version))
    release(connection, place.session_id, now)  # there may be more to fold; others first
    return True


def drop(connection: Connection, session_id: int) -> None:
    """Forget a summary."""
    connection.execute(delete(summaries).where(summaries.c.session_id == session_id))


def drop_all(connection: Connection) -> None:
    """Forget every summary, and look at every session again."""
    connection.execute(delete(summaries))
    every = select(session_sizes.c.session_id, literal(0.0))
    queue = upsert(folds).from_select(["session_id", "due"], every.where(true()))
    connection.execute(queue.on_conflict_do_nothing())


def release(connection: Connection, session_id: int, at: float) -> None:
    """Let a session be taken from the time `at` on."""
    row = upsert(folds).values(session_id=session_id, due=at)
    connection.execute(row.on_conflict_do_update(index_elements=["session_id"], set_={"due": at}))


_FIND: Final = (
    select(scopes.c.key, scopes.c.generation, sessions.c.id.label("session_id"))
    .join(sessions, sessions.c.scope_id == scopes.c.id)
    .where(scopes.c.key_hash == bindparam("scope"), sessions.c.name_hash == bindparam("session"))
)
_PLACE: Final = (
    select(scopes.c.key, scopes.c.generation, sessions.c.name)
    .join(sessions, sessions.c.scope_id == scopes.c.id)
    .where(sessions.c.id == bindparam("session"))
)
_SIZES: Final = select(session_sizes).where(session_sizes.c.session_id == bindparam("session"))
_SUMMARY: Final = select(summaries).where(summaries.c.session_id == bindparam("session"))
_WITHIN: Final = select(func.count()).where(
    message_sizes.c.session_id == bindparam("session"), message_sizes.c.said >= bindparam("floor")
)
_OF_SESSION: Final = stored_columns().where(messages.c.session_id == bindparam("session"))
_RECENT: Final = _OF_SESSION.order_by(messages.c.seq.desc()).limit(bindparam("n"))
_GOAL: Final = (
    _OF_SESSION.where(messages.c.role == "user").order_by(messages.c.seq).limit(bindparam("n"))
)
_PINS: Final = (
    stored_columns()
    .join(pins, pins.c.seq == messages.c.seq)
    .join(scopes, scopes.c.id == pins.c.scope_id)
    .where(
        scopes.c.key_hash == bindparam("scope"),
        (pins.c.level == "user") | (messages.c.session_id == bindparam("session")),
    )
    .order_by(messages.c.seq)
)
_WAITING: Final = (
    _OF_SESSION.where(messages.c.seq > bindparam("after"))
    .order_by(messages.c.seq)
    .limit(bindparam("n"))
)
_DUE: Final = (
    select(folds.c.session_id)
    .where(folds.c.due <= bindparam("now"))
    .order_by(folds.c.due, folds.c.session_id)
    .limit(bindparam("n"))
)
_TAKE: Final = _DUE.with_for_update(skip_locked=True)  # two workers take different ones
_LEASE: Final = (
    update(folds).where(folds.c.session_id == bindparam("session")).values(due=bindparam("until"))
)
