"""How many tokens a session holds, kept with every write and never counted again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from rag_memory_plugins.stores.dialects import larger, upsert
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    archive_ends,
    folds,
    message_sizes,
    paths,
    session_sizes,
    summaries,
)

__all__ = ["Size", "forget_sessions", "grow", "grow_all", "shrink"]

GRID: Final = 500
"""A session is looked at for turns to summarise whenever it has grown by so many tokens."""
FALL: Final = 0.8
"""Below this share of its peak a session counts as a small one again."""


class Size(NamedTuple):
    """What a session holds, what was ever said in it, and the most it held since it was small."""

    tokens: int
    said: int
    peak: int


def grow(connection: Connection, session_id: int, added: Sequence[tuple[int, int]]) -> None:
    """Count new messages, given as (seq, tokens) in order."""
    row = connection.execute(_SIZES, {"session": session_id}).one_or_none()
    before = said = row.said if row is not None else 0
    rows = []
    for seq, tokens in added:
        rows.append({"seq": seq, "session_id": session_id, "tokens": tokens, "said": said})
        said += tokens
    connection.execute(_INSERT_SIZES, rows)
    if row is None:
        new = dict.fromkeys(("tokens", "said", "peak"), said)
        connection.execute(_INSERT_SESSION, {"session_id": session_id, "version": 0, **new})
    else:
        held = row.tokens + said - before
        values = {"t": held, "w": said, "p": max(held, row.peak), "session": session_id}
        connection.execute(_GROW, values)
    if before // GRID != said // GRID:
        connection.execute(_QUEUE, {"session_id": session_id, "due": 0.0})


def grow_all(connection: Connection, added: Sequence[tuple[int, Size | None, int, int]]) -> None:
    """Count one message in each of many sessions: (session, its size, seq, tokens)."""
    rows, new, grown, due = [], [], [], []
    for session_id, size, seq, tokens in added:
        before = 0 if size is None else size.said
        said = before + tokens
        rows.append({"seq": seq, "session_id": session_id, "tokens": tokens, "said": before})
        if size is None:
            each = dict.fromkeys(("tokens", "said", "peak"), said)
            new.append({"session_id": session_id, "version": 0, **each})
        else:
            held = size.tokens + tokens
            grown.append({"t": held, "w": said, "p": max(held, size.peak), "session": session_id})
        if before // GRID != said // GRID:
            due.append({"session_id": session_id, "due": 0.0})
    for statement, values in (
        (_INSERT_SIZES, rows),
        (_INSERT_SESSION, new),
        (_GROW, grown),
        (_QUEUE, due),
    ):
        if values:
            connection.execute(statement, values)


def shrink(connection: Connection, seqs: Sequence[int]) -> int:
    """Take these messages out of their sessions' sizes; their summaries go, to be made anew.

    Returns how many summaries went.
    """
    dropped = 0
    for some in in_batches(seqs):
        of = message_sizes.c.seq.in_(some)
        totals = select(message_sizes.c.session_id, func.sum(message_sizes.c.tokens)).where(of)
        gone = connection.execute(totals.group_by(message_sizes.c.session_id)).all()
        for session_id, tokens in gone:
            connection.execute(_SHRINK, {"gone": int(tokens), "session": session_id})
            of_session = delete(summaries).where(summaries.c.session_id == session_id)
            dropped += connection.execute(of_session).rowcount
            connection.execute(_QUEUE, {"session_id": session_id, "due": 0.0})
        connection.execute(delete(message_sizes).where(of))
    return dropped


def forget_sessions(connection: Connection, session_ids: Any) -> None:
    """Drop what is derived from whole sessions; `session_ids` is a list or a select."""
    derived = (session_sizes, summaries, folds, message_sizes, archive_ends, paths)
    for table in derived:
        connection.execute(delete(table).where(table.c.session_id.in_(session_ids)))


_SIZES: Final = select(session_sizes.c.tokens, session_sizes.c.said, session_sizes.c.peak).where(
    session_sizes.c.session_id == bindparam("session")
)
_INSERT_SIZES: Final = insert(message_sizes)
_INSERT_SESSION: Final = insert(session_sizes)
_GROW: Final = (
    update(session_sizes)
    .where(session_sizes.c.session_id == bindparam("session"))
    .values(tokens=bindparam("t"), said=bindparam("w"), peak=bindparam("p"))
)
_LEFT: Final = larger(0, session_sizes.c.tokens - bindparam("gone"))
_SHRINK: Final = (
    update(session_sizes)
    .where(session_sizes.c.session_id == bindparam("session"))
    .values(
        tokens=_LEFT,
        peak=case((FALL * session_sizes.c.peak > _LEFT, _LEFT), else_=session_sizes.c.peak),
    )
)
# Setting what is set waits for whoever is about to take the row away, and then puts a new one.
_QUEUE: Final = upsert(folds).on_conflict_do_update(
    index_elements=["session_id"], set_={"due": folds.c.due}
)
