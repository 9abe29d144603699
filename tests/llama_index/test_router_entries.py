"""LlamaIndex models as entries of a router: what they are sent, and what is read of their answers."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.llms import CustomLLM, MockLLM
from llama_index.core.tools import FunctionTool
from pydantic import PrivateAttr

from rag_memory_plugins.chat import ChatRequest, Gathered, NativeMessages, ToolSpec, Usage
from rag_memory_plugins.errors import BadRequest, ProviderError
from rag_memory_plugins.llama_index import RouterLLM, as_chat_model
from rag_memory_plugins.llama_index.asking import NativeAsk
from rag_memory_plugins.llama_index.pieces import Reading
from rag_memory_plugins.llama_index.reporting import finish_of, usage_of
from rag_memory_plugins.router.models import Capabilities, Model, StreamingChatModel
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.types import Message
from tests.llama_index.listening import listening
from tests.llama_index.scripted import ScriptedLLM, calling

HELLO = (Message("user", "Hello?"),)
WEATHER = ToolSpec(
    "weather", "Of a city.", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def weather(city: str) -> str:
    """Of a city."""
    return f"rain in {city}"


def clock() -> str:
    """The time."""
    return "noon"


class Keeping(ScriptedLLM):
    """Keeps what its methods are called with, and in which thread."""

    max_tokens: int | None = None
    temperature: float | None = None
    _seen: list = PrivateAttr(default_factory=list)
    _client: list = PrivateAttr(default_factory=list)

    def _saw(self, method, given, kwargs):
        limit = (self.max_tokens, self.temperature)
        thread = threading.current_thread().name.partition("-0")[0]
        self._seen.append(SimpleNamespace(**locals()))

    def chat(self, messages, **kwargs):
        self._saw("chat", messages, kwargs)
        return super().chat(messages)

    async def achat(self, messages, **kwargs):
        self._saw("achat", messages, kwargs)
        return ScriptedLLM.chat(self, messages)

    async def achat_with_tools(self, tools, **kwargs):
        self._saw("achat_with_tools", tools, kwargs)
        return ScriptedLLM.chat(self, kwargs["chat_history"])

    @property
    def seen(self):
        return self._seen


async def gathered(llm, request):
    found = Gathered()
    async for delta in as_chat_model(llm).astream(request):
        found.add(delta)
    return found


# What it is sent


async def test_messages_of_llama_index_reach_it_as_the_objects_they_were():
    llm = Keeping("Yes.")
    chats = [
        ChatMessage(
            [TextBlock(text="a"), TextBlock(text="b")], additional_kwargs={"cache": {"x": 1}}
        )
    ]
    native = NativeMessages(chats, lambda _: pytest.fail("nobody reads them"), characters=2)
    await gathered(llm, ChatRequest(native))
    assert llm.seen[0].given[0] is chats[0]


async def test_other_messages_are_converted():
    llm = ScriptedLLM("Yes.")
    await gathered(llm, ChatRequest((Message("system", "Short."), *HELLO)))
    assert [(m.role.value, m.content) for m in llm.asked[0]] == [
        ("system", "Short."),
        ("user", "Hello?"),
    ]


async def test_options_and_stops_go_to_it_as_keyword_arguments():
    llm = Keeping("Yes.")
    await gathered(llm, ChatRequest(HELLO, options={"seed": 7}, stop=("END",)))
    assert llm.seen[0].kwargs == {"seed": 7, "stop": ["END"]}


async def test_the_words_of_who_asked_go_before_the_routers():
    llm = Keeping("Yes.")
    words = {"max_tokens": 5, "logit_bias": {}}
    request = ChatRequest(HELLO, max_tokens=5, native=NativeAsk(kwargs=words))
    await gathered(llm, request)
    assert (llm.seen[0].kwargs, llm.seen[0].limit) == (words, (None, None))


async def test_limits_are_set_on_a_copy_that_is_made_once():
    llm = Keeping("Yes.", "Yes.", "Yes.")
    chat = as_chat_model(llm)
    for temperature in (0.5, 0.5, 0.7):
        request = ChatRequest(HELLO, max_tokens=5, temperature=temperature)
        assert [delta.text async for delta in chat.astream(request)] == ["Yes.", ""]
    assert [seen.limit for seen in llm.seen] == [(5, 0.5), (5, 0.5), (5, 0.7)]
    assert llm.seen[0].self is llm.seen[1].self
    assert (llm.max_tokens, llm.temperature) == (None, None)


async def test_a_model_that_is_changed_later_is_asked_as_it_is_then():
    llm = Keeping("Yes.", "Yes.")
    chat = as_chat_model(llm)
    for temperature in (0.1, 0.2):
        llm.temperature = temperature
        assert [delta async for delta in chat.astream(ChatRequest(HELLO, max_tokens=5))]
    assert [seen.limit for seen in llm.seen] == [(5, 0.1), (5, 0.2)]


async def test_own_tools_reach_it_as_the_objects_they_were():
    tools = [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(clock)]
    specs = tuple(ToolSpec(tool.metadata.name) for tool in tools)
    llm = Keeping("Yes.")
    await gathered(llm, ChatRequest(HELLO, tools=specs, native=NativeAsk(tuple(tools), {}, False)))
    assert all(got is tool for got, tool in zip(llm.seen[0].given, tools, strict=True))
    assert llm.seen[0].kwargs["allow_parallel_tool_calls"] is False


async def test_other_tools_are_made_from_their_schemas():
    llm = Keeping("Yes.")
    await gathered(llm, ChatRequest(HELLO, tools=(WEATHER,)))
    (tool,) = llm.seen[0].given
    assert tool.metadata.to_openai_tool()["function"] == {
        "name": "weather",
        "description": "Of a city.",
        "parameters": WEATHER.parameters,
    }


@pytest.mark.parametrize(
    ("choice", "names", "required"),
    [
        ("", ["weather", "clock"], None),
        ("auto", ["weather", "clock"], None),
        ("required", ["weather", "clock"], True),
        ("clock", ["clock"], True),
    ],
)
async def test_a_choice_of_tools_is_told_in_words_that_every_integration_has(
    choice, names, required
):
    llm = Keeping("Yes.")
    specs = (WEATHER, ToolSpec("clock"))
    await gathered(llm, ChatRequest(HELLO, tools=specs, tool_choice=choice))
    assert [tool.metadata.name for tool in llm.seen[0].given] == names
    assert llm.seen[0].kwargs.get("tool_required") is required


class Strict(Keeping):
    """Knows text alone, and says so as integrations do."""

    async def achat(self, messages, **kwargs):
        if any(block.block_type != "text" for chat in messages for block in chat.blocks):
            raise ValueError("Unsupported content block type: ThinkingBlock")
        return await super().achat(messages, **kwargs)


@pytest.mark.skipif(not hasattr(types, "ThinkingBlock"), reason="core before 0.14 has no thinking")
async def test_a_model_that_does_not_know_anothers_blocks_is_asked_without_them():
    thought = types.ThinkingBlock(content="Hm.", additional_information={"signature": "x"})
    chats = [
        ChatMessage([thought, TextBlock(text="I see.")], role="assistant"),
        ChatMessage("So?"),
    ]
    llm = Strict("Yes.")
    with listening() as events:
        response = await RouterLLM(Router([as_chat_model(llm)])).achat(chats)
    assert response.message.content == "Yes."
    assert [block.block_type for block in llm.seen[0].given[0].blocks] == ["text"]
    assert [block.block_type for block in chats[0].blocks] == ["thinking", "text"]
    (told,) = events.named("DegradeEvent")
    assert "ThinkingBlock" in told.reason


async def test_any_other_value_error_is_raised():
    llm = Strict()
    chat = ChatMessage([ImageBlock(url="http://127.0.0.1/cat.png")])
    request = ChatRequest(NativeMessages([chat], lambda _: [], characters=0))
    with pytest.raises(ProviderError, match="Unsupported content block"):
        await Router([as_chat_model(llm)]).aanswer(request)


async def test_where_no_tool_may_be_called_it_is_told_of_none():
    llm = Keeping("Yes.")
    await gathered(llm, ChatRequest(HELLO, tools=(WEATHER,), tool_choice="none"))
    assert llm.seen[0].method == "achat"


async def test_a_schema_is_filled_in_as_a_tools_arguments():
    schema = {"title": "City", "type": "object", "properties": {"name": {"type": "string"}}}
    llm = Keeping([("call_1", "City", {"name": "Faro"})])
    found = await gathered(llm, ChatRequest(HELLO, schema=schema))
    assert (found.text, found.tool_calls, found.finish) == ('{"name": "Faro"}', (), "stop")
    assert llm.seen[0].kwargs["tool_required"] is True


async def test_a_model_without_tools_says_that_it_has_none():
    with pytest.raises(BadRequest, match=r"cannot call tools.*capabilities=Capabilities"):
        await gathered(MockLLM(), ChatRequest(HELLO, tools=(WEATHER,)))


# Where it runs


async def test_on_the_callers_loop_its_async_method_is_awaited_there():
    llm = Keeping("Yes.")
    await Router([as_chat_model(llm)]).aanswer(ChatRequest(HELLO))
    (seen,) = llm.seen
    assert (seen.method, seen.thread) == ("achat", threading.current_thread().name)


def test_on_the_portals_loop_its_blocking_method_has_a_thread():
    llm = Keeping("Yes.")
    Router([as_chat_model(llm)]).answer(ChatRequest(HELLO))
    assert (llm.seen[0].method, llm.seen[0].thread) == ("chat", "rag-memory-chat")


class Blocking(MockLLM):
    """Its `achat` is CustomLLM's, which would block the loop."""

    def complete(self, prompt, formatted=False, **kwargs):
        answer = super().complete(prompt, formatted, **kwargs)
        return answer.model_copy(update={"text": threading.current_thread().name})


