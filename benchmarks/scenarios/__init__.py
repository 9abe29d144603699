"""Made-up conversations with decisions in them: UI building, code editing, support, and histories.

`dialogue("ui", 100, seed=1)` is always the same conversation for one seed, on every Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from benchmarks.scenarios.dialogue import Dialogue, Outdated, Probe, holds, plain, shared_stems
from benchmarks.scenarios.plan import Fact, Plan, planned
from benchmarks.scenarios.values import names_of
from benchmarks.scenarios.vocabulary import SCENARIOS, filled
from benchmarks.scenarios.writing import Writer

if TYPE_CHECKING:
    from rag_memory_plugins import Message
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["HISTORY", "SCENARIOS", "Dialogue", "Outdated", "Probe", "dialogue"]

HISTORY: Final = "history"
"""The scenario of a long history: topics of all the others come and go."""
FAR: Final = 0.62
"""Share of questions that should have no content word in common with their evidence."""


def dialogue(scenario: str, turns: int, seed: int, counter: TokenCounter) -> Dialogue:
    """A conversation of that many turns (one of the user, one of the assistant) and its questions.

    `counter` keeps the turns at their length; another one gives another conversation.
    """
    name = f"{scenario}-{turns}-{seed}"
    random = Random(name)
    plan = planned(random, scenario, turns)
    messages = Writer(plan, random, counter).write()
    return Dialogue(name, scenario, messages, _probes(plan, random, messages))


def _probes(plan: Plan, random: Random, messages: Sequence[Message]) -> list[Probe]:
    """A question for every fact that is asked about; most of them share no word with it."""
    texts = {message.id: plain(message.content) for message in messages}
    contents = {message.id: message.content for message in messages}
    last = {id(event.fact): event for _, event in sorted(plan.events.items()) if event.fact.probed}
    support: dict[int, str] = {}
    for turn, event in plan.accepts.items():
        if event.version == len(event.fact.values) - 1:
            support[id(event.fact)] = f"{turn:05}-user"
    found: list[Probe] = []
    for fact in plan.facts:
        if not fact.probed:
            continue
        *old, current = [(value, _holding(texts, value)) for value in fact.values]
        about = [contents[key] for key in sorted(current[1])]
        far = sum(not probe.lexical for probe in found)
        question, shared = _question(fact, random, about, near=far > FAR * len(found))
        accepted = support.get(id(fact))
        found.append(
            Probe(
                question,
                *current,
                tuple(Outdated(*version) for version in old),
                frozenset() if accepted is None else frozenset({accepted}),
                lexical=shared > 0,
                kind=last[id(fact)].style,
            )
        )
    return found


def _holding(texts: dict[str, str], value: str) -> frozenset[str]:
    return frozenset(key for key, text in texts.items() if holds(text, value))


def _question(fact: Fact, random: Random, about: Sequence[str], *, near: bool) -> tuple[str, int]:
    """(a question, how many stems it shares with the evidence): none, or as few as there are."""
    asked = [
        filled(text, {**names_of(name), "s": name})
        for text in fact.slot.asked
        for name in fact.subject
    ]
    random.shuffle(asked)
    counted = [(question, shared_stems(question, about)) for question in asked]
    some = [item for item in counted if item[1] > 0] if near else counted
    return min(some or counted, key=lambda item: item[1])
