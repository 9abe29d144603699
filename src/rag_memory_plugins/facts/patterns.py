"""The rules by which statements are read, as data: what verb, in which tense, with what behind it.

A group's name is the predicate of what it holds ("lives_in"); `of` holds the subject instead, and
`old` what gives way to the new value. Every pattern takes a whole phrase, and each group of it ends
at one word or at the end, so that reading is linear in the length of a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["BE", "CONFIDENCE", "HEDGED", "MANY", "VERBS", "Rule"]

CONFIDENCE: Final[Mapping[str, float]] = MappingProxyType({
    "life": 0.92,  # lives in, works at, studies: the verb leaves little else to mean
    "person": 0.88,  # "I'm a nurse", "I'm vegan"
    "taste": 0.9,  # likes, dislikes, prefers
    "habit": 0.85,  # eats, drives, uses
    "having": 0.82,  # has, owns
    "mine": 0.88,  # "my X is Y"
    "change": 0.85,  # moved to, switched from
    "plan": 0.82,  # what has a date still to come
    "decision": 0.82,  # "we decided to"
    "value": 0.85,  # "the budget is $5,000"
    "status": 0.84,  # "the server is down"
    "others": 0.82,  # what is said of somebody else by their name
    "repaired": 0.8,  # "it" or "I meant" stands for what was stated before
    "name": 0.8,  # "I'm Ana": a capital letter tells it
})  # fmt: skip
"""How often a rule of a family is right, as its author expects it: shown by default from 0.8."""
HEDGED: Final = 0.7
"""Of what its author is not sure of: this much of the family's figure."""
MANY: Final = frozenset(
    "likes|dislikes|prefers|is allergic to|eats|drinks|uses|has|owns|speaks|plays|plans to|is"
    "|has visited|works with|works on|wears|is learning|is interested in|is a member of|smokes"
    "|collects|looks after|teaches|is afraid of|volunteers at|supports|renews|is from".split("|")
)
"""Predicates of which a person has several at once. Of things "is" has one value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Reads one kind of statement. `tenses` are those of `verbs.Phrase`; `dated`: only with a time."""

    family: str
    tenses: frozenset[str]
    pattern: re.Pattern[str]
    dated: bool = False


_N, _D, _S, _T, _W = "now", "doing", "since", "past", "will"
_LIVES: Final = r"(?:full[- ]time |part[- ]time |nights |days |shifts |remotely |freelance )?"
_JOB: Final = r"(?:a (?:new )?(?:job|role|position) |my new (?:job|role) |the job |working |work )?"
_DURABLE: Final = (
    "house|flat|apartment|condo|car|bike|bicycle|motorbike|motorcycle|boat|narrowboat|van|camper"
    "|piano|guitar|violin|cottage|farm|place|studio|garage|truck|scooter|tesla|e-bike|laptop|phone"
    "|camera|telescope|horse"
)
_HELD: Final = (
    "kids?|child(?:ren)?|sons?|daughters?|brothers?|sisters?|siblings?|twins|dogs?|cats?|pets?|horses?"
    "|puppy|puppies|kittens?|rabbits?|parrots?|labradors?|cars?|bikes?|house|flat|apartment|garden"
    "|degree|phd|diabetes|asthma|adhd|allergy|allergies|celiac|coeliac|licen[cs]e|passport|grandchildren"
    "|grandkids|nieces?|nephews?|customers?|employees|people|members|users|subscribers|engineers|staff"
    "|bees|chickens|hens|tortoise|goldfish|hamsters?|collie|terrier|poodle|spaniel|beagle|retriever"
)
_EVENT: Final = (
    "meeting|appointment|interview|exam|flight|call|wedding|presentation|surgery|operation|concert"
    "|trip|test|check-?up|viewing|review|training|class|holiday|party|hearing|scan"
)


