"""Whom a clause is about: the speaker, somebody or something of theirs, somebody by name, a thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.persons import person
from rag_memory_plugins.facts.things import changed, owned, thing

__all__ = ["parts_of"]

_FIRST: Final = re.compile(r"(?:i|we) (?=\S)", re.IGNORECASE)
_LETS: Final = re.compile(
    r"let's (?:go with|use|settle on|stick with|pick) (?P<uses>.+?)(?: (?:for|as) (?P<of>(?:the|our) .+|\w+))?",
    re.IGNORECASE,
)
_RELATIVE: Final = (
    "sister|brother|mother|father|mum|mom|dad|wife|husband|partner|girlfriend|boyfriend|son|daughter|aunt|uncle"
    "|cousin|niece|nephew|grandmother|grandfather|grandma|grandpa|flatmate|roommate|housemate|neighbour|neighbor"
    "|boss|colleague|coworker|friend|best friend|manager|fiance|fiancee|dog|cat|landlord|teacher|twin"
)
_MINE: Final = re.compile(
    rf"my (?:(?:older|younger|big|little|elder|twin|youngest|oldest|eldest|middle) )?(?P<kin>{_RELATIVE})(?:,? (?P<name>[A-Z][\w'-]+?),?)?(?:'s (?=an? )| )(?P<does>.+)",
    re.IGNORECASE,
)
_ENDS_ON: Final = re.compile(
    r"my (?P<what>[\w'-]+(?: [\w'-]+){0,2}?) (?P<does>(?:runs out|expires|ends|starts|begins)(?: on)?) (?P<when>.*\d.*|next .+)",
    re.IGNORECASE,
)
_MINE_TAKES: Final = re.compile(
    r"my (?P<what>[\w'-]+(?: [\w'-]+){0,2}?) (?P<does>takes|costs|lasts) (?P<much>.*\d.*)",
    re.IGNORECASE,
)
_SOMEBODY: Final = re.compile(
    r"(?P<who>(?:[Tt]he |[Oo]ur )?[A-Z\u00c0-\u00de][\w'-]*[\w](?: (?:team|office|service|[A-Z\u00c0-\u00de][\w'-]+)){0,2}|(?:[Tt]he|[Oo]ur) [\w-]+(?: (?:on|of|in) (?:the |our )?[\w-]+)?)(?: (?P<does>(?:also |now |still |currently |no longer |doesn't )*"
    r"(?:lives?|works?|uses?|likes?|loves?|hates?|prefers?|studies|teaches|speaks?|plays?|owns?|belongs|reports|drives|moved|joined|eats?|drinks?|manages?|leads?|costs?|looks|left|runs?)\b.+)|(?P<is> is .+|'s (?:an? |allergic|married|vegan|vegetarian|from ).+))"
)
_NOBODY: Final = re.compile(
    r"(?:it|this|that|he|she|they|what|who|which|everyone|nobody|people|someone|there|here|if|when|you|water|time"
    r"|life|nothing|everything|something|anyone|somebody|some|most|many|all|my|his|her|their|your|the (?:people|one|rest|first|character|hero))(?:'s)?(?: |$)",
    re.IGNORECASE,
)
_ADDRESSES: Final = re.compile(
    r"(?:send|give|ask|tell|show|make|let|get|use|call|write|keep)\b", re.IGNORECASE
)
_CALL_ME: Final = re.compile(r"(?:please )?call me (?P<name>[A-Z][\w'-]+)", re.IGNORECASE)
_RETIRED: Final = re.compile(r"retired (?:last|in|since|two|\w+ years ago).*", re.IGNORECASE)
_MOVED_FROM: Final = re.compile(r"((?:have )?(?:now |just )?)moved (?:over )?from(?= .+ to )")
_ALWAYS: Final = re.compile(
    r"(?:please )?always (?:use|write in|answer in|reply in) (?P<prefers>.+) (?:with|for|to) me(?:,.*)?",
    re.IGNORECASE,
)
_CALLED: Final = re.compile(r"(?: is|'s) (?:called|named) \w+$", re.IGNORECASE)


def parts_of(text: str, said: datetime) -> Iterator[Part]:
    """What one clause states, said at a moment, by the rules of whom it is about.

    >>> [(part.subject, part.object) for part in parts_of("Ben works at Acme", datetime(2026, 3, 2))]
    [('Ben', 'Acme')]
    """
    first = _FIRST.match(text)
    if first:
        made = list(changed(text))
        if made:
            yield from made
            return
        does = text[first.end() :]
        if text[:2].lower() == "we":
            # "We moved from Slack to Zulip" tells of tools more often than of homes.
            does = _MOVED_FROM.sub(r"\1switched from", does)
        yield from person("", does, said, third=False)
        return
    always = _ALWAYS.fullmatch(text)
    if always:
        yield Part("", "prefers", always["prefers"], "taste")
        return
    lets = _LETS.fullmatch(text)
    if lets:
        yield Part(lets["of"] or "", "uses", lets["uses"], "decision")
        return
    called = _CALL_ME.fullmatch(text)
    if called:
        yield Part("", "name", called["name"], "name")
        return
    if _RETIRED.fullmatch(text):
        yield Part("", "is", "retired", "person", timed=True, source=text)
        return
    if text[:3].lower() in ("my ", "our"):
        yield from _mine(text, said)
        return
    named = _somebody(text, said)
    if named:
        yield from named
        return
    yield from thing(text)


def _mine(text: str, said: datetime) -> Iterator[Part]:
    for pattern, value in ((_ENDS_ON, "when"), (_MINE_TAKES, "much")):
        found = pattern.fullmatch(text)
        if found:
            yield Part(f"'s {found['what']}", found["does"].lower(), found[value], "mine")
            return
    kin = _MINE.fullmatch(text)
    if kin and not _CALLED.search(text):
        name = kin["name"] if kin["name"] and kin["name"][0].isupper() else ""
        does = kin["does"] if name or not kin["name"] else f"{kin['name']} {kin['does']}"
        does = f"is {does}" if "'s a" in text[: kin.start("does") + 1] else does
        read = list(person(name or f"'s {kin['kin'].lower()}", does, said, third=True))
        yield from read
        if name and read:
            yield Part("", kin["kin"].lower(), name, "mine")
        if read:
            return
    yield from owned(text)


def _somebody(text: str, said: datetime) -> list[Part]:
    """What is said of a person or team by name."""
    if _NOBODY.match(text) or _ADDRESSES.match(text):
        return []
    found = _SOMEBODY.fullmatch(text)
    if not found:
        return []
    does = (found["does"] or found["is"]).strip()
    does = f"is{does[2:]}" if does.startswith("'s") else does
    return list(person(found["who"], does, said, third=True))
