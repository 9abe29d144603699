"""LlamaIndex' vector stores as the vector store of a memory: what every one of them must keep."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.llama_index import as_index
from rag_memory_plugins.testing.vector_points import along, message
from tests.bridged import ONE_DIMENSION, BridgedConformance
from tests.llama_index import real_stores

LOST = "FaissMapVectorStore 0.7 numbers nodes by how many there are, so twice once one was deleted"
OF_FAISS = {
    "test_a_session_restricts": "it has no filters and keeps no metadata",
    "test_a_point_put_again_takes_its_own_place": LOST,
    "test_what_was_removed_may_be_put_again": LOST,
}


class Conformance(BridgedConformance):
    def bridge(self, store: BasePydanticVectorStore) -> Any:
        return as_index(store)


class TestSimple(Conformance):
    def make(self) -> BasePydanticVectorStore:
        return real_stores.simple(self.dimension)


class Lazy(SimpleVectorStore):
    """Has no table until the first node comes, as LanceDB, Qdrant and Postgres."""

    def _check(self) -> None:
        if not self.data.embedding_dict:
            raise RuntimeError("Table vectors is not initialized. Please add some data first.")

    def query(self, query: VectorStoreQuery, **given: Any) -> VectorStoreQueryResult:
        self._check()
        return super().query(query, **given)

    def delete_nodes(self, *args: Any, **given: Any) -> None:
        self._check()
        super().delete_nodes(*args, **given)


class TestLazy(Conformance):
    def make(self) -> BasePydanticVectorStore:
        return Lazy()


@real_stores.WITH_FAISS
class TestFaiss(Conformance):
    gaps = ONE_DIMENSION | OF_FAISS

    def make(self) -> BasePydanticVectorStore:
        return real_stores.faiss(self.dimension)


@real_stores.WITH_CHROMA
class TestChroma(Conformance):
    gaps = ONE_DIMENSION

    def make(self) -> BasePydanticVectorStore:
        return real_stores.chroma(self.dimension)


@real_stores.WITH_FAISS
async def test_faiss_without_names_of_its_own_cannot_be_erased_from_and_takes_nothing() -> None:
    from faiss import IndexFlatIP
    from llama_index.vector_stores.faiss import FaissVectorStore

    store = FaissVectorStore(faiss_index=IndexFlatIP(8))
    index = as_index(store)
    await index.aopen("log", "fp/1", 8)
    with pytest.raises(StoreError, match="FaissVectorStore cannot delete nodes by id"):
        await index.aput([message(1, along(0, 8))])
    assert store.client.ntotal == 0
