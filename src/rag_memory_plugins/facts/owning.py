"""What is said of what somebody has: "my X is Y", "our dog is called Biscuit"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.attributes import attribute, measured, possessed
from rag_memory_plugins.facts.conditions import is_condition
from rag_memory_plugins.facts.objects import is_value, trimmed
from rag_memory_plugins.facts.parts import Part

__all__ = ["is_idle", "owned"]

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


_AT: Final = re.compile(
    r"^(?:at|on|in) (?=.*\d|the \d|(?:mon|tues|wednes|thurs|fri|satur|sun)day)", re.IGNORECASE
)
_PHONE: Final = re.compile(r"(?:phone|mobile|cell)?(?: ?number)?")
_VERBY: Final = re.compile(
    r"(?:[a-z]+(?:ed|ing)|to|not|on|in|at|about|very|too|so|really|pretty|quite|just|going|to be) ",
    re.IGNORECASE,
)
_PURSUIT: Final = re.compile(r"(?:hobby|hobbies|(?:day )?job|passion|pastime)$")
_OURS: Final = re.compile(
    r"(?:older |younger |eldest |youngest |new |little )?(?:dog|cat|puppy|kitten|horse|rabbit|parrot|hamster|son|daughter|baby|surname|last name|home address)s?",
    re.IGNORECASE,
)


def is_idle(subject: str) -> bool:
    """Whether of "my guess", "my back" nothing is told that lasts.

    >>> is_idle("my guess"), is_idle("my desk")
    (True, False)
    """
    return bool(_NOT_MINE.match(subject.lower().removeprefix("my ").removeprefix("our ")))


def owned(text: str) -> Iterator[Part]:
    """What "my X is Y" states; the subject "" stands for the speaker.

    >>> [(part.predicate, part.object) for part in owned("my dog's name is Rex")]
    [('dog', 'Rex')]
    """
    found = _OWN.fullmatch(text)
    if not found:
        return
    what, value = found["what"], _NAME_AT.sub("", _AT.sub("", found["obj"], count=1))
    what = re.sub(r"'s names?$", "", what) if "'" in what else what
    what = _FREE.sub("", what, count=1).replace("favorite", "favourite")
    what = "phone number" if _PHONE.fullmatch(what) and re.match(r"[+(]?\d", value) else what
    negated = bool(found["neg"]) or found["is"].endswith("n't")
    if what == "home" and found["obj"].startswith("in "):
        yield Part("", "lives in", found["obj"][3:], "life", negated=negated)
    elif not _NOT_MINE.match(what):
        ours = text[:3].lower() == "our" and not _OURS.fullmatch(what)
        yield from (_ours if ours else _mine)(what, value, text, negated=negated)


def _ours(what: str, value: str, text: str, *, negated: bool) -> Iterator[Part]:
    """Of "our X" it is X that is told about, unless it is a pet or a child."""
    condition = is_condition(value)
    if _named(value, text):
        yield from attribute(what, _kind(value), "value", negated=negated)
    elif condition:
        yield Part(what, "status", condition, "status", negated=negated, timed=True, source=value)


def _mine(what: str, value: str, text: str, *, negated: bool) -> Iterator[Part]:
    condition, named = is_condition(value), _named(value, text)
    whose, attr = possessed(f"my {what}")
    if condition and not named:
        yield Part(
            f"'s {what}", "status", condition, "status", negated=negated, timed=True, source=value
        )
    elif whose and (named or _WELL_FORMED.match(attr)):
        yield Part(whose, attr, value, "mine", negated=negated)
    elif (named or _WELL_FORMED.match(what)) and (_PURSUIT.match(what) or not _VERBY.match(value)):
        yield Part("", what, measured(_kind(value))[0], "mine", negated=negated)


def _named(value: str, text: str) -> bool:
    named = is_value(trimmed(_kind(value))) and len(value.split()) <= _WORDS
    return named or bool(re.search(r"(?:called|named) (?:\w+)$", text))


def _kind(value: str) -> str:
    """Of "a retired judge called Whitcombe" the name."""
    called = re.fullmatch(
        r"an? .+ (?:called|named) (?P<name>[A-Z][\w'-]*(?: [A-Z][\w'-]*)*)", value
    )
    return called["name"] if called else value


_WORDS: Final = 7
