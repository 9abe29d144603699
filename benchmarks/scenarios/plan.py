"""What is decided when: facts, how each is said, when some of them change, and who asks later.

Nothing is written here; `writing` puts it into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeVar

from benchmarks.scenarios.values import value
from benchmarks.scenarios.vocabulary import SCENARIOS, Slot, Vocabulary, vocabulary

__all__ = ["Episode", "Event", "Fact", "Plan", "planned"]

T = TypeVar("T")

STYLES: Final = (("told", 0.30), ("passing", 0.26), ("proposed", 0.24), ("code", 0.20))
VERSIONS: Final = ((1, 0.58), (2, 0.30), (3, 0.12))
"""How often a fact is said: shares of those never changed, changed once, changed twice."""
PROBES: Final = {50: 12, 100: 24, 1_000: 80}
PER_TURN: Final = {"probed": 0.24, "others": 0.14, "rejected": 0.05}
LONG: Final = 300
"""From this many turns on a history goes through topics that come and go."""
EPISODE: Final = (18, 60)
SUBJECTS: Final = 7
"""Subjects of an episode."""


@dataclass
class Fact:
    """What is decided about a subject; `values` in the order of time, the last one holds."""

    subject: tuple[str, ...]
    slot: Slot
    probed: bool
    values: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """One saying of a fact's value: which version, how, and whether it is refused."""

    fact: Fact
    version: int
    style: str
    refused: bool = False


@dataclass(frozen=True)
class Episode:
    """A stretch of turns about some subjects of one scenario; `end` is the turn after its last."""

    words: Vocabulary
    subjects: list[tuple[str, ...]]
    start: int
    end: int


@dataclass
class Plan:
    """Events by turn, the facts of which some are asked about, and the values to keep apart."""

    turns: int
    episodes: list[Episode]
    events: dict[int, Event] = field(default_factory=dict)
    accepts: dict[int, Event] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    reserved: set[str] = field(default_factory=set)

    def episode(self, turn: int) -> Episode:
        """The stretch that a turn belongs to."""
        return next(episode for episode in self.episodes if episode.start <= turn < episode.end)

    def free(self, turn: int, style: str) -> bool:
        """Whether a value can be said there: a proposal takes the next turn's answer too."""
        needed = (turn, turn + 1) if style == "proposed" else (turn,)
        return all(
            1 <= at <= self.turns and at not in self.events and at not in self.accepts
            for at in needed
        )

    def put(self, turn: int, event: Event) -> None:
        self.events[turn] = event
        if event.style == "proposed":
            self.accepts[turn + 1] = event


def planned(random: Random, scenario: str, turns: int) -> Plan:
    """Facts spread over the turns, those asked about evenly, so that evidence has every age."""
    plan = Plan(turns, _episodes(random, scenario, turns))
    used: set[tuple[str, str]] = set()
    asked = PROBES.get(turns, 0 if turns > max(PROBES) else round(turns * PER_TURN["probed"]))
    for number in range(asked):
        low = 1 + turns * number // asked
        _probed(plan, random, used, (low, max(low + 1, 1 + turns * (number + 1) // asked)))
    for _ in range(round(turns * PER_TURN["others"])):
        _other(plan, random, used, refused=False)
    for _ in range(round(turns * PER_TURN["rejected"])):
        _other(plan, random, used, refused=True)
    return plan


def _episodes(random: Random, scenario: str, turns: int) -> list[Episode]:
    if scenario != "history":
        words = vocabulary(scenario)
        return [Episode(words, words.subjects, 1, turns + 1)]
    found: list[Episode] = []
    start = 1
    while start <= turns:
        words = vocabulary(random.choice(SCENARIOS))
        end = min(turns + 1, start + random.randrange(*EPISODE))
        found.append(Episode(words, random.sample(words.subjects, SUBJECTS), start, end))
        start = end
    return found


def _probed(
    plan: Plan, random: Random, used: set[tuple[str, str]], within: tuple[int, int]
) -> None:
    """A fact whose last version is said within these turns, earlier ones before."""
    style = _drawn(random, STYLES)
    turn = _turn(plan, random, within, style)
    if turn is None:
        return
    pair = _pair(plan.episode(turn), random, used)
    if pair is None:
        return
    fact = Fact(*pair, probed=True)
    places = {turn: style}
    plan.put(turn, Event(fact, 0, style))
    for _ in range(_drawn(random, VERSIONS) - 1):
        style = random.choice([name for name, _ in STYLES])
        before = _turn(plan, random, (1, turn - 2), style, like=plan.episode(turn))
        if before is not None and before < turn:
            places[before] = style
            plan.put(before, Event(fact, 0, style))
    for version, at in enumerate(sorted(places)):
        fact.values.append(_value(plan, random, fact.slot.kind))
        plan.reserved.add(fact.values[-1])
        plan.put(at, Event(fact, version, places[at]))
    plan.facts.append(fact)


def _other(plan: Plan, random: Random, used: set[tuple[str, str]], *, refused: bool) -> None:
    """A fact that nobody asks about: the same kind of value, of something else.

    A refused one is a value that somebody had in mind for a fact that was decided otherwise.
    """
    style = "told" if refused else _drawn(random, STYLES)
    turn = _turn(plan, random, (1, plan.turns), style)
    if turn is None:
        return
    if refused:
        if not plan.facts:
            return
        asked = random.choice([fact for fact in plan.facts if fact.probed])
        fact = Fact(asked.subject, asked.slot, probed=False)
    else:
        pair = _pair(plan.episode(turn), random, used)
        if pair is None:
            return
        fact = Fact(*pair, probed=False)
    fact.values.append(_value(plan, random, fact.slot.kind))
    plan.put(turn, Event(fact, 0, style, refused))


def _turn(
    plan: Plan, random: Random, within: tuple[int, int], style: str, like: Episode | None = None
) -> int | None:
    """A turn with room, in `within` or soon after it."""
    low, high = within
    for at in range(80):
        turn = random.randrange(low, high) if high > low else low
        if at > 40 and like is None:
            turn += random.randrange(8)
        fits = like is None or (turn >= 1 and plan.episode(turn).words is like.words)
        if plan.free(turn, style) and fits:
            return turn
    return None


def _pair(
    episode: Episode, random: Random, used: set[tuple[str, str]]
) -> tuple[tuple[str, ...], Slot] | None:
    """A subject and a slot that were not decided yet."""
    for _ in range(60):
        subject, slot = random.choice(episode.subjects), random.choice(episode.words.slots)
        if (subject[0], slot.name) not in used:
            used.add((subject[0], slot.name))
            return subject, slot
    return None


def _value(plan: Plan, random: Random, kind: str) -> str:
    """A value that no fact which is asked about has or had."""
    taken = {other.casefold() for other in plan.reserved}
    for _ in range(400):
        made = value(random, kind)
        # "12 ms" stands in "312 ms", "Ion" in "Amazon Ion": neither may be another's answer.
        if not any(made.casefold() in other or other in made.casefold() for other in taken):
            return made
    raise ValueError(f"no value of kind {kind} is left; add some to the vocabulary")


def _drawn(random: Random, shares: Sequence[tuple[T, float]]) -> T:
    point = random.random()
    for item, share in shares:
        point -= share
        if point < 0:
            return item
    return shares[0][0]