async def test_a_model_whose_async_methods_block_has_a_thread_on_any_loop():
    assert issubclass(Blocking, CustomLLM)
    found = await gathered(Blocking(), ChatRequest(HELLO))
    assert found.text == "rag-memory-chat-0"


class Endless(MockLLM):
    """Says more until it is closed."""

    _said: list = PrivateAttr(default_factory=list)
    _closed: threading.Event = PrivateAttr(default_factory=threading.Event)
    _more: threading.Event = PrivateAttr(default_factory=threading.Event)

    def stream_chat(self, messages, **kwargs):
        def parts():
            try:
                while True:
                    message = ChatMessage("more", role="assistant")
                    yield ChatResponse(message=message, delta="more")
                    assert self._more.wait(10)
            finally:
                self._closed.set()

        return parts()


async def test_a_blocking_stream_that_is_closed_ends_in_its_thread_at_the_next_piece():
    llm = Endless()
    stream = as_chat_model(llm).astream(ChatRequest(HELLO, stream=True))
    assert (await anext(stream)).text == "more"
    await stream.aclose()
    llm._more.set()
    assert await asyncio.to_thread(llm._closed.wait, 10)


# What is read of its answers


def response(text="", delta=None, calls=(), **values):
    message = calling(*calls, text=text) if calls else ChatMessage(text, role="assistant")
    return ChatResponse(message=message, delta=delta, **values)


