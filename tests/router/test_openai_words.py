"""Chat completions in words: a request as its body, chunks as pieces of an answer."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.chat import ChatRequest, Gathered, ToolSpec, Usage
from rag_memory_plugins.errors import ProviderError, ProviderLimited, ProviderUnavailable
from rag_memory_plugins.router.openai_words import Reading, body_of
from rag_memory_plugins.types import Image, Message, ToolCall

WEATHER = ToolSpec("weather", "Of a city", {"type": "object", "properties": {"city": {}}})
CLOSED = {
    "title": "A place",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def body(*messages, stream=False, usage=True, limit="max_tokens", strict=False, **values):
    request = ChatRequest(messages or (Message("user", "Hi"),), **values)
    return body_of(request, "m", stream=stream, usage=usage, limit=limit, strict=strict)


def test_every_role_becomes_its_message():
    call = ToolCall("call_1", "weather", '{"city": "Lisbon"}')
    said = body(
        Message("system", "Be short"),
        Message("user", "Where is it warm?", name="Ann Lee!"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "31 degrees", tool_call_id="call_1", name="weather"),
        Message("assistant", ""),
    )["messages"]
    function = {"name": "weather", "arguments": '{"city": "Lisbon"}'}
    assert said == [
        {"role": "system", "content": "Be short"},
        {"role": "user", "content": "Where is it warm?", "name": "Ann_Lee"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "31 degrees", "tool_call_id": "call_1"},
        {"role": "assistant", "content": ""},
    ]


def test_images_stand_beside_the_text():
    image = Image("data:image/png;base64,AA==", detail="low")
    (said,) = body(Message("user", "What is it?", images=(image,)))["messages"]
    assert said["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": image.url, "detail": "low"}},
    ]


def test_tools_and_the_choice_of_one():
    said = body(tools=(WEATHER,), tool_choice="weather")
    (tool,) = said["tools"]
    assert tool["function"]["parameters"] == WEATHER.parameters
    assert said["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body(tools=(WEATHER,), tool_choice="required")["tool_choice"] == "required"
    assert "tool_choice" not in body(tool_choice="none")
    assert body(tools=(ToolSpec("now"),))["tools"][0]["function"]["parameters"]["properties"] == {}


@pytest.mark.parametrize(
    ("schema", "strict", "held"),
    [
        (CLOSED, True, True),
        (CLOSED, False, False),
        ({**CLOSED, "required": []}, True, False),
        ({**CLOSED, "additionalProperties": True}, True, False),
        ({"type": "array", "items": {"type": "object"}}, True, False),
    ],
    ids=["closed", "not asked", "optional", "open", "open inside"],
)
def test_a_schema_is_held_to_the_letter_only_where_it_says_all(schema, strict, held):
    format_ = body(schema=schema, strict=strict)["response_format"]
    assert format_["type"] == "json_schema"
    assert format_["json_schema"]["schema"] == schema
    assert ("strict" in format_["json_schema"]) is held


def test_numbers_and_options_go_as_they_are_and_the_request_has_the_last_word():
    options = {"seed": 3, "top_k": 40, "model": "other", "stream": True, "temperature": 1.0}
    said = body(max_tokens=5, temperature=0.0, stop=("END",), options=options)
    assert said["max_tokens"] == 5
    assert said["stop"] == ["END"]
    assert (said["seed"], said["top_k"], said["temperature"]) == (3, 40, 0.0)
    assert (said["model"], said["stream"]) == ("m", False)
    assert body(max_tokens=5, limit="max_completion_tokens")["max_completion_tokens"] == 5


def test_a_stream_is_asked_for_its_usage():
    assert body(stream=True)["stream_options"] == {"include_usage": True}
    asked = {"stream_options": {"chunk_size": 5}}
    both = {"chunk_size": 5, "include_usage": True}
    assert body(stream=True, options=asked)["stream_options"] == both
    assert "stream_options" not in body(stream=True, usage=False, options=asked)
    assert "stream_options" not in body(options=asked)


def delta(finish=None, **values):
    return {"model": "m-1", "choices": [{"index": 0, "delta": values, "finish_reason": finish}]}


def read(*chunks):
    reading, gathered = Reading("big", stream=True), Gathered()
    pieces = [piece for chunk in chunks for piece in reading.read(chunk)]
    pieces += reading.end()
    for piece in pieces:
        gathered.add(piece)
    return gathered


def piece(index=None, call_id=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    found = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in found.items() if value is not None}


def calls(*chunks):
    gathered = read(*[delta(tool_calls=list(pieces)) for pieces in chunks], delta("stop"))
    assert gathered.finish == "tool_calls"
    return [(call.name, call.arguments) for call in gathered.tool_calls]


TWO = [("a", '{"x":1}'), ("b", '{"y":2}')]


@pytest.mark.parametrize(
    "chunks",
    [
        [
            [piece(0, "1", "a", '{"x"')],
            [piece(0, arguments=":1}")],
            [piece(1, "2", "b", '{"y"')],
            [piece(1, arguments=":2}")],
        ],
        [[piece(0, "1", "a", ""), piece(1, "2", "b", "")], [piece(0, arguments='{"x":1}')],
         [piece(1, arguments='{"y":2}')]],
        [[piece(None, "1", "a", '{"x"')], [piece(arguments=":1}")], [piece(None, "2", "b", '{"y":2}')]],
        [[piece(None, None, "a", '{"x":1}')], [piece(None, None, "b", '{"y"')], [piece(arguments=":2}")]],
        [[piece(0, "1", "a", '{"x":1}')], [piece(0, "2", "b", '{"y":2}')]],
        [[piece(None, "1", "a", '{"x"')], [piece(None, "1", None, ":1}")], [piece(None, "2", "b", '{"y":2}')]],
        [[piece(0, None, "a", '{"x":1}')], [piece(1, None, "b", '{"y":2}')]],
        [[piece(0, "1", "a", {"x": 1}), piece(1, "2", "b", {"y": 2})]],
    ],
    ids=["plain", "side by side", "no index", "no id", "one index", "id repeated", "index alone", "objects"],
)  # fmt: skip
def test_pieces_of_two_tool_calls_find_their_calls(chunks):
    found = [(name, arguments.replace(" ", "")) for name, arguments in calls(*chunks)]
    assert found == TWO


def test_a_tool_call_without_an_id_gets_one():
    gathered = read(delta(tool_calls=[piece(0, None, "a", "{}")]), delta("tool_calls"))
    assert gathered.tool_calls[0].id


@pytest.mark.parametrize(
    "values",
    [
        {"reasoning": "Hm"},
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
        {"reasoning_details": [{"text": "H"}, {"summary": "m"}, {"data": "secret"}, None]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    ],
    ids=["reasoning", "reasoning_content", "twice", "details", "parts"],
)
def test_reasoning_is_read_in_every_form_and_once(values):
    assert read(delta(**values), delta("stop")).reasoning == "Hm"


def test_text_in_parts_and_a_refusal_are_text():
    assert read(delta(content=[{"text": "a"}, {"text": "b"}]), delta("stop")).text == "ab"
    assert read(delta(refusal="I cannot"), delta("stop")).text == "I cannot"


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("stop", "stop"), ("eos", "stop"), ("end_turn", "stop"), ("length", "length"),
        ("MAX_TOKENS", "length"), ("tool_use", "tool_calls"), ("function_call", "tool_calls"),
        ("content_filter", "content_filter"), ("SAFETY", "content_filter"), ("odd", "odd"),
    ],
)  # fmt: skip
def test_finish_reasons_have_one_name_each(said, finish):
    assert read(delta(content="a"), delta(said)).finish == finish


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": USAGE},
        {"choices": None, "usage": USAGE},
        {"choices": [], "x_groq": {"usage": USAGE}},
        {**delta(), "usage": {**USAGE, "total_tokens": None}},
    ],
)
def test_usage_comes_with_the_last_piece(chunk):
    reading = Reading("big", stream=True)
    chunks = [delta(content="a"), delta("stop"), chunk]
    assert [p.text for chunk in chunks for p in reading.read(chunk)] == ["a"]
    (last,) = reading.end()
    assert last.usage == Usage(12, 3, 8, 2)
    assert (last.finish, last.model) == ("stop", "m-1")


def test_deepseeks_name_for_cached_tokens_is_read():
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_cache_hit_tokens": 5}
    assert read(delta("stop"), {"usage": usage}).usage.cached == 5


def test_an_answer_without_a_finish_reason_ends_without_one():
    assert read(delta(content="a")).finish == ""


def test_nothing_but_an_empty_list_is_no_answer():
    with pytest.raises(ProviderUnavailable, match="no choices"):
        read({"choices": []})


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"error": {"code": 502, "message": "gone"}}, ProviderUnavailable),
        ({"error": "gone"}, ProviderUnavailable),
        ({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, ProviderLimited),
        ({"object": "error", "message": "gone", "code": 500}, ProviderUnavailable),
        (delta("error", content="a"), ProviderUnavailable),
        ({"choices": [{"finish_reason": "error", "error": {"code": 429}}]}, ProviderLimited),
        ("<html>", ProviderUnavailable),
        ([1], ProviderUnavailable),
        (None, ProviderUnavailable),
    ],
)
def test_an_error_in_a_chunk_is_raised(chunk, kind):
    with pytest.raises(kind):
        read(chunk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta message index content tool_calls function name arguments id usage"
                " prompt_tokens finish_reason reasoning_details text model x_groq error".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=3))
def test_whatever_a_server_sends_is_an_answer_or_a_provider_error(chunks, choices):
    with contextlib.suppress(ProviderError):
        read(*[{"choices": [choice]} for choice in choices], *chunks)
