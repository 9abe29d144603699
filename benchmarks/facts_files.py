"""Time lines as they are judged: what is stated when, and what should be answered; and their files.

A file has one slot a line:
`{"user", "subject", "predicate", "events": [...], "questions": [...]}`. An event is
`{"object", "valid_from", "recorded_at", "kind", "valid_to"?, "negated"?, "corrects"?, "many"?}`, a
question `{"as_of", "answers", "known_at"?}`; times are ISO with a zone, an `as_of` of null is the
present, and without answers nothing holds. Any one of the answers is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.facts_lines import DAYS, Event, Line
from benchmarks.report import BadData
from rag_memory_plugins.ports import Claim

__all__ = ["NOW", "Asked", "Stated", "Story", "moment", "plain", "read", "story_of"]

START: Final = datetime(2024, 1, 1, tzinfo=timezone.utc)
KINDS: Final = frozenset("new same change correct end return late".split())
DIFFERS: Final = frozenset({"change", "correct", "return"})
PAST: Final = 3
"""Days of the past that are asked about, for each line; and as many as they were known then."""


def moment(day: int, hour: int = 0) -> datetime:
    """An hour of a day of a made time line."""
    return START + timedelta(days=day, hours=hour)


NOW: Final = moment(DAYS + 60, 12)
"""The present of made time lines."""


@dataclass(frozen=True)
class Stated:
    """A claim, when it was recorded, and what should not be decided on it."""

    claim: Claim
    recorded_at: datetime
    kind: str
    family: str = ""
    differs: bool = False
    repeats: bool = False


@dataclass(frozen=True)
class Asked:
    """A question: each of `answers` is one value in all its wordings; of `many` all are wanted."""

    answers: tuple[frozenset[str], ...]
    as_of: datetime | None = None
    known_at: datetime | None = None
    many: bool = False


@dataclass
class Story:
    """One slot of one user, to be stated and judged; `texts` are questions about the present."""

    user: str
    subject: str
    predicate: str
    texts: tuple[str, ...] = ()
    stated: list[Stated] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def present(self) -> list[Asked]:
        """The questions about the present as it is known."""
        return [asked for asked in self.asked if asked.as_of is None and asked.known_at is None]


def plain(text: str) -> str:
    """A text without case and outer spaces: how an answer is compared."""
    return " ".join(text.casefold().split())


def story_of(line: Line, seed: int) -> Story:
    """A made line with questions about the present, and about days of the past as known then."""
    chance = random.Random(f"{seed} {line.user} {line.subject} {line.key.predicate}")
    texts = tuple(text.format(line.subject) for text in (line.key.near, line.key.far))
    story = Story(line.user, line.subject, line.key.predicate, texts)
    story.stated = [_stated(line, event, at) for at, event in enumerate(line.events)]
    story.asked.append(_asked(line, None, None))
    for _ in range(PAST):
        day = chance.randrange(DAYS)
        story.asked.append(_asked(line, day, None))
        story.asked.append(_asked(line, day, chance.randrange(day, DAYS)))
    return story


def _stated(line: Line, event: Event, at: int) -> Stated:
    odd = at % 10 == 3  # names are not always written alike either
    claim = Claim(
        line.subject.upper() if odd else line.subject,
        line.key.predicate.capitalize() if odd else line.key.predicate,
        event.object,
        valid_from=moment(event.start),
        valid_to=None if event.end is None else moment(event.end),
        negated=event.negated,
        corrects=event.corrects,
        many=event.many,
    )
    recorded = moment(event.recorded, 18)
    return Stated(claim, recorded, event.kind, event.family, event.differs, event.repeats)


def _asked(line: Line, day: int | None, known: int | None) -> Asked:
    found = line.question(DAYS + 60 if day is None else day, known)
    answers = tuple(frozenset(map(plain, wordings)) for wordings in found.answers)
    return Asked(
        answers,
        None if day is None else moment(day, 12),
        None if known is None else moment(known, 23),
        line.key.many,
    )


def read(path: str) -> list[Story]:
    """The slots of a file. Raises `BadData`, naming the line and what is wrong with it."""
    try:
        rows = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"--data: {path} cannot be read: {error}") from error
    stories = []
    for number, row in enumerate(rows, 1):
        if row.strip():
            try:
                stories.append(_story(json.loads(row)))
            except KeyError as error:
                raise BadData(f"--data: {path} line {number} has no field {error}") from error
            except (TypeError, ValueError, AttributeError) as error:
                raise BadData(f"--data: {path} line {number}: {error}") from error
    if not any(story.stated for story in stories):
        raise BadData(f"--data: {path} holds no time line")
    return stories


def _story(item: Mapping[str, Any]) -> Story:
    subject, predicate = _text(item, "subject"), _text(item, "predicate")
    story = Story(_text(item, "user"), subject, predicate, (f"{subject} {predicate}",))
    for event in item["events"]:
        kind = _text(event, "kind")
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind; they are {', '.join(sorted(KINDS))}")
        claim = Claim(
            subject,
            predicate,
            str(event["object"]),
            valid_from=_time(event, "valid_from"),
            valid_to=_time(event, "valid_to"),
            negated=bool(event.get("negated", kind == "end")),
            corrects=bool(event.get("corrects", kind == "correct")),
            many=bool(event.get("many", False)),
        )
        recorded = _time(event, "recorded_at")
        if recorded is None:
            raise ValueError("an event has no recorded_at")
        story.stated.append(Stated(claim, recorded, kind, kind, kind in DIFFERS, kind == "same"))
    story.stated.sort(key=lambda each: each.recorded_at)
    story.asked = [_question(question) for question in item["questions"]]
    return story


def _question(item: Mapping[str, Any]) -> Asked:
    wordings = frozenset(plain(answer) for answer in item["answers"])
    answers = (wordings,) if wordings else ()
    return Asked(answers, _time(item, "as_of"), _time(item, "known_at"))


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r}, not a text")
    return value


def _time(item: Mapping[str, Any], name: str) -> datetime | None:
    value = item.get(name)
    if value is None:
        return None
    # Python 3.10 reads no Z.
    found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError(f"{name} {value!r} has no time zone")
    return found
