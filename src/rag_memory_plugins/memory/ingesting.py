"""Files of talk, stored turn by turn: the same file again stores nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidFile, InvalidInput, InvalidMessage
from rag_memory_plugins.ingest.arguments import Options
from rag_memory_plugins.ingest.batches import Batch, Source
from rag_memory_plugins.ingest.results import Ingested, Progress
from rag_memory_plugins.ingest.transcripts import Turn
from rag_memory_plugins.memory.rendering import said_only
from rag_memory_plugins.portal import Threads
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["aingested", "aside_by_side"]

_LATE: Final = 4 * 3600.0
"""Seconds: no recording is silent for so long, so a first stamp after that is a time of the day."""
_ID: Final = re.compile(r"turn-(\d{6,})-[0-9a-f]{20}")


@dataclass
class _Written:
    """What is stored so far of a file, and what its next message needs to know."""

    start: datetime
    turns: int = 0
    new: int = 0
    offset: float = 0.0
    """Of the last turn that told one: those after it without were said later, if at all."""
    speakers: dict[str, None] = field(default_factory=dict)
    before: str = ""
    """Id of the turn before the next batch."""


@dataclass(frozen=True)
class _Last:
    """The session's last message, if it is a turn that was stored from a file, and the id before."""

    message: Message
    position: int
    before: str

    def cut(self, turn: Turn, position: int, before: str) -> bool:
        """Whether it is this turn, as a file had it that was cut in the middle of it.

        The turn before must be the same, else two talks that share a greeting would be one.
        """
        if position != self.position or turn.text == self.message.content:
            return False
        if position == 0:
            same_speaker = turn.speaker == self.message.name
            return same_speaker and turn.text.startswith(self.message.content)
        if before != self.before:
            return False
        # Before its name was written another seemed to say it; the half of the next line's name or
        # time seemed to be said, too.
        at = turn.offset is not None and turn.offset == self.message.metadata.get("offset")
        texts = sorted((turn.text, self.message.content), key=len)
        return at or texts[1].startswith(texts[0])


async def aingested(conversation: Conversation, path: Path, options: Options) -> Ingested:
    """Store the turns of a file in the conversation, in order; on the portal.

    The next batch is read in a thread while one is stored. Raises `InvalidFile` for what cannot be
    read or stored: the turns before it are. Cancelled or killed, it goes on when it is called again.
    """
    started = time.perf_counter()
    # One thread, so that closing the file waits for the read that is under way.
    thread = Threads(1, "rag-memory-ingest")
    opened: list[Source] = []
    try:
        await thread.run(lambda: opened.append(Source(path, options.kind)))
        source = opened[0]
        written = await _awritten(conversation, source, thread, options)
    finally:
        await asyncio.shield(thread.run(partial(_close, opened)))
        thread.close()
    if not written.turns:
        raise InvalidFile(str(path), "no turn", "pass a transcript with something said in it")
    return Ingested(
        written.turns,
        written.new,
        tuple(written.speakers),
        time.perf_counter() - started,
        source.kind,
        conversation.namespace.session,
        written.start,
    )


def _close(sources: Sequence[Source]) -> None:
    for source in sources:
        source.close()


async def _awritten(
    conversation: Conversation, source: Source, thread: Threads, options: Options
) -> _Written:
    batch = await thread.run(source.next)
    last = await _alast(conversation)
    written = _Written(await _astart(conversation, source, batch, options, last))
    while batch.turns or batch.error:
        behind = asyncio.ensure_future(thread.run(source.next)) if not batch.error else None
        try:
            if batch.turns:
                await _astore(conversation, source, batch, written, last)
                _tell(conversation, source, batch, written, options)
        except BaseException:
            if behind is not None:
                behind.cancel()
                await asyncio.gather(behind, return_exceptions=True)
            raise
        if behind is None:
            raise _with_count(batch.error, written.turns)
        batch = await behind
    return written


def _tell(
    conversation: Conversation, source: Source, batch: Batch, written: _Written, options: Options
) -> None:
    if options.progress is not None:
        session, counts = conversation.namespace.session, (written.turns, written.new)
        options.progress(Progress(source.path, session, *counts, batch.read, source.size))


def _with_count(error: InvalidFile | None, stored: int) -> InvalidFile:
    assert error is not None  # there is nothing behind a batch that an error ended
    held = f"{stored} turns before it are stored; ingesting again stores none twice"
    again = InvalidFile(error.field, error.got, f"{error.remedy}; {held}")
    again.__cause__ = error
    return again


async def _alast(conversation: Conversation) -> _Last | None:
    stored = await conversation.memory.log.arecent(conversation.namespace, 2)
    ids = [item.message.id for item in stored]
    found = _ID.fullmatch(ids[-1]) if ids else None
    return _Last(stored[-1].message, int(found[1]), ids[-2] if ids[1:] else "") if found else None


