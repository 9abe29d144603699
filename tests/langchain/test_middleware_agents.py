"""A hundred turns of an agent with everything that `create_agent` takes, in every stream mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from rag_memory_plugins import Memory, Message, Namespace
from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.langchain import MemoryMiddleware
from tests.langchain.agents import Login, agent, orphans, say, sizes, stored, thread
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

MODES: list[Any] = ["values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"]
MODES.append(list(MODES))
TURNS, BUDGET = 100, 1200


def by_login(runtime: Runtime[Login] | ToolRuntime[Login, Any]) -> Namespace:
    return Namespace(runtime.context.tenant, runtime.context.user, "monday")


class Place(BaseModel):
    """Where it is."""

    city: str


def shelf(city: str, runtime: ToolRuntime[Login, Any]) -> str:
    """What is on the shelf about a city."""
    assert runtime.store is not None
    runtime.store.put((runtime.context.tenant,), city, {"seen": True})
    return f"{city}: the harbour crane is green and lifts forty tons"


def turn(number: int) -> list[Any]:
    """The model's replies of one turn: one or two calls, then the structured answer."""
    calls = [(f"c{number}.{n}", "shelf", {"city": f"City {n}"}) for n in range(1 + number % 2)]
    return [calls, [(f"p{number}", "Place", {"city": f"City {number}"})]]


def expected() -> list[tuple[str, Any]]:
    """Role, and text or calls, of every message that was said."""
    found: list[tuple[str, Any]] = []
    for n in range(TURNS):
        calls = [f"c{n}.{i}" for i in range(1 + n % 2)]
        found += [("user", f"question {n}: where is the crane?"), ("assistant", calls)]
        found += [("tool", call) for call in calls]
        found += [("assistant", [f"p{n}"]), ("tool", f"p{n}")]
    return found


def said(messages: Sequence[Message]) -> list[tuple[str, Any]]:
    return [(m.role, [c.id for c in m.tool_calls] or m.tool_call_id or m.content) for m in messages]


