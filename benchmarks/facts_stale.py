"""Whether a context shows what holds above what held: values that change in the middle of talk.

Somebody says in natural sentences where they live, work and so on, and later something else, amid
turns about other things. Each sentence's fact is inserted with its message as the source. Then
every state is asked for in the present. A context is stale when an outdated value of the state stands in
its text before the current one, or without it. The same contexts made without any fact are counted
beside it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from benchmarks.encodings import default_encodings
from benchmarks.facts_files import plain
from benchmarks.facts_lines import KEYS, Key
from benchmarks.facts_values import fresh
from benchmarks.talk_files import read
from benchmarks.volume import settle
from rag_memory_plugins import Message, open_memory

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Conversation, Memory
    from rag_memory_plugins.ports import Embedder

__all__ = ["Life", "State", "lives", "measure", "stale", "with_turns"]

START: Final = datetime(2026, 1, 5, 8, tzinfo=timezone.utc)
TURNS: Final = 200
BUDGETS: Final = (500, 1_000, 2_000)
From: TypeAlias = Literal["stated", "rules", "nowhere"]
FACTS: Final[Mapping[str, From]] = {
    "stale": "stated",
    "stale_rules": "rules",
    "stale_without_facts": "nowhere",
}
"""Where the facts come from: stated with each message, read in it, or nowhere."""
SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "lives in": (
        "I live in {} these days.",
        "We finally packed everything, so home is {} now.",
        "Big news: I have settled down in {}.",
    ),
    "works at": (
        "I work at {}, by the way.",
        "I signed with {} and handed in my notice at the old place.",
        "My employer is {} from this week on.",
    ),
    "favourite colour": (
        "My favourite colour is {}.",
        "I changed my mind about colours, it is {} for me now.",
        "If you ask me for a colour today, I would say {}.",
    ),
    "manager": (
        "My manager is {}.",
        "They reorganised us, I report to {} now.",
        "{} took over as my boss.",
    ),
    "data plan": (
        "My data plan is {}.",
        "I upgraded my phone contract, it gives me {} now.",
        "The provider moved me to {}.",
    ),
    "owns": ("I own {}.", "After last week I have {}.", "It is {} that I have by now."),
}
FILLER: Final = (
    "Did you see the {} on the way here?|What do you think about a {} for the hall?|"
    "I spent the morning looking for the {}.|The {} was louder than usual today.|"
    "Could you remind me to water the {}?|Somebody left a {} on the stairs again.|"
    "That {} reminds me of a film I saw.|Let us talk about the {} another time."
).split("|")
TOPICS: Final = (
    "fountain ladder piano umbrella teapot bicycle cactus parrot suitcase lamp fern radio kite drum "
    "mirror basket tram bakery garden market library window rain train storm soup"
).split()


@dataclass(frozen=True)
class State:
    """One state of somebody: its values in the order of time, and the messages that say them."""

    key: Key
    values: tuple[str, ...]
    places: tuple[int, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Life:
    """A conversation of one user, and the states that change in it."""

    name: str
    messages: tuple[Message, ...]
    states: tuple[State, ...]


def lives(seed: int, count: int, turns: int = TURNS) -> list[Life]:
    """Made conversations."""
    return [
        _life(f"{seed} {number}", _filler(f"{seed} {number}", turns)) for number in range(count)
    ]


def measure(
    report: Report,
    folder: Path,
    some: Sequence[Life],
    progress: Progress,
    *,
    local: bool,
    of: str = "",
) -> None:
    """`stale/WAY` and its fellows, by keywords and, if asked, the local model."""
    for way in ("keywords", *(["local"] if local else [])):
        vectors = folder / f"stale{of}-{way}-vectors.db"
        with default_encodings(str(vectors)) if way == "local" else nullcontext() as embedder:
            for name, facts in FACTS.items():
                path = folder / f"{name}{of}-{way}.db"
                counts = _counted(path, some, embedder, progress, facts)
                for budget, (bad, total) in counts.items():
                    report.put(f"{name}{of}/{way}/{budget}", bad / total)
                    report.put(f"{name}{of}_contexts", total)


def with_turns(path: str, seed: int) -> list[Life]:
    """Conversations of a file of LoCoMo's shape, with states that change told between turns."""
    found = []
    for talk in read(path):
        turns = [replace(turn, id=f"turn-{at}") for at, turn in enumerate(talk.turns.values())]
        found.append(_life(f"{seed} {talk.name}", turns))
    return found


