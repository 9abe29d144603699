"""Which passages of a scope say what a question asks for, each scored beside all others.

A passage has its cosine, a share of what its message has by the lanes, and less the more passages
its message has. Among the first it has less where its like is said often (a greeting, a line that
every log holds: near to many questions, an answer to none), and where a better one says the same.
What this gains in contexts is in `docs/benchmarks.md`, "Contexts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.fusion import Scores, best_rows
from rag_memory_plugins.retrieval.late import ONE_THREAD
from rag_memory_plugins.retrieval.passages import Floats, Near, Rows

__all__ = ["Found", "cosines", "found"]

FLOOR: Final = 0.03
"""A spread of cosines that means nothing yet; as `fusion.Lane` has it."""
MESSAGE: Final = 0.25
"""What a passage has of its message's lanes, in their standard deviations."""
CROWD: Final = 0.3
"""What it loses with the logarithm of how many passages the message has."""
LOOKED: Final = 512
"""Messages whose passages are looked at in full, and passages that are compared with others: what
a long context holds, three times."""
SAMPLE: Final = 256
"""Passages, evenly from the whole scope, that tell how often the like of one is said."""
OFTEN: Final = 3
"""Of the sample so many nearest count: one may be the same by chance."""
COMMON: Final = 4.0
REPEATED: Final = 1.0
"""What a cosine of 1 to the sample, and above `LIKE` to a better passage, costs."""
LIKE: Final = 0.5
COMPARED: Final = 256
"""Passages of which one may repeat another: as many as a long context holds."""


@dataclass(frozen=True)
class Found:
    """The rows whose passages were looked at, ascending, and the score of each of their passages.

    `begins` says by row where its passages begin among `scores` and `vectors`.
    """

    rows: Rows
    begins: Rows
    scores: Scores
    vectors: NDArray[np.int8]

    def first(self, count: int) -> Rows:
        """The rows of the `count` best passages, each once, in their order."""
        best = best_rows(self.scores, np.isfinite(self.scores), count)
        rows = self.rows[np.searchsorted(self.begins, best, side="right") - 1]
        return np.array(list(dict.fromkeys(rows.tolist())), np.intp)

    def of(self, rows: Rows) -> list[tuple[float, ...]]:
        """The score of each passage of these rows; nothing for a row without."""
        scores, begins = self.scores.tolist(), [*self.begins.tolist(), len(self.scores)]
        at = self.rows.searchsorted(rows)
        has = np.isin(rows, self.rows)
        return [
            tuple(scores[begins[place] : begins[place + 1]]) if held else ()
            for place, held in zip(at.tolist(), has.tolist(), strict=True)
        ]

    def alike(self, rows: Rows) -> Floats:
        """Cosines of these rows' best passages to one another, shape (rows, rows)."""
        vectors = np.zeros((len(rows), self.vectors.shape[1]), np.int8)
        if len(self.rows):
            counts = np.diff(np.append(self.begins, len(self.scores)))
            best = np.repeat(np.maximum.reduceat(self.scores, self.begins), counts)
            hits = np.flatnonzero(self.scores == best)
            hits = hits[np.searchsorted(hits, self.begins)]
            at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            has = self.rows[at] == rows
            vectors[has] = self.vectors[hits[at[has]]]
        return cosines(vectors, vectors)


def found(near: Near, whole: Scores, eligible: NDArray[np.bool_], also: Rows) -> Found:
    """The passages of the rows that lead, and of those in `also`, with their scores.

    `whole` is what each row has by the lanes. A passage that was not compared with others stands
    below those that were, in its own order.
    """
    sample = near.sample(SAMPLE)
    spread = float(np.sqrt(near.cosines(near.vectors[sample]).var() + FLOOR**2))
    of_row = MESSAGE * whole - CROWD * np.log(np.maximum(near.counts, 1))
    leading = best_rows(near.coarse() / spread + of_row, eligible & near.has, LOOKED)
    marked = np.zeros(len(whole), np.bool_)
    marked[leading] = marked[also] = True
    rows = np.flatnonzero(marked & near.has)
    begins, places = near.places(rows)
    vectors = near.vectors[places]
    scores = np.repeat(of_row[rows], near.counts[rows])
    scores += near.cosines(vectors) / spread
    first = best_rows(scores, np.ones(len(scores), np.bool_), LOOKED)
    if len(first) > 1:
        last = scores[first[-1]]
        like = cosines(vectors[first], near.vectors[sample])
        like[places[first][:, None] == sample] = 0.0  # nothing is said again for being sampled
        judged = _judged(vectors[first], scores[first], like)
        scores += min(0.0, float(judged.min() - last))
        scores[first] = judged
    return Found(rows, begins, scores, vectors)


def _judged(vectors: NDArray[np.int8], scores: Scores, like: Floats) -> Scores:
    """Scores of the first passages, less what is said often and what repeats a better one."""
    often = min(OFTEN, like.shape[1])
    common = np.partition(like, -often, axis=1)[:, -often]
    judged: Scores = scores - COMMON * common
    order = np.argsort(-judged, kind="stable")[:COMPARED]
    ordered = vectors[order]
    likest = np.tril(cosines(ordered, ordered), -1).max(axis=1)
    judged[order] -= REPEATED * np.maximum(0.0, likest - LIKE)
    return judged


def cosines(some: NDArray[np.int8], others: NDArray[np.int8]) -> Floats:
    """Cosines of all pairs, shape (some, others), 0 for a vector of zeros."""
    one, other = some.astype(np.float32), others.astype(np.float32)
    columns = np.ascontiguousarray(other.T)
    result = np.empty((len(one), len(other)), np.float32)
    # Products of whole numbers, exact however many rows there are at once: so few that BLAS leaves
    # them to one thread; its helpers spin on after each product.
    step = max(1, ONE_THREAD // max(1, columns.size))
    with np.errstate(invalid="ignore"):  # a kernel of BLAS may work on lanes past the end
        for start in range(0, len(one), step):
            np.dot(one[start : start + step], columns, out=result[start : start + step])
    result /= _lengths(one)[:, None]
    result /= _lengths(other)
    return result


def _lengths(vectors: Floats) -> Floats:
    lengths: Floats = np.sqrt(np.square(vectors).sum(axis=1))
    return np.maximum(lengths, np.float32(1e-6))
