"""Whether two names, taken apart, may be one entity's, and whether they cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rapidfuzz.distance import OSA

from rag_memory_plugins.facts import nicknames as known
from rag_memory_plugins.facts.people import Form
from rag_memory_plugins.facts.slips import is_slip

__all__ = ["LONG", "conflict", "fits", "one_slip_apart"]

LONG: Final = 9
"""Letters of a word of a name that may hold a slip."""
_ALIKE: Final = 0.88


def fits(short: Form, full: Form) -> bool:
    """Whether a form that tells less may be the entity of one that tells more."""
    if short.acronym and short.acronym in full.letters:
        return True
    if short.bare == full.bare and (
        short.person == 0 or full.person == 0 or short.company != full.company
    ):
        return not (short.company and full.company) and not full.titled and not short.titled
    if max(short.person, full.person) < 2 or not short.person or not full.person:
        return False
    return not conflict(short, full) and _shared(short, full)


def _shared(short: Form, full: Form) -> bool:
    """Whether a word, not an initial, is in both, where one name suffices to tell a person."""
    first = _same_first(short.first, full.first) if short.first and full.first else 0
    if not short.last:
        titled = not full.first and full.last == short.first
        return titled or (first == 2 and (len(short.first) > 1))
    if not short.first:
        return short.last in {full.last, full.first if not full.last else ""}
    if not full.last:
        return False
    if not first:
        return False
    if short.last == full.last:
        # A middle name makes no other name of a person; a word in a thing's name does.
        return (
            first == 1
            or short.first in known.FIRST
            or full.first in known.FIRST
            or _initialled(full, short)
        )
    return first == 2 and "." in short.last + full.last


def _initialled(one: Form, other: Form) -> bool:
    middle = (*one.middle, *other.middle)
    return not middle or any(part.endswith(".") for part in middle) or one.titled or other.titled


def conflict(one: Form, other: Form) -> bool:
    """Whether two names say things of a person that cannot both be so."""
    if one.suffix != other.suffix and (one.last and other.last):
        return True
    if one.gender and other.gender and one.gender != other.gender:
        return True
    if one.company and other.company and one.company != other.company:
        return True
    if not one.person or not other.person:
        return False
    if (
        one.first
        and other.first
        and one.last
        and other.last
        and not _same_first(one.first, other.first)
    ):
        return True
    if one.first and other.first and not _same_first(one.first, other.first):
        return True
    if one.last and other.last and not _same_part(one.last, other.last):
        return True
    return not _same_middle(one.middle, other.middle)


def _same_first(one: str, other: str) -> int:
    """2 if two first names are one or a nickname of it, 1 if an initial is all they share, or 0."""
    if one.endswith(".") or other.endswith("."):
        names = [known.FORMAL.get(each, frozenset({each})) | {each} for each in (one, other)]
        return int(any(a[0] == b[0] for a in names[0] for b in names[1]))
    if one == other:
        return 2
    # A name that is short for itself alone is no nickname: Jon is, Jonathan and John are two.
    formal = [known.FORMAL.get(each, frozenset({each})) for each in (one, other)]
    return 0 if formal[0].isdisjoint(formal[1]) else 2


def _same_part(one: str, other: str) -> bool:
    if one.endswith(".") or other.endswith("."):
        return one[0] == other[0]
    return one == other


def _same_middle(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the shorter of two runs of middle names begins the other: H. W. is not W."""
    return all(map(_same_part, one, other))


def one_slip_apart(one: Form, other: Form, used: Mapping[str, set[str]]) -> bool:
    """Whether two long names differ by one slip in one long word, which no other name has.

    `used` are the entities that each word stands in. Names of people never differ by a slip, but
    for letters in another order.
    """
    if len(one.words) != len(other.words) or _conflict_of_kind(one, other):
        return False
    differ = [(x, y) for x, y in zip(one.words, other.words, strict=True) if x != y]
    if len(differ) != 1 or max(map(len, differ[0])) < LONG:
        return False
    x, y = differ[0]
    if len(used[x]) > 1 or len(used[y]) > 1 or {x, y} <= known.FIRST:
        return False
    return is_slip(x, y) and OSA.normalized_similarity(x, y) >= _ALIKE


def _conflict_of_kind(one: Form, other: Form) -> bool:
    """Surnames that differ in a letter are two families, unless letters were exchanged."""
    told = (one.suffix, one.gender, one.company) != (other.suffix, other.gender, other.company)
    people = max(one.person, other.person) == 2
    swapped = sorted(one.bare) == sorted(other.bare)
    return told or (people and not swapped)
