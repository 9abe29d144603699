"""What must be equal in two prompts before one's answer may be given to the other.

No similarity tells "4471" from "4472": the vectors of two prompts that differ in one number are
nearer to each other than those of most paraphrases. So what carries the meaning is read out of the
wording and compared as it is. The guards err to one side: they refuse many true paraphrases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rag_memory_plugins.router.wording import Guarded, is_slot, read

__all__ = ["Guarded", "differ", "normalised", "read", "same_facts"]

_PREFIX: Final = re.compile(
    r"^(?:un|in|im|il|ir|dis|non|de|mis|anti|re|pre|post|over|under|sub|super|hyper|hypo|ex|out|up"
    r"|down|inter|intra|pro|contra|counter|max|min)(?=\w{3})"
)
_SUFFIX: Final = re.compile(r"(?<=\w{3})(?:er|or|ee|less|ful|free|able|ible)$")
_LONGEST_ANSWER: Final = 20_000
_END: Final = re.compile(r"[\s.?!\u2026\u3002\uff1f\uff01]+$")


def normalised(text: str) -> str:
    """Without case, doubled spaces, and signs at the end; code with line breaks keeps its spaces.

    >>> normalised("What is  HTTP? ")
    'what is http'
    """
    if "\n" not in text:
        text = " ".join(text.split())
    return _END.sub("", text).casefold()


def differ(a: Guarded, b: Guarded) -> str:
    """Why an answer to one may not be given to the other, "" if nothing speaks against it.

    >>> differ(read("How far is 10 miles in km?"), read("How far is 10 km in miles?"))
    'numbers, units, names, negations or their order'
    >>> differ(read("How do I cook rice?"), read("Tell me how to cook rice, please."))
    ''
    """
    if not (a.known and b.known):
        return "the language is not guarded"
    a, b = _with_names_of(a, b), _with_names_of(b, a)
    if a.slots != b.slots:
        return "numbers, units, names, negations or their order"
    if a.asked != b.asked:
        return "what is asked"
    if a.tense != b.tense or _other_persons(a.persons, b.persons):
        return "tense or person"
    left, right = set(a.order), set(b.order)
    if not a.maybe_names <= right or not b.maybe_names <= left:
        return "a name"
    if [each for each in a.order if each in right] != [each for each in b.order if each in left]:
        return "the order of words"
    if left != right and (left <= right or right <= left):
        return "one says more"
    if _opposite(left - right, right - left):
        return "opposites"
    if _same_frame(a.words, b.words):
        return "another word in the same place"
    return ""


def same_facts(a: str, b: str) -> bool:
    """Whether two answers agree in numbers, ids, names and negation, however they are worded.

    >>> same_facts("Ottawa.", "The capital of Canada is Ottawa."), same_facts("Yes", "No")
    (True, False)
    """
    if max(len(a), len(b)) > _LONGEST_ANSWER:
        return False
    left, right = read(a, _LONGEST_ANSWER), read(b, _LONGEST_ANSWER)
    hard = [{slot for slot in each.slots if slot[0] in "#=%"} for each in (left, right)]
    if hard[0] != hard[1] or ("!" in left.slots) != ("!" in right.slots):
        return False
    names = [
        {slot[1:] for slot in each.slots if slot[0] == "^"} | each.maybe_names
        for each in (left, right)
    ]
    few, many = sorted(names, key=len)
    return few <= many and bool(few) == bool(many)


def _with_names_of(a: Guarded, b: Guarded) -> Guarded:
    """`a`, where a capital at the beginning of a sentence is a name if it is one in `b`."""
    names = {name for name in a.maybe_names if f"^{name}" in b.slots}
    if not names:
        return a
    order = tuple([f"^{each}" if each in names else each for each in a.order])
    slots = tuple([each for each in order if is_slot(each)])
    return replace(a, order=order, slots=slots, maybe_names=a.maybe_names - names)


def _other_persons(a: frozenset[str], b: frozenset[str]) -> bool:
    near = frozenset({"i", "you"})
    if a - near != b - near:
        return True
    return bool(a & near) and bool(b & near) and a & near != b & near


def _opposite(left: set[str], right: set[str]) -> bool:
    """Words that differ in what stands before or behind them: legal and illegal, payer and payee."""
    roots = [
        {root for word in words for root in (word, _PREFIX.sub("", word), _SUFFIX.sub("", word))}
        for words in (left, right)
    ]
    return not roots[0].isdisjoint(roots[1])


def _same_frame(a: Sequence[tuple[str, bool]], b: Sequence[tuple[str, bool]]) -> bool:
    """Whether two prompts are one template with other words in it: cook rice, cook pasta."""
    if len(a) != len(b):
        return False
    other = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    kinds = [(x[1], y[1]) for x, y in other]
    return (False, False) in kinds and all(x == y for x, y in kinds)
