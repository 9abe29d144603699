from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.workflow import Context

from rag_memory_plugins import Conversation, Event, Memory
from rag_memory_plugins.errors import RagMemoryError
from rag_memory_plugins.llama_index import MemoryRetriever, ScopedMemory, restoring
from tests.llama_index.scripted import ScriptedLLM, texts

# Workflows look at every attribute of an agent, pydantic's deprecated ones included.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def agent(llm: ScriptedLLM, *, streaming: bool = False) -> FunctionAgent:
    return FunctionAgent(llm=llm, tools=[weather], system_prompt="Be brief.", streaming=streaming)


LOOK = [("call_1", "weather", {"city": "Lisbon"})]


def orphans(messages: Sequence[ChatMessage]) -> set[str]:
    """Ids of tool calls without a result and of results without a call."""
    calls = {
        b.tool_call_id or "" for m in messages for b in m.blocks if isinstance(b, ToolCallBlock)
    }
    results = {m.additional_kwargs["tool_call_id"] for m in messages if m.role == MessageRole.TOOL}
    return calls ^ results


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_stores_the_whole_turn_once(
    ann: Conversation, streaming: bool
) -> None:
    llm = ScriptedLLM(LOOK, "It is 21 degrees in Lisbon.")
    await agent(llm, streaming=streaming).run("weather where I moved?", memory=ScopedMemory(ann))
    assert [(m.role, m.content) for m in await ann.amessages()] == [
        ("user", "weather where I moved?"),
        ("assistant", ""),
        ("tool", "Lisbon: 21 degrees"),
        ("assistant", "It is 21 degrees in Lisbon."),
    ]


async def test_a_function_agent_gets_what_another_session_said(ann: Conversation) -> None:
    llm = ScriptedLLM("Lisbon")
    await agent(llm).run("where did I move?", memory=ScopedMemory(ann))
    assert "I moved to Lisbon in May" in (llm.asked[0][-1].content or "")


async def test_every_tool_round_gets_the_same_context_after_one_recall(
    ann: Conversation, events: list[Event]
) -> None:
    rounds = [[(f"call_{n}", "weather", {"city": f"City {n}"})] for n in range(5)]
    llm = ScriptedLLM(*rounds, "done")
    await agent(llm).run("weather where I moved?", memory=ScopedMemory(ann))
    assert {str(texts(asked[:2])) for asked in llm.asked} == {str(texts(llm.asked[0]))}
    # Once for six model calls, and once when LlamaIndex asks again with the answer stored.
    assert [event.name for event in events].count("search") == 2


async def test_thirty_turns_with_tools_send_no_orphan_tool_message(ann: Conversation) -> None:
    chat = ScopedMemory(ann, budget=300)
    for turn in range(30):
        llm = ScriptedLLM([(f"call_{turn}", "weather", {"city": "Lisbon"})], "21 degrees")
        await agent(llm).run(f"question {turn} about Lisbon", memory=chat)
        assert [orphans(asked) for asked in llm.asked] == [set(), set()]
    assert len(await ann.amessages()) == 120


async def test_a_failing_model_leaves_the_question_in_memory(ann: Conversation) -> None:
    with pytest.raises(Exception, match="pop from empty list"):
        await agent(ScriptedLLM()).run("where did I move?", memory=ScopedMemory(ann))
    assert [m.content for m in await ann.amessages()] == ["where did I move?"]


async def test_chat_history_sent_with_every_request_does_not_double_the_log(
    ann: Conversation,
) -> None:
    history: list[ChatMessage] = []
    for turn in range(3):
        sent = [ChatMessage.model_validate(m.model_dump()) for m in history]
        llm = ScriptedLLM(f"answer {turn}")
        await agent(llm).run(f"question {turn}", chat_history=sent, memory=ScopedMemory(ann))
        history += [
            ChatMessage(f"question {turn}"),
            ChatMessage(f"answer {turn}", role="assistant"),
        ]
    assert [m.content for m in await ann.amessages()] == [m.content for m in history]


async def test_a_finished_context_is_used_again_without_memory(ann: Conversation) -> None:
    llm = ScriptedLLM("hello Ann", "Ann")
    workflow = agent(llm)
    context = Context(workflow)
    chat = ScopedMemory(ann)
    await workflow.run("I am Ann", ctx=context, memory=chat)
    await workflow.run("who am I?", ctx=context)
    assert len(await chat.aget_all()) == 4


async def test_a_context_goes_through_json_in_one_process(ann: Conversation) -> None:
    llm = ScriptedLLM("hello Ann", "Ann")
    workflow = agent(llm)
    context = Context(workflow)
    chat = ScopedMemory(ann)
    await workflow.run("I am Ann", ctx=context, memory=chat)
    written = json.dumps(context.to_dict())
    await workflow.run("who am I?", ctx=Context.from_dict(workflow, json.loads(written)))
    assert len(await chat.aget_all()) == 4


