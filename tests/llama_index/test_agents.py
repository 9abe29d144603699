from __future__ import annotations

from collections.abc import Sequence

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from rag_memory_plugins import Conversation, Event, Memory
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.llama_index.blocks import calls
from tests.llama_index.scripted import ScriptedLLM, texts


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
    made = {call.id for m in messages for call in calls(m)}
    results = {m.additional_kwargs["tool_call_id"] for m in messages if m.role == MessageRole.TOOL}
    return made ^ results


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
    assert [event.name for event in events].count("search") == 1


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
