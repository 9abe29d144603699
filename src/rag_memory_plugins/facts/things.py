"""What is said of things: "the budget is $5,000", "the server is down", "Ann is the new lead of X"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.attributes import attribute, is_graded
from rag_memory_plugins.facts.conditions import is_condition
from rag_memory_plugins.facts.objects import is_value, trimmed
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.shapes import shaped
from rag_memory_plugins.facts.trailing import shortened

__all__ = ["changed", "thing"]

_IS: Final = re.compile(
    r"(?P<subj>\S+(?: (?!is |are |was |were |isn't )\S+){0,8}?)(?P<is>'s| is| are| isn't| aren't|'re| has been| have been| was| were| will be|'ll be| got)"
    r" (?P<adv>(?:(?:now|currently|officially|still|already|finally|again|going to be|just|actually|been|still) )*)"
    r"(?P<neg>(?:no longer|not) )?(?P<adv2>(?:(?:yet|currently|just|called|named) )*)(?P<obj>.+)"
)
_NO_SUBJECT: Final = re.compile(
    r"(?:it|this|that|there|he|she|they|what|who|which|where|how|why|everything|nothing|something|someone"
    r"|everyone|everybody|nobody|somebody|anyone|here|i|you|we|your|his|her|their|one|some|all|any|each"
    r"|life|time|today|tomorrow|yesterday|to|if|let|please|not|in|on|at|for|of|from|with|by|as|when|people|both"
    r"|thanks|good|great|nice|never|being|having|these|those|no|whatever|another|were|did|does|do"
    r"|(?:the|a) (?:problem|question|thing|point|idea|reason|weather|food|rest|same|truth|fact|ball|trick"
    r"|answer|goal|issue|good news|bad news|sky|world|sun|moon|key (?:is to|is not|to|thing|point|question|issue)|best|worst|only|first|way|best part"
    r"|devil|joke|gist|bottom line|sentence|line|song|article|book|movie|film)"
    r"|the (?:human|heart|brain|earth|average|sum|product|square root|speed of light|population of|capital of [A-Z])|(?:the|my|our) (?:gloves|chips|heat|plate|jury|clock is ticking|die is|ball is|cat is out|coast is|ship has|writing is|stakes|tables have|dust|lips|bets|tide|penny"
    r"|bottleneck|trouble|catch|upside|downside|short answer|long answer|last straw|early bird)"
    r"|an?)(?:'s|'ll|'re)?(?: |$)",
    re.IGNORECASE,
)
_STARTS_LOWER: Final = re.compile(
    r"(?:the|our|this year's|my) |\S*\d|(?:[a-z][\w-]*'?s? ){0,2}[\w-]+ (?:(?:for|of|with|on|in) (?:the |our |my )?[\w-]+ )?(?:is|are|has|was|starts|begins|ends|runs|costs|expires|kicks|moved|opens|closes) "
)
_ROLE: Final = re.compile(
    r"(?:the|our) (?:(?:new|next|latest) |(?=current ))(?P<role>.+)|(?:the|our) (?P<role2>(?:[\w-]+ )?(?:lead|leader|head|owner|manager|maintainer|director|captain|ceo|cto) (?:of|for) .+)"
)
_FAVOURITE: Final = re.compile(r"my (?:absolute |all-time )?favou?rite(?: (?P<what>.+))?")
_STATUS: Final = re.compile(
    r"(?:(?P<a>.+)'s status|(?:the )?status (?:of|for) (?P<b>.+))", re.IGNORECASE
)
_MADE_TO: Final = re.compile(
    r"(?:i|we) (?:have |are |will )?(?:just |now )?(?:be )?(?:changed|changing|change|moved|moving|move|pushed|pushing|push|postponed|raised|cut|set|extended"
    r"|bumped|shifted|increased|lowered|renamed|rescheduled) (?P<whose>the|our|my) (?P<what>[\w'-]+(?: [\w'-]+){0,4}?)"
    r" (?:back |out |up |down )?(?:from .+? )?to (?P<is>.+)",
    re.IGNORECASE,
)
_AT: Final = re.compile(
    r"^(?:at|on|in) (?=.*\d|the \d|(?:mon|tues|wednes|thurs|fri|satur|sun)day)", re.IGNORECASE
)
_SIZE: Final = re.compile(
    r"[\d.,]+ ?(?:square (?:met(?:re|er)s|feet)|sqm|m2|sq ?ft|hectares|acres)\b", re.IGNORECASE
)
_PLACE: Final = re.compile(
    r"(?:at|in|near|on) (?:the )?(?P<at>[A-Z].*|(?:the \w+ (?:room|office|building|floor|folder|drawer|cupboard|cellar|garage|shed|basement|attic))(?: .+)?)"
)
_MONTH: Final = re.compile(
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Q[1-4]\b"
)
_THERE: Final = re.compile(
    r"there (?:are|is)(?: now| only| still| currently| actually)* (?P<count>(?:about |around )?\d[\d.,]*) (?P<what>[\w-]+(?: [\w-]+)?)",
    re.IGNORECASE,
)
_WORDS: Final = 7
_PRONOUNS: Final = frozenset(("it", "that", "this", "he", "she", "they"))
_DEFINITE: Final = re.compile(
    r"(?:Dr|Mr|Mrs|Ms|Professor|Prof)\.? [A-Z]|(?:the|our|my) (?!(?:way|problem|plan|trick|idea|movie|film|game|show|song|day|week|year|weather|story|news|question)\b)",
    re.IGNORECASE,
)
_WHAT: Final = re.compile(
    r"(?:an?|the|my|our) (?!(?:\w+ ){0,2}(?:waste|masterpiece|mess|disaster|joke|nightmare|pain|problem|must|delight|bargain|rip-?off|dump|bit|lot|few|little|one|ones|same|best|worst|only|first|last|key|way|reason|thing|issue|shame|pity|lie|dream|riot|killer|treat|blast|steal|point|question|result|case|start|trap|bummer|hit|challenge|success|failure|good|bad|great|nice|huge|big|total|complete|real|absolute)\b)[\w'-]+(?: [\w'-]+){0,4}"
)
_WHERE: Final = re.compile(
    r"(?P<prep>in|on|at|with|under|behind|next to|near|above|below|opposite|inside|by) (?P<np>(?:(?:the|my|our|an?) (?!(?:way|mood|same|mend|fence|air|rocks|works|move|verge|edge|brink|cards|ball|go|loop|horizon|end|moment|clock|house\b|one|right|wrong|middle|process|lead|hurry|mess|lot|bit|pipeline|back|mind|dark|clear|red|black|bag|table|line|limit|top|bottom|other hand|case))(?:[\w'/.-]+ ?){1,5}|ours|mine|hospital|prison|jail|storage|school|university|[A-Z][\w'.-]*(?: [\w'.-]+){0,4}))"
)
_VERBY: Final = re.compile(
    r"(?:[a-z]+ed|done|gone|being|been|made|got|to|too|so|very|not|only|about to|one of|part of|up to|over|like|worth|in|out|all|\w+ing|just|nearly|almost) "
)


def thing(text: str) -> Iterator[Part]:
    """What a clause states of a thing, where its subject is one that can be named.

    >>> [(part.subject, part.predicate, part.object) for part in thing("The staging server is down")]
    [('The staging server', 'status', 'down')]
    """
    there = _THERE.fullmatch(text)
    if there:
        yield Part(there["what"], "number", there["count"], "number", negated=False)
        return
    if _NO_SUBJECT.match(text) or not (text[0].isupper() or _STARTS_LOWER.match(text)):
        return
    known = list(_role_or_favourite(text)) or list(shaped(text))
    if known:
        yield from known
        return
    found = _IS.fullmatch(text)
    if found and len(found["subj"].split()) <= _WORDS:
        yield from _is(found)


def _role_or_favourite(text: str) -> Iterator[Part]:
    """What "X is the new lead of Y" and "X is my favourite Y" state of Y."""
    found = _IS.fullmatch(text)
    if not found:
        return
    value, subject = found["obj"].split(", ")[0], found["subj"]
    past, negated = _past_and_negated(found)
    role = _ROLE.fullmatch(value)
    if role and not past and is_value(trimmed(subject)):
        yield from attribute(
            role["role"] or role["role2"], trimmed(subject), "value", negated=negated
        )
    elif negated and value.startswith(("the ", "our ")) and is_value(trimmed(subject)):
        yield from attribute(value, trimmed(subject), "value", negated=True)
    favourite = _FAVOURITE.fullmatch(value)
    if favourite and favourite["what"] and not past:
        yield Part("", f"favourite {favourite['what']}", subject, "taste", negated=negated)


def _past_and_negated(found: re.Match[str]) -> tuple[bool, bool]:
    past = found["is"].strip() in ("was", "were")
    return past, bool(found["neg"]) or found["is"].endswith("n't")


def _is(found: re.Match[str]) -> Iterator[Part]:
    subject, value = found["subj"], found["obj"].split(", ")[0]
    past, negated = _past_and_negated(found)
    condition = is_condition(value) or is_condition(shortened(value))
    if condition and (not past or condition.endswith("ed")):
        status = _STATUS.fullmatch(subject)
        subject = (status["a"] or status["b"]) if status else subject
        yield Part(
            _mine(subject), "status", condition, "status", negated=negated, timed=True, source=value
        )
    elif not past and found["is"] != " got":
        yield from _valued(subject, value, will=found["is"] == " will be", negated=negated)


def _valued(subject: str, value: str, *, will: bool, negated: bool) -> Iterator[Part]:
    """Where a thing is, how large, or what its value is."""
    if will and not is_value(trimmed(value)):
        return
    value = shortened(value)
    place = _PLACE.fullmatch(value)
    where = _WHERE.fullmatch(value)
    size = _SIZE.match(value)
    bare = _AT.sub("", value, count=1)
    if place and not _MONTH.match(place["at"]):
        yield Part(_mine(subject), "location", place["at"], "value", negated=negated)
    elif where and not (negated or _MONTH.match(where["np"]) or subject.lower() in _PRONOUNS):
        yield Part(_mine(subject), f"is {where['prep']}", where["np"], "general")
    elif not negated and _is_what(subject, value):
        yield from attribute(subject, value, "general", negated=False)
    elif size:
        yield Part(_mine(subject), "size", size[0], "value", negated=negated)
    elif is_graded(subject, value):
        yield from attribute(subject, value, "value", negated=negated)
    elif _fits(trimmed(bare)) and not re.match(r"\d+ (?:of|out of) |an? ", bare):
        yield from attribute(subject, bare, "value", negated=negated)


def _is_what(subject: str, value: str) -> bool:
    """Whether a plain noun phrase says what a thing is: "the car is a diesel", "the venue is the barn"."""
    if not _DEFINITE.match(subject):
        return False
    return bool(_WHAT.fullmatch(value))


def _mine(subject: str) -> str:
    return f"'s {subject[3:]}" if subject.lower().startswith("my ") else subject


def _fits(value: str) -> bool:
    return is_value(value) and len(value.split()) <= _WORDS and not _VERBY.match(value)


def changed(text: str) -> Iterator[Part]:
    """What "we moved the launch to 12 May" states of the launch.

    >>> [(part.subject, part.object) for part in changed("we moved the launch to 12 May")]
    [('launch', '12 May')]
    """
    found = _MADE_TO.fullmatch(text)
    if not found or not is_value(trimmed(found["is"])):
        return
    whose = "my " if found["whose"] == "my" else ""
    yield from attribute(f"{whose}{found['what']}", found["is"], "change", negated=False)
