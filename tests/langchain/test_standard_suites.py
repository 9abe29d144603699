"""LangChain's own standard tests of what we ship, none of them overridden."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests, ToolsUnitTests

from rag_memory_plugins import Memory
from rag_memory_plugins.langchain import (
    HybridRetriever,
    LocalEmbeddings,
    MemoryRetriever,
    TenantVectorStore,
    memory_tools,
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


GIVEN: list[dict[str, Any]] = [{"query": "Lisbon"}, {"text": "Ann has a cat"}, {"ids": ["m1"]}]


class OfMemory:
    """The tools as `memory_tools` gives them: there is no class to be made."""

    tool: BaseTool
    given: dict[str, Any]

    @pytest.fixture(autouse=True, params=[0, 1, 2], ids=["search_memory", "remember", "forget"])
    def made(self, memory: Memory, request: pytest.FixtureRequest) -> None:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(SAID[0], id="m1")
        self.tool, self.given = memory_tools(ann)[request.param], GIVEN[request.param]

    @property
    def tool_constructor(self) -> BaseTool:
        return self.tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.given


class TestMemoryToolsUnit(OfMemory, ToolsUnitTests):
    pass


class TestMemoryTools(OfMemory, ToolsIntegrationTests):
    pass
