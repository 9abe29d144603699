"""Chats of other histories and of checkpointers, brought into the log."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from rag_memory_plugins import Memory, Namespace, Scope
from rag_memory_plugins.errors import InvalidInput, InvalidMessage, InvalidNamespace
from rag_memory_plugins.langchain import (
    LogChatMessageHistory,
    MemoryMiddleware,
    TenantCheckpointer,
    aimport_checkpoints,
    aimport_history,
    import_checkpoints,
    import_history,
)
from rag_memory_plugins.langchain.thread_union import identified
from tests.langchain.scripted import ScriptedModel

with warnings.catch_warnings():
    # langchain-community says on import that it is being sunset; it brings langchain-classic.
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_classic.memory import ConversationBufferMemory
    from langchain_community.chat_message_histories import (
        FileChatMessageHistory,
        SQLChatMessageHistory,
    )

MONDAY = Namespace("acme", "ann", "monday")
TURNS: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage("what is the weather?"),
    AIMessage("", tool_calls=[{"id": "c1", "name": "weather", "args": {"city": "Porto"}}]),
    ToolMessage("rain", tool_call_id="c1"),
    AIMessage("It rains."),
    HumanMessage(
        [{"type": "text", "text": "this?"}, {"type": "image", "url": "https://a.b/c.png"}]
    ),
    *[HumanMessage("yes"), AIMessage("go on")] * 3,
]


def mine(session: str) -> Namespace:
    return Namespace("acme", "ann", session)


def content(memory: Memory, namespace: Namespace = MONDAY) -> list[str]:
    return [message.content for message in memory.conversation(namespace).messages()]


def bare(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages without ids."""
    return [message.model_copy(update={"id": None}) for message in messages]


