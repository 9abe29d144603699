"""Tastes that are told in a way of their own: "tea over coffee any day", "I like my coffee black"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.parts import Part

__all__ = ["taste"]

_NP: Final = r"[\w'][\w' -]{1,40}?"
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<prefers>{_NP}) (?:>+|over|before|beats?|rather than) {_NP}(?:,? (?:for me|any day|every time|always|hands down|any time|all day|for sure)\b.*)",
        rf"(?P<prefers>{_NP})(?:,? please)?,? (?:always|every time|everywhere)(?:,? please)?",
        rf"always (?:an? |the )?(?P<prefers>{_NP}),? please",
        rf"(?:give me|i'll take) (?:an? |the )?(?P<prefers>{_NP}) (?:over|before) .+ (?:any ?day|every time|any time)",
        r"i (?:much |far |really )?(?:like|love|enjoy) (?P<prefers>.+?) (?:much |way |far |a lot )?(?:better|more) than .+",
        r"i (?:really )?like my (?P<prefers>[\w-]+(?: [\w-]+)? (?:black|white|short|brief|long|hot|cold|iced|strong|weak|spicy|mild|rare|medium(?: rare)?|well done|plain|simple|sweet|unsweetened|crispy|runny|blunt|detailed|quiet))",
        r"i (?:almost )?(?:always|usually|generally|only ever|only|tend to|normally) (?:stay (?:in|at)|fly(?: with)?|order|pick|choose|go for|opt for|book|buy|travel by|sit in|ask for)(?: the| an?)? (?P<prefers>.+)",
        r"i (?:can't|cannot|couldn't) (?:live|function|do) without (?P<likes>.+)",
        r"i can(?:'t|not) get enough of (?P<likes>.+)",
        r"i have (?:got )?(?:an? )?(?:real |big )?(?:soft spot|weakness|thing|passion) for (?P<likes>.+)",
        r"i have (?:got )?(?:an? )?(?P<has>sweet tooth)",
        r"i (?:do not|don't) (?:really |much )?care (?:much )?for (?P<dislikes>.+)",
        r"i am not (?:really |too |very |that |so |much )*(?:into|big on|keen on|fond of|crazy about|wild about|a fan of|a big fan of|one for) (?P<dislikes>.+)",
        r"(?P<dislikes>(?!it|that|this|he|she|they|you)[\w' -]{3,40}?) (?:is not|isn't|are not|aren't|has never been|have never been) (?:really )?(?:my thing|my cup of tea|for me|my style|my favou?rite)",
        r"(?P<dislikes>(?!it|that|this|he|she|they|you)[\w' -]{3,40}?) (?:drives?|drive) me (?:mad|crazy|nuts|up the wall|insane)",
        r"(?P<dislikes>(?!it|that|this|he|she|they|you)[\w' -]{3,40}?) (?:gets?|get) on my nerves",
        r"(?P<likes>(?!it|that|this|he|she|they|you)[\w' -]{3,40}?) (?:is|are) (?:right )?(?:up my street|my thing|my jam|my passion|my guilty pleasure)",
        r"(?P<dislikes>(?!it|that|this|he|she|they|you)[\w' -]{3,40}?) tastes? like soap(?: to me)?",
    )
)  # fmt: skip
_CUE: Final = re.compile(
    r"[>]|\b(?:over|before|beats?|rather|always|every|everywhere|please|than|like my|usually|generally|only|tend|normally|without|enough"
    r"|for|sweet tooth|not|isn't|aren't|never been|drives? me|nerves|my|up my|soap)\b",
    re.IGNORECASE,
)
_NO_TASTE: Final = re.compile(
    r"(?:i|we|it|you|he|she|they|this|that|there|if|when|not|yes|no|please|thanks|people|everyone|nobody|which|what|who|and|but|so|give|i'll|let|send|take|put|get|use|write|tell|show|not)\b",
    re.IGNORECASE,
)


def taste(text: str) -> Iterator[Part]:
    """What the speaker likes, dislikes or prefers, where no plain verb of taste says so.

    >>> [(part.predicate, part.object) for part in taste("I like my coffee black")]
    [('prefers', 'coffee black')]
    """
    if not _CUE.search(text):
        return
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if not found:
            continue
        told = {name: words for name, words in found.groupdict().items() if words}
        if not any(_NO_TASTE.match(words) for words in told.values()):
            for predicate, words in told.items():
                yield Part("", predicate, words, "taste")
            return
