"""Agents that reason in text or code, several agents in a workflow, and long runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.base.llms.types import ChatMessage

from rag_memory_plugins import Conversation, Event, Memory
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.llama_index.convert import to_message
from tests.llama_index.scripted import ScriptedLLM, texts
from tests.llama_index.test_agents import orphans, weather

BOTH = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def shown(asked: list[ChatMessage]) -> str:
    return "\n".join(text for _, text in texts(asked))


@BOTH
async def test_thirty_turns_with_tools_keep_budget_and_pairs(
    memory: Memory, ann: Conversation, streaming: bool
) -> None:
    chat = ScopedMemory(ann, budget=300)
    for turn in range(30):
        llm = ScriptedLLM([(f"call_{turn}", "weather", {"city": "Lisbon"})], f"answer {turn}")
        agent = FunctionAgent(llm=llm, tools=[weather], streaming=streaming)
        await agent.run(f"question {turn}: how warm is my new home?", memory=chat)
        assert [orphans(asked) for asked in llm.asked] == [set(), set()]
        first = [to_message(message) for message in llm.asked[0]]
        assert memory.counter.count_messages(first) <= 300
    said = [m.content for m in await ann.amessages() if m.role == "assistant" and m.content]
    assert said == [f"answer {turn}" for turn in range(30)]


@BOTH
async def test_what_thirty_turns_said_is_recalled_in_a_new_session_of_that_user_alone(
    memory: Memory, ann: Conversation, streaming: bool
) -> None:
    chat = ScopedMemory(ann, budget=400)
    for turn in range(30):
        said = "the boat is called Marisol" if turn == 7 else f"day {turn} was quiet"
        agent = FunctionAgent(llm=ScriptedLLM("noted"), tools=[weather], streaming=streaming)
        await agent.run(said, memory=chat)
    found = {}
    for user in ("ann", "bob"):
        llm = ScriptedLLM("Marisol")
        agent = FunctionAgent(llm=llm, tools=[weather], streaming=streaming)
        other = ScopedMemory(memory.conversation("acme", user, "wednesday"), budget=400)
        await agent.run("what is the boat called?", memory=other)
        found[user] = "Marisol" in shown(llm.asked[0])
    assert found == {"ann": True, "bob": False}


REACT = (
    'Thought: I need a tool.\nAction: weather\nAction Input: {"city": "Lisbon"}',
    "Thought: I can answer.\nAnswer: It is 21 degrees.",
)


@BOTH
async def test_a_react_agent_recalls_and_stores_its_turn(
    ann: Conversation, events: list[Event], streaming: bool
) -> None:
    llm = ScriptedLLM(*REACT)
    agent = ReActAgent(llm=llm, tools=[weather], streaming=streaming)
    answer = await agent.run("weather where I moved?", memory=ScopedMemory(ann))
    assert "I moved to Lisbon in May" in shown(llm.asked[0])
    stored = [(m.role, "21 degrees" in m.content) for m in await ann.amessages()]
    assert (str(answer), stored) == (
        "It is 21 degrees.",
        [("user", False), ("assistant", True)],
    )
    assert [event.name for event in events].count("search") == 1


async def test_a_react_agent_may_be_asked_again(ann: Conversation) -> None:
    chat = ScopedMemory(ann)
    for question in ("weather where I moved?", "and now?"):
        llm = ScriptedLLM(*REACT)
        await ReActAgent(llm=llm, tools=[weather], streaming=False).run(question, memory=chat)
    roles = [role for role, _ in texts(llm.asked[0])][1:]
    assert roles == ["user", "assistant", "user"]


@BOTH
async def test_a_code_agent_recalls_and_stores_its_turn(ann: Conversation, streaming: bool) -> None:
    async def execute(code: str) -> str:
        return f"ran {code}"

    llm = ScriptedLLM("<execute>weather('Lisbon')</execute>", "It is 21 degrees.")
    choice = {"streaming": streaming} if "streaming" in CodeActAgent.model_fields else {}
    agent = CodeActAgent(code_execute_fn=execute, llm=llm, tools=[weather], **choice)
    await agent.run("weather where I moved?", memory=ScopedMemory(ann))
    assert "I moved to Lisbon in May" in shown(llm.asked[1])
    assert [(m.role, m.content.partition(":")[0]) for m in await ann.amessages()] == [
        ("user", "weather where I moved?"),
        ("assistant", "<execute>weather('Lisbon')</execute>"),
        ("user", "Result of executing the code given"),
        ("assistant", "It is 21 degrees."),
    ]


def handing_over(streaming: bool) -> tuple[AgentWorkflow, ScriptedLLM, ScriptedLLM]:
    asks = ScriptedLLM([("h1", "handoff", {"to_agent": "writer", "reason": "it writes"})])
    writes = ScriptedLLM([("c1", "weather", {"city": "Lisbon"})], "21 degrees in Lisbon")
    asker = FunctionAgent(
        name="asker",
        description="asks",
        llm=asks,
        can_handoff_to=["writer"],
        streaming=streaming,
    )
    writer = FunctionAgent(
        name="writer", description="writes", llm=writes, tools=[weather], streaming=streaming
    )
    return AgentWorkflow(agents=[asker, writer], root_agent="asker"), asks, writes


@BOTH
async def test_a_handoff_keeps_recall_question_and_order(
    ann: Conversation, events: list[Event], streaming: bool
) -> None:
    workflow, asks, writes = handing_over(streaming)
    await workflow.run("weather where I moved?", memory=ScopedMemory(ann))
    for asked in (asks.asked[0], *writes.asked):
        assert "I moved to Lisbon in May" in shown(asked)
        assert shown(asked).count("weather where I moved?") == 1
        assert orphans(asked) == set()
    assert [m.role for m in await ann.amessages()] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    # Both agents' calls and the last look of LlamaIndex: one question, one search.
    assert [event.name for event in events].count("search") == 1


async def test_a_workflow_of_agents_remembers_across_sessions(
    memory: Memory, ann: Conversation
) -> None:
    workflow, _, _ = handing_over(streaming=False)
    await workflow.run("the boat is called Marisol", memory=ScopedMemory(ann))
    found = {}
    for user in ("ann", "bob"):
        workflow, asks, _ = handing_over(streaming=False)
        other = ScopedMemory(memory.conversation("acme", user, "wednesday"))
        await workflow.run("what is the boat called?", memory=other)
        found[user] = "Marisol" in shown(asks.asked[0])
    assert found == {"ann": True, "bob": False}


async def test_21888_agents_of_one_workflow_may_have_memories_of_their_own(memory: Memory) -> None:
    inner = ScriptedLLM("a poem about cranes", "a poem about boats")
    poet = FunctionAgent(name="poet", description="writes", llm=inner, streaming=False)
    poets_own = ScopedMemory(memory.conversation("acme", "ann", "poet"), level="session")

    async def poem(about: str) -> str:
        """A poem about something."""
        return str(await poet.run(f"write about {about}", memory=poets_own))

    clerk = ScopedMemory(memory.conversation("acme", "ann", "clerk"), level="session")
    for number, about in enumerate(("cranes", "boats")):
        call = [(f"c{number}", "poem", {"about": about})]
        agent = FunctionAgent(
            name="clerk",
            description="asks",
            llm=ScriptedLLM(call, "here it is"),
            tools=[poem],
            streaming=False,
        )
        await AgentWorkflow(agents=[agent]).run(f"I want {about}", memory=clerk)
    assert [text for _, text in texts(await poets_own.aget_all())] == [
        "write about cranes",
        "a poem about cranes",
        "write about boats",
        "a poem about boats",
    ]
    assert "I want" not in shown(inner.asked[1])
    assert len(await clerk.aget_all()) == 8


async def test_no_two_user_messages_stand_in_a_row_when_the_question_is_put_first(
    ann: Conversation,
) -> None:
    llm = ScriptedLLM("hello", "Lisbon")
    agent = FunctionAgent(llm=llm, tools=[weather], streaming=False)
    chat = ScopedMemory(ann)
    for question in ("hello", "where did I move?"):
        await agent.run(question, memory=chat)
    roles: list[Any] = [role for role, _ in texts(llm.asked[1])]
    assert all(before != after for before, after in pairwise(roles))
