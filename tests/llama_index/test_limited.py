"""A model that is never asked more than its budget, whatever an agent has gathered."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    MessageRole,
    TextBlock,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import MockLLM
from pydantic import BaseModel

from rag_memory_plugins import Conversation, Memory, TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidBudget, InvalidInput, UnknownArgument
from rag_memory_plugins.llama_index import LimitedLLM, ScopedMemory
from rag_memory_plugins.llama_index.convert import to_message
from tests.llama_index.attached import COUNTER, CRANE, LONG, crane, look_at, orphans
from tests.llama_index.listening import Heard, listening
from tests.llama_index.scripted import ScriptedLLM, calling, result

CODE_ACT_MAY_NOT_STREAM = "streaming" in inspect.signature(CodeActAgent).parameters
SCHEMA = COUNTER.count(json.dumps(CRANE.metadata.to_openai_tool()))


@pytest.fixture
def heard() -> Iterator[Heard]:
    with listening() as found:
        yield found


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    return memory.conversation("acme", "ann", "tuesday")


def tokens(chats: Sequence[ChatMessage]) -> int:
    return COUNTER.count_messages([to_message(chat) for chat in chats])


def conversation(rounds: int) -> list[ChatMessage]:
    chats = [
        ChatMessage("be brief", role="system"),
        ChatMessage("hello"),
        ChatMessage(LONG, role="assistant"),
        ChatMessage("which crane?"),
    ]
    for number in range(rounds):
        chats += [calling((f"c{number}", "crane", {})), result(f"c{number}", LONG)]
    return chats


def test_a_request_that_fits_is_passed_as_the_same_objects() -> None:
    class Keeping(ScriptedLLM):
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            self._asked.append(list(messages))
            return ChatResponse(message=ChatMessage("ok", role="assistant"))

    chats = conversation(1)
    llm = Keeping()
    LimitedLLM(llm, 4000).chat(chats)
    assert all(sent is chat for sent, chat in zip(llm.asked[0], chats, strict=True))


def test_a_message_that_was_not_cut_is_the_same_object_beside_one_that_was() -> None:
    class Keeping(ScriptedLLM):
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            self._asked.append(list(messages))
            return ChatResponse(message=ChatMessage("ok", role="assistant"))

    chats, llm = conversation(2), Keeping()
    LimitedLLM(llm, 600).chat(chats)
    system, question, call, short, *latest = llm.asked[0]
    assert (system is chats[0], question is chats[3], call is chats[4]) == (True, True, True)
    assert latest[0] is chats[6]
    assert "[… shortened, message c0]" in (short.content or "")
    assert short.additional_kwargs == {"tool_call_id": "c0"}
    assert chats[5].content == LONG  # the caller's is as it was


async def chat(llm: LimitedLLM, method: str, chats: list[ChatMessage]) -> None:
    """Call any of the eight methods and read its answer to the end."""
    arguments: dict[str, Any] = {"messages": chats}
    if method.endswith("_with_tools"):
        arguments = {"chat_history": chats, "tools": [CRANE]}
    answer = getattr(llm, method)(**arguments)
    if method.startswith("a"):
        answer = await answer
    if isinstance(answer, AsyncIterator):
        assert [part async for part in answer]
    elif isinstance(answer, Iterator):
        assert list(answer)


METHODS = [
    f"{prefix}{kind}{suffix}"
    for suffix in ("", "_with_tools")
    for kind in ("chat", "stream_chat")
    for prefix in ("", "a")
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounds", [1, 2, 30])
async def test_every_way_to_ask_keeps_the_budget(method: str, rounds: int) -> None:
    llm = ScriptedLLM("it is green")
    await chat(LimitedLLM(llm, 500), method, conversation(rounds))
    schema = SCHEMA if method.endswith("tools") else 0
    assert 300 < tokens(llm.asked[0]) + schema <= 500
    assert orphans(llm.asked[0]) == set()


@pytest.mark.parametrize("method", METHODS)
async def test_every_way_to_ask_tells_of_a_cut_in_one_event(method: str, heard: Heard) -> None:
    await chat(LimitedLLM(ScriptedLLM("green"), 420), method, conversation(2))
    (trim,) = heard.named("TrimEvent")
    assert trim.source == "LimitedLLM(unknown)"
    assert (trim.original, trim.kept, trim.available) == (8, 6, 420)
    assert (0 < trim.tokens <= 420, trim.removed > 700) == (True, True)
    assert [event.reason for event in heard.named("DegradeEvent")] == [
        "results of tools shortened: 2"
    ]


async def test_a_request_that_fits_tells_nothing(heard: Heard) -> None:
    await chat(LimitedLLM(ScriptedLLM("green"), 4000), "achat", conversation(2))
    assert (heard.named("TrimEvent"), heard.named("DegradeEvent")) == ([], [])


def test_schemas_of_tools_are_taken_off_the_budget() -> None:
    few, many = ScriptedLLM("green"), ScriptedLLM("green")
    LimitedLLM(few, 600).chat_with_tools([CRANE], chat_history=conversation(2))
    LimitedLLM(many, 600).chat_with_tools([CRANE] * 5, chat_history=conversation(2))
    assert tokens(many.asked[0]) <= 600 - 5 * SCHEMA < tokens(few.asked[0]) <= 600 - SCHEMA


@pytest.mark.parametrize("message", ["which crane?", ChatMessage("which crane?")])
def test_the_user_message_of_a_call_with_tools_stays(message: str | ChatMessage) -> None:
    llm = ScriptedLLM("green")
    history = [ChatMessage("hello"), ChatMessage(LONG, role="assistant")]
    LimitedLLM(llm, 200).chat_with_tools([CRANE], user_msg=message, chat_history=history)
    assert [chat.content for chat in llm.asked[0]] == ["which crane?"]


def test_what_must_stay_and_does_not_fit_is_refused_and_told(heard: Heard) -> None:
    with pytest.raises(BudgetTooSmall, match=r"take \d+ tokens; raise it"):
        LimitedLLM(ScriptedLLM("x"), 100).chat([ChatMessage(LONG)])
    (event,) = heard.named("DegradeEvent")
    assert "take 4" in event.reason


def test_a_refusal_names_the_schemas_of_tools() -> None:
    with pytest.raises(BudgetTooSmall, match=rf"schemas of tools take {SCHEMA} of it"):
        LimitedLLM(ScriptedLLM("x"), SCHEMA).chat_with_tools([CRANE], user_msg="which crane?")


@pytest.mark.parametrize("method", ["complete", "acomplete"])
async def test_a_completion_too_long_passes_whole_and_is_told(method: str, heard: Heard) -> None:
    llm = ScriptedLLM("green")
    answer = getattr(LimitedLLM(llm, 100), method)(LONG)
    text = answer.text if method == "complete" else (await answer).text
    assert (text, llm.asked[0][0].content) == ("green", LONG)
    (event,) = heard.named("DegradeEvent")
    assert event.reason == "a prompt of 401 tokens was sent whole; the budget is 100"


async def test_streamed_completions_pass() -> None:
    inner = MockLLM(max_tokens=2)
    said = [part.delta for part in inner.stream_complete("a b")]
    assert [delta.strip() for delta in said] == ["text", "text"]
    llm = LimitedLLM(inner, 100)
    assert [part.delta for part in llm.stream_complete("a b")] == said
    parts = await llm.astream_complete("a b")
    assert [part.delta async for part in parts] == said


def test_the_metadata_are_the_models_with_a_window_no_larger_than_the_budget() -> None:
    inner = MockLLM(max_tokens=100)
    made = LimitedLLM(inner, 500).metadata
    assert made.context_window < 500 + inner.metadata.num_output
    wide = LimitedLLM(inner, 100_000).metadata
    assert wide == inner.metadata
    assert LimitedLLM(ScriptedLLM(), 500).metadata.is_function_calling_model


def test_prompts_and_callbacks_are_those_of_the_model() -> None:
    inner = MockLLM(system_prompt="be brief", callback_manager=CallbackManager([]))
    made = LimitedLLM(inner, 500)
    assert (made.system_prompt, made.callback_manager) == ("be brief", inner.callback_manager)
    given = CallbackManager([])
    made.callback_manager = given  # as a synthesizer does
    assert inner.callback_manager is given


def test_the_reserve_for_the_answer_is_not_spent_on_the_request() -> None:
    llm = ScriptedLLM("green")
    LimitedLLM(llm, TokenBudget(1000, completion=600)).chat(conversation(2))
    assert tokens(llm.asked[0]) <= 400


def test_a_model_that_cannot_call_tools_is_still_limited() -> None:
    llm = LimitedLLM(MockLLM(), 500)
    answer = llm.chat(conversation(2))
    assert llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False) == []
    with pytest.raises(InvalidInput, match="FunctionCallingLLM"):
        llm.chat_with_tools([CRANE], user_msg="which crane?")


def test_a_structured_prediction_keeps_the_budget() -> None:
    class Crane(BaseModel):
        """A crane."""

        colour: str

    llm = ScriptedLLM([("call_1", "Crane", {"colour": "green"})])
    made = LimitedLLM(llm, 300).as_structured_llm(Crane).chat(conversation(3))
    assert (made.raw, tokens(llm.asked[0]) <= 300) == (Crane(colour="green"), True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"llm": "gpt", "budget": 10}, InvalidInput),
        ({"llm": MockLLM(), "budget": 0}, InvalidBudget),
        ({"llm": MockLLM(), "budget": 10, "conversation": "ann"}, InvalidInput),
        ({"llm": MockLLM(), "budget": 10, "counter": "gpt"}, InvalidInput),
        ({"llm": MockLLM(), "budgte": 10}, UnknownArgument),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        LimitedLLM(**arguments)


def test_the_global_settings_are_left_alone() -> None:
    before = dict(vars(Settings))
    LimitedLLM(ScriptedLLM("x"), 500).chat(conversation(3))
    assert vars(Settings) == before


def agent(kind: str, llm: LimitedLLM, *, streaming: bool) -> Any:
    if kind == "react":
        return ReActAgent(llm=llm, tools=[CRANE], system_prompt="Be brief.", streaming=streaming)
    if kind == "code":
        # One of core 0.13.0 has no choice: it streams.
        chosen = {"streaming": streaming} if CODE_ACT_MAY_NOT_STREAM else {}
        return CodeActAgent(lambda code: crane(len(code)), llm=llm, **chosen)
    return FunctionAgent(llm=llm, tools=[CRANE], system_prompt="Be brief.", streaming=streaming)


def replies(kind: str, rounds: int) -> list[Any]:
    if kind == "react":
        step = "Thought: look.\nAction: crane\nAction Input: {{'number': {}}}"
        return [*(step.format(n) for n in range(rounds)), "Thought: done.\nAnswer: green"]
    if kind == "code":
        return [*(f"<execute>crane({n})</execute>" for n in range(rounds)), "green"]
    return [*(look_at(n) for n in range(rounds)), "green"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("kind", "budget"), [("function", 700), ("react", 2000), ("code", 1500)])
async def test_an_agents_tool_rounds_never_exceed_the_budget(
    ann: Conversation, kind: str, budget: int, streaming: bool
) -> None:
    if kind == "code" and not (streaming or CODE_ACT_MAY_NOT_STREAM):
        pytest.skip("this version's CodeActAgent always streams")
    llm = ScriptedLLM(*replies(kind, 15))
    limited = LimitedLLM(llm, budget, conversation=ann)
    made = agent(kind, limited, streaming=streaming)
    answer = await made.run("which crane is green?", memory=ScopedMemory(ann, budget // 2))
    schema = SCHEMA if kind == "function" else 0
    assert ("green" in str(answer), len(llm.asked)) == (True, 16)
    assert [tokens(asked) + schema for asked in llm.asked if tokens(asked) + schema > budget] == []
    assert all("which crane is green?" in str(asked) for asked in llm.asked)
    assert all(orphans(asked) == set() for asked in llm.asked)
    # The latest result is in view at every round, and says more than a stub.
    for number, asked in enumerate(llm.asked[1:]):
        latest = asked[-1].content or ""
        assert f"crane {number}:" in latest or kind == "code"
        assert COUNTER.count(latest) > budget // 8


async def test_21950_tool_calls_and_thinking_count() -> None:
    """LlamaIndex counted both as nothing, and the provider refused the prompt."""
    arguments = {"of": LONG}
    chats = [
        ChatMessage("hello"),
        calling(("c0", "crane", arguments)),
        result("c0", "green"),
        ChatMessage("and now?"),
    ]
    llm = ScriptedLLM("green")
    LimitedLLM(llm, 300).chat(chats)
    assert [chat.content for chat in llm.asked[0]] == ["and now?"]


@pytest.mark.parametrize("room", [100, 300, 600, 900])
def test_10493_13715_a_result_of_a_tool_follows_its_call(room: int) -> None:
    """A memory that cut between them made the provider refuse the request."""
    llm = ScriptedLLM("green")
    LimitedLLM(llm, room).chat(conversation(5))
    roles = [chat.role.value for chat in llm.asked[0]]
    assert roles == ["system", "user", *["assistant", "tool"] * (len(roles) // 2 - 1)]
    assert (len(roles) > 2, orphans(llm.asked[0])) == (True, set())


@pytest.mark.parametrize("room", [60, 300, 900])
def test_23144_a_system_message_is_not_left_out(room: int) -> None:
    llm = ScriptedLLM("green")
    LimitedLLM(llm, room).chat(conversation(5))
    assert llm.asked[0][0].content == "be brief"


def test_a_picture_costs_what_the_memory_says_it_costs() -> None:
    picture = ImageBlock(url="https://example.invalid/crane.png")
    chats = [
        ChatMessage(role="user", blocks=[TextBlock(text="look"), picture]),
        ChatMessage("nice", role="assistant"),
        ChatMessage("and now?"),
    ]
    few, many = ScriptedLLM("x"), ScriptedLLM("x")
    LimitedLLM(few, 1400).chat(chats)
    LimitedLLM(many, 1600).chat(chats)
    assert (len(few.asked[0]), len(many.asked[0])) == (1, 3)


def test_a_result_that_no_log_would_store_is_sent_all_the_same() -> None:
    odd = "a\x00b \ud800 " * 300
    chats = conversation(1)
    chats[-1] = ChatMessage(odd, role="tool")  # and it names no call
    llm = ScriptedLLM("x")
    LimitedLLM(llm, 200).chat(chats)
    assert [chat.role for chat in llm.asked[0]] == [
        MessageRole.SYSTEM,
        MessageRole.USER,
        MessageRole.ASSISTANT,
        MessageRole.TOOL,
    ]


def test_pins_of_a_message_that_goes_move_to_the_question(ann: Conversation) -> None:
    ann.add("never use red", id="rule")
    ann.pin("rule")
    for number in range(4):
        ann.add([{"role": "user", "content": f"step {number}"}])
        ann.add([{"role": "assistant", "content": f"done {number}"}])
    ann.add("which crane?")
    history = ScopedMemory(ann, 600).get()
    assert "never use red" in (history[0].content or "")
    llm = ScriptedLLM("x")
    chats = [*history, *conversation(2)[4:]]
    LimitedLLM(llm, 300, conversation=ann).chat(chats)
    first = llm.asked[0][0].content or ""
    assert (first.count("never use red"), "which crane?" in first) == (1, True)
    assert tokens(llm.asked[0]) <= 300


def test_recalled_text_goes_before_a_question_is_refused(
    memory: Memory, ann: Conversation, heard: Heard
) -> None:
    for number in range(20):
        text = f"the harbour crane {number} is green"
        memory.conversation("acme", "ann", "monday").add(text)
    ann.add("which harbour crane is green?")
    chats = ScopedMemory(ann, 600).get()
    assert tokens(chats) > 100
    llm = ScriptedLLM("x")
    LimitedLLM(llm, 60, conversation=ann).chat(chats)
    assert [chat.content for chat in llm.asked[0]] == ["which harbour crane is green?"]
    assert "recalled text left out" in heard.named("DegradeEvent")[0].reason
