"""Scopes in memory, bounded in bytes: those used longest ago go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.columns import Column
from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.passages import Passages

__all__ = ["Loaded", "RowCache", "ScopeCache"]

T = TypeVar("T", bound=np.generic)

ROW_BYTES: Final = 32 * 2**20
"""Token vectors one scope keeps in memory, some 14,000 messages'; then it begins anew."""


class RowCache(dict[int, NDArray[T]]):
    """An array by row, of the rows that were candidates lately."""

    nbytes: int = 0

    def __setitem__(self, row: int, held: NDArray[T]) -> None:
        if self.nbytes > ROW_BYTES:
            self.clear()
            self.nbytes = 0
        self.nbytes += held.nbytes
        super().__setitem__(row, held)

    def drop(self, row: int) -> None:
        """Let go of a row, if it is here."""
        if (held := self.pop(row, None)) is not None:
            self.nbytes -= held.nbytes


@dataclass
class Loaded:
    """One scope in memory, up to `seq` and `vid` of its generation.

    `settled` says which rows wait for no vector. `dense` has every vector, or is None for a scope too large for
    that; then `pieces` has those that were looked at lately.
    """

    generation: int
    corpus: Corpus = field(default_factory=Corpus)
    dense: DenseRows | None = None
    passages: Passages = field(default_factory=Passages)
    tokens: RowCache[np.int8] = field(default_factory=RowCache)
    pieces: RowCache[np.float32] = field(default_factory=RowCache)
    settled: Column = field(default_factory=lambda: Column(np.bool_))
    seq: int = 0
    vid: int = 0
    removed: int = 0  # up to which number of the removals they are left out
    lock: threading.Lock = field(default_factory=threading.Lock)
    counted: int = 0  # bytes of this scope in the cache's total

    def settle(self, rows: NDArray[np.intp]) -> None:
        """These rows were embedded, or are removed: they wait for nothing."""
        self.settled.resize(len(self.corpus))
        self.settled.values[rows] = True

    @property
    def waiting(self) -> int:
        """How many rows have no vector yet."""
        return len(self.corpus) - int(np.count_nonzero(self.settled.values))

    @property
    def nbytes(self) -> int:
        dense = self.dense.nbytes if self.dense is not None else 0
        read = self.tokens.nbytes + self.pieces.nbytes
        return self.corpus.nbytes + dense + self.passages.nbytes + read


class ScopeCache:
    """Loaded scopes by id; used by several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scopes: OrderedDict[int, Loaded] = OrderedDict()
        self._lock = threading.Lock()
        self._used = 0

    def get(self, scope_id: int, generation: int) -> Loaded:
        """The scope's columns of this generation, empty if they were not there."""
        with self._lock:
            loaded = self._scopes.get(scope_id)
            if loaded is not None and loaded.generation > generation:
                # Our snapshot is older than an erase that another search has seen: this search
                # answers from its own snapshot and leaves the newer columns where they are.
                return Loaded(generation)
            if loaded is None or loaded.generation < generation:
                self._used -= loaded.counted if loaded is not None else 0
                loaded = self._scopes[scope_id] = Loaded(generation)
            self._scopes.move_to_end(scope_id)
            return loaded

    def account(self, scope_id: int, loaded: Loaded) -> None:
        """Count the scope's bytes; let go of the scopes used longest ago until the cache fits."""
        with self._lock:
            if self._scopes.get(scope_id) is not loaded:
                return
            held = loaded.nbytes
            self._used += held - loaded.counted
            loaded.counted = held
            while self._used > self._limit and len(self._scopes) > 1:
                _, oldest = self._scopes.popitem(last=False)
                self._used -= oldest.counted
