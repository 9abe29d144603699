"""`middleware`: a memory and what else an agent wants, in an order that works."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    TodoListMiddleware,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from rag_memory_plugins import Conversation, Memory, Namespace
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.langchain import MemoryMiddleware, middleware
from tests.langchain.agents import Login, agent, say, sizes, stored, thread
from tests.langchain.scripted import ScriptedModel, texts


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def names(parts: list[Any]) -> list[str]:
    return [part.name for part in parts]


def test_the_order_is_request_memory_fallback_retry_answer(ann: Conversation) -> None:
    own = [
        HumanInTheLoopMiddleware(interrupt_on={"weather": True}),
        PIIMiddleware("email"),
        TodoListMiddleware(),
    ]
    given = middleware(ann, retries=2, fallbacks=[ScriptedModel()], own=own)
    assert names(given) == [
        "TodoListMiddleware",
        "MemoryMiddleware",
        "ModelFallbackMiddleware",
        "ModelRetryMiddleware",
        "HumanInTheLoopMiddleware",
        "PIIMiddleware[email]",
    ]
    assert names(middleware(ann)) == ["MemoryMiddleware"]


def test_a_model_is_tried_again_before_the_next_is_asked_and_the_turn_is_stored_once(
    ann: Conversation,
) -> None:
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error")
    first = ScriptedModel(RuntimeError("429"), RuntimeError("429"))
    second = ScriptedModel("to Lisbon")
    given = middleware(ann, budget=2600, fallbacks=[second], own=[TodoListMiddleware(), retry])
    agent(first, *given).invoke(say("where did I move?"))
    assert [len(first.asked), len(second.asked)] == [2, 1]
    assert "I moved to Lisbon" in str(texts(second.asked[0]))
    assert max([*sizes(first), *sizes(second)]) <= 2600
    assert stored(ann) == [("user", "where did I move?"), ("assistant", "to Lisbon")]


async def test_what_reviews_and_redacts_an_answer_decides_what_is_stored(
    ann: Conversation,
) -> None:
    own = [
        PIIMiddleware("email", apply_to_output=True),
        HumanInTheLoopMiddleware(interrupt_on={"weather": True}),
    ]
    model = ScriptedModel([("c1", "weather", {"city": "Porto"})], "ask bob@example.org")
    chat = agent(model, *middleware(ann, own=own), checkpointer=InMemorySaver())
    await chat.ainvoke(say("weather?"), thread())
    await chat.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), thread())
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool", "assistant"]
    assert stored(ann)[-1] == ("assistant", "ask [REDACTED_EMAIL]")


def test_a_memory_and_a_namespace_by_runtime_keep_tenants_apart(memory: Memory) -> None:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    memory.conversation("globex", "ann", "monday").add("I moved to Oslo in May")

    def whose(runtime: Any) -> Namespace:
        return Namespace(runtime.context.tenant, runtime.context.user, "chat")

    model = ScriptedModel("to Lisbon", "to Oslo")
    chat = agent(model, *middleware(memory, namespace=whose, tools=True), context_schema=Login)
    for tenant in ("acme", "globex"):
        chat.invoke(say("where did I move?"), context=Login(tenant))
    first, second = (str(texts(sent)) for sent in model.asked)
    assert ("Lisbon" in first, "Oslo" in first) == (True, False)
    assert ("Lisbon" in second, "Oslo" in second) == (False, True)
    assert {s["function"]["name"] for s in model.schemas[0]} > {"search_memory", "forget"}


def test_a_second_memory_stands_before_it(memory: Memory, ann: Conversation) -> None:
    team = MemoryMiddleware(conversation=memory.conversation("acme", "team", "wiki"), name="team")
    assert names(middleware(ann, own=[team])) == ["team", "MemoryMiddleware"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"own": [ModelRetryMiddleware()], "fallbacks": [ScriptedModel()]}, r"own: .*'error'"),
        ({"own": [ModelRetryMiddleware()], "retries": 1}, r"retries: .*own holds one"),
        (
            {"own": [ModelFallbackMiddleware(ScriptedModel())], "fallbacks": [ScriptedModel()]},
            r"fallbacks: .*own holds one",
        ),
        ({"own": [TodoListMiddleware(), TodoListMiddleware()]}, r"own: .*TodoList.*two"),
        ({"own": [object()]}, r"own: .*middleware"),
        ({"own": TodoListMiddleware()}, r"own: .*middleware"),
        ({"retries": -1}, r"retries: got -1"),
        ({"retries": True}, r"retries: got True"),
        ({"fallbacks": ScriptedModel()}, r"fallbacks: .*list"),
    ],
)
def test_what_would_not_work_is_refused_by_name(
    ann: Conversation, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(InvalidInput, match=match):
        middleware(ann, **options)


def test_a_memory_without_a_namespace_is_refused(memory: Memory, ann: Conversation) -> None:
    with pytest.raises(InvalidNamespace, match="namespace"):
        middleware(memory)
    with pytest.raises(InvalidNamespace, match="namespace"):
        middleware(ann, namespace=Namespace("globex", "ann", "x"))
    with pytest.raises(InvalidInput, match="memory"):
        middleware("memory.db")  # type: ignore[arg-type]