class Hundred:
    """The agent, and what its runs came to."""

    def __init__(self, memory: Memory) -> None:
        replies = [reply for n in range(TURNS) for reply in turn(n)]
        self.model = StreamingModel(*replies)
        self.store = InMemoryStore()
        self.conversation = memory.conversation("acme", "ann", "monday")
        self.agent = agent(
            self.model,
            MemoryMiddleware(memory, namespace=by_login, budget=BUDGET),
            tools=[shelf],
            response_format=Place,
            checkpointer=InMemorySaver(),
            store=self.store,
            context_schema=Login,
        )
        self.given = {"config": thread(), "context": Login("acme")}

    def ask(self, number: int) -> tuple[Any, dict[str, Any]]:
        question = say(f"question {number}: where is the crane?")
        mode = MODES[number // 2 % len(MODES)]
        return question, {**self.given, "stream_mode": mode, "durability": "exit"}

    def check(self) -> None:
        messages = self.conversation.messages()
        assert said(messages) == expected()
        assert len({m.id for m in messages}) == len(messages)
        assert len(self.model.asked) == 2 * TURNS
        assert 900 < max(sizes(self.model)) <= BUDGET
        assert all(len(schemas) == 2 for schemas in self.model.schemas)
        assert {frozenset(orphans(asked)) for asked in self.model.asked} == {frozenset()}
        state = self.agent.get_state(thread()).values
        assert set(state) == {"messages", "structured_response"}
        assert state["structured_response"] == Place(city=f"City {TURNS - 1}")
        assert len(state["messages"]) == len(messages)
        assert len(self.store.search(("acme",))) == 2


async def test_a_hundred_streamed_turns_are_stored_once_and_stay_within_the_budget(
    memory: Memory,
) -> None:
    """Every second turn is an async one; each stream mode comes up in both forms, six times."""
    run = Hundred(memory)
    for n in range(TURNS):
        question, options = run.ask(n)
        if n % 2:
            parts = [part async for part in run.agent.astream(question, **options)]
        else:
            parts = list(run.agent.stream(question, **options))
        assert parts or options["stream_mode"] == "custom"
    run.check()


async def test_streamed_events_store_a_turn_once(memory: Memory) -> None:
    model = StreamingModel([("c1", "weather", {})], "21 degrees")
    conversation = memory.conversation("acme", "ann", "monday")
    chat = agent(model, MemoryMiddleware(conversation=conversation))
    async for _ in chat.astream_events(say("weather?"), version="v2"):
        pass
    assert [role for role, _ in stored(conversation)] == ["user", "assistant", "tool", "assistant"]


def test_tokens_are_streamed_as_the_model_gives_them(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "monday")
    chat = agent(StreamingModel("it is 21 degrees"), MemoryMiddleware(conversation=conversation))
    parts = chat.stream(say("weather?"), stream_mode="messages")
    assert [part.text for part, _ in parts if part.text] == ["it ", "is ", "21 ", "degrees"]


def by_config(_: object) -> Namespace:
    given = get_config()["configurable"]
    return Namespace(given["tenant"], given["user"], given["thread_id"])


def configured(tenant: str) -> dict[str, Any]:
    return {"configurable": {"tenant": tenant, "user": "ann", "thread_id": "t1"}}


async def test_the_config_may_name_the_namespace(memory: Memory) -> None:
    model = ScriptedModel([("c1", "weather", {})], "sunny", "rainy")
    chat = agent(model, MemoryMiddleware(memory, namespace=by_config))
    chat.invoke(say("I live in Lisbon"), configured("acme"))
    await chat.ainvoke(say("I live in Oslo"), configured("globex"))
    assert len(memory.conversation("acme", "ann", "t1").messages()) == 4
    assert len(memory.conversation("globex", "ann", "t1").messages()) == 2
    assert "Lisbon" not in str(texts(model.asked[-1]))


async def test_a_config_without_the_tenant_fails_closed(memory: Memory) -> None:
    model = ScriptedModel("hello")
    chat = agent(model, MemoryMiddleware(memory, namespace=by_config))
    with pytest.raises(InvalidNamespace, match="its function failed"):
        chat.invoke(say("hi"), thread())
    with pytest.raises(InvalidNamespace, match="its function failed"):
        await chat.ainvoke(say("hi"), thread())
    assert (model.asked, memory.namespaces()) == ([], [])


async def test_a_coroutine_is_no_namespace(memory: Memory) -> None:
    async def later(_: object) -> Namespace:
        return Namespace("acme", "ann", "monday")

    middleware = MemoryMiddleware(memory, namespace=later)  # type: ignore[arg-type]
    with pytest.raises(InvalidNamespace, match="must give a Namespace"):
        await agent(ScriptedModel("hello"), middleware).ainvoke(say("hi"))


def test_a_dict_is_taken_for_the_context_schema_as_langchain_does(memory: Memory) -> None:
    middleware = MemoryMiddleware(memory, namespace=by_login)
    chat = agent(ScriptedModel("hello"), middleware, context_schema=Login)
    chat.invoke(say("hi"), context={"tenant": "acme"})
    assert len(memory.conversation("acme", "ann", "monday").messages()) == 2


def test_one_agent_serves_many_users_at_once(memory: Memory) -> None:
    model = ScriptedModel(*["noted"] * 20)
    chat = agent(model, MemoryMiddleware(memory, namespace=by_login), context_schema=Login)
    questions = [say(f"secret of {n % 10}") for n in range(20)]
    configs = [{"configurable": {}, "max_concurrency": 4} for _ in questions]
    for n in range(0, 20, 10):
        for i in range(10):
            chat.invoke(questions[n + i], configs[n + i], context=Login(f"tenant {i}"))
    for i in range(10):
        said_here = Counter(stored(memory.conversation(f"tenant {i}", "ann", "monday")))
        assert said_here == {("user", f"secret of {i}"): 2, ("assistant", "noted"): 2}


def test_the_answer_in_the_state_is_the_models(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "monday")
    chat = agent(
        ScriptedModel(AIMessage("hello", id="a1")), MemoryMiddleware(conversation=conversation)
    )
    answer = chat.invoke(say("hi"))["messages"][-1]
    assert (answer.id, answer.text, conversation.messages()[-1].id) == ("a1", "hello", "a1")
