"""The budget is a hard limit for every model call: system prompt, schemas, history, rounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field

from rag_memory_plugins import Conversation, Event, Memory, TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.langchain import MemoryMiddleware
from rag_memory_plugins.tokens import make_counter
from tests.langchain.agents import agent, orphans, say, sizes, stored, thread
from tests.langchain.scripted import ScriptedModel, texts

LONG = "the crane at pier 7 lifts forty tons and is painted green. "


class Report(BaseModel):
    """A report on the harbour."""

    cranes: list[str] = Field(description="every crane by name, as the harbour master calls it")
    summary: str = Field(description="what there is to say, in two sentences at most")


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def look(page: int = 0) -> str:
    """A page of the harbour's book."""
    return f"page {page}: {LONG * 40}"


def rounds(count: int) -> list[Any]:
    return [[(f"c{n}", "look", {"page": n})] for n in range(count)]


def test_tool_rounds_stay_within_the_budget(ann: Conversation) -> None:
    model = ScriptedModel(*rounds(8), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=1200), tools=[look])
    chat.invoke(say("read the book"))
    assert max(sizes(model)) <= 1200
    assert {frozenset(orphans(asked)) for asked in model.asked} == {frozenset()}


def test_the_latest_result_is_always_seen_and_the_question_too(ann: Conversation) -> None:
    model = ScriptedModel(*rounds(8), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=1200), tools=[look])
    chat.invoke(say("read the book"))
    for n, asked in enumerate(model.asked[1:]):
        assert asked[-1].text.startswith(f"page {n}: ")
        assert any("read the book" in message.text for message in asked)


def test_a_result_too_long_is_shortened_with_a_mark_that_names_it(ann: Conversation) -> None:
    model = ScriptedModel(*rounds(1), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=400), tools=[look])
    result = chat.invoke(say("read the book"))
    given = result["messages"][2]
    assert f"[… shortened, message {given.id}]" in model.asked[1][-1].text
    assert given.text == look()  # in the state as it was
    assert stored(ann)[2] == ("tool", look())


@pytest.mark.parametrize(
    "response_format", [Report, ToolStrategy(Report), ProviderStrategy(Report)], ids=str
)
def test_schemas_of_tools_and_response_count(ann: Conversation, response_format: Any) -> None:
    model = ScriptedModel('{"cranes": [], "summary": "none"}')
    for n in range(40):
        ann.add(f"{LONG} {n}", role="assistant" if n % 2 == 0 else "user")
    chat = agent(
        model,
        MemoryMiddleware(conversation=ann, budget=700),
        tools=[look],
        response_format=response_format,
    )
    chat.invoke(say("which crane is green?"))
    assert len(model.schemas[0]) == 2
    assert 500 < max(sizes(model)) <= 700


def test_a_long_system_prompt_counts(ann: Conversation) -> None:
    model = ScriptedModel(*["noted"] * 20)
    chat = agent(
        model,
        MemoryMiddleware(conversation=ann, budget=900),
        system_prompt=LONG * 40,
        checkpointer=InMemorySaver(),
    )
    for n in range(20):
        chat.invoke(say(f"{n}: {LONG * 3}"), thread())
    assert max(sizes(model)) <= 900


@pytest.mark.parametrize("budget", [TokenBudget(1500, completion=500), TokenBudget(1000)], ids=str)
def test_what_the_answer_may_take_is_kept_free(ann: Conversation, budget: TokenBudget) -> None:
    model = ScriptedModel(*["noted"] * 20)
    middleware = MemoryMiddleware(conversation=ann, budget=budget)
    chat = agent(model, middleware, checkpointer=InMemorySaver())
    for n in range(20):
        chat.invoke(say(f"{n}: {LONG * 4}"), thread())
    assert 800 < max(sizes(model)) <= 1000


def test_a_budget_for_system_and_question_is_not_taken_twice(ann: Conversation) -> None:
    model = ScriptedModel(*["noted"] * 20)
    budget = TokenBudget(1000, system=300, question=300)
    chat = agent(
        model, MemoryMiddleware(conversation=ann, budget=budget), checkpointer=InMemorySaver()
    )
    for n in range(20):
        chat.invoke(say(f"{n}: {LONG * 4}"), thread())
    assert 800 < max(sizes(model)) <= 1000


def test_only_system_schemas_and_question_over_the_budget_are_refused(ann: Conversation) -> None:
    model = ScriptedModel("no")
    chat = agent(
        model, MemoryMiddleware(conversation=ann, budget=300), system_prompt=LONG * 20, tools=[look]
    )
    with pytest.raises(BudgetTooSmall, match=r"raise it \(schemas of tools .* take \d+ of it\)"):
        chat.invoke(say("hi"))
    assert (model.asked, stored(ann)) == ([], [("user", "hi")])


def test_after_a_question_that_was_refused_the_next_one_is_answered(ann: Conversation) -> None:
    model = ScriptedModel("hello")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=300))
    with pytest.raises(BudgetTooSmall):
        chat.invoke(say(LONG * 60))
    chat.invoke(say("hi"))
    assert model.asked[0][-1].text.endswith("hi")
    assert max(sizes(model)) <= 300


def test_recalled_text_leaves_half_of_the_room_to_tools(memory: Memory) -> None:
    old = memory.conversation("acme", "ann", "monday")
    for n in range(60):
        old.add(f"{LONG} note {n}: {LONG}")
    model = ScriptedModel(*rounds(1), "done")
    chat = agent(
        model,
        MemoryMiddleware(conversation=memory.conversation("acme", "ann", "tuesday"), budget=2000),
        tools=[look],
    )
    chat.invoke(say("which crane at the pier is green?"))
    assert make_counter(None).count(model.asked[1][-1].text) > 500


