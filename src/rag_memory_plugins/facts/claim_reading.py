"""Claims out of what a model wrote, each checked against the message that it is said to rest on."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.ports.facts import Claim
from rag_memory_plugins.router.guards import read
from rag_memory_plugins.router.wording import KEYS
from rag_memory_plugins.types import Message

__all__ = ["ClaimsRead", "claims_of", "entries_of"]

LONGEST: Final = 200
"""Characters of a subject, a predicate or an object."""
MOST: Final = 20
"""Claims of one message; a longer list is one that ran away."""
UNSTATED: Final = 0.8
"""The confidence of a claim without one."""
ME: Final = frozenset({"i", "me", "myself", "we", "us", "user", "the user", "speaker"})
_SPAN: Final = 20_000
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_WORD: Final = re.compile(r"[^\W_]+")
_DATE: Final = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2}(?:[T ].+)?)?)?")


@dataclass(frozen=True)
class ClaimsRead:
    """The claims of one message, and how many entries were no claim of it, by reason.

    >>> ClaimsRead(()).dropped
    Counter()
    """

    claims: tuple[Claim, ...]
    dropped: Counter[str] = field(default_factory=Counter)


def entries_of(value: object) -> list[Any] | None:
    """The entries of an answer, however it wraps them; None when it is no answer.

    >>> entries_of({"claims": []}), entries_of({"object": "tea"}), entries_of("none")
    ([], [{'object': 'tea'}], None)
    """
    if isinstance(value, Mapping):
        if "claims" in value:
            return entries_of(value["claims"])
        return [value] if "object" in value or "predicate" in value else None
    return list(value) if isinstance(value, list) else None


def claims_of(value: object, message: Message, text: str) -> ClaimsRead:
    """The claims among a JSON value's entries that `text`, said in `message`, bears out.

    An entry is dropped for a field of the wrong type or length, a confidence outside of 0 to 1, a
    date that is none, or a number or name that was not said. Equal ones are one.

    >>> said = Message("user", "I pay 45 for the gym", name="Ann")
    >>> entry = {"subject": "I", "predicate": "pays", "object": "45 for the gym"}
    >>> claims_of([entry, {**entry, "object": "54"}], said, said.content).dropped
    Counter({'a number that was not said': 1})
    """
    claims: dict[Claim, None] = {}
    dropped: Counter[str] = Counter()
    entries = entries_of(value) or []
    known = _Said(message, text)
    for entry in entries[:MOST]:
        try:
            claims[_claim(entry, known)] = None
        except InvalidInput as error:
            dropped[error.remedy] += 1  # without what was got: events tell no texts
    if len(entries) > MOST:
        dropped["more claims than one message makes"] = len(entries) - MOST
    return ClaimsRead(tuple(claims), dropped)


class _Said:
    """What a claim may rest on: the words and numbers of a message and its speaker."""

    def __init__(self, message: Message, text: str) -> None:
        self.speaker = " ".join((message.name or "user").split())
        self.message = message
        self.plain = _plain(text)
        self.words = frozenset(_WORD.findall(_plain(f"{text} {self.speaker}")))
        self.numbers = _numbers(f"{text}\n{self.speaker}")

    def check(self, part: str) -> None:
        """Raises `InvalidInput` for a part with a number or name that was not said."""
        verbatim = rf"(?<!\w)(?<!\d[.,]){re.escape(_plain(part))}(?!\w)(?![.,]\d)"
        if re.search(verbatim, self.plain):
            return
        if not _numbers(part) <= self.numbers:
            raise InvalidInput("claim", part, "a number that was not said")
        for word in _WORD.findall(unicodedata.normalize("NFKC", part).translate(KEYS)):
            if word != word.lower() and word.casefold() not in self.words:
                raise InvalidInput("claim", part, "a name that was not said")


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(KEYS).casefold().split())


def _numbers(text: str) -> frozenset[str]:
    """Numbers as digits, spelled ones too."""
    digits = [found.replace(",", "") for found in _NUMBER.findall(_plain(text))]
    slots = [slot for slot in read(text, _SPAN).slots if slot[0] == "#"]
    return frozenset([*digits, *(slot.strip("#+-").removesuffix("th") for slot in slots)])


def _claim(entry: object, known: _Said) -> Claim:
    if not isinstance(entry, Mapping):
        raise InvalidInput("claim", entry, "an entry that is no object")
    flags = {name: _flag(entry, name) for name in ("negated", "corrects", "many")}
    parts = {name: _part(entry, name) for name in ("subject", "predicate", "object")}
    subject = parts["subject"]
    if subject.casefold() in {*ME, known.speaker.casefold()}:
        subject = known.speaker
    if not parts["object"] and not flags["negated"]:
        raise InvalidInput("object", "", "no object")
    predicate = parts["predicate"]
    for part in (subject, predicate[0].lower() + predicate[1:], parts["object"]):
        known.check(part)
    valid_from = _moment(entry.get("valid_from"), known.message)
    valid_to = _moment(entry.get("valid_to"), known.message)
    if valid_to is not None and valid_from is not None and valid_to <= valid_from:
        raise InvalidInput("valid_to", valid_to, "dates in the wrong order")
    return Claim(
        subject,
        predicate.casefold(),
        parts["object"],
        _confidence(entry.get("confidence", UNSTATED)),
        valid_from,
        valid_to,
        **flags,
    )


def _part(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name, "")
    if value is None and name == "object":
        value = ""
    if not isinstance(value, str):
        raise InvalidInput(name, value, "a field of the wrong type")
    value = " ".join(value.split())
    if len(value) > LONGEST or (not value and name != "object"):
        raise InvalidInput(name, value, "a field of the wrong length")
    return value


def _flag(entry: Mapping[str, object], name: str) -> bool:
    value = entry.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(name, value, "a field of the wrong type")
    return bool(value)


def _confidence(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput("confidence", value, "a field of the wrong type")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise InvalidInput("confidence", value, "a confidence outside of 0 to 1")
    return float(value)


def _moment(value: object, message: Message) -> datetime | None:
    """A date or time in ISO form; without a zone in the message's own."""
    if value in (None, ""):
        return None
    if not isinstance(value, str) or _DATE.fullmatch(value.strip()) is None:
        raise InvalidInput("date", value, "a date that is none")
    text = value.strip()
    text += "-01-01"[len(text) - 4 :] if len(text) < len("2026-01-01") else ""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidInput("date", value, "a date that is none") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=message.time.tzinfo)
