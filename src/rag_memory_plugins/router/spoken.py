"""Numbers as people write them in words and in Roman figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rag_memory_plugins.router import guard_words as known

__all__ = ["ROMAN", "counted", "roman", "spoken"]

ROMAN: Final = re.compile(r"(?=..)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROOM: Final = 10**16
"""More than any scale."""


def roman(text: str) -> int:
    """The value of a Roman figure in capitals.

    >>> roman("XIV")
    14
    """
    values = [_VALUES[sign] for sign in text]
    return sum(
        -value if value < max(values[number:]) else value for number, value in enumerate(values)
    )


def counted(items: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """The items, with numbers in words as one number each."""
    at = 0
    while at < len(items):
        if not items[at][0].startswith("+"):
            yield items[at]
            at += 1
            continue
        end = at
        while end < len(items) and (
            items[end][0].startswith("+") or (items[end][0] == "and" and end > at)
        ):
            end += 1
        while items[end - 1][0] == "and":
            end -= 1
        yield from ((slot, False) for slot in _numbers([word for word, _ in items[at:end]]))
        at = end


def _numbers(words: Sequence[str]) -> Iterator[str]:
    """Slots of a run of number words: each number as long as it grows by the rules of English."""
    total = current = 0
    room = _ROOM  # what comes next must be smaller
    begun = False
    for word in [*(each.removeprefix("+") for each in words), ""]:
        value, kind = spoken(word)
        nth = kind == "nth"
        if kind == "and":
            continue
        grows = begun and (
            (kind == "hundred" and 0 < current < 10)
            or (kind == "scale" and current and value < room)
            or (kind in {"small", "nth"} and _fits(current, value))
        )
        if begun and not grows:
            yield f"#{total + current}"
            total, current, begun, room = 0, 0, False, _ROOM
        if not kind:
            return
        if kind == "hundred":
            current = (current or 1) * 100
        elif kind == "scale":
            total, current, room = total + (current or 1) * value, 0, value
        else:
            current += value
        begun = True
        if nth:
            yield f"#{total + current}th"
            total, current, begun, room = 0, 0, False, _ROOM


def spoken(word: str) -> tuple[int, str]:
    """(value, "small", "hundred", "scale", "nth" or "and"); "" for a word that is no number."""
    if word in known.SMALL or word in known.TENS:
        return known.SMALL.get(word) or known.TENS.get(word, 0), "small"
    if word in known.ORDINALS:
        return known.ORDINALS[word], "nth"
    if word in known.SCALES:
        return known.SCALES[word], "scale"
    return (100, "hundred") if word == "hundred" else (0, "and" if word == "and" else "")


def _fits(current: int, value: int) -> bool:
    """Whether "twenty" may go on with "five", "two hundred" with "five" or "twenty"."""
    if value == 0:
        return False
    tens = current % 100
    if tens == 0:
        return value < 100
    return tens >= 20 and tens % 10 == 0 and value < 10
