"""Two values of one state, compared without a model: what cannot be equal."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, TypeAlias

from rag_memory_plugins.router.guards import Guarded, read
from rag_memory_plugins.router.wording import KEYS

__all__ = ["Change", "contradiction"]

Change: TypeAlias = Literal["same", "refined", "changed"]
LONGEST: Final = 2_000
"""Characters of a value that is read; a longer one is a text, and 100 of them took seconds."""
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def contradiction(change: Change, old: str, new: str) -> str:
    """Why `new` cannot be the "same" as `old`, or `old` "refined"; "" if nothing speaks against it.

    Equal values have equal numbers, units, names and negation; a refined one has all that the old
    one had. Some true paraphrases are refused. A "changed" one is never.

    >>> contradiction("same", "40 seats", "about fifty seats")
    'other numbers or units'
    >>> contradiction("refined", "Porto", "Porto, near the river")
    ''
    """
    if change == "changed":
        return ""
    if max(len(old), len(new)) > LONGEST:
        return "more text than is checked"
    a, b = read(old, LONGEST), read(new, LONGEST)
    whole = change == "same"
    if _lost(_slots(a, "#=%"), _slots(b, "#=%"), both=whole):
        return "other numbers or units"
    if ("!" in a.slots) != ("!" in b.slots):
        return "one is negated"
    if _opposed(_slots(a, "~"), _slots(b, "~")):
        return "opposites"
    if _lost(_names(a), _words(new), both=False) or (whole and _names(b) - _words(old)):
        return "other names"
    return "other names" if _other_names(a, b, old, new) else ""


def _slots(guarded: Guarded, signs: str) -> frozenset[str]:
    return frozenset([slot for slot in guarded.slots if slot[0] in signs])


def _names(guarded: Guarded) -> frozenset[str]:
    return frozenset([slot[1:] for slot in guarded.slots if slot[0] == "^"])


def _words(text: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFC", text).translate(KEYS).casefold()
    words = _WORD.findall(plain)
    return frozenset([*words, *(word.removesuffix("'s") for word in words)])


def _lost(old: frozenset[str], new: frozenset[str], *, both: bool) -> bool:
    return old != new if both else not old <= new


def _opposed(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether both hold words like up, down, first, last, and neither holds all of the other's."""
    return not (a <= b or b <= a)


def _other_names(a: Guarded, b: Guarded, old: str, new: str) -> bool:
    """Whether both may hold a name, and neither's stand in the other.

    A capital where a value begins may be a name or not: "Done" is another wording of "finished",
    "Ann" is not another wording of "Ben".
    """
    left, right = _names(a) | a.maybe_names, _names(b) | b.maybe_names
    return bool(left and right) and not (left <= _words(new) or right <= _words(old))
