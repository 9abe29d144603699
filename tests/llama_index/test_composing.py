"""`MemoryRetriever` inside LlamaIndex's own retrievers that are made of retrievers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import (
    QueryFusionRetriever,
    RecursiveRetriever,
    RouterRetriever,
)
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.selectors import LLMMultiSelector, LLMSingleSelector
from llama_index.core.tools import RetrieverTool

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.llama_index import MemoryRetriever
from tests.llama_index.scripted import ScriptedLLM

MODES = ("reciprocal_rerank", "relative_score", "dist_based_score", "simple")
Ask = Callable[[BaseRetriever, str], list[str]]


def at_once(retriever: BaseRetriever, question: str) -> list[str]:
    return [node.text for node in retriever.retrieve(question)]


def in_a_loop(retriever: BaseRetriever, question: str) -> list[str]:
    async def ask() -> list[str]:
        return [node.text for node in await retriever.aretrieve(question)]

    return asyncio.run(ask())


def sync_in_a_loop(retriever: BaseRetriever, question: str) -> list[str]:
    async def ask() -> list[str]:
        return at_once(retriever, question)

    return asyncio.run(ask())


both_faces = pytest.mark.parametrize("ask", [at_once, in_a_loop, sync_in_a_loop])


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I moved to Lisbon in May", id="m1")
    monday.add("My cat is called Tom", id="m2")
    return monday


@pytest.fixture
def handbook() -> VectorStoreIndex:
    nodes = [TextNode(text="Moving house gives two days off", id_="h1")]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(2))


@both_faces
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_async", [True, False])
def test_a_fusion_holds_the_memory_and_the_documents(
    ann: Conversation, handbook: VectorStoreIndex, ask: Ask, mode: Any, use_async: bool
) -> None:
    fusion = QueryFusionRetriever(
        [MemoryRetriever(ann, limit=1), handbook.as_retriever()],
        llm=MockLLM(),
        mode=mode,
        num_queries=1,
        use_async=use_async,
    )
    assert sorted(ask(fusion, "when did I move to Lisbon?")) == [
        "I moved to Lisbon in May",
        "Moving house gives two days off",
    ]


@both_faces
@pytest.mark.parametrize("mode", MODES)
def test_a_fusion_over_several_questions_holds_a_message_once(
    ann: Conversation, ask: Ask, mode: Any
) -> None:
    fusion = QueryFusionRetriever(
        [MemoryRetriever(ann, window=1)],
        llm=ScriptedLLM("What is my cat called?\nTom the cat"),
        mode=mode,
        num_queries=3,
        similarity_top_k=10,
    )
    found = ask(fusion, "when did I move to Lisbon?")
    assert sorted(found) == ["I moved to Lisbon in May", "My cat is called Tom"]


def test_a_fusion_never_merges_two_tenants(ann: Conversation) -> None:
    other = ann.memory.conversation("globex", "ann", "monday")
    other.add("I moved to Lisbon in May", id="m1", time=ann.recent()[0].time)
    fusion = QueryFusionRetriever(
        [MemoryRetriever(ann, limit=1), MemoryRetriever(other, limit=1)],
        llm=MockLLM(),
        num_queries=1,
    )
    found = fusion.retrieve("when did I move to Lisbon?")
    assert {node.metadata["tenant"] for node in found} == {"acme", "globex"}


@both_faces
@pytest.mark.parametrize(
    ("choice", "text"), [(1, "I moved to Lisbon in May"), (2, "Moving house gives two days off")]
)
def test_a_router_chooses_the_memory_or_the_documents(
    ann: Conversation, handbook: VectorStoreIndex, ask: Ask, choice: int, text: str
) -> None:
    llm = ScriptedLLM(f'[{{"choice": {choice}, "reason": "asked"}}]')
    router = RouterRetriever(
        selector=LLMSingleSelector.from_defaults(llm=llm),
        retriever_tools=[
            RetrieverTool.from_defaults(MemoryRetriever(ann, limit=1), description="what was said"),
            RetrieverTool.from_defaults(handbook.as_retriever(), description="the handbook"),
        ],
        llm=llm,
    )
    assert ask(router, "when did I move to Lisbon?") == [text]


@both_faces
def test_a_router_may_choose_both(ann: Conversation, handbook: VectorStoreIndex, ask: Ask) -> None:
    llm = ScriptedLLM('[{"choice": 1, "reason": "said"}, {"choice": 2, "reason": "written"}]')
    router = RouterRetriever(
        selector=LLMMultiSelector.from_defaults(llm=llm),
        retriever_tools=[
            RetrieverTool.from_defaults(MemoryRetriever(ann, limit=1), description="what was said"),
            RetrieverTool.from_defaults(handbook.as_retriever(), description="the handbook"),
        ],
        llm=llm,
    )
    assert len(ask(router, "when did I move to Lisbon?")) == 2


@both_faces
def test_a_recursive_retriever_enters_the_memory(ann: Conversation, ask: Ask) -> None:
    link = IndexNode(text="what this user said before", index_id="memory")
    root = VectorStoreIndex([link], embed_model=MockEmbedding(2)).as_retriever()
    recursive = RecursiveRetriever(
        "root", retriever_dict={"root": root, "memory": MemoryRetriever(ann, limit=1)}
    )
    assert ask(recursive, "when did I move to Lisbon?") == ["I moved to Lisbon in May"]


@both_faces
def test_an_index_node_may_hold_the_memory_itself(ann: Conversation, ask: Ask) -> None:
    link = IndexNode(text="what was said", index_id="memory", obj=MemoryRetriever(ann, limit=1))
    root = VectorStoreIndex(objects=[link], embed_model=MockEmbedding(2)).as_retriever()
    assert ask(root, "when did I move to Lisbon?") == ["I moved to Lisbon in May"]


async def test_a_query_engine_over_a_fusion_answers(
    ann: Conversation, handbook: VectorStoreIndex
) -> None:
    llm = ScriptedLLM("In May.")
    fusion = QueryFusionRetriever(
        [MemoryRetriever(ann, limit=1), handbook.as_retriever()], llm=MockLLM(), num_queries=1
    )
    engine = RetrieverQueryEngine(fusion, response_synthesizer=get_response_synthesizer(llm=llm))
    assert str(await engine.aquery("when did I move to Lisbon?")) == "In May."
    assert "two days off" in str(llm.asked[0])
