"""What was said around remembered messages, put beside them in a list of any things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rag_memory_plugins.errors import StoreError, shorten
from rag_memory_plugins.memory.placing import Place
from rag_memory_plugins.types import Message, Messages

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["Windows", "around", "widened"]

Windows = list[tuple[str, Messages]]
"""Sessions, and what was said there in a row."""


async def around(
    conversation: Conversation, places: Sequence[Place | None], before: int, after: int
) -> tuple[Windows, str]:
    """What was said around these places of the user's sessions, and why it could not be read."""
    scope = conversation.namespace.scope
    known = dict.fromkeys(place for place in places if place is not None)
    windows: Windows = []
    for session in dict.fromkeys(session for session, _ in known):
        said_in = conversation.memory.conversation(scope.tenant, scope.user, session)
        ids = [key for other, key in known if other == session]
        try:
            read = await said_in.aaround(ids, before, after)
        except StoreError as error:
            return [], f"no neighbours: {shorten(error)}"
        windows += [(session, window) for window in read]
    return windows, ""


def widened(
    places: Sequence[Place | None], windows: Windows, where: Filter | None
) -> Iterator[int | tuple[str, Message]]:
    """What to show: the index of a thing that was given, or (session, message) beside one.

    A window stands where its first thing stood, in the order it was said, and every message comes
    once. Messages without text, and those that do not match `where`, stay out.
    """
    first: dict[Place, int] = {}
    for at, place in enumerate(places):
        if place is not None:
            first.setdefault(place, at)
    window_of = {
        (session, message.id): (session, window)
        for session, window in windows
        for message in window
    }
    done: set[Place] = set()
    for at, place in enumerate(places):
        if place is None or place not in window_of:
            yield at
        elif place not in done:
            session, window = window_of[place]
            for message in window:
                key = (session, message.id)
                done.add(key)
                if key in first:
                    yield first[key]
                elif _wanted(message, session, where):
                    yield session, message


def _wanted(message: Message, session: str, where: Filter | None) -> bool:
    # A message that only calls tools has no text to show.
    return bool(message.content.strip()) and (where is None or where.matches(message, session))
