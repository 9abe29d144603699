"""Statements of things with a verb of their own: what was moved, costs, starts, is booked, runs on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from rag_memory_plugins.facts.attributes import attribute, measured, possessed
from rag_memory_plugins.facts.objects import is_value, trimmed
from rag_memory_plugins.facts.parts import Part

__all__ = ["shaped"]


class _Shape(NamedTuple):
    """A group's name is the predicate ("due_date"); "is" is read as of a copula, "in_" is generic."""

    family: str
    pattern: re.Pattern[str]


_AUX: Final = r"(?:has been |have been |has |have |was |were |is |are |got |is being |will be |is going to be )?(?:now |just |all |already |finally |currently |still |both )*"
_VALUE: Final = r"(?:from .+? )?(?:up to |to |until |till )"
_BUILT: Final = (
    r"written|built|hosted|stored|based|managed|owned|run|led|maintained|located|deployed|kept|held|funded|designed"
    r"|powered|insured|registered|backed|parked|published|printed|made|named|supplied|sponsored|organi[sz]ed|chaired"
    r"|headed|coached|taught|cleaned|delivered|hosted|supported|produced|developed|created|monitored|covered|sold|buried|installed|handled"
)
_LEADS: Final = r"leads|heads|runs|manages|handles|maintains|covers|chairs|coordinates|oversees|looks after|coaches|directs|moderates|organi[sz]es|supervises|edits|hosts|teaches|represents|sponsors|supplies"
_WHO: Final = r"(?P<subj>(?:the |our )?[A-Z\u00c0-\u00de][\w'.-]*(?: [A-Z\u00c0-\u00de][\w'.-]*){0,2}(?: team)?)"
_CLOCK: Final = (
    r"(?:\d{1,2}(?:[:.]\d\d)?(?: ?[ap]\.?m\.?)?|noon|midnight|half (?:past )?\w+|(?:a )?quarter (?:past|to) \w+"
    r"|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?: o'clock)?)(?: (?:sharp|on \w+|every \w+|in the \w+))?"
)
_WEEKDAYS: Final = (
    r"(?i:(?:(?:every|each|alternate|the first|the last) (?:other |second )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:mon|tues|wednes|thurs|fri|satur|sun)days|weekdays|weekends)"
    r"(?:(?: and |, |, and )(?:mon|tues|wednes|thurs|fri|satur|sun)days?)*)"
)
_TABLE: Final = (
    ("change", rf"(?P<subj>.+?) {_AUX}(?:moved|rescheduled|postponed|pushed|delayed|brought forward|shifted|slipped|put back)(?: back| out| forward)? {_VALUE}(?P<date>.+)"),
    ("change", rf"(?P<subj>.+?) {_AUX}(?:changed|went|gone|rose|risen|dropped|increased|decreased|raised|cut|lowered|grew|grown|fell|fallen|climbed|jumped|shrank|shrunk|reduced|extended|shortened|expanded|bumped|doubled|updated|upgraded|switched)(?: up| down)? {_VALUE}(?P<is>.+)"),
    ("plan", rf"(?P<subj>.+?) {_AUX}(?:re)?(?:booked(?: in)?|set|scheduled|planned|slated|fixed|confirmed|pencilled in|arranged|down) (?:for|on) (?P<date>.+)"),
    ("value", r"(?P<subj>.+?) (?:is|are) (?:now |already )?due (?:on |by |in |at |back on )?(?:the )?(?P<due_date>.+)"),
    ("plan", r"(?P<subj>.+?) (?:now |officially )?(?:is |are |will |will be )?(?:starts?|begins?|kicks? off|starting|beginning|kicking off)(?: on| at| in| from)? (?P<starts>.+)"),
    ("plan", r"(?P<subj>.+?) (?:now |officially )?(?:is |are |will |will be )?(?:ends?|finish(?:es)?|wraps? up|ending|finishing)(?: on| at| in)? (?P<ends>.+)"),
    ("value", r"(?P<subj>.+?) (?:now |only )?opens at (?P<opens_at>.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?(?:closes|shuts) at (?P<closes_at>.+)"),
    ("value", r"(?P<subj>.+?) (?:expires|runs out|lapses)(?: on| in)? (?P<expires_on>.+)"),
    ("value", rf"(?P<subj>.+?) (?:now |always |usually )?(?:happens?|takes? place|meets?|runs?|goes out|is held|are held|is|are) (?:now )?(?:on )?(?P<day>{_WEEKDAYS})"),
    ("value", rf"(?P<subj>.+?) (?:now |always |usually )?(?:happens?|takes? place|meets?|runs?|is held|is|are) (?:now )?at (?P<time>{_CLOCK})"),
    ("value", r"(?P<subj>.+?) (?:now )?(?:takes? place|meets?|is held|will be held|is going to be held) (?:in|at) (?P<location>.+)"),
    ("value", r"(?P<subj>.+?) (?:now |only |still |just )?(?:costs?|cost (?:me|us)|costs? (?:me|us)|is priced at|goes for|sells for) (?:me |us )?(?P<cost>.+)"),
    ("value", r"(?P<subj>.+?) weighs (?P<weight>.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?seats (?P<seats>.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?holds (?P<holds>(?:about |up to )?\d.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?measures (?P<size>.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?(?:has|have) (?P<has>(?:about |around |over |only )?(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) (?!of\b|to\b|more\b|years\b|hours\b|minutes\b|days\b|left\b).+)"),
    ("general", r"(?P<subj>(?:[Tt]he|[Oo]ur|[Mm]y) .+?) (?:now )?(?:has|have) (?P<has>(?:an? |no )(?!.*\b(?:problem|issue|question|point|flaw|bug|typo|chance|lot|few|bit|look|idea|reason|way|new (?:link|version))\b)(?:[\w'-]+ ){0,4}[\w'-]+)"),
    ("value", r"(?P<subj>.+?) (?:is|are) (?:now |currently )?(?P<verb>worth) (?P<in_>.*\d.*)"),
    ("value", r"(?P<subj>.+?) (?P<verb>(?:leaves?|departs?|arrives?|lands?|comes?(?: out)?|boards?|takes? off|gets? in|closes?|opens?) (?:on|at|by)) (?P<at_>.+)"),
    ("value", r"(?P<subj>.+?) (?P<verb>(?:runs?|lasts?|is valid|is open|are open|are valid|is available) (?:until|till|through)) (?P<at_>.+)"),
    ("value", r"(?P<subj>(?:[Tt]he|[Oo]ur|[Mm]y) .+?) (?P<verb>(?:stays|remains)(?: in| at| on)?) (?P<in_>(?!the same|unclear|unknown|to be|a )[\w-]+(?: [\w-]+){0,2})"),
    ("value", r"(?P<subj>.+?) (?:is|are) (?:now )?assigned to (?P<assignee>.+)"),
    ("value", r"(?P<subj>.+?) (?:is|are|has been|was|will be) (?:now |going to be )?(?:re)?(?:named|called|titled|rebranded as|renamed) (?:to )?(?P<name>.+)"),
    ("value", rf"(?P<subj>.+?) (?:is|are) (?:now |fully |partly |mostly |mainly |currently |also |both )*(?P<verb>(?:{_BUILT}) (?:in|on|by|with|at|from|to|after|under|behind|for|of)) (?P<in_>.+)"),
    ("value", r"(?P<subj>.+?) (?:now |all |mostly |both |already |also )*(?:runs?|is running|are running) on (?P<runs_on>.+)"),
    ("value", r"(?P<subj>.+?) (?:now |all |still )*(?:depends?|relies|rely) (?:heavily )?on (?P<depends_on>.+)"),
    ("value", r"(?P<subj>.+?) (?:now |all )*(?:lives?|sits?|resides?|is stored|are stored|is kept|are kept) (?=in|on|at|under)(?:in|on|at)? ?(?:the )?(?P<location>.+)"),
    ("value", r"(?P<subj>.+?) (?:now )?(?:belongs?) to (?P<belongs_to>.+)"),
    ("value", rf"{_WHO} (?:now |currently |also |still )*(?P<verb>{_LEADS}) (?P<in_>(?:the|our|all|both|[A-Z]).+)"),
    ("value", rf"{_WHO} (?:now |currently |also )*owns (?:the|our) (?P<owned>[a-z].+)"),
    ("value", r"(?P<subj>.+?) (?:took over|takes over|is taking over|has taken over|replaced \S+|replaces \S+) (?:from \S+ )?as (?:the |our )?(?P<role>.+)"),
    ("status", r"(?:.+ )?(?:has|have) (?P<status>approved|rejected|cancell?ed|postponed|signed|merged|shipped|launched|released|closed|accepted|finished|completed|deployed|archived|paused|deprecated|fixed|resolved) (?P<subj>(?:the|our) .+)"),
    ("status", r"(?P<subj>.+?) (?:has |have )?(?P<status>closed(?: down)?|opened|shipped|launched|failed|passed|expired|crashed|went live|gone live|shut down|gone bankrupt|finished|reopened)(?: (?:in|on|last|yesterday|today|this)\b.*)?"),
    ("status", r"(?P<subj>.+?) (?P<status>reopens|opens|closes|goes live|launches|ships) (?:in|on|next|tomorrow|this)\b.*"),
    ("value", r"(?:the |our |my )?(?P<subj>deadline|budget|limit|price|password|target|due date|launch|release) (?:has |was |is )?(?:now )?(?:set (?:to|at|for)) (?P<is>.+)"),
)  # fmt: skip
_SHAPES: Final = tuple(_Shape(family, re.compile(pattern)) for family, pattern in _TABLE)
_VERBAL: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|will|not|never|being|to(?! [A-Z])|who|that|which|has|have|had|did|does|do|just|always|usually|only|can|n't)\b|n't\b|'s$|,"
)
_SOON: Final = {"reopens": "open", "opens": "open", "closes": "closed", "goes live": "live",
                "launches": "launched", "ships": "shipped", "reopened": "open", "went live": "live", "gone live": "live"}  # fmt: skip
