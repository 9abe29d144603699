"""Whether anything stored answers a question: base scores on a scale from 0 to 1.

A best hit there always is; how good the first ones are, and which of the question's words were ever
said, tells whether it means anything. A logistic regression on a few such signals gives the share
of questions like this one that could be answered. It is fitted per embedder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.retrieval.fusion import Scores, best_of

__all__ = ["SIGNALS", "Calibration", "calibration_of", "signals_of"]

SIGNALS: Final = (
    "turn_best",
    "turn_first",
    "window_best",
    "window_first",
    "keywords_best",
    "keywords_first",
    "late_best",
    "late_first",
    "unknown",
    "score",
    "turn_mean",
)
FIRST: Final = 5
RIDGE: Final = 1.0
STEPS: Final = 50


def signals_of(
    lanes: Sequence[Scores | None],
    mass: float,
    unknown: float,
    score: float,
    usual: float,
) -> tuple[float, ...]:
    """The signals of one search, in the order of `SIGNALS`.

    `lanes` are raw scores of turn, window, keywords and late interaction, -inf for a row that may
    not be returned, None for a lane that did not run; keywords are taken by the question's `mass`
    of inverse document frequency. `unknown` is the share of it that lies on words nobody said;
    `score` that of the first row, `usual` the mean of the turn's lane over the whole scope: what is
    near everything here is no nearer to what it asks for.
    """
    found: list[float] = []
    for place, lane in enumerate(lanes):
        scores = best_of(lane, FIRST) if lane is not None else np.empty(0)
        scale = (mass or 1.0) if place == 2 else 1.0
        mean = np.add.reduce(scores) / (len(scores) or 1)
        found += [float(scores[0]) / scale if len(scores) else 0.0, float(mean) / scale]
    return (*found, unknown, score, usual)


@dataclass(frozen=True)
class Calibration:
    """A logistic regression over signals: `bias` and a weight for each, as fitted.

    >>> flat = Calibration((0.0,) * len(SIGNALS), 0.0)
    >>> flat.relevance((0.0,) * len(SIGNALS))
    0.5
    """

    weights: tuple[float, ...]
    bias: float

    def relevance(self, signals: Sequence[float]) -> float:
        """The share of questions with such signals that could be answered, from 0 to 1."""
        return float(1 / (1 + np.exp(-(np.dot(self.weights, signals) + self.bias))))

    def threshold(self, answered: Sequence[Sequence[float]], keep: float) -> float:
        """The relevance that a share `keep` of the answered questions reaches."""
        reached = [self.relevance(signals) for signals in answered]
        return float(np.quantile(reached, 1 - keep))

    @classmethod
    def fit(
        cls, answered: Sequence[Sequence[float]], unanswered: Sequence[Sequence[float]]
    ) -> Calibration:
        """Fit signals of questions that what is stored answers, and of some that it does not.

        Both count alike, however many there are. Newton's method with a ridge on standardised
        signals, so that a handful of questions gives finite weights. Raises `InvalidInput`.
        """
        if len(answered) == 0 or len(unanswered) == 0:
            raise InvalidInput("questions", (len(answered), len(unanswered)), "pass both kinds")
        raw = np.array([*answered, *unanswered], np.float64)
        truth = np.array([1.0] * len(answered) + [0.0] * len(unanswered))
        share = np.where(truth == 1, 0.5 / len(answered), 0.5 / len(unanswered)) * len(truth)
        mean, spread = raw.mean(axis=0), raw.std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0)
        rows = np.column_stack([(raw - mean) / scale, np.ones(len(raw))])
        ridge = np.diag([RIDGE] * raw.shape[1] + [0.0])
        weights = np.zeros(rows.shape[1])
        for _ in range(STEPS):
            likely = 1 / (1 + np.exp(-rows @ weights))
            slope = rows.T @ (share * (likely - truth)) + ridge @ weights
            curve = (rows * (share * likely * (1 - likely))[:, None]).T @ rows + ridge
            step = np.linalg.solve(curve + 1e-9 * np.eye(len(curve)), slope)
            weights -= step
            if np.abs(step).max() < 1e-9:
                break
        found = weights[:-1] / scale
        return cls(tuple(map(float, found)), float(weights[-1] - found @ mean))


def calibration_of(fingerprint: str) -> Calibration | None:
    """The calibration that comes with an embedder, or None."""
    return SHIPPED.get(fingerprint)


SHIPPED: Final[dict[str, Calibration]] = {
    "all-MiniLM-L6-v2/int8/8199be6f699a/3/384": Calibration(
        (-0.8989, -11.74, 9.049, 10.78, 3.366, -1.397, 16.41, -4.296, 0.2552, 0.1184, -13.55),
        -10.467,
    ),
}
"""Fitted on five LoCoMo conversations, asked questions of two others each with the names replaced,
and on the English ones of tests/data/talks.jsonl, asked those of two others: docs/benchmarks.md."""
