from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
)
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import BaseModel

from rag_memory_plugins import Conversation, Event, Memory, Message, Namespace, TokenBudget
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    InvalidInput,
    InvalidNamespace,
    UnknownArgument,
)
from rag_memory_plugins.langchain import MemoryMiddleware
from tests.langchain.agents import Login, agent, orphans, say, stored, thread
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

LOOK = [("call_1", "weather", {"city": "Lisbon"})]


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


TURN = [
    ("user", "weather where I moved?"),
    ("assistant", ""),
    ("tool", "Lisbon: 21 degrees"),
    ("assistant", "It is 21 degrees."),
]


def test_a_turn_with_tools_is_stored_once(ann: Conversation) -> None:
    model = ScriptedModel(LOOK, "It is 21 degrees.")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("weather where I moved?"))
    assert stored(ann) == TURN


async def test_an_async_turn_with_tools_is_stored_once(ann: Conversation) -> None:
    model = ScriptedModel(LOOK, "It is 21 degrees.")
    await agent(model, MemoryMiddleware(conversation=ann)).ainvoke(say("weather where I moved?"))
    assert stored(ann) == TURN


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom"])
def test_a_streamed_turn_is_stored_once(ann: Conversation, mode: str) -> None:
    model = StreamingModel(LOOK, "It is 21 degrees.")
    chat = agent(model, MemoryMiddleware(conversation=ann))
    list(chat.stream(say("weather where I moved?"), stream_mode=mode))
    assert stored(ann) == TURN


async def test_an_async_streamed_turn_is_stored_once(ann: Conversation) -> None:
    model = StreamingModel(LOOK, "It is 21 degrees.")
    chat = agent(model, MemoryMiddleware(conversation=ann))
    async for _ in chat.astream(say("weather where I moved?"), stream_mode="messages"):
        pass
    assert stored(ann) == TURN


def test_parallel_tool_calls_are_stored_with_all_results(ann: Conversation) -> None:
    calls = [("c1", "weather", {"city": "Lisbon"}), ("c2", "weather", {"city": "Porto"})]
    model = ScriptedModel(calls, "Both 21.")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("Lisbon and Porto?"))
    assert [m.tool_call_id for m in ann.messages() if m.role == "tool"] == ["c1", "c2"]


def test_the_model_gets_what_another_session_said(ann: Conversation) -> None:
    model = ScriptedModel("Lisbon")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("where did I move?"))
    assert "I moved to Lisbon in May" in model.asked[0][-1].text


def test_the_recalled_block_stands_before_the_question_in_one_user_message(
    ann: Conversation,
) -> None:
    model = ScriptedModel("Lisbon")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("where did I move?"))
    assert [message.type for message in model.asked[0]] == ["system", "human"]
    assert model.asked[0][-1].text.endswith("\n\nwhere did I move?")


def test_a_question_of_blocks_gets_the_recalled_text_as_a_block(ann: Conversation) -> None:
    model = ScriptedModel("Lisbon")
    blocks = [{"type": "text", "text": "where did I move?"}]
    agent(model, MemoryMiddleware(conversation=ann)).invoke(
        {"messages": [HumanMessage(content=blocks)]}  # type: ignore[arg-type]
    )
    assert [part["type"] for part in model.asked[0][-1].content] == ["text", "text"]  # type: ignore[index]


def test_the_state_is_not_rewritten(ann: Conversation) -> None:
    model = ScriptedModel("Lisbon")
    result = agent(model, MemoryMiddleware(conversation=ann)).invoke(say("where did I move?"))
    assert texts(result["messages"]) == [("human", "where did I move?"), ("ai", "Lisbon")]


def test_pins_stand_in_the_first_message(ann: Conversation) -> None:
    ann.add("never use red", id="rule")
    ann.pin("rule", level="user")
    model = ScriptedModel("done")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("draw a button"))
    assert "never use red" in model.asked[0][1].text


def test_every_tool_round_gets_the_same_context_after_one_recall(
    ann: Conversation, events: list[Event]
) -> None:
    rounds = [[(f"c{n}", "weather", {"city": f"City {n}"})] for n in range(5)]
    model = ScriptedModel(*rounds, "done")
    agent(model, MemoryMiddleware(conversation=ann)).invoke(say("weather where I moved?"))
    assert {tuple(texts(asked[:2])) for asked in model.asked} == {tuple(texts(model.asked[0]))}
    assert [event.name for event in events].count("search") == 1


def test_without_a_checkpointer_recent_turns_come_from_the_log(ann: Conversation) -> None:
    model = ScriptedModel("hello Ann", "Ann")
    chat = agent(model, MemoryMiddleware(conversation=ann))
    chat.invoke(say("I am Ann"))
    chat.invoke(say("who am I?"))
    assert texts(model.asked[1])[1:] == [
        ("human", "I am Ann"),
        ("ai", "hello Ann"),
        ("human", "who am I?"),
    ]


