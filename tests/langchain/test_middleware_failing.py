"""What fails: reading costs the context and says so, writing raises; what is erased is gone."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from rag_memory_plugins import Conversation, Event, Memory, Namespace
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, StoreFull, StoreLocked
from rag_memory_plugins.langchain import MemoryMiddleware
from tests.langchain.agents import agent, orphans, say, sizes, stored, thread
from tests.langchain.scripted import ScriptedModel, texts

LOOK = [("c1", "weather", {"city": "Lisbon"})]


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def broken(monkeypatch: pytest.MonkeyPatch, memory: Memory, method: str, error: Exception) -> None:
    async def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(memory.log, method, fails)


def reasons(answer: AIMessage) -> list[str]:
    return answer.response_metadata["context_adjustment"]["degraded"]  # type: ignore[no-any-return]


def test_a_memory_that_cannot_be_read_costs_the_context_and_not_the_turn(
    ann: Conversation, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel("hello", "again")
    chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=InMemorySaver())
    chat.invoke(say("I am Ann"), thread())
    broken(monkeypatch, ann.memory, "aview", StoreLocked("the store is locked"))
    answer = chat.invoke(say("who am I?"), thread())["messages"][-1]
    assert [text for _, text in texts(model.asked[1])[1:]] == ["I am Ann", "hello", "who am I?"]
    assert reasons(answer) == ["memory was not read: StoreLocked 'the store is locked'"]
    told = [event for event in events if event.name == "middleware.degraded"]
    assert [event.data["reasons"] for event in told] == [reasons(answer)]
    assert stored(ann)[-2:] == [("user", "who am I?"), ("assistant", "again")]


def test_an_unread_memory_still_keeps_budget_and_pairs(
    ann: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ann.memory, "aview", StoreLocked("locked"))
    lost = AIMessage("", tool_calls=[{"name": "weather", "args": {}, "id": "lost"}])
    history = [HumanMessage("weather?"), lost, *[HumanMessage("hm " * 50), AIMessage("so")] * 10]
    model = ScriptedModel("hello")
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=400))
    chat.invoke({"messages": [m.model_copy() for m in history] + [HumanMessage("hi")]})
    assert orphans(model.asked[0]) == set()
    assert max(sizes(model)) <= 400


def test_what_an_unknown_error_says_is_told_nowhere(
    ann: Conversation, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ann.memory, "aview", RuntimeError("near 'I moved to Lisbon'"))
    chat = agent(ScriptedModel("hello"), MemoryMiddleware(conversation=ann))
    answer = chat.invoke(say("hi"))["messages"][-1]
    assert reasons(answer) == ["memory was not read: RuntimeError"]
    assert "Lisbon" not in str(events)


def test_the_next_call_of_the_turn_tries_to_read_again(
    ann: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel(LOOK, "21 degrees")
    with monkeypatch.context() as patch:
        broken(patch, ann.memory, "aview", StoreLocked("locked"))

        def weather(city: str) -> str:
            """The weather, and the end of the trouble."""
            patch.undo()
            return f"{city}: 21 degrees"

        chat = agent(model, MemoryMiddleware(conversation=ann), tools=[weather])
        chat.invoke(say("weather where I moved?"))
    assert "I moved to Lisbon" not in str(texts(model.asked[0]))
    assert "I moved to Lisbon" in str(texts(model.asked[1]))


def test_a_log_that_cannot_be_written_stops_the_turn_before_the_model_is_asked(
    ann: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ann.memory, "aappend", StoreFull("the disk is full"))
    model = ScriptedModel("hello")
    with pytest.raises(StoreFull, match="the disk is full"):
        agent(model, MemoryMiddleware(conversation=ann)).invoke(say("hi"))
    assert model.asked == []


def test_a_tenant_that_is_none_fails_closed(memory: Memory) -> None:
    middleware = MemoryMiddleware(memory, namespace=lambda _: Namespace(None, "ann", "monday"))  # type: ignore[arg-type]
    model = ScriptedModel("hello")
    with pytest.raises(InvalidNamespace, match="tenant"):
        agent(model, middleware).invoke(say("hi"))
    assert (model.asked, memory.namespaces()) == ([], [])


def test_after_an_erase_nothing_of_it_is_sent_in_the_turn_that_runs(
    ann: Conversation,
) -> None:
    def wipe() -> str:
        """Erase everything."""
        ann.erase(level="user")
        return "erased"

    model = ScriptedModel([("c1", "wipe", {})], "done")
    chat = agent(model, MemoryMiddleware(conversation=ann), tools=[wipe])
    chat.invoke(say("where did I move?"))
    assert "I moved to Lisbon" in str(texts(model.asked[0]))
    assert "I moved to Lisbon" not in str(texts(model.asked[1]))


def test_what_was_erased_during_a_turn_is_not_stored_again(ann: Conversation) -> None:
    def wipe() -> str:
        """Erase everything."""
        ann.erase(level="user")
        return "erased"

    model = ScriptedModel([("c1", "wipe", {})], "done")
    chat = agent(model, MemoryMiddleware(conversation=ann), tools=[wipe])
    chat.invoke(say("my pin is 4821, forget all"))
    assert "4821" not in str(stored(ann))
    assert stored(ann)[-1] == ("assistant", "done")


def test_what_was_recalled_is_kept_neither_after_an_erase_nor_after_the_run(
    ann: Conversation,
) -> None:
    kept: list[bool] = []
    middleware = MemoryMiddleware(conversation=ann)

    def look(wipe: bool) -> str:
        """What is kept of the running turn."""
        if wipe:
            ann.erase(level="user")
        kept.extend(turn.prompt is not None for turn in middleware._turns._turns.values())
        return "seen"

    calls = [[(f"c{n}", "look", {"wipe": bool(n)})] for n in range(2)]
    agent(ScriptedModel(*calls, "done"), middleware, tools=[look]).invoke(say("where?"))
    kept.extend(turn.prompt is not None for turn in middleware._turns._turns.values())
    assert kept == [True, False, False]


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"], ids=["NUL", "surrogate"])
def test_a_binary_file_that_a_tool_read_does_not_end_the_conversation(
    ann: Conversation, text: str
) -> None:
    def read(path: str) -> str:
        """Read a file."""
        return text

    model = ScriptedModel([("c1", "read", {"path": text})], "a file", "yes")
    chat = agent(
        model, MemoryMiddleware(conversation=ann), tools=[read], checkpointer=InMemorySaver()
    )
    chat.invoke(say(f"read {text}"), thread())
    chat.invoke(say("sure?"), thread())
    said = stored(ann)
    assert [role for role, _ in said] == [
        *["user", "assistant", "tool", "assistant"],
        *["user", "assistant"],
    ]
    assert said[2][1] in ("a b", "a?b")


def test_a_misspelt_level_is_refused_when_the_middleware_is_made(ann: Conversation) -> None:
    with pytest.raises(InvalidInput, match="level"):
        MemoryMiddleware(conversation=ann, level="users")  # type: ignore[arg-type]
