"""What LangChain asks of a package that ships its components, and what our page says of them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, dumps
from langchain_core.load.serializable import Serializable
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore

import rag_memory_plugins.langchain as ours
from rag_memory_plugins import Memory, Scope
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.models import ScriptedModel

ROOT = Path(__file__).resolve().parents[2]
BASES: dict[str, type] = {
    "CohereRerank": BaseDocumentCompressor,
    "CrossEncoderRerank": BaseDocumentCompressor,
    "HybridRerank": BaseDocumentCompressor,
    "HybridRetriever": BaseRetriever,
    "LocalEmbeddings": Embeddings,
    "LogChatMessageHistory": BaseChatMessageHistory,
    "MemoryMiddleware": AgentMiddleware,
    "MemoryQuery": Runnable,
    "MemoryRetriever": BaseRetriever,
    "NeighbourCompressor": BaseDocumentCompressor,
    "Rerank": BaseDocumentCompressor,
    "RouterChatModel": BaseChatModel,
    "RouterMiddleware": AgentMiddleware,
    "TenantCheckpointer": BaseCheckpointSaver,
    "TenantGuardCompressor": BaseDocumentCompressor,
    "TenantStore": BaseStore,
    "TenantVectorStore": VectorStore,
    "TokenBudgetCompressor": BaseDocumentCompressor,
}
ANSWERS = {"Answer", "Imported"}  # what our functions give back: of no interface of LangChain's
SECRET = "The boathouse opens with 4711"


def classes() -> list[str]:
    return [name for name in ours.__all__ if isinstance(getattr(ours, name), type)]


def details() -> dict[str, str]:
    """Class -> LangChain's base, as the table of docs/langchain-integration.md says."""
    page = (ROOT / "docs" / "langchain-integration.md").read_text(encoding="utf-8")
    table = page.partition("### Details")[2].partition("\nPackage:")[0]
    found = {}
    for row in table.splitlines():
        cells = row.split("|")
        if "`" in row:
            (base,) = re.findall(r"`(\w+)`", cells[3])
            found.update(dict.fromkeys(re.findall(r"`(\w+)`", cells[1]), base))
    return found


@pytest.fixture
def made(memory: Memory) -> list[Any]:
    """An object of every class that can be made of a memory that holds a secret, and the tools."""
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(SECRET)
    return [
        ours.HybridRerank(WordEmbedder()),
        ours.HybridRetriever(ours.MemoryRetriever(ann)),
        ours.LogChatMessageHistory(ann),
        ours.MemoryMiddleware(conversation=ann, tools=True),
        ours.MemoryQuery(ann),
        ours.MemoryRetriever(ann),
        ours.NeighbourCompressor(ann),
        ours.RouterChatModel(Router([ScriptedModel(SECRET)])),
        ours.RouterMiddleware(Router([ScriptedModel(SECRET)])),
        ours.TenantCheckpointer(InMemorySaver(), Scope("acme", "ann")),
        ours.TenantGuardCompressor("acme"),
        ours.TenantStore(memory, "acme"),
        ours.TenantVectorStore(InMemoryVectorStore(ours.LocalEmbeddings()), "acme"),
        ours.TokenBudgetCompressor(100),
        ours.memory_query_tool(ann),
        *ours.memory_tools(ann),
    ]


def test_every_public_class_is_one_of_langchains_kinds():
    assert set(classes()) == {*BASES, *ANSWERS}


@pytest.mark.parametrize("name", BASES)
def test_a_class_derives_from_what_langchain_expects(name):
    assert issubclass(getattr(ours, name), BASES[name])


def test_the_page_lists_every_class_with_its_base():
    expected = {name: base.__name__ for name, base in BASES.items()}
    tools = dict.fromkeys(("memory_query_tool", "memory_tools"), BaseTool.__name__)
    assert details() == {**expected, **tools}


@pytest.mark.parametrize("name", BASES)
def test_what_a_class_does_sync_it_does_async_too(name):
    kind, base = getattr(ours, name), BASES[name]
    named = {sync: re.sub("^(_?)", r"\1a", sync) for sync, _ in inspect.getmembers(base, callable)}
    pairs = {sync: other for sync, other in named.items() if hasattr(base, other)}

    def own(method: str) -> bool:
        return getattr(kind, method) is not getattr(base, method)

    assert pairs
    assert [(a, b) for a, b in pairs.items() if own(a) != own(b)] == []


@pytest.mark.parametrize("name", classes())
def test_a_class_shows_how_it_is_used(name):
    assert ">>> " in (getattr(ours, name).__doc__ or "")


@pytest.mark.parametrize("name", sorted(set(ours.__all__) - set(classes())))
def test_a_function_says_what_it_does(name):
    assert inspect.getdoc(getattr(ours, name))


def test_an_object_of_ours_is_written_down_by_its_name_and_never_rebuilt(made):
    for item in made:
        written = dumpd(item)
        assert written["type"] == "not_implemented"
        assert written["id"] == [*type(item).__module__.split("."), type(item).__name__]


def test_a_serializable_class_of_ours_is_known_by_the_path_it_is_imported_from():
    kinds = [getattr(ours, name) for name in BASES]
    found = [kind for kind in kinds if issubclass(kind, Serializable)]
    assert found
    for kind in found:
        assert not kind.is_lc_serializable()
        assert kind.get_lc_namespace() == kind.__module__.split(".")


def test_nothing_that_is_written_down_of_our_objects_holds_what_a_user_said(made):
    assert [item for item in made if "4711" in dumps(item) + repr(item)] == []


def test_documents_and_messages_that_we_give_can_be_serialized(memory):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(SECRET)
    found = ours.MemoryRetriever(ann).invoke("the boathouse")
    said = ours.LogChatMessageHistory(ann).messages
    assert [item["type"] for item in dumpd([*found, *said])] == ["constructor", "constructor"]


def test_importing_the_adapter_loads_neither_community_nor_classic():
    code = "import sys, rag_memory_plugins.langchain; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "langchain_core" in loaded
    assert loaded & {"langchain_community", "langchain_classic", "llama_index"} == set()


def test_the_extra_names_what_is_needed_and_shuts_out_the_next_major_version():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["optional-dependencies"]["langchain"]
    assert [re.split("[<>=]", line)[0] for line in needed] == [
        "langchain",
        "langchain-core",
        "langgraph",
    ]
    assert [line for line in needed if not line.endswith("<2")] == []
