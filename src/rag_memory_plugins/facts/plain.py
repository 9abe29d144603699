"""A clause with its short forms written out, and with the subject that was left out."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["plain"]

_SHORT: Final = (
    ("i'm ", "i am "), ("im ", "i am "), ("i've ", "i have "), ("ive ", "i have "),
    ("i'll ", "i will "), ("we're ", "we are "), ("we've ", "we have "), ("we'll ", "we will "),
)  # fmt: skip
_LEFT_OUT: Final = re.compile(
    r"(?:(?P<am>(?:not |never )?(?:(?:a )?(?:big |huge |massive )?(?:an? )?(?:big |huge |massive |great )?(?:fan|lover) of|(?:\w+ly )?allergic to|based in|born (?:and raised )?in|married to"
    r"|living in|working (?:at|for|as)|planning to|training to|learning|originally from|terrified of|keen on|into)"
    r"|(?:currently |now |still )(?:living|working|based|learning|studying))"
    r"|(?P<have>been (?:vegan|vegetarian|married|living|working|teaching|sober|self-employed|retired)\b|got (?:two|three|four|five|six|\d+) )"
    r"|(?P<do>(?:moved (?:to|from)|can't (?:stand|eat|drink)|prefer|don't (?:eat|drink|like)|never (?:eat|drink)|broke up with|quit smoking|gave up|started (?:at|working)|joined [A-Z]"
    r"|switched (?:to|from)|just (?:moved|started|joined|bought)|work (?:at|for|as|from)|live in|grew up in|used to (?:live|work)|sold (?:the|my|our)|decided (?:to|on|against)|(?:really )?(?:dislike|despise|detest))\b)) ?(?=\S)",
    re.IGNORECASE,
)
_NOUN_IS: Final = re.compile(
    r"(?P<who>(?:(?:my|our|the|her|his|its) )?[^\W\d_][\w-]*(?: [\w-]+){0,4}?)'s (?=\S)",
    re.IGNORECASE,
)
_AFTER_IS: Final = re.compile(
    r"(?:an?|the|in|on|at|from|not|now|still|also|just|always|called|named|no longer|going to|due|set|booked|scheduled|allergic|married|engaged"
    r"|divorced|single|vegan|vegetarian|retired|pregnant|moved|down|up|live|closed|open|broken|done|ready|blocked|out of|back|about|around|over|only"
    r"|moving|working|living|studying|starting|getting|coming|flying|turning|my|our|signed|approved|cancelled|canceled|delayed|postponed|finished|full|one of"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
    r"|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?)\b(?!'s)(?! \w+(?: \w+)? (?:is|are|was|has)\b)"
    r"|[$\u20ac\u00a3]?\d|\S*[@/]\S*(?: |$)|[A-Z][\w'-]*(?: [A-Z][\w'-]*)*(?:$|,)",
)
_PRONOUNS: Final = frozenset(("he", "she", "it"))
_NOT_IS: Final = frozenset("let what who where how why when that there here".split())


def plain(clause: str) -> str:
    """A clause in which short forms of "to be" and "to have" are written out, and a subject is there.

    >>> plain("I'm a nurse"), plain("My sister's in Oslo"), plain("Not a fan of rain")
    ('I am a nurse', 'My sister is in Oslo', 'I am not a fan of rain')
    """
    lower = clause[:7].lower()
    for short, full in _SHORT:
        if lower.startswith(short):
            return clause[0] + full[1:] + clause[len(short) :]
    left_out = _LEFT_OUT.match(clause)
    if left_out:
        verb = "I am " if left_out["am"] else "I have " if left_out["have"] else "I "
        return f"{verb}{clause[:1].lower()}{clause[1:]}"
    found = _NOUN_IS.match(clause)
    if not found:
        return clause
    follows = clause[found.end() :]
    if found["who"].lower() in _NOT_IS or follows.startswith(("been ", "got ")):
        verb = "has" if follows.startswith(("been ", "got ")) else ""
    else:
        verb = "is" if _AFTER_IS.match(follows) or found["who"].lower() in _PRONOUNS else ""
    return f"{found['who']} {verb} {follows}" if verb else clause
