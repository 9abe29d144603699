from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory

from rag_memory_plugins import Event, Memory, TokenBudget
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    InvalidBudget,
    InvalidInput,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.llama_index.convert import to_message
from tests.llama_index.scripted import calling, result, texts


def scoped(
    memory: Memory,
    *,
    tenant: str = "acme",
    user: str = "ann",
    session: str = "tuesday",
    budget: int | TokenBudget = 4000,
) -> ScopedMemory:
    return ScopedMemory(memory.conversation(tenant, user, session), budget)


def tokens(memory: Memory, chats: list[ChatMessage]) -> int:
    return memory.counter.count_messages([to_message(chat) for chat in chats])


def test_it_is_a_llama_index_memory() -> None:
    assert BaseMemory.__name__ in [kind.__name__ for kind in ScopedMemory.__mro__]


def test_its_class_name_is_what_llama_index_writes(memory: Memory) -> None:
    assert ScopedMemory.class_name() == scoped(memory).to_dict()["class_name"] == "ScopedMemory"


def test_messages_come_back_in_order(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put_messages([ChatMessage("hello"), ChatMessage("good day", role="assistant")])
    assert texts(chat.get()) == [("user", "hello"), ("assistant", "good day")]


async def test_async_messages_come_back_in_order(memory: Memory) -> None:
    chat = scoped(memory)
    await chat.aput_messages([ChatMessage("hello"), ChatMessage("good day", role="assistant")])
    assert texts(await chat.aget()) == [("user", "hello"), ("assistant", "good day")]


def test_put_first_and_get_with_input_says_the_question_once(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("where do I live?"))
    assert texts(chat.get(input="where do I live?")) == [("user", "where do I live?")]


def test_get_first_leaves_the_question_to_the_caller(memory: Memory) -> None:
    assert scoped(memory).get(input="where do I live?") == []


def test_the_same_object_put_again_is_stored_once(memory: Memory) -> None:
    chat = scoped(memory)
    said = ChatMessage("hello")
    chat.put(said)
    chat.put(said)
    assert len(chat.get_all()) == 1


def test_yes_said_five_times_is_five_messages(memory: Memory) -> None:
    chat = scoped(memory)
    for _ in range(5):
        chat.put(ChatMessage("yes"))
    assert len(chat.get_all()) == 5


def test_what_get_all_gave_is_not_stored_again(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("hello"))
    chat.put_messages(chat.get_all())
    assert len(chat.get_all()) == 1


def test_a_new_session_recalls_the_old_one(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    (message,) = chat.get()
    assert "I moved to Lisbon in May" in (message.content or "")


def test_another_tenant_recalls_nothing(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory, tenant="globex")
    chat.put(ChatMessage("where did I move?"))
    assert texts(chat.get()) == [("user", "where did I move?")]


def test_level_session_recalls_this_session_alone(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = ScopedMemory(memory.conversation("acme", "ann", "tuesday"), level="session")
    assert chat.get(input="where did I move?") == []


def test_the_recalled_block_and_the_question_are_one_user_message(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    chat.put_messages([ChatMessage("hi"), ChatMessage("hello", role="assistant")])
    chat.put(ChatMessage("where did I move?"))
    roles = [message.role.value for message in chat.get()]
    assert all(before != after for before, after in pairwise(roles))


def test_the_question_stands_behind_the_recalled_block(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    assert (chat.get()[-1].content or "").endswith("\nwhere did I move?")


def test_pins_stand_in_the_first_message(memory: Memory) -> None:
    chat = scoped(memory)
    chat.conversation.add("never use red", id="rule")
    chat.conversation.pin("rule", level="user")
    chat.put(ChatMessage("draw a button"))
    assert "never use red" in (chat.get()[0].content or "")


def test_a_recalled_text_comes_once(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    chat.put_messages([ChatMessage("Lisbon is sunny"), ChatMessage("it is", role="assistant")])
    chat.put(ChatMessage("where did I move, Lisbon?"))
    whole = "\n".join(message.content or "" for message in chat.get())
    assert (whole.count("I moved to Lisbon in May"), whole.count("Lisbon is sunny")) == (1, 1)


@pytest.mark.parametrize("copied", [False, True], ids=["same objects", "through JSON"])
def test_a_recalled_block_is_never_stored_as_said(memory: Memory, copied: bool) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    history = chat.get()
    if copied:
        history = [ChatMessage.model_validate(m.model_dump(mode="json")) for m in history]
    chat.set(history)
    assert texts(chat.get_all()) == [("user", "where did I move?")]


def test_a_block_that_stands_alone_is_never_stored_as_said(memory: Memory) -> None:
    scoped(memory, session="monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    history = chat.get(input="where did I move?")
    copies = [ChatMessage.model_validate(m.model_dump(mode="json")) for m in history]
    chat.put_messages([*history, *copies])
    assert chat.get_all() == []


def test_recall_runs_once_a_turn(memory: Memory, events: list[Event]) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    for _ in range(6):
        chat.get()
        chat.get(input="where did I move?")
    assert [event.name for event in events].count("search") == 1


def test_the_context_is_within_the_budget(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    for index in range(40):
        chat.put(ChatMessage(f"note {index}: the harbour crane number {index} is green"))
    assert 100 < tokens(memory, chat.get(input="which crane is green?")) <= 300


def test_the_system_prompt_of_a_chat_engine_is_taken_off_the_budget(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    for index in range(40):
        chat.put(ChatMessage(f"note {index}: the harbour crane number {index} is green"))
    assert tokens(memory, chat.get(input="which crane?", initial_token_count=200)) <= 100


def test_a_question_larger_than_the_share_of_recent_turns_still_goes(memory: Memory) -> None:
    for index in range(40):
        scoped(memory, session="monday").put(ChatMessage(f"the harbour crane {index} is green"))
    chat = scoped(memory, budget=400)
    question = "which harbour crane is green? " * 30
    chat.put(ChatMessage(question))
    assert question in (chat.get()[-1].content or "")


def test_a_question_larger_than_the_budget_is_refused(memory: Memory) -> None:
    chat = scoped(memory, budget=100)
    chat.put(ChatMessage("which harbour crane is green? " * 100))
    with pytest.raises(BudgetTooSmall, match="raise it"):
        chat.get()


def test_set_adds_only_what_the_log_does_not_hold(memory: Memory) -> None:
    chat = scoped(memory)
    history = [("user", "hello"), ("assistant", "good day"), ("user", "my name is Ann")]
    for length in (1, 2, 3, 3, 2):
        chat.set([ChatMessage(text, role=role) for role, text in history[:length]])
    assert texts(chat.get_all()) == history


def test_set_joins_a_history_that_begins_later_than_the_log(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put_messages([ChatMessage("one"), ChatMessage("two"), ChatMessage("three")])
    chat.set([ChatMessage("two"), ChatMessage("three"), ChatMessage("four")])
    assert [text for _, text in texts(chat.get_all())] == ["one", "two", "three", "four"]


def test_set_stores_a_short_answer_that_was_said_before(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put_messages([ChatMessage("start?"), ChatMessage("yes"), ChatMessage("sure?")])
    chat.set([ChatMessage("yes")])
    assert [text for _, text in texts(chat.get_all())] == ["start?", "yes", "sure?", "yes"]


def test_set_knows_a_history_that_comes_back_without_the_tools(memory: Memory) -> None:
    """A client keeps what was said, not what an agent did in between."""
    chat = scoped(memory)
    turn = [
        ChatMessage("which crane?"),
        calling(("c1", "look", {"at": "cranes"})),
        result("c1", "seven"),
        ChatMessage("seven", role="assistant"),
    ]
    for at in range(2):
        chat.set([ChatMessage("which crane?"), ChatMessage("seven", role="assistant")] * at)
        chat.put_messages([message.model_copy() for message in turn])
    assert len(chat.get_all()) == 8


@pytest.mark.parametrize("length", [10, 300])
@pytest.mark.parametrize("sent", [slice(-4, None), slice(-1, None)], ids=["four", "one"])
def test_set_reads_no_more_of_a_long_session_than_of_a_short_one(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, length: int, sent: slice
) -> None:
    chat = scoped(memory)
    said = [
        ChatMessage(f"note {n}", role=role) for n in range(length) for role in ("user", "assistant")
    ]
    chat.put_messages(said)
    read: list[int] = []
    for name in ("arecent", "alisted", "afind", "amessages"):
        monkeypatch.setattr(memory.log, name, counting(getattr(memory.log, name), read))
    history = [ChatMessage(chat.content or "", role=chat.role) for chat in said[sent]]
    chat.set([*history, ChatMessage("and now?")])
    assert sum(read) <= 80
    monkeypatch.undo()
    assert len(chat.get_all()) == 2 * length + 1


def counting(method: Any, read: list[int]) -> Any:
    async def counted(*args: Any, **kwargs: Any) -> Any:
        found = await method(*args, **kwargs)
        read.append(len(found))
        return found

    return counted


def test_set_finds_a_history_that_lies_far_back(memory: Memory) -> None:
    chat = scoped(memory)
    said = [
        ChatMessage(f"note {n}", role=role) for n in range(200) for role in ("user", "assistant")
    ]
    chat.put_messages(said)
    chat.set([ChatMessage(chat.content or "", role=chat.role) for chat in said[3:9]])
    chat.set([ChatMessage("note 0")])
    assert len(chat.get_all()) == 400


def test_reset_erases_the_session(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("I moved to Lisbon in May"))
    chat.get(input="where did I move?")
    chat.reset()
    assert (chat.get_all(), chat.get(input="where did I move?")) == ([], [])


def test_reset_leaves_the_other_sessions(memory: Memory) -> None:
    monday = scoped(memory, session="monday")
    monday.put(ChatMessage("I moved to Lisbon in May"))
    scoped(memory).reset()
    assert len(monday.get_all()) == 1


def test_from_defaults_adds_the_chat_history(memory: Memory) -> None:
    chat = ScopedMemory.from_defaults(
        conversation=memory.conversation("acme", "ann", "tuesday"),
        budget=TokenBudget(500),
        chat_history=[ChatMessage("hello")],
    )
    assert (texts(chat.get()), chat.budget.total) == ([("user", "hello")], 500)


def test_an_unknown_argument_is_refused_with_the_nearest(memory: Memory) -> None:
    with pytest.raises(UnknownArgument, match="'budget'"):
        ScopedMemory(memory.conversation("acme", "ann", "tuesday"), budgte=4000)  # type: ignore[call-arg]


def test_anything_but_a_conversation_is_refused() -> None:
    with pytest.raises(InvalidInput, match="conversation"):
        ScopedMemory("acme/ann/tuesday")  # type: ignore[arg-type]


def test_a_budget_of_nothing_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidBudget, match="total"):
        scoped(memory, budget=0)