def read(*responses):
    reading, found = Reading(), Gathered()
    for each in responses:
        found.add(reading.read(each))
    found.add(reading.end())
    return found


def test_text_is_what_is_new_with_or_without_deltas():
    given = read(response("Hel", "Hel"), response("Hello", "lo"), response("Hello", ""))
    grown = read(response("Hel"), response("Hello"), response("Hello"))
    assert given.text == grown.text == "Hello"


def test_arguments_that_grow_as_text_are_handed_on_as_they_grow():
    reading = Reading()
    parts = ['{"ci', '{"city": "Fa', '{"city": "Faro"}']
    pieces = [
        reading.read(response(calls=[])) if not part else reading.read(partial(part))
        for part in parts
    ]
    assert [piece.tools[0].arguments for piece in pieces if piece.tools] == ['{"ci', 'ty": "Fa']
    assert reading.end().tools[0].arguments == 'ro"}'


def partial(arguments):
    from rag_memory_plugins.llama_index.blocks import plain
    from rag_memory_plugins.types import ToolCall

    call = ToolCall("call_1", "weather", arguments)
    return ChatResponse(message=plain(Message("assistant", "", tool_calls=(call,))), delta="")


def test_arguments_that_grow_as_a_dict_are_handed_on_at_the_end():
    found = read(
        response(calls=[("call_1", "weather", {})]),
        response(calls=[("call_1", "weather", {"city": "Fa"})]),
        response(calls=[("call_1", "weather", {"city": "Faro"})]),
    )
    (call,) = found.tool_calls
    assert (call.id, call.name, call.arguments) == ("call_1", "weather", '{"city": "Faro"}')


def test_calls_that_come_one_by_one_are_two():
    found = read(
        response(calls=[("a", "weather", {"city": "Faro"})]),
        response(calls=[("b", "weather", {"city": "Beja"})]),
    )
    assert [(call.id, call.arguments) for call in found.tool_calls] == [
        ("a", '{"city": "Faro"}'),
        ("b", '{"city": "Beja"}'),
    ]


