"""The vectors of one scope, and the cosine of every row to a question, exact.

The window lane needs no vectors of its own: a row's window is its vector plus half of each
neighbour's, so its cosine follows from the rows' own products and one stored norm. Embedding the
three turns as one text instead recalls about as much, and makes three embeddings of every write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import Column, Corpus

__all__ = ["DenseRows"]

NEIGHBOUR_WEIGHT: Final = 0.5

SLICE: Final = 512
"""Rows multiplied at a time. A larger product makes BLAS share it among threads, which on a busy
machine wait for each other: 10,000 rows took 22 ms whole and 0.4 ms in slices, idle 0.3 either way.
"""

Floats = NDArray[np.float32]


class DenseRows:
    """Unit vectors by corpus row; a long message has several pieces and its best one scores."""

    def __init__(self, dimension: int) -> None:
        self._vectors = Column(np.float32, dimension)
        self._has = Column(np.bool_)
        self._settled = Column(np.bool_)
        self._norm = Column(np.float32)
        self._pieces = Column(np.float32, dimension)
        self._piece_row = Column(np.int64)

    @property
    def nbytes(self) -> int:
        columns = (self._vectors, self._has, self._norm, self._pieces)
        return sum(column.nbytes for column in columns)

    @property
    def has(self) -> NDArray[np.bool_]:
        """Which rows have a vector."""
        return self._has.values

    @property
    def vectors(self) -> Floats:
        """Each row's first piece, shape (rows, dimension); zero for a row without."""
        values: Floats = self._vectors.values
        return values

    @property
    def settled(self) -> int:
        """How many rows were embedded, those without a text included."""
        return int(np.count_nonzero(self._settled.values))

    def resize(self, rows: int) -> None:
        """Grow to `rows`; new rows have no vector, so no window changes."""
        for column in (self._vectors, self._has, self._norm, self._settled):
            column.resize(rows)

    def update(self, corpus: Corpus, rows: NDArray[np.intp], vectors: Sequence[Floats]) -> None:
        """Set the pieces of these rows and grow to the corpus; no pieces means no vector."""
        self.resize(len(corpus))
        self._settled.values[rows] = True
        for row, pieces in zip(rows, vectors, strict=True):
            if not len(pieces):
                continue
            self._vectors.values[row] = pieces[0]
            self._has.values[row] = True
            if len(pieces) > 1:
                self._pieces.extend(pieces[1:])
                self._piece_row.extend(np.full(len(pieces) - 1, row))
        self._renorm(corpus, rows)

    def _renorm(self, corpus: Corpus, rows: NDArray[np.intp]) -> None:
        before, after = corpus.before, corpus.after
        reached = np.concatenate([rows, before[rows], after[rows]])
        touched = np.unique(reached[reached >= 0])
        # In slices: the sums of a large scope would take three times its vectors otherwise.
        for start in range(0, len(touched), 4_096):
            at = touched[start : start + 4_096]
            window = self._vectors.values[at].copy()
            for neighbours in (before[at], after[at]):
                there = neighbours >= 0
                window[there] += (
                    np.float32(NEIGHBOUR_WEIGHT) * self._vectors.values[neighbours[there]]
                )
            self._norm.values[at] = np.sqrt((window * window).sum(axis=1))

    def scores(self, corpus: Corpus, query: Floats) -> tuple[Floats, Floats]:
        """(cosine of every row's best piece, of its window of three turns), each of shape (rows,).

        A row without a vector scores 0.
        """
        first = _products(self._vectors.values, query)
        window = first.copy()
        for neighbours in (corpus.before, corpus.after):
            window += np.float32(NEIGHBOUR_WEIGHT) * np.where(neighbours >= 0, first[neighbours], 0)
        norm = self._norm.values
        np.divide(window, norm, out=window, where=norm > 0)
        if len(self._pieces):
            np.maximum.at(first, self._piece_row.values, _products(self._pieces.values, query))
        return first, window


def _products(rows: Floats, query: Floats) -> Floats:
    """The product of every row with `query`; shape (rows,)."""
    result = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), SLICE):
        np.dot(rows[start : start + SLICE], query, out=result[start : start + SLICE])
    return result
