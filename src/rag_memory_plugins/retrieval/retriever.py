"""Ranking: the steps from a question to ordered rows, each a pure function over one scope.

lanes (dense turn, dense window, keywords) -> fuse -> boosts (answers inherit, questions step
back) -> the best rows, each with the parts of its score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import ENDS_WITH_QUESTION, NOT_RECALLED, Corpus
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.fusion import Lane, Scores, fuse
from rag_memory_plugins.retrieval.lexical import bm25

__all__ = ["Ranked", "Weights", "rank"]

# Near the spread that one LoCoMo question in a hundred has (0.41 and 0.08): recall is unchanged there.
KEYWORD_FLOOR: Final = 0.5
COSINE_FLOOR: Final = 0.03


@dataclass(frozen=True)
class Weights:
    """How much each step counts, in standard deviations of a lane.

    Values are those of `docs/benchmarks.md`; 0 switches a step off.
    """

    dense_turn: float = 1.0
    dense_window: float = 1.0
    keywords: float = 1.5
    inherit: float = 0.3
    question: float = -1.0


@dataclass(frozen=True)
class Ranked:
    """One row of a ranking; `parts` add up to `score`."""

    row: int
    score: float
    parts: dict[str, float]


def rank(
    corpus: Corpus,
    dense: DenseRows | None,
    vector: NDArray[np.float32] | None,
    terms: list[int],
    limit: int,
    session: int | None = None,
    weights: Weights | None = None,
) -> list[Ranked]:
    """The best `limit` rows for a question's `terms` and `vector`, best first.

    Without vectors the keyword lane stands alone, and only rows that it matched are returned.
    `session` keeps only that session's rows; their scores are those of the whole scope.
    """
    weights = weights or Weights()
    if not len(corpus):
        return []
    lanes, eligible = _lanes(corpus, dense, vector, terms, weights)
    total, parts = fuse(lanes, len(corpus))
    for name, boost in _boosts(corpus, total, weights).items():
        parts[name] = boost
    score = np.zeros(len(corpus))
    for part in parts.values():
        score += part
    eligible &= ~corpus.flagged(NOT_RECALLED)
    if session is not None:
        eligible &= corpus.session == session
    return [
        Ranked(
            int(row), float(score[row]), {name: float(part[row]) for name, part in parts.items()}
        )
        for row in _best(score, eligible, limit)
    ]


def _lanes(
    corpus: Corpus,
    dense: DenseRows | None,
    vector: NDArray[np.float32] | None,
    terms: list[int],
    weights: Weights,
) -> tuple[dict[str, Lane], NDArray[np.bool_]]:
    """Every lane that can run, and the rows that may be returned."""
    recalled = ~corpus.flagged(NOT_RECALLED)
    matches = bm25(corpus.postings, terms, corpus.spread_lengths, corpus.spread)
    lanes = {"keywords": Lane(matches, weights.keywords, KEYWORD_FLOOR, recalled)}
    if dense is None or vector is None or not dense.has.any():
        return lanes, matches > 0
    has = dense.has & recalled
    turn, window = dense.scores(corpus, vector)
    lanes["dense_turn"] = Lane(turn.astype(np.float64), weights.dense_turn, COSINE_FLOOR, has)
    lanes["dense_window"] = Lane(window.astype(np.float64), weights.dense_window, COSINE_FLOOR, has)
    return lanes, np.ones(len(corpus), np.bool_)


def _boosts(corpus: Corpus, total: Scores, weights: Weights) -> dict[str, Scores]:
    """What a row gains or loses by its place in the talk."""
    asks = corpus.flagged(ENDS_WITH_QUESTION)
    before = corpus.before
    answers = (before >= 0) & asks[before]
    return {
        "inherit": np.where(answers, weights.inherit * total[before], 0.0),
        "question": np.where(asks, weights.question, 0.0),
    }


def _best(score: Scores, eligible: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Rows of the `limit` highest scores, best first; among equals the newer row is first."""
    rows = np.flatnonzero(eligible)
    if len(rows) > limit:
        threshold = np.partition(score[rows], len(rows) - limit)[len(rows) - limit]
        rows = rows[score[rows] >= threshold]
    order = np.lexsort((-rows, -score[rows]))
    return rows[order][:limit]
