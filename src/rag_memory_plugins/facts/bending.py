"""What may differ between two values that say the same, and what then must not.

Each rule explains the whole difference by itself or does not hold: filler, plural, the order of
words, a word written in two, initials, and one slip of a finger in a long plain word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from rag_memory_plugins.facts import words
from rag_memory_plugins.facts.numbers import Token
from rag_memory_plugins.facts.slips import NEVER, is_slip
from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.router import guard_words as known

__all__ = ["alike"]

Tokens = tuple[Token, ...]

_MOST_WORDS: Final = 40
_SMALL: Final = frozenset("of and the for de &".split())


def alike(a: Tokens, b: Tokens) -> bool:
    """Whether two values, read into tokens, differ in nothing but what may differ; symmetric."""
    a, b = _plain(a), _plain(b)
    left, right = _words(a), _words(b)
    if not left or not right or max(len(left), len(right)) > _MOST_WORDS:
        return False
    hard = [sorted(token.text for token in side if token.hard) for side in (left, right)]
    if hard[0] != hard[1]:
        return False
    if _in_place(left, right):
        return True
    denied = [sum(token.text in words.NEGATIONS for token in side) for side in (left, right)]
    if denied[0] != denied[1]:
        return False
    if not denied[0] and _reordered(a, b):
        return True
    return (
        _in_two(left, right)
        or _initials(left, right)
        or _initials(right, left)
        or _slip(left, right)
    )


def _words(tokens: Tokens) -> Tokens:
    return tuple([token for token in tokens if token.text != ","])


def _plain(tokens: Tokens) -> Tokens:
    """Without filler, unless nothing else is there."""
    texts = [token.text for token in tokens]
    if words.FILLER.isdisjoint(texts) and words.EMPHASIS.isdisjoint(texts) and len(tokens) < 3:
        return tokens
    drop = words.FILLER
    if words.NEGATIONS.isdisjoint(texts):
        drop |= words.EMPHASIS
    kept: list[Token] = []
    at = 0
    while at < len(tokens):
        run = next((f for f in words.FILLERS if tuple(texts[at : at + len(f)]) == f), ())
        if not run and texts[at] not in drop:
            kept.append(tokens[at])
        at += len(run) or 1
    return tuple(kept) if any(token.text != "," for token in kept) else tokens


def _upper(token: Token) -> bool:
    return token.shown[:1].isupper()


@keeps_texts
@lru_cache(maxsize=8_192)
def _single(low: str) -> str:
    """A noun without the ending of its plural."""
    if low in words.PLURALS:
        return words.PLURALS[low]
    if len(low) < 4 or low in words.NO_PLURALS or not low.isascii() or not low.endswith("s"):
        return low
    if low.endswith(("ss", "us", "is", "'s")):
        return low
    if low.endswith("ies"):
        return low[:-3] + "y" if len(low) > 4 else low
    if low.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return low[:-2]
    return low[:-1]


def _accents_off(text: str) -> str:
    """`text` without the marks on its Latin letters."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text)
    return "".join([sign for sign in apart if not unicodedata.combining(sign)])


def _key(token: Token) -> str:
    if token.hard:
        return token.text
    if _upper(token) and not token.text.isascii():
        return _accents_off(token.text)
    return _single(token.text)


def _fits(x: Token, y: Token) -> bool:
    """Whether two words of one key may stand for each other: a plural is no other name."""
    if x.text == y.text:
        return True
    if x.hard or y.hard or _key(x) != _key(y):
        return False
    return not (_upper(x) and _upper(y)) or _accents_off(x.text) == _accents_off(y.text)


def _in_place(left: Tokens, right: Tokens) -> bool:
    return len(left) == len(right) and all(map(_fits, left, right))


def _reordered(a: Tokens, b: Tokens) -> bool:
    left, right = _words(a), _words(b)
    if len(left) + len(right) < 4:
        return False
    other_order = _sorted(left), _sorted(right)
    plain = [tuple([t for t in side if t.text != "and"]) for side in other_order]
    if not _in_place(plain[0], plain[1]):
        if any(t.text == "of" for t in left) == any(t.text == "of" for t in right):
            return False
        return _turned(left, right) or _turned(right, left)
    return (
        _flat(_phrases(a)) == _flat(_phrases(b))
        or _inverted(a, right)
        or _inverted(b, left)
        or _floated(left, right)
        or _described(left, right)
    )


def _sorted(tokens: Tokens) -> Tokens:
    return tuple(sorted(tokens, key=lambda token: (_key(token), token.text)))


