"""Lists of several searches as one: a source's, the memory's, and the words of the question."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.retrieval.fusion import Lane, fuse
from rag_memory_plugins.retrieval.keywords import Keywords

__all__ = ["Listed", "checked_weight", "united"]

T = TypeVar("T")

KEYWORD_FLOOR: Final = 0.5
"""A spread of BM25 that means nothing yet; as the memory's own search has it."""
FLOOR: Final = 0.03
"""The same of a list's own scores, as a share of the largest: nobody knows their scale."""


@dataclass(frozen=True)
class Listed(Generic[T]):
    """One item of a list: `key` tells it from others, `score` is None where the list has none."""

    key: str
    item: T
    score: float | None = None


def checked_weight(keywords: object) -> float:
    """The weight of the words. Raises `InvalidInput`."""
    number = isinstance(keywords, (int, float)) and not isinstance(keywords, bool)
    if not number or not 0 <= keywords < math.inf:  # type: ignore[operator]
        raise InvalidInput("keywords", keywords, "pass a weight, a finite number >= 0")
    return float(keywords)  # type: ignore[arg-type]


def united(
    query: str,
    source: Sequence[Listed[T]],
    memory: Sequence[Listed[T]],
    by_words: Sequence[Listed[T]],
    text_of: Callable[[T], str],
    *,
    weight: float,
    limit: int,
) -> list[tuple[T, float]]:
    """(item, score), best first, at most `limit`, each key once.

    The source's scores, the memory's, and the BM25 of all candidates among each other are measured
    in standard deviations from their own mean and added, the last times `weight`. An item
    `by_words` that the source did not return has its lowest score; what a list does not know, or
    holds without a score, has its mean, 0. Equals keep the order source, memory, by_words.

    >>> found = [Listed("a", "Invoice 4711", 0.9), Listed("b", "Invoice 4712", 0.9)]
    >>> [item for item, _ in united("4712?", found, [], [], str, weight=1.0, limit=1)]
    ['Invoice 4712']
    """
    items: dict[str, T] = {}
    for listed in (*source, *memory, *by_words):
        items.setdefault(listed.key, listed.item)
    order = list(items.values())
    rows = {key: row for row, key in enumerate(items)}
    # The source knows these too, and has put them below all that it returned.
    returned = {listed.key: _finite(listed.score) for listed in source}
    lowest = min((score for score in returned.values() if score is not None), default=None)
    below = [
        Listed(listed.key, listed.item, lowest) for listed in by_words if listed.key not in returned
    ]
    lanes = {"source": _lane([*below, *source], rows), "memory": _lane(memory, rows)}
    if weight:
        words = Keywords(order, text_of).scores(query)
        lanes["keywords"] = Lane(words, weight, KEYWORD_FLOOR)
    total, _ = fuse(lanes, len(order))
    best = np.argsort(-total, kind="stable")[:limit]
    return [(order[row], float(total[row])) for row in best]


def _lane(found: Sequence[Listed[T]], rows: dict[str, int]) -> Lane:
    """The scores that a list gives its items; nowhere where it gives none."""
    scores, known = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
    for listed in found:
        score = _finite(listed.score)
        if score is not None:
            row = rows[listed.key]
            scores[row], known[row] = score, True
    largest = float(np.max(np.abs(scores), initial=0.0))
    return Lane(scores, 1.0, max(FLOOR * largest, 1e-12), known)


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
