"""Scopes in memory, bounded in bytes: those used longest ago go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.passages import Passages

__all__ = ["Loaded", "ScopeCache", "TokenCache"]

TOKEN_BYTES: Final = 32 * 2**20
"""Token vectors one scope keeps in memory, some 14,000 messages'; then it begins anew."""


class TokenCache(dict[int, NDArray[np.int8]]):
    """Token vectors by row, of the rows that were candidates lately."""

    nbytes: int = 0

    def __setitem__(self, row: int, tokens: NDArray[np.int8]) -> None:
        if self.nbytes > TOKEN_BYTES:
            self.clear()
            self.nbytes = 0
        self.nbytes += tokens.nbytes
        super().__setitem__(row, tokens)


@dataclass
class Loaded:
    """One scope in memory, up to `seq` and `vid` of its generation."""

    generation: int
    corpus: Corpus = field(default_factory=Corpus)
    dense: DenseRows | None = None
    passages: Passages = field(default_factory=Passages)
    tokens: TokenCache = field(default_factory=TokenCache)
    seq: int = 0
    vid: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    counted: int = 0  # bytes of this scope in the cache's total

    @property
    def nbytes(self) -> int:
        dense = self.dense.nbytes if self.dense is not None else 0
        return self.corpus.nbytes + dense + self.passages.nbytes + self.tokens.nbytes


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