def _rules() -> dict[str, tuple[Rule, ...]]:
    table: list[tuple[str, str, str, str]] = [
        ("live reside dwell stay", "life", "now doing since",
         r"(?:\w+ly )?in (?!fear|hope|denial|poverty|peace|harmony|hell|chaos|strange|interesting|sin\b|a (?:world|bubble|society))(?P<lives_in>.+?)(?: with (?P<lives_with>.+))?"),
        ("live", "life", "now doing since", r"(?:with (?P<lives_with>.+)|alone)"),
        ("live", "plan", "will", r"in (?P<lives_in>.+)"),
        ("work", "life", "now doing since will",
         _LIVES + r"(?:at|for) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
        ("work", "life", "now doing since will",
         _LIVES + r"as (?P<works_as>.+?)(?: (?:at|for) (?P<works_at>.+))?"),
        ("work", "life", "now doing since", r"in (?P<works_in>(?!a |the |an |my ).+)"),
        ("work", "life", "now doing since", r"(?:\w+ly )?with (?P<works_with>.+)"),
        ("work", "habit", "now doing", r"on (?P<works_on>.+)"),
        ("work", "life", "now doing since", r"from (?P<works_from>home|[A-Z].+)"),
        ("work", "life", "now doing", r"(?P<works>nights|night shifts?|part[- ]time|full[- ]time|remotely|weekends)"),
        ("move relocate", "change", "past since", r"(?:back |here )?to (?P<lives_in>.+?)(?: from .+)?"),
        ("move relocate", "change", "past since", r"from .+? to (?P<lives_in>.+)"),
        ("move relocate", "plan", "doing will dated", r"(?:back )?to (?P<lives_in>.+?)(?: from .+)?"),
        ("switch migrate change", "change", "past since doing",
         r"(?:over )?from (?P<old>.+?) to (?P<uses>.+?)(?: for .+)?"),
        ("switch migrate", "change", "past since doing", r"(?:over )?to (?P<uses>.+?)(?: from (?P<old>.+))?"),
        ("join", "change", "past since will doing", r"(?P<works_at>[A-Z].+?)(?: as (?P<works_as>.+))?"),
        ("start begin", "change", "past since doing will", _JOB + r"(?:at|with) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
        ("start", "change", "past since", r"(?:learning|studying) (?P<is_learning>.+)"),
        ("take", "change", "doing since past", r"(?:the|a) job (?:at|with) (?P<works_at>.+)"),
        ("take", "change", "doing since past will", r"over (?P<looks_after>.+?)(?: from .+)?"),
        ("leave quit", "change", "past since", r"(?:my|the) (?:job|role|position) (?:at|with) (?P<not_works_at>.+)"),
        ("look", "life", "now doing", r"after (?P<looks_after>.+)"),
        ("manage lead oversee maintain", "life", "now doing", r"(?P<looks_after>the .+|our .+|all .+|[A-Z].+)"),
        ("report", "life", "now", r"(?:directly )?to (?P<reports_to>.+)"),
        ("belong", "others", "now", r"to (?P<belongs_to>.+)"),
        ("prefer", "taste", "now", r"(?P<prefers>.+)"),
        ("like love enjoy adore", "taste", "now doing", r"(?P<likes>.+)"),
        ("hate dislike detest loathe despise", "taste", "now", r"(?P<dislikes>.+)"),
        ("go", "taste", "since", r"off (?P<not_likes>.+)"),
        ("eat", "habit", "now", r"(?P<eats>(?!(?:breakfast|lunch|dinner|supper|out|well|healthy|healthily|too|fast|late|early|like|when)\b).+)"),
        ("eat drink smoke", "habit", "doing", r"(?P<{0}>.+)|(?P<any>)"),
        ("drink", "habit", "now", r"(?P<drinks>.+)"),
        ("smoke", "habit", "now", r"(?P<smokes>.+)|(?P<any>)"),
        ("speak", "habit", "now", r"(?P<speaks>(?:(?:fluent|some|a (?:little|bit of)) )?[A-Z].+)"),
        ("play", "habit", "now", r"(?P<plays>.+)"),
        ("play", "habit", "since", r"(?P<plays>.+)"),
        ("drive ride", "habit", "now", r"(?P<{0}>(?:an? |the )[\w-].+)"),
        ("wear", "habit", "now", r"(?P<wears>(?:glasses|contact lenses|size .+|contacts|hearing aids?))"),
        ("use", "habit", "now doing since", r"(?P<uses>.+?)(?: (?:for|as|to|in|at|on|when|instead) .+)?"),
        ("collect", "habit", "now", r"(?P<collects>.+)"),
        ("teach", "life", "now since", r"(?P<teaches>.+?)(?: (?:at|in|to) .+)?"),
        ("study", "life", "now doing", r"at (?P<studies_at>.+)"),
        ("study", "life", "now doing", r"(?P<studies>(?!at ).+?)(?: at (?P<studies_at>.+)| in the .+)?"),
        ("do", "life", "now doing",
         r"(?:a |an |my )(?:phd|ph\.d|doctorate|master'?s?(?: degree)?|degree|bachelor'?s?|mba|msc|ma|bsc|ba) (?:in )?(?P<studies>.+?)(?: at (?P<studies_at>.+))?"),
        ("learn", "habit", "doing since", r"(?:to (?:speak|play) )?(?P<is_learning>.+)"),
        ("rent", "habit", "now doing", r"(?P<rents>.+)"),
        ("own", "having", "now", r"(?P<owns>.+)"),
        ("have", "having", "now", rf"(?:got )?(?P<has>(?:\S+ ){{1,5}}?(?:{_HELD})(?: (?:called|named|in|and|with|on|at|of) .+)?)"),
        ("have", "having", "now", r"(?:got )?(?P<has>type [12] diabetes|diabetes|asthma|adhd|epilepsy|celiac disease|coeliac disease|high blood pressure)"),
        ("have", "plan", "now doing will dated", rf"(?:got )?(?P<has>(?:\S+ ){{0,4}}?(?:{_EVENT})(?: (?:with|in|at|for) .+)?)"),
        ("pay", "habit", "now", r"(?P<cost>\S*\d\S*(?: (?:euros?|dollars|pounds|bucks))?(?: (?:an?|per) \w+)?) for (?P<of>.+)"),
        ("weigh", "having", "now", r"(?P<weight>\S*\d.*)"),
        ("marry", "plan", "will doing past since", r"(?P<is_married_to>[A-Z].+)"),
        ("get", "change", "past since", r"married to (?P<is_married_to>.+)"),
        ("get", "change", "past since", rf"(?P<has>an? (?:\w+ ){{0,2}}(?:{_HELD}))"),
        ("adopt", "change", "past since", r"(?P<has>an? .+)"),
        ("retire", "change", "past since", r"(?:\w+)?(?P<any>)"),
        ("graduate", "life", "past since", r"from (?P<graduated_from>.+)"),
        ("grow", "life", "past", r"up in (?P<grew_up_in>.+)"),
        ("visit", "life", "since past", r"(?P<has_visited>[A-Z].+)"),
        ("be", "life", "since", r"to (?P<has_visited>[A-Z].+)"),
        ("buy", "change", "past since", rf"(?P<owns>(?:an? |the |our |my )(?:[\w-]+ ){{0,4}}?(?:{_DURABLE})(?: (?:in|on|near|at|called) .+)?)"),
        ("sell", "change", "past since", rf"(?P<not_owns>(?:an? |the |our |my )(?:[\w-]+ ){{0,4}}?(?:{_DURABLE})(?: (?:in|on|near|at|called) .+)?)"),
        ("volunteer", "life", "now doing", r"(?:at|for|with) (?P<volunteers_at>.+)"),
        ("support", "taste", "now", r"(?P<supports>[A-Z].+)"),
        ("renew support", "decision", "doing will now", r"(?P<{0}>(?:the|our|my) .+)"),
        ("cost", "others", "now", r"(?P<cost>\S*\d.*)"),
        ("take last", "others", "now", r"(?P<{0}>(?:about |around |over )?\d+ .+?)(?: each way)?"),
        ("run expire", "others", "now", r"(?:out )?(?:on )?(?P<any>)"),
        ("go", "decision", "doing will since past", r"with (?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
        ("choose pick settle opt", "decision", "past since", r"(?:on |for )?(?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
        ("use", "decision", "will", r"(?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
        ("decide agree", "decision", "past since", r"to (?P<plans_to>.+)"),
        ("decide agree settle", "decision", "past since", r"on (?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
        ("plan", "plan", "now doing", r"(?:to|on) (?P<plans_to>.+)"),
    ]  # fmt: skip
    found: dict[str, list[Rule]] = {}
    thirds = {"take": "takes", "last": "lasts", "renew": "renews", "support": "supports"}
    for verbs, family, tenses, pattern in table:
        for verb in verbs.split():
            named = pattern.replace("{0}", thirds.get(verb, f"{verb}s"))
            expression = re.compile(named, re.IGNORECASE if "[A-Z]" not in named else 0)
            when = frozenset(tenses.split())
            rule = Rule(family, when - {"dated"}, expression, "dated" in when)
            found.setdefault(verb, []).append(rule)
    return {verb: tuple(rules) for verb, rules in found.items()}


VERBS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType(_rules())
"""The rules of each verb, in the order they are tried."""

_NOW: Final = frozenset({_N, _S})
BE: Final = tuple(
    Rule(family, _NOW, re.compile(pattern, re.IGNORECASE if "[A-Z]" not in pattern else 0))
    for family, pattern in (
        ("life", r"(?:living|based|located|residing|settled|staying) in (?P<lives_in>.+)"),
        ("life", r"(?:originally )?from (?P<is_from>[A-Z].+)"),
        ("life", r"born (?:and raised )?in (?P<was_born_in>[A-Z].+)"),
        ("life", r"employed (?:at|by) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
        ("person", r"(?:\w+ly |very |also )?allergic to (?P<is_allergic_to>.+)"),
        ("person", r"(?:happily |now )?(?:married|engaged) to (?P<is_married_to>.+)"),
        ("person", r"(?P<age>\d{1,3})(?: years? old| yo)?"),
        ("person", r"(?P<height>\d(?:\.\d\d?|'\d+|\d\d ?cm)\S*(?: m| metres| meters)?)(?: tall)?"),
        ("taste", r"(?:an? )?(?:huge |big |massive |great |real )?(?:fan|lover) of (?P<likes>.+)"),
        ("taste", r"(?:very |quite |so )?(?:fond of|keen on|crazy about|mad about|obsessed with|a sucker for) (?P<likes>.+)"),
        ("taste", r"(?:\w+ly |very )?into (?P<likes>.+)"),
        ("taste", r"(?:very )?interested in (?P<is_interested_in>.+)"),
        ("person", r"(?:terrified|scared|afraid) of (?P<is_afraid_of>.+)"),
        ("person", r"fluent in (?P<speaks>.+)"),
        ("person", r"a member of (?P<is_a_member_of>.+)"),
        ("life", r"on (?P<works>(?:the )?(?:night|day|late|early) shifts?)"),
        ("life", r"(?:in charge of|responsible for) (?P<looks_after>.+)"),
        ("life", r"(?:an? |the )(?:\w+ )?(?:student|undergrad) (?:at|of) (?P<studies_at>.+)"),
        ("status", r"(?P<status>(?:on|away on|off on) (?:\w+ )?(?:leave|holiday|vacation|sabbatical)|out of (?:the )?office)"),
        ("name", r"called (?P<name>[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)"),
    )
)  # fmt: skip
"""What may stand behind "I am"."""
