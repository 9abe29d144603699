"""What LlamaHub reads of the package, and what LlamaIndex asks of a component."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.memory import BaseMemory
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

ROOT = Path(__file__).resolve().parents[2]
BASES = {
    "CohereRerank": BaseNodePostprocessor,
    "CrossEncoderRerank": BaseNodePostprocessor,
    "HybridRerank": BaseNodePostprocessor,
    "HybridRetriever": BaseRetriever,
    "LimitedLLM": FunctionCallingLLM,
    "LocalEmbedding": BaseEmbedding,
    "LogChatStore": AsyncDBChatStore,
    "MemoryRetriever": BaseRetriever,
    "NeighbourPostprocessor": BaseNodePostprocessor,
    "RecallMemoryBlock": BaseMemoryBlock,
    "Rerank": BaseNodePostprocessor,
    "RouterLLM": FunctionCallingLLM,
    "ScopedMemory": BaseMemory,
    "TenantGuardPostprocessor": BaseNodePostprocessor,
    "TenantVectorStore": BasePydanticVectorStore,
    "TokenBudgetPostprocessor": BaseNodePostprocessor,
}


@pytest.fixture
def hub():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["llamahub"]


def test_every_class_of_ours_is_listed(hub):
    assert sorted(hub["class_authors"]) == sorted(BASES)


def test_every_class_that_is_listed_can_be_imported_from_the_path_that_is_stated(hub):
    package = importlib.import_module(hub["import_path"])
    assert [name for name in hub["class_authors"] if name not in package.__all__] == []


@pytest.mark.parametrize("name", BASES)
def test_a_listed_class_names_its_base_in_its_mro(hub, name):
    found = getattr(importlib.import_module(hub["import_path"]), name)
    assert name in hub["class_authors"]
    assert BASES[name].__name__ in [kind.__name__ for kind in found.__mro__]
