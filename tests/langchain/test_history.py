"""`LogChatMessageHistory`: the log behind `RunnableWithMessageHistory`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from rag_memory_plugins import Conversation, Event, Memory, TokenBudget
from rag_memory_plugins.errors import (
    InvalidBudget,
    InvalidInput,
    MessageConflict,
    UnknownArgument,
)
from rag_memory_plugins.langchain import LogChatMessageHistory
from rag_memory_plugins.langchain.convert import to_message
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

PICTURE = {"type": "image", "url": "https://example.org/crane.png"}
ROUND = [
    HumanMessage([{"type": "text", "text": "what is this?"}, PICTURE], id="q1"),
    AIMessage(
        [{"type": "thinking", "thinking": "hmm", "signature": "s"}, {"type": "text", "text": "?"}],
        tool_calls=[
            {"id": "c1", "name": "look", "args": {"deep": True}, "type": "tool_call"},
            {"id": "c2", "name": "ask", "args": {}, "type": "tool_call"},
        ],
        id="a1",
    ),
    ToolMessage("a crane", tool_call_id="c1", id="t1"),
    ToolMessage("no answer", tool_call_id="c2", status="error", id="t2"),
    AIMessage("A crane.", id="a2"),
]


@pytest.fixture
def conversation(memory: Memory) -> Conversation:
    return memory.conversation("acme", "ann", "monday")


@pytest.fixture
def history(conversation: Conversation) -> LogChatMessageHistory:
    return LogChatMessageHistory(conversation)


def crowd(conversation: Conversation, turns: int = 40) -> None:
    conversation.add(
        [
            {"role": role, "content": f"{role} speaks of harbour crane number {n} in the rain"}
            for n in range(turns)
            for role in ("user", "assistant")
        ]
    )


def size(history: LogChatMessageHistory) -> int:
    said = [to_message(m.model_copy(update={"response_metadata": {}})) for m in history.messages]
    return history.conversation.memory.counter.count_messages(said)


def test_what_is_added_is_given_back_in_order(history: LogChatMessageHistory) -> None:
    history.add_user_message("hi")
    history.add_ai_message("hello")
    history.add_messages([SystemMessage("be kind"), HumanMessage("bye")])
    assert texts(history.messages) == [
        ("human", "hi"), ("ai", "hello"), ("system", "be kind"), ("human", "bye")
    ]  # fmt: skip


async def test_the_async_forms_do_the_same(history: LogChatMessageHistory) -> None:
    await history.aadd_messages([HumanMessage("hi"), AIMessage("hello")])
    assert texts(await history.aget_messages()) == [("human", "hi"), ("ai", "hello")]
    await history.aclear()
    assert await history.aget_messages() == []


def test_tool_calls_images_and_blocks_survive_the_round_trip(
    history: LogChatMessageHistory,
) -> None:
    history.add_messages(ROUND)
    assert history.messages == ROUND


def test_an_id_is_stored_once_and_equal_texts_are_as_many_messages(
    history: LogChatMessageHistory,
) -> None:
    for _ in range(2):
        history.add_messages(ROUND)
    for _ in range(3):
        history.add_message(HumanMessage("yes"))
    assert [m.text for m in history.messages[len(ROUND) :]] == ["yes"] * 3


def test_the_same_object_without_an_id_is_stored_once(history: LogChatMessageHistory) -> None:
    message = HumanMessage("yes")
    history.add_messages([message])
    history.add_messages([message])
    assert len(history.messages) == 1


def test_an_id_with_other_content_is_refused_and_nothing_of_its_batch_is_stored(
    history: LogChatMessageHistory,
) -> None:
    history.add_message(HumanMessage("yes", id="m1"))
    with pytest.raises(MessageConflict, match="m1"):
        history.add_messages([HumanMessage("and", id="m2"), HumanMessage("no", id="m1")])
    assert texts(history.messages) == [("human", "yes")]


@pytest.mark.parametrize("budget", [None, 300])
def test_what_was_given_out_is_not_stored_again(
    conversation: Conversation, budget: int | None
) -> None:
    conversation.add("we look for a green crane", metadata={"source": "form"})
    crowd(conversation)
    history = LogChatMessageHistory(conversation, budget=budget)
    before = len(conversation.messages())
    history.add_messages([*history.messages, HumanMessage("found it")])
    assert [m.content for m in conversation.messages()[before:]] == ["found it"]


def test_a_result_that_the_budget_shortened_is_not_stored_again(
    conversation: Conversation,
) -> None:
    said = [
        HumanMessage("read the page"),
        AIMessage("", tool_calls=[{"id": "c1", "name": "read", "args": {}}]),
        ToolMessage("all about the harbour and its cranes " * 200, tool_call_id="c1"),
        AIMessage("done"),
    ]
    history = LogChatMessageHistory(conversation, budget=400)
    history.add_messages(said)
    given = history.messages
    assert 0 < len(given[2].text) < len(said[2].text)
    history.add_messages(given)
    assert [m.content for m in conversation.messages()] == [m.text for m in said]


def test_clear_erases_this_session_and_no_other(memory: Memory) -> None:
    histories = [
        LogChatMessageHistory(memory.conversation(tenant, "ann", session))
        for tenant, session in [("acme", "a"), ("acme", "b"), ("globex", "a")]
    ]
    for one in histories:
        one.add_user_message("hi")
    histories[0].clear()
    assert [len(one.messages) for one in histories] == [0, 1, 1]
    assert [space.key for space in memory.namespaces()] == ["acme/ann/b", "globex/ann/a"]


@pytest.mark.parametrize("budget", [120, 300, TokenBudget(700, completion=200)])
def test_a_budget_is_kept_and_the_log_keeps_the_rest(
    conversation: Conversation, budget: int | TokenBudget
) -> None:
    crowd(conversation)
    history = LogChatMessageHistory(conversation, budget=budget)
    room = TokenBudget.of(budget)
    assert room.total // 3 < size(history) <= room.total - room.completion
    assert history.messages[-1].text == conversation.messages()[-1].content
    assert len(conversation.messages()) == 80


@pytest.mark.parametrize("budget", range(60, 260, 40))
def test_a_budget_never_parts_a_call_from_its_results(
    conversation: Conversation, budget: int
) -> None:
    crowd(conversation, 5)
    history = LogChatMessageHistory(conversation, budget=budget)
    for n in range(8):
        calls = [{"id": f"{n}{i}", "name": "look", "args": {"at": n}} for i in "ab"]
        results = [ToolMessage(f"crane {n}{i}", tool_call_id=f"{n}{i}") for i in "ab"]
        answer = AIMessage(f"it is crane {n}")
        history.add_messages(
            [HumanMessage(f"which crane {n}?"), AIMessage("", tool_calls=calls), *results, answer]
        )
    messages = history.messages
    called = {call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    assert called == {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    assert size(history) <= budget


@pytest.mark.parametrize("budget", range(120, 200, 10))
def test_no_two_user_messages_stand_side_by_side_in_a_budget(
    conversation: Conversation, budget: int
) -> None:
    crowd(conversation, 8)
    conversation.pin(conversation.messages()[3].id)
    kinds = [m.type for m in LogChatMessageHistory(conversation, budget=budget).messages]
    assert "human" in kinds
    assert all(kinds[i : i + 2] != ["human", "human"] for i in range(len(kinds)))


@pytest.mark.parametrize("budget", [120, 130, 140, 150])
def test_what_another_session_put_in_is_not_stored(memory: Memory, budget: int) -> None:
    there, here = (memory.conversation("acme", "ann", day) for day in ("monday", "tuesday"))
    crowd(there, 8)
    there.pin(there.messages()[3].id)
    given = LogChatMessageHistory(there, budget=budget).messages
    LogChatMessageHistory(here).add_messages(given)
    said = {message.content for message in there.messages()}
    assert here.messages()
    assert all(message.content in said for message in here.messages())


def test_a_last_message_over_the_budget_leaves_the_context_empty_and_is_told(
    conversation: Conversation, events: list[Event]
) -> None:
    conversation.add("the harbour and its cranes " * 200)
    history = LogChatMessageHistory(conversation, budget=100)
    assert history.messages == []
    told = [event.data for event in events if event.name == "history.degraded"]
    assert told == [{"error": "BudgetTooSmall"}]


def test_a_context_is_the_same_until_something_is_said(conversation: Conversation) -> None:
    crowd(conversation)
    history = LogChatMessageHistory(conversation, budget=300)
    before = history.messages
    conversation.pin(conversation.messages()[3].id)
    assert history.messages == before
    conversation.add("and now?")
    assert "crane number 1 " in history.messages[0].text
    assert history.messages[-1].text == "and now?"


def test_an_empty_session_is_an_empty_list(history: LogChatMessageHistory) -> None:
    limited = LogChatMessageHistory(history.conversation, budget=100)
    assert (history.messages, limited.messages, str(limited)) == ([], [], "")


# RunnableWithMessageHistory


@pytest.fixture
def chained(memory: Memory) -> Callable[..., RunnableWithMessageHistory]:
    """A chain with its history, which is the input's place or, with `key`, a place of its own."""

    def make(
        model: ScriptedModel, *, key: str | None = None, budget: int | None = None
    ) -> RunnableWithMessageHistory:
        def session(session_id: str) -> BaseChatMessageHistory:
            place = memory.conversation("acme", "ann", session_id)
            return LogChatMessageHistory(place, budget=budget)

        steps: list[Any] = [("system", "Be brief."), MessagesPlaceholder("history")]
        prompt = ChatPromptTemplate.from_messages([*steps, ("human", "{question}")])
        keys = {"input_messages_key": "question", "history_messages_key": key} if key else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # theirs, not ours
            return RunnableWithMessageHistory(prompt | model if key else model, session, **keys)

    return make


