"""The vectors of some rows of a large scope: those worth a look, and a sample of all.

A vector store proposes rows and the keyword lane brings its best; each is scored by its own vector
and its neighbours', as `dense.DenseRows` does. What is usual in the scope, which a score is
measured against, is told by a sample that is the same for every question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.dense import NEIGHBOUR_WEIGHT, Floats
from rag_memory_plugins.retrieval.fusion import best_rows

__all__ = ["ChosenRows", "PieceSource", "sample_of"]

Rows = NDArray[np.intp]
PieceSource = Callable[[Sequence[int]], Sequence[Floats | None]]
"""For each row its vectors, shape (pieces, dimension); None for a row that has none."""

KEYWORDS: Final = 128
"""Rows that the keyword lane brings: what it and the store both rank low is nobody's hit."""
SAMPLE: Final = 256
"""Rows of the sample: mean and spread of a lane are then within some 6 % of the scope's."""
_MIXING: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Fibonacci hashing


class ChosenRows:
    """Unit vectors of the chosen rows of one question; stands where `DenseRows` does.

    `proposed` are rows in any order; `pieces` reads vectors, of those rows, of the rows beside
    them and of the sample.
    """

    def __init__(self, dimension: int, proposed: Rows, pieces: PieceSource) -> None:
        self._dimension = dimension
        self._proposed = proposed
        self._pieces = pieces
        self._rows: Rows = np.empty(0, np.intp)
        self._around: Rows = np.empty(0, np.intp)  # the rows and those beside them
        self._held: list[Floats | None] = []
        self._first: Floats = np.empty((0, dimension), np.float32)
        self.has: NDArray[np.bool_] = np.empty(0, np.bool_)
        self.sample: Rows = np.empty(0, np.intp)

    def choose(self, corpus: Corpus, matches: NDArray[np.float64]) -> None:
        """Read the vectors of what was proposed, of the keyword lane's best, and of the sample."""
        best = best_rows(matches, matches > 0, KEYWORDS)
        sample = sample_of(corpus)
        rows = np.unique(np.concatenate([self._proposed, best, sample]))
        sides = [side[side >= 0] for side in (corpus.before[rows], corpus.after[rows])]
        self._around = np.unique(np.concatenate([rows, *sides]))
        self._held = [
            some if some is not None and len(some) else None
            for some in self._pieces(self._around.tolist())
        ]
        self._first = np.zeros((len(self._around), self._dimension), np.float32)
        for at, some in enumerate(self._held):
            if some is not None:
                self._first[at] = some[0]
        there = np.array([some is not None for some in self._held], np.bool_)
        self._rows = rows[there[np.searchsorted(self._around, rows)]]
        self.has = np.zeros(len(corpus), np.bool_)
        self.has[self._rows] = True
        self.sample = sample[self.has[sample]]

    def scores(self, corpus: Corpus, query: Floats) -> tuple[Floats, Floats]:
        """(cosine of every chosen row's best piece, of its window), each of shape (rows,).

        A row that was not chosen has what the sample has on average.
        """
        rows, places = self._rows, np.searchsorted(self._around, self._rows)
        held = (self._held[at] for at in places.tolist())
        turn = np.array([(some @ query).max() for some in held if some is not None], np.float32)
        window = self._first[places]
        for side in (corpus.before[rows], corpus.after[rows]):
            there = np.flatnonzero(side >= 0)
            near = self._first[np.searchsorted(self._around, side[there])]
            window[there] += np.float32(NEIGHBOUR_WEIGHT) * near
        norm = np.sqrt((window * window).sum(axis=1))
        cosine: Floats = np.divide(window @ query, norm, where=norm > 0, out=np.zeros_like(norm))
        return self._spread(len(corpus), turn), self._spread(len(corpus), cosine)

    def vectors_of(self, rows: Rows) -> Floats:
        """Each row's first piece, shape (rows, dimension); zero for a row that was not chosen."""
        at = np.searchsorted(self._around, rows)
        at[at == len(self._around)] = 0
        found: Floats = np.where((self._around[at] == rows)[:, None], self._first[at], 0)
        return found

    def _spread(self, count: int, scores: Floats) -> Floats:
        """Scores by corpus row; what was not chosen scores as is usual."""
        sample = np.isin(self._rows, self.sample)
        usual = scores[sample].mean() if sample.any() else 0
        every = np.full(count, usual, np.float32)
        every[self._rows] = scores
        return every


def sample_of(corpus: Corpus) -> Rows:
    """Rows that stand for all of a scope's: a new message changes at most one of them."""

    def make() -> Rows:
        mixed = corpus.seq.astype(np.uint64) * _MIXING
        rows: Rows = np.argpartition(mixed, min(SAMPLE, len(mixed)) - 1)[:SAMPLE]
        return np.sort(rows)

    return corpus.derived("sample", make)
