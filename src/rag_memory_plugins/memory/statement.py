"""A `Statement`: one sentence with what it is about, its values, and what it is worth keeping.

Worth counts traits: decisions, corrections, rules, goals, facts about the speaker; numbers, dates,
names, identifiers; who said it. All is told from a line's text alone, so that a line weighs the
same in every later fold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Final

from rag_memory_plugins.memory import cues
from rag_memory_plugins.retrieval.lexical import terms_of

__all__ = ["GENERIC", "MARK", "Statement", "is_greeting", "worth_of"]

MARK: Final = "…"
"""Stands where a text was cut."""

_NUMBER: Final = re.compile(
    r"[#$\u20ac\u00a3]?\d[\d.,:/%-]*\w*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|twenty|thirty|fifty|hundred|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march"
    r"|april|june|july|august|september|october|november|december|may(?= \d)|(?<=\d )may)\b",
    re.IGNORECASE,
)
_NAME: Final = re.compile(
    r"(?<!^)(?<![.!?:] )\b[^\W\d_a-z]\w+|\b\w*[a-z][A-Z]\w*|\b[A-Z]{2,}\d*\b"
    r"|[\"\u201c\u00ab\u300c]([^\"\u201d\u00bb\u300d\n]{2,60})[\"\u201d\u00bb\u300d]|`([^`\n]{1,80})`"
    r"|(?:https?:/|\.)?/[\w./-]{2,}|\b\w+(?:[_.@]\w+)+\b|\b[\w-]+\.[a-z]{1,4}\b"
)
_QUESTION: Final = ("?", "\uff1f", "\u061f")
GENERIC: Final = frozenset(
    terms_of(
        "use using go pick choose chose chosen decide decided decision actually instead switch change "
        "move moved set want need please agree agreed stick take keep now new update updated correction "
        "mind rather choice option idea preference default replace drop cancel postponed raise raised push pushed settle prefer final "
        "confirmed longer anymore plan will shall after earlier previous remember note sorry turns"
    )
)


@dataclass(frozen=True)
class Statement:
    """One sentence as a line of a summary. `by` is "user", "assistant" or "tool".

    `note` is what the line's end says in brackets: who accepted it, or what it was before.
    """

    text: str
    time: datetime
    ids: tuple[str, ...]
    by: str
    worth: float
    old: bool
    speaker: str
    body: str
    note: tuple[str, str] = ("", "")

    @property
    def said(self) -> str:
        """The line without its speaker: what is compared with other lines."""
        return self.text.removeprefix(f"{self.speaker}: ") if self.speaker else self.text

    @cached_property
    def folded(self) -> str:
        return self.body.casefold()

    @cached_property
    def english(self) -> bool:
        return cues.speaks_english(self.folded)

    @cached_property
    def corrects(self) -> bool:
        """Whether it says of itself that it replaces something."""
        return self.english and cues.CORRECTION.search(self.folded) is not None

    @cached_property
    def may_correct(self) -> bool:
        """Whether it may, if it is about the same thing."""
        return self.corrects or (self.english and cues.HINT.search(self.folded) is not None)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Its numbers, times, weekdays and months."""
        found = (match.group().casefold() for match in _NUMBER.finditer(self.body))
        return frozenset(item.rstrip(".,:/-").replace(",", "") for item in found)

    @cached_property
    def names(self) -> frozenset[str]:
        """Its names, quotes, identifiers and paths; a capital at the beginning says nothing."""
        found = (match.group().casefold().strip("`\"'") for match in _NAME.finditer(self.body))
        return frozenset(name for name in found if name not in self.numbers and terms_of(name))

    @cached_property
    def terms(self) -> frozenset[int]:
        """Its stems, and those of what it was before."""
        before = self.note[1] if self.note[0] == "was" else ""
        return frozenset(terms_of(f"{self.body} {before}"))

    @cached_property
    def first(self) -> frozenset[int]:
        """The stem of its first word that tells something: what it is about stands there mostly."""
        numbers = frozenset(terms_of(" ".join(self.numbers)))
        telling = (term for term in terms_of(self.body) if term not in GENERIC | numbers)
        return frozenset(islice(telling, 1))

    @cached_property
    def values(self) -> frozenset[int]:
        # As they stand: "2,000" is two words to the tokenizer.
        numbers = (match.group() for match in _NUMBER.finditer(self.body))
        return frozenset(terms_of(" ".join([*numbers, *self.names])))

    @cached_property
    def topic(self) -> frozenset[int]:
        """Stems of what it is about; without one, those of what it was before."""
        for pattern in cues.TOPICS if self.english else ():
            found = pattern.search(self.folded)
            if found and (about := self._about(found[1])):
                return about
        if self.note[0] == "was" and (about := self._about(self.note[1])):
            return about
        clauses = (*re.split(r"[,;:]\s", self.body, maxsplit=1)[:1], self.body)
        return next(
            filter(None, (self._about(part) - self.values for part in clauses)), frozenset()
        )

    @cached_property
    def clauses(self) -> tuple[Statement, ...]:
        """It, and each of its clauses by itself: "They called, so the flight is on Friday"."""
        parts = cues.CLAUSE.split(self.body) if self.english else []
        long = [part for part in parts if len(part.split()) > 2]
        return (self, *(replace(self, body=part) for part in long if part != self.body))

    def _about(self, text: str) -> frozenset[int]:
        return frozenset(terms_of(text)) - GENERIC - frozenset(terms_of(" ".join(self.numbers)))

    @cached_property
    def says_about(self) -> bool:
        """Whether an English sentence names its subject, and not "it" alone."""
        found = (pattern.search(self.folded) for pattern in cues.TOPICS)
        about = [match[1] for match in found if match]
        if about:
            return any(map(self._about, about))
        return len(self._about(self.body) - self.values) > 2

    @cached_property
    def outdates(self) -> frozenset[int]:
        """Stems of the value that it says holds no more."""
        found = cues.OLD_VALUE.findall(self.folded) if self.corrects else []
        return frozenset(terms_of(" ".join(found))) - GENERIC

    @cached_property
    def negated(self) -> bool:
        return cues.NEGATION.search(self.folded) is not None

    @cached_property
    def personal(self) -> bool:
        """Whether it may be true of its speaker alone."""
        return not self.english or cues.FIRST_PERSON.search(self.folded) is not None