def test_pins_outlive_history_rounds_and_recalled_text(ann: Conversation) -> None:
    ann.add("never use red", id="rule")
    ann.add("understood", role="assistant")
    ann.pin("rule", level="user")
    model = ScriptedModel(*rounds(10), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=600), tools=[look])
    chat.invoke(say("read the book"))
    assert all("never use red" in str(texts(asked)) for asked in model.asked)
    assert max(sizes(model)) <= 600


def test_the_first_goal_outlives_the_history_that_tool_rounds_push_out(ann: Conversation) -> None:
    ann.add("plan the harbour festival with me")
    ann.add("gladly", role="assistant")
    model = ScriptedModel(*rounds(10), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=600), tools=[look])
    chat.invoke(say("read the book"))
    assert all("plan the harbour festival" in str(texts(asked)) for asked in model.asked)
    assert max(sizes(model)) <= 600


def test_the_first_goal_is_still_seen_after_many_turns(ann: Conversation) -> None:
    model = ScriptedModel(*["noted"] * 40)
    chat = agent(
        model, MemoryMiddleware(conversation=ann, budget=700), checkpointer=InMemorySaver()
    )
    chat.invoke(say("plan the harbour festival with me"), thread())
    for n in range(39):
        chat.invoke(say(f"{n}: {LONG * 2}"), thread())
    assert "plan the harbour festival with me" in str(texts(model.asked[-1]))


class Grows(AgentMiddleware[Any, Any, Any]):
    """A system prompt that is longer with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.calls += 1
        return handler(request.override(system_message=SystemMessage(LONG * 4 * self.calls)))


def test_a_system_prompt_that_grows_during_a_turn_is_counted_anew(ann: Conversation) -> None:
    model = ScriptedModel(*rounds(5), "done")
    chat = agent(model, Grows(), MemoryMiddleware(conversation=ann, budget=800), tools=[look])
    chat.invoke(say("read the book"))
    assert max(sizes(model)) <= 800


def picture(url: str = "https://example.org/a.png") -> list[dict[str, Any]]:
    return [{"type": "text", "text": "a map"}, {"type": "image", "url": url}]


def test_a_picture_that_a_tool_gave_goes_before_the_round_does(ann: Conversation) -> None:
    history = [
        HumanMessage("what is on the map?"),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}]),
        ToolMessage(picture(), tool_call_id="c1"),
    ]
    model = ScriptedModel("a crane")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=800), tools=[look])
    answer = chat.invoke({"messages": history})["messages"][-1]
    assert "a map" in model.asked[0][-1].text
    assert "image left out" in model.asked[0][-1].text
    assert any("picture" in reason for reason in told(answer)["degraded"])


def test_a_long_argument_goes_before_the_round_does(ann: Conversation) -> None:
    def write(text: str) -> str:
        """Write a file."""
        return "written"

    model = ScriptedModel([("c1", "write", {"text": LONG * 100})], "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=600), tools=[write])
    chat.invoke(say("write a story"))
    assert [m.type for m in model.asked[1]] == ["system", "human", "ai", "tool"]
    assert "[… shortened]" in model.asked[1][2].tool_calls[0]["args"]["text"]  # type: ignore[attr-defined]
    assert stored(ann)[2] == ("tool", "written")
    assert LONG * 100 in ann.messages()[1].tool_calls[0].arguments
    assert max(sizes(model)) <= 600


def told(message: Any) -> dict[str, Any]:
    return message.response_metadata["context_adjustment"]  # type: ignore[no-any-return]


def test_what_was_cut_is_told_in_the_answer_and_as_an_event(
    ann: Conversation, events: list[Event]
) -> None:
    model = ScriptedModel(*rounds(3), "done")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=700), tools=[look])
    answer = chat.invoke(say("read the book"))["messages"][-1]
    adjustment = told(answer)
    assert adjustment["tokens"] <= adjustment["available"] == 700
    assert adjustment["removed"] > 0
    assert any("results of tools shortened" in reason for reason in adjustment["degraded"])
    last = [event.data for event in events if event.name == "middleware.trimmed"][-1]
    assert last == {name: value for name, value in adjustment.items() if name != "degraded"}


def test_an_answer_to_a_request_that_fitted_is_not_marked(ann: Conversation) -> None:
    chat = agent(ScriptedModel("hello"), MemoryMiddleware(conversation=ann))
    assert "context_adjustment" not in chat.invoke(say("hi"))["messages"][-1].response_metadata


_turn = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.integers(1, 300)), min_size=1, max_size=6
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(turns=_turn, budget=st.integers(250, 1500))
def test_no_call_is_over_the_budget_and_no_pair_is_parted(
    memory: Memory, turns: list[tuple[int, int, int]], budget: int
) -> None:
    conversation = memory.conversation("acme", "ann", f"{budget} {turns}"[:200])
    replies: list[Any] = []
    for n, (_, count, length) in enumerate(turns):
        replies += [[(f"c{n}.{i}", "dig", {"words": length})] for i in range(count)]
        replies.append("so it is")
    model = ScriptedModel(*replies)

    def dig(words: int) -> str:
        """Dig."""
        return "sand " * words

    middleware = MemoryMiddleware(conversation=conversation, budget=budget)
    chat = agent(model, middleware, tools=[dig], checkpointer=InMemorySaver())
    for words, count, _ in turns:
        try:
            chat.invoke(say("why " * (words + 1)), thread())
        except BudgetTooSmall:
            del model._replies[: count + 1]
    assert all(size <= budget for size in sizes(model))
    assert all(not orphans(asked) for asked in model.asked)
