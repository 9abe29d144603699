"""Grains above the turn: how well a row's session, and sessions about the same, fit a question.

Both are off by default: on LoCoMo a turn's own scores already hold what its session says
(docs/benchmarks.md). A session's score is the mean of its three best rows; a topic is the sessions
whose mean vectors are alike, in the order they began (leader clustering), and its score the mean of
its three best sessions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.fusion import Scores

__all__ = ["session_scores", "topic_scores"]

BEST: Final = 3
ALIKE: Final = 0.8
"""Cosine of two sessions' mean vectors from which on they are about the same."""


def session_scores(total: Scores, session: NDArray[np.int64]) -> Scores:
    """For each row the score of its session; shape (rows,)."""
    _, group = np.unique(session, return_inverse=True)
    return _best_means(total, group)[group]


def topic_scores(total: Scores, session: NDArray[np.int64], vectors: NDArray[np.float32]) -> Scores:
    """For each row the score of its session's topic; shape (rows,). `vectors` are the rows'."""
    _, first, group = np.unique(session, return_index=True, return_inverse=True)
    count = len(first)
    means = np.zeros((count, vectors.shape[1]))
    np.add.at(means, group, vectors)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    means = np.divide(means, length, out=means, where=length > 0)
    topic = np.zeros(count, np.intp)
    leaders: list[int] = []
    for at in np.argsort(first):
        likeness = means[leaders] @ means[at]
        near = int(np.argmax(likeness)) if leaders else 0
        if leaders and likeness[near] >= ALIKE:
            topic[at] = near
        else:
            topic[at] = len(leaders)
            leaders.append(int(at))
    of_session = _best_means(total, group)
    return _best_means(of_session, topic)[topic][group]


def _best_means(scores: Scores, group: NDArray[np.intp]) -> Scores:
    """For each group the mean of its `BEST` highest scores."""
    order = np.lexsort((-scores, group))
    sorted_group = group[order]
    starts = np.flatnonzero(np.diff(sorted_group, prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    kept = place < BEST
    sums = np.bincount(sorted_group[kept], scores[order][kept])
    means: Scores = sums / np.bincount(sorted_group[kept])
    return means
