"""What a model may do with a memory by tools: search it, note or state something, have it forgotten.

The answers are texts for the model, also to what it should not have asked; what a store cannot write
raises. What was found stands inside the conversation's fence, so that
it is not stored again when the tool's result is. Namespace and level are never the model's to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidInput, StoreError, shorten
from rag_memory_plugins.events import Event
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.memory.asof import start_of
from rag_memory_plugins.memory.rendering import day_line, render_line
from rag_memory_plugins.memory.units import cut
from rag_memory_plugins.ports import Claim
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.results import Hit
    from rag_memory_plugins.types import Level

__all__ = ["MOST", "REMEMBERED", "aforgotten", "anoted", "asearched", "astated"]

REMEMBERED: Final = "rag_memory_remembered"
"""Metadata key of a note: no turn of the conversation, but what a model chose to remember."""
MOST: Final = 20
"""Hits of one search at most."""
_TOKENS: Final = 1_500
"""Tokens that the texts of one search share."""
_LEAST: Final = 60
_IDS: Final = 100
_DECIDED: Final = {
    "ADD": "Remembered",
    "UPDATE": "Remembered in place of what held before,",
    "NOOP": "Known already; remembered once more",
    "CONFLICT": "Remembered beside another value for the same time,",
}


async def asearched(
    conversation: Conversation, query: str, limit: int, level: Level, running: Collection[str] = ()
) -> str:
    """What was said before about `query`, best first, with ids that `aforgotten` takes.

    `running` are ids of the running turn's messages in this session, which are left out: they
    would be the best answer to their own question. A store that cannot be read is told to the
    model and to hooks.
    """
    return await _answered(_asearched(conversation, query, limit, level, running))


async def anoted(conversation: Conversation, text: str) -> str:
    """Store `text` as a note of the model; the same note again is stored once."""
    return await _answered(_anoted(conversation, text))


async def astated(
    conversation: Conversation, subject: str, predicate: str, value: str, valid_from: str = ""
) -> str:
    """State a fact by the word of a tool, which nothing that the model writes can change.

    `valid_from` is ISO 8601, "" for now; of a day its beginning.
    """
    return await _answered(_astated(conversation, subject, predicate, value, valid_from))


async def aforgotten(
    conversation: Conversation, ids: Collection[str], text: str, level: Level
) -> str:
    """Erase messages of these ids, and what the user said or a note says word for word.

    Exactly one message an id: where other sessions of the user have it too, that of this session.
    """
    return await _answered(_aforgotten(conversation, ids, text, level))


async def _answered(work: Awaitable[str]) -> str:
    """What the work gives; of bad input, which a model wrote, what to do instead."""
    try:
        return await work
    except InvalidInput as error:
        return f"Not done, {error.field}: {error.remedy}."


async def _asearched(
    conversation: Conversation, query: str, limit: int, level: Level, running: Collection[str]
) -> str:
    if not query.strip():
        return "State what to search for."
    limit = max(1, min(limit, MOST))
    try:
        found = await conversation.asearch(query, min(limit + len(running), 200), level=level)
    except StoreError as error:
        name, scope = "tools.degraded", conversation.namespace.scope.key
        conversation.memory.emit(Event(name, scope, data={"reasons": [shorten(str(error))]}))
        return "Memory could not be read now."
    mine = conversation.namespace.session
    hits = [
        hit
        for hit in found.hits
        if hit.message.content.strip() and not (hit.session == mine and hit.message.id in running)
    ][:limit]
    note = " Part of the search failed." if found.degraded else ""
    if not hits:
        return f"Nothing found.{note}"
    counter = conversation.memory.counter
    lines = [_line(hit, max(_LEAST, _TOKENS // len(hits)), counter) for hit in hits]
    block = conversation.fence.around(
        "Said before, best match first, as [id] date, who: text", "\n".join(lines)
    )
    return f"Found {len(hits)}.{note}\n{block}"


async def _anoted(conversation: Conversation, text: str) -> str:
    text = text.strip()
    if not text:
        return "State what to remember."
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
    note = Message("assistant", text, id=f"note-{digest}", metadata={REMEMBERED: True})
    await conversation.aadd(note)
    return f"Remembered as [{note.id}]."


async def _astated(
    conversation: Conversation, subject: str, predicate: str, value: str, valid_from: str
) -> str:
    start = start_of(valid_from) if valid_from.strip() else None
    claim = Claim(subject, predicate, value, valid_from=start)
    (decided,) = await conversation.facts.astate([claim], by="tool")
    return f"{_DECIDED[decided.decision]} as [{decided.id}]."


async def _aforgotten(
    conversation: Conversation, ids: Collection[str], text: str, level: Level
) -> str:
    if not ids and not text.strip():
        return "State the ids that search gave, or the exact text."
    if len(ids) > _IDS:
        return f"State at most {_IDS} ids at once."
    places: set[tuple[str, str]] = set()
    unclear: list[str] = []
    if ids:
        found = await conversation.afind(Filter(ids=list(ids)), 1_000, level=level)
        for wanted in dict.fromkeys(ids):
            sessions = {hit.session for hit in found if hit.message.id == wanted}
            mine = sessions & {conversation.namespace.session} or sessions
            if len(mine) > 1:
                unclear.append(wanted)
            else:
                places |= {(session, wanted) for session in mine}
    if text.strip():
        places |= {
            (m["session"], m["id"]) for m in await conversation.aexport(level) if _says(m, text)
        }
    count, pending = await _aerased(conversation, places)
    answer = f"Forgot {count} message{'' if count == 1 else 's'}."
    if unclear:
        answer += f" In several sessions, so not forgotten: {', '.join(unclear)}."
    return f"{answer} The file is overwritten as soon as nobody reads it." if pending else answer


async def _aerased(
    conversation: Conversation, places: Collection[tuple[str, str]]
) -> tuple[int, bool]:
    """Erase (session, id): how many messages that were, and whether bytes of them are left."""
    count, pending = 0, False
    for session in sorted({session for session, _ in places}):
        there = conversation.memory.conversation(replace(conversation.namespace, session=session))
        receipt = await there.aforget([key for where, key in places if where == session])
        count += receipt.messages
        pending = pending or not receipt.complete
    return count, pending


def _line(hit: Hit, room: int, counter: TokenCounter) -> str:
    message = hit.message
    size = counter.count(message.content)
    if size > room:
        message = message.shown_as(cut(message, room, size, counter), message.metadata)
    key = " ".join(message.id.split())
    return f"[{key}] {day_line(message.time.date(), with_year=True)}, {render_line(message)}"


def _says(message: dict[str, Any], text: str) -> bool:
    own = message["role"] == "user" or REMEMBERED in message.get("metadata", {})
    return own and message["content"].strip() == text.strip()
