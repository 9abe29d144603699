"""Messages as rows and back: what the log, the index and the queue read and write alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final, TypeVar

import numpy as np
from sqlalchemy import Select, select

from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.retrieval.dates import day_of, days_of
from rag_memory_plugins.retrieval.lexical import terms_of, word_hashes
from rag_memory_plugins.retrieval.traits import STANDS_ALONE, index_text, traits
from rag_memory_plugins.stores.schema import message_sizes, messages, sessions, text_hash
from rag_memory_plugins.types import Message

__all__ = ["in_batches", "keyword_row", "message_of", "message_row", "stored_columns", "when"]

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)


def in_batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, 500 at a time: SQLite's oldest limit on the parameters of a statement is 999."""
    for start in range(0, len(items), 500):
        yield items[start : start + 500]


def stored_columns() -> Select[Any]:
    """The columns that `message_of` reads, with the session's name."""
    columns = (
        messages.c.seq,
        sessions.c.name.label("session"),
        messages.c.group_seq,
        messages.c.time_us,
        messages.c.digest,
        messages.c.role,
        messages.c.id,
        messages.c.name,
        messages.c.extra,
        messages.c.content,
        message_sizes.c.tokens,
        message_sizes.c.said,
    )
    places = messages.join(sessions, sessions.c.id == messages.c.session_id)
    sized = places.outerjoin(message_sizes, message_sizes.c.seq == messages.c.seq)
    return select(*columns).select_from(sized)


def message_of(row: Sequence[Any]) -> StoredMessage:
    """A stored message from the columns of `stored_columns`, which others may follow."""
    # Unpacked: a column by its name takes five times longer, and a context reads 240 rows.
    seq, session, group, time_us, digest, role, key, name, extra, content, tokens, said = row[:12]
    message = Message.restored(
        json.loads(extra) if extra else None,
        id=key,
        role=role,
        content=content,
        name=name,
        time=_EPOCH + timedelta(microseconds=time_us),
        digest=digest.hex(),
    )
    return StoredMessage(seq, session, message, group, tokens or 0, said or 0)


def keyword_row(message: Message, *, item: bool = False) -> dict[str, Any]:
    """The derived columns of a message: the date it was said stands among its words.

    When an item was stored says nothing about it.
    """
    day = f"{message.time.day} {_MONTHS[message.time.month - 1]} {message.time.year} "
    terms = terms_of(f"{'' if item else day}{index_text(message)}")
    said = 0 if item else day_of(message.time)
    days = [said, *days_of(message.content, message.time)]
    return {
        "flags": traits(message) | (STANDS_ALONE if item else 0),
        "terms": np.array(terms, "<u8").tobytes(),
        "names": np.array(word_hashes(message.name or ""), "<u8").tobytes(),
        "days": np.array(days, "<i4").tobytes(),
    }


def message_row(session_id: int, message: Message) -> dict[str, Any]:
    """The columns of `messages` for a message that is not in a tool group yet."""
    data = message.to_dict()
    keys = ("tool_calls", "tool_call_id", "images", "metadata")
    extra = {key: data[key] for key in keys if key in data}
    return {
        "session_id": session_id,
        "id_hash": text_hash(message.id),
        "digest": bytes.fromhex(message.digest),
        "group_seq": None,
        "time_us": (message.time - _EPOCH) // timedelta(microseconds=1),
        "role": message.role,
        "id": message.id,
        "name": message.name,
        "extra": json.dumps(extra, ensure_ascii=False) if extra else None,
        "content": message.content,
    }


def when(micros: int | None) -> datetime | None:
    """A stored time."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
