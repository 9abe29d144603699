"""LangChain's own standard tests of what we ship, none of them overridden."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from rag_memory_plugins import Memory
from rag_memory_plugins.langchain import (
    HybridRetriever,
    LocalEmbeddings,
    MemoryRetriever,
    TenantVectorStore,
)
from tests.langchain.stores import Chroma, Plain, in_memory

SAID = ("I moved to Lisbon", "Lisbon is sunny", "The flat in Lisbon", "Lisbon again")


class Retrieving(RetrieversIntegrationTests):
    __test__ = False
    params: dict[str, Any]

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.params

    @property
    def retriever_query_example(self) -> str:
        return "Lisbon"

    @property
    def num_results_arg_name(self) -> str:
        return "limit"


class TestMemoryRetriever(Retrieving):
    __test__ = True

    @pytest.fixture(autouse=True)
    def made(self, memory: Memory) -> None:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(list(SAID))
        self.params = {"conversation": ann}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemoryRetriever


class TestHybridRetriever(Retrieving):
    __test__ = True

    @pytest.fixture(autouse=True)
    def made(self, memory: Memory) -> None:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(list(SAID))
        source = RunnableLambda(lambda _: [Document("Lisbon is in Portugal")])
        self.params = {"source": source, "memory": ann}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridRetriever


class TestTenantVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture(params=[in_memory, Chroma, Plain], ids=["in-memory", "operators", "plain"])
    def vectorstore(self, request: pytest.FixtureRequest) -> VectorStore:
        """Empty for its tenant; another's documents of the same texts are in the store too."""
        shared = request.param()
        TenantVectorStore(shared, "globex").add_texts(["foo", "bar", "baz"])
        return TenantVectorStore(shared, "acme")


class TestLocalEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings


class TestLocalEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings
