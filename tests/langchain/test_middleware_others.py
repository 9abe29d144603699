"""Beside LangChain's own middleware, in both orders; and beside itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import pytest
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
)
from langchain.agents.middleware.human_in_the_loop import DecisionType
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.langchain import MemoryMiddleware
from tests.langchain.agents import agent, orphans, say, sizes, stored, thread
from tests.langchain.scripted import ScriptedModel, texts

BOTH = pytest.mark.parametrize("first", [True, False], ids=["memory first", "memory last"])
LONG = "the crane at pier 7 lifts forty tons and is painted green. "


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def ordered(memory: AgentMiddleware, other: AgentMiddleware, first: bool) -> list[AgentMiddleware]:
    return [memory, other] if first else [other, memory]


def summarizing() -> tuple[ScriptedModel, SummarizationMiddleware]:
    model = ScriptedModel(*["SUMMARY of what was said"] * 60)
    return model, SummarizationMiddleware(model, trigger=("messages", 12), keep=("messages", 4))


@BOTH
def test_with_summarization_every_turn_is_stored_once_and_no_summary_is(
    ann: Conversation, first: bool
) -> None:
    asked, summary = summarizing()
    model = ScriptedModel(*[f"answer {n}" for n in range(30)])
    memory = MemoryMiddleware(conversation=ann, budget=500)
    chat = agent(model, *ordered(memory, summary, first), checkpointer=InMemorySaver())
    for n in range(30):
        chat.invoke(say(f"question {n}"), thread())
    assert len(asked.asked) > 2
    assert stored(ann) == [
        pair
        for n in range(30)
        for pair in (("user", f"question {n}"), ("assistant", f"answer {n}"))
    ]
    assert max(sizes(model)) <= 500


@BOTH
def test_summarization_within_a_turn_loses_neither_question_nor_pairs(
    ann: Conversation, first: bool
) -> None:
    _, summary = summarizing()
    calls = [[(f"c{n}", "weather", {"city": f"City {n}"})] for n in range(20)]
    model = ScriptedModel(*calls, "done")
    memory = MemoryMiddleware(conversation=ann, budget=700)
    chat = agent(model, *ordered(memory, summary, first), checkpointer=InMemorySaver())
    chat.invoke(say("what is the weather where I moved?"), thread())
    assert [role for role, _ in stored(ann)] == ["user", *["assistant", "tool"] * 20, "assistant"]
    assert all("weather where I moved?" in str(texts(sent)) for sent in model.asked)
    assert {frozenset(orphans(sent)) for sent in model.asked} == {frozenset()}
    assert max(sizes(model)) <= 700


@BOTH
def test_a_fallback_gets_the_context_and_its_answer_is_stored_once(
    ann: Conversation, first: bool
) -> None:
    primary, second = ScriptedModel(RuntimeError("429")), ScriptedModel("Lisbon")
    fallback = ModelFallbackMiddleware(second)
    memory = MemoryMiddleware(conversation=ann, budget=500)
    agent(primary, *ordered(memory, fallback, first)).invoke(say("where did I move?"))
    assert "I moved to Lisbon" in str(texts(second.asked[0]))
    assert stored(ann) == [("user", "where did I move?"), ("assistant", "Lisbon")]
    assert max([*sizes(primary), *sizes(second)]) <= 500


@BOTH
async def test_an_async_retry_recalls_once_and_stores_once(ann: Conversation, first: bool) -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0)
    model = ScriptedModel(RuntimeError("down"), RuntimeError("down"), "Lisbon")
    memory = MemoryMiddleware(conversation=ann, budget=500)
    await agent(model, *ordered(memory, retry, first)).ainvoke(say("where did I move?"))
    assert texts(model.asked[0]) == texts(model.asked[1]) == texts(model.asked[2])
    assert max(sizes(model)) <= 500
    assert stored(ann) == [("user", "where did I move?"), ("assistant", "Lisbon")]


@BOTH
def test_retries_that_all_failed_store_what_the_user_got(ann: Conversation, first: bool) -> None:
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0)
    model = ScriptedModel(RuntimeError("down"), RuntimeError("down"))
    memory = MemoryMiddleware(conversation=ann)
    result = agent(model, *ordered(memory, retry, first)).invoke(say("where did I move?"))
    assert stored(ann)[1] == ("assistant", result["messages"][-1].text)


CALL = [("c1", "weather", {"city": "Lisbon"})]
DECISIONS: dict[str, dict[str, Any]] = {
    "approved": {"type": "approve"},
    "rejected": {"type": "reject", "message": "not now"},
}
if "respond" in get_args(DecisionType):  # newer than the oldest version we support
    DECISIONS["answered"] = {"type": "respond", "message": "it rains"}


@BOTH
@pytest.mark.parametrize("decision", DECISIONS)
def test_a_reviewed_turn_is_stored_once(ann: Conversation, first: bool, decision: str) -> None:
    choices = [made["type"] for made in DECISIONS.values()]
    review = HumanInTheLoopMiddleware(interrupt_on={"weather": {"allowed_decisions": choices}})
    model = ScriptedModel(CALL, "It is so.")
    memory = MemoryMiddleware(conversation=ann, budget=500)
    chat = agent(model, *ordered(memory, review, first), checkpointer=InMemorySaver())
    chat.invoke(say("weather?"), thread())
    chat.invoke(Command(resume={"decisions": [DECISIONS[decision]]}), thread())
    said = ann.messages()
    assert [m.role for m in said] == ["user", "assistant", "tool", "assistant"]
    assert len({m.id for m in said}) == 4
    assert orphans(model.asked[-1]) == set()
    assert max(sizes(model)) <= 500


@BOTH
def test_a_reviewed_turn_resumed_by_another_process_is_stored_once(
    ann: Conversation, first: bool
) -> None:
    model, saver = ScriptedModel(CALL, "It is so."), InMemorySaver()

    def chat() -> Any:
        review = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
        memory = MemoryMiddleware(conversation=ann)
        return agent(model, *ordered(memory, review, first), checkpointer=saver)

    chat().invoke(say("weather?"), thread())
    chat().invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread())
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool", "assistant"]


async def test_a_tool_that_interrupts_and_is_resumed_is_stored_once(ann: Conversation) -> None:
    def ask(question: str) -> str:
        """Ask a person."""
        return f"a person says {interrupt(question)}"

    model = ScriptedModel(
        [("c1", "ask", {"question": "a?"}), ("c2", "ask", {"question": "b?"})], "so it is"
    )
    memory = MemoryMiddleware(conversation=ann, budget=500)
    chat = agent(model, memory, tools=[ask], checkpointer=InMemorySaver())
    stopped = await chat.ainvoke(say("ask them"), thread())
    answers = {stop.id: f"yes to {stop.value}" for stop in stopped["__interrupt__"]}
    await chat.ainvoke(Command(resume=answers), thread())
    assert stored(ann) == [
        ("user", "ask them"),
        ("assistant", ""),
        ("tool", "a person says yes to a?"),
        ("tool", "a person says yes to b?"),
        ("assistant", "so it is"),
    ]


@BOTH
def test_personal_data_is_stored_as_it_was_redacted(ann: Conversation, first: bool) -> None:
    def directory() -> str:
        """Everybody's address."""
        return "write to bob@example.org"

    pii = PIIMiddleware(
        "email", strategy="redact", apply_to_output=True, apply_to_tool_results=True
    )
    model = ScriptedModel([("c1", "directory", {})], "it is bob@example.org")
    memory = MemoryMiddleware(conversation=ann, budget=500)
    chat = agent(model, *ordered(memory, pii, first), tools=[directory])
    chat.invoke(say("I am ann@example.org"))
    assert "@example.org" not in str(stored(ann))
    assert max(sizes(model)) <= 500
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool", "assistant"]


def dig(depth: int) -> str:
    """Dig."""
    return f"{depth}: {LONG * 30}"


@BOTH
def test_results_that_context_editing_cleared_stay_whole_in_memory(
    ann: Conversation, first: bool
) -> None:
    edit = ClearToolUsesEdit(trigger=300, keep=1, clear_tool_inputs=True)
    model = ScriptedModel(*[[(f"c{n}", "dig", {"depth": n})] for n in range(5)], "done")
    memory = MemoryMiddleware(conversation=ann, budget=2000)
    other = ContextEditingMiddleware(edits=[edit])
    chat = agent(model, *ordered(memory, other, first), tools=[dig])
    chat.invoke(say("dig"))
    assert [m.content for m in ann.messages() if m.role == "tool"] == [dig(n) for n in range(5)]
    assert [m.tool_calls[0].arguments for m in ann.messages() if m.tool_calls] == [
        f'{{"depth": {n}}}' for n in range(5)
    ]
    assert max(sizes(model)) <= 2000


def test_what_middleware_in_front_adds_to_a_request_is_in_the_budget(ann: Conversation) -> None:
    model = ScriptedModel(*[[(f"c{n}", "dig", {"depth": n})] for n in range(5)], "done")
    chat = agent(
        model, TodoListMiddleware(), MemoryMiddleware(conversation=ann, budget=2600), tools=[dig]
    )
    chat.invoke(say("dig"))
    assert any(s["function"]["name"] == "write_todos" for s in model.schemas[0])
    assert 2000 < max(sizes(model)) <= 2600


