"""How sure rules are, what somebody may have several of, and what may stand behind "I am".

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

__all__ = ["BE", "CONFIDENCE", "HEDGED", "MANY", "NUMBER", "Rule"]

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
    "general": 0.8,  # a verb that no rule knows, in the present tense
    "number": 0.78,  # "there are 48 seats": of what they are seats is not said
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
    "|collects|looks after|teaches|is afraid of|volunteers at|supports|renews|is from|takes|goes to"
    "|keeps|coaches|sings in|subscribes to|suffers from|grows|bakes|brews|makes|builds|attends|owes|has lived in"
    "|is intolerant to|specialises in|specializes in|writes|paints|breeds|raises|runs on|depends on|holds|travels to".split(
        "|"
    )
)
"""Predicates of which a person has several at once. Of things "is" has one value."""


NUMBER: Final = (
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    "|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-[a-z]+)?)"
)
"""Whole numbers below a hundred in words, as a pattern."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Reads one kind of statement. `tenses` are those of `verbs.Phrase`.

    `dated`: only with a time behind it; `often`: only with how often.
    """

    family: str
    tenses: frozenset[str]
    pattern: re.Pattern[str]
    dated: bool = False
    often: bool = False


_NOW: Final = frozenset({"now", "since"})
BE: Final = tuple(
    Rule(family, _NOW, re.compile(pattern, re.IGNORECASE if "[A-Z]" not in pattern else 0))
    for family, pattern in (
        ("life", r"(?:living|based|located|residing|settled|staying) in (?P<lives_in>.+)"),
        ("life", r"(?:originally )?from (?P<is_from>[A-Z].+|an? (?:[\w-]+ ){0,3}(?:village|town|city|island|suburb|farm|hamlet)\b.*)"),
        ("life", r"(?:raised|brought up) in (?P<grew_up_in>[A-Z].+)"),
        ("life", r"born (?:and raised )?in (?P<was_born_in>[A-Z].+)"),
        ("life", r"employed (?:at|by) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
        ("person", r"(?:\w+ly |very |also )?allergic to (?P<is_allergic_to>.+)"),
        ("person", r"(?:happily |now )?married to (?P<is_married_to>.+)"),
        ("person", rf"(?:now |already |just |almost )?(?P<age>\d{{1,3}}|{NUMBER})(?: years? old| months old| yo)?"),
        ("person", r"(?P<height>\d(?:\.\d\d?|'\d+|\d\d ?cm)\S*(?: m| metres| meters)?)(?: tall)?"),
        ("taste", r"(?:an? )?(?:huge |big |massive |great |real )?(?:fan|lover) of (?P<likes>.+)"),
        ("taste", r"(?:very |quite |so )?(?:fond of|keen on|crazy about|mad about|obsessed with|a sucker for) (?P<likes>.+)"),
        ("taste", r"(?:\w+ly |very )?into (?P<likes>.+)"),
        ("taste", r"(?:much )?more of an? (?P<prefers>[\w-]+(?: [\w-]+)?) (?:person|guy|girl|man|woman|kind of person|type|household|family)(?: than .+)?"),
        ("taste", r"(?:very |really |that )?(?:big on|partial to|hooked on|sold on) (?P<likes>.+)"),
        ("life", r"(?:now |back )?at (?P<works_at>(?!Heathrow|Gatwick|.*(?:Airport|Station|Gate|Terminal|Hotel))[A-Z][\w&'. -]+?) (?:now|these days|nowadays)"),
        ("life", r"with (?P<works_at>[A-Z][\w&'. -]+?) (?:for|since) (?:.+)"),
        ("person", r"(?P<is>(?:an? )?(?:proud )?(?:single|stay-at-home|new|working|foster|step) ?-?(?:mother|father|mum|dad|mom|parent))"),
        ("life", r"in (?:my|his|her) (?:first|second|third|fourth|fifth|sixth|final|last|\d\w\w) year of (?P<studies>.+?)(?: at (?P<studies_at>.+))?"),
        ("life", r"at (?P<works_at>(?:an? |the )(?:[\w-]+ ){0,3}(?:publisher|company|startup|start-up|firm|agency|bank|university|hospital|studio|charity|lab|consultancy|clinic|ngo|ministry|museum|newspaper|brewery|nursery|council))"),
        ("person", r"intolerant (?:to|of) (?P<is_intolerant_to>.+)"),
        ("person", r"(?P<is>lactose[- ]intolerant|gluten[- ]intolerant)"),
        ("habit", r"on an? (?P<is_on>(?:[\w-]+ ){1,3}diet)"),
        ("habit", r"on (?P<takes>insulin|metformin|statins|blood thinners|antidepressants|beta blockers|antibiotics)"),
        ("person", r"(?:the |an? )?(?P<works_as>(?:[\w-]+ )?(?:head|director|vp|vice president|chief|manager|lead|leader|secretary|treasurer|president|chair(?:man|woman|person)?|captain|founder|co-founder) (?:of|for) .+)"),
        ("life", r"in (?P<works_in>sales|marketing|hr|finance|logistics|it|procurement|insurance|real estate|advertising|publishing|hospitality|customer support)"),
        ("person", r"training (?:to be|as) (?P<is_training_as>.+)"),
        ("person", r"(?:an? )?(?P<is>(?:proud |single )?(?:mother|father|mum|dad|mom|parent) of .+)"),
        ("person", r"(?:engaged) to (?P<is_engaged_to>.+)"),
        ("life", r"with (?P<works_at>[A-Z][\w&' .-]+?) as (?P<works_as>.+)"),
        ("life", r"at (?P<works_at>[A-Z][\w&' .-]+?) as (?P<works_as>.+)"),
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
