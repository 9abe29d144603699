"""`chat` and `achat`: recall, call and store in one step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from rag_memory_plugins import Memory, Namespace, TokenBudget, ToolCall
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    ChatModelError,
    InvalidBudget,
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    UnknownArgument,
)
from rag_memory_plugins.langchain import LogChatMessageHistory, achat, chat
from rag_memory_plugins.langchain.convert import to_message
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

MONDAY, TUESDAY = (Namespace("acme", "ann", day) for day in ("monday", "tuesday"))
MOVED = "I moved to Lisbon in May"


def said(memory: Memory, namespace: Namespace = MONDAY) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in memory.conversation(namespace).messages()]


async def test_a_turn_is_stored_and_a_new_session_recalls_it(memory: Memory) -> None:
    model = ScriptedModel("noted", "to Lisbon")
    await achat(memory, model, MOVED, MONDAY)
    answer = await achat(memory, model, "where did I move?", TUESDAY)
    assert said(memory) == [("user", MOVED), ("assistant", "noted")]
    assert said(memory, TUESDAY) == [("user", "where did I move?"), ("assistant", "to Lisbon")]
    assert MOVED in str(texts(model.asked[1]))
    assert (answer.text, str(answer)) == ("to Lisbon", "to Lisbon")


def test_the_sync_form_does_the_same(memory: Memory) -> None:
    model = ScriptedModel("noted", "to Lisbon")
    chat(memory, model, MOVED, MONDAY)
    answer = chat(memory, model, "where did I move?", TUESDAY)
    assert said(memory, TUESDAY) == [("user", "where did I move?"), ("assistant", "to Lisbon")]
    assert MOVED in str(texts(model.asked[1]))
    assert answer.context is not None
    recalled = [p.message.content for p in answer.context.pieces if p.part == "retrieved"]
    assert MOVED in recalled


async def test_the_sync_form_works_inside_a_running_loop(memory: Memory) -> None:
    assert chat(memory, ScriptedModel("noted"), MOVED, MONDAY).text == "noted"


@pytest.mark.parametrize(
    "namespace", [Namespace("globex", "ann", "b"), Namespace("acme", "bo", "b")]
)
def test_another_tenant_and_another_user_recall_nothing(
    memory: Memory, namespace: Namespace
) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    model = ScriptedModel("no idea")
    chat(memory, model, "where did I move?", namespace)
    assert texts(model.asked[0]) == [("human", "where did I move?")]


def test_level_session_recalls_this_session_alone(memory: Memory) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    model = ScriptedModel("no idea")
    chat(memory, model, "where did I move?", TUESDAY, level="session")
    assert texts(model.asked[0]) == [("human", "where did I move?")]


def test_without_memory_nothing_is_read_and_nothing_stored(memory: Memory) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    before = said(memory)
    model = ScriptedModel("no idea")
    answer = chat(memory, model, "where did I move?", MONDAY, use_memory=False)
    assert texts(model.asked[0]) == [("human", "where did I move?")]
    assert (said(memory), answer.text, answer.context) == (before, "no idea", None)


@pytest.mark.parametrize("again", [MOVED, HumanMessage(MOVED), [("user", "hi"), ("user", MOVED)]])
async def test_a_model_that_fails_loses_nothing_and_a_retry_doubles_nothing(
    memory: Memory, again: Any
) -> None:
    model = ScriptedModel(TimeoutError("away"), TimeoutError("away"), "noted")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await achat(memory, model, again, MONDAY)
    expected = [("user", "hi"), ("user", MOVED)] if isinstance(again, list) else [("user", MOVED)]
    assert said(memory) == expected
    await achat(memory, model, again, MONDAY)
    assert said(memory) == [*expected, ("assistant", "noted")]


@pytest.mark.parametrize("question", ["yes", HumanMessage("yes"), HumanMessage("yes", id="m1")])
def test_yes_said_five_times_is_five_messages(memory: Memory, question: Any) -> None:
    for _ in range(5):
        chat(memory, ScriptedModel("go on?"), question, MONDAY)
    assert said(memory) == [("user", "yes"), ("assistant", "go on?")] * 5


def test_an_answer_that_a_cache_gave_again_is_stored_again(memory: Memory) -> None:
    model = FakeListChatModel(responses=["go on?"], cache=InMemoryCache())
    for namespace in (MONDAY, MONDAY, TUESDAY):
        chat(memory, model, "yes", namespace, level="session", budget=TokenBudget(60, recent=20))
    assert said(memory) == [("user", "yes"), ("assistant", "go on?")] * 2


def test_system_messages_go_first_as_they_are_and_are_not_stored(memory: Memory) -> None:
    model = ScriptedModel("noted")
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    prompt = [SystemMessage([cached]), {"role": "developer", "content": "Be kind."}]
    chat(memory, model, [*prompt, HumanMessage(MOVED)], MONDAY)
    assert texts(model.asked[0]) == [
        ("system", "Be brief."),
        ("system", "Be kind."),
        ("human", MOVED),
    ]
    assert model.asked[0][0].content == [cached]
    assert said(memory) == [("user", MOVED), ("assistant", "noted")]


def test_a_history_sent_with_every_turn_does_not_double_the_log(memory: Memory) -> None:
    history: list[tuple[str, str]] = []
    for turn in range(4):
        history.append(("user", f"question {turn}"))
        chat(memory, ScriptedModel(f"answer {turn}"), history, MONDAY)
        history.append(("assistant", f"answer {turn}"))
    assert said(memory) == history


def test_the_messages_of_a_history_can_be_sent_back(memory: Memory) -> None:
    for text in (MOVED, "and I like it"):
        chat(memory, ScriptedModel("noted"), text, MONDAY)
    limited = LogChatMessageHistory(memory.conversation(MONDAY), budget=200)
    chat(memory, ScriptedModel("ok"), [*limited.messages, HumanMessage("bye")], MONDAY)
    assert [text for _, text in said(memory)] == [
        MOVED, "noted", "and I like it", "noted", "bye", "ok"
    ]  # fmt: skip


def test_what_a_context_put_in_is_not_stored(memory: Memory) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    model = ScriptedModel("to Lisbon", "in May")
    chat(memory, model, "where did I move?", TUESDAY)
    copies = [type(m)(m.content) for m in model.asked[0]]  # without the marks
    chat(memory, model, [*copies, HumanMessage("and when?")], TUESDAY)
    assert [text for _, text in said(memory, TUESDAY)] == [
        "where did I move?", "to Lisbon", "and when?", "in May"
    ]  # fmt: skip


@pytest.mark.parametrize("marked", [True, False])
def test_a_question_that_was_sent_with_blocks_is_sent_without_those(
    memory: Memory, marked: bool
) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    model = ScriptedModel("to Lisbon", "to Lisbon")
    chat(memory, model, "where did I move?", TUESDAY)
    sent = model.asked[0][-1] if marked else HumanMessage(model.asked[0][-1].content)
    assert "</memory-" in sent.text
    chat(memory, model, sent, Namespace("acme", "ann", "friday" if marked else "tuesday"))
    assert model.asked[1][-1].text.count("</memory-") == 1
    assert model.asked[1][-1].text.endswith("where did I move?")


def test_a_question_that_a_context_put_in_is_refused(memory: Memory) -> None:
    chat(memory, ScriptedModel("noted"), MOVED, MONDAY)
    block = memory.conversation(TUESDAY).context("where did I move?", 300).text
    with pytest.raises(InvalidInput, match="nobody said it"):
        chat(memory, ScriptedModel("x"), [("user", "hi"), ("user", block)], TUESDAY)
    assert said(memory, TUESDAY) == []


@pytest.mark.parametrize("budget", [300, TokenBudget(400, completion=100)])
def test_what_is_sent_is_within_the_budget(memory: Memory, budget: int | TokenBudget) -> None:
    memory.conversation(MONDAY).add(
        [f"the harbour crane {n} is painted in green" for n in range(90)]
    )
    model = ScriptedModel("green")
    sent = [("system", "You know the harbour and its cranes."), ("user", "which crane?")]
    answer = chat(memory, model, sent, MONDAY, budget=budget)
    asked = [m.model_copy(update={"response_metadata": {}}) for m in model.asked[0]]
    size = memory.counter.count_messages([to_message(m) for m in asked])
    assert answer.context is not None
    assert 200 < size <= answer.context.tokens <= 300


def test_a_budget_without_recent_turns_holds_the_question(memory: Memory) -> None:
    memory.conversation(MONDAY).add(
        [f"the harbour crane {n} is painted in green" for n in range(90)]
    )
    model = ScriptedModel("green")
    chat(memory, model, "which crane?", MONDAY, budget=TokenBudget(300, recent=0, retrieved=300))
    assert texts(model.asked[0])[-1][1].endswith("which crane?")


@pytest.mark.parametrize("retry", [False, True])
def test_what_no_budget_counts_reaches_the_model(memory: Memory, retry: bool) -> None:
    page = {"type": "file", "base64": "cGFnZQ==", "mime_type": "application/pdf"}
    question = HumanMessage([{"type": "text", "text": "read this"}, page])
    model = ScriptedModel(*([TimeoutError("away")] * retry), "read")
    for _ in range(retry):
        with pytest.raises(TimeoutError):
            chat(memory, model, question, MONDAY)
    chat(memory, model, question, MONDAY)
    assert model.asked[-1][-1].content == question.content
    assert said(memory) == [("user", "read this"), ("assistant", "read")]


@pytest.mark.parametrize("repeated", [(1, 40), (40, 1)], ids=["question", "system"])
def test_a_question_that_no_budget_holds_is_refused_and_not_stored(
    memory: Memory, repeated: tuple[int, int]
) -> None:
    system, question = ("which crane is it? " * count for count in repeated)
    with pytest.raises(BudgetTooSmall, match="raise it"):
        chat(memory, ScriptedModel("x"), [("system", system), question], MONDAY, budget=100)
    assert memory.namespaces() == []


def test_tools_that_are_bound_are_called_and_their_round_is_stored(memory: Memory) -> None:
    model = ScriptedModel([("c1", "weather", {"city": "Oslo"})], "warm")
    bound = model.bind_tools([]).with_fallbacks([ScriptedModel("never")])
    called = chat(memory, bound, "how warm?", MONDAY).message
    log = memory.conversation(MONDAY)
    assert log.messages()[-1].tool_calls == (ToolCall("c1", "weather", '{"city": "Oslo"}'),)
    rounds = [("user", "how warm?"), called, ToolMessage("21 degrees", tool_call_id="c1")]
    chat(memory, bound, [*rounds, HumanMessage("well?")], MONDAY)
    assert texts(model.asked[1]) == [
        ("human", "how warm?"), ("ai", ""), ("tool", "21 degrees"), ("human", "well?")
    ]  # fmt: skip
    assert [role for role, _ in said(memory)] == ["user", "assistant", "tool", "user", "assistant"]


def test_a_streaming_model_answers_in_one_piece(memory: Memory) -> None:
    answer = chat(memory, StreamingModel("to Lisbon it was"), MOVED, MONDAY)
    assert type(answer.message) is AIMessage
    assert said(memory)[-1] == ("assistant", "to Lisbon it was")


class Where(ScriptedModel):
    """A model that keeps which thread, and which loop, it was asked on."""

    _at: list[object] = PrivateAttr(default_factory=list)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._at.append(threading.current_thread())
        return ChatResult(generations=[ChatGeneration(message=AIMessage("here"))])

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._at.append(asyncio.get_running_loop())
        return ChatResult(generations=[ChatGeneration(message=AIMessage("here"))])


async def test_the_model_is_asked_on_the_callers_loop_and_thread(memory: Memory) -> None:
    model = Where()
    await achat(memory, model, "hello", MONDAY)
    chat(memory, model, "hello", MONDAY)
    assert model._at == [asyncio.get_running_loop(), threading.current_thread()]


async def test_the_config_goes_to_the_model(memory: Memory) -> None:
    seen: list[Any] = []

    class Tags(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, tags=None, **kwargs):
            seen.append(tags)

    config: Any = {"callbacks": [Tags()], "tags": ["support"]}
    chat(memory, ScriptedModel("x"), "hello", MONDAY, config=config)
    await achat(memory, ScriptedModel("x"), "hello", MONDAY, config=config)
    assert seen == [["support"], ["support"]]


def test_an_answer_that_is_no_message_is_an_error_and_the_question_is_kept(
    memory: Memory,
) -> None:
    with pytest.raises(ChatModelError, match="its answer is a "):
        chat(memory, ScriptedModel("text") | StrOutputParser(), "hello", MONDAY)
    assert said(memory) == [("user", "hello")]


@pytest.mark.parametrize(
    ("messages", "remedy"),
    [
        ([], "end them with what the user says"),
        ([AIMessage("hi")], "end them with what the user says"),
        ([("user", "hi"), SystemMessage("hi")], "end them with what the user says"),
        ([{"role": "user"}], "pass a str, a message or a list of them"),
        ([("nobody", "hi")], "pass a str, a message or a list of them"),
        ([3], "pass a str, a message or a list of them"),
        (None, "pass a str, a message or a list of them"),
        ({"role": "user", "content": "hi"}, "pass a str, a message or a list of them"),
    ],
)
def test_messages_that_end_with_no_question_store_nothing(
    memory: Memory, messages: Any, remedy: str
) -> None:
    with pytest.raises(InvalidInput, match=remedy):
        chat(memory, ScriptedModel("x"), messages, MONDAY)
    assert memory.namespaces() == []


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"namespace": "acme/ann/monday"}, InvalidNamespace, "namespace"),
    ({"model": object()}, InvalidInput, "model"),
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
    given = {"memory": memory, "model": ScriptedModel("x"), "messages": "hi", "namespace": MONDAY}
    with pytest.raises(error, match=named):
        form(**{**given, **arguments})
    assert memory.namespaces() == []
