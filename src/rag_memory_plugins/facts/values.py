"""When two values of a fact are the same: by their normal form, or by what is known not to matter.

Two values are different unless a rule says that they are the same. Rules bend plain words alone:
numbers, units, dates, ids, negations and capitalised words must be equal, so that "5 km" and
"5 miles", "approved" and "not approved", "Jon" and "Joan" stay two values. English; values of other
scripts are the same when their normal forms are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from rag_memory_plugins.facts import words
from rag_memory_plugins.facts.bending import alike
from rag_memory_plugins.facts.numbers import Token, joined_numbers, number_of, with_dates
from rag_memory_plugins.facts.predicates import predicate_key
from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.router.wording import KEYS

__all__ = ["normal", "predicate_key", "same_value", "subject_key"]

_LONGEST: Final = 300
"""Characters; longer values are read anew each time, and are the same by normal form alone."""
_BEFORE: Final = "([{\"',;:?!*`\u2014\u00ab"
_AFTER: Final = ")]}\"',;:?!.*`\u2014\u00bb"
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.){2,}(?:[^\W\d_]\.?)?")
_ID: Final = re.compile(r"[@_\\/=#|~^]|\w\.\w|\d|://")
_RANGE: Final = re.compile(r"([$€£]?\d[\d,.]*[kK%]?)-([$€£]?\d[\d,.]*[A-Za-z%]*)")
_SIGNED: Final = re.compile(r"(?:[A-Za-z]|AB|ab)[+-]|[A-Za-z]+(?:\+\+|#)|\d+\+")
_PARTS: Final = re.compile(r"[-\u2014\u2011]+")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['.][^\W\d_]+)*'?")
_QUOTES: Final = "\"'` \u00ab\u00bb"
_ARTICLE: Final = re.compile(r"^(?:the|a|an) (?=\S)")
_POSSESSIVE: Final = re.compile(r"(?<=\w)'s$|(?<=s)'$")
_STOP: Final = re.compile(r"(?<=\d)\.(?=[\"')\]]*$)")
_VERSION: Final = re.compile(
    r"(?<![\w.])(?:v|ver\.? ?|version |release )(\d+(?:\.\d+)+)", re.IGNORECASE
)
"""A number with dots is one of a version, whether it says so or not."""
_BLANKS: Final = re.compile(r"\s+")


class _Reading(NamedTuple):
    """A value taken apart once: its normal form, and its words as they were written."""

    normal: str
    tokens: tuple[Token, ...]


def normal(text: str) -> str:
    """The one spelling of a value, in small letters: equal normal forms are the same value.

    Case, articles, signs at the ends, blanks, hyphens, the spelling of numbers, amounts, dates and
    units, British and American spelling and contractions do not matter. A value of signs alone is
    its own normal form.

    >>> normal("The  Full-Time job"), normal("$1.2M"), normal("two hours")
    ('full time job', '1200000 usd', '2 hour')
    >>> normal("3 May 2026") == normal("May 3rd, 2026") == normal("2026-05-03")
    True
    """
    return _reading_of(text).normal


def same_value(a: str, b: str) -> bool:
    """Whether two values say the same; symmetric, and true of equal normal forms.

    >>> same_value("five thousand", "5k"), same_value("NYC", "New York City")
    (True, True)
    >>> same_value("Team A", "Team B"), same_value("approved", "unapproved")
    (False, False)
    """
    left, right = _reading_of(a), _reading_of(b)
    if left.normal == right.normal:
        return True
    if max(len(a), len(b)) > _LONGEST:
        return False
    return alike(left.tokens, right.tokens)


def subject_key(text: str) -> str:
    """A subject without case, leading article, quotes, doubled blanks, and a possessive at the end.

    >>> subject_key("The  User's"), subject_key("\u201cAnn Lee\u201d")
    ('user', 'ann lee')
    """
    plain = unicodedata.normalize("NFKC", text).translate(KEYS).casefold()
    plain = _BLANKS.sub(" ", unicodedata.normalize("NFKC", plain)).strip(_QUOTES)
    key = _POSSESSIVE.sub("", _ARTICLE.sub("", plain).strip(_QUOTES))
    return key or plain or text.strip()


def _reading_of(text: str) -> _Reading:
    return _kept(text) if len(text) <= _LONGEST else _read(text)


def _read(text: str) -> _Reading:
    plain = unicodedata.normalize("NFKC", text).translate(KEYS)
    plain = _BLANKS.sub(" ", plain).strip()
    if any(sign.isdigit() for sign in plain):
        plain = with_dates(_STOP.sub("", plain))
        plain = _VERSION.sub(r"\1", plain)
    chunks = plain.split(" ")
    tokens: list[Token] = []
    for at, chunk in enumerate(chunks):
        tokens += _taken(chunk, chunks[at + 1] if at + 1 < len(chunks) else "")
    tokens = _without_articles(joined_numbers(tokens))
    form = " ".join([token.text for token in tokens if token.text != ","])
    return _Reading(form or plain.casefold(), tuple(tokens))


_kept: Final = keeps_texts(lru_cache(maxsize=16_384)(_read))


def _taken(chunk: str, after: str) -> list[Token]:
    """The tokens of what stands between two blanks."""
    core = chunk.lstrip(_BEFORE)
    tail = core
    core = core if _SIGNED.fullmatch(core.rstrip(",;.")) else core.rstrip(_AFTER)
    core = core.rstrip(",;") if core == tail else core
    if not core:
        return [Token(",", ",")] if set(chunk) & set(",;") else []
    tokens = _core(core, after, dotted=tail.startswith(core + "."))
    if tail[len(core) :].lstrip(")\"'").startswith((",", ";")):
        tokens.append(Token(",", ","))
    return tokens


def _core(core: str, after: str, *, dotted: bool) -> list[Token]:
    low = core.casefold()
    if low in words.WHOLE or core in words.CAPITALS:
        return _spelt(core, words.CAPITALS.get(core) or words.WHOLE[low])
    if dotted and _DOTTED.fullmatch(core + "."):
        return _core(core.replace(".", ""), after, dotted=False)
    number = number_of(core, after.strip(_AFTER))
    if number is not None:
        return number
    spread = _RANGE.fullmatch(core)
    if spread:
        left, right = number_of(spread[1]), number_of(spread[2])
        if left and right and float(left[0].text) < float(right[0].text):
            return [*left, Token("to", "to"), *right]
    parts = [part for part in _PARTS.split(core) if part]
    if _ID.search(core):
        timed = len(parts) > 1 and number_of(parts[0]) is not None and parts[1].isalpha()
        if not timed and not (len(parts) == 1 and re.fullmatch(r"[^\W\d_]+/[^\W\d_]+", core)):
            return [Token(low, core, hard=True)]
    if not parts or _SIGNED.fullmatch(core):
        return [Token(low, core, hard=True)]
    found: list[Token] = []
    for part in parts:
        found += _word(part) if part.strip("'") else []
    return found


def _spelt(shown: str, text: str) -> list[Token]:
    return [Token(word, shown) for word in text.split()]


def _word(part: str) -> list[Token]:
    low = part.casefold()
    number = number_of(part)
    if number is not None:
        return number
    if low in words.WHOLE:
        return _spelt(part, words.WHOLE[low])
    for ending, full in words.ENDINGS:
        if low.endswith(ending) and len(low) > len(ending):
            head = part[: -len(ending)]
            return [Token(_american(head.casefold()), head), Token(full, full)]
    if _WORD.fullmatch(part):
        plain = low.replace("'", "")
        return [Token(_american(plain), part)]
    return [Token(low, part, hard=True)]


def _american(low: str) -> str:
    return words.SPELLING.get(low, low)


def _without_articles(tokens: list[Token]) -> list[Token]:
    kept: list[Token] = []
    for at, token in enumerate(tokens):
        before = tokens[at - 1].text if at else ""
        last = at + 1 == len(tokens) or tokens[at + 1].text == ","
        article = token.text in {"the", "an"} or (
            token.text == "a" and before not in words.LETTERED and (token.shown == "a" or at == 0)
        )
        if not article or last:
            kept.append(token)
    return kept
