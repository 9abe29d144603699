"""The postprocessors where LlamaIndex calls them: query engines, chat engines, several in a row."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.postprocessor import LongContextReorder, SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.utils import get_tokenizer

from rag_memory_plugins import Conversation, LLMReranker, Memory
from rag_memory_plugins.llama_index import (
    HybridRerank,
    MemoryRetriever,
    NeighbourPostprocessor,
    Rerank,
    ScopedMemory,
    TenantGuardPostprocessor,
    TokenBudgetPostprocessor,
    as_chat_model,
)
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.listening import listening
from tests.llama_index.scripted import ScriptedLLM

QUESTION = "what is the code of the boathouse?"
BUDGET = 90


class BothTenants(BaseRetriever):
    """What must never be: a retriever that gives another tenant's nodes too."""

    def __init__(self, *conversations: Conversation) -> None:
        super().__init__()
        self._retrievers = [MemoryRetriever(one, limit=3) for one in conversations]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [node for one in self._retrievers for node in one.retrieve(query_bundle)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [node for one in self._retrievers for node in await one.aretrieve(query_bundle)]


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    ann = memory.conversation("acme", "ann", "monday")
    for day in range(6):
        ann.add(f"On day {day} we painted the hull again. It took the whole afternoon.")
    ann.add(["What was the code of the boathouse again?", "4711", "Thanks, I will write it down."])
    memory.conversation("globex", "ann", "monday").add("the code of the boathouse is 0815")
    return ann


@pytest.fixture
def both(ann: Conversation, memory: Memory) -> BothTenants:
    return BothTenants(memory.conversation("globex", "ann", "monday"), ann)


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    with listening() as events:
        yield events


def row(ann: Conversation) -> list[BaseNodePostprocessor]:
    return [
        TenantGuardPostprocessor("acme"),
        HybridRerank(WordEmbedder(), top_n=2),
        NeighbourPostprocessor(ann, before=1, after=1),
        TokenBudgetPostprocessor(BUDGET, order="chronological"),
    ]


def engine(
    llm: ScriptedLLM, retriever: BaseRetriever, postprocessors: list[BaseNodePostprocessor]
) -> RetrieverQueryEngine:
    synthesizer = get_response_synthesizer(
        llm=llm, text_qa_template=PromptTemplate("{context_str}")
    )
    return RetrieverQueryEngine(
        retriever, response_synthesizer=synthesizer, node_postprocessors=postprocessors
    )


def prompt(llm: ScriptedLLM) -> str:
    return "".join(message.content or "" for message in llm.asked[0])


async def test_several_in_a_row_give_the_model_the_answer_within_the_budget(
    ann: Conversation, both: BothTenants, heard: list[Any]
) -> None:
    llm = ScriptedLLM("4711")
    answer = await engine(llm, both, row(ann)).aquery(QUESTION)
    assert ("4711" in prompt(llm), "0815" in prompt(llm)) == (True, False)
    assert len(get_tokenizer()(prompt(llm))) <= BUDGET
    assert {node.metadata["tenant"] for node in answer.source_nodes} == {"acme"}
    names = [event.class_name() for event in heard]
    ours = [name for name in names if name.startswith(("RagMemory", "ReRank"))]
    assert ours == [
        "RagMemoryRecallEvent",
        "RagMemoryRecallEvent",
        "RagMemoryDegradeEvent",
        "ReRankStartEvent",
        "ReRankEndEvent",
        "RagMemoryTrimEvent",
    ]


def test_a_sync_query_gives_the_model_the_same(ann: Conversation, both: BothTenants) -> None:
    llm = ScriptedLLM("4711")
    answer = engine(llm, both, row(ann)).query(QUESTION)
    assert ("4711" in prompt(llm), "0815" in prompt(llm)) == (True, False)
    assert len(get_tokenizer()(prompt(llm))) <= BUDGET
    assert {node.metadata["tenant"] for node in answer.source_nodes} == {"acme"}


async def test_a_sync_query_works_inside_a_running_loop(
    ann: Conversation, both: BothTenants
) -> None:
    llm = ScriptedLLM("4711")
    engine(llm, both, row(ann)).query(QUESTION)
    assert "4711" in prompt(llm)


async def test_a_reranker_that_fails_costs_a_query_nothing_but_the_order(
    ann: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    llm = ScriptedLLM("4711")
    rerank = Rerank(LLMReranker(as_chat_model(ScriptedLLM("I would rather not say."))))
    with caplog.at_level(logging.WARNING, "rag_memory_plugins.llama_index"):
        answer = await engine(llm, MemoryRetriever(ann, limit=3), [rerank]).aquery(QUESTION)
    found = await MemoryRetriever(ann, limit=3).aretrieve(QUESTION)
    assert answer.source_nodes == found
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_they_stand_beside_llama_indexs_own(ann: Conversation) -> None:
    llm = ScriptedLLM("4711")
    own: list[BaseNodePostprocessor] = [
        HybridRerank(WordEmbedder()),
        SimilarityPostprocessor(similarity_cutoff=0.1),
        LongContextReorder(),
        TokenBudgetPostprocessor(BUDGET),
    ]
    answer = await engine(llm, MemoryRetriever(ann), own).aquery(QUESTION)
    assert {(node.score or 0) >= 0.1 for node in answer.source_nodes} == {True}


def test_one_object_in_two_engines_answers_both(ann: Conversation) -> None:
    shared = row(ann)
    first, second = ScriptedLLM("4711"), ScriptedLLM("4711")
    one = engine(first, MemoryRetriever(ann), shared)
    other = RetrieverQueryEngine(
        MemoryRetriever(ann),
        response_synthesizer=get_response_synthesizer(
            llm=second, text_qa_template=PromptTemplate("{context_str}")
        ),
        node_postprocessors=shared,
        callback_manager=CallbackManager(),
    )
    one.query(QUESTION)
    other.query(QUESTION)
    assert prompt(first) == prompt(second)


def chat_engine(
    kind: str, llm: ScriptedLLM, both: BothTenants, ann: Conversation
) -> BaseChatEngine:
    # Of this session alone: what the model learns of others, it learns from nodes.
    chat = ScopedMemory(ann.memory.conversation("acme", "ann", kind), level="session")
    if kind == "context":
        return ContextChatEngine.from_defaults(
            both, llm=llm, memory=chat, node_postprocessors=row(ann)
        )
    return CondensePlusContextChatEngine.from_defaults(
        both, llm=llm, memory=chat, node_postprocessors=row(ann), skip_condense=True
    )


@pytest.mark.parametrize("kind", ["context", "condense"])
@pytest.mark.parametrize("face", ["sync", "async"])
async def test_a_chat_engine_shows_the_model_one_tenants_nodes_with_their_neighbours(
    both: BothTenants, ann: Conversation, kind: str, face: str
) -> None:
    llm = ScriptedLLM("4711")
    chat = chat_engine(kind, llm, both, ann)
    answer = chat.chat(QUESTION) if face == "sync" else await chat.achat(QUESTION)
    assert ("4711" in prompt(llm), "0815" in prompt(llm)) == (True, False)
    assert "4711" in [node.text for node in answer.source_nodes]
    assert {node.metadata["tenant"] for node in answer.source_nodes} == {"acme"}
