"""A history that a caller hands over, beside what the log holds of it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rag_memory_plugins.types import Message

__all__ = ["held", "unknown"]

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


def unknown(log: Sequence[Message], said: Sequence[Message]) -> list[Message]:
    """What of a history that is sent again the log does not hold.

    The end of the log is laid over the start of `said` as far as both say the same.
    """
    known = {message.id: message for message in log}
    # A message that was given out is the log's own, also where it was shortened for a prompt.
    given = [_look(known.get(message.id, message)) for message in said]
    new = said[_overlap([_look(message) for message in log], given) :]
    return [message for message in new if message.id not in known]


def _overlap(log: Sequence[object], given: Sequence[object]) -> int:
    """How many of `given`'s first items the log holds already."""
    size = len(given)
    # A run of two or more inside the log is a history that lacks the latest turns; one message
    # there may be a new "yes", so it counts only where a history would begin.
    starts = range(len(log) - size + 1) if size > 1 else range(min(len(log), 1))
    if any(log[i : i + size] == given for i in starts):
        return size
    longest = min(len(log), size)
    return next((n for n in range(longest, 0, -1) if log[-n:] == given[:n]), 0)


def _look(message: Message) -> _Look:
    """What of a message comes back from a client that keeps no ids."""
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    urls = tuple(image.url for image in message.images)
    return (message.role, message.content, message.name, calls, message.tool_call_id, urls)
