"""Of which subject a value is said, and by which predicate: "the Y of X is Z", "X's Y is Z", "my X is Z"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.objects import is_value, trimmed
from rag_memory_plugins.facts.parts import Part

__all__ = ["attribute", "is_graded", "measured", "possessed"]

_ARTICLE: Final = re.compile(r"(?:the|our) ", re.IGNORECASE)
_FREE: Final = re.compile(r"(?:actual|exact|present|real|full) (?=\S)", re.IGNORECASE)
_LATEST: Final = re.compile(r"(?:new|current|latest) (?=\S)", re.IGNORECASE)
_OF: Final = re.compile(r"(?P<attr>(?:\w[\w-]* ){0,2}\w[\w-]*) (?:of|for) (?:the |our )?(?P<of>.+)")
_OF_NOUN: Final = re.compile(
    r"(?:.*\b)?(?:deadline|status|budget|price|cost|name|date|owner|lead|leader|head|manager|version|size"
    r"|colou?r|location|venue|password|code|number|limit|target|address|director|contact|length"
    r"|weight|height|title|url|port|priority|severity|due date|rate|fee|salary|captain|author|maintainer|timeout"
    r"|quota|theme|language|format|currency|duration|capacity|supplier|provider|host|chair|organi[sz]er|treasurer"
    r"|assignee|reviewer|speaker|teacher|coach|topic|frequency|width|depth|area|population|temperature|pin|passphrase"
    r"|username|login|domain|extension|floor|room|licen[cs]e|model|brand|make|default|threshold|score|rating)$",
    re.IGNORECASE,
)
_POSSESSOR: Final = re.compile(r"(?P<of>[^']+)'s? (?P<attr>(?!is )[\w-]+(?: [\w-]+){0,2})")
_MY: Final = re.compile(r"my (?P<what>.+)", re.IGNORECASE)
_GRADE: Final = re.compile(
    r"(?:very |medium[- ])?(?:high|low|medium|critical|urgent|normal|major|minor|blocker|[a-z]+)",
    re.IGNORECASE,
)
_NO_GRADE: Final = re.compile(
    r"(?:too|very|so|not|unclear|unknown|here|there|wrong|right|fine|good|bad|ok|okay|nice|great|missing|weird"
    r"|insane|crazy|terrible|awful|ridiculous|important|everything|nothing|open|up|off|on|clear|obvious|easy|hard"
    r"|\w+ing)$",
    re.IGNORECASE,
)
_MEASURED: Final = re.compile(
    r"(?P<head>(?:about |around |roughly |approximately |just (?:under|over) |over |under )?[$\u20ac\u00a3]?\d\S*(?: [\w%/.]+){0,4}?)"
    r",? (?:(?P<on>on|for|in) (?:the |our )(?P<thing>[\w-]+(?: [\w-]+)?)|(?:on|at|for|in|across|including|excluding|before|after|with|as|plus|not|thanks|if|per the) .+)",
    re.IGNORECASE,
)


def measured(value: str) -> tuple[str, str]:
    """An amount without what stands behind it, and the thing it is an amount of ("" if none is named).

    >>> measured("5s on the gateway"), measured("180k at 3.1 percent"), measured("12 May")
    (('5s', 'gateway'), ('180k', ''), ('12 May', ''))
    """
    found = _MEASURED.fullmatch(value)
    if not found:
        return value, ""
    return found["head"], found["thing"] or "" if found["on"] == "on" else ""


def possessed(subject: str) -> tuple[str, str]:
    """(whose, what) of "my dog's name", "Ann's email", "the owner of the ledger"; ("", "") of others.

    >>> possessed("my son's teacher"), possessed("the owner of the ledger"), possessed("my desk")
    (("'s son", 'teacher'), ('ledger', 'owner'), ('', 'desk'))
    """
    bare = _FREE.sub("", _ARTICLE.sub("", subject, count=1), count=1)
    of = _OF.fullmatch(bare)
    if of and _OF_NOUN.match(of["attr"]):
        mine = of["of"].lower().startswith("my ")
        return ("", bare) if mine else (of["of"], of["attr"].lower())
    my = _MY.fullmatch(bare)
    whose = _POSSESSOR.fullmatch(my["what"] if my else bare)
    if whose:
        attr = _LATEST.sub("", whose["attr"], count=1)
        return (f"'s {whose['of']}" if my else whose["of"]), attr
    return ("", my["what"]) if my else ("", "")


def attribute(subject: str, value: str, family: str, *, negated: bool) -> Iterator[Part]:
    """Of "the Y of X is Z" and "X's Y is Z" it is (X, Y, Z); of anything else (it, is, Z).

    >>> [(part.subject, part.predicate) for part in attribute("the price of tea", "5", "value", negated=False)]
    [('tea', 'price')]
    """
    value, thing = measured(value)
    whose, what = possessed(subject)
    if thing and not what:
        bare = _ARTICLE.sub("", subject, count=1)
        yield Part(thing, bare, value, family, negated=negated)
    elif what:
        what = "phone number" if not whose and what == "number" else what
        yield Part(whose, what, value, family, negated=negated)
    else:
        bare = _FREE.sub("", _ARTICLE.sub("", subject, count=1), count=1)
        yield Part(bare, "is", value, family, negated=negated)


def is_graded(subject: str, value: str) -> bool:
    """Whether `value` is a word that a known property can have: a high priority, a teal colour."""
    bare = _ARTICLE.sub("", subject, count=1)
    of = _OF.fullmatch(bare)
    whose = _POSSESSOR.fullmatch(bare)
    name = of["attr"] if of else whose["attr"] if whose else ""
    if not name or not _OF_NOUN.match(name) or is_value(trimmed(value)):
        return False
    return bool(_GRADE.fullmatch(value)) and not _NO_GRADE.fullmatch(value)
