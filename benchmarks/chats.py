"""Made-up chats with what makes a search dear: names, dates, questions, words of every frequency.

Two named people talk in sessions of 25 turns, a turn has one to twelve sentences and 10 to 60
words, and what is asked about them names a speaker, a month, a frequent word, a rare one. Words are
those of `volume.py`; nothing said has a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.volume import COMMON, vocabulary
from rag_memory_plugins import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TURNS", "Session", "chat", "questions"]

TURNS: Final = 25
"""Turns of a session."""
PEOPLE: Final = (
    "Ines Omar Marta Jonas Priya Caleb Aiko Tomas Leila Bruno Greta Kofi Nadia Pavel Rosa Samir "
    "Thea Viktor Wanda Yusuf Ana Boris Clara Dario Elsa Felix Hana Igor Julia Karim"
).split()
PLACES: Final = "Lisbon Porto Kyoto Oslo Lima Cairo Boston Tallinn Quito Hanoi Accra Turin".split()
TIMES: Final = (
    "yesterday|last week|last Friday|two weeks ago|next month|on 3 May|last summer|this morning|"
    "in October|a year ago|on Tuesday|at 5 pm|last weekend|since 2019|in three days|tonight"
).split("|")
MONTHS: Final = (
    "January February March April May June July August September October November December"
).split()
OPENINGS: Final = (
    "What did {who} say about|When did {who} talk of|Where did {who} find|How many times did {who}|"
    "Why did {who} want|Who told {who} of|What was it with|When was that|Which one was"
).split("|")
FILLERS: Final = ("the", "with", "and", "of", "for", "or")
LENGTH: Final = (3.1, 0.5)
"""Mean and deviation of the logarithm of words a turn: half have 22 or more, 1 in 10 has 42."""
SHORTEST: Final = 10
LONGEST: Final = 58
"""A time that is named takes two words more."""
ASKS: Final = 0.3
"""Share of turns that end in a question."""
NAMED: Final = ((0.25, PEOPLE), (0.12, PLACES), (0.15, TIMES))
"""Shares of turns that name a person, a place, a time."""
FIRST: Final = datetime(2005, 1, 3, 18, 0, tzinfo=timezone.utc)
MOST_DAYS: Final = 7_000
"""No chat spans more days than this: its sessions are 45 days apart, or fewer if it has many."""
DRAWS: Final = 2**20
BLOCK: Final = 400


@dataclass(frozen=True)
class Session:
    """One session's name and its messages, oldest first."""

    name: str
    messages: list[Message]


def chat(seed: int, turns: int) -> Iterator[Session]:
    """Sessions of two people, `turns` in all; always the same for one seed."""
    random = Random(seed)
    people = random.sample(PEOPLE, 2)
    words = _words(np.random.default_rng(seed), min(turns, BLOCK))
    count = -(-turns // TURNS)
    apart = min(45.0, MOST_DAYS / count)
    for number in range(count):
        start = FIRST + timedelta(days=apart * (number + 0.4 * random.random()))
        size = min(TURNS, turns - number * TURNS)
        messages = [
            Message(
                ("user", "assistant")[at % 2],
                _turn(random, words),
                id=f"{number}-{at}",
                name=people[at % 2],
                time=start + timedelta(minutes=at),
            )
            for at in range(size)
        ]
        yield Session(f"session-{number}", messages)


def questions(messages: Sequence[Message], count: int, seed: int) -> list[str]:
    """`count` questions of 5 to 12 words, each with words of one of these messages."""
    random = Random(seed)
    return [_question(random, random.choice(messages)) for _ in range(count)]


def _turn(random: Random, words: Iterator[list[str]]) -> str:
    said = next(words)
    for share, names in NAMED:
        if random.random() < share:
            said[random.randrange(1, len(said))] = random.choice(names)
    parts = []
    start = 0
    while start < len(said):
        # A last sentence of a word or two joins the one before it.
        end = start + random.randrange(5, 16)
        end = len(said) if len(said) - end < 4 else end
        text = " ".join(said[start:end])
        parts.append(f"{text[0].upper()}{text[1:]}.")
        start = end
    text = " ".join(parts)
    return f"{text[:-1]}?" if random.random() < ASKS else text


def _question(random: Random, about: Message) -> str:
    ranks = _ranks()
    said = dict.fromkeys(word.strip(".?").lower() for word in about.content.split())
    known = sorted((word for word in said if word in ranks), key=ranks.__getitem__)
    frequent, rare = known[: len(known) // 2], known[len(known) // 2 :]
    picked = random.sample(frequent, min(len(frequent), random.randrange(1, 3)))
    picked += random.sample(rare, min(len(rare), random.randrange(1, 3)))
    who = about.name if random.random() < 0.7 else random.choice(("we", "I", *PEOPLE))
    parts = [*random.choice(OPENINGS).format(who=who).split(), *picked[:1]]
    for word in picked[1:]:
        parts += [random.choice(FILLERS), word]
    if random.random() < 0.3:
        day = random.choice(("in", f"on {about.time.day}"))
        parts = [*parts[:8], f"{day} {MONTHS[about.time.month - 1]} {about.time.year}"]
    return f"{' '.join(' '.join(parts).split()[:12])}?"


def _words(random: np.random.Generator, block: int) -> Iterator[list[str]]:
    """The words of one turn after the other, drawn for `block` turns at a time."""
    words, draws = vocabulary()[0], _draws()
    while True:
        lengths = random.lognormal(*LENGTH, size=block).astype(int).clip(SHORTEST, LONGEST)
        ends = np.cumsum(lengths)
        drawn = words[draws[random.integers(DRAWS, size=int(ends[-1]))]].tolist()
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
            yield drawn[end - length : end]


@cache
def _draws() -> NDArray[np.int16]:
    """Ranks as often as they are said: picking one costs less than searching the shares."""
    words, shares = vocabulary()
    points = (np.arange(DRAWS) + 0.5) / DRAWS
    return np.searchsorted(shares, points).clip(0, len(words) - 1).astype(np.int16)


@cache
def _ranks() -> dict[str, int]:
    """Every made-up word's rank by frequency; the language's own function words are left out."""
    return {word: rank for rank, word in enumerate(vocabulary()[0].tolist()) if rank >= len(COMMON)}