_NO_COST: Final = re.compile(r"(?:an arm|a (?:lot|fortune|bomb)|too|nothing|more|less|the earth)\b")
_LOOSE: Final = frozenset(("in_", "owned", "runs_on", "depends_on", "location", "belongs_to", "assignee", "role", "day", "status", "has"))  # fmt: skip
_PLACE: Final = re.compile(
    r"(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|Q[1-4]|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b)[A-Z\u00c0-\u00de][^\d]*"
)
_TIMED_TAIL: Final = re.compile(
    r"(?P<date>.+?),? (?:at (?=\d)|(?=\d{1,2}(?:[:.]\d\d)? ?[ap]m\b)).*", re.IGNORECASE
)


def shaped(text: str) -> Iterator[Part]:
    """What a clause states of a thing by a verb of its own.

    >>> [(part.subject, part.predicate, part.object) for part in shaped("the trip is booked for 3 May")]
    [('trip', 'date', '3 May')]
    """
    for family, pattern in _SHAPES:
        found = pattern.fullmatch(text)
        if not found or _VERBAL.search(found["subj"]) or len(found["subj"].split()) > 8:
            continue
        made = list(_read(found, family))
        if made:
            yield from made
            return


def _read(found: re.Match[str], family: str) -> Iterator[Part]:
    """A claim of a pattern whose groups are named as the predicates are."""
    groups = {name: words for name, words in found.groupdict().items() if words}
    subject, verb = groups.pop("subj"), groups.pop("verb", "")
    for name, words in groups.items():
        value = trimmed(words)
        if name not in _LOOSE and not (value and is_value(value) and not _NO_COST.match(words)):
            return
        if name == "role":
            yield from attribute(words, trimmed(subject), family, negated=False)
        elif name == "date" and family == "change" and _PLACE.fullmatch(value):
            yield Part(_whole(subject), "location", words, family)
        elif name == "is" or (name == "date" and family == "change"):
            yield from attribute(subject, words.removeprefix("the "), family, negated=False)
        elif name == "owned":
            yield Part(words, "owner", subject, family)
        elif name == "status":
            state = _SOON.get(words, words)
            yield Part(_whole(subject), name, state, family, timed=True, ahead=words in _SOON and words[-1] == "s", source=found.string)  # fmt: skip
        else:
            yield from _stated(subject, verb or name.replace("_", " "), words)


def _stated(subject: str, predicate: str, words: str) -> Iterator[Part]:
    if predicate == "date":
        timed = _TIMED_TAIL.fullmatch(words)
        words = timed["date"] if timed else words
        if re.fullmatch(_CLOCK, words, re.IGNORECASE):
            predicate = "time"
    if predicate in ("cost", "weight", "size", "seats"):
        words = measured(words)[0]
    if re.match(rf"(?:{_BUILT}|worth)\b", predicate):
        predicate = f"is {predicate}"
    family = "general" if predicate == "has" else "value"
    yield Part(_whole(subject), predicate, words, family)


def _whole(subject: str) -> str:
    """A subject as a claim has it: "my lease" is the speaker's lease."""
    if subject.lower().startswith("my "):
        whose, what = possessed(subject)
        return f"{whose}'s {what}" if whose else f"'s {what}"
    return re.sub(r"^(?:the|our|The|Our) ", "", subject)
