"""Remembered messages as text: dated lines inside a fence that stored text cannot close."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.types import Message

__all__ = ["Fence", "day_line", "render", "render_line"]


@dataclass(frozen=True)
class Fence:
    """The boundary around remembered text: a keyed hash that the text cannot have known.

    The same conversation always gets the same one, so that a provider's prompt cache holds; it is
    lengthened while the text happens to contain it.
    """

    secret: str
    key: str

    def around(self, title: str, body: str) -> str:
        digest = hmac.new(self.secret.encode(), self.key.encode(), hashlib.sha256).hexdigest()
        # Digits, because tokenizers cut them in threes: every tag costs the same, so that what fits
        # into a budget does not depend on the secret.
        digits = str(int(digest, 16)).zfill(77)
        length = 9
        while length < len(digits) and digits[:length] in body:
            length += 9
        tag = f"memory-{digits[:length]}"
        return f"<{tag}>\n{title}\n{body}\n</{tag}>"


def render_line(message: Message) -> str:
    """One remembered message as text: who, what, and the tools it called."""
    calls = "".join(f" [called {call.name} {call.arguments}]" for call in message.tool_calls)
    return f"{message.speaker}: {message.content}{calls}"


def render(items: Iterable[StoredMessage]) -> str:
    """Remembered messages as text, in the order of time, under the dates they were said on."""
    ordered = sorted(items, key=lambda item: (item.message.time, item.seq))
    blocks = []
    for day, group in groupby(ordered, key=lambda item: item.message.time.date()):
        blocks.append("\n".join([day_line(day), *(render_line(item.message) for item in group)]))
    return "\n".join(blocks)


def day_line(day: date) -> str:
    """The line above what was said on a day."""
    return f"[{day.day} {day:%B %Y}]"
