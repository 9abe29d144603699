"""Statements whose verb no rule knows: in the present tense a verb tells what somebody does for long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.forms import third_of
from rag_memory_plugins.facts.parts import Part

__all__ = ["general", "is_open_verb"]

_FLEETING: Final = frozenset(
    """are is isn aren open close press run build install compile execute save upload download restart
    try choose hit click scroll log sign select paste copy drag think guess hope mean know believe
    suppose wonder see hear feel want need wish promise suggest
    recommend agree disagree understand remember forget doubt notice appreciate apologise apologize thank ask say
    tell swear bet mind let look seem sound find admit assume consider expect fear figure gather imagine insist
    intend realise realize recall regret reckon refuse trust wait come give put call show send add check click
    type enter stop leave quit happen retire worry miss bring may might must can could should would will shall ought dare
    cannot be am was were get got go goes make take keep start plan decide appear suspect hate love like prefer
    enjoy just only never always also still really even too not no so now then here there already quite rather
    almost nearly both all and or but if when as than that this it we you he she they i me my your the a an to of
    in on at for with from by up out off about over under after before into read stand sense count move change
    lose win beg demand deserve depend follow talk speak stay live die turn hold fall break point
    quote request require second stress propose confirm deny claim argue mention note expect rebuild finish arrive""".split()
)
_PAST: Final = frozenset(
    """felt threw found forgot caught thought heard saw said told went came gave took made knew put ran sent
    kept left lost met paid sat slept spent stood won wrote fell broke bought brought built chose drew drank
    drove ate flew grew hung hid hit hurt laid led lent let lit meant read rode rang rose sang shook shot shut
    sank spoke stole stuck swam taught tore understood woke wore became began beat bit bled blew did had was
    were dropped stopped cut cost burst split""".split()
)
_VERB: Final = re.compile(r"[a-z]{2,14}")
_NO_OBJECT: Final = "|".join(
    """it that this so how what why if when whether you your him her them me us there here up out off
    down away like and or very too well good better more less in at on with for from about into over
    back as not of all by is are was has""".split()
)
_REST: Final = re.compile(
    r"(?!\w+ly\b)"
    r"(?:(?P<prep>in|at|on|with|for|to|from|by|under|near|after|as|through|against|without) )?"
    rf"(?P<np>(?!to |(?:a lot|a bit|{_NO_OBJECT})\b)\S.*)"
)
_LONGEST: Final = 7


def is_open_verb(word: str, *, third: bool) -> bool:
    """Whether `word` may be a verb in the present tense that tells what lasts.

    >>> is_open_verb("share", third=False), is_open_verb("think", third=False)
    (True, False)
    """
    if not _VERB.fullmatch(word) or word in _FLEETING or word in _PAST:
        return False
    if third:
        return (
            word.endswith("s")
            and not word.endswith(("ss", "us", "is"))
            and word[:-1] not in _FLEETING
            and word[:-2] not in _FLEETING
        )
    return not word.endswith(("ed", "ing", "ly", "s", "n't")) or word.endswith(("ss", "eed"))


def general(subject: str, verb: str, rest: str, *, negated: bool) -> Iterator[Part]:
    """(subject, "shares", "flat with Ana") of any verb, where an object of a few words follows it.

    >>> [(part.predicate, part.object) for part in general("", "sleep", "with earplugs", negated=False)]
    [('sleeps with', 'earplugs')]
    """
    found = _REST.fullmatch(rest)
    if not found:
        return
    words = found["np"].split(", ")[0]
    if len(words.split()) > _LONGEST:
        return
    does = third_of(verb)
    yield Part(
        subject, f"{does} {found['prep']}" if found["prep"] else does, words, "general",
        negated=negated, timed=True, source=rest,
    )  # fmt: skip
