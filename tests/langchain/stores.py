"""Vector stores that differ in what they can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore


def in_memory() -> InMemoryVectorStore:
    return InMemoryVectorStore(DeterministicFakeEmbedding(size=6))


def holds(stated: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> bool:
    """The dicts of Chroma and PGVector: one field or operator each."""
    if not stated:
        return True
    assert len(stated) == 1, "Chroma and PGVector refuse two fields in one dict"
    ((key, wanted),) = stated.items()
    if key == "$and":
        return all(holds(part, metadata) for part in wanted)
    if key == "$or":
        return any(holds(part, metadata) for part in wanted)
    if isinstance(wanted, Mapping):
        ((operator, value),) = wanted.items()
        assert operator == "$eq"
        return metadata.get(key) == value
    return metadata.get(key) == wanted


class Chroma(InMemoryVectorStore):
    """Takes dicts of operators; known by its name."""

    def __init__(self) -> None:
        super().__init__(DeterministicFakeEmbedding(size=6))
        self.asked: list[Any] = []

    def _similarity_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Any = None,  # noqa: A002  # LangChain's name for it
    ) -> list[tuple[Document, float, list[float]]]:
        self.asked.append(filter)
        return super()._similarity_search_with_score_by_vector(
            embedding, k, lambda document: holds(filter, document.metadata)
        )


class Plain(VectorStore):
    """Knows no filter, and counts how many documents it was asked for."""

    def __init__(self) -> None:
        self.inner = in_memory()
        self.counts: list[int] = []

    def similarity_search(self, query: str, k: int = 4) -> list[Document]:
        self.counts.append(k)
        return self.inner.similarity_search(query, k)

    def similarity_search_with_score(self, query: str, k: int = 4) -> list[tuple[Document, float]]:
        return self.inner.similarity_search_with_score(query, k)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4) -> list[Document]:
        return self.inner.similarity_search_by_vector(embedding, k)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5
    ) -> list[Document]:
        return self.inner.max_marginal_relevance_search(query, k, fetch_k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5
    ) -> list[Document]:
        return self.inner.max_marginal_relevance_search_by_vector(
            embedding, k, fetch_k, lambda_mult
        )

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        return self.inner.add_documents(documents, **kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return self.inner.get_by_ids(ids)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> None:
        self.inner.delete(ids)

    @classmethod
    def from_texts(cls, texts: Any, embedding: Any, metadatas: Any = None, **kwargs: Any) -> Plain:
        raise NotImplementedError


class NoLookUps(Plain):
    """Finds no document by id, as many stores."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        raise NotImplementedError("get_by_ids")


class WithoutIds(Plain):
    """Gives documents without their ids when it looks them up, as langchain-qdrant 1.1 does."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        found = self.inner.get_by_ids(ids)
        return [document.model_copy(update={"id": None}) for document in found]


class Exacting(InMemoryVectorStore):
    """Refuses an id it holds, one it does not and one given twice, as FAISS does; fails once."""

    fail = False

    def add_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        if set(ids or ()) & self.store.keys():
            raise ValueError("tried to add ids that are there already")
        once(ids)
        added = super().add_documents(documents, ids=ids, **kwargs)
        if self.fail:
            self.fail = False
            raise ConnectionError("reset")
        return added

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        return self.add_documents(documents, **kwargs)

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        if not set(ids or ()) <= self.store.keys():
            raise ValueError("some of these ids do not exist")
        once(ids)
        super().delete(ids, **kwargs)

    async def adelete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        self.delete(ids, **kwargs)

    async def aget_by_ids(self, ids: Sequence[str]) -> list[Document]:
        once(ids)
        return self.get_by_ids(ids)


def once(ids: Sequence[str] | None) -> None:
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"expected unique ids, one or more: {ids}")
