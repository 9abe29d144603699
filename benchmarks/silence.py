"""How well questions about nothing stored are told apart from those that can be answered.

A foreign question is one of two other conversations, the names of its speakers replaced by those of
this one: its words are as usual, and nothing here answers it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.fields import Field, question_of
from rag_memory_plugins.config import Recall
from rag_memory_plugins.retrieval.silence import Calibration

if TYPE_CHECKING:
    from benchmarks.report import Report
    from benchmarks.talk_files import Talk
    from rag_memory_plugins.ports import Embedder


__all__ = ["Asked", "Signals", "calibration", "heard_signals", "put_silence", "talk_signals"]

KEEP: Final = 0.95
OTHERS: Final = (1, 2)


@dataclass
class Asked:
    """The signals of one conversation's own questions, and of foreign ones."""

    answered: list[tuple[float, ...]] = field(default_factory=list)
    foreign: list[tuple[float, ...]] = field(default_factory=list)


Signals = Sequence[Asked]


def heard_signals(fields: Sequence[Field], heard: Sequence[Talk], embedder: Embedder) -> Signals:
    """The signals of each conversation of two speakers, foreign questions with names replaced."""
    names = [_speakers(talk) for talk in heard]
    found = []
    for at, here in enumerate(fields):
        texts = [
            text
            for other in _others(at, len(fields))
            for question in heard[other].questions
            for text in [_renamed(question.text, names[other], names[at])]
            if any(name in text for name in names[at])
        ]
        asked = [question_of(text, embedder, here.now) for text in texts]
        found.append(
            Asked(
                [here.ranked(q, Recall()).signals for q in here.questions],
                [here.ranked(q, Recall()).signals for q in asked],
            )
        )
    return found


def talk_signals(fields: Sequence[Field]) -> Signals:
    """The signals of each talk, English questions alone, foreign ones as they are."""
    english = [[q for q in here.questions if q.cues.english] for here in fields]
    return [
        Asked(
            [here.ranked(q, Recall()).signals for q in english[at]],
            [
                here.ranked(q, Recall()).signals
                for other in _others(at, len(fields))
                for q in english[other]
            ],
        )
        for at, here in enumerate(fields)
        if english[at]
    ]


def calibration(learnt: Signals) -> Calibration:
    """What tells them apart, fitted on all of these."""
    return Calibration.fit(
        [row for asked in learnt for row in asked.answered],
        [row for asked in learnt for row in asked.foreign],
    )


def put_silence(report: Report, signals: Signals) -> None:
    """What the calibration of the other conversations silences and keeps in each."""
    kept, silent = [], []
    for at, here in enumerate(signals):
        learnt = [asked for other, asked in enumerate(signals) if other != at]
        made = calibration(learnt)
        threshold = made.threshold([row for asked in learnt for row in asked.answered], KEEP)
        kept.append(np.mean([made.relevance(row) >= threshold for row in here.answered]))
        silent.append(np.mean([made.relevance(row) < threshold for row in here.foreign]))
    report.put("silence@95", float(np.mean(silent)))
    report.put("kept@95", float(np.mean(kept)))
    report.put("foreign_questions", sum(len(asked.foreign) for asked in signals))


def _others(at: int, count: int) -> list[int]:
    return [(at + step) % count for step in OTHERS]


def _speakers(talk: Talk) -> list[str]:
    return list(dict.fromkeys(turn.speaker for turn in talk.turns.values()))


def _renamed(text: str, names: Sequence[str], others: Sequence[str]) -> str:
    """The text with each name replaced by the other of its place."""
    by = dict(zip(names, others, strict=False))
    pattern = "|".join(rf"\b{re.escape(name)}\b" for name in by)
    return re.sub(pattern, lambda match: by[match.group()], text)
