"""Whether one word is another, mistyped."""

from __future__ import annotations

from typing import Final

from rapidfuzz.distance import OSA

from rag_memory_plugins.facts import words
from rag_memory_plugins.router import guard_words as known

__all__ = ["NEVER", "is_slip"]

_SHORTEST: Final = 7
"""Letters of a word that may hold a slip: of shorter ones too many are words themselves."""
_MOVED: Final = 10
"""Letters of a word in which one may have got to another place."""
_UNSTRESSED: Final = frozenset("aei")
NEVER: Final = words.NEGATIONS | known.POLES | known.STOP | frozenset(known.MONTHS) | known.DAYS
"""Words whose letters all count."""


def is_slip(x: str, y: str) -> bool:
    """Whether one of two words of 7 letters or more is the other, mistyped.

    One letter doubled or missing, two exchanged, or one vowel for another; beginning and end are as
    they should be, and the two are no pair of words that look alike.

    >>> is_slip("acommodation", "accommodation"), is_slip("stationary", "stationery")
    (True, False)
    """
    short, full = sorted((x, y), key=lambda word: (len(word), word))
    if len(short) < _SHORTEST - 1 or len(full) < _SHORTEST or not (x + y).isascii():
        return False
    moved = len(full) >= _MOVED and sorted(x) == sorted(y)
    if short[0] != full[0] or short[-1] != full[-1]:
        return False
    if not 1 <= OSA.distance(x, y) <= 1 + moved:
        return False
    if frozenset((x, y)) in words.CONFUSED or not NEVER.isdisjoint((x, y)):
        return False
    return not _another_word(short, full) and (moved or _usual(short, full))


def _another_word(x: str, y: str) -> bool:
    """Beginnings and endings that make another word, or another name."""
    if {x[-3:], y[-3:]} in ({"son", "sen"}, {"man", "men"}):
        return True
    return any(
        {x.startswith(one) and one, y.startswith(two) and two} == {one, two}
        or {y.startswith(one) and one, x.startswith(two) and two} == {one, two}
        for one, two in words.PREFIXES
        if (x[len(one) :] == y[len(two) :]) or (y[len(one) :] == x[len(two) :])
    )


def _usual(short: str, full: str) -> bool:
    """Whether the one slip is of a kind that fingers make, in a word long enough for it."""
    at = next(number for number, sign in enumerate(full) if short[number : number + 1] != sign)
    if at >= len(full) - 2:  # licensee, analyses: an ending
        return False
    if len(short) < len(full):
        doubled = full[at] in {full[at - 1], full[at + 1]}
        agent = full.endswith("ers") and short.endswith("es")
        return len(full) >= (8 if doubled else 10) and not agent
    if short[at + 1] == full[at] and short[at] == full[at + 1]:
        return True
    # Vowels that sound alike where no stress is: early in a word another one makes another word.
    return at > 2 and {short[at], full[at]} <= _UNSTRESSED and len(full) >= 8
