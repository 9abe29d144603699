"""What of a message somebody said: the text that an extractor may read."""

from __future__ import annotations

import re
from typing import Final

from rag_memory_plugins.types import Message

__all__ = ["heard"]

# Contexts mark what they made up, and put remembered text between tags of this form; whose fence it
# is does not matter here: text between such tags was said by nobody in this message.
MARK: Final = "rag_memory"
_TAG: Final = re.compile(r"<memory-(\d{9,})>")


def heard(message: Message) -> str:
    r"""What its speaker said, "" for what no claim may rest on.

    System and tool messages, answers of a nameless assistant, messages that a context made up and
    the blocks it put into others are nobody's words. A block that was cut off ends the text.

    >>> heard(Message("user", "<memory-123456789>\nI live in Oslo\n</memory-123456789>\nThanks!"))
    'Thanks!'
    >>> heard(Message("assistant", "You live in Oslo."))
    ''
    """
    if message.role not in {"user", "assistant"} or MARK in message.metadata:
        return ""
    if message.role == "assistant" and not message.name:
        return ""
    return _outside(message.content).strip()


def _outside(text: str) -> str:
    """The text without fenced blocks; one pass, whatever tags it is made of."""
    parts, at = [], 0
    while (tag := _TAG.search(text, at)) is not None:
        parts.append(text[at : tag.start()])
        closing = f"</memory-{tag[1]}>"
        end = text.find(closing, tag.end())
        if end < 0:
            return "".join(parts)
        at = end + len(closing)
    return "".join([*parts, text[at:]])