MONDAY = {"configurable": {"session_id": "monday"}}
TURNS = [("human", "I moved"), ("ai", "noted"), ("human", "where to?"), ("ai", "to Lisbon")]


def put(key: str | None, text: str) -> dict[str, str] | list[BaseMessage]:
    return {"question": text} if key else [HumanMessage(text)]


@pytest.mark.parametrize("key", [None, "history"])
@pytest.mark.parametrize("budget", [None, 500])
def test_a_chain_hears_its_history_and_each_message_is_stored_once(
    memory: Memory,
    chained: Callable[..., RunnableWithMessageHistory],
    key: str | None,
    budget: int | None,
) -> None:
    model = ScriptedModel("noted", "to Lisbon")
    chain = chained(model, key=key, budget=budget)
    chain.invoke(put(key, "I moved"), MONDAY)
    chain.invoke(put(key, "where to?"), MONDAY)
    assert [pair for pair in texts(model.asked[1]) if pair[0] != "system"] == TURNS[:3]
    log = LogChatMessageHistory(memory.conversation("acme", "ann", "monday"))
    assert texts(log.messages) == TURNS


@pytest.mark.parametrize("key", [None, "history"])
async def test_a_chain_does_so_async_and_streaming(
    memory: Memory, chained: Callable[..., RunnableWithMessageHistory], key: str | None
) -> None:
    model = StreamingModel("noted", "to Lisbon", "in May it was", "so it is")
    chain = chained(model, key=key)
    await chain.ainvoke(put(key, "I moved"), MONDAY)
    streamed = [chunk.text async for chunk in chain.astream(put(key, "where to?"), MONDAY)]
    synced = [chunk.text for chunk in chain.stream(put(key, "when?"), MONDAY)]
    assert ("".join(streamed), "".join(synced)) == ("to Lisbon", "in May it was")
    log = LogChatMessageHistory(memory.conversation("acme", "ann", "monday"))
    assert texts(await log.aget_messages()) == [*TURNS, ("human", "when?"), ("ai", "in May it was")]


