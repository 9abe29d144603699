"""The passages of one scope: a short vector for every sentence of every message.

A long message says many things, and its one vector is about none of them: what contexts gain from
looking at sentences is in `docs/benchmarks.md`, "Contexts".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.columns import Column
from rag_memory_plugins.retrieval.dense import products

__all__ = ["Near", "Passages"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Near:
    """What a question made of passages: each one's cosine, and the best of every row.

    `starts` and `counts` are by row: where its passages begin among `scores`, and how many.
    """

    scores: Floats
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    best: NDArray[np.float64]
    vectors: Floats

    @property
    def has(self) -> NDArray[np.bool_]:
        """Which rows have passages."""
        has: NDArray[np.bool_] = self.counts > 0
        return has

    def of(self, row: int) -> tuple[float, ...]:
        """The cosine of each of a row's passages."""
        start = int(self.starts[row])
        return tuple(self.scores[start : start + int(self.counts[row])].tolist())

    def alike(self, rows: NDArray[np.intp]) -> Floats:
        """Cosines of these rows' best passages to each other, shape (rows, rows)."""
        places = [
            start + int(np.argmax(self.scores[start : start + count])) if count else -1
            for start, count in zip(self.starts[rows], self.counts[rows], strict=True)
        ]
        vectors = self.vectors[places] * (np.array(places) >= 0)[:, None]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        cosines: Floats = vectors @ vectors.T
        return cosines


class Passages:
    """Vectors of passages by corpus row, appended as messages are embedded."""

    def __init__(self) -> None:
        self._vectors: Column | None = None
        self._rows = Column(np.int64)
        self._counts = Column(np.int64)

    def __len__(self) -> int:
        return len(self._vectors) if self._vectors is not None else 0

    @property
    def nbytes(self) -> int:
        return self._vectors.nbytes if self._vectors is not None else 0

    def put(
        self, rows: NDArray[np.intp], blobs: Sequence[bytes | None], widths: Sequence[int | None]
    ) -> None:
        """Append the passages of these rows, int8 one after the other; None for a row without."""
        held = [at for at, blob in enumerate(blobs) if blob]
        if not held:
            return
        width = widths[held[0]] or 1
        if self._vectors is None:
            self._vectors = Column(np.float32, width)
        flat = np.frombuffer(b"".join(blobs[at] or b"" for at in held), np.int8)
        # As float32, because a product of int8 is computed without BLAS, ten times slower.
        self._vectors.extend(flat.reshape(-1, width))
        self._rows.extend(rows[held])
        self._counts.extend([len(blobs[at] or b"") // width for at in held])

    def scores(self, query: NDArray[np.int8], rows: int) -> Near:
        """Cosines of all passages to a question of shape (width,), and the best of each row."""
        assert self._vectors is not None  # who asks has looked at the length
        vectors, counts = self._vectors.values, self._counts.values
        asked = query.astype(np.float32)
        scores = products(vectors, asked)
        scores /= max(float(asked @ asked), 1.0)
        first = np.cumsum(counts) - counts
        best = np.zeros(rows)
        best[self._rows.values] = np.maximum.reduceat(scores, first)
        starts, held = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        starts[self._rows.values] = first
        held[self._rows.values] = counts
        return Near(scores, starts, held, best, vectors)