def two(memory: Memory, budget: int) -> tuple[Conversation, Conversation, list[AgentMiddleware]]:
    own = memory.conversation("acme", "ann", "today")
    team = memory.conversation("acme", "team", "today")
    middleware = [
        MemoryMiddleware(conversation=own, budget=budget),
        MemoryMiddleware(conversation=team, budget=budget, name="team"),
    ]
    return own, team, list(middleware)


def test_two_memories_in_one_agent_keep_the_budget_and_both_pins(memory: Memory) -> None:
    own, team, middleware = two(memory, 900)
    for conversation, rule in ((own, "never use red"), (team, "always use metric units")):
        conversation.add(rule, id="rule")
        conversation.add("understood", role="assistant")
        conversation.pin("rule", level="user")
    model = ScriptedModel(*[[(f"c{n}", "dig", {"depth": n})] for n in range(6)], "done")
    chat = agent(model, *middleware, tools=[dig])
    chat.invoke(say("dig where I said"))
    for sent in model.asked:
        assert "never use red" in str(texts(sent))
        assert "always use metric units" in str(texts(sent))
    assert max(sizes(model)) <= 900


def test_what_one_memory_recalled_the_other_does_not_store(memory: Memory) -> None:
    own, team, middleware = two(memory, 2000)
    memory.conversation("acme", "ann", "before").add("my pin is 4821")
    memory.conversation("acme", "team", "before").add("the pin of the door is 1111")
    model = ScriptedModel("4821 and 1111")
    agent(model, *middleware).invoke(say("what is the pin?"))
    sent = str(texts(model.asked[0]))
    assert ("4821" in sent, "1111" in sent) == (True, True)
    said = [("user", "what is the pin?"), ("assistant", "4821 and 1111")]
    assert (stored(own), stored(team)) == (said, said)


def test_two_memories_send_no_two_user_messages_in_a_row(memory: Memory) -> None:
    own, team, middleware = two(memory, 2000)
    for conversation in (own, team):
        conversation.add("we met in May")
        conversation.add("so we did", role="assistant")
    model = ScriptedModel("in May")
    agent(model, *middleware).invoke(say("when did we meet?"))
    assert all(a.type != b.type for a, b in pairwise(model.asked[0]))