def stale(text: str, current: str, outdated: Sequence[str]) -> bool:
    """Whether a text shows an outdated value before the current one, or without it."""
    said = plain(text)
    places = [at for value in outdated if (at := said.find(plain(value))) >= 0]
    now = said.find(plain(current))
    return bool(places) and (now < 0 or min(places) < now)


def _counted(
    path: Path,
    some: Sequence[Life],
    embedder: Embedder | None,
    progress: Progress,
    facts: From,
) -> dict[int, tuple[int, int]]:
    """(stale contexts, contexts) by budget."""
    counts = dict.fromkeys(BUDGETS, (0, 0))
    read = "rules" if facts == "rules" else None
    with open_memory(path, embedder=embedder, background=False, facts=read) as memory:
        for number, life in enumerate(progress.track(some, description=path.stem)):
            conversation = _told(memory, f"user-{number}", life, facts)
            memory.read_facts()
            if embedder is not None:
                settle(memory, progress, life.name)
            for state in life.states:
                *outdated, current = state.values
                for text in (state.key.near, state.key.far):
                    for budget, (bad, total) in counts.items():
                        made = conversation.context(text.format("Ann"), budget).text
                        hit = stale(made, current, outdated)
                        counts[budget] = (bad + hit, total + 1)
    return counts


def _told(memory: Memory, user: str, life: Life, facts: From) -> Conversation:
    conversation = memory.conversation("benchmark", user, "talk")
    conversation.add(list(life.messages))
    said = [
        (place, state.key.predicate, value)
        for state in life.states
        for place, value in zip(state.places, state.values, strict=True)
    ]
    for place, predicate, value in sorted(said) if facts == "stated" else ():
        message = life.messages[place]
        conversation.facts.insert("Ann", predicate, value, sources=message)
    return conversation


def _life(seed: str, filler: Sequence[Message]) -> Life:
    """The filler with sentences put in between, in which all values are different."""
    chance = random.Random(f"life {seed}")  # no secret
    keys = [key for key in KEYS if key.predicate in SENTENCES]
    told: list[tuple[int, int, str]] = []
    values: list[list[str]] = []
    for of, key in enumerate(keys):
        made: list[str] = []
        while len(made) < 3:
            value = fresh(key.kind, chance).plain
            # No value may be part of another one: it would be found in it.
            if not any(
                value in other or other in value for some in [*values, made] for other in some
            ):
                made.append(value)
        values.append(made)
        places = sorted(chance.sample(range(len(filler)), 3))
        for place, value, text in zip(places, made, SENTENCES[key.predicate], strict=True):
            told.append((place, of, text.format(value)))
    return _merged(seed, filler, told, keys, values)


def _merged(
    seed: str,
    filler: Sequence[Message],
    told: Sequence[tuple[int, int, str]],
    keys: Sequence[Key],
    values: Sequence[Sequence[str]],
) -> Life:
    messages: list[Message] = []
    places: list[list[int]] = [[] for _ in keys]
    waiting = sorted(told)
    for at, turn in enumerate(filler):
        while waiting and waiting[0][0] == at:
            _, of, text = waiting.pop(0)
            places[of].append(len(messages))
            messages.append(Message("user", text, name="Ann"))
        messages.append(turn)
    timed = [
        replace(message, id=f"m{at}", time=START + timedelta(hours=at))
        for at, message in enumerate(messages)
    ]
    states = [
        State(key, tuple(some), tuple(at), tuple(timed[place].content for place in at))
        for key, some, at in zip(keys, values, places, strict=True)
    ]
    return Life(seed, tuple(timed), tuple(states))


def _filler(seed: str, turns: int) -> list[Message]:
    chance = random.Random(f"filler {seed}")  # no secret
    return [
        Message(
            "user" if at % 2 == 0 else "assistant",
            f"{chance.choice(FILLER).format(chance.choice(TOPICS))} "
            f"{chance.choice(FILLER).format(chance.choice(TOPICS))}",
        )
        for at in range(turns)
    ]
