"""What each step of the ranking is worth, and how far its weights carry to other conversations.

Every step is switched off in turn: `R@5/-STEP` and `R@10/-STEP` are the changes that makes, with 95 %
of a bootstrap over questions, on the conversations of --data and, as `talks R@5/-STEP`, on those
of --talks. Opt-in steps are switched on: `R@5/+STEP`. --loo chooses the weights on all
conversations but one, by coordinate search over round values, and scores that one: `R@5/loo`,
`R@10/loo`. `silence@95` is the share of foreign questions that return nothing at the threshold that
keeps 95 % of the answerable ones of the other conversations, the calibration fitted on those;
`kept@95` what it keeps here. A foreign question is one of two other conversations, its speakers'
names replaced by this one's. --quick takes two conversations and leaves the search for weights out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.progress import Progress

from benchmarks.encodings import default_encodings
from benchmarks.fields import Field, made
from benchmarks.intervals import by_row
from benchmarks.report import BadData, Goal, Report
from benchmarks.silence import Signals, calibration, heard_signals, put_silence, talk_signals
from benchmarks.talk_files import read
from benchmarks.talks import talks
from benchmarks.volume import workplace
from rag_memory_plugins.config import Recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Shares = NDArray[np.float64]

OWN: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "talks.jsonl"
GOALS: Final = {
    "R@5/loo": Goal(">=", 0.84),
    "R@10/loo": Goal(">=", 0.90),
    "silence@95": Goal(">=", 0.75),
}
STEPS: Final = (
    "dense_turn",
    "dense_window",
    "keywords",
    "late",
    "own",
    "speaker",
    "inherit",
    "question",
    "date",
    "when",
    "name",
)
OPT_IN: Final = {"session": 0.3, "topic": 0.3, "recency": 1.0, "diversity": 0.1}
GRID: Final[dict[str, tuple[float, ...]]] = {
    "late": (0.5, 0.75, 1.0, 1.3, 1.6),
    "own": (0.0, 0.3, 0.6, 0.9),
    "keywords": (0.5, 1.0, 1.5),
    "dense_turn": (0.0, 0.25, 0.5, 1.0),
    "dense_window": (0.0, 0.5, 0.75, 1.0),
    "speaker": (0.3, 0.6, 1.0, 1.5),
    "inherit": (0.2, 0.3, 0.4, 0.5),
    "question": (-0.5, -1.0, -1.5, -2.0),
    "date": (1.0, 2.0, 3.0),
    "when": (1.0, 2.0, 3.0),
    "name": (1.0, 2.0, 3.0),
}
START: Final = Recall(
    dense_turn=0.5,
    dense_window=0.5,
    keywords=1,
    late=1,
    own=0.5,
    speaker=0.5,
    inherit=0.3,
    question=-1,
    date=2,
    when=2,
    name=2,
)
"""Where every search begins: round numbers, none of them chosen on what is measured."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--data", required=True, metavar="PATH", help="a file of LoCoMo's shape")
    parser.add_argument(
        "--talks", default=str(OWN), metavar="PATH", help="other talk (tests/data/talks.jsonl)"
    )
    parser.add_argument("--loo", action="store_true", help="choose weights, leaving one out")
    parser.add_argument("--weights", metavar="PATH", help="write the weights of --loo to this file")
    parser.add_argument(
        "--calibration",
        metavar="PATH",
        help="write a calibration fitted on everything to this file",
    )
    parser.add_argument("--cache", metavar="PATH", help="keep what the embedder makes in this file")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every step on every conversation."""
    report = Report("steps", GOALS)
    heard = read(options.data)[: 2 if options.quick else None]
    if not any(talk.questions for talk in heard):
        raise BadData(f"--data: {options.data} has no question with evidence")
    with (
        workplace(options.dir) as folder,
        default_encodings(options.cache or str(folder / "encodings.db")) as embedder,
    ):
        fields = [
            made(talk.name, talk.sessions, [(q.text, q.evidence) for q in talk.questions], embedder)
            for talk in progress.track(heard, description="conversations")
        ]
        own = [
            made(chat.name, chat.sessions, [(q.text, q.evidence) for q in chat.questions], embedder)
            for chat in progress.track(talks(options.talks), description="talks")
        ]
        put_steps(report, "", fields, progress)
        put_steps(report, "talks ", own, progress)
        if len(fields) > 2:
            signals = heard_signals(fields, heard, embedder)
            put_silence(report, signals)
            if options.calibration:
                _write(options.calibration, signals, talk_signals(own))
        if options.loo and not options.quick:
            chosen = put_left_out(report, fields, progress)
            if options.weights:
                Path(options.weights).write_text(json.dumps(chosen, indent=1), encoding="utf-8")
    return report


def put_steps(report: Report, prefix: str, fields: Sequence[Field], progress: Progress) -> None:
    """The default's figures, then what each step changes."""
    base = _all(fields, Recall())
    for column, depth in enumerate((5, 10)):
        report.put(f"{prefix}R@{depth}", base[:, column].mean())
    switched = {f"-{step}": replace(Recall(), **{step: 0}) for step in STEPS}
    switched |= {f"+{step}": replace(Recall(), **{step: on}) for step, on in OPT_IN.items()}
    for name, settings in progress.track(switched.items(), description=f"{prefix}steps"):
        change = _all(fields, settings) - base
        bounds = by_row(change.tolist())
        for column, depth in enumerate((5, 10)):
            report.put(f"{prefix}R@{depth}/{name}", change[:, column].mean())
            report.put(f"{prefix}R@{depth}/{name}/low", bounds[0, column])
            report.put(f"{prefix}R@{depth}/{name}/high", bounds[1, column])


def put_left_out(
    report: Report, fields: Sequence[Field], progress: Progress
) -> dict[str, dict[str, float]]:
    """Weights for each conversation from the others, and what they reach on it."""
    known: dict[Recall, list[Shares]] = {}

    def recalls(settings: Recall) -> list[Shares]:
        if settings not in known:
            known[settings] = [field.recalls(settings) for field in fields]
        return known[settings]

    reached: list[Shares] = []
    chosen: dict[str, dict[str, float]] = {}
    for left_out in progress.track(range(len(fields)), description="leave one out"):

        def worth(settings: Recall, without: int = left_out) -> float:
            rows = [shares for at, shares in enumerate(recalls(settings)) if at != without]
            return float(np.concatenate(rows).sum(axis=1).mean())

        best = START
        for step, values in GRID.items():
            options = [replace(best, **{step: value}) for value in values]
            best = max([best, *options], key=worth)
        reached.append(recalls(best)[left_out])
        chosen[fields[left_out].name] = {step: getattr(best, step) for step in GRID}
    together = np.concatenate(reached)
    bounds = by_row(together.tolist())
    for column, depth in enumerate((5, 10)):
        report.put(f"R@{depth}/loo", together[:, column].mean())
        report.put(f"R@{depth}/loo/low", bounds[0, column])
        report.put(f"R@{depth}/loo/high", bounds[1, column])
    return chosen


def _write(path: str, heard: Signals, talked: Signals) -> None:
    """The calibration that ships with an embedder is fitted on both sets."""
    made = calibration([*heard, *talked])
    Path(path).write_text(
        json.dumps({"weights": made.weights, "bias": made.bias}, indent=1), encoding="utf-8"
    )


def _all(fields: Sequence[Field], settings: Recall) -> Shares:
    return np.concatenate([field.recalls(settings) for field in fields if field.questions])
