"""What somebody is: "I am a nurse", "Ann is vegan", "we are based in Porto"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rag_memory_plugins.facts import patterns, verb_rules
from rag_memory_plugins.facts.conditions import is_condition, trade_of
from rag_memory_plugins.facts.found import parts_found
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.verbs import Phrase
from rag_memory_plugins.facts.when import period_of

__all__ = ["being"]

_WHAT: Final = re.compile(
    r"(?:an? |the (?=[\w-]+ (?:[\w-]+ )?(?:of|for|at|in|on)\b))(?P<is>(?!(?:\w+ ){0,2}(?:bit|little|mess|wreck|few|lot|tad|touch|fool|idiot|genius|sucker|fan|goner|joke|pity|shame|problem|one|person|disaster|nightmare|dream|pain|must|steal|bargain|riot|saint|angel|legend|star|hero|treat|blast|first|last|best|worst|only|same|reason|way|kind|sort|type|day|week|minute)\b)(?:[\w'-]+ ){0,3}[\w'-]+(?: (?:of|for|at|in|on) .{3,40})?)"
)
_KINDS: Final = re.compile(
    r"(?:(?:a|an|mostly|strict|strictly|lifelong|the) )*(?P<is>vegan|vegetarian|pescatarian|half[- ][A-Za-z]+|lactose intolerant|gluten intolerant|coeliac|celiac"
    r"|diabetic|asthmatic|colou?r[- ]?blind|left[- ]handed|right[- ]handed|ambidextrous|lefty|hard of hearing|short[- ]sighted|near[- ]sighted|far[- ]sighted|gluten[- ]free|childless|child[- ]free|adopted|insulin[- ]dependent|nocturnal|flexitarian|introverted|an introvert|extroverted|an extrovert|introvert|extrovert|permanent staff|semi-retired|on benefits|dyslexic|single|married|divorced|widowed|engaged|pregnant"
    r"|retired|unemployed|self-employed|deaf|blind|autistic|bilingual|teetotal|an atheist|atheist|agnostic|catholic|muslim"
    r"|jewish|buddhist|hindu|christian|protestant|german|french|spanish|portuguese|italian|dutch|polish|british"
    r"|english|scottish|irish|welsh|american|canadian|mexican|brazilian|chilean|argentinian|japanese|chinese|korean|indian|turkish"
    r"|greek|swedish|norwegian|danish|finnish|russian|ukrainian|australian|kenyan|nigerian|egyptian|moroccan|vietnamese|thai"
    r"|austrian|swiss|belgian|czech|hungarian|romanian|croatian|serbian|estonian|latvian|lithuanian|morning person|night owl"
    r"|early riser|early bird|only child|twin|identical twin|homebody|people person|dog person|cat person|coffee person|tea person)(?: since .+| for .+| and .+| now| from .+)?",
    re.IGNORECASE,
)
_AGE: Final = re.compile(rf"(?P<age>\d{{1,3}}|{patterns.NUMBER})(?: years old| months old| yo)?")
_COUNTED: Final = re.compile(
    rf"(?:with )?(?:an?|one|two|three|four|five|six|no) (?:\w+ ){{0,3}}?(?:{verb_rules.HELD}|boys?|girls?)",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(r"(?P<name>[A-Z][a-z]+(?: [A-Z][a-z]+)?)")
_NOT_A_NAME: Final = re.compile(
    r"(?:Sorry|Ok|Okay|Fine|Good|Great|Back|Done|Happy|Sad|Sure|Glad|Tired|Here|Ready|Not|In|On|At|So|The|"
    r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Team|God)\b"
)
_TRADED: Final = re.compile(r"(?:an?|the|freelance|self-employed) |\S+s$", re.IGNORECASE)
_TRADE_AT: Final = re.compile(
    r" (?:at|for) (?P<at>(?!\w+ (?:\w+ )?(?:years?|months?|weeks?|decades?)\b|years|ages|now\b|a living|over\b"
    r"|almost\b|least\b|the (?:last|past)\b|present\b|heart\b).+)"
)
_AWAY: Final = re.compile(r"leave|holiday|vacation|office|sick")
_BE_CONDITION: Final = re.compile(r"(?:on|away|off|out|in)\b")


def being(subject: str, phrase: Phrase, said: datetime, *, third: bool) -> Iterator[Part]:
    """What a phrase with "to be" states of the speaker ("") or of a person or team.

    >>> [(part.predicate, part.object) for part in being("", Phrase("be", "a nurse", "now"), datetime(2026, 3, 2), third=False)]
    [('works as', 'nurse')]
    """
    rest = phrase.rest
    if not rest or phrase.tense in ("past", "doing", "will"):
        return
    if third and subject.lower().startswith(("the ", "our ")):
        return  # "the answer is 42" tells no age
    if third and rest.startswith(("the new ", "the next ", "our new ")):
        return  # whose role it is, is the thing's to tell
    bare = period_of(rest, said, ahead=False).text
    ruled = list(_ruled(subject, phrase, bare, third=third))
    if not ruled and (", " in rest or " and " in rest):
        ruled = _several(subject, rest)
    if ruled:
        yield from ruled
        return
    kind = _KINDS.fullmatch(bare.split(", ")[0])
    if kind:
        yield Part(
            subject, "is", kind["is"], "person", negated=phrase.negated, timed=True, source=rest
        )
    elif not (third and rest.startswith(("the ", "our "))):
        # Whose role it is, is the thing's to tell.
        yield from _occupied(subject, phrase, bare, third=third)


def _ruled(subject: str, phrase: Phrase, bare: str, *, third: bool) -> Iterator[Part]:
    """What the first pattern of `BE` that fits makes of it, with its times or without."""
    for rule in patterns.BE:
        found = rule.pattern.fullmatch(phrase.rest) or rule.pattern.fullmatch(bare)
        if not found:
            continue
        # Who is "not keen on dogs" dislikes them; "not a fan" is no more than that either.
        if phrase.negated and rule.family == "taste" and "likes" in found.groupdict():
            yield Part(subject, "dislikes", found["likes"], rule.family)
        else:
            family = "others" if third else rule.family
            yield from parts_found(
                subject, found, family, negated=phrase.negated, source=phrase.rest
            )
        return


def _occupied(subject: str, phrase: Phrase, bare: str, *, third: bool) -> Iterator[Part]:
    """A trade, being away, any other noun with an article, or a name."""
    rest, negated = phrase.rest, phrase.negated
    trade = trade_of(re.sub(r"^(?:an?|the) ", "", rest, flags=re.IGNORECASE))
    what = _WHAT.fullmatch(bare)
    named = None if third or negated else _NAMED.fullmatch(rest.split(",")[0])
    if trade and _TRADED.match(rest):
        yield Part(subject, "works as", trade, "person", negated=negated)
        at = _TRADE_AT.search(rest)
        if at and not negated:
            yield Part(subject, "works at", at["at"], "person")
    elif not third and _BE_CONDITION.match(rest) and is_condition(bare):
        if _AWAY.search(rest):
            yield Part(
                subject, "status", is_condition(rest), "status",
                negated=negated, timed=True, source=rest,
            )  # fmt: skip
    elif what and not (third and subject.startswith("'s ")):
        yield Part(subject, "is", what["is"], "general", negated=negated, timed=True, source=rest)
    elif named and not _NOT_A_NAME.match(rest):
        yield Part(subject, "name", named["name"], "name")


def _several(subject: str, rest: str) -> list[Part]:
    """What "41, divorced, two girls" states; nothing if not every item is of a known sort."""
    made = []
    for item in re.split(r", and |, | and ", rest):
        age, kind = _AGE.fullmatch(item), _KINDS.fullmatch(item)
        if age:
            made.append(Part(subject, "age", age["age"], "person"))
        elif kind:
            made.append(Part(subject, "is", kind["is"], "person"))
        elif _COUNTED.fullmatch(item):
            made.append(Part(subject, "has", item.removeprefix("with "), "having"))
        else:
            return []
    return made
