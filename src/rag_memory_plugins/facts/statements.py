"""Whom a clause is about: the speaker, somebody or something of theirs, somebody by name, a thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rag_memory_plugins.facts.conditions import trade_of
from rag_memory_plugins.facts.forms import third_of
from rag_memory_plugins.facts.owning import is_idle, owned
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.persons import person
from rag_memory_plugins.facts.shapes import shaped
from rag_memory_plugins.facts.tastes import taste
from rag_memory_plugins.facts.things import changed, thing

__all__ = ["parts_of"]

_FIRST: Final = re.compile(r"(?:i|we) (?=\S)", re.IGNORECASE)
_LETS: Final = re.compile(
    r"let's (?:go with|use|settle on|stick with|pick) (?P<uses>.+?)(?: (?:(?P<as>as)|for) (?P<of>(?:the|our) .+|\w+))?",
    re.IGNORECASE,
)
_RELATIVE: Final = (
    "sisters?|brothers?|mother|father|mum|mom|dad|wife|husband|partner|girlfriend|boyfriend|sons?|daughters?|aunts?|uncles?"
    "|cousins?|nieces?|nephews?|grandmother|grandfather|grandma|grandpa|gran|nan|grandparents|parents|kids|children|flatmates?|roommates?|housemates?|neighbours?|neighbors?"
    "|boss|colleagues?|coworkers?|friends?|best friend|manager|fianc[e\u00e9]e?|dogs?|cats?|landlord|landlady|teacher|twins?|ex|ex-wife|ex-husband|in-laws|mother-in-law|father-in-law"
    "|sister-in-law|brother-in-law|stepson|stepdaughter|stepfather|stepmother|godson|goddaughter|grandson|granddaughter|baby|toddler|assistant|doctor|therapist|dentist|accountant|lawyer|coach|nanny|puppy|horse|parrot|rabbit|eldest|youngest|oldest|middle one|other half|family|team|company|firm|employer|tenants?|lodger|godfather|godmother|stepdad|stepmum|half-brother|half-sister|bestie|pal|mate|supervisor|tutor|trainer|vet|mechanic|hairdresser|barber|gp|physio"
)
_MINE: Final = re.compile(
    rf"(?P<whose>[Mm]y|[Oo]ur) (?:(?P<which>older|younger|big|little|elder|twin|youngest|oldest|eldest|middle|late|new) )?(?P<kin>{_RELATIVE})(?:,? (?P<name>[A-Z\u00c0-\u00de][\w'-]+?),?)? (?P<does>(?!of |for |in |on |at |from |with )[a-z].*)",
)
_TELLING: Final = frozenset(
    ("older", "younger", "elder", "twin", "youngest", "oldest", "eldest", "middle")
)
_PLURAL: Final = re.compile(
    r"(?P<verb>are|have|live|work|speak|own|love|like|hate|prefer|eat|drink|play|run|study|drive|come|teach|go|attend|collect|keep|want|need|start)(?= )"
)
_OWNING: Final = re.compile(
    r"(?:my|our) (?:[\w'-]+ ){1,5}(?:is|are) (?:now |currently )?(?:called|named|not|no longer)\b",
    re.IGNORECASE,
)
_MY_ROLE: Final = re.compile(
    r"(?P<who>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[A-Z\u00c0-\u00de][\w'-]*(?: [A-Z\u00c0-\u00de][\w'.-]*){0,2}) is my (?:new )?(?P<what>(?!favou?rite)[a-z-]+(?: [a-z-]+){0,2})(?:,.*| now| these days)?|(?P<who2>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[A-Z\u00c0-\u00de][\w'-]*(?: [A-Z\u00c0-\u00de][\w'.-]*){0,2}) is our (?:new )?(?P<what2>(?:family )?(?:"
    + _RELATIVE
    + "))(?:,.*| now| these days)?"
)
_OWNS_TASK: Final = re.compile(
    r" owns (?:the|our) (?:[\w-]+ ){0,3}?(?:process|checklist|docs?|documentation|roadmap|backlog|pipeline|service|module|component|rota|schedule|budget|relationship|account|dashboard|repo|api|release|migration|onboarding|calendar|project|feature|channel|list|plan|page|library)\b",
    re.IGNORECASE,
)
_NO_ROLE: Final = frozenset(
    "thing jam hero life favourite favorite guess problem fault least best worst idea cup rock world".split()
)
_OUR_ROLE: Final = re.compile(
    r"(?P<who>[A-Z][\w'-]+(?: [A-Z][\w'-]+)?) is our (?:new )?(?P<what>(?:head|director|vp|chief|manager|lead) of .+)"
)
_LETS_MAKE: Final = re.compile(
    r"let's make (?P<who>[A-Z][\w'-]+) (?:the|our) (?P<what>.+)", re.IGNORECASE
)
_FORM: Final = (
    r"(?:answers|replies|responses|emails|messages|summaries|explanations|updates|meetings)"
)
_ASKED: Final = re.compile(
    rf"(?:please )?(?:always )?(?:keep|make) (?:your |the |my |all )?(?P<what>{_FORM}) (?P<how>short|brief|concise|simple|formal|informal|plain|long|detailed|to the point)(?: please)?(?:,.*)?"
    r"|(?:please )?(?:always )?(?:use|stick to|write in|answer in|reply in) (?P<style>[\w' -]{3,40}?) (?:when(?:ever)? you .+|with me|for me|from now on|in (?:your|all) .+|at all times)"
    r"|(?P<only>[\w' -]{3,30}?) only,? please(?:,.*)?",
    re.IGNORECASE,
)
_ABOUT: Final = re.compile(
    r"(?P<what>(?:my|our) (?:[\w'-]+ ){0,5}?[\w'-]+) (?:is|are|was|has|have|will)\b", re.IGNORECASE
)
_BARE: Final = re.compile(
    r"(?:married|single|divorced|widowed|engaged|retired|vegan|vegetarian|\d\d), ", re.IGNORECASE
)
_WHERE_I: Final = re.compile(
    r"(?P<at>[A-Z][\w'-]*(?: [A-Z][\w'-]*)*) is where (?:i|I|we) (?P<does>live|work)(?: now)?"
)
_HERE: Final = re.compile(r"(?P<trade>[A-Za-z][\w-]*(?: [\w-]+){0,2}) here(?:,.*)?")
_THE_KIN: Final = re.compile(
    r"^the (?=(?:eldest|youngest|oldest|wife|missus|husband|kids|in-laws)\b)", re.IGNORECASE
)
_BOTH: Final = re.compile(r"^(?:both|all)(?: of)? (?=(?:my|our) )", re.IGNORECASE)
_TOGETHER: Final = re.compile(
    r"(?:my [\w-]+|[A-Z][\w-]+|me) and (?:i|me) (?=\S)|(?:me|i) and (?:my [\w-]+|[A-Z][\w-]+) (?=\S)",
    re.IGNORECASE,
)
_ENDS_ON: Final = re.compile(
    r"my (?P<what>[\w'-]+(?: [\w'-]+){0,2}?) (?P<does>(?:runs out|expires|ends|starts|begins)(?: on)?) (?:in |at )?(?P<when>(?!(?:in )?\d+$).*\d.*|next .+)",
    re.IGNORECASE,
)
_MINE_TAKES: Final = re.compile(
    r"my (?P<what>[\w'-]+(?: [\w'-]+){0,2}?) (?P<does>takes|costs|lasts) (?P<much>.*\d.*)",
    re.IGNORECASE,
)
_SOMEBODY: Final = re.compile(
    r"(?P<who>(?:[Tt]he |[Oo]ur )?[A-Z\u00c0-\u00de][\w'-]*[\w](?: (?:team|office|service|[A-Z\u00c0-\u00de][\w'-]+)){0,2}|(?:[Tt]he|[Oo]ur) [\w-]+(?: (?:on|of|in) (?:the |our )?[\w-]+)?)(?: (?P<does>(?:also |now |still |currently |no longer |doesn't |has |will |is going to |recently |just |finally )*"
    r"(?:lives?|works?|hates?|dislikes?|turned|turns|keeps|handles|oversees|coaches|collects|adores|retired|graduated|married|got|started|starts|begins|becomes|became|adopted|bought|sold|relocated|been|lead|handle|manage|has|picked|picks|chose|chooses|hired|decided|joins|uses?|likes?|loves?|hates?|prefers?|studies|teaches|speaks?|plays?|owns?|belongs|reports|drives|moved|joined|eats?|drinks?|manages?|leads?|costs?|looks|left|runs?)\b.+)|(?P<is> is .+|'s (?:an? |allergic|married|vegan|vegetarian|from ).+))"
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
_HOME: Final = re.compile(r"[Hh]ome is (?:now )?(?:in )?(?P<where>[A-Z\u00c0-\u00de].+)")
_RETIRED: Final = re.compile(r"retired (?:last|in|since|two|\w+ years ago).*", re.IGNORECASE)
_MOVED_FROM: Final = re.compile(r"((?:have )?(?:now |just )?)moved (?:over )?from(?= .+ to )")
_ALWAYS: Final = re.compile(
    r"(?:please )?always (?:use|write in|answer in|reply in) (?P<prefers>.+) (?:with|for|to) me(?:,.*)?",
    re.IGNORECASE,
)
_CALLED: Final = re.compile(r"(?: is|'s) (?:called|named) \w+$", re.IGNORECASE)


def parts_of(text: str, said: datetime, *, dated: bool = False) -> Iterator[Part]:
    """What one clause states, said at a moment, by the rules of whom it is about.

    `dated`: a time stood before it.

    >>> [(part.subject, part.object) for part in parts_of("Ben works at Acme", datetime(2026, 3, 2))]
    [('Ben', 'Acme')]
    """
    text = f"I am {text}" if _BARE.match(text) else text
    # Nothing of `_known` begins with who speaks.
    told = ([] if _FIRST.match(text) else list(_known(text))) or list(taste(text))
    if told:
        yield from told
        return
    if text[:4].lower() in ("the ", "both", "all "):
        text = _THE_KIN.sub("my ", _BOTH.sub("", text))
    together = _TOGETHER.match(text)
    text = f"we {text[together.end() :]}" if together else text
    first = _FIRST.match(text)
    if first:
        yield from _ours(text, first.end(), said, dated=dated)
    elif text[:4].lower() == "our " or text[:3].lower() == "my ":
        yield from _mine(text, said)
    else:
        yield from _somebody(text, said) or thing(text)


def _ours(text: str, begin: int, said: datetime, *, dated: bool) -> Iterator[Part]:
    """What the speaker does from `begin` on."""
    made = list(changed(text))
    if made:
        yield from made
        return
    does = text[begin:]
    if text[:2].lower() == "we":
        # "We moved from Slack to Zulip" tells of tools more often than of homes.
        does = _MOVED_FROM.sub(r"\1switched from", does)
    yield from person("", does, said, third=False, dated=dated)


def _known(text: str) -> Iterator[Part]:
    """A role that somebody is given ("Ann is my dentist"), and what is asked for."""
    role = _MY_ROLE.fullmatch(text)
    what = role["what"] or role["what2"] if role else ""
    if role and what and what.split(" ")[0].lower() not in _NO_ROLE:
        yield Part("", what, role["who"] or role["who2"], "mine")
    home = _HOME.fullmatch(text)
    if home:
        yield Part("", "lives in", home["where"], "life")
    serves = _OUR_ROLE.fullmatch(text)
    if serves:
        yield Part(serves["who"], "works as", serves["what"], "others")
    made = _LETS_MAKE.fullmatch(text)
    if made:
        yield Part(made["who"], "is", made["what"], "decision")
    asked = _ASKED.fullmatch(text)
    if asked:
        form = (
            f"{asked['how']} {asked['what']}" if asked["how"] else asked["style"] or asked["only"]
        )
        yield Part("", "prefers", form, "taste")
    yield from _asked(text)
    where = _WHERE_I.fullmatch(text)
    if where:
        yield Part("", "lives in" if where["does"] == "live" else "works at", where["at"], "life")
    trade = _HERE.fullmatch(text)
    if trade and trade_of(trade["trade"].lower()) == trade["trade"].lower():
        yield Part("", "works as", trade["trade"], "person")


def _asked(text: str) -> Iterator[Part]:
    """How the speaker asks to be answered or called, what "let's use" decides, and "retired"."""
    asked = _ASKED.fullmatch(text)
    if asked:
        form = (
            f"{asked['how']} {asked['what']}" if asked["how"] else asked["style"] or asked["only"]
        )
        yield Part("", "prefers", form, "taste")
        return
    always, lets, called = _ALWAYS.fullmatch(text), _LETS.fullmatch(text), _CALL_ME.fullmatch(text)
    if always:
        yield Part("", "prefers", always["prefers"], "taste")
    elif lets:
        yield Part(lets["of"] or "", "uses", lets["uses"], "decision")
    elif called:
        yield Part("", "name", called["name"], "name")
    elif _RETIRED.fullmatch(text):
        yield Part("", "is", "retired", "person", timed=True, source=text)


def _mine(text: str, said: datetime) -> Iterator[Part]:
    for pattern, value in ((_ENDS_ON, "when"), (_MINE_TAKES, "much")):
        found = pattern.fullmatch(text)
        if found:
            yield Part(f"'s {found['what']}", found["does"].lower(), found[value], "mine")
            return
    kin = _MINE.fullmatch(text)
    if kin and not _CALLED.search(text):
        name = kin["name"] or ""
        # "my older sister" is one of several: which one belongs to the name of her.
        which = f"{kin['which']} " if kin["which"] in _TELLING else ""
        read = list(person(name or f"'s {which}{kin['kin']}", _one(kin["does"]), said, third=True))
        yield from read
        if name and read:
            yield Part("", f"{which}{kin['kin']}", name, "mine")
        if read:
            return
    made = list(owned(text) if _OWNING.match(text) else shaped(text)) or list(shaped(text))
    made = made or list(owned(text))
    about = _ABOUT.match(text)
    if made or (about and is_idle(about["what"])):
        yield from made
    else:
        yield from thing(text)


def _one(does: str) -> str:
    """A verb phrase of several as one of a single subject has it: "are both from", "live in"."""
    found = _PLURAL.match(does)
    if not found:
        return does
    verb = found["verb"]
    rest = does[found.end() :]
    return f"{ {'are': 'is', 'have': 'has'}.get(verb) or third_of(verb) }{rest}".replace(
        "is both ", "is "
    ).replace("is all ", "is ")


def _somebody(text: str, said: datetime) -> list[Part]:
    """What is said of a person or team by name."""
    if _NOBODY.match(text) or _ADDRESSES.match(text):
        return []
    found = _SOMEBODY.fullmatch(text)
    if not found or _OWNS_TASK.search(text):
        return []
    does = (found["does"] or found["is"]).strip()
    if does.startswith("has ") and found["who"].lower().startswith(("the ", "our ")):
        return []  # what a thing has is told with the other verbs of things
    does = f"is{does[2:]}" if does.startswith("'s") else does
    return list(person(found["who"], does, said, third=True))
