"""One memory, two frameworks: what one stores the other recalls and can send to its model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock

from rag_memory_plugins import Conversation, Memory, open_memory
from rag_memory_plugins.langchain import MemoryMiddleware, MemoryQuery
from rag_memory_plugins.langchain import MemoryRetriever as LangChainRetriever
from rag_memory_plugins.langchain.convert import to_langchain
from rag_memory_plugins.langchain.convert import to_message as from_langchain
from rag_memory_plugins.llama_index import MemoryQueryEngine, ScopedMemory
from rag_memory_plugins.llama_index import MemoryRetriever as LlamaIndexRetriever
from rag_memory_plugins.llama_index.convert import to_chat
from rag_memory_plugins.llama_index.convert import to_message as from_llama_index
from tests.langchain.scripted import ScriptedModel
from tests.llama_index.scripted import ScriptedLLM

# LlamaIndex's workflows look at every attribute of an agent, pydantic's deprecated ones included.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


LOOK = [("call_1", "weather", {"city": "Lisbon"})]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(tmp_path / "memory.db", embedder=None) as opened:
        yield opened


async def llama_index_turn(conversation: Conversation, question: str, *replies: Any) -> ScriptedLLM:
    llm = ScriptedLLM(*replies)
    agent = FunctionAgent(llm=llm, tools=[weather], streaming=False)
    await agent.run(question, memory=ScopedMemory(conversation))
    return llm


async def langchain_turn(conversation: Conversation, question: str, *replies: Any) -> ScriptedModel:
    model = ScriptedModel(*replies)
    agent = create_agent(
        model, tools=[weather], middleware=[MemoryMiddleware(conversation=conversation)]
    )
    await agent.ainvoke({"messages": [HumanMessage(question)]})
    return model


async def test_what_a_llama_index_agent_heard_a_langchain_agent_recalls(memory: Memory) -> None:
    await llama_index_turn(memory.conversation("acme", "ann", "a"), "I moved to Lisbon", "noted")
    model = await langchain_turn(memory.conversation("acme", "ann", "b"), "where did I move?", "?")
    assert "I moved to Lisbon" in model.asked[0][-1].text


async def test_what_a_langchain_agent_heard_a_llama_index_agent_recalls(memory: Memory) -> None:
    await langchain_turn(memory.conversation("acme", "ann", "a"), "I moved to Lisbon", "noted")
    llm = await llama_index_turn(memory.conversation("acme", "ann", "b"), "where did I move?", "?")
    assert "I moved to Lisbon" in (llm.asked[0][-1].content or "")


async def test_neither_hears_what_another_tenant_told_the_other(memory: Memory) -> None:
    await langchain_turn(memory.conversation("globex", "ann", "a"), "I moved to Oslo", "noted")
    await llama_index_turn(memory.conversation("globex", "ann", "a"), "I moved to Rome", "noted")
    acme = memory.conversation("acme", "ann", "a")
    llm = await llama_index_turn(acme, "where did I move?", "?")
    model = await langchain_turn(acme, "where did I move, then?", "?")
    heard = f"{llm.asked} {model.asked}"
    assert ("Oslo" in heard, "Rome" in heard) == (False, False)


async def test_one_session_goes_on_from_framework_to_framework(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "a")
    await llama_index_turn(ann, "weather in Lisbon?", LOOK, "21 degrees")
    await langchain_turn(ann, "and in Porto?", [("call_2", "weather", {"city": "Porto"})], "21 too")
    await llama_index_turn(ann, "thanks", "welcome")
    assert [message.content for message in await ann.amessages()] == [
        "weather in Lisbon?",
        "",
        "Lisbon: 21 degrees",
        "21 degrees",
        "and in Porto?",
        "",
        "Porto: 21 degrees",
        "21 too",
        "thanks",
        "welcome",
    ]


async def test_tool_messages_of_one_reach_the_model_of_the_other_in_pairs(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "a")
    await llama_index_turn(ann, "weather in Lisbon?", LOOK, "21 degrees")
    model = await langchain_turn(ann, "and now?", LOOK, "still 21")
    calls = [c["id"] for m in model.asked[1] if isinstance(m, AIMessage) for c in m.tool_calls]
    results = [m.tool_call_id for m in model.asked[1] if isinstance(m, ToolMessage)]
    assert calls == results == ["call_1", "call_1"]
    llm = await llama_index_turn(ann, "sure?", "yes")
    blocks = [
        b.tool_call_id for m in llm.asked[0] for b in m.blocks if isinstance(b, ToolCallBlock)
    ]
    answers = [m.additional_kwargs["tool_call_id"] for m in llm.asked[0] if m.role == "tool"]
    assert blocks == answers == ["call_1", "call_1"]


def test_both_answer_a_question_from_the_same_sources_under_the_same_marks(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "a")
    ann.add("I moved to Porto", id="m1")
    ann.facts.insert("Ann", "lives in", "Porto", id="f1")
    response = MemoryQueryEngine(ann).query("Where does Ann live?")
    answer = MemoryQuery(ann).invoke("Where does Ann live?")
    assert str(response) == answer["answer"]
    nodes = [(n.node_id, n.text, n.metadata["citation"]) for n in response.source_nodes]
    documents = [(d.id, d.page_content, d.metadata["citation"]) for d in answer["documents"]]
    assert nodes == documents
    assert [mark for *_, mark in nodes] == list(answer["citations"])


def test_both_retrievers_give_one_text_the_same_id(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "a")
    ann.add("I moved to Lisbon", id="m1")
    (node,) = LlamaIndexRetriever(ann).retrieve("Lisbon")
    (document,) = LangChainRetriever(ann).invoke("Lisbon")
    assert node.node_id == document.id == "acme/ann/a/m1"


def test_an_image_goes_through_both(memory: Memory) -> None:
    png = "iVBORw0KGgowMDAw"
    chat = ChatMessage(
        role="user",
        blocks=[TextBlock(text="see"), ImageBlock(image=png.encode(), image_mimetype="image/png")],
    )
    there = to_langchain(from_llama_index(chat))
    assert to_chat(from_langchain(there)).model_dump() == chat.model_dump()


@pytest.mark.parametrize(
    ("adapter", "framework", "extra"),
    [("llama_index", "llama_index.core", "llama-index"), ("langchain", "langchain", "langchain")],
)
def test_an_adapter_without_its_framework_names_the_extra(
    adapter: str, framework: str, extra: str
) -> None:
    code = (
        f"import sys; sys.modules[{framework!r}] = None\n"
        "from rag_memory_plugins.errors import MissingExtra\n"
        f"try: import rag_memory_plugins.{adapter}\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'rag-memory-plugins[{extra}]'" in done.stdout


@pytest.mark.parametrize(
    ("adapter", "other"), [("llama_index", "langchain"), ("langchain", "llama_index")]
)
def test_an_adapter_does_not_import_the_other_framework(adapter: str, other: str) -> None:
    code = (
        f"import sys, rag_memory_plugins.{adapter}\n"
        f"print([name for name in sys.modules if name.split('.')[0].startswith({other!r})])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