def test_with_a_checkpointer_no_turn_comes_twice(ann: Conversation) -> None:
    model = ScriptedModel("hello Ann", "Ann", "yes")
    chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=InMemorySaver())
    for text in ("I am Ann", "who am I?", "sure?"):
        chat.invoke(say(text), thread())
    assert texts(model.asked[2])[1:] == [
        ("human", "I am Ann"),
        ("ai", "hello Ann"),
        ("human", "who am I?"),
        ("ai", "Ann"),
        ("human", "sure?"),
    ]
    assert len(stored(ann)) == 6


def test_a_history_that_the_caller_sends_again_comes_once_and_is_stored_once(
    ann: Conversation,
) -> None:
    history: list[tuple[str, str]] = []
    model = ScriptedModel(*(f"answer {n}" for n in range(4)))
    chat = agent(model, MemoryMiddleware(conversation=ann))
    for turn in range(4):
        history.append(("user", f"question {turn}"))
        chat.invoke({"messages": list(history)})
        history.append(("assistant", f"answer {turn}"))
    assert stored(ann) == history
    assert [text for _, text in texts(model.asked[-1])[1:]] == [text for _, text in history[:-1]]


def test_yes_said_five_times_is_five_messages(ann: Conversation) -> None:
    model = ScriptedModel(*["ok"] * 5)
    chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=InMemorySaver())
    for _ in range(5):
        chat.invoke(say("yes"), thread())
    assert stored(ann) == [("user", "yes"), ("assistant", "ok")] * 5
    assert texts(model.asked[-1])[1:] == [("human", "yes"), ("ai", "ok")] * 4 + [("human", "yes")]


def test_a_lost_checkpointer_is_filled_from_the_log_in_order(ann: Conversation) -> None:
    model = ScriptedModel("one", "two", "three")
    for saver, questions in ((InMemorySaver(), ["a?"]), (InMemorySaver(), ["b?", "c?"])):
        chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=saver)
        for question in questions:
            chat.invoke(say(question), thread())
    assert [text for _, text in texts(model.asked[-1])[1:]] == ["a?", "one", "b?", "two", "c?"]


def test_turns_that_others_wrote_meanwhile_stand_in_their_place(ann: Conversation) -> None:
    model = ScriptedModel("one", "two")
    chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=InMemorySaver())
    chat.invoke(say("a?"), thread())
    ann.add([{"role": "user", "content": "x?"}, {"role": "assistant", "content": "y"}])
    chat.invoke(say("b?"), thread())
    assert [text for _, text in texts(model.asked[-1])[1:]] == ["a?", "one", "x?", "y", "b?"]


def test_a_recalled_turn_does_not_stand_in_the_history_too(ann: Conversation) -> None:
    model = ScriptedModel(*["noted"] * 30, "in June")
    chat = agent(
        model,
        MemoryMiddleware(conversation=ann, budget=TokenBudget(600, recent=120)),
        checkpointer=InMemorySaver(),
    )
    for day in range(30):
        fact = "the launch is on 3 June" if day == 3 else f"note {day} on cranes and harbours"
        chat.invoke(say(fact), thread())
    chat.invoke(say("when is the launch?"), thread())
    assert str(texts(model.asked[-1])).count("the launch is on 3 June") == 1


@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()], ids=["log", "state"])
def test_the_budget_holds_for_history_recall_and_question(
    ann: Conversation, checkpointer: InMemorySaver | None
) -> None:
    model = ScriptedModel(*["a crane is green, and the harbour is full of them"] * 40)
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=300), checkpointer=checkpointer)
    for turn in range(40):
        chat.invoke(say(f"question {turn}: which harbour crane is green?"), thread())
    count = ann.memory.counter.count_messages
    sizes = [
        count([Message("user", text) for _, text in texts(asked[1:])]) for asked in model.asked
    ]
    assert 150 < max(sizes) <= 300


def test_a_question_larger_than_the_budget_is_refused_and_kept(ann: Conversation) -> None:
    chat = agent(ScriptedModel("no"), MemoryMiddleware(conversation=ann, budget=50))
    with pytest.raises(BudgetTooSmall, match="raise it"):
        chat.invoke(say("which crane is green? " * 50))
    assert len(stored(ann)) == 1


