"""A history that a caller hands over, beside what the log holds of it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.memory.arguments import MAX_HITS
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.types import Message

__all__ = ["aknown", "aunknown", "held"]

_AT_LEAST: Final = 64
"""Messages of the log's end that are read for a short history."""
_Look: TypeAlias = tuple[object, ...]


def held(log: Sequence[Message], given: Sequence[Message]) -> list[int]:
    """Places in `log` of the first messages of `given`, as many as stand there in that order.

    A caller's history often lacks what stands between in the log: tool calls, turns it has cut
    off. Of several places the last are taken: histories lack their beginning, not their end.
    """
    looks = [_look(message) for message in log]
    wanted = [_look(message) for message in given]
    count = 0
    for look in looks:
        if count < len(wanted) and look == wanted[count]:
            count += 1
    places: list[int] = []
    for at in range(len(looks) - 1, -1, -1):
        if len(places) < count and looks[at] == wanted[count - 1 - len(places)]:
            places.append(at)
    return places[::-1]


async def aunknown(conversation: Conversation, said: Sequence[Message]) -> list[Message]:
    """What of a history that is sent again the log does not hold.

    The end of the log is laid over the start of `said` as far as both say the same. A history
    without tools is compared with what the log holds without tools: clients show none. Reads twice
    as much of the log's end as is sent, and further back only until something of it is found.
    """
    known = await aknown(conversation, said)
    # A message that was given out is the log's own, also where it was shortened for a prompt.
    given = [known.get(message.id, message) for message in said]
    new = said[await _acommon(conversation, given) :]
    return [message for message in new if message.id not in known]


async def aknown(conversation: Conversation, said: Sequence[Message]) -> dict[str, Message]:
    """Those of the messages that the log holds, by id, as it holds them."""
    ids = [message.id for message in said]
    found: dict[str, Message] = {}
    for start in range(0, len(ids), MAX_HITS):
        some = ids[start : start + MAX_HITS]
        hits = await conversation.afind(Filter(ids=some), len(some), level="session")
        found.update((hit.message.id, hit.message) for hit in hits)
    return found


async def _acommon(conversation: Conversation, given: Sequence[Message]) -> int:
    """How many of `given`'s first messages the log holds already."""
    if not given:
        return 0
    spoken = not any(map(_of_tools, given))
    looks = [_look(message) for message in given]
    memory, place = conversation.memory, conversation.namespace
    limit = 2 * len(given) + _AT_LEAST
    while True:
        last = await memory.portal.acall(memory.log.arecent(place, limit))
        said = [item.message for item in last]
        log = [_look(message) for message in said if not (spoken and _of_tools(message))]
        whole = len(last) < limit
        count = _overlap(log, looks, begins=whole)
        if count or whole:
            return count
        if len(given) == 1:
            first = await memory.portal.acall(memory.log.alisted(place, limit=1))
            return int([_look(item.message) for item in first] == looks)
        limit *= 4


def _of_tools(message: Message) -> bool:
    return message.role == "tool" or bool(message.tool_calls)


def _overlap(log: Sequence[_Look], given: Sequence[_Look], *, begins: bool) -> int:
    """How many of `given`'s first items `log` holds; `begins`: with its first message."""
    size = len(given)
    # A run of two or more inside the log is a history that lacks the latest turns; one message
    # there may be a new "yes", so it counts only where a history would begin.
    starts = range(len(log) - size + 1) if size > 1 else range(min(len(log), int(begins)))
    if any(log[i : i + size] == given for i in starts):
        return size
    longest = min(len(log), size)
    return next((n for n in range(longest, 0, -1) if log[-n:] == given[:n]), 0)


def _look(message: Message) -> _Look:
    """What of a message comes back from a client that keeps no ids."""
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    urls = tuple(image.url for image in message.images)
    return (message.role, message.content, message.name, calls, message.tool_call_id, urls)
