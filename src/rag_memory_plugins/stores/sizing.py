"""How many tokens a session holds, kept with every write and never counted again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    archive_ends,
    folds,
    message_sizes,
    paths,
    session_sizes,
    summaries,
)

__all__ = ["forget_sessions", "grow", "shrink"]

GRID: Final = 500
"""A session is looked at for turns to summarise whenever it has grown by so many tokens."""
FALL: Final = 0.8
"""Below this share of its peak a session counts as a small one again."""


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


def shrink(connection: Connection, seqs: Sequence[int]) -> None:
    """Take these messages out of their sessions' sizes; their summaries go, to be made anew."""
    for some in in_batches(seqs):
        of = message_sizes.c.seq.in_(some)
        totals = select(message_sizes.c.session_id, func.sum(message_sizes.c.tokens)).where(of)
        gone = connection.execute(totals.group_by(message_sizes.c.session_id)).all()
        for session_id, tokens in gone:
            connection.execute(_SHRINK, {"gone": int(tokens), "session": session_id})
            connection.execute(delete(summaries).where(summaries.c.session_id == session_id))
            connection.execute(_QUEUE, {"session_id": session_id, "due": 0.0})
        connection.execute(delete(message_sizes).where(of))


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
_LEFT: Final = func.max(0, session_sizes.c.tokens - bindparam("gone"))
_SHRINK: Final = (
    update(session_sizes)
    .where(session_sizes.c.session_id == bindparam("session"))
    .values(
        tokens=_LEFT,
        peak=case((FALL * session_sizes.c.peak > _LEFT, _LEFT), else_=session_sizes.c.peak),
    )
)
_QUEUE: Final = upsert(folds).on_conflict_do_nothing()