async def _astore(
    conversation: Conversation,
    source: Source,
    batch: Batch,
    written: _Written,
    last: _Last | None,
) -> None:
    messages = []
    for position, turn in enumerate(batch.turns, batch.first):
        if turn.offset is not None:
            written.offset = turn.offset
        place = f"{source.path}, line {turn.place}"
        messages.append(_message(turn, position, written.start, written.offset, place))
        if last is not None and last.cut(turn, position, written.before):
            # Before the whole one is stored: killed between the two, the file still has it.
            await conversation.aforget([last.message.id])
        written.before = messages[-1].id
        if turn.speaker is not None:
            written.speakers.setdefault(turn.speaker)
    said = said_only(messages, conversation.fence)
    if said:
        try:
            written.new += await conversation.memory.astore(conversation.namespace, said)
        except InvalidMessage as error:
            where = f"{source.path}, line {batch.turns[0].place} to {batch.turns[-1].place}"
            raise InvalidFile(f"{where}, {error.field}", error.got, error.remedy) from error
    written.turns += len(batch.turns)


def _message(turn: Turn, position: int, start: datetime, offset: float, place: str) -> Message:
    """The message of a turn. Its time is no part of what is compared, so a retry may differ in it."""
    try:
        return Message(
            "user",
            turn.text,
            id=_id_of(turn, position),
            name=turn.speaker,
            time=start + _after(turn, offset, position),
            metadata={} if turn.offset is None else {"offset": turn.offset},
        )
    except InvalidMessage as error:
        raise InvalidFile(f"{place}, {error.field}", error.got, error.remedy) from error
    except OverflowError as error:
        got = f"{offset} seconds after {start.isoformat()}"
        raise InvalidFile(place, got, "pass an earlier start, or repair the time") from error


def _after(turn: Turn, offset: float, position: int) -> timedelta:
    """How long after the start a turn was said; one without a stamp when the one before it was.

    And a microsecond for each before it, so that these have an order in time too: of two values for
    one thing the later one holds.
    """
    return timedelta(seconds=offset, microseconds=position if turn.offset is None else 0)


def _id_of(turn: Turn, position: int) -> str:
    """An id of what the file says and where, whatever the file is called and when it was copied."""
    said = repr((position, turn.speaker, turn.text, turn.offset)).encode("utf-8", "surrogatepass")
    return f"turn-{position:06d}-{hashlib.blake2b(said, digest_size=10).hexdigest()}"


async def _astart(
    conversation: Conversation,
    source: Source,
    batch: Batch,
    options: Options,
    last: _Last | None,
) -> datetime:
    """When the talk began: as what is stored of it has it, as asked, as the file says, its mtime.

    What is stored comes first, so that a file that was copied, and has another mtime, goes on in
    its own time. Raises `InvalidInput` for a start that is not the stored one.
    """
    stored = await _astored_start(conversation, batch, last)
    if stored is not None:
        if options.start is not None and options.start != stored:
            remedy = (
                f"turns of this file are stored from {stored.isoformat()} on: leave start out, "
                "or erase the session first"
            )
            raise InvalidInput("start", options.start.isoformat(), remedy)
        return stored
    if options.start is not None:
        return options.start.astimezone(timezone.utc)
    start = (source.told or source.changed).astimezone(timezone.utc)
    offset = next((turn.offset for turn in batch.turns if turn.offset is not None), 0.0)
    if offset >= _LATE:
        # The stamps are times of the day: of the day that is told, or the one it was written on.
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return start


async def _astored_start(
    conversation: Conversation, batch: Batch, last: _Last | None
) -> datetime | None:
    """When the talk began, by those of its first turns that are stored already; None for none."""
    offset, after = 0.0, {}
    for position, turn in enumerate(batch.turns):
        offset = turn.offset if turn.offset is not None else offset
        after[_id_of(turn, position)] = _after(turn, offset, position)
        if position == 0 and last is not None and last.cut(turn, 0, ""):
            return last.message.time - _after(turn, offset, position)
    log, namespace = conversation.memory.log, conversation.namespace
    for window in await log.aaround(namespace, list(after), 0, 0):
        for message in window:
            if message.id in after:
                return message.time - after[message.id]
    return None


async def aside_by_side(
    work: Sequence[Callable[[], Coroutine[Any, Any, Ingested]]], concurrency: int
) -> tuple[Ingested, ...]:
    """What each piece of work comes to, in its order, so many at a time; the first failure ends all."""
    slots = asyncio.Semaphore(concurrency)

    async def one(function: Callable[[], Coroutine[Any, Any, Ingested]]) -> Ingested:
        async with slots:
            return await function()

    tasks = [asyncio.ensure_future(one(function)) for function in work]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        # Of the others too: each must have let go of its file.
        await asyncio.gather(*tasks, return_exceptions=True)
