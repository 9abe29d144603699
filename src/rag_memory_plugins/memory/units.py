"""Units of a context: what stands or falls together, and how a long one is shortened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag_memory_plugins.ports import StoredMessage, TokenCounter
from rag_memory_plugins.types import Message

__all__ = ["SHORTENED", "Unit", "by_group", "cut", "shortened", "units_of", "whole"]

SHORTENED: Final = "rag_memory_shortened"
"""Metadata key of a message whose text was shortened for a prompt: tokens it had."""
LEAST: Final = 24
"""Tokens below which a shortened text says nothing any more."""


@dataclass
class Unit:
    """Messages that stand or fall together, oldest first: one, or a whole tool group."""

    items: list[StoredMessage]
    score: float | None = None
    rank: int = 0
    tokens: int = 0
    note: str = ""

    @property
    def seqs(self) -> set[int]:
        return {item.seq for item in self.items}


def units_of(items: Sequence[StoredMessage], groups: Sequence[StoredMessage]) -> list[Unit]:
    """Items as units, in order; a member of a tool group brings the whole group."""
    wholes = by_group(groups)
    units: list[Unit] = []
    seen: set[int] = set()
    for item in items:
        if item.seq in seen:
            continue
        unit = Unit(list(wholes.get(item.group or 0, [item])))
        seen |= unit.seqs
        units.append(unit)
    return units


def by_group(groups: Sequence[StoredMessage]) -> dict[int, list[StoredMessage]]:
    """Members of every tool group."""
    found: dict[int, list[StoredMessage]] = {}
    for item in groups:
        if item.group is not None:
            found.setdefault(item.group, []).append(item)
    return found


def whole(unit: Unit) -> bool:
    """Whether every call has its result and every result its call."""
    calls = {call.id for item in unit.items for call in item.message.tool_calls}
    results = {item.message.tool_call_id for item in unit.items if item.message.role == "tool"}
    return calls == results


def shortened(
    unit: Unit, room: int, counter: TokenCounter, count: Callable[[Unit], int]
) -> Unit | None:
    """The unit in at most `room` tokens, its longest texts shortened; None when it cannot be.

    Calls and results stay: only texts get shorter, the longest first, each with a mark that names
    its message. `count` is what a unit costs where it will stand.
    """
    tokens = count(unit)
    items = list(unit.items)
    sizes = [counter.count(item.message.content) for item in items]
    for at in sorted(range(len(items)), key=lambda at: -sizes[at]):
        over = tokens - room
        if over <= 0:
            break
        if sizes[at] <= LEAST:
            return None
        message = items[at].message
        text = cut(message, max(LEAST, sizes[at] - over), sizes[at], counter)
        metadata = {**message.metadata, SHORTENED: sizes[at]}
        items[at] = replace(items[at], message=replace(message, content=text, metadata=metadata))
        tokens = count(replace(unit, items=items))
    if tokens > room:
        return None
    return replace(unit, items=items, tokens=tokens, note=", shortened")


def cut(message: Message, room: int, size: int, counter: TokenCounter) -> str:
    """The beginning and the end of a message's text in `room` tokens or fewer, with a mark."""
    text = message.content
    mark = f" [… shortened, message {message.id}] "
    left = room - counter.count(mark) - 2
    if left < LEAST // 2:
        mark = " [… shortened] "
        left = room - counter.count(mark) - 2
    characters = max(0, left) * len(text) // max(1, size)
    while True:
        head = _head(text, characters * 2 // 3)
        tail = _tail(text, characters - characters * 2 // 3)
        made = f"{head}{mark}{tail}".strip()
        tokens = counter.count(made)
        if tokens <= room or characters == 0:
            return made if tokens <= room else ""
        characters = min(characters - 1, characters * room // tokens)


def _head(text: str, length: int) -> str:
    """Up to `length` characters from the start, ending with a line or a word."""
    if length >= len(text):
        return text
    part = text[:length]
    for end in ("\n", " "):
        at = part.rfind(end)
        if at >= length * 3 // 4:
            return part[:at]
    return part


def _tail(text: str, length: int) -> str:
    """Up to `length` characters from the end, beginning with a line or a word."""
    if length <= 0:
        return ""
    part = text[-length:]
    for start in ("\n", " "):
        at = part.find(start)
        if 0 <= at <= length // 4:
            return part[at + 1 :]
    return part