def is_greeting(item: Statement) -> bool:
    """Whether a sentence is a courtesy and nothing else."""
    short = len(item.terms) <= 2 and not item.numbers and not item.names
    return short and cues.GREETING.match(item.folded) is not None


def worth_of(item: Statement) -> float:
    """What a statement is worth before it is compared with others; about -3 to 6."""
    if (
        cues.CODE.search(item.folded)
        or cues.LOG.search(item.folded)
        or MARK + " code," in item.body
    ):
        return -1.5 if item.by == "user" else -2.0
    facts = 0.6 * min(2, len(item.numbers)) + 0.5 * min(2, len(item.names))
    worth = min(1.6, facts) + {"user": 0.8, "assistant": 0.0}.get(item.by, -1.0)
    asks = item.body.endswith(_QUESTION)
    if not item.english:
        return worth - (1.2 if asks else 0.0)
    if item.note[0] == "was" or (item.note[0] and item.by == "assistant"):
        return worth + 3.5
    told = _told(item.folded)
    if asks:
        return worth - 1.2 + min(told, 0.4)
    if item.by != "user":
        told *= 0.35  # an assistant says "let's" and "you should" all the time
    if len(item.terms) < 3 and not facts:
        worth -= 0.8
    return (
        worth + told - (1.5 if item.by == "assistant" and cues.FILLER.search(item.folded) else 0.0)
    )


def _told(folded: str) -> float:
    """The strongest of a sentence's cues, and a little for each other."""
    found = [
        value
        for value, cue in (
            (3.0, cues.DECISION),
            (3.0, cues.CORRECTION),
            (2.6, cues.RULE),
            (2.2, cues.GOAL),
            (1.4, cues.FACT),
        )
        if cue.search(folded)
    ]
    told = max(found, default=0.0) + 0.25 * max(0, len(found) - 1)
    if told < 2.0 and cues.FLEETING.search(folded):
        told -= 0.8
    return told * (0.3 if cues.TENTATIVE.search(folded) else 1.0)
