"""`chat` and `achat`: recall, call and store in one step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    TextBlock,
)
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import LLM
from pydantic import PrivateAttr

from rag_memory_plugins import Memory, Message, Namespace, TokenBudget, ToolCall
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    InvalidBudget,
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import achat, chat
from rag_memory_plugins.llama_index.convert import to_message
from tests.llama_index.scripted import ScriptedLLM, texts

MONDAY, TUESDAY = (Namespace("acme", "ann", day) for day in ("monday", "tuesday"))
MOVED = "I moved to Lisbon in May"


def said(memory: Memory, namespace: Namespace = MONDAY) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in memory.conversation(namespace).messages()]


async def test_a_turn_is_stored_and_a_new_session_recalls_it(memory: Memory) -> None:
    llm = ScriptedLLM("noted", "to Lisbon")
    await achat(memory, llm, MOVED, MONDAY)
    answer = await achat(memory, llm, "where did I move?", TUESDAY)
    assert said(memory) == [("user", MOVED), ("assistant", "noted")]
    assert said(memory, TUESDAY) == [("user", "where did I move?"), ("assistant", "to Lisbon")]
    assert MOVED in str(texts(llm.asked[1]))
    assert (answer.text, str(answer)) == ("to Lisbon", "to Lisbon")


def test_the_sync_form_does_the_same(memory: Memory) -> None:
    llm = ScriptedLLM("noted", "to Lisbon")
    chat(memory, llm, MOVED, MONDAY)
    answer = chat(memory, llm, "where did I move?", TUESDAY)
    assert said(memory, TUESDAY) == [("user", "where did I move?"), ("assistant", "to Lisbon")]
    assert MOVED in str(texts(llm.asked[1]))
    assert answer.text == "to Lisbon"


async def test_the_sync_form_works_inside_a_running_loop(memory: Memory) -> None:
    assert chat(memory, ScriptedLLM("noted"), MOVED, MONDAY).text == "noted"


def test_the_answer_shows_what_was_recalled(memory: Memory) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    answer = chat(memory, ScriptedLLM("to Lisbon"), "where did I move?", TUESDAY)
    assert answer.context is not None
    recalled = [p.message.content for p in answer.context.pieces if p.part == "retrieved"]
    assert MOVED in recalled


@pytest.mark.parametrize(
    "namespace", [Namespace("globex", "ann", "b"), Namespace("acme", "bo", "b")]
)
def test_another_tenant_and_another_user_recall_nothing(
    memory: Memory, namespace: Namespace
) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    llm = ScriptedLLM("no idea")
    chat(memory, llm, "where did I move?", namespace)
    assert texts(llm.asked[0]) == [("user", "where did I move?")]


def test_level_session_recalls_this_session_alone(memory: Memory) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    llm = ScriptedLLM("no idea")
    chat(memory, llm, "where did I move?", TUESDAY, level="session")
    assert texts(llm.asked[0]) == [("user", "where did I move?")]


def test_without_memory_nothing_is_read_and_nothing_stored(memory: Memory) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    before = said(memory)
    llm = ScriptedLLM("no idea")
    answer = chat(memory, llm, "where did I move?", MONDAY, use_memory=False)
    assert texts(llm.asked[0]) == [("user", "where did I move?")]
    assert (said(memory), answer.text, answer.context) == (before, "no idea", None)


class Broken(MockLLM):
    """A model that fails."""

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        raise TimeoutError("the model is away")

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages)


@pytest.mark.parametrize(
    "again", [MOVED, ChatMessage(MOVED), [ChatMessage("hi"), ChatMessage(MOVED)]]
)
async def test_a_model_that_fails_loses_nothing_and_a_retry_doubles_nothing(
    memory: Memory, again: str | ChatMessage | list[ChatMessage]
) -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await achat(memory, Broken(), again, MONDAY)
    expected = [("user", "hi"), ("user", MOVED)] if isinstance(again, list) else [("user", MOVED)]
    assert said(memory) == expected
    await achat(memory, ScriptedLLM("noted"), again, MONDAY)
    assert said(memory) == [*expected, ("assistant", "noted")]


def test_yes_said_five_times_is_five_messages(memory: Memory) -> None:
    for _ in range(5):
        chat(memory, ScriptedLLM("go on?"), "yes", MONDAY)
    assert said(memory) == [("user", "yes"), ("assistant", "go on?")] * 5


def test_the_same_object_asked_again_is_asked_again(memory: Memory) -> None:
    llm, question = ScriptedLLM("one", "two"), ChatMessage("and now?")
    chat(memory, llm, question, MONDAY)
    chat(memory, llm, question, MONDAY)
    assert [text for _, text in said(memory)] == ["and now?", "one", "and now?", "two"]
    assert texts(llm.asked[1])[-1] == ("user", "and now?")


def test_an_answer_that_a_model_gives_twice_is_stored_twice(memory: Memory) -> None:
    class Cached(MockLLM):
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            return given

    given = ChatResponse(message=ChatMessage("go on?", role="assistant"))
    for _ in range(2):
        chat(memory, Cached(), "yes", MONDAY)
    assert said(memory) == [("user", "yes"), ("assistant", "go on?")] * 2


def test_a_system_message_goes_first_and_is_not_stored(memory: Memory) -> None:
    llm = ScriptedLLM("noted")
    prompt = [ChatMessage("Be brief.", role="system"), ChatMessage("Be kind.", role="developer")]
    chat(memory, llm, [*prompt, ChatMessage(MOVED)], MONDAY)
    assert texts(llm.asked[0]) == [("system", "Be brief.\nBe kind."), ("user", MOVED)]
    assert said(memory) == [("user", MOVED), ("assistant", "noted")]


def test_a_history_sent_with_every_turn_does_not_double_the_log(memory: Memory) -> None:
    history: list[tuple[str, str]] = []
    for turn in range(4):
        history.append((f"question {turn}", "user"))
        sent = [ChatMessage(text, role=role) for text, role in history]
        chat(memory, ScriptedLLM(f"answer {turn}"), sent, MONDAY)
        history.append((f"answer {turn}", "assistant"))
    assert said(memory) == [(role, text) for text, role in history]


def test_a_history_without_the_tool_calls_of_the_log_does_not_double_it(memory: Memory) -> None:
    log = [
        Message("user", "how warm?"),
        Message("assistant", "", tool_calls=(ToolCall("c1", "weather"),)),
        Message("tool", "21 degrees", tool_call_id="c1"),
        Message("assistant", "it is warm"),
    ]
    memory.conversation(MONDAY).add(log)
    sent = [
        ChatMessage("how warm?"),
        ChatMessage("it is warm", role="assistant"),
        ChatMessage("and tomorrow?"),
    ]
    chat(memory, ScriptedLLM("warmer"), sent, MONDAY)
    assert [text for _, text in said(memory)[4:]] == ["and tomorrow?", "warmer"]


def test_a_turn_given_as_a_list_of_one_is_stored_each_time(memory: Memory) -> None:
    for _ in range(3):
        chat(memory, ScriptedLLM("go on?"), [ChatMessage("yes")], MONDAY)
    assert said(memory) == [("user", "yes"), ("assistant", "go on?")] * 3


def test_what_a_context_put_in_is_not_stored(memory: Memory) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    llm = ScriptedLLM("to Lisbon", "in May")
    chat(memory, llm, "where did I move?", TUESDAY)
    copies = [ChatMessage.model_validate(m.model_dump(mode="json")) for m in llm.asked[0]]
    chat(memory, llm, [*copies, ChatMessage("and when?")], TUESDAY)
    assert [text for _, text in said(memory, TUESDAY)] == [
        "where did I move?", "to Lisbon", "and when?", "in May"
    ]  # fmt: skip


def test_a_question_that_a_context_put_in_is_refused(memory: Memory) -> None:
    chat(memory, ScriptedLLM("noted"), MOVED, MONDAY)
    block = memory.conversation(TUESDAY).context("where did I move?", 300).text
    with pytest.raises(InvalidInput, match="nobody said it"):
        chat(memory, ScriptedLLM("x"), [ChatMessage("hi"), ChatMessage(block)], TUESDAY)
    assert said(memory, TUESDAY) == []


@pytest.mark.parametrize("budget", [300, TokenBudget(400, completion=100)])
def test_what_is_sent_is_within_the_budget(memory: Memory, budget: int | TokenBudget) -> None:
    memory.conversation(MONDAY).add(
        [f"the harbour crane {n} is painted in green" for n in range(90)]
    )
    llm = ScriptedLLM("green")
    prompt = ChatMessage("You know the harbour and its cranes.", role="system")
    answer = chat(memory, llm, [prompt, ChatMessage("which crane?")], MONDAY, budget=budget)
    size = memory.counter.count_messages([to_message(m) for m in llm.asked[0]])
    assert answer.context is not None
    assert 200 < size <= answer.context.tokens <= 300


def test_the_memorys_own_budget_holds_when_none_is_given(memory: Memory) -> None:
    answer = chat(memory, ScriptedLLM("x"), "hello", MONDAY)
    assert answer.context is not None
    assert answer.context.budget == memory.budget


def test_a_budget_without_recent_turns_holds_the_question(memory: Memory) -> None:
    memory.conversation(MONDAY).add(
        [f"the harbour crane {n} is painted in green" for n in range(90)]
    )
    llm = ScriptedLLM("green")
    chat(memory, llm, "which crane?", MONDAY, budget=TokenBudget(300, recent=0, retrieved=300))
    assert texts(llm.asked[0])[-1][1].endswith("which crane?")


def test_what_no_budget_counts_reaches_the_model(memory: Memory) -> None:
    page = DocumentBlock(data=b"cGFnZQ==", document_mimetype="text/plain", title="page")
    llm = ScriptedLLM("read")
    chat(memory, llm, ChatMessage(blocks=[TextBlock(text="read this"), page]), MONDAY)
    assert [block.block_type for block in llm.asked[0][-1].blocks] == ["text", "document"]


@pytest.mark.parametrize("repeated", [(1, 40), (40, 1)], ids=["question", "system"])
def test_a_question_that_no_budget_holds_is_refused_and_not_stored(
    memory: Memory, repeated: tuple[int, int]
) -> None:
    system, question = ("which crane is it? " * count for count in repeated)
    sent = [ChatMessage(system, role="system"), ChatMessage(question)]
    with pytest.raises(BudgetTooSmall, match="raise it"):
        chat(memory, ScriptedLLM("x"), sent, MONDAY, budget=100)
    assert memory.namespaces() == []


def test_a_question_that_just_fits_is_asked(memory: Memory) -> None:
    question = Message("user", "which crane is it? " * 10)
    size = memory.counter.count_messages([question])
    with pytest.raises(BudgetTooSmall):
        chat(memory, ScriptedLLM("x"), question.content, MONDAY, budget=size - 1)
    assert chat(memory, ScriptedLLM("x"), question.content, MONDAY, budget=size).text == "x"


def test_an_answer_that_calls_tools_is_stored_with_them(memory: Memory) -> None:
    chat(memory, ScriptedLLM([("c1", "weather", {"city": "Oslo"})]), "how warm?", MONDAY)
    stored = memory.conversation(MONDAY).messages()[-1]
    assert stored.tool_calls == (ToolCall("c1", "weather", '{"city": "Oslo"}'),)


class Where(MockLLM):
    """A model that keeps which thread, and which loop, it was asked on."""

    _asked: list[object] = PrivateAttr(default_factory=list)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self._asked.append(threading.current_thread())
        return ChatResponse(message=ChatMessage("here", role="assistant"))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self._asked.append(asyncio.get_running_loop())
        return ChatResponse(message=ChatMessage("here", role="assistant"))


async def test_the_model_is_asked_on_the_callers_loop_and_thread(memory: Memory) -> None:
    llm = Where()
    await achat(memory, llm, "hello", MONDAY)
    chat(memory, llm, "hello", MONDAY)
    assert llm._asked == [asyncio.get_running_loop(), threading.current_thread()]


@pytest.mark.parametrize(
    ("messages", "remedy"),
    [
        ([], "end them with what the user says"),
        ([ChatMessage("hi", role="assistant")], "end them with what the user says"),
        ([ChatMessage("hi", role="system")], "end them with what the user says"),
        ([ChatMessage("hi"), "hello"], "pass a str, a ChatMessage or a list of them"),
        (None, "pass a str, a ChatMessage or a list of them"),
        ({"role": "user"}, "pass a str, a ChatMessage or a list of them"),
    ],
    ids=["none", "assistant", "system", "str among them", "None", "mapping"],
)
def test_messages_that_end_with_no_question_store_nothing(
    memory: Memory, messages: Any, remedy: str
) -> None:
    with pytest.raises(InvalidInput, match=remedy):
        chat(memory, ScriptedLLM("x"), messages, MONDAY)
    assert memory.namespaces() == []


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"namespace": "acme/ann/monday"}, InvalidNamespace, "namespace"),
    ({"llm": object()}, InvalidInput, "llm"),
    ({"memory": object()}, InvalidInput, "memory"),
    ({"budget": 0}, InvalidBudget, "total"),
    ({"level": "tenant"}, InvalidQuery, "level"),
    ({"budgte": 100}, UnknownArgument, "'budget'"),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD, ids=[next(iter(b[0])) for b in BAD])
@pytest.mark.parametrize("form", [chat, lambda **given: asyncio.run(achat(**given))])
def test_a_bad_argument_is_named_and_stores_nothing(
    memory: Memory,
    form: Callable[..., object],
    arguments: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    given = {"memory": memory, "llm": ScriptedLLM("x"), "messages": "hi", "namespace": MONDAY}
    with pytest.raises(error, match=named):
        form(**{**given, **arguments})
    assert memory.namespaces() == []


def test_any_llama_index_model_will_do(memory: Memory) -> None:
    llm: LLM = MockLLM()
    assert chat(memory, llm, "hello", MONDAY).text
