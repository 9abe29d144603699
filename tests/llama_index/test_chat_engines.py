from __future__ import annotations

import pytest
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.types import BaseChatEngine

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.errors import RagMemoryError
from rag_memory_plugins.llama_index import MemoryRetriever, ScopedMemory
from rag_memory_plugins.llama_index.convert import to_message
from tests.llama_index.scripted import ScriptedLLM, texts


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


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


def test_the_prompt_of_a_chat_engine_is_taken_off_the_budget(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "tuesday")
    ann.add([f"note {n}: the harbour crane number {n} is green" for n in range(60)])
    llm = ScriptedLLM("green")
    prompt = "Answer in the manner of a harbour master. " * 20
    chat = SimpleChatEngine.from_defaults(
        llm=llm, memory=ScopedMemory(ann, 400), system_prompt=prompt
    )
    chat.chat("which crane is green?")
    sent = memory.counter.count_messages([to_message(message) for message in llm.asked[0]])
    assert 300 < sent <= 400


def test_a_history_sent_with_every_request_does_not_double_the_log(ann: Conversation) -> None:
    chat = engine("simple", ScriptedLLM("in Lisbon", "in May"), ann)
    chat.chat("where did I move?")
    chat.chat("when?", chat_history=chat.chat_history)
    assert [m.content for m in ann.messages()] == [
        "where did I move?",
        "in Lisbon",
        "when?",
        "in May",
    ]
