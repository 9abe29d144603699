"""The vectors at hand as a LlamaIndex `BaseEmbedding`. No peer itself."""

from __future__ import annotations

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import BaseEmbedding

from benchmarks.vectors import AtHand

__all__ = ["as_llamaindex"]


class _Vectors(BaseEmbedding):
    _vectors: AtHand = PrivateAttr()

    def __init__(self, vectors: AtHand) -> None:
        super().__init__(model_name=vectors.fingerprint)
        self._vectors = vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vectors.document(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vectors.query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vectors.query(query)


def as_llamaindex(vectors: AtHand) -> BaseEmbedding:
    """`vectors` for a library that takes LlamaIndex's embeddings."""
    return _Vectors(vectors)