def _phrases(tokens: Tokens) -> Iterator[list[list[str]]]:
    """The phrases of a value, each a list of what "and" and commas part; the first is its head."""
    phrase: list[list[str]] = [[]]
    for token in tokens:
        if token.text in {",", "and"}:
            phrase.append([])
        elif token.text == "or":
            phrase += [["or"], []]
        elif token.text in words.PREPOSITIONS and any(phrase):
            yield phrase
            phrase = [[token.text], []]
        else:
            phrase[-1].append(_key(token))
    yield phrase


def _flat(phrases: Iterator[list[list[str]]]) -> object:
    """Phrases in an order of their own: lists sorted, and those that may move."""
    head, *rest = [(p[0], sorted(part for part in p[1:] if part)) for p in _led(phrases)]
    movable = all(lead[0] in words.MOVABLE for lead, _ in rest) or len(rest) == 2
    return head, sorted(rest) if movable else rest


def _led(phrases: Iterator[list[list[str]]]) -> Iterator[list[list[str]]]:
    """Each phrase with its preposition first; the head has an empty one, or its own."""
    for number, phrase in enumerate(phrases):
        first = phrase[0]
        if number:
            yield phrase
        elif first and first[0] in words.MOVABLE:
            yield [[""], []]
            yield [first[:1], first[1:], *phrase[1:]]
        else:
            yield [[""], *phrase]


def _inverted(a: Tokens, right: Tokens) -> bool:
    """Lee, Ann: what stands behind the only comma comes first."""
    commas = [at for at, token in enumerate(a) if token.text == ","]
    return len(commas) == 1 and _in_place((*a[commas[0] + 1 :], *a[: commas[0]]), right)


def _floated(left: Tokens, right: Tokens) -> bool:
    sides = [tuple([t for t in side if t.text not in words.FLOATING]) for side in (left, right)]
    return len(sides[0]) < len(left) and bool(sides[0]) and _in_place(sides[0], sides[1])


def _described(left: Tokens, right: Tokens) -> bool:
    """A big red car, a red big car: adjectives before one noun."""
    if not _fits(left[-1], right[-1]) or left[-1].text in words.ADJECTIVES:
        return False
    before = left[:-1]
    others = [token for token in before if token.text not in words.ADJECTIVES]
    plain = all(not t.hard and t.shown.islower() and "'" not in t.shown for t in before)
    return plain and len(others) < 2 and not any(t.text in known.STOP for t in others)


def _turned(left: Tokens, right: Tokens) -> bool:
    """Head of sales, sales head; University of Porto, Porto University."""
    at = [number for number, token in enumerate(left) if token.text == "of"]
    if len(at) != 1 or not 0 < at[0] < len(left) - 1 or len(left) > 5:
        return False
    return _in_place((*left[at[0] + 1 :], *left[: at[0]]), right)


def _in_two(left: Tokens, right: Tokens) -> bool:
    """E mail and email, full time and fulltime: plain words alone."""
    if len(left) == len(right):
        return False
    few, many = sorted((left, right), key=len)
    left, right = _apart(few, many)
    if len(left) != 1 or len(right) != 2 or any(t.hard or _upper(t) for t in (*left, *right)):
        return False
    whole = left[0].text
    return len(whole) >= 5 and whole == right[0].text + right[1].text and NEVER.isdisjoint([whole])


def _apart(left: Tokens, right: Tokens) -> tuple[Tokens, Tokens]:
    """What is left of two values without the words that they begin and end with alike."""
    start = 0
    while start < min(len(left), len(right)) and _fits(left[start], right[start]):
        start += 1
    end = 0
    most = min(len(left), len(right)) - start
    while end < most and _fits(left[-1 - end], right[-1 - end]):
        end += 1
    return left[start : len(left) - end], right[start : len(right) - end]


def _initials(left: Tokens, right: Tokens) -> bool:
    """NYC, New York City: initials of words that each begin with a capital."""
    short, full = _apart(left, right)
    if len(short) != 1 or short[0].hard or not 3 <= len(short[0].text) <= 6:
        return False
    if not short[0].shown.isupper() or len(full) < 3:
        return False
    telling = [token for token in full if token.text not in _SMALL]
    if not all(_upper(token) and not token.hard for token in telling) or len(telling) < 2:
        return False
    if any(token.shown.isupper() and len(token.shown) > 1 for token in telling):
        return False
    letters = ["".join([t.text[0] for t in side]) for side in (telling, full)]
    return short[0].text in letters


def _slip(left: Tokens, right: Tokens) -> bool:
    if len(left) != len(right):
        return False
    other = [(x, y) for x, y in zip(left, right, strict=True) if not _fits(x, y)]
    return len(other) == 1 and _is_typo(*other[0])


def _is_typo(x: Token, y: Token) -> bool:
    if x.hard or y.hard or _upper(x) or _upper(y):
        return False
    return is_slip(_single(x.text), _single(y.text))
