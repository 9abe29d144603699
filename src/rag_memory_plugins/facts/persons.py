"""What somebody says of themselves, or of a person or team by name: "I live in Porto"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from rag_memory_plugins.facts.being import being
from rag_memory_plugins.facts.doing import doing, planned
from rag_memory_plugins.facts.forms import singular_of, third_of
from rag_memory_plugins.facts.general import general, is_open_verb
from rag_memory_plugins.facts.parts import Part
from rag_memory_plugins.facts.verbs import phrase_of

__all__ = ["person"]

_AND: Final = re.compile(r", | and (?=still |also |now |currently |[a-z]+s |have |has |am |is )")
_FIRST_VERB: Final = re.compile(
    r"(?:(?:also|just|still|always|usually|mostly|mainly|generally|often|normally|currently|now|both|regularly) )*(?P<no>(?:don't|do not|doesn't|does not|never|no longer) )?(?:really |even )?(?P<verb>[a-z]+) (?=\S)"
)
_GOING_TO: Final = re.compile(
    r"(?:am|are) going to (?!be |have |get |need |kill |explode |lose |regret |go |give |eat |lie |puke |throw |freak |assume |guess |start |test |run the |pass |hang |write (?:you|a quick))[a-z]+ \S+ \S"
)


def person(
    subject: str, predicate: str, said: datetime, *, third: bool, dated: bool = False
) -> Iterator[Part]:
    """What a clause states of a person: `predicate` is all behind the subject, "" is the speaker.

    >>> said = datetime(2026, 3, 2)
    >>> [(part.predicate, part.object) for part in person("", "no longer work at Acme", said, third=False)]
    [('works at', 'Acme')]
    """
    phrase = phrase_of(predicate, third=third)
    if phrase is None:
        yield from _open(subject, predicate, third=third)
        return
    if phrase.tense == "will" and not third and not phrase.negated and _GOING_TO.match(predicate):
        made = list(doing(subject, phrase, said, third=third, dated=dated))
        yield from made or planned(subject, phrase)
        return
    for rest in dict.fromkeys((phrase.rest, *(_AND.split(phrase.rest, maxsplit=1)[:1]))):
        each = replace(phrase, rest=rest)
        if phrase.verb == "be":
            made = list(being(subject, each, said, third=third))
        else:
            made = list(doing(subject, each, said, third=third, dated=dated))
        if made:
            yield from made
            return
    if phrase.tense == "now" and phrase.verb not in ("be", "have", "do"):
        verb = phrase.verb
        if is_open_verb(third_of(verb) if third else verb, third=third):
            yield from general(subject, verb, phrase.rest, negated=phrase.negated)


def _open(subject: str, predicate: str, *, third: bool) -> Iterator[Part]:
    """Of a verb that is in no list, in the present tense."""
    found = _FIRST_VERB.match(predicate)
    if not found or not is_open_verb(found["verb"], third=third and not found["no"]):
        return
    verb = found["verb"] if not third or found["no"] else singular_of(found["verb"])
    yield from general(subject, verb, predicate[found.end() :], negated=bool(found["no"]))
