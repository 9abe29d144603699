"""The passages of one scope: a short vector for every sentence of every message.

A long message says many things, and its one vector is about none of them: what contexts gain from
looking at sentences is in `docs/benchmarks.md`, "Contexts".

All passages are compared to a question coarsely, two in one product, and in full only those of the
rows that lead: a product with all of them takes as long as reading them from memory does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.columns import Column
from rag_memory_plugins.retrieval.dense import products

__all__ = ["Near", "Passages"]

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

PAIR: Final = 4_096
"""What the second passage of a pair is multiplied by: products are whole numbers below half of it,
and one of a pair below 2^24, so that it is exact and comes apart again."""
COARSE: Final = 44
"""Length of a coarse vector, and of a coarse question: the product of both is below half a `PAIR`."""
WIDTH: Final = 64
"""Numbers of a coarse vector, the first of its passage's. Those of the default embedder come in the
order of what they tell: of the 128 best messages 127 are among the 512 that lead by half of them."""
SLICE: Final = 512
"""Vectors made wider at a time: they are multiplied while the processor's cache holds them."""


class Passages:
    """Vectors of passages by corpus row, appended as messages are embedded."""

    def __init__(self) -> None:
        self._vectors: Column | None = None
        self._pairs: Column | None = None
        self._step = 1.0
        self._spans = Column(np.int32, 2)
        self._rows = Column(np.int64)
        self._counts = Column(np.int64)

    def __len__(self) -> int:
        return len(self._vectors) if self._vectors is not None else 0

    @property
    def nbytes(self) -> int:
        columns = (self._vectors, self._pairs, self._spans, self._rows, self._counts)
        return sum(column.nbytes for column in columns if column is not None)

    def put(
        self,
        rows: NDArray[np.intp],
        blobs: Sequence[bytes | None],
        widths: Sequence[int | None],
        spans: Sequence[bytes | None] = (),
    ) -> None:
        """Append the passages of these rows, int8 one after the other; None for a row without.

        `spans` are int32, the start and the end of each in its text; None where nobody kept them.
        """
        held = [at for at, blob in enumerate(blobs) if blob]
        if not held:
            return
        width = widths[held[0]] or 1
        flat = np.frombuffer(b"".join(blobs[at] or b"" for at in held), np.int8).reshape(-1, width)
        counts = [len(blobs[at] or b"") // width for at in held]
        self._put_vectors(flat)
        self._rows.extend(rows[held])
        self._counts.extend(counts)
        known = [(spans[at] if spans else None) or b"" for at in held]
        full = [
            some if len(some) == 8 * count else bytes(8 * count)
            for some, count in zip(known, counts, strict=True)
        ]
        self._spans.extend(np.frombuffer(b"".join(full), "<i4"))

    def _put_vectors(self, flat: NDArray[np.int8]) -> None:
        if self._vectors is None or self._pairs is None:
            self._vectors = Column(np.int8, flat.shape[1])
            # As float32, because a product of int8 is computed without BLAS, ten times slower.
            self._pairs = Column(np.float32, min(WIDTH, flat.shape[1]))
            # Whole, and so the same whichever vector comes first: all are of about one length.
            self._step = max(1.0, np.rint(np.linalg.norm(flat[0].astype(np.float32)) / COARSE))
        at = np.arange(len(self._vectors), len(self._vectors) + len(flat))
        self._vectors.extend(flat)
        self._pairs.resize((len(self._vectors) + 1) // 2)
        coarse = np.rint(flat[:, :WIDTH] / np.float32(self._step))
        second = at % 2 == 1
        self._pairs.values[at[~second] // 2] += coarse[~second]
        self._pairs.values[at[second] // 2] += PAIR * coarse[second]

    def near(self, query: NDArray[np.int8], rows: int) -> Near:
        """The passages beside a question of shape (width,), in a scope of so many rows."""
        assert self._vectors is not None  # who asks has looked at the length
        assert self._pairs is not None
        held = self._rows.values
        starts, counts = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        firsts = np.cumsum(self._counts.values) - self._counts.values
        starts[held] = firsts
        counts[held] = self._counts.values
        pairs, spans = self._pairs.values, self._spans.values
        asked = query.astype(np.float32)
        return Near(
            asked, self._vectors.values, pairs, spans, held, firsts, starts, counts, self._step
        )


@dataclass(frozen=True)
class Near:
    """A question beside passages.

    `held` are the rows that have any, in the order of the passages, and `firsts` where theirs
    begin; `starts` and `counts` say by row where its passages begin, and how many they are. `step`
    is what a coarse number stands for.
    """

    asked: Floats
    vectors: NDArray[np.int8]
    pairs: Floats
    spans: NDArray[np.int32]
    held: Rows
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    step: float

    @cached_property
    def has(self) -> NDArray[np.bool_]:
        """Which rows have passages."""
        has: NDArray[np.bool_] = self.counts > 0
        return has

    @property
    def best(self) -> NDArray[np.float64]:
        """The cosine of every row's best passage; 0 for a row without."""
        return self._best_of_all(self.cosines(self.vectors))

    def spans_of(self, rows: Rows) -> list[tuple[tuple[int, int], ...]]:
        """Where each row's passages stand in its text; nothing where nobody kept it."""
        spans = self.spans[self.places(rows)[1]]
        pairs = list(zip(spans[:, 0].tolist(), spans[:, 1].tolist(), strict=True))
        ends = np.cumsum(self.counts[rows]).tolist()
        found = (pairs[low:high] for low, high in zip([0, *ends], ends, strict=False))
        return [tuple(some) if some and some[-1][1] else () for some in found]

    def coarse(self) -> NDArray[np.float64]:
        """About the cosine of every row's best passage; 0 for a row without."""
        asked = self.asked[: self.pairs.shape[1]]
        length = max(float(np.linalg.norm(asked)), 1.0)
        both = products(self.pairs, np.rint(asked * np.float32(COARSE / length)))
        scores = np.empty((len(both), 2), np.float32)
        np.rint(both / np.float32(PAIR), out=scores[:, 1])
        np.subtract(both, PAIR * scores[:, 1], out=scores[:, 0])
        best = self._best_of_all(scores.reshape(-1)[: len(self.vectors)])
        # The numbers left out tell as much, each for its share of the question.
        return best * (self.step / length / COARSE)

    def places(self, rows: Rows) -> tuple[Rows, Rows]:
        """(where each row's passages begin among those of all these rows, the place of each)."""
        counts = self.counts[rows]
        begins = np.cumsum(counts) - counts
        return begins, np.repeat(self.starts[rows] - begins, counts) + np.arange(counts.sum())

    def sample(self, count: int) -> Rows:
        """Places of so many passages, evenly over the scope from its oldest row to its newest."""
        ends = np.cumsum(self.counts)
        total = int(ends[-1])
        wanted = np.arange(min(count, total)) * total // min(count, total)
        rows = np.searchsorted(ends, wanted, side="right")
        places: Rows = self.starts[rows] + wanted - (ends[rows] - self.counts[rows])
        return places

    def cosines(self, vectors: NDArray[np.int8]) -> Floats:
        """The question's cosine to each of these vectors of passages."""
        cosines = np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), SLICE):
            part = vectors[start : start + SLICE].astype(np.float32)
            cosines[start : start + SLICE] = products(part, self.asked)
        cosines /= max(float(self.asked @ self.asked), 1.0)
        return cosines

    def _best_of_all(self, scores: Floats) -> NDArray[np.float64]:
        best = np.zeros(len(self.counts))
        best[self.held] = np.maximum.reduceat(scores, self.firsts)
        return best
