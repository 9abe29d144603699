"""The words of a claim's subject or object, cut to what they name; what names nothing is refused."""

from __future__ import annotations

import re
from typing import Final

from rag_memory_plugins.facts.quoting import HIDDEN

__all__ = ["LONGEST", "is_condition", "is_value", "listed", "trade_of", "trimmed"]

LONGEST: Final = 200
"""Characters of the longest object."""

_CLAUSE: Final = re.compile(
    r",? (?:because|although|though|whereas|while|when|whenever|since|as long as|which|who|so that|so (?:i|we|the|my)"
    r"|even though|until|except|thanks to|due to|given|depending|and (?:i|we|it|he|she|they|that|so|then|not|the)"
    r"|but|instead of|after|before|for (?:\w+ ){1,3}(?:years|months|weeks|days)|for (?:ages|years|a while))\b",
    re.IGNORECASE,
)
_COMMA: Final = re.compile(r",\s")
_TAIL: Final = re.compile(
    r"(?:^|[ ,]+)(?:now|right now|currently|at the moment|these days|nowadays|anymore|any more|too|as well"
    r"|a lot|very much|so much|though|for now|again|please|btw|by the way|thanks|lol|haha|there|here"
    r"|already|yet|still|today|lately|completely|instead|either|also|the most|most|best|more than anything"
    r"|every day|all the time|sadly|unfortunately|honestly|of course|for good|permanently|actually|badly"
    r"|to be honest|tbh|at last|finally|ourselves|myself|forever|from now on|going forward|full[- ]time"
    r"|part[- ]time|at all|each way|:\)|:\()$",
    re.IGNORECASE,
)
_ARTICLE: Final = re.compile(r"^(?:an?|the|our) (?=\S)", re.IGNORECASE)
_EMPTY: Final = re.compile(
    r"(?:it|this|that|these|those|them|him|her|you|your|yours|how|what|where|why|everything|nothing"
    r"|something|anything|someone|anyone|ones|so|too|very|to be|being able|both|either|neither|all"
    r"|the (?:idea|look|sound|first|second|third|one|ones|other|same|latter|former|rest|news)|not|no|here"
    r"|there|myself|ourselves|me|us|as|if|like|of|for|with|than|talking|hearing|seeing|doing)\b",
    re.IGNORECASE,
)
_EDGE: Final = ' \t,.!;:-\u2014*_~"()[]'
_PLACE: Final = re.compile(r"[A-Z][\w.' -]{1,30}, [A-Z][\w.' -]{1,30}$")
_AND: Final = re.compile(r",? and |, | & |,? plus ")
_WORDS_OF_ONE: Final = 4
_TRADE: Final = re.compile(
    r"(?:\w[\w-]* ){0,3}(?:nurse|doctor|teacher|engineer|developer|vet|lawyer|chef|cook|pilot|baker|barber"
    r"|plumber|electrician|carpenter|translator|designer|writer|author|artist|musician|journalist"
    r"|accountant|architect|student|paramedic|dentist|pharmacist|surgeon|therapist|psychologist|manager"
    r"|consultant|analyst|scientist|researcher|professor|lecturer|librarian|farmer|gardener|driver"
    r"|firefighter|soldier|sailor|waiter|waitress|bartender|barista|cashier|clerk|secretary|salesman"
    r"|salesperson|programmer|coder|admin|administrator|technician|mechanic|welder|builder|painter"
    r"|photographer|editor|actor|actress|dancer|singer|drummer|guitarist|coach|trainer|judge|solicitor"
    r"|barrister|paralegal|midwife|carer|caretaker|cleaner|banker|trader|broker|economist|biologist"
    r"|chemist|physicist|mathematician|statistician|geologist|historian|linguist|interpreter|tutor"
    r"|founder|ceo|cto|cfo|director|receptionist|butcher|tailor|postman|courier|optician|radiologist"
    r"|cardiologist|anaesthetist|physiotherapist|social worker|civil servant|police officer|officer"
    r"|intern|apprentice|freelancer|contractor|recruiter|planner|surveyor|curator|archivist|florist"
    r"|beekeeper|brewer|joiner|roofer|bricklayer|tester|lead|specialist|assistant|copywriter|illustrator"
    r"|animator|cabinetmaker|goldsmith|blacksmith|potter|conductor|composer|stonemason|tram driver)s?",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(
    r"(?:(?:fully|completely|partly|temporarily|officially|finally|almost) )?"
    r"(?:shipped|live|done|finished|completed?|cancell?ed|delayed|blocked|closed|open|opened|approved|rejected"
    r"|ready|deprecated|merged|deployed|released|paused|postponed|archived|offline|online|overdue|late|broken"
    r"|fixed|resolved|down|up and running|back up|green|red|yellow|stable|unstable|frozen|signed|confirmed|booked"
    r"|sold(?: out)?|full|empty|available|unavailable|active|inactive|pending|working|failing|failed|passing|running"
    r"|stopped|disabled|enabled|out of (?:order|stock|toner|paper|service|date|office)|in (?:beta|alpha|progress|review|production|testing|qa|stock|transit|use|draft|development)"
    r"|on (?:hold|track|schedule|ice|(?:\w+ )?leave|holiday|vacation|sale|strike|time|order)|behind schedule|ahead of schedule|over budget"
    r"|under (?:review|construction|budget|way|maintenance)|up to date|outdated|expired|paid|unpaid|unreleased|published|launched"
    r"|retired|scrapped|abandoned|suspended|fully booked|locked|unlocked|lost|stuck|empty|vacant|occupied|migrated|installed"
    r"|submitted|accepted|declined|withdrawn|obsolete|discontinued|shut(?: down)?|dead|healthy|degraded|read-only|off|on|off sick|away|ill|sick"
    r"|back online|final|finali[sz]ed|scheduled|decommissioned|delivered|due|complete|settled|underway|for sale|vacated|renewed|flaky|leaking)"
    r"(?: (?:by|from|for|with|in|at|due|again|to|until|on|last|since|yesterday|today|this)\b.*)?$",
    re.IGNORECASE,
)
_TRIMMED_STATE: Final = re.compile(
    r" (?:again|by|from|for|with|due|because|last|since|yesterday|today|this|on (?:mon|tues|wednes|thurs|fri|satur|sun)day|in [A-Z]|at [A-Z])\b.*$"
)
_NAME: Final = re.compile(
    r"[A-Z\u00c0-\u00de][\w.&'/+-]*(?: (?:of|de|the|von|van|and|&|[A-Z0-9\u00c0-\u00de][\w.&'/+-]*)){0,5}"
)
_LISTED_AS_VALUE: Final = re.compile(
    r"(?:(?:on|at|in) )?(?:mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|tomorrow"
    r"|noon|midnight|next \w+|january|february|march|april|june|july|august|september|october|november"
    r"|december|red|blue|green|black|white|grey|gray|purple|orange|yellow|pink|brown|euros?|dollars?"
    r"|postponed|monthly|weekly|daily)\b.*",
    re.IGNORECASE,
)


def trimmed(text: str, *, commas: bool = False) -> str:
    """What `text` names, without article, by-clauses and words of time; "" if it names nothing.

    `commas`: a list keeps its commas.

    >>> trimmed("the port authority there, because it pays")
    'port authority'
    >>> trimmed("it very much")
    ''
    """
    text = text.strip(_EDGE)
    clause = _CLAUSE.search(text)
    if clause:
        text = text[: clause.start()]
    comma = _COMMA.search(text)
    if comma and not commas and not _PLACE.match(text):
        text = text[: comma.start()]
    for _ in range(3):
        shorter = _TAIL.sub("", text).strip(_EDGE)
        if shorter == text:
            break
        text = shorter
    if not text or len(text) > LONGEST or HIDDEN in text or _EMPTY.match(text):
        return ""
    if not text[:4].istitle() or not text.startswith("The "):
        text = _ARTICLE.sub("", text, count=1)
    return text if any(sign.isalnum() for sign in text) and not _EMPTY.match(text) else ""


def listed(text: str) -> list[str]:
    """The items of "a, b and c", each trimmed; one item where the parts are no words of a list.

    >>> listed("fish and chicken"), listed("walks along the cold sea and tea")
    (['fish', 'chicken'], ['walks along the cold sea and tea'])
    """
    whole = trimmed(text, commas=True)
    parts = [part for part in _AND.split(whole) if part]
    if (
        len(parts) > 1
        and re.search(r" and | & | plus ", whole)
        and all(len(part.split()) <= _WORDS_OF_ONE for part in parts[:-1])
    ):
        items = [trimmed(part) for part in parts]
        if all(items) and len(items[-1].split()) <= _WORDS_OF_ONE + 1:
            return items
    one = trimmed(text)
    return [one] if one else []


def trade_of(text: str) -> str:
    """The trade that "a nurse at St. Mary's" begins with, "" if it begins with none.

    >>> trade_of("freelance translator"), trade_of("morning person")
    ('freelance translator', '')
    """
    found = _TRADE.match(text)
    if not found or not re.match(
        r"$|,| (?:at|for|in|by|from|with|who|and|on|here)\b", text[found.end() :]
    ):
        return ""
    return found[0]


def is_condition(text: str) -> str:
    """The passing condition that `text` states ("down", "in review"), "" if none.

    >>> is_condition("blocked by legal"), is_condition("5,000")
    ('blocked', '')
    """
    return _TRIMMED_STATE.sub("", text) if _CONDITION.match(text) else ""


def is_value(text: str) -> bool:
    """Whether `text` is a name, a number, a date or an identifier: what a thing can be.

    >>> is_value("$5,000"), is_value("Friday"), is_value("too loud")
    (True, True, False)
    """
    if any(sign.isdigit() for sign in text) or _NAME.fullmatch(text):
        return True
    return bool(_LISTED_AS_VALUE.fullmatch(text) or re.fullmatch(r"\S*[/@_.:#-]\S*\w", text))
