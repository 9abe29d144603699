"""BM25 alone, a turn a document, by bm25s: no vectors, no windows, no dates.

Settings of its documentation: Lucene's scoring with k1 1.5 and b 0.75, English stop words, and the
Snowball stemmer. A new turn changes every document's weights, so the index is built once, after the
last turn; writing one at a time would cost a whole build each.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import GROUP, Peer
from benchmarks.scores import line
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

NEEDS: Final[Mapping[str, str]] = {"bm25s": GROUP}
PARTS: Final[Sequence[str]] = ("bm25s",)
EMBEDS: Final = False
RANKS: Final = True


class TurnBM25(Peer):
    """One index over the turns of all sessions."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand | None) -> None:
        self._bm25s: Any = importlib.import_module("bm25s")
        self._stemmer = importlib.import_module("Stemmer").Stemmer("english")
        self._index = self._bm25s.BM25()
        self._ids: list[str] = []
        self._texts: list[str] = []

    def add(self, session: str, message: Message) -> None:
        self._ids.append(message.id)
        self._texts.append(line(message))

    def finish(self) -> None:
        self._index.index(self._tokens(self._texts), show_progress=False)

    def search(self, query: str, limit: int) -> list[str]:
        found, scores = self._index.retrieve(
            self._tokens([query]), k=min(limit, len(self._ids)), show_progress=False
        )
        # Turns that share no word with the question are no hits, in whatever order they come.
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        return [self._ids[at] for at, score in pairs if score > 0]

    def _tokens(self, texts: list[str]) -> Any:
        return self._bm25s.tokenize(
            texts, stopwords="en", stemmer=self._stemmer, show_progress=False
        )


opened = TurnBM25
