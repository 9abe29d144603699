"""Claims read out of messages by rules, for English: no model, nothing to download or to wait for.

```text
message -> heard       without what a context put into it
        -> own_words   without code, quotations, pasted text
        -> clauses_of  without questions, conditions, wishes, what others said
        -> parts_of    what each states of whom, by the rules of `patterns`, `verb_rules`, `shapes`
        -> claims      trimmed, dated, with the confidence of their family
```

The rules are built to be right rather than to find much. Verbs that no rule knows are read in the
present tense alone, where they tell what lasts; what else is worded in an unknown way gives no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from rag_memory_plugins.facts.clauses import Clause, clauses_of
from rag_memory_plugins.facts.heard import heard
from rag_memory_plugins.facts.objects import is_value, listed, trimmed
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.patterns import CONFIDENCE, HEDGED, MANY
from rag_memory_plugins.facts.plain import plain
from rag_memory_plugins.facts.statements import parts_of
from rag_memory_plugins.facts.topics import Topic
from rag_memory_plugins.facts.when import Period, period_of, starts_with_time
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports.facts import Claim
from rag_memory_plugins.types import Message

__all__ = ["RuleExtractor", "claims_of"]

_INLINE: Final = 2_000
"""Characters read on the loop, 10 ms if they are all statements; more are read beside it."""
_IT: Final = re.compile(
    r"(?:it's|it is|that's|that is|make that|(?:i|we) mean[t]?(?: to say)?|it should be|rather|make it|no,?)(?: actually| now)? (?P<is>.+)",
    re.IGNORECASE,
)
_WRONG: Final = re.compile(
    r",? (?:and )?not (?P<wrong>(?:on |at |in )?(?:the |a )?[^,]{1,60})$", re.IGNORECASE
)
_LISTS: Final = MANY - {"is", "plans to", "looks after"}
_VAGUE: Final = re.compile(
    r".*\b(?:ones?|option|version|approach|way|choice|opportunity|chance|time|words?|term|phrase|it|that)$"
)
_ALONE: Final = frozenset(("plays", "teaches", "studies", "is learning", "speaks", "sings", "runs"))
"""Predicates whose object ends before where, with whom or for whom."""
_WITHOUT: Final = re.compile(r"(?:no|zero) (?=\w)")
_BARE: Final = frozenset(
    ("smokes", "drives", "swims", "cooks", "drinks", "skis", "dances", "sings")
)
"""Predicates that are denied without an object: "I don't drive"."""
_NEXT: Final = re.compile(r",? and (?=[a-z]+ (?:an?|the|my|our|some|more) )")
_WHICH: Final = re.compile(
    r",(?! (?:and )?(?:an?|one|two|three|four|five|six|no|zero|some|my|\d+) ).*$"
)
_ADDED: Final = re.compile(r" (?:in an?|in my|in the|at|with|for|to) (?=\S)")
_NUMBER: Final = re.compile(r"#?\d+")
_NEXT_DAY: Final = timedelta(1)


class RuleExtractor:
    """A `ports.FactExtractor` that reads English by rules: the same claims on every machine.

    Longer messages are read beside the event loop. Raises nothing for any text.

    >>> RuleExtractor().name
    'rules/2'
    """

    @property
    def name(self) -> str:
        return "rules/2"

    async def aextract(self, scope: Scope, messages: Sequence[Message]) -> list[list[Claim]]:
        """The claims of each message, in order; none for what says nothing that lasts."""
        if sum(len(message.content) for message in messages) <= _INLINE:
            return [claims_of(message) for message in messages]
        return await get_portal().acompute(lambda: [claims_of(message) for message in messages])

    async def aclose(self) -> None:
        """Nothing to free."""


def claims_of(message: Message) -> list[Claim]:
    """What a message states that lasts, in the order it says so; [] for what only a role says.

    Of an assistant's messages those are read that have a name: a transcript's speaker.

    >>> [claim] = claims_of(Message("user", "I moved to Porto in May 2025.", name="Ana"))
    >>> claim.subject, claim.predicate, claim.object, claim.valid_from.date().isoformat()
    ('Ana', 'lives in', 'Porto', '2025-05-01')
    """
    text = heard(message)
    reading = _Reading(message.name or "user", message.time)
    for clause in clauses_of(text):
        reading.take(clause)
    return reading.done()


@dataclass
class _Reading:
    """The claims of one message as they are found, clause by clause."""

    speaker: str
    said: datetime
    claims: list[Claim] = field(default_factory=list)
    slots: set[tuple[str, str]] = field(default_factory=set)
    topic: Topic = field(default_factory=Topic)

    def take(self, clause: Clause) -> None:
        text = self.topic.bound(plain(clause.text))
        opened = starts_with_time(text)
        since = Period("")
        if opened:
            since = period_of(text[:opened], self.said, ahead=True)
            text = plain(text[opened:])
        told_wrong = False
        wrong = _WRONG.search(text)
        if wrong and is_value(trimmed(wrong["wrong"]).removeprefix("on ")):
            text = text[: wrong.start()]
            told_wrong = True
        found = [
            claim
            for part in parts_of(text, self.said, dated=since.start is not None)
            for claim in self._claims(part, since, dated=bool(opened))
        ]
        corrects = clause.corrects
        if not found and self.claims:
            found = self._repaired(text, clause)
            corrects = corrects or any(claim.corrects for claim in found)
        for claim in found:
            self._keep(claim, clause, corrects=corrects, told_wrong=told_wrong)

    def _keep(self, claim: Claim, clause: Clause, *, corrects: bool, told_wrong: bool) -> None:
        slot = (claim.subject, claim.predicate)
        sure = claim.confidence * (HEDGED if clause.hedged else 1)
        mends = corrects or (clause.again and slot in self.slots) or (told_wrong and not claim.many)
        self.slots.add(slot)
        self.claims.append(
            replace(claim, confidence=round(sure, 2), corrects=mends and not claim.negated)
        )

    def done(self) -> list[Claim]:
        """Without repeats, and without what ends a value that a later claim replaces."""
        affirmed: set[tuple[str, str]] = set()
        mended: set[tuple[str, str]] = set()
        kept = []
        for claim in reversed(self.claims):
            slot = (claim.subject, claim.predicate)
            replaced = claim.negated and not claim.many and slot in affirmed
            if not replaced and slot not in mended:
                kept.append(claim)
            if not claim.negated:
                affirmed.add(slot)
            if claim.corrects:
                mended.add(slot)
        return list(dict.fromkeys(reversed(kept)))

    def _claims(self, part: Part, since: Period, *, dated: bool) -> Iterator[Claim]:
        """A part trimmed and dated: several of a list, none if nothing is left of it."""
        subject, predicate = self._subject(part.subject), part.predicate
        period = self._period(part)
        if dated:
            period = replace(period, start=since.start, end=since.end, day=since.day)
        end = period.end
        if predicate in ("plans to", "has") and period.day and end is None and period.start:
            end = _after(period.start)
        many = _takes_several(part)
        for value in _values(part, period.text):
            # "a garden and no cellar": each item says for itself whether it is there.
            without = predicate == "has" and _WITHOUT.match(value)
            named = value[without.end() :] if without else value
            if subject and not (predicate == "name" and value.lower() == subject.lower()):
                yield Claim(
                    subject, predicate, named, CONFIDENCE[part.family], period.start, end,
                    negated=part.negated or bool(without), many=many,
                )  # fmt: skip

    def _period(self, part: Part) -> Period:
        """The words of an object without its times, and the times, where they are not the value."""
        period = Period(part.object)
        if part.timed or part.predicate in ("has", "lives in", "works at", "is"):
            found = period_of(part.object, self.said, ahead=part.ahead)
            if part.timed or found.text:
                period = found
            if part.source and period.start is None and period.end is None:
                outer = period_of(part.source, self.said, ahead=part.ahead)
                period = replace(outer, text=period.text)
        if part.predicate == "is" and not part.timed and " since " not in part.object:
            return Period(part.object)
        return period

    def _subject(self, words: str) -> str:
        if not words:
            return self.speaker
        if words.startswith("'s "):
            return f"{self.speaker}{words}"
        name = re.sub(r"^the ", "", trimmed(words), flags=re.IGNORECASE)
        if not _NUMBER.fullmatch(name):
            return name
        # "Ticket 17 is done, 18 is in review": the noun is the one before.
        noun = self.claims[-1].subject.rpartition(" ") if self.claims else ("", "", "")
        return f"{noun[0]} {name}" if noun[0] and _NUMBER.fullmatch(noun[2]) else ""

    def _repaired(self, text: str, clause: Clause) -> list[Claim]:
        """A clause whose "it", or "I meant", stands for what the message stated before."""
        found = _IT.fullmatch(text)
        last = self.claims[-1]
        words = found["is"] if found else text if clause.corrects or clause.again else ""
        period = period_of(words, self.said, ahead=False) if " since " in words else Period(words)
        value = trimmed(re.sub(r"^(?:on|at|in) ", "", period.text))
        mends = (
            clause.corrects
            or clause.again
            or text.lower().startswith(("i mean", "we mean", "make", "rather"))
        )
        if not value or not (mends or last.negated) or not is_value(value):
            return []
        return [
            replace(
                last, object=value, confidence=min(last.confidence, CONFIDENCE["repaired"]),
                negated=False, corrects=mends, valid_from=period.start or last.valid_from,
            )
        ]  # fmt: skip


def _takes_several(part: Part) -> bool:
    """Whether the subject may have several of these at once."""
    if part.predicate == "is":
        return part.family in ("person", "change")
    # Of an unknown verb it is not known: keeping both values loses nothing.
    unknown = part.family == "general" and not part.predicate.startswith("is ")
    return part.predicate in MANY or unknown


def _values(part: Part, text: str) -> list[str]:
    """What an object names: the items of a list where the predicate takes several."""
    predicate = part.predicate
    if part.negated and not text and predicate in _BARE:
        return [""]
    if predicate == "plans to":
        return [plan for each in _NEXT.split(text) if (plan := trimmed(each, habit=False))]
    if predicate.endswith(" with") and text in ("us", "me"):
        return [text]
    if predicate in _ALONE and not part.negated:
        text = _ADDED.split(text, maxsplit=1)[0]
    if predicate == "has":
        # "two passports, Irish and Canadian": what has no article or number says which they are.
        text = _WHICH.sub("", text, count=1)
    if predicate in _LISTS:
        found = listed(text, habit=part.family != "taste")
    else:
        found = [
            trimmed(
                text,
                commas=predicate.endswith("address"),
                habit=part.family not in ("taste", "status"),
            )
        ]
    return [
        value
        for value in found
        if value and not (predicate in ("uses", "prefers") and _VAGUE.match(value))
    ]


def _after(day: datetime) -> datetime | None:
    try:
        return day + _NEXT_DAY
    except OverflowError:
        return None  # the last day of the calendar