def test_a_context_with_pins_is_cut_off_whole_from_what_a_chain_stores(
    memory: Memory, chained: Callable[..., RunnableWithMessageHistory]
) -> None:
    log = memory.conversation("acme", "ann", "monday")
    crowd(log)
    log.pin(log.messages()[0].id)
    chain = chained(ScriptedModel("one", "two"), budget=300)
    for text in ("first", "second"):
        chain.invoke([HumanMessage(text)], MONDAY)
    assert [m.content for m in log.messages()[80:]] == ["first", "one", "second", "two"]


def test_of_two_runs_at_once_nothing_is_lost_when_the_history_has_a_key(
    memory: Memory, chained: Callable[..., RunnableWithMessageHistory]
) -> None:
    log = memory.conversation("acme", "ann", "monday")

    class Busy(ScriptedModel):
        def _next(self, messages: Sequence[BaseMessage]) -> AIMessage:
            log.add(["another tab asks", {"role": "assistant", "content": "and is answered"}])
            return super()._next(messages)

    chained(Busy("noted"), key="history").invoke({"question": "I moved"}, MONDAY)
    assert sorted(m.content for m in log.messages()) == [
        "I moved", "and is answered", "another tab asks", "noted"
    ]  # fmt: skip


def test_a_long_chat_stays_within_its_budget_and_is_stored_whole(
    memory: Memory, chained: Callable[..., RunnableWithMessageHistory]
) -> None:
    model = ScriptedModel(*(f"crane {n} is painted in green and white" for n in range(30)))
    chain = chained(model, budget=200)
    for n in range(30):
        chain.invoke([HumanMessage(f"which colour has the harbour crane number {n}?")], MONDAY)
    history = [m.model_copy(update={"response_metadata": {}}) for m in model.asked[-1][:-1]]
    assert 100 < memory.counter.count_messages([to_message(m) for m in history]) <= 200
    log = memory.conversation("acme", "ann", "monday").messages()
    assert [m.role for m in log] == ["user", "assistant"] * 30
    assert len({m.content for m in log}) == 60


def test_a_model_that_fails_stores_nothing_of_its_turn(
    memory: Memory, chained: Callable[..., RunnableWithMessageHistory]
) -> None:
    chain = chained(ScriptedModel(TimeoutError("away"), "noted"))
    with pytest.raises(TimeoutError):
        chain.invoke([HumanMessage("I moved")], MONDAY)
    chain.invoke([HumanMessage("I moved")], MONDAY)
    assert len(memory.conversation("acme", "ann", "monday").messages()) == 2


def test_ours_warns_of_nothing_and_imports_no_langchain_community(tmp_path: Path) -> None:
    code = """
from rag_memory_plugins import open_memory
from rag_memory_plugins.langchain import LogChatMessageHistory
with open_memory("m.db", embedder=None) as memory:
    history = LogChatMessageHistory(memory.conversation("acme", "ann", "monday"))
    history.add_user_message("hi")
    assert len(history.messages) == 1
import sys
assert "langchain_community" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)


BAD = [
    ({"conversation": None}, InvalidInput, "conversation"),
    ({"budget": 0}, InvalidBudget, "total"),
    ({"limit": 10}, UnknownArgument, "limit"),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
def test_a_bad_argument_is_named(conversation, arguments, error, named) -> None:
    with pytest.raises(error, match=named):
        LogChatMessageHistory(**{"conversation": conversation, **arguments})
