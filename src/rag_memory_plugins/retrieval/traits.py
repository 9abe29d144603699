"""What is searched of a message, and its flags: what ranking asks of a text."""

from __future__ import annotations

from typing import Final

from rag_memory_plugins.retrieval.cues import names_something, tells_time
from rag_memory_plugins.retrieval.sentences import sentences
from rag_memory_plugins.types import Message

__all__ = [
    "BY_ASSISTANT",
    "BY_USER",
    "ENDS_WITH_QUESTION",
    "NAMES_SOMETHING",
    "NOT_RECALLED",
    "ONLY_ASKS",
    "STANDS_ALONE",
    "TELLS_TIME",
    "index_text",
    "traits",
]

ENDS_WITH_QUESTION: Final = 1
NOT_RECALLED: Final = 2
"""System messages are kept in the log; they are instructions, not memories."""
TELLS_TIME: Final = 4
NAMES_SOMETHING: Final = 8
ONLY_ASKS: Final = 16
BY_USER: Final = 32
BY_ASSISTANT: Final = 64
STANDS_ALONE: Final = 128
"""An item: what was stored before and after it has nothing to do with it."""


def index_text(message: Message) -> str:
    """What is searched of a message: who said it if that is known, its text, its tool calls."""
    parts = [f"{message.name}: {message.content}" if message.name else message.content]
    parts += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(part for part in parts if part)


def traits(message: Message) -> int:
    """The message's flags: what ranking asks of a text, decided once, when it is stored."""
    text = message.content
    flags = {"user": BY_USER, "assistant": BY_ASSISTANT}.get(message.role, 0)
    # An image's caption in brackets may follow the question.
    said = text.rstrip().partition(" [")[0].rstrip()
    if said.endswith(_MARKS):
        flags |= ENDS_WITH_QUESTION
        if all(part.rstrip().endswith(_MARKS) for part in _parts(said)):
            flags |= ONLY_ASKS
    if message.role == "system" or not index_text(message).strip():
        flags |= NOT_RECALLED
    if tells_time(text):
        flags |= TELLS_TIME
    if names_something(text):
        flags |= NAMES_SOMETHING
    return flags


_MARKS: Final = ("?", "\uff1f", "\u061f")


def _parts(text: str) -> list[str]:
    """The sentences of a short text that say something: greetings do not."""
    parts = [text[start:end].strip() for start, end in sentences(text)]
    return [part for part in parts if len(part.split()) > _GREETING or part.endswith(_MARKS)]


_GREETING: Final = 4
