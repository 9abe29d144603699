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

from rag_memory_plugins.retrieval.columns import Column
from rag_memory_plugins.retrieval.corpus import Corpus

__all__ = ["DenseRows", "products"]

NEIGHBOUR_WEIGHT: Final = 0.5

Floats = NDArray[np.float32]


class DenseRows:
    """Unit vectors by corpus row; a long message has several pieces and its best one scores."""

    sample: NDArray[np.intp] | None = None  # every row is compared: see `chosen.ChosenRows`

    def __init__(self, dimension: int) -> None:
        self._vectors = Column(np.float32, dimension)
        self._has = Column(np.bool_)
        self._norm = Column(np.float32)
        self._pieces = Column(np.float32, dimension)
        self._piece_row = Column(np.int64)
        self._divisor: Floats | None = None

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

    def vectors_of(self, rows: NDArray[np.intp]) -> Floats:
        """Each row's first piece, shape (rows, dimension); zero for a row without."""
        return self.vectors[rows]

    def resize(self, rows: int) -> None:
        """Grow to `rows`; new rows have no vector, so no window changes."""
        if rows == len(self._has):
            return
        self._divisor = None
        for column in (self._vectors, self._has, self._norm):
            column.resize(rows)

    def update(self, corpus: Corpus, rows: NDArray[np.intp], vectors: Sequence[Floats]) -> None:
        """Set the pieces of these rows and grow to the corpus; no pieces means no vector."""
        counts = np.array([len(pieces) for pieces in vectors], np.int64)
        empty = np.empty((0, self.vectors.shape[1]), np.float32)
        self.put(corpus, rows, np.concatenate([empty, *vectors]), counts)

    def put(
        self, corpus: Corpus, rows: NDArray[np.intp], pieces: Floats, counts: NDArray[np.int64]
    ) -> None:
        """`update` with the pieces of all rows one after the other, `counts` of each."""
        self.resize(len(corpus))
        held = counts > 0
        first = (np.cumsum(counts) - counts)[held]
        self._has.values[rows[held]] = True
        one_each = len(first) == len(pieces)
        self._vectors.values[rows[held]] = pieces if one_each else pieces[first]
        if not one_each:
            more = np.ones(len(pieces), np.bool_)
            more[first] = False
            self._pieces.extend(pieces[more])
            self._piece_row.extend(np.repeat(rows, counts)[more])
        self._renorm(corpus, rows)

    def remove(self, rows: NDArray[np.intp]) -> None:
        """Forget the vectors of these rows, which stand alone."""
        self._divisor = None
        self._has.values[rows] = False
        self._vectors.values[rows] = 0.0
        self._norm.values[rows] = 0.0
        self._pieces.values[np.isin(self._piece_row.values, rows)] = 0.0

    def _renorm(self, corpus: Corpus, rows: NDArray[np.intp]) -> None:
        """Take the norms of these rows' windows and of their neighbours' anew."""
        self._divisor = None
        before, after = corpus.before, corpus.after
        marked = np.zeros(len(corpus) + 1, np.bool_)
        for some in (rows, before[rows], after[rows]):
            marked[some] = True  # -1, for none, marks the one row more
        touched = np.flatnonzero(marked[:-1])
        vectors, half = self._vectors.values, np.float32(NEIGHBOUR_WEIGHT)
        # In slices that stay in the processor's cache: 10,000 rows take 7 ms, by 4,096 22.
        for start in range(0, len(touched), 256):
            at = touched[start : start + 256]
            window = vectors[at]
            for neighbours in (before[at], after[at]):
                there = neighbours >= 0
                window[there] += half * vectors[neighbours[there]]
            self._norm.values[at] = np.sqrt((window * window).sum(axis=1))

    def scores(self, corpus: Corpus, query: Floats) -> tuple[Floats, Floats]:
        """(cosine of every row's best piece, of its window of three turns), each of shape (rows,).

        A row without a vector scores 0.
        """
        first = products(self._vectors.values, query)
        window, half = first.copy(), np.float32(NEIGHBOUR_WEIGHT)
        if corpus.side_by_side:
            # By shifting, 0.1 ms over 100,000 rows; by following neighbours 0.6.
            link = corpus.derived("half", lambda: half * (corpus.before[1:] >= 0))
            window[1:] += link * first[:-1]
            window[:-1] += link * first[1:]
        else:
            for neighbours in (corpus.before, corpus.after):
                window += half * np.where(neighbours >= 0, first[neighbours], 0)
        if self._divisor is None:
            # Dividing by 1 where there is no window: all at once is quicker than where it counts.
            norm = self._norm.values
            self._divisor = np.where(norm > 0, norm, np.float32(1))
        window /= self._divisor
        if len(self._pieces):
            np.maximum.at(first, self._piece_row.values, products(self._pieces.values, query))
        return first, window


def products(rows: Floats, query: Floats) -> Floats:
    """The product of every row with `query`; shape (rows,).

    Not by BLAS: its product of a matrix and a vector takes twice as long, and shares a large one
    among threads, which on a busy machine wait for each other.
    """
    result: Floats = np.einsum("ij,j->i", rows, query)
    return result
