"""Where a framework puts the blocks of a context: beside what a user said."""

from __future__ import annotations

from collections.abc import Sequence

from rag_memory_plugins.memory.rendering import MARK
from rag_memory_plugins.types import Message

__all__ = ["joined"]


def joined(messages: Sequence[Message]) -> list[tuple[int | None, tuple[Message, ...]]]:
    """(place of a message that was said, the blocks to put before its text), in order.

    A block of ours joins the user message beside it, because several providers and most local chat
    templates refuse two user messages in a row. One that has none beside it stands alone: its place
    is None.

    >>> made = Message("user", "<memory>...</memory>", metadata={MARK: "recalled"})
    >>> placed = joined([made, Message("user", "hi"), Message("assistant", "hello"), made])
    >>> [(place, len(blocks)) for place, blocks in placed]
    [(1, 1), (2, 0), (None, 1)]
    """
    placed: list[tuple[int | None, tuple[Message, ...]]] = []
    waiting: tuple[Message, ...] = ()
    for place, message in enumerate(messages):
        if MARK in message.metadata:
            if placed and placed[-1][0] == place - 1 and messages[place - 1].role == "user":
                placed[-1] = (place - 1, (message, *placed[-1][1]))
            else:
                waiting += (message,)
            continue
        if waiting and message.role != "user":
            placed.append((None, waiting))
            waiting = ()
        placed.append((place, waiting))
        waiting = ()
    return [*placed, (None, waiting)] if waiting else placed
