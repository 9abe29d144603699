"""What may stand behind an object without being part of it: how often, when, how, in whose company."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["often", "shortened"]

_DAYS: Final = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?(?: (?:morning|afternoon|evening|night)s?)?"
)
_EVERY: Final = (
    rf"(?:every|each) (?:other |second |third |single |few |couple of |\d+ )?(?:{_DAYS}|\w+)"
    r"|(?:once|twice|thrice|(?:two|three|four|five|six|seven|several|many|\d+)(?: or \w+)? times)"
    r" (?:an?|per|every|each) \w+"
    rf"|on {_DAYS.replace('days?', 'days')}(?:(?:, | and |, and | or )(?:{_DAYS}))*|(?:most|every) (?:{_DAYS})(?:(?:, | and |, and | or )(?:{_DAYS}))*"
    r"|(?:on|at|over) (?:the )?weekends?|on (?:weekdays|weeknights|work ?days|school days)|most (?:days|nights"
    r"|mornings|evenings|weekends|weeks)|(?:in the|at) (?:mornings?|evenings?|afternoons?|nights?|summers?|winters?)"
    r"|(?:all|any|most of) (?:the time|year(?: round)?)|all day(?: long)?|day and night"
    r"|(?:a (?:couple of|few)|two|three|four|five|\d+) (?:days|nights|evenings|mornings|hours|times) (?:an?|per|each|every) \w+"
    r"|full[- ]time|part[- ]time|daily|weekly|monthly|regularly|religiously|like clockwork|year[- ]round|from time to time|now and then|on and off"
    r"|before (?:bed|work|breakfast|dinner|meals)|after (?:work|school|dinner|lunch|meals)|with (?:breakfast|lunch|dinner|meals)"
)
_LATELY: Final = (
    r"(?:now|right now|just now|currently|at the moment|these days|nowadays|lately|recently|at present|as of (?:now|today|\w+ \w+ ago)"
    r"|anymore|any more|any longer|for (?:now|good|the time being|the moment|the foreseeable future|ever)|until further notice"
    r"|from (?:now|then|here|today|this \w+) on(?: out)?(?:wards)?|going forward|again|so far|by now|already|yet|still|today|this (?:year|time|season)|soon|later(?: on)?|eventually|(?:this|next|last|in|in the|by|until|over the) (?:spring|summer|autumn|fall|winter|term|semester|quarter|season)|in the end|after all|at last|finally|at all|all along"
    r"|for (?:over |almost |nearly |about |the (?:last|past) )?(?:\w+ ){1,2}(?:years?|months?|weeks?|days?|decades?)(?: now)?"
    r"|for (?:ages|years|decades|a while|a living|fun|work)|all my life|since (?:school|childhood|birth|university|uni|college|forever)"
    r"|(?:as|when|since i was) a (?:kid|child|student|boy|girl|teenager)|with immediate effect|permanently|temporarily)"
)
_MANNER: Final = (
    r"(?:too|as well|also|either|though|instead|please|thanks|btw|by the way|lol|haha|sadly|unfortunately|honestly|actually"
    r"|of course|obviously|to be (?:honest|fair|precise|exact)|tbh|badly|completely|in fact|believe it or not|for (?:what it's worth|the record|sure)"
    r"|a lot|very much|so much|a great deal|(?:the )?most(?: of all)?|best|more than (?:anything|ever|most things)|all in(?:clusive)?|all told|altogether|in total|in all"
    r"|on average|or so|give or take|at (?:most|least|best|worst|last count)|each way|exactly|roughly|sharp"
    r"|(?:over |round |around )?(?:here|there)|at home|on the side|as a hobby|in my (?:spare|free) time|on my own|by myself|with (?:my|our|his|her) \w+"
    r"|ourselves|myself|himself|herself|together|no contest|hands down|any day|come rain or shine|no matter what|in particular|especially|mostly|mainly|as usual"
    r"|like (?:mad|crazy)|after the \w+|in one go|straight away|in person|everywhere|forever|sometimes|usually)"
)
_OFTEN: Final = re.compile(rf"(?:^|[ ,]+)(?:{_EVERY})$", re.IGNORECASE)
_BEHIND: Final = re.compile(rf"(?:^|[ ,]+)(?:{_EVERY}|{_LATELY}|{_MANNER}|:\)|:\()$", re.IGNORECASE)
_AROUND: Final = re.compile(rf"(?:^|[ ,]+)(?:{_LATELY}|{_MANNER}|:\)|:\()$", re.IGNORECASE)
_EDGE: Final = " \t,.!;:-\u2014*_~"
_MOST: Final = 4


def often(text: str) -> str:
    """`text` up to where it says how often, "" if it does not.

    >>> often("the gym on Tuesdays and Thursdays"), often("the gym")
    ('the gym', '')
    """
    found = _OFTEN.search(text)
    return text[: found.start()].strip(_EDGE) if found else ""


def shortened(text: str, *, habit: bool = True) -> str:
    """`text` without what stands behind its last noun and says when, how often or how.

    Without `habit` how often stays: it is part of what somebody likes.

    >>> shortened("food bank on Mill Road every other Saturday"), shortened("8,000 euros all in")
    ('food bank on Mill Road', '8,000 euros')
    """
    for _ in range(_MOST):
        found = (_BEHIND if habit else _AROUND).search(text)
        if not found:
            break
        text = text[: found.start()].strip(_EDGE)
    return text
