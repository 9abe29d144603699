"""Opt-in steps that change the order for other reasons than the question: variety and age."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.fusion import Scores

__all__ = ["diversified", "recency"]


def diversified(
    score: Scores, rows: NDArray[np.intp], vectors: NDArray[np.float32], strength: float
) -> NDArray[np.intp]:
    """`rows`, best first, in an order that puts rows like those before them further back.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each next row has the largest
    (1 - strength) * relevance - strength * cosine to the nearest row taken, relevance being the
    score brought to 0..1. `vectors` holds the unit vectors of `rows`, in their order.
    """
    if len(rows) < 3:
        return rows
    spread = score[rows].max() - score[rows].min()
    relevance = (score[rows] - score[rows].min()) / spread if spread else np.ones(len(rows))
    likeness = vectors @ vectors.T
    nearest = np.full(len(rows), -1.0)
    left = np.ones(len(rows), np.bool_)
    order = []
    for _ in range(len(rows)):
        worth = np.where(left, (1 - strength) * relevance - strength * nearest, -np.inf)
        # The first of equals, which is the better one: argmax takes the earliest.
        at = int(np.argmax(worth))
        order.append(at)
        left[at] = False
        nearest = np.maximum(nearest, likeness[at])
    reordered: NDArray[np.intp] = rows[np.array(order)]
    return reordered


def recency(day: NDArray[np.int32], now: datetime, half_life_days: float) -> Scores:
    """1 for what is said now, 0.5 for what is `half_life_days` old, and so on; shape (rows,).

    `day` holds days as numbers like 20230508. What is dated later than now counts as now.
    """
    months = (day // 10_000 - 1970) * 12 + day // 100 % 100 - 1
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    days = first + day % 100 - 1
    today = np.datetime64(now.date(), "D").astype(np.int64)
    age = np.maximum(today - days, 0)
    return np.asarray(np.power(0.5, age / half_life_days), np.float64)
