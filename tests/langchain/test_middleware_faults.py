"""Faults of LangChain's own middleware, by issue number: ours without them."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from rag_memory_plugins import Memory
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.langchain import MemoryMiddleware
from tests.langchain.agents import agent, orphans, say, sizes, thread
from tests.langchain.scripted import ScriptedModel, texts

STEP = "the measuring of the crane gave forty tons at a height of sixty metres. " * 5


def measure(step: int) -> str:
    """Measure."""
    return f"{step}: {STEP}"


def test_39261_a_goal_outlives_a_loop_of_sixty_tool_steps(memory: Memory) -> None:
    calls = [[(f"c{n}", "measure", {"step": n})] for n in range(60)]
    model = ScriptedModel(*calls, "done")
    conversation = memory.conversation("acme", "ann", "monday")
    chat = agent(model, MemoryMiddleware(conversation=conversation, budget=2000), tools=[measure])
    chat.invoke(say("measure the crane until it is done"), {"recursion_limit": 200})
    assert all("measure the crane until it is done" in str(texts(sent)) for sent in model.asked)
    assert [sent[-1].text[:3].strip(": ") for sent in model.asked[1:]] == [
        str(n) for n in range(60)
    ]
    assert max(sizes(model)) <= 2000


def test_34664_the_system_prompt_is_counted(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "monday")
    model = ScriptedModel("hello")
    middleware = MemoryMiddleware(conversation=conversation, budget=2000)
    with pytest.raises(BudgetTooSmall):
        agent(model, middleware, system_prompt=STEP * 60).invoke(say("hi"))
    assert model.asked == []


def test_34282_no_request_holds_a_result_without_its_call(memory: Memory) -> None:
    replies: list[Any] = []
    for n in range(20):
        calls = [(f"c{n}.{i}", "measure", {"step": i}) for i in range(1 + n % 3)]
        replies += [calls, "measured"]
    model = ScriptedModel(*replies)
    conversation = memory.conversation("acme", "ann", "monday")
    middleware = MemoryMiddleware(conversation=conversation, budget=700)
    chat = agent(model, middleware, tools=[measure], checkpointer=InMemorySaver())
    for n in range(20):
        chat.invoke(say(f"measure {n}"), thread())
    assert {frozenset(orphans(sent)) for sent in model.asked} == {frozenset()}


def test_34698_two_of_one_kind_need_names_and_have_them(memory: Memory) -> None:
    conversations = [memory.conversation("acme", user, "monday") for user in ("ann", "team")]
    one, two = (MemoryMiddleware(conversation=c) for c in conversations)
    with pytest.raises(AssertionError, match="duplicate middleware"):
        agent(ScriptedModel(), one, two)
    named = MemoryMiddleware(conversation=conversations[1], name="team")
    agent(ScriptedModel("hello"), one, named).invoke(say("hi"))


FACTS = 100


def facts(run: Any) -> None:
    for n in range(FACTS):
        run(f"the crane number {n} was built in {1900 + n} and is painted in colour {n * 7}")


def test_every_one_of_a_hundred_facts_is_found_again(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "monday")
    model = ScriptedModel(*["noted, and it will be kept in the harbour's book"] * FACTS * 2)
    middleware = MemoryMiddleware(conversation=conversation, budget=1500)
    chat = agent(model, middleware, checkpointer=InMemorySaver())
    facts(lambda text: chat.invoke(say(text), thread()))
    found = 0
    for n in range(0, FACTS, 5):
        chat.invoke(say(f"when was the crane number {n} built?"), thread())
        found += f"crane number {n} was built in {1900 + n}" in str(texts(model.asked[-1]))
    assert found == FACTS // 5
