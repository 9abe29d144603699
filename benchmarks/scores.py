"""Shares of a question's evidence: among hits, among sessions, in a number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from benchmarks.talk_files import Question, Talk
from rag_memory_plugins import Message

__all__ = [
    "BUDGETS",
    "DEPTHS",
    "KEYS",
    "Lines",
    "Scores",
    "among",
    "first_sessions",
    "line",
    "share",
]

DEPTHS: Final = (5, 10)
BUDGETS: Final = (500, 1000, 2000, 4000)
KEYS: Final = (
    *(f"R@{depth}" for depth in DEPTHS),
    *(f"S@{depth}" for depth in DEPTHS),
    *(f"T@{budget}" for budget in BUDGETS),
)

Scores = dict[str, float]
"""One question's figures by key."""


def share(wanted: frozenset[str] | set[str], found: Iterable[str]) -> float:
    """Part of `wanted` that is among `found`."""
    return len(wanted & set(found)) / len(wanted)


def among(question: Question, ids: Sequence[str]) -> Scores:
    """`R@k`: the share of the evidence turns among the first k of `ids`, best first."""
    return {f"R@{depth}": share(question.evidence, ids[:depth]) for depth in DEPTHS}


def first_sessions(question: Question, ids: Iterable[str], session_of: Mapping[str, str]) -> Scores:
    """`S@k`: the share of the evidence's sessions among the first k that `ids` come from."""
    named = list(dict.fromkeys(session_of[key] for key in ids))
    wanted = {session_of[key] for key in question.evidence}
    return {f"S@{depth}": share(wanted, named[:depth]) for depth in DEPTHS}


class Lines:
    """A conversation's turns, a line "Name: text" each, packed the same way for every peer."""

    def __init__(self, talk: Talk, count: Callable[[str], int]) -> None:
        # A line ends with its break, and BPE joins nothing over one: the lines' tokens add up.
        self.tokens = {key: count(f"{line(turn)}\n") for key, turn in talk.turns.items()}

    def packed(self, ids: Iterable[str], budget: int) -> set[str]:
        """The turns that stand whole in `budget` tokens: in this order, each that still fits."""
        inside, left = set(), budget
        for key in ids:
            if self.tokens[key] <= left and key not in inside:
                inside.add(key)
                left -= self.tokens[key]
        return inside

    def within(self, question: Question, ids: Sequence[str]) -> Scores:
        """`T@b`: the share of the evidence that stands whole in b tokens of these lines."""
        return {f"T@{b}": share(question.evidence, self.packed(ids, b)) for b in BUDGETS}


def line(message: Message) -> str:
    """A turn as every peer stores it and every budget counts it."""
    return f"{message.speaker}: {message.content}"