@pytest.fixture(params=["file", "sql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A history of langchain-community that needs no server."""
    if request.param == "file":
        return FileChatMessageHistory(str(tmp_path / "chat.json"))
    return SQLChatMessageHistory("monday", connection=f"sqlite:///{tmp_path / 'chat.db'}")


def test_a_community_history_moves_in_whole_and_in_order(memory: Memory, old: Any) -> None:
    old.add_messages(TURNS)
    [done] = import_history(memory, old, MONDAY)
    assert (done.namespace, done.stored, done.known, done.changed) == (MONDAY, len(TURNS), 0, ())
    ours = LogChatMessageHistory(memory.conversation(MONDAY))
    assert bare(ours.messages) == TURNS


def test_moving_in_again_stores_nothing_and_then_what_is_new(memory: Memory, old: Any) -> None:
    old.add_messages(TURNS)
    import_history(memory, old, MONDAY)
    old.add_messages([HumanMessage("yes"), AIMessage("good bye", id="a9")])
    for stored, known in [(2, len(TURNS)), (0, len(TURNS) + 2)]:
        [done] = import_history(memory, old, MONDAY)
        assert (done.stored, done.known) == (stored, known)
    assert content(memory)[-2:] == ["yes", "good bye"]
    assert content(memory).count("yes") == 4


async def test_the_async_form_does_the_same(memory: Memory, tmp_path: Path) -> None:
    old = FileChatMessageHistory(str(tmp_path / "chat.json"))
    old.add_messages(TURNS)
    for stored, known in [(len(TURNS), 0), (0, len(TURNS))]:
        [done] = await aimport_history(memory, old, MONDAY)
        assert (done.stored, done.known) == (stored, known)


def test_what_a_memory_class_of_langchain_classic_holds_moves_in(memory: Memory) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = ConversationBufferMemory()
        old.save_context({"input": "I moved"}, {"output": "noted"})
    import_history(memory, old.chat_memory, MONDAY)
    assert content(memory) == ["I moved", "noted"]


def test_the_old_history_is_left_as_it_is(memory: Memory, old: Any) -> None:
    old.add_messages(TURNS)
    import_history(memory, old, MONDAY)
    assert old.messages == TURNS


def test_many_histories_go_where_a_function_of_their_session_says(
    memory: Memory, tmp_path: Path
) -> None:
    connection = f"sqlite:///{tmp_path / 'chat.db'}"
    histories = {}
    for session in ("ann-1", "ann-2", "bo-1", "gone-1"):
        histories[session] = SQLChatMessageHistory(session, connection=connection)
        histories[session].add_user_message(f"I am {session}")

    def whose(session: str) -> Namespace | None:
        user = session.partition("-")[0]
        return None if user == "gone" else Namespace("acme", user, session)

    done = import_history(memory, histories, whose)
    assert [item.namespace.key for item in done] == [
        "acme/ann/ann-1", "acme/ann/ann-2", "acme/bo/bo-1"
    ]  # fmt: skip
    assert content(memory, Namespace("acme", "bo", "bo-1")) == ["I am bo-1"]


def test_what_moved_in_is_recalled_in_a_new_session(memory: Memory, old: Any) -> None:
    old.add_user_message("I moved to Lisbon in May")
    import_history(memory, old, MONDAY)
    [hit, *_] = memory.conversation(mine("tuesday")).search("where did I move?")
    assert hit.message.content == "I moved to Lisbon in May"


def test_a_changed_message_is_reported_and_the_logs_own_stays(memory: Memory, old: Any) -> None:
    memory.conversation(MONDAY).add("as it was", id="m1")
    old.add_messages([HumanMessage("as it is", id="m1"), HumanMessage("new", id="m2")])
    [done] = import_history(memory, old, MONDAY)
    assert (done.stored, done.known, done.changed) == (1, 0, ("m1",))
    assert content(memory) == ["as it was", "new"]


def test_two_sessions_are_not_poured_into_one(memory: Memory, old: Any) -> None:
    old.add_user_message("hi")
    with pytest.raises(InvalidNamespace, match="'b' and another"):
        import_history(memory, {"a": old, "b": old}, lambda _: MONDAY)
    assert memory.namespaces() == []


@pytest.mark.parametrize(
    ("history", "namespace", "error"),
    [
        ([HumanMessage("hi")], MONDAY, InvalidInput),
        ({"a": "b"}, mine, InvalidInput),
        ({}, MONDAY, InvalidNamespace),
        (None, mine, InvalidNamespace),
        (None, "acme/ann/monday", InvalidNamespace),
        ({}, "acme/ann/monday", InvalidNamespace),
    ],
)
async def test_a_bad_argument_is_named_and_stores_nothing(
    memory: Memory, tmp_path: Path, history: Any, namespace: Any, error: type[Exception]
) -> None:
    old = FileChatMessageHistory(str(tmp_path / "chat.json"))
    old.add_user_message("hi")
    given = old if history is None else history
    with pytest.raises(error):
        import_history(memory, given, namespace)
    with pytest.raises(error):
        await aimport_history(memory, given, namespace)
    assert memory.namespaces() == []


@pytest.mark.parametrize("place", ["acme/ann/x", Scope("acme", "ann")])
def test_a_function_that_gives_no_namespace_fails_closed(
    memory: Memory, tmp_path: Path, place: Any
) -> None:
    old = FileChatMessageHistory(str(tmp_path / "chat.json"))
    old.add_user_message("hi")
    with pytest.raises(InvalidNamespace):
        import_history(memory, {"ok": old, "x": old}, lambda s: place if s == "x" else mine(s))
    assert memory.namespaces() == []


def test_a_message_that_cannot_be_stored_is_named_before_any_is(
    memory: Memory, tmp_path: Path
) -> None:
    good, bad = (FileChatMessageHistory(str(tmp_path / f"{name}.json")) for name in "gb")
    good.add_user_message("hi")
    bad.add_user_message("a\x00b")
    with pytest.raises(InvalidMessage, match="NUL"):
        import_history(memory, {"a": good, "b": bad}, mine)
    assert memory.namespaces() == []


SAYINGS = st.lists(st.sampled_from([HumanMessage("yes"), AIMessage("yes"), HumanMessage("no")]))


@given(SAYINGS, SAYINGS)
def test_messages_without_ids_keep_theirs_when_more_is_said(
    said: list[BaseMessage], more: list[BaseMessage]
) -> None:
    before = [name for name, _ in identified(said)]
    after = [name for name, _ in identified([*said, *more])]
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == len(said) + len(more)


# Checkpointers


def thread(thread_id: str = "t1") -> Any:
    return {"configurable": {"thread_id": thread_id}}


@pytest.fixture
def saver() -> InMemorySaver:
    return InMemorySaver()


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


def talk(saver: Any, *turns: str, thread_id: str = "t1", **more: Any) -> None:
    for turn in turns:
        model = ScriptedModel(f"answer to {turn}")
        agent = create_agent(model, checkpointer=saver, **more)
        agent.invoke({"messages": [HumanMessage(turn)]}, thread(thread_id))


def both(question: str) -> list[str]:
    return [question, f"answer to {question}"]


def test_a_thread_moves_in_with_its_tool_calls(memory: Memory, saver: InMemorySaver) -> None:
    model = ScriptedModel([("c1", "weather", {"city": "Lisbon"})], "It is warm.")
    agent = create_agent(model, tools=[weather], checkpointer=saver)
    state = agent.invoke({"messages": [HumanMessage("how warm?")]}, thread())
    [done] = import_checkpoints(memory, saver, MONDAY, "t1")
    ours = LogChatMessageHistory(memory.conversation(MONDAY)).messages
    assert done.stored == 4
    assert [(m.id, m.type, m.text) for m in ours] == [
        (m.id, m.type, m.text) for m in state["messages"]
    ]
    assert ours[1].tool_calls == state["messages"][1].tool_calls


async def test_threads_move_in_once_and_then_what_is_new(
    memory: Memory, saver: InMemorySaver
) -> None:
    talk(saver, "one", thread_id="t1")
    talk(saver, "two", thread_id="t2")
    first = await aimport_checkpoints(memory, saver, mine)
    talk(saver, "three", thread_id="t1")
    second = await aimport_checkpoints(memory, saver, mine)
    third = import_checkpoints(memory, saver, mine)
    assert [[item.stored for item in done] for done in (first, second, third)] == [
        [2, 2], [2, 0], [0, 0]
    ]  # fmt: skip
    assert content(memory, mine("t1")) == [*both("one"), *both("three")]


def test_only_the_threads_that_are_named_or_have_a_namespace_move_in(
    memory: Memory, saver: InMemorySaver
) -> None:
    for name in ("t1", "t2", "t3"):
        talk(saver, name, thread_id=name)
    import_checkpoints(memory, saver, mine, ["t1", "nobody"])
    import_checkpoints(memory, saver, lambda name: mine(name) if name == "t2" else None)
    assert [space.session for space in memory.namespaces()] == ["t1", "t2"]


def test_39261_what_a_summariser_removed_moves_in_and_its_summary_does_not(
    memory: Memory, saver: InMemorySaver
) -> None:
    summariser = SummarizationMiddleware(
        ScriptedModel(*["the summary"] * 9), trigger=("messages", 5), keep=("messages", 2)
    )
    turns = [f"turn {n}" for n in range(8)]
    talk(saver, *turns, middleware=[summariser])
    state = saver.get_tuple(thread()).checkpoint["channel_values"]["messages"]
    assert len(state) < 8
    assert "the summary" in state[0].text
    import_checkpoints(memory, saver, MONDAY, "t1")
    assert content(memory) == [text for turn in turns for text in both(turn)]


def test_a_summary_of_what_no_checkpoint_holds_moves_in(
    memory: Memory, saver: InMemorySaver
) -> None:
    summary = HumanMessage("the summary", additional_kwargs={"lc_source": "summarization"})
    graph = StateGraph(MessagesState).add_node("n", lambda _: {}).add_edge(START, "n")
    graph.compile(checkpointer=saver).invoke({"messages": [summary, AIMessage("kept")]}, thread())
    import_checkpoints(memory, saver, MONDAY, "t1")
    assert content(memory) == ["the summary", "kept"]


class OldestFirst(InMemorySaver):
    """Lists checkpoints the other way round, which no contract forbids."""

    def list(self, *args: Any, **kwargs: Any) -> Any:
        return reversed([*super().list(*args, **kwargs)])


@pytest.mark.parametrize("saver", [InMemorySaver(), OldestFirst()], ids=["newest", "oldest"])
def test_a_message_that_was_replaced_moves_in_as_it_is_now_where_it_stood(
    memory: Memory, saver: InMemorySaver
) -> None:
    talk(saver, "my PIN is 1234")
    graph = create_agent(ScriptedModel(), checkpointer=saver)
    first = graph.get_state(thread()).values["messages"][0]
    graph.update_state(thread(), {"messages": [HumanMessage("my PIN is ****", id=first.id)]})
    import_checkpoints(memory, saver, MONDAY, "t1")
    assert content(memory) == ["my PIN is ****", "answer to my PIN is 1234"]


def test_a_message_that_was_removed_moves_in(memory: Memory, saver: InMemorySaver) -> None:
    talk(saver, "one", "two")
    graph = create_agent(ScriptedModel(), checkpointer=saver)
    for message in graph.get_state(thread()).values["messages"][:2]:
        graph.update_state(thread(), {"messages": [RemoveMessage(message.id)]})
    import_checkpoints(memory, saver, MONDAY, "t1")
    assert content(memory) == [*both("one"), *both("two")]


def test_messages_have_the_time_of_the_checkpoint_they_came_with(
    memory: Memory, saver: InMemorySaver
) -> None:
    before = datetime.now(timezone.utc)
    talk(saver, "one")
    between = datetime.now(timezone.utc)
    talk(saver, "two")
    import_checkpoints(memory, saver, MONDAY, "t1")
    times = [message.time for message in memory.conversation(MONDAY).messages()]
    assert before < times[0] <= times[1] < between < times[2] <= times[3]


def test_a_subgraphs_own_state_is_not_read(memory: Memory, saver: InMemorySaver) -> None:
    def helped(state: MessagesState) -> dict[str, Any]:
        inner.invoke({"messages": [HumanMessage("inner question")]})
        return {"messages": [AIMessage("outer answer")]}

    inner = create_agent(ScriptedModel("inner answer"), checkpointer=True)
    graph = StateGraph(MessagesState).add_node("helped", helped).add_edge(START, "helped")
    graph.compile(checkpointer=saver).invoke({"messages": [HumanMessage("hi")]}, thread())
    assert any(item.config["configurable"]["checkpoint_ns"] for item in saver.list(thread()))
    import_checkpoints(memory, saver, MONDAY, "t1")
    import_checkpoints(memory, saver, mine)
    assert content(memory) == content(memory, mine("t1")) == ["hi", "outer answer"]


def test_another_channel_may_hold_the_chat_and_a_misspelt_one_is_named(
    memory: Memory, saver: InMemorySaver
) -> None:
    talk(saver, "hi")
    with pytest.raises(InvalidInput, match="did you mean 'messages'"):
        import_checkpoints(memory, saver, MONDAY, "t1", channel="mesages")
    assert memory.namespaces() == []


def test_a_channel_without_messages_is_named(memory: Memory, saver: InMemorySaver) -> None:
    class State(MessagesState):
        count: list[int]

    graph: Any = StateGraph(State).add_node("n", lambda _: {"count": [3]}).add_edge(START, "n")
    graph.compile(checkpointer=saver).invoke({"messages": []}, thread())
    with pytest.raises(InvalidInput, match="no messages but"):
        import_checkpoints(memory, saver, MONDAY, "t1", channel="count")


def test_a_state_whose_messages_have_no_ids_moves_in_once(
    memory: Memory, saver: InMemorySaver
) -> None:
    graph: Any = StateGraph(dict)
    graph.add_node("n", lambda state: [*state, AIMessage("yes")]).add_edge(START, "n")
    bot = graph.compile(checkpointer=saver)
    for count in (1, 2, 3):
        bot.invoke([HumanMessage("yes"), AIMessage("yes")] * count, thread())
    import_checkpoints(memory, saver, MONDAY, "t1", channel="__root__")
    roles = [message.role for message in memory.conversation(MONDAY).messages()]
    assert (roles.count("user"), roles.count("assistant")) == (3, 4)


@pytest.mark.parametrize("snapshot_frequency", [2, 100])
def test_a_chat_that_is_kept_as_changes_moves_in_whole(
    memory: Memory, saver: InMemorySaver, snapshot_frequency: int
) -> None:
    delta = pytest.importorskip("langgraph.channels.delta", reason="LangGraph has no DeltaChannel")

    def written(state: list[BaseMessage] | None, writes: Sequence[Any]) -> list[BaseMessage]:
        return reduce(add_messages, writes, state or [])

    channel = delta.DeltaChannel(written, list, snapshot_frequency=snapshot_frequency)
    graph: Any = StateGraph(TypedDict("State", {"messages": Annotated[list, channel]}))
    graph.add_node("answer", lambda s: {"messages": [AIMessage(f"to {s['messages'][-1].text}")]})
    bot = graph.add_edge(START, "answer").compile(checkpointer=saver)
    for question in ("one", "two", "three"):
        bot.invoke({"messages": [HumanMessage(question)]}, thread())
    first = bot.get_state(thread()).values["messages"][0]
    edits = [RemoveMessage(first.id), HumanMessage("four", id="q4")]
    bot.update_state(thread(), {"messages": edits}, as_node="answer")
    for stored in (7, 0):
        [done] = import_checkpoints(memory, saver, MONDAY, "t1")
        assert (done.stored, done.changed) == (stored, ())
    assert content(memory) == ["one", "to one", "two", "to two", "three", "to three", "four"]


def test_of_a_guarded_checkpointer_only_the_scopes_own_threads_move_in(
    memory: Memory, saver: InMemorySaver
) -> None:
    ann = TenantCheckpointer(saver, Scope("acme", "ann"))
    talk(ann, "mine", thread_id="t1")
    talk(ann.of(Scope("globex", "bo")), "theirs", thread_id="t1")
    import_checkpoints(memory, ann, mine)
    assert [space.key for space in memory.namespaces()] == ["acme/ann/t1"]
    assert content(memory, mine("t1")) == both("mine")


def test_an_agent_goes_on_where_its_checkpoints_ended(memory: Memory, saver: InMemorySaver) -> None:
    talk(saver, "I moved to Lisbon in May")
    import_checkpoints(memory, saver, MONDAY, "t1")
    model = ScriptedModel("In Lisbon.")
    middleware = MemoryMiddleware(conversation=memory.conversation(MONDAY))
    agent = create_agent(model, middleware=[middleware], checkpointer=saver)
    agent.invoke({"messages": [HumanMessage("where do I live?")]}, thread())
    assert [m.text for m in model.asked[0]][:2] == both("I moved to Lisbon in May")
    assert content(memory)[2:] == ["where do I live?", "In Lisbon."]
    [done] = import_checkpoints(memory, saver, MONDAY, "t1")
    assert (done.stored, done.known, done.changed) == (0, 4, ())


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"saver": object()}, InvalidInput, "saver"),
    ({"threads": None}, InvalidInput, "threads"),
    ({"threads": ["t1"]}, InvalidInput, "threads"),
    ({"memory": object()}, InvalidInput, "memory"),
    ({"namespace": "acme/ann/monday"}, InvalidNamespace, "namespace"),
    ({"namespace": lambda _: MONDAY, "threads": ["t1", "t2"]}, InvalidNamespace, "namespace"),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
async def test_a_bad_argument_of_an_import_is_named(
    memory: Memory, saver: InMemorySaver, arguments: Any, error: type[Exception], named: str
) -> None:
    talk(saver, "one", thread_id="t1")
    talk(saver, "two", thread_id="t2")
    given = {"memory": memory, "saver": saver, "namespace": MONDAY, "threads": "t1", **arguments}
    with pytest.raises(error, match=named):
        import_checkpoints(**given)
    with pytest.raises(error, match=named):
        await aimport_checkpoints(**given)
    assert memory.namespaces() == []