def test_calls_without_ids_of_the_same_tool_are_two():
    message = ChatMessage(
        role="assistant",
        content="",
        additional_kwargs={
            "tool_calls": [
                {"function": {"name": "weather", "arguments": '{"city": "Faro"}'}},
                {"function": {"name": "weather", "arguments": '{"city": "Beja"}'}},
            ]
        },
    )
    found = read(ChatResponse(message=message))
    assert [call.arguments for call in found.tool_calls] == [
        '{"city": "Faro"}',
        '{"city": "Beja"}',
    ]
    assert len({call.id for call in found.tool_calls}) == 2


def chunk(reason):
    return SimpleNamespace(choices=[SimpleNamespace(finish_reason=reason)])


@pytest.mark.parametrize(
    ("raws", "finish"),
    [
        ([None, None], "stop"),
        ([{"usage": {}}], "stop"),
        ([chunk(None), chunk("length")], "length"),
        ([chunk(None), chunk("stop"), SimpleNamespace(choices=[])], "stop"),
        ([chunk(None), chunk(None)], ""),
        ([{"done": False}, {"done": True, "done_reason": "length"}], "length"),
        ([{"done": False}, {"done": True}], "stop"),
        ([{"done": False}], ""),
        ([{"stop_reason": "end_turn"}], "stop"),
        ([{"stop_reason": "tool_use"}], "tool_calls"),
    ],
)
def test_an_end_is_what_the_provider_says_and_a_missing_one_where_it_says_any_is_none(raws, finish):
    assert read(*[response("x", "x", raw=raw) for raw in raws]).finish == finish


def test_what_is_said_of_an_answer_without_a_raw_is_unknown():
    assert finish_of(response("x")) is None
    assert usage_of(response("x")) is None


@pytest.mark.parametrize(
    ("values", "usage"),
    [
        ({"raw": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}}, Usage(9, 2)),
        (
            {"raw": SimpleNamespace(usage=SimpleNamespace(input_tokens=9, output_tokens=2))},
            Usage(9, 2),
        ),
        ({"raw": {"prompt_eval_count": 9, "eval_count": 2}}, Usage(9, 2)),
        (
            {"raw": {"usage_metadata": {"prompt_token_count": 9, "candidates_token_count": 2}}},
            Usage(9, 2),
        ),
        ({"additional_kwargs": {"prompt_tokens": 9, "completion_tokens": 2}}, Usage(9, 2)),
        (
            {
                "raw": {
                    "usage": {
                        "prompt_tokens": 9,
                        "completion_tokens": 5,
                        "prompt_tokens_details": {"cached_tokens": 4},
                        "completion_tokens_details": {"reasoning_tokens": 3},
                    }
                }
            },
            Usage(9, 5, cached=4, reasoning=3),
        ),
        (
            {
                "raw": {
                    "usage": {"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": 20}
                }
            },
            Usage(29, 2, cached=20),
        ),
    ],
)
def test_tokens_are_read_where_integrations_put_them(values, usage):
    assert usage_of(response("x", **values)) == usage


def test_thinking_is_reasoning():
    thought = response("Yes.", "Yes.", additional_kwargs={"thinking_delta": "Hm."})
    assert (read(thought).reasoning, read(thought).text) == ("Hm.", "Yes.")


# What is known of it before


class Known(ScriptedLLM):
    @property
    def metadata(self):
        return LLMMetadata(context_window=16_000, is_function_calling_model=True, num_output=512)


def test_a_models_metadata_are_its_entrys():
    chat = as_chat_model(Known())
    assert isinstance(chat, StreamingChatModel)
    model = Model(chat)
    assert (model.window, chat.num_output) == (16_000, 512)
    assert model.capabilities == Capabilities(tools=True, schema=True)


def test_what_is_said_of_an_entry_goes_before_its_metadata():
    model = Model(as_chat_model(Known()), window=4_000, capabilities=Capabilities(vision=True))
    assert (model.window, model.capabilities.vision) == (4_000, True)


def test_a_default_window_is_no_knowledge():
    assert Model(as_chat_model(MockLLM())).window is None


def test_a_model_that_cannot_call_functions_has_no_tools():
    assert Model(as_chat_model(MockLLM())).capabilities == Capabilities(tools=False, schema=False)
