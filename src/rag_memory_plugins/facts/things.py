"""What is said of things: "the budget is $5,000", "the server is down", "Ann is the new lead of X"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.objects import is_condition, is_value, trimmed
from rag_memory_plugins.facts.parts import Part

__all__ = ["changed", "owned", "thing"]

_IS: Final = re.compile(
    r"(?P<subj>\S+(?: (?!is |are |was |were |isn't )\S+){0,8}?)(?P<is>'s| is| are| isn't| aren't|'re| has been| have been| was| were| will be|'ll be)"
    r" (?P<adv>(?:(?:now|currently|officially|still|already|finally|again|going to be|just|actually|been|still) )*)"
    r"(?P<neg>(?:no longer|not) )?(?P<adv2>(?:(?:yet|currently|just|called|named) )*)(?P<obj>.+)"
)
_NO_SUBJECT: Final = re.compile(
    r"(?:it|this|that|there|he|she|they|what|who|which|where|how|why|everything|nothing|something|someone"
    r"|everyone|everybody|nobody|somebody|anyone|here|i|you|we|your|his|her|their|one|some|all|any|each"
    r"|life|time|today|tomorrow|yesterday|to|if|let|please|not|in|on|at|for|of|from|with|by|as|when|people|both"
    r"|thanks|good|great|nice|never|being|having|these|those|no|whatever|another|were|did|does|do"
    r"|(?:the|a) (?:problem|question|thing|point|idea|reason|weather|food|rest|same|truth|fact|ball|trick"
    r"|answer|goal|issue|good news|bad news|sky|world|sun|moon|key|best|worst|only|first|way|best part"
    r"|devil|joke|gist|bottom line|sentence|line|song|article|book|movie|film)"
    r"|an?)(?:'s|'ll|'re)?(?: |$)",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"(?:the|our|this year's) \S|[A-Z\u00c0-\u00de]|\S*\d|ticket |project |deadline|budget|launch|release"
    r"|meeting|dinner|standup|lunch|rent|price|demo|password|version|staging|production|prod |wifi|wi-fi",
    re.IGNORECASE,
)
_STARTS_LOWER: Final = re.compile(
    r"(?:the|our|this year's) |\S*\d|ticket |project |deadline|budget|launch|release|meeting|dinner"
    r"|standup|lunch|rent\b|price|demo\b|password|version|staging|production|prod |wifi|wi-fi"
)
_OF: Final = re.compile(r"(?P<attr>(?:\w[\w-]* ){0,2}\w[\w-]*) (?:of|for) (?:the |our )?(?P<of>.+)")
_OF_NOUN: Final = re.compile(
    r"(?:.*\b)?(?:deadline|status|budget|price|cost|name|date|owner|lead|leader|head|manager|version|size"
    r"|capital|colou?r|location|venue|password|code|number|limit|target|address|director|contact|length"
    r"|weight|height|title|url|port|priority|due date|rate|fee|salary|captain|author|maintainer)$",
    re.IGNORECASE,
)
_POSSESSOR: Final = re.compile(r"(?P<of>[^']+)'s? (?P<attr>(?!is )[\w-]+(?: [\w-]+){0,2})")
_ROLE: Final = re.compile(
    r"(?:the|our) (?:(?:new|next|latest) |(?=current ))(?P<role>.+)|(?:the|our) (?P<role2>(?:[\w-]+ )?(?:lead|leader|head|owner|manager|maintainer|director|captain|ceo|cto) (?:of|for) .+)"
)
_FAVOURITE: Final = re.compile(r"my (?:absolute |all-time )?favou?rite(?: (?P<what>.+))?")
_MOVED: Final = re.compile(
    r"(?P<subj>.+?) (?:has been |have been |has |have |was |were |is |got |is being )?(?:now )?(?:moved|rescheduled|postponed|pushed|delayed|brought forward|shifted)(?: back| out| forward)? "
    r"(?:from .+? )?(?:to|until|till) (?P<date>.+)"
)
_CHANGED: Final = re.compile(
    r"(?P<subj>.+?) (?:has |have |was |were |just )?(?:changed|went|gone|rose|risen|dropped|increased|decreased|raised|cut|lowered|went up|went down)"
    r"(?: up| down)? (?:from .+? )?to (?P<is>.+)"
)
_MADE: Final = re.compile(
    r"(?:.+ )?(?:has|have) (?P<status>approved|rejected|cancell?ed|postponed|signed|merged|shipped|launched|released|closed|accepted|finished|completed|deployed|archived|paused|deprecated|fixed|resolved)"
    r" (?P<subj>(?:the|our) .+)"
)
_ENDED: Final = re.compile(
    r"(?P<subj>.+?) (?:has |have )?(?P<status>closed|opened|shipped|launched|failed|passed|expired|crashed|went live|finished)(?: (?:in|on|last|yesterday|today|this)\b.*)?"
)
_BECAME: Final = re.compile(
    r"(?P<subj>.+?) (?:took over|takes over|is taking over|has taken over) as (?:the |our )?(?P<role>.+)"
)
_ATTRIBUTES: Final = re.compile(
    r"(?:the |our |my )?(?P<attr>deadline|budget|limit|price|password|target|due date|launch|release) (?:has |was |is )?(?:now )?(?:set (?:to|at|for)) (?P<is>.+)"
)
_VERBAL: Final = re.compile(r"\b(?:is|are|was|were|be|been|will|not|never|being|to|who|that)\b|'s$")
_STATUS: Final = re.compile(
    r"(?:(?P<a>.+)'s status|(?:the )?status (?:of|for) (?P<b>.+))", re.IGNORECASE
)
_NAMED: Final = re.compile(
    r"(?:the|our) (?P<subj>[\w-]+(?: [\w-]+)?) (?:will be|is|are) (?:named|called) (?P<name>.+)"
)
_MADE_TO: Final = re.compile(
    r"(?:i|we) (?:have |are |will )?(?:just |now )?(?:be )?(?:changed|changing|change|moved|moving|move|pushed|pushing|push|postponed|raised|cut|set|extended"
    r"|bumped|shifted|increased|lowered|renamed|rescheduled) (?P<whose>the|our|my) (?P<what>[\w'-]+(?: [\w'-]+){0,4}?)"
    r" (?:back |out |up |down )?(?:from .+? )?to (?P<is>.+)",
    re.IGNORECASE,
)
_AT: Final = re.compile(
    r"(?:at|on|in) (?=.*\d|the \d|(?:mon|tues|wednes|thurs|fri|satur|sun)day)", re.IGNORECASE
)
_SIZE: Final = re.compile(
    r"[\d.,]+ ?(?:square (?:met(?:re|er)s|feet)|sqm|m2|sq ?ft|hectares|acres)\b", re.IGNORECASE
)
_OWN: Final = re.compile(
    r"(?:my|our) (?P<what>[\w'-]+(?: [\w'-]+){0,5}?)(?P<is>'s| is| are|'re| isn't| will be| was changed to| has changed to| has been| changed to)"
    r" (?:(?:now|currently|called|named|actually|still|going to be) )*(?P<neg>not |no longer )?(?:(?:called|named) )?(?P<obj>.+)",
    re.IGNORECASE,
)
_NAME_AT: Final = re.compile(r"(?<=\w) (?:at|from) (?:the )?[A-Z].*$|, .*$")
_NOT_MINE: Final = re.compile(
    r"(?:.* )?(?:question|point|guess|concern|issue|problem|fault|mistake|apologies|understanding|impression"
    r"|opinion|hope|fear|advice|suggestion|worry|thinking|take|pleasure|head|brain|mind|heart|feet|stomach"
    r"|back|eyes|hands|thing|life|day|week|mood|bet|treat|god|idea|answer|favou?rite|reaction|feeling|way|turn|plan is)$",
    re.IGNORECASE,
)
_FREE: Final = re.compile(
    r"(?:new|current|old|own|actual|full|present|real|main) (?=\S)", re.IGNORECASE
)
_WELL_FORMED: Final = re.compile(
    r"(?:name|birthday|job|favou?rite .*|nickname|diet|(?:.* )?(?:colou?r|food|language|type|size|hobby|hobbies"
    r"|password|handle|username|email|address|number|pronouns|religion|nationality|major|goal|timezone|team|band|city|breed|model|brand|style|gp|role|title|profession|star sign|degree|subject|sport|drink|dish|book|film|movie))$",
    re.IGNORECASE,
)


def thing(text: str) -> Iterator[Part]:
    """What a clause states of a thing, where its subject is one that can be named.

    >>> [(part.subject, part.predicate, part.object) for part in thing("The staging server is down")]
    [('The staging server', 'status', 'down')]
    """
    if _NO_SUBJECT.match(text) and not text.startswith("My "):
        return
    if not (_SUBJECT.match(text) and (text[0].isupper() or _STARTS_LOWER.match(text))):
        return
    for pattern, family in (
        (_NAMED, "value"), (_MOVED, "change"), (_CHANGED, "change"), (_MADE, "status"),
        (_ATTRIBUTES, "value"), (_BECAME, "value"), (_ENDED, "status"),
    ):  # fmt: skip
        found = pattern.fullmatch(text)
        if found and not _VERBAL.search(found.groupdict().get("subj") or ""):
            yield from _shaped(found, family)
            return
    found = _IS.fullmatch(text)
    if found:
        yield from _is(found)


def _shaped(found: re.Match[str], family: str) -> Iterator[Part]:
    """A claim of a pattern whose groups are named as the predicates are."""
    groups = {name: words for name, words in found.groupdict().items() if words}
    if "role" in groups:
        yield from _attribute(groups["role"], trimmed(groups["subj"]), family, negated=False)
        return
    subject = groups.pop("subj", "") or groups.pop("attr", "")
    for name, words in groups.items():
        if name == "date" and not is_value(trimmed(words)):
            return
        predicate = "is" if name == "date" else name
        timed = family == "status"
        if name == "is" and not is_value(trimmed(words)):
            return
        # "went live" is what happened; "live" is what the thing is since.
        value = words.removeprefix("went ")
        if predicate == "is":
            yield from _attribute(subject, value, family, negated=False)
        else:
            yield Part(subject, predicate, value, family, timed=timed, source=found.string)


def _is(found: re.Match[str]) -> Iterator[Part]:
    subject, value = found["subj"], found["obj"].split(", ")[0]
    past = found["is"].strip() in ("was", "were")
    negated = bool(found["neg"]) or found["is"].endswith("n't")
    whose = found["is"] == "'s" and value[:1].islower() and not is_condition(value)
    if whose and not re.match(r"(?:going|at|on|in) ", value):
        return
    role = _ROLE.fullmatch(value)
    if role and not past and is_value(trimmed(subject)):
        yield from _attribute(
            role["role"] or role["role2"], trimmed(subject), "value", negated=negated
        )
        return
    if negated and value.startswith(("the ", "our ")) and is_value(trimmed(subject)):
        yield from _attribute(value, trimmed(subject), "value", negated=True)
        return
    favourite = _FAVOURITE.fullmatch(value)
    if favourite and favourite["what"]:
        what = favourite["what"]
        yield Part("", f"favourite {what}", subject, "taste")
        return
    condition = is_condition(value)
    if condition and (not past or condition.endswith("ed")):
        status = _STATUS.fullmatch(subject)
        subject = (status["a"] or status["b"]) if status else subject
        yield Part(
            subject, "status", condition, "status", negated=negated, timed=True, source=value
        )
        return
    if past:
        return
    if found["is"] == " will be" and not is_value(value):
        return
    value = re.sub(r"^(?:going to be )", "", value)
    place = re.fullmatch(r"(?:going to be )?(?:at|in) (?:the )?(?P<at>[A-Z].*)", value)
    if place and not re.match(
        r"(?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
        place["at"],
    ):
        yield Part(subject, "location", place["at"], "value", negated=negated)
        return
    size = _SIZE.match(value)
    if size:
        yield Part(subject, "size", size[0], "value", negated=negated)
        return
    value = _AT.sub("", value, count=1)
    if is_value(trimmed(value)) and not re.match(r"\d+ (?:of|out of) |a |an ", value):
        yield from _attribute(subject, value, "value", negated=negated)


def _attribute(subject: str, value: str, family: str, *, negated: bool) -> Iterator[Part]:
    """Of "the Y of X is Z" and "X's Y is Z" it is (X, Y, Z); of anything else (it, is, Z)."""
    bare = re.sub(r"^(?:the|our) ", "", subject, flags=re.IGNORECASE)
    bare = _FREE.sub("", bare, count=1) if not bare.startswith("current ") else bare
    of = _OF.fullmatch(bare)
    if of and _OF_NOUN.match(of["attr"]):
        yield Part(of["of"], of["attr"].lower(), value, family, negated=negated)
        return
    whose = _POSSESSOR.fullmatch(bare)
    if whose:
        yield Part(whose["of"], whose["attr"], value, family, negated=negated)
        return
    yield Part(bare, "is", value, family, negated=negated)


def changed(text: str) -> Iterator[Part]:
    """What "we moved the launch to 12 May" states of the launch.

    >>> [(part.subject, part.object) for part in changed("we moved the launch to 12 May")]
    [('launch', '12 May')]
    """
    found = _MADE_TO.fullmatch(text)
    if not found or not is_value(trimmed(found["is"])):
        return
    if found["whose"] == "my":
        yield Part("", found["what"], found["is"], "change")
    else:
        yield from _attribute(found["what"], found["is"], "change", negated=False)


def owned(text: str) -> Iterator[Part]:
    """What "my X is Y" states; the subject "" stands for the speaker.

    >>> [(part.predicate, part.object) for part in owned("my dog's name is Rex")]
    [('dog', 'Rex')]
    """
    found = _OWN.fullmatch(text)
    if not found:
        return
    what, value = found["what"], _AT.sub("", found["obj"], count=1)
    value = _NAME_AT.sub("", value)
    what = re.sub(r"'s names?$", "", what) if "'" in what else what
    what = _FREE.sub("", what, count=1).replace("favorite", "favourite")
    what = "phone number" if what == "number" else what
    negated = bool(found["neg"]) or found["is"].endswith("n't")
    if what == "home" and found["obj"].startswith("in "):
        yield Part("", "lives in", found["obj"][3:], "life", negated=negated)
        return
    if _NOT_MINE.match(what):
        return
    named = is_value(trimmed(value)) or bool(re.search(r"(?:called|named) (?:\w+)$", text))
    condition = is_condition(value)
    if text[:3].lower() == "our":
        if named:
            yield from _attribute(what, value, "value", negated=negated)
        elif condition:
            yield Part(
                what, "status", condition, "status", negated=negated, timed=True, source=value
            )
        return
    if condition and not named:
        yield Part(
            f"'s {what}", "status", condition, "status", negated=negated, timed=True, source=value
        )
    elif named or _WELL_FORMED.match(what):
        yield Part("", what, value, "mine", negated=negated)
