"""The words of a claim's subject or object, cut to what they name; what names nothing is refused."""

from __future__ import annotations

import re
from typing import Final

from rag_memory_plugins.facts.quoting import HIDDEN
from rag_memory_plugins.facts.trailing import shortened

__all__ = ["LONGEST", "is_value", "listed", "trimmed"]

LONGEST: Final = 200
"""Characters of the longest object."""

_CLAUSE: Final = re.compile(
    r",? (?:because|although|though|whereas|while|when|whenever|since|as long as|which|who|so that|so (?:i|we|the|my)"
    r"|even though|until|except|thanks to|due to|given|depending|and (?:i|we|it|he|she|they|that|so|then|not|the)"
    r"|but|instead of|for (?:\w+ ){1,3}(?:years|months|weeks|days)|for (?:ages|years|a while))\b",
    re.IGNORECASE,
)
_AROUND: Final = re.compile(r",? (?:after|before)\b", re.IGNORECASE)
_COMMA: Final = re.compile(r",\s")
_ARTICLE: Final = re.compile(r"^(?:an?|the|our) (?=\S)", re.IGNORECASE)
_EMPTY: Final = re.compile(
    r"(?:it|this|that|these|those|them|him|her|you|your|yours|how|what|where|why|everything|nothing"
    r"|something|anything|someone|anyone|ones|so|too|very(?! [a-z]+ [a-z])|to be|being able|both|either|neither|all"
    r"|the (?:idea|look|sound|first|second|third|one|ones|other|same|latter|former|rest|news)|not|no|here"
    r"|there|myself|ourselves|me|us|as|if|like|of|for|with|than|before|after|during|until|talking|hearing|seeing|(?:doing|eating|using|having) (?:it|this|that|so|them))\b",
    re.IGNORECASE,
)
_EDGE: Final = ' \t,.!;:-\u2014*_~"()[]'
_PLACE: Final = re.compile(r"[A-Z][\w.' -]{1,30}, [A-Z][\w.' -]{1,30}$")
_AND: Final = re.compile(r",? (?:and|plus|as well as) |, | & ")
_BIT: Final = re.compile(
    r"^(?:also |now )?(?:an? (?:bit|little|smattering) (?:of )?|fluent |basic |conversational |decent |broken )(?=[A-Za-z])"
)
_WORDS_OF_ONE: Final = 4
_NAME: Final = re.compile(
    r"[A-Z\u00c0-\u00de][\w.&'/+-]*(?: (?:of|de|the|von|van|and|&|[A-Z0-9\u00c0-\u00de][\w.&'/+-]*)){0,5}"
)
_COUNT: Final = re.compile(
    r"(?:about |around |only |half past )?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|eighty|ninety)"
    r"(?:-\w+)?(?: (?:hundred|thousand|million|o'clock))*(?: (?!of\b|to\b|more\b|and\b)[\w-]+(?: and (?:an? )?[\w -]+)?){0,3}",
    re.IGNORECASE,
)
_LISTED_AS_VALUE: Final = re.compile(
    r"(?:(?:on|at|in) )?(?:mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|tomorrow"
    r"|noon|midnight|next \w+|january|february|march|april|june|july|august|september|october|november"
    r"|december|euros?|dollars?|postponed|monthly|weekly|daily)\b.*"
    r"|(?:(?:dark|light|bright|pale|navy|olive) )?(?:red|blue|green|black|white|grey|gray|purple|orange|yellow|pink|brown|teal|beige|navy|turquoise)(?: and \w+)?",
    re.IGNORECASE,
)


def trimmed(text: str, *, commas: bool = False, habit: bool = True) -> str:
    """What `text` names, without article, by-clauses and words of time; "" if it names nothing.

    `commas`: a list keeps its commas. `habit`: how often is no part of it.

    >>> trimmed("the port authority there, because it pays")
    'port authority'
    >>> trimmed("it very much")
    ''
    """
    text = text.strip(_EDGE)
    clause = _CLAUSE.search(text)
    if clause:
        text = text[: clause.start()]
    around = _AROUND.search(text) if habit else None
    if around:
        text = text[: around.start()]
    comma = _COMMA.search(text)
    if comma and not commas and not _PLACE.match(text):
        text = text[: comma.start()]
    text = shortened(text, habit=habit).strip(_EDGE)
    if not text or len(text) > LONGEST or HIDDEN in text or _EMPTY.match(text):
        return ""
    if not text[:4].istitle() or not text.startswith("The "):
        text = _ARTICLE.sub("", text, count=1)
    return text if any(sign.isalnum() for sign in text) and not _EMPTY.match(text) else ""


def listed(text: str, *, habit: bool = True) -> list[str]:
    """The items of "a, b and c", each trimmed; one item where the parts are no words of a list.

    >>> listed("fish and chicken"), listed("walks along the cold sea and tea")
    (['fish', 'chicken'], ['walks along the cold sea and tea'])
    """
    whole = trimmed(text, commas=True, habit=habit)
    parts = [part for part in _AND.split(whole) if part]
    if (
        len(parts) > 1
        and re.search(r" and | & | plus | as well as ", whole)
        and all(len(part.split()) <= _WORDS_OF_ONE for part in parts[:-1])
    ):
        items = [_item(_BIT.sub("", part), habit=habit) for part in parts]
        if all(items) and len(items[-1].split()) <= _WORDS_OF_ONE + 1:
            return items
    one = trimmed(text, habit=habit)
    return [one] if one else []


def _item(text: str, *, habit: bool) -> str:
    """An item of a list; "no cellar" is one too."""
    if text.startswith("no "):
        rest = trimmed(text[3:], habit=habit)
        return f"no {rest}" if rest else ""
    return trimmed(text, habit=habit)


def is_value(text: str) -> bool:
    """Whether `text` is a name, a number, a date or an identifier: what a thing can be.

    >>> is_value("$5,000"), is_value("Friday"), is_value("too loud")
    (True, True, False)
    """
    if any(sign.isdigit() for sign in text) or _NAME.fullmatch(text):
        return True
    return bool(
        _LISTED_AS_VALUE.fullmatch(text)
        or _COUNT.fullmatch(text)
        or re.fullmatch(r"\S*[/@_.:#-]\S*\w", text)
    )
