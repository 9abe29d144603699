"""The forms of verbs: what "ran", "coaches" and "handing" are forms of."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

__all__ = ["FORMS", "base_of", "singular_of", "third_of"]

_IRREGULAR: Final = MappingProxyType({
    "have": "had had has having", "be": "was been is being", "do": "did done does doing",
    "go": "went gone goes going", "eat": "ate eaten eats eating", "drink": "drank drunk drinks drinking",
    "speak": "spoke spoken speaks speaking", "drive": "drove driven drives driving",
    "teach": "taught taught teaches teaching", "buy": "bought bought buys buying",
    "sell": "sold sold sells selling", "leave": "left left leaves leaving",
    "quit": "quit quit quits quitting", "take": "took taken takes taking", "get": "got got gets getting",
    "run": "ran run runs running", "fly": "flew flown flies flying", "wear": "wore worn wears wearing",
    "grow": "grew grown grows growing", "choose": "chose chosen chooses choosing",
    "pay": "paid paid pays paying", "stop": "stopped stopped stops stopping",
    "give": "gave given gives giving", "study": "studied studied studies studying",
    "marry": "married married marries marrying", "travel": "traveled travelled travels travelling",
    "begin": "began begun begins beginning", "keep": "kept kept keeps keeping",
    "lead": "led led leads leading", "pick": "picked picked picks picking",
    "drop": "dropped dropped drops dropping", "meet": "met met meets meeting",
    "swim": "swam swum swims swimming", "ride": "rode ridden rides riding",
    "read": "read read reads reading", "become": "became become becomes becoming",
    "cost": "cost cost costs costing", "belong": "belonged belonged belongs belonging",
    "join": "joined joined joins joining", "visit": "visited visited visits visiting",
    "rent": "rented rented rents renting", "plan": "planned planned plans planning",
    "commit": "committed committed commits committing", "weigh": "weighed weighed weighs weighing",
    "prefer": "preferred preferred prefers preferring", "settle": "settled settled settles settling",
    "enjoy": "enjoyed enjoyed enjoys enjoying", "play": "played played plays playing",
    "own": "owned owned owns owning", "look": "looked looked looks looking",
    "opt": "opted opted opts opting", "like": "liked liked likes liking",
    "sing": "sang sung sings singing", "sleep": "slept slept sleeps sleeping",
    "wake": "woke woken wakes waking", "make": "made made makes making",
    "build": "built built builds building", "write": "wrote written writes writing",
    "sit": "sat sat sits sitting", "hold": "held held holds holding",
    "break": "broke broken breaks breaking", "split": "split split splits splitting",
    "breed": "bred bred breeds breeding", "come": "came come comes coming",
    "ship": "shipped shipped ships shipping",
    "scrap": "scrapped scrapped scraps scrapping", "stick": "stuck stuck sticks sticking",
    "sign": "signed signed signs signing", "bank": "banked banked banks banking",
    "shop": "shopped shopped shops shopping", "lend": "lent lent lends lending",
    "intern": "interned interned interns interning",
    "lose": "lost lost loses losing", "cut": "cut cut cuts cutting",
    "set": "set set sets setting",
})  # fmt: skip
_REGULAR: Final = (
    "live reside dwell work move relocate switch migrate change start love adore hate dislike detest"
    " loathe despise smoke use learn collect manage report graduate retire adopt decide agree vote"
    " renew support attend launch present postpone approve reject cancel finish volunteer practise"
    " practice code cook bake support host store deploy maintain handle oversee coach train specialise"
    " specialize depend expire last relocate hire promote employ prefer name call celebrate avoid"
    " coach head chair brew edit organise organize tutor mentor supervise direct captain found co-own"
    " raise owe earn turn serve subscribe suffer commute consult freelance lecture rely care hail"
    " attend ditch abandon rename cycle walk measure train breed follow compete convert swap register"
    " enrol enroll major bowl knit sail climb row paint repair restore tend co-found co-host need"
    " favour favor crochet foster moderate vote represent rescue end"
)
_DOUBLED: Final = re.compile(r"([bdfgkmnprtv])\1$")
_SHORT_STEM: Final = re.compile(
    r"[^aeiou]*[aeiou][bcdgkmnprstvz]|.*(?:[vcuz]|at|is|iz|dg|[^aeiou]l|ng)"
)
_KEEPS: Final = frozenset(
    "bring sing hang ring swing cling sling sting visit edit audit eat meet treat".split()
)


def third_of(verb: str) -> str:
    """What he or she does: "coaches" of "coach".

    >>> third_of("carry"), third_of("play")
    ('carries', 'plays')
    """
    if verb.endswith(("ch", "sh", "x", "o", "ss")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2] not in "aeou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"


def base_of(going: str) -> str:
    """The verb of which "going" is a form, by how English spells it.

    >>> base_of("handing"), base_of("running"), base_of("baking")
    ('hand', 'run', 'bake')
    """
    stem = going.removesuffix("ing")
    if stem in _KEEPS or len(stem) < 2:
        return stem
    if _DOUBLED.search(stem):
        return stem[:-1]
    return f"{stem}e" if _SHORT_STEM.fullmatch(stem) else stem


def singular_of(does: str) -> str:
    """The verb of which he or she "does" is a form: "carry" of "carries".

    >>> singular_of("carries"), singular_of("coaches"), singular_of("shares")
    ('carry', 'coach', 'share')
    """
    if does.endswith("ies"):
        return f"{does[:-3]}y"
    return does[:-2] if does.endswith(("ches", "shes", "xes", "oes", "sses")) else does[:-1]


def _forms() -> dict[str, tuple[str, str]]:
    """Every form of a verb with its base form and tenses: b base, s he/she/it, t past, p participle, g -ing."""
    forms: dict[str, list[str]] = {}
    table: dict[str, tuple[str, str]] = {}
    for verb in _REGULAR.split():
        stem = verb.removesuffix("e")
        third = third_of(verb)
        past = f"{stem}ed" if not verb.endswith("y") or verb[-2] in "ao" else f"{verb[:-1]}ied"
        forms[verb] = [past, past, third, f"{stem}ing"]
    forms |= {verb: words.split() for verb, words in _IRREGULAR.items()}
    for verb, (past, done, third, going) in forms.items():
        for word, tense in ((verb, "b"), (past, "t"), (done, "p"), (third, "s"), (going, "g")):
            known = table.get(word, (verb, ""))
            table[word] = (known[0], known[1] + tense) if known[0] == verb else known
    return table | {"cancelled": ("cancel", "tp"), "traveling": ("travel", "g")}


FORMS: Final = MappingProxyType(_forms())
"""Of each form its verb, and its tenses: b base, s he/she/it, t past, p participle, g -ing."""
