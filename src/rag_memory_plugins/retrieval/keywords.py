"""Things of any source by the words in them: the terms and the BM25 of the memory's own search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np

from rag_memory_plugins.retrieval.fusion import Scores, best_rows
from rag_memory_plugins.retrieval.lexical import Postings, Spread, bm25, term_hashes, terms_of

__all__ = ["Keywords"]

T = TypeVar("T")


class Keywords(Generic[T]):
    """BM25 over `items`, each by the text that `text_of` gives; none is another's neighbour.

    IDF and mean length are those of the items held. May be used from several threads.

    >>> Keywords(["a blue boat", "a red boat"], str).best("the red one", 2)
    ['a red boat']
    """

    def __init__(self, items: Iterable[T], text_of: Callable[[T], str]) -> None:
        self._lock = threading.Lock()
        self._text_of = text_of
        self._begin()
        self._add(items)

    def follow(self, ids: Sequence[str], read: Callable[[list[str]], Iterable[T]]) -> Keywords[T]:
        """Hold the items of these ids: what is new is read; all of it if something is gone."""
        with self._lock:
            if self._ids != list(ids[: len(self._ids)]):
                self._begin()
            new = list(ids[len(self._ids) :])
            if new:
                self._add(read(new))
                self._ids += new
        return self

    def scores(self, query: str) -> Scores:
        """The score of every item held, in order; shape (items,), 0 for no word of the query."""
        with self._lock:
            return self._scores(query)

    def best(self, query: str, count: int) -> list[T]:
        """Up to `count` items that hold a word of the query, best first."""
        with self._lock:
            scores = self._scores(query)
            return [self._items[row] for row in best_rows(scores, scores > 0, count).tolist()]

    def _begin(self) -> None:
        self._ids: list[str] = []
        self._items: list[T] = []
        self._lengths: list[int] = []
        self._postings = Postings()

    def _add(self, items: Iterable[T]) -> None:
        given = list(items)
        terms = [term_hashes(self._text_of(item)) for item in given]
        self._postings.extend(terms)
        self._lengths += map(len, terms)
        self._items += given

    def _scores(self, query: str) -> Scores:
        alone = np.full(len(self._items), -1, np.int32)
        lengths = np.array(self._lengths, np.float64)
        return bm25(self._postings, terms_of(query), lengths, Spread(alone, alone))