async def test_a_context_of_another_process_runs_inside_restoring(ann: Conversation) -> None:
    workflow = agent(ScriptedLLM("hello Ann", "Ann"))
    context = Context(workflow)
    await workflow.run("I am Ann", ctx=context, memory=ScopedMemory(ann))
    data = json.loads(json.dumps(context.to_dict()))
    with restoring(ScopedMemory(ann)):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data))
    assert len(await ann.amessages()) == 4


async def test_a_context_of_another_tenant_is_refused_inside_restoring(
    ann: Conversation, memory: Memory
) -> None:
    workflow = agent(ScriptedLLM("hello Ann", "Ann"))
    context = Context(workflow)
    await workflow.run("I am Ann", ctx=context, memory=ScopedMemory(ann))
    data = json.loads(json.dumps(context.to_dict()))
    bob = ScopedMemory(memory.conversation("globex", "bob", "monday"))
    with (
        restoring(bob),
        pytest.raises(Exception, match="the trusted memory is 'globex/bob/monday'"),
    ):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data))


async def test_two_tenants_of_one_agent_see_their_own(memory: Memory) -> None:
    llm = ScriptedLLM("noted", "noted", "Lisbon", "Oslo")
    shared = agent(llm)
    chats = {
        name: ScopedMemory(memory.conversation(name, "ann", "monday"))
        for name in ("acme", "globex")
    }
    await shared.run("I live in Lisbon", memory=chats["acme"])
    await shared.run("I live in Oslo", memory=chats["globex"])
    for chat in chats.values():
        await shared.run("where do I live?", memory=chat)
    third, fourth = (str(texts(asked)) for asked in llm.asked[2:])
    assert ("Oslo" in third, "Lisbon" in fourth) == (False, False)


def engine(kind: str, llm: ScriptedLLM, conversation: Conversation) -> BaseChatEngine:
    chat = ScopedMemory(conversation)
    if kind == "simple":
        return SimpleChatEngine.from_defaults(llm=llm, memory=chat, system_prompt="Be brief.")
    retriever = MemoryRetriever(conversation)
    if kind == "context":
        return ContextChatEngine.from_defaults(retriever, llm=llm, memory=chat)
    return CondensePlusContextChatEngine.from_defaults(
        retriever, llm=llm, memory=chat, skip_condense=True
    )


TWO_TURNS = [
    ("user", "where did I move?"),
    ("assistant", "to Lisbon in May"),
    ("user", "and when did I move?"),
    ("assistant", "in May"),
]
KINDS = ["simple", "context", "condense"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_engine_stores_its_turns(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM("to Lisbon in May", "in May")
    chat = engine(kind, llm, ann)
    chat.chat("where did I move?")
    chat.chat("and when did I move?")
    assert [(m.role, m.content) for m in ann.messages()] == TWO_TURNS


@pytest.mark.parametrize("kind", KINDS)
async def test_a_chat_engine_stores_its_turns_async(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM("to Lisbon in May", "in May")
    chat = engine(kind, llm, ann)
    await chat.achat("where did I move?")
    await chat.achat("and when did I move?")
    assert [(m.role, m.content) for m in await ann.amessages()] == TWO_TURNS


@pytest.mark.parametrize("kind", KINDS)
def test_a_streaming_chat_engine_stores_its_turns(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM("to Lisbon in May", "in May")
    chat = engine(kind, llm, ann)
    for question in ("where did I move?", "and when did I move?"):
        response = chat.stream_chat(question)
        assert "".join(response.response_gen)
    assert [(m.role, m.content) for m in ann.messages()] == TWO_TURNS


@pytest.mark.parametrize("kind", KINDS)
async def test_an_async_streaming_chat_engine_stores_its_turns(
    ann: Conversation, kind: str
) -> None:
    llm = ScriptedLLM("to Lisbon in May", "in May")
    chat = engine(kind, llm, ann)
    for question in ("where did I move?", "and when did I move?"):
        response = await chat.astream_chat(question)
        assert "".join([part async for part in response.async_response_gen()])
    assert [(m.role, m.content) for m in await ann.amessages()] == TWO_TURNS


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_engine_asks_its_question_once(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM("to Lisbon in May")
    engine(kind, llm, ann).chat("where did I move?")
    asked = [text for role, text in texts(llm.asked[0]) if role == "user"]
    assert sum(text.count("where did I move?") for text in asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_engine_recalls_another_session(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM("to Lisbon in May")
    engine(kind, llm, ann).chat("where did I move?")
    assert any(
        "I moved to Lisbon in May" in text for role, text in texts(llm.asked[0]) if role == "user"
    )


def test_resetting_a_chat_engine_erases_the_session(ann: Conversation) -> None:
    chat = engine("simple", ScriptedLLM("hello"), ann)
    chat.chat("hi")
    chat.reset()
    assert list(ann.messages()) == []


def test_errors_of_the_memory_keep_their_type_through_a_chat_engine(ann: Conversation) -> None:
    chat = SimpleChatEngine.from_defaults(llm=ScriptedLLM("x"), memory=ScopedMemory(ann, 20))
    with pytest.raises(RagMemoryError, match="budget"):
        chat.chat("which crane is green? " * 50)
