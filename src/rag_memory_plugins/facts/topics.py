"""Whom "she", "it" and "who" mean: the last one that a message stated something of."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Topic"]

_KIN: Final = re.compile(
    r"(?P<who>(?:[Mm]y|[Oo]ur) (?:[a-z-]+ )??[a-z-]+(?: [A-Z\u00c0-\u00de][\w-]+)?) (?:is|has|works|lives|loves|likes|moved|joined|studies|speaks|turned|plays|hates|teaches|started|runs|owns|drives) "
)
_NAME: Final = re.compile(
    r"(?P<who>[A-Z\u00c0-\u00de][\w-]+(?: [A-Z\u00c0-\u00de][\w-]+)?) (?:is|has|works|lives|loves|likes|moved|joined|studies|speaks|turned|plays|hates|teaches|started|runs|owns|drives|leads|handles) "
)
_THING: Final = re.compile(
    r"(?P<who>(?:[Tt]he|[Oo]ur|[Mm]y) (?:[\w-]+ ){0,3}?[\w-]+) (?:is|has|costs?|runs|opens|closes|starts|ends|was|moved|weighs|belongs|lives|sits|changed|got)\b"
)
_PERSONAL: Final = re.compile(
    r"(?:and |but )?(?:she|he|who)(?: also| now)? (?=[a-z])", re.IGNORECASE
)
_NEUTER: Final = re.compile(r"(?:and |but )?it (?=[a-z])", re.IGNORECASE)
_PERSON_NAME: Final = re.compile(r"(?:her|his) name is (?P<who>[A-Z\u00c0-\u00de][\w-]+)")
_GIVEN: Final = re.compile(r" (?:that )?I (?:gave|told|sent|mentioned).*$", re.IGNORECASE)
_IDLE: Final = frozenset(
    "i it he she this that there we you they the what who yes no so well also but and if when".split()
)
_NOT_IT: Final = re.compile(
    r"(?:and |but )?it (?:is|was|has|seems|looks|turns|makes|takes|means|feels|would|could|should|might) "
    r"(?!(?:now|(?:the )?\d\S*|called|named|due|closed|open|down|\d|on hold|written|hosted|based|booked|set|scheduled|in the|at the)\b)",
    re.IGNORECASE,
)


class Topic:
    """The subject of the clause before: a person of one, a thing of another.

    >>> topic = Topic()
    >>> topic.bound("my sister lives in Oslo"), topic.bound("she works at Acme")
    ('my sister lives in Oslo', 'my sister works at Acme')
    """

    def __init__(self) -> None:
        self.person = ""
        self.thing = ""

    def bound(self, text: str) -> str:
        """A clause with the subject in place of its pronoun; remembers what the clause is about."""
        personal, neuter = _PERSONAL.match(text), _NEUTER.match(text)
        if personal and self.person:
            return f"{self.person} {text[personal.end() :]}"
        if neuter and self.thing and not _NOT_IT.match(text):
            return f"{self.thing} {text[neuter.end() :]}"
        if not (personal or neuter):
            self._note(text)
        return text

    def _note(self, text: str) -> None:
        named = _PERSON_NAME.match(text) or _NAME.match(text) or _KIN.match(text)
        thing = _THING.match(text)
        if named and named["who"].split(" ")[0].lower() not in _IDLE:
            self.person = named["who"]
        if thing:
            # "The address I gave you is wrong": what was given is the address.
            self.thing = _GIVEN.sub("", thing["who"])
