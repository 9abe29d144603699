"""What a question asks for beyond its words, and what a message offers to such questions.

English alone, and only where the question is English: other languages go without, and the search
says so. Each cue is a boost, never a filter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rag_memory_plugins.retrieval.dates import TIME, asked_days, may_tell_time
from rag_memory_plugins.retrieval.lexical import word_hashes

__all__ = ["Cues", "cues_of", "is_english", "names_something", "tells_time"]

# Words that hold English questions together and are no words of its neighbours ("was" is German).
_ENGLISH: Final = re.compile(
    r"\b(?:the|is|are|were|did|does|have|had|what|when|where|which|who|whose|why|how|of|with"
    r"|for|from|my|your|his|their|our|any|there|about|would|could|should|they|you|she|it"
    r"|this|that|and|can)\b"
)
_WHEN: Final = re.compile(
    r"\b(?:when|how long|since when|(?:what|which) (?:date|day|year|month|time|week))\b"
)
_NAMED_KIND: Final = re.compile(
    r"^(?:where|who|whom|whose)\b|\bnames?\b|\btitles?\b|\b(?:what|which)\b.*\b(?:city|cities"
    r"|country|countries|state|town|place|places|book|books|movie|movies|film|films|show|series"
    r"|game|games|song|songs|band|bands|artist|author|brand|company|companies|restaurant|park"
    r"|school|university|team|event|events|tool|library|framework|model)\b"
)
_CAPITAL: Final = re.compile(r"(?<![.!?\"'\u201c:\n] )(?<![\n])(?<!^)\b[A-Z][a-z]+")
_CALLED: Final = re.compile(
    r"(?:, |\b(?:[Hh]ey|[Hh]i|[Hh]ello|[Tt]hanks|[Ww]ow) )[A-Z][a-z]+(?=[!.,?]|$)"
)
_QUOTED: Final = re.compile('["\u201c][^"\u201d\n]{2,60}["\u201d]')
_BY_ASKER: Final = re.compile(
    r"\b(?:did|do|have|had|was|were|am|would|should) i\b|\b(?:i|my|we|our)\b"
)
_BY_ANSWERER: Final = re.compile(
    r"\b(?:did|have|had|do|would|could) you\b|\byou (?:said|say|suggest|suggested|recommend"
    r"|recommended|told|tell|gave|give|mention|mentioned|explain|explained|advise|advised"
    r"|propose|proposed|wrote|write)\b|\byour (?:advice|suggestion|recommendation|answer)\b"
)


@dataclass(frozen=True)
class Cues:
    """What a question asks for: days (see `dates`), a time, a name, whose words (user, assistant).

    `words` are hashes of all its words, to find the people it names. `english` is False when the
    other cues were not looked for.
    """

    english: bool
    days: tuple[int, ...]
    when: bool
    name: bool
    role: str | None
    words: frozenset[int]


def cues_of(question: str, now: datetime) -> Cues:
    """The cues of a question asked at `now`.

    >>> from datetime import datetime
    >>> cues = cues_of("When did I fly to Rome?", datetime(2026, 1, 1))
    >>> cues.when, cues.name, cues.role
    (True, False, 'user')
    """
    folded = question.casefold()
    words = frozenset(word_hashes(question))
    # Most questions speak of no day, and looking for one takes longer than all the rest.
    days = tuple(asked_days(question, now)) if may_tell_time(question) else ()
    if not is_english(folded):
        return Cues(False, days, False, False, None, words)
    role = None
    if _BY_ANSWERER.search(folded):
        role = "assistant"
    elif _BY_ASKER.search(folded):
        role = "user"
    when = _WHEN.search(folded) is not None
    name = _NAMED_KIND.search(folded) is not None
    return Cues(True, days, when, name, role, words)


def is_english(folded: str) -> bool:
    """Whether a casefolded text looks English."""
    return _ENGLISH.search(folded) is not None


def tells_time(text: str) -> bool:
    """Whether an English text tells a time."""
    return may_tell_time(text) and TIME.search(text) is not None


def names_something(text: str) -> bool:
    """Whether an English text names something: a capital inside a sentence, or quotes.

    Somebody who is only called by name ("Thanks, Ann!") does not count.
    """
    if _QUOTED.search(text):
        return True
    return _CAPITAL.search(_CALLED.sub("", text)) is not None