@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()], ids=["log", "state"])
def test_thirty_turns_with_tools_send_no_orphan_tool_message(
    ann: Conversation, checkpointer: InMemorySaver | None
) -> None:
    replies = [([(f"c{turn}", "weather", {"city": "Porto"})], "21 degrees") for turn in range(30)]
    model = ScriptedModel(*(reply for pair in replies for reply in pair))
    chat = agent(model, MemoryMiddleware(conversation=ann, budget=300), checkpointer=checkpointer)
    for turn in range(30):
        chat.invoke(say(f"question {turn} about Porto"), thread())
    assert {frozenset(orphans(asked)) for asked in model.asked} == {frozenset()}
    assert len(stored(ann)) == 120


def test_a_call_that_an_abandoned_run_left_without_result_is_not_sent(ann: Conversation) -> None:
    model = ScriptedModel("hello")
    history = [
        HumanMessage("weather?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {}, "id": "c1"}]),
        HumanMessage("never mind"),
        AIMessage("fine"),
        HumanMessage("hi"),
    ]
    agent(model, MemoryMiddleware(conversation=ann)).invoke({"messages": history})
    assert orphans(model.asked[0]) == set()


def test_no_two_neighbours_have_the_same_role(ann: Conversation) -> None:
    model = ScriptedModel(LOOK, "21", "Lisbon", "yes")
    chat = agent(model, MemoryMiddleware(conversation=ann))
    for text in ("weather where I moved?", "where did I move?", "sure?"):
        chat.invoke(say(text))
    for asked in model.asked:
        assert all(a.type != b.type for a, b in pairwise(asked))


def test_a_failing_model_leaves_the_question_in_memory(ann: Conversation) -> None:
    chat = agent(ScriptedModel(RuntimeError("down")), MemoryMiddleware(conversation=ann))
    with pytest.raises(RuntimeError, match="down"):
        chat.invoke(say("where did I move?"))
    assert stored(ann) == [("user", "where did I move?")]


def test_a_failing_model_after_a_tool_leaves_the_tool_result_in_memory(ann: Conversation) -> None:
    chat = agent(ScriptedModel(LOOK, RuntimeError("down")), MemoryMiddleware(conversation=ann))
    with pytest.raises(RuntimeError, match="down"):
        chat.invoke(say("weather where I moved?"))
    assert stored(ann) == TURN[:3]


@pytest.mark.parametrize("first", [True, False], ids=["memory first", "retry first"])
def test_a_retried_call_is_stored_once(ann: Conversation, first: bool) -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0)
    middleware = [MemoryMiddleware(conversation=ann), retry]
    model = ScriptedModel(RuntimeError("down"), "Lisbon")
    agent(model, *(middleware if first else middleware[::-1])).invoke(say("where did I move?"))
    assert stored(ann) == [("user", "where did I move?"), ("assistant", "Lisbon")]


def test_a_run_resumed_after_a_failure_stores_nothing_twice(ann: Conversation) -> None:
    model = ScriptedModel(LOOK, RuntimeError("down"), "It is 21 degrees.")
    saver = InMemorySaver()
    chat = agent(model, MemoryMiddleware(conversation=ann), checkpointer=saver)
    with pytest.raises(RuntimeError, match="down"):
        chat.invoke(say("weather where I moved?"), thread())
    # Another process: nothing is left but log and checkpoint.
    agent(model, MemoryMiddleware(conversation=ann), checkpointer=saver).invoke(None, thread())
    assert stored(ann) == TURN
    assert [text for _, text in texts(model.asked[-1])].count("Lisbon: 21 degrees") == 1


@pytest.mark.parametrize("first", [True, False], ids=["memory first", "review first"])
def test_a_turn_edited_in_review_is_stored_once(ann: Conversation, first: bool) -> None:
    review = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    middleware: list[AgentMiddleware[Any, Any, Any]] = [MemoryMiddleware(conversation=ann), review]
    model = ScriptedModel(LOOK, "It is 21 degrees.")
    chat = agent(model, *(middleware if first else middleware[::-1]), checkpointer=InMemorySaver())
    chat.invoke(say("weather?"), thread())
    edit = {"type": "edit", "edited_action": {"name": "weather", "args": {"city": "Porto"}}}
    chat.invoke(Command(resume={"decisions": [edit]}), thread())
    messages = ann.messages()
    assert [m.role for m in messages] == ["user", "assistant", "tool", "assistant"]
    # LangChain leaves the call as the model made it and tells the model in the result.
    assert messages[2].content.endswith("Porto: 21 degrees")


@pytest.mark.parametrize("first", [True, False], ids=["memory first", "pii first"])
def test_a_redacted_answer_is_stored_redacted(ann: Conversation, first: bool) -> None:
    pii = PIIMiddleware("email", strategy="redact", apply_to_output=True)
    middleware = [MemoryMiddleware(conversation=ann), pii]
    model = ScriptedModel("write to bob@example.org")
    chat = agent(model, *(middleware if first else middleware[::-1]))
    chat.invoke(say("whom do I write to?"))
    assert stored(ann) == [
        ("user", "whom do I write to?"),
        ("assistant", "write to [REDACTED_EMAIL]"),
    ]


