"""Time lines of facts, made from a seed: what became of a state, and how and when it was told.

A `Line` is one slot of one user: `events` are stated to a memory in the order of `recorded`, and
`truth` holds the same as the days' painter reads it. Kinds of events: "new", "change" (often to a
value that only looks like the old one), "same" (another wording), "correct", "end", "return" (an
old value again), "late" (about the past, after what followed it). Users share subjects and keys.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from benchmarks.facts_truth import Told, holding
from benchmarks.facts_values import Value, Wording, fresh, near
from benchmarks.report import BadData

__all__ = ["DAYS", "KEYS", "Event", "Key", "Line", "Question", "lines"]

DAYS: Final = 420
STEP: Final = 7
"""Things are told on one day of each week, so that a user tells several at once."""


@dataclass(frozen=True)
class Key:
    """A state: its predicate, the kind of its values, two questions about it; `many` at once."""

    predicate: str
    kind: str
    near: str
    far: str
    many: bool = False


PERSON: Final = (
    Key("lives in", "place", "Where does {} live?", "What is the home town of {}?"),
    Key("works at", "firm", "Where does {} work?", "Which company employs {}?"),
    Key("favourite colour", "colour", "What is {}'s favourite colour?", "Which shade suits {}?"),
    Key("manager", "person", "Who is {}'s manager?", "Who does {} report to?"),
    Key("data plan", "amount", "What data plan does {} have?", "How much can {} download?"),
    Key("owns", "count", "What does {} own?", "What belongs to {}?"),
    Key("likes", "thing", "What does {} like?", "What is {} fond of?", many=True),
)
PROJECT: Final = (
    Key("status", "state", "What is the status of {}?", "How is {} going?"),
    Key("deadline", "date", "What is the deadline of {}?", "When must {} be done?"),
    Key("budget", "money", "What is the budget of {}?", "How much may {} cost?"),
    Key("version", "version", "Which version is {} at?", "What release does {} run?"),
    Key("lead", "person", "Who is the lead of {}?", "Who is in charge of {}?"),
    Key("office", "place", "Where is the office of {}?", "In which town is {} located?"),
    Key("supplier", "firm", "Who is the supplier of {}?", "Who delivers to {}?"),
)
KEYS: Final = (*PERSON, *PROJECT)
PEOPLE: Final = ("Ann", "Bruno", "Chidi", "Dilara")
PROJECTS: Final = ("Atlas", "Beacon", "Comet", "Dynamo")


@dataclass(frozen=True)
class Event:
    """What is stated: days are counted from the first, None where it is left out.

    `family` is that of the wording or of the difference. `differs` says that another value held on
    that day, as far as was known; `repeats` that the same did.
    """

    object: str
    start: int
    recorded: int
    kind: str
    end: int | None = None
    negated: bool = False
    corrects: bool = False
    many: bool = False
    family: str = ""
    differs: bool = False
    repeats: bool = False


@dataclass(frozen=True)
class Question:
    """What holds on a day, as of another if `known` is given.

    Each answer is the set of wordings of one value; none: nothing holds.
    """

    day: int
    answers: tuple[frozenset[str], ...]
    known: int | None = None


@dataclass
class Line:
    """One slot of one user: what is stated of it, and what is asked about it."""

    user: str
    subject: str
    key: Key
    events: list[Event] = field(default_factory=list)
    truth: list[Told] = field(default_factory=list)
    values: dict[object, Value] = field(default_factory=dict)
    asked: list[Question] | None = None

    def question(self, day: int, known: int | None = None) -> Question:
        """A question about a day with the answers that the truth gives."""
        held = holding(self.truth, day, known=known)
        answers = [
            frozenset(" ".join(wording.text.split()) for wording in self.values[key].wordings)
            for key in held
        ]
        return Question(day, tuple(answers), known)


def lines(seed: int, users: int, slots: int) -> Iterator[Line]:
    """The time lines of `users` users with `slots` slots each."""
    places = [(name, key) for name in PEOPLE for key in PERSON]
    places += [(name, key) for name in PROJECTS for key in PROJECT]
    for user in range(users):
        chance = random.Random(f"{seed} {user}")  # no secret
        for name, key in chance.sample(places, min(slots, len(places))):
            line = Line(f"user-{user}", name, key)
            if key.many:
                _many(line, chance)
            else:
                _Writer(line, chance).write()
            yield line


class _Writer:
    """Writes a state with one value at a time: first its life, then how it was told."""

    def __init__(self, line: Line, chance: random.Random, track: object = 0) -> None:
        self.line, self.chance, self.track = line, chance, track
        self.waiting: list[tuple[Told, Value, str, str]] = []

    def write(self) -> None:
        """The events and the truth of the line."""
        day, week = self.chance.randrange(0, 60, STEP), 0
        held: Value | None = None  # what is so, told or not
        past: list[Value] = []
        for _ in range(self.chance.randint(4, 8)):
            if day >= DAYS - 60:
                break
            value, kind, family = self._next(held, past)
            end = None
            passing = held is not None and kind == "change" and not self.waiting
            if passing and self._chance(0.08):
                end = day + 2 * STEP  # for a while: and then it is as it was before
            week = self._tell(value, kind, family, day, max(week, day), end)
            if end is None:
                past += [value] if value is not None else []
                held = value
            else:
                week = max(week, end)
            day = max(day, week) + STEP * self.chance.randint(2, 5)
        self._flush()

    def _next(self, held: Value | None, past: list[Value]) -> tuple[Value | None, str, str]:
        if held is None:
            return self._kept(fresh(self.line.key.kind, self.chance)), "new", ""
        roll = self.chance.random()
        others = [value for value in past if value.key != held.key]
        # What is still to be told leaves no doubt about its end only if another value follows it.
        if roll < 0.08 and not self.waiting:
            return None, "end", ""
        if roll < 0.2 and others and not self.waiting:
            return self.chance.choice(others), "return", ""
        known = _on(self.line, self.track, DAYS)
        if roll < 0.75:
            value, family = self._near(held, {known})
            return value, "change", family
        while (value := fresh(held.kind, self.chance)).key in {held.key, known}:
            pass
        return self._kept(value), "change", "fresh"

    def _near(self, value: Value, without: set[object | None]) -> tuple[Value, str]:
        """A value that looks like this one, and is none of these."""
        for _ in range(50):
            other, family = near(value, self.chance)
            if other.key not in without:
                return self._kept(other), family
        raise BadData(f"facts: nothing looks like {value.plain!r} but {without}")

    def _kept(self, value: Value) -> Value:
        return self.line.values.setdefault(value.key, value)

    def _tell(
        self, value: Value | None, kind: str, family: str, day: int, week: int, end: int | None
    ) -> int:
        """Tell a part of a life, soon or late; the last day on which something was told of it."""
        late = kind == "change" and end is None and not self.waiting and self._chance(0.12)
        if late and value is not None:
            # Its words wait until what follows it has been told.
            self.waiting.append(
                (Told(value.key, day, 0, None, track=self.track), value, "late", family)
            )
            return week
        wrong = value is not None and end is None and self._chance(0.1)
        if value is None:
            self._say(None, "end", "", day, week)
        elif wrong:
            mistake, slip = self._near(value, {_on(self.line, self.track, day)})
            self._say(mistake, kind, "", day, week)
            week += STEP
            self._say(value, "correct", slip, day + self.chance.choice((0, STEP)), week, at=day)
        else:
            self._say(value, kind, family, day, week, end)
        if kind != "late":
            week = self._flush(week)
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3)) if value and end is None else 0):
            week += STEP
            self._say(value, "same", "", week, week)
        return week

    def _flush(self, week: int | None = None) -> int:
        """Tell what waited."""
        week = self.line.events[-1].recorded if week is None else week
        for told, value, kind, family in self.waiting:
            week = max(week + STEP, told.start)
            self._say(value, kind, family, told.start, week)
        self.waiting.clear()
        return week

    def _chance(self, share: float) -> bool:
        return self.chance.random() < share

    def _say(
        self,
        value: Value | None,
        kind: str,
        family: str,
        day: int,
        week: int,
        end: int | None = None,
        *,
        at: int | None = None,
    ) -> None:
        line = self.line
        before = _on(line, self.track, day)
        told = Told(
            None if value is None else value.key,
            day,
            week,
            end,
            again=kind == "same",
            corrects=kind == "correct",
            track=self.track,
        )
        said = self._wording(value, before, kind)
        event = Event(
            said.text,
            day,
            week,
            kind,
            end,
            negated=value is None,
            corrects=kind == "correct",
            many=line.key.many,
            family=said.family if kind == "same" else family or kind,
            differs=value is not None and before not in {None, value.key},
            repeats=value is not None and before == value.key,
        )
        line.truth.append(told)
        line.events.append(event)

    def _wording(self, value: Value | None, before: object, kind: str) -> Wording:
        if value is None:
            gone = self.line.values[before].wordings
            # Of many values one has to be named.
            bare = [] if self.line.key.many else [Wording("", "plain")]
            return self.chance.choice([*gone[:1], *bare])
        if kind == "same":
            said = {event.object for event in self.line.events}
            unsaid = [wording for wording in value.wordings if wording.text not in said]
            return self.chance.choice(unsaid or value.wordings)
        return value.wordings[0] if self._chance(0.7) else self.chance.choice(value.wordings)


def _on(line: Line, track: object, day: int) -> object | None:
    """What held on a day, as far as was told."""
    own = [item for item in line.truth if item.track == track]
    return next(iter(holding(own, day)), None)


def _many(line: Line, chance: random.Random) -> None:
    """Some values at once, each told, told again, ended, and begun again."""
    for _ in range(chance.randint(2, 4)):
        value = fresh(line.key.kind, chance)
        if value.key in line.values:
            continue
        line.values[value.key] = value
        writer = _Writer(line, chance, track=value.key)
        week = chance.randrange(0, 120, STEP)
        for kind in ("new", "same", "end", "return")[: chance.randint(1, 4)]:
            if kind == "end":
                writer._say(None, kind, "", week, week)
            else:
                writer._say(value, kind, "", week, week)
            week += STEP * chance.randint(2, 6)
    line.events.sort(key=lambda event: event.recorded)
