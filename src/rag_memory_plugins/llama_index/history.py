"""A history that a caller hands over, beside what the log holds of it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rag_memory_plugins.types import Message

__all__ = ["held"]

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


def _look(message: Message) -> _Look:
    """What of a message comes back from a client that keeps no ids."""
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    urls = tuple(image.url for image in message.images)
    return (message.role, message.content, message.name, calls, message.tool_call_id, urls)