@pytest.mark.parametrize("first", [True, False], ids=["memory first", "pii first"])
def test_a_question_redacted_before_the_model_is_stored_redacted(
    ann: Conversation, first: bool
) -> None:
    middleware = [MemoryMiddleware(conversation=ann), PIIMiddleware("email", strategy="redact")]
    chat = agent(ScriptedModel("ok"), *(middleware if first else middleware[::-1]))
    chat.invoke(say("I am bob@example.org"))
    assert stored(ann)[0] == ("user", "I am [REDACTED_EMAIL]")


def test_structured_output_is_kept(ann: Conversation) -> None:
    class Place(BaseModel):
        city: str

    model = ScriptedModel([("c1", "Place", {"city": "Lisbon"})])
    chat = agent(model, MemoryMiddleware(conversation=ann), response_format=Place)
    result = chat.invoke(say("where did I move?"))
    assert result["structured_response"] == Place(city="Lisbon")
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool"]


def by_login(runtime: Runtime[Login]) -> Namespace:
    return Namespace(runtime.context.tenant, runtime.context.user, "monday")


def test_the_runtime_names_the_tenant(memory: Memory) -> None:
    model = ScriptedModel("noted", "noted", "Lisbon", "Oslo")
    chat = agent(model, MemoryMiddleware(memory, namespace=by_login), context_schema=Login)
    chat.invoke(say("I live in Lisbon"), context=Login("acme"))
    chat.invoke(say("I live in Oslo"), context=Login("globex"))
    chat.invoke(say("where do I live?"), context=Login("acme"))
    chat.invoke(say("where do I live?"), context=Login("globex"))
    third, fourth = (str(texts(asked)) for asked in model.asked[2:])
    assert ("Lisbon" in third, "Oslo" in third) == (True, False)
    assert ("Lisbon" in fourth, "Oslo" in fourth) == (False, True)


def test_a_run_without_the_context_fails_closed(memory: Memory) -> None:
    model = ScriptedModel("hello")
    chat = agent(model, MemoryMiddleware(memory, namespace=by_login), context_schema=Login)
    with pytest.raises(InvalidNamespace, match="context= passed"):
        chat.invoke(say("hi"))
    assert (model.asked, memory.namespaces()) == ([], [])


def test_a_function_that_gives_no_namespace_fails_closed(memory: Memory) -> None:
    middleware = MemoryMiddleware(memory, namespace=lambda _: ("acme", "ann"))  # type: ignore[arg-type,return-value]
    with pytest.raises(InvalidNamespace, match="must give a Namespace"):
        agent(ScriptedModel("hello"), middleware).invoke(say("hi"))


def test_a_namespace_may_be_fixed(memory: Memory) -> None:
    middleware = MemoryMiddleware(memory, namespace=Namespace("acme", "ann", "monday"))
    agent(ScriptedModel("hello"), middleware).invoke(say("hi"))
    assert len(memory.conversation("acme", "ann", "monday").messages()) == 2


def test_another_tenant_with_the_same_thread_id_recalls_nothing(ann: Conversation) -> None:
    bob = ann.memory.conversation("globex", "ann", "tuesday")
    model = ScriptedModel("no idea")
    chat = agent(model, MemoryMiddleware(conversation=bob), checkpointer=InMemorySaver())
    chat.invoke(say("where did I move?"), thread())
    assert "Lisbon" not in str(texts(model.asked[0]))


def test_two_stand_in_one_agent_under_different_names(ann: Conversation, memory: Memory) -> None:
    memory.conversation("acme", "team", "wiki").add("the office moved to Porto")
    team = memory.conversation("acme", "team", "tuesday")
    model = ScriptedModel("both")
    agent(
        model,
        MemoryMiddleware(conversation=ann),
        MemoryMiddleware(conversation=team, name="team"),
    ).invoke(say("what moved where?"))
    sent = model.asked[0][-1].text
    assert ("I moved to Lisbon" in sent, "office moved to Porto" in sent) == (True, True)
    assert [m.content for m in (*ann.messages(), *team.messages())] == [
        "what moved where?",
        "both",
        "what moved where?",
        "both",
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, InvalidInput),
        ({"memory": "memory.db"}, InvalidInput),
        ({"conversation": "acme/ann/monday"}, InvalidInput),
        ({"converstion": 1}, UnknownArgument),
    ],
    ids=["nothing", "a path", "a key", "misspelt"],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        MemoryMiddleware(**arguments)


def test_a_memory_without_a_namespace_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidNamespace, match="function of the runtime"):
        MemoryMiddleware(memory)
