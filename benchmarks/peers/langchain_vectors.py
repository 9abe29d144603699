"""The vectors at hand as LangChain's `Embeddings`, which two peers take. No peer itself."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from benchmarks.vectors import AtHand

__all__ = ["as_langchain"]


class _Vectors(Embeddings):
    def __init__(self, vectors: AtHand) -> None:
        self._vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vectors.document(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vectors.query(text)


def as_langchain(vectors: AtHand) -> Embeddings:
    """`vectors` for a library that takes LangChain's embeddings."""
    return _Vectors(vectors)
