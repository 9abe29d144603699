"""`attach` with agents and graphs: the same nodes, and the state stays what it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import (
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from rag_memory_plugins import Conversation, Event, Memory, TokenBudget
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain import attach, detach
from tests.langchain.agents import orphans, say, sizes, stored, thread, weather
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

LONG = "the crane at pier 7 lifts forty tons and is painted green. "


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    memory.conversation("globex", "ann", "monday").add("I moved to Oslo in May")
    return memory.conversation("acme", "ann", "tuesday")


def graph(model: Any, schema: Any = MessagesState) -> StateGraph[Any, Any, Any, Any]:
    """A model and its tools."""
    made: StateGraph[Any, Any, Any, Any] = StateGraph(schema)

    def ask(state: Any) -> dict[str, Any]:
        messages = state["messages"] if isinstance(state, dict) else state.messages
        return {"messages": [model.invoke(messages)]}

    made.add_node("ask", ask)
    made.add_node("tools", ToolNode([weather]))
    made.add_edge(START, "ask")
    made.add_conditional_edges("ask", tools_condition)
    made.add_edge("tools", "ask")
    return made


def test_an_agent_that_is_made_recalls_and_stores_with_its_tools(ann: Conversation) -> None:
    model = ScriptedModel([("c1", "weather", {"city": "Lisbon"})], "21 degrees")
    chat = attach(create_agent(model, [weather], system_prompt="Be brief."), ann)
    answer = chat.invoke(say("weather where I moved?"))
    assert all("I moved to Lisbon" in str(texts(sent)) for sent in model.asked)
    assert stored(ann) == [
        ("user", "weather where I moved?"),
        ("assistant", ""),
        ("tool", "Lisbon: 21 degrees"),
        ("assistant", "21 degrees"),
    ]
    assert [text for _, text in texts(answer["messages"])] == [text for _, text in stored(ann)]


def test_two_tenants_of_one_agent_see_nothing_of_each_other(
    memory: Memory, ann: Conversation
) -> None:
    model = ScriptedModel("in Lisbon", "in Oslo")
    agent = create_agent(model)
    other = memory.conversation("globex", "ann", "tuesday")
    for conversation in (ann, other):
        attach(agent, conversation).invoke(say("where did I move?"))
    first, second = (str(texts(sent)) for sent in model.asked)
    assert ("Lisbon" in first, "Oslo" in first) == (True, False)
    assert ("Lisbon" in second, "Oslo" in second) == (False, True)
    assert (stored(ann)[1], stored(other)[1]) == (
        ("assistant", "in Lisbon"),
        ("assistant", "in Oslo"),
    )


def dig(depth: int) -> str:
    """Dig."""
    return f"{depth}: {LONG * 30}"


def test_every_call_of_an_agent_is_within_the_budget_and_the_state_keeps_everything(
    ann: Conversation,
) -> None:
    script = [[(f"c{n}", "dig", {"depth": n})] for n in range(6)]
    model = ScriptedModel(*script, "done", "yes")
    agent = create_agent(model, [dig], system_prompt="Be brief.", checkpointer=InMemorySaver())
    chat = attach(agent, ann, budget=TokenBudget(1500, system=200))
    chat.invoke(say("dig where I moved to"), thread())
    result = chat.invoke(say("is it done?"), thread())
    assert 1000 < max(sizes(model)) <= 1500
    assert {frozenset(orphans(sent)) for sent in model.asked} == {frozenset()}
    results = [m.text for m in result["messages"] if m.type == "tool"]
    assert results == [dig(n) for n in range(6)]
    assert [text for role, text in stored(ann) if role == "tool"] == results
    assert "Lisbon." not in str(texts(result["messages"]))
    assert result["messages"][13].response_metadata["context_adjustment"]["removed"] > 0


async def test_an_attached_agent_streams_and_awaits(ann: Conversation) -> None:
    model = StreamingModel("you moved to Lisbon", "to Lisbon")
    chat = attach(create_agent(model), ann)
    parts = [
        (mode, part)
        async for mode, part in chat.astream(
            say("where did I move?"), stream_mode=["messages", "updates"]
        )
    ]
    told = [part[0].text for mode, part in parts if mode == "messages"]
    assert "".join(told) == "you moved to Lisbon"
    assert [list(part) for mode, part in parts if mode == "updates"] == [["model"]]
    assert len(list(chat.stream(say("again?"), stream_mode="messages"))) >= 2
    assert [text for _, text in stored(ann)] == [
        "where did I move?",
        "you moved to Lisbon",
        "again?",
        "to Lisbon",
    ]


def test_an_attached_agent_goes_on_after_an_interrupt_and_stores_once(ann: Conversation) -> None:
    review = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    model = ScriptedModel([("c1", "weather", {"city": "Lisbon"})], "21 degrees")
    agent = create_agent(model, [weather], middleware=[review], checkpointer=InMemorySaver())
    chat = attach(agent, ann)
    chat.invoke(say("weather?"), thread())
    chat.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread())
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool", "assistant"]


def test_a_graph_gets_the_memory_in_a_copy_of_the_node_that_asks(ann: Conversation) -> None:
    model = ScriptedModel([("c1", "weather", {})], "21 degrees", "to Lisbon", "hm")
    own = graph(model)
    chat = attach(own, ann, budget=300).compile(checkpointer=InMemorySaver())
    chat.invoke(say("weather where I moved?"), thread())
    result = chat.invoke(say("where?"), thread())
    assert "I moved to Lisbon" in str(texts(model.asked[0]))
    assert [text for _, text in texts(result["messages"])] == [text for _, text in stored(ann)]
    assert max(sizes(model)) <= 300
    own.compile().invoke(say("where?"))
    assert texts(model.asked[-1]) == [("human", "where?")]
    assert len(stored(ann)) == 6


@dataclass
class AsDataclass:
    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)


class AsModel(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = []


@pytest.mark.parametrize("schema", [AsDataclass, AsModel])
async def test_a_state_of_any_kind_is_seen_and_kept(ann: Conversation, schema: Any) -> None:
    model = ScriptedModel("to Lisbon")
    chat = attach(graph(model, schema), ann).compile()
    result = await chat.ainvoke(say("where did I move?"))
    assert "I moved to Lisbon" in str(texts(model.asked[0]))
    assert [m.text for m in result["messages"]] == ["where did I move?", "to Lisbon"]


def test_a_node_that_gives_back_all_it_saw_puts_nothing_recalled_into_the_state(
    ann: Conversation,
) -> None:
    model = ScriptedModel("to Lisbon", "yes")
    own: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)

    def ask(state: MessagesState) -> Command[Any]:
        seen: list[BaseMessage] = [*state["messages"]]
        return Command(update={"messages": [*seen, model.invoke(seen)]})

    own.add_node("ask", ask)
    own.add_edge(START, "ask")
    chat = attach(own.compile(checkpointer=InMemorySaver()), ann)
    given = {"messages": [SystemMessage("Be brief."), HumanMessage("where did I move?")]}
    chat.invoke(given, thread())
    result = chat.invoke(say("sure?"), thread())
    said = ["Be brief.", "where did I move?", "to Lisbon", "sure?", "yes"]
    assert [m.text for m in result["messages"]] == said
    assert [text for _, text in stored(ann)] == said[1:]


def test_attaching_the_same_again_gives_the_same_and_detach_the_graph_as_it_was(
    memory: Memory, ann: Conversation
) -> None:
    model = ScriptedModel(*["hm"] * 3)
    agent = create_agent(model)
    chat = attach(agent, ann, budget=500)
    again = memory.conversation("acme", "ann", "tuesday")
    assert attach(chat, again, budget=500) is chat
    other = attach(chat, memory.conversation("globex", "ann", "tuesday"))
    other.invoke(say("where did I move?"))
    assert ("Oslo" in str(model.asked[0]), "Lisbon" in str(model.asked[0])) == (True, False)
    assert detach(agent) is agent
    for bare in (agent, detach(other)):
        bare.invoke(say("where did I move?"))
        assert texts(model.asked[-1]) == [("human", "where did I move?")]
    assert stored(ann) == []


def test_an_attached_graph_may_be_compiled_and_configured_and_attached_to_another(
    memory: Memory, ann: Conversation
) -> None:
    model = ScriptedModel("to Oslo", "hm")
    chat = attach(graph(model), ann).compile().with_config(tags=["a"])
    assert attach(chat, ann) is chat
    other = attach(chat, memory.conversation("globex", "ann", "tuesday"))
    other.invoke(say("where did I move?"))
    assert ("Oslo" in str(model.asked[0]), "Lisbon" in str(model.asked[0])) == (True, False)
    assert (other.config["tags"], detach(other).config["tags"]) == (["a"], ["a"])
    detach(other).invoke(say("where did I move?"))
    assert texts(model.asked[1]) == [("human", "where did I move?")]


def test_an_order_to_remove_what_a_node_was_not_shown_is_told_and_not_followed(
    ann: Conversation, events: list[Event]
) -> None:
    own: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *state["messages"][-1:], "hm"]}

    own.add_node("ask", ask)
    own.add_edge(START, "ask")
    chat = attach(own, ann).compile(checkpointer=InMemorySaver())
    chat.invoke(say("where did I move?"), thread())
    result = chat.invoke(say("sure?"), thread())
    assert [m.text for m in result["messages"]] == ["where did I move?", "hm", "sure?", "hm"]
    assert [event.name for event in events].count("attach.degraded") == 2


class Plain(TypedDict):
    messages: list[AnyMessage]


class Chat(TypedDict):
    chat: Annotated[list[AnyMessage], add_messages]


def test_a_graph_that_cannot_take_a_memory_is_refused_by_name(ann: Conversation) -> None:
    with pytest.raises(InvalidInput, match=r"target: got 'messages'.*add_messages"):
        attach(graph(ScriptedModel(), Plain), ann)
    with pytest.raises(InvalidInput, match=r"no such key.*input_messages_key=.*chat"):
        attach(graph(ScriptedModel(), Chat), ann)
    two = graph(ScriptedModel())
    two.add_node("other", lambda _: {})
    with pytest.raises(InvalidInput, match=r"nodes: .*ask a model, of: ask, other"):
        attach(two, ann)
    with pytest.raises(InvalidInput, match=r"nodes: got 'tools'.*ask, other"):
        attach(two, ann, nodes="tools")
    with pytest.raises(InvalidInput, match=r"history_messages_key: .*graph has no such key"):
        attach(two, ann, nodes="ask", history_messages_key="history")
    assert attach(two, ann, nodes=["ask"]) is not two
