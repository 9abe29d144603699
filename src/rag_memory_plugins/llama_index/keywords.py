"""Nodes by the words in them: the terms and the BM25 of the memory's own search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from llama_index.core.schema import BaseNode, MetadataMode

from rag_memory_plugins.retrieval.fusion import Scores, best_rows
from rag_memory_plugins.retrieval.lexical import Postings, Spread, bm25, term_hashes, terms_of

__all__ = ["Keywords"]


class Keywords:
    """BM25 over nodes, each by the text an embedder is shown; no node is another's neighbour.

    IDF and mean length are those of the nodes held. May be used from several threads.

    >>> from llama_index.core.schema import TextNode
    >>> boats = [TextNode(text="a blue boat"), TextNode(text="a red boat")]
    >>> [node.text for node in Keywords(boats).best("the red one", 2)]
    ['a red boat']
    """

    def __init__(self, nodes: Iterable[BaseNode] = ()) -> None:
        self._lock = threading.Lock()
        self._begin()
        self._add(nodes)

    def follow(
        self, ids: Sequence[str], read: Callable[[list[str]], Iterable[BaseNode]]
    ) -> Keywords:
        """Hold the nodes of these ids: what is new is read; all of it if something is gone."""
        with self._lock:
            if self._ids != list(ids[: len(self._ids)]):
                self._begin()
            new = list(ids[len(self._ids) :])
            if new:
                self._add(read(new))
                self._ids += new
        return self

    def scores(self, query: str) -> Scores:
        """The score of every node held, in order; shape (nodes,), 0 for no word of the query."""
        with self._lock:
            return self._scores(query)

    def best(self, query: str, count: int) -> list[BaseNode]:
        """Up to `count` nodes that hold a word of the query, best first."""
        with self._lock:
            scores = self._scores(query)
            return [self._nodes[row] for row in best_rows(scores, scores > 0, count).tolist()]

    def _begin(self) -> None:
        self._ids: list[str] = []
        self._nodes: list[BaseNode] = []
        self._lengths: list[int] = []
        self._postings = Postings()

    def _add(self, nodes: Iterable[BaseNode]) -> None:
        given = list(nodes)
        terms = [term_hashes(node.get_content(MetadataMode.EMBED)) for node in given]
        self._postings.extend(terms)
        self._lengths += map(len, terms)
        self._nodes += given

    def _scores(self, query: str) -> Scores:
        alone = np.full(len(self._nodes), -1, np.int32)
        lengths = np.array(self._lengths, np.float64)
        return bm25(self._postings, terms_of(query), lengths, Spread(alone, alone))
