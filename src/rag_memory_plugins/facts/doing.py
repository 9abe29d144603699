"""What somebody does, plans or has decided, by the rules of the verb."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from rag_memory_plugins.facts import verb_rules
from rag_memory_plugins.facts.forms import base_of, third_of
from rag_memory_plugins.facts.found import parts_found
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.trailing import often
from rag_memory_plugins.facts.verbs import Phrase
from rag_memory_plugins.facts.when import period_of

__all__ = ["doing", "planned"]

_Special: TypeAlias = Callable[[str, "dict[str, str | None]", str, Phrase], Iterator[Part]]
_ABLE: Final = frozenset(("drive", "swim", "cook", "drink", "ski", "dance", "sing", "type", "eat"))
_AT_ONCE: Final = re.compile(r"\bin (?:\w+ ){1,3}(?:minutes?|secs?|seconds?|hours?|mins?)\b")
_TODAY: Final = re.compile(
    r"\b(?:today|tonight|this (?:morning|afternoon|evening)|right now|just now|at the moment)\b"
)
_SOON: Final = re.compile(
    r"\b(?:in|this|next|by|over|after|before|for|at|during) (?:the )?(?:early |late )?(?:spring|summer|autumn|fall|winter|christmas|easter|new year|holidays|weekend|term|semester|quarter|exams)\b|\blater this (?:year|month|week)\b",
    re.IGNORECASE,
)
_ON: Final = re.compile(r"^(?:on|at|in) (?:the )?", re.IGNORECASE)
_DECIDING: Final = re.compile(
    r"(?:to )?(?:use|go with|adopt(?! an? )|go for|stick with|pick|choose|switch to|migrate to|move to) (?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?$",
    re.IGNORECASE,
)
_IDLE: Final = re.compile(
    r"(?:be|see(?! (?:the|my|a|an|Dr|our) )|get(?! (?:my|an?|the|our|married) )|think|try|keep|let|say|tell|ask|do|look|check|call|wait|let's|have a(?! baby| party| housewarming)|need|grab|send|stop|sleep|bed|expect|miss|die|cry|scream|show|paste|share the|explain|restart|skip|sit|run late|hope|go to bed|go to sleep|take a|make a|head)\b",
    re.IGNORECASE,
)
_THING_TO_HAVE: Final = re.compile(r"(?:an? )?(?:question|problem|idea|feeling|lot|bit|look)\b")
_SMALL_WORD: Final = re.compile(
    r"(?:from|to|in|on|with|at|up|out|over|around|of|for|back|by|about|into|it|that|this|you)\b",
    re.IGNORECASE,
)


def doing(
    subject: str, phrase: Phrase, said: datetime, *, third: bool, dated: bool
) -> Iterator[Part]:
    """What a phrase states that is no "to be"; `dated`: a time stands before the clause.

    >>> phrase = Phrase("live", "in Porto", "now")
    >>> [(part.predicate, part.object) for part in doing("", phrase, datetime(2026, 3, 2), third=False, dated=False)]
    [('lives in', 'Porto')]
    """
    rest, tense = phrase.rest, phrase.tense
    if (tense == "past" and phrase.negated) or _AT_ONCE.search(rest):
        return
    period = period_of(rest, said, ahead=True)
    dated = dated or period.start is not None
    ended = list(_settled(subject, phrase))
    if ended or (phrase.verb == "marry" and tense in ("will", "doing") and dated):
        yield from ended
        return
    for rule in verb_rules.VERBS.get(phrase.verb, ()):
        if tense not in rule.tenses or (rule.dated and not dated):
            continue
        if rule.often and not often(rest):
            continue
        if tense == "since" and phrase.negated and rule.family != "life":
            continue
        found = rule.pattern.fullmatch(rest) or rule.pattern.fullmatch(period.text)
        if found and not _unfit(phrase, rest):
            family = "others" if third else rule.family
            yield from _read(subject, found, family, phrase, ahead=rule.family == "plan")
            return
    if phrase.negated and not rest and phrase.verb in _ABLE:
        yield Part(subject, third_of(phrase.verb), "", "habit", negated=True)
    elif tense == "doing" and _TODAY.search(rest):
        return
    elif tense in ("will", "doing") and not phrase.negated and (dated or _SOON.search(rest)):
        yield from planned(subject, phrase)


def _settled(subject: str, phrase: Phrase) -> Iterator[Part]:
    """Retired, or to be married on a day."""
    if phrase.verb == "retire" and phrase.tense in ("past", "since"):
        yield Part(subject, "is", "retired", "change", timed=True, source=phrase.rest)
    elif phrase.verb == "get" and phrase.tense in ("will", "doing"):
        married, _, day = phrase.rest.partition(" on ")
        if married == "married" and day:
            yield Part(subject, "wedding", day, "plan")


def _read(
    subject: str, found: re.Match[str], family: str, phrase: Phrase, *, ahead: bool
) -> Iterator[Part]:
    ahead = ahead or phrase.tense in ("will", "doing")
    groups = found.groupdict()
    special = _SPECIAL.get(phrase.verb)
    if special and (made := list(special(subject, groups, family, phrase))):
        yield from made
        return
    refused = groups.get("not_to") or groups.get("not_doing")
    if refused:
        yield from _refusing(subject, refused, family)
        return
    to = groups.get("plans_to")
    decided = _DECIDING.match(to) if to else None
    if decided and not phrase.negated:
        yield from parts_found(subject, decided, family, negated=False, ahead=True)
        return
    if phrase.negated and phrase.verb in ("plan", "decide", "agree"):
        return
    yield from parts_found(
        subject, found, family, negated=phrase.negated, ahead=ahead or bool(to), source=phrase.rest
    )


def _refusing(subject: str, refused: str, family: str) -> Iterator[Part]:
    """Who "decided not to renew the lease" does not renew it."""
    verb, _, words = refused.partition(" ")
    verb = base_of(verb) if verb.endswith("ing") else verb
    if words:
        yield Part(subject, third_of(verb), words, family, negated=True)


def _smoking(
    subject: str, groups: dict[str, str | None], family: str, phrase: Phrase
) -> Iterator[Part]:
    if not groups.get("smokes"):
        yield Part(
            subject, "smokes", "", family, negated=phrase.negated, timed=True, source=phrase.rest
        )


def _owing(
    subject: str, groups: dict[str, str | None], family: str, phrase: Phrase
) -> Iterator[Part]:
    amount = groups.get("owes") or groups.get("lent")
    if groups.get("shares"):
        what = f"shares {groups['what']} with"
        yield Part(subject, what, groups["shares"] or "", family, negated=phrase.negated)
    if amount:
        verb = "owes" if groups.get("owes") else "lent"
        yield Part(subject, f"{verb} {groups['who']}", amount, family, negated=phrase.negated)


def _choosing(
    subject: str, groups: dict[str, str | None], family: str, phrase: Phrase
) -> Iterator[Part]:
    if subject and groups.get("uses") and not groups.get("of"):
        yield Part(subject, third_of(phrase.verb), groups["uses"] or "", family)


def _cancelling(
    _subject: str, groups: dict[str, str | None], family: str, phrase: Phrase
) -> Iterator[Part]:
    if groups.get("of") and not phrase.negated:
        of = groups["of"] or ""
        whose = f"'s {of[3:]}" if of.startswith("my ") else of
        yield Part(whose, "status", "cancelled", family)


def _on_a_day(
    subject: str, groups: dict[str, str | None], family: str, phrase: Phrase
) -> Iterator[Part]:
    """Of "we launch on 17 March" the day is the value, without the word before it."""
    day = _ON.sub("", phrase.rest, count=1)
    if phrase.verb in ("fly", "travel", "leave"):
        yield from planned(subject, phrase)
    elif groups.get("any") == "" and phrase.verb in ("retire", "graduate"):
        yield Part(subject, third_of(phrase.verb), day, family)
    elif groups.get("any") == "" and _ON.match(phrase.rest):
        yield Part(subject, phrase.verb, day, family)


_SPECIAL: Final[Mapping[str, _Special]] = MappingProxyType({
    "smoke": _smoking, "owe": _owing, "share": _owing, "lend": _owing, "cancel": _cancelling, "scrap": _cancelling, "choose": _choosing, "pick": _choosing,
    "retire": _on_a_day, "graduate": _on_a_day, "launch": _on_a_day, "ship": _on_a_day, "release": _on_a_day,
    "deploy": _on_a_day, "present": _on_a_day, "fly": _on_a_day, "travel": _on_a_day, "leave": _on_a_day,
})  # fmt: skip


def _unfit(phrase: Phrase, rest: str) -> bool:
    """Whether the words behind the verb make it mean something else: "play it safe", "like to"."""
    if phrase.verb in ("eat", "drink", "play", "use", "rent", "own", "collect", "teach", "learn"):
        return bool(_SMALL_WORD.match(rest)) and not rest.startswith("to ")
    if phrase.verb == "have":
        return bool(_THING_TO_HAVE.match(rest))
    return phrase.verb in ("like", "love") and rest.startswith(("to see", "to hear", "to know"))


def planned(subject: str, phrase: Phrase) -> Iterator[Part]:
    """A plan in the words of the clause, unless it is one of the next minutes.

    >>> phrase = Phrase("sail", "to Corfu in May", "will")
    >>> [(part.predicate, part.object) for part in planned("", phrase)]
    [('plans to', 'sail to Corfu in May')]
    """
    verb = phrase.verb
    alone = subject and re.match(r"(?:on|in|at|next|this|tomorrow|for|by)\b", phrase.rest)
    if verb and phrase.rest and not alone and not _IDLE.match(f"{verb} {phrase.rest}"):
        yield Part(subject, "plans to", f"{verb} {phrase.rest}", "plan", timed=True, ahead=True)
