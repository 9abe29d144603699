"""What somebody says of themselves, or of a person or team by name: "I live in Porto"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rag_memory_plugins.facts import patterns
from rag_memory_plugins.facts.objects import is_condition, trade_of
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.verbs import Phrase, phrase_of
from rag_memory_plugins.facts.when import period_of

__all__ = ["person"]

_KINDS: Final = re.compile(
    r"(?:(?:a|an|mostly|strict|strictly|lifelong|the) )*(?P<is>vegan|vegetarian|pescatarian|lactose intolerant|gluten intolerant|coeliac|celiac"
    r"|diabetic|asthmatic|colou?r[- ]?blind|left-handed|right-handed|lefty|dyslexic|single|married|divorced|widowed|engaged|pregnant"
    r"|retired|unemployed|self-employed|deaf|blind|autistic|bilingual|teetotal|an atheist|atheist|agnostic|catholic|muslim"
    r"|jewish|buddhist|hindu|christian|protestant|german|french|spanish|portuguese|italian|dutch|polish|british"
    r"|english|scottish|irish|welsh|american|canadian|mexican|brazilian|chilean|argentinian|japanese|chinese|korean|indian|turkish"
    r"|greek|swedish|norwegian|danish|finnish|russian|ukrainian|australian|kenyan|nigerian|egyptian|moroccan|vietnamese|thai"
    r"|austrian|swiss|belgian|czech|hungarian|romanian|croatian|serbian|estonian|latvian|lithuanian|morning person|night owl"
    r"|early riser|only child|twin)(?: since .+| for .+| and .+| now| from .+)?",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(r"(?P<name>[A-Z][a-z]+(?: [A-Z][a-z]+)?)")
_NOT_A_NAME: Final = re.compile(
    r"(?:Sorry|Ok|Okay|Fine|Good|Great|Back|Done|Happy|Sad|Sure|Glad|Tired|Here|Ready|Not|In|On|At|So|The|"
    r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Team|God)\b"
)
_DECIDING: Final = re.compile(
    r"(?:to )?(?:use|go with|adopt|go for|stick with|pick|choose|switch to|migrate to|move to) (?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?$",
    re.IGNORECASE,
)
_IDLE: Final = re.compile(
    r"(?:be|see|get|think|try|keep|let|say|tell|ask|do|look|check|call|wait|let's|have a|need|grab|send|stop|sleep|bed)\b",
    re.IGNORECASE,
)
_THING_TO_HAVE: Final = re.compile(r"(?:an? )?(?:question|problem|idea|feeling|lot|bit|look)\b")
_SMALL_WORD: Final = re.compile(
    r"(?:from|to|in|on|with|at|up|out|over|around|of|for|back|by|about|into|it|that|this|you)\b",
    re.IGNORECASE,
)
_BE_CONDITION: Final = re.compile(r"(?:on|away|off|out|in)\b")
_TARGET_AS: Final = re.compile(r" as (?P<as>(?:our|the|my) .+)$")


def person(subject: str, predicate: str, said: datetime, *, third: bool) -> Iterator[Part]:
    """What a clause states of a person: `predicate` is all behind the subject, "" is the speaker.

    >>> said = datetime(2026, 3, 2)
    >>> [(part.predicate, part.object) for part in person("", "no longer work at Acme", said, third=False)]
    [('works at', 'Acme')]
    """
    phrase = phrase_of(predicate, third=third)
    if phrase is None:
        return
    if phrase.verb == "be":
        found = _being(subject, phrase, said, third=third)
    else:
        found = _doing(subject, phrase, said, third=third)
    yield from found


def _being(subject: str, phrase: Phrase, said: datetime, *, third: bool) -> Iterator[Part]:
    rest, negated = phrase.rest, phrase.negated
    if not rest or phrase.tense in ("past", "doing", "will"):
        return
    if third and subject.lower().startswith(("the ", "our ")):
        return  # "the answer is 42" tells no age
    bare = _without_time(rest, said)
    for rule in patterns.BE:
        found = rule.pattern.fullmatch(rest) or rule.pattern.fullmatch(bare)
        if found:
            # Who is "not keen on dogs" dislikes them; "not a fan" is no more than that either.
            if negated and rule.family == "taste" and "likes" in found.groupdict():
                yield Part(subject, "dislikes", found["likes"], rule.family)
                return
            family = "others" if third else rule.family
            yield from _parts(subject, found, family, negated=negated, source=rest)
            return
    kind = _KINDS.fullmatch(bare.split(", ")[0])
    if kind:
        yield Part(subject, "is", kind["is"], "person", negated=negated, timed=True, source=rest)
        return
    if third and rest.startswith(("the ", "our ")):
        return  # whose role it is, is the thing's to tell
    trade = trade_of(re.sub(r"^(?:an?|the) ", "", rest, flags=re.IGNORECASE))
    if trade and re.match(r"(?:an?|the|freelance|self-employed) ", rest, re.IGNORECASE):
        yield Part(subject, "works as", trade, "person", negated=negated)
        at = re.search(r" (?:at|for) (?P<at>.+)", rest)
        if at and not negated:
            yield Part(subject, "works at", at["at"], "person")
        return
    if not third and _BE_CONDITION.match(rest) and is_condition(_without_time(rest, said)):
        if re.search(r"leave|holiday|vacation|office|sick", rest):
            yield Part(
                subject,
                "status",
                is_condition(rest),
                "status",
                negated=negated,
                timed=True,
                source=rest,
            )
        return
    named = None if third or negated else _NAMED.fullmatch(rest.split(",")[0])
    if named and not _NOT_A_NAME.match(rest):
        yield Part(subject, "name", named["name"], "name")


def _without_time(text: str, said: datetime) -> str:
    return period_of(text, said, ahead=False).text


def _doing(subject: str, phrase: Phrase, said: datetime, *, third: bool) -> Iterator[Part]:
    rest, tense = phrase.rest, phrase.tense
    if tense == "past" and phrase.negated:
        return
    period = period_of(rest, said, ahead=True)
    dated = period.start is not None
    if phrase.verb == "retire" and tense in ("past", "since"):
        yield Part(subject, "is", "retired", "change", timed=True, source=rest)
        return
    if phrase.verb == "marry" and tense in ("will", "doing") and dated:
        return
    if phrase.verb == "get" and tense in ("will", "doing") and rest.startswith("married on "):
        yield Part(subject, "wedding", rest[11:], "plan")
        return
    if phrase.verb in ("decide", "agree") and tense in ("past", "since") and rest[:3] == "not":
        return
    for rule in patterns.VERBS.get(phrase.verb, ()):
        if tense not in rule.tenses or (rule.dated and not dated):
            continue
        if tense == "since" and phrase.negated and rule.family != "life":
            continue
        found = rule.pattern.fullmatch(rest) or rule.pattern.fullmatch(period.text)
        if found and not _unfit(phrase, rest):
            family = "others" if third else rule.family
            yield from _read(subject, found, family, phrase, ahead=rule.family == "plan")
            return
    if tense in ("will", "doing") and dated and not third and not phrase.negated:
        yield from _planned(subject, phrase)


def _read(
    subject: str, found: re.Match[str], family: str, phrase: Phrase, *, ahead: bool
) -> Iterator[Part]:
    if phrase.verb in ("run", "expire") and "any" in found.groupdict():
        return
    ahead = ahead or phrase.tense in ("will", "doing")
    if phrase.verb == "smoke" and not found.groupdict().get("smokes"):
        yield Part(
            subject, "smokes", "", family, negated=phrase.negated, timed=True, source=phrase.rest
        )
        return
    to = found.groupdict().get("plans_to")
    decided = _DECIDING.match(to) if to else None
    if decided and not phrase.negated:
        yield from _parts(subject, decided, family, negated=False, ahead=True)
        return
    if phrase.negated and phrase.verb in ("plan", "decide", "agree"):
        return
    yield from _parts(
        subject, found, family, negated=phrase.negated, ahead=ahead or bool(to), source=phrase.rest
    )


def _unfit(phrase: Phrase, rest: str) -> bool:
    """Whether the words behind the verb make it mean something else: "play it safe", "like to"."""
    if phrase.verb in ("eat", "drink", "play", "use", "rent", "own", "collect", "teach", "learn"):
        return bool(_SMALL_WORD.match(rest)) and not rest.startswith("to ")
    if phrase.verb == "have":
        return bool(_THING_TO_HAVE.match(rest))
    return phrase.verb in ("like", "love") and rest.startswith(("to see", "to hear", "to know"))


def _planned(subject: str, phrase: Phrase) -> Iterator[Part]:
    verb = phrase.verb
    if verb and not _IDLE.match(f"{verb} {phrase.rest}") and phrase.rest:
        yield Part(subject, "plans to", f"{verb} {phrase.rest}", "plan", timed=True, ahead=True)


def _parts(
    subject: str,
    found: re.Match[str],
    family: str,
    *,
    negated: bool,
    ahead: bool = False,
    source: str = "",
) -> Iterator[Part]:
    groups = {name: words for name, words in found.groupdict().items() if words}
    of = groups.pop("of", "")
    old = groups.pop("old", "")
    for name, words in groups.items():
        predicate = name.removeprefix("not_").replace("_", " ")
        away = negated != name.startswith("not_")
        if of and predicate == "uses":
            # "Postgres as our database" says what the database is; "for the ledger" what it uses.
            predicate = "is" if f" as {of}" in found.string else "uses"
            yield Part(of, predicate, words, family, negated=away, ahead=ahead)
            continue
        if of:
            yield Part(of, predicate, words, family, negated=away)
            continue
        yield Part(
            subject, predicate, words, family, negated=away, timed=True, ahead=ahead, source=source
        )
    if old and "uses" in groups:
        yield Part(subject, "uses", old, family, negated=True)
