"""The ranking that any other must beat: cosine and BM25 of single messages, in equal parts.

It shares the memory's vectors and stems, so that a difference is one of ranking, and nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from rag_memory_plugins.retrieval.lexical import terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins import Message
    from rag_memory_plugins.ports import Embedder

    Numbers = NDArray[np.float64]

__all__ = ["Plain"]

K1: Final = 0.9
B: Final = 0.4


class Plain:
    """Messages ranked by cosine of the best piece and BM25, each divided by its maximum, summed.

    System messages and those without text are left out, as a memory's search leaves them out.
    """

    def __init__(self, messages: Sequence[Message], embedder: Embedder) -> None:
        some = [(m.id, text) for m in messages if m.role != "system" and (text := _text(m))]
        self._ids = [key for key, _ in some]
        self._texts = [text for _, text in some]
        self._embedder = embedder
        self._counts = [Counter(terms_of(text)) for text in self._texts]
        self._holding = Counter(term for counts in self._counts for term in counts)
        self._pieces: list[NDArray[np.float32]] = []

    async def arank(self, question: str) -> list[str]:
        """Ids of all messages, best first; of equal ones the earlier."""
        if not self._pieces:
            self._pieces = await self._embedder.aembed_documents(self._texts)
        vector = await self._embedder.aembed_query(question)
        cosines = np.array([float((pieces @ vector).max()) for pieces in self._pieces])
        scores = _by_maximum(cosines) + _by_maximum(self._bm25(set(terms_of(question))))
        return [self._ids[at] for at in np.argsort(-scores, kind="stable")]

    def _bm25(self, wanted: set[int]) -> Numbers:
        lengths = np.array([counts.total() for counts in self._counts], dtype=np.float64)
        norms = K1 * (1 - B + B * lengths / (lengths.mean() or 1.0))
        scores = np.zeros(len(self._counts))
        for term in wanted:
            holding = self._holding[term]
            idf = math.log1p((len(self._counts) - holding + 0.5) / (holding + 0.5))
            counts = np.array([counts[term] for counts in self._counts], dtype=np.float64)
            scores += idf * counts * (K1 + 1) / (counts + norms)
        return scores


def _by_maximum(scores: Numbers) -> Numbers:
    most = scores.max()
    return scores / most if most > 0 else np.zeros_like(scores)


def _text(message: Message) -> str:
    """What is indexed of a message: who said it if named, what, and the calls it asks for."""
    said = f"{message.name}: {message.content}" if message.name else message.content
    calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(filter(str.strip, [said, *calls]))
