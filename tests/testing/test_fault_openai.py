"""OpenAI's protocol, as OpenAI's own client and httpx read it."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

from rag_memory_plugins.testing.fault_replies import (
    OPENROUTER_COMMENT,
    PING_COMMENT,
    PING_EVENT,
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Slow,
    Stall,
    half_tool_call,
    html_page,
    redirect,
    slow_first_byte,
    unfinished,
)
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.types import ToolCall
from tests.testing.chats import OPENAI, chat, collect, lines

PARIS = ToolCall("call_7", "weather", '{"city": "Paris"}')


async def chunks(sdk: openai.AsyncOpenAI, **more) -> list:
    return [chunk async for chunk in await sdk.chat.completions.create(**chat(stream=True, **more))]


async def test_an_answer_in_one_piece_is_read_by_the_sdk(server, sdk) -> None:
    server.script(Answer(("All", " good"), usage=(20, 2), model="small-2026"))
    answer = await sdk.chat.completions.create(**chat())
    assert answer.choices[0].message.content == "All good"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (20, 22)
    assert answer.model == "small-2026"


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason(sdk) -> None:
    first, *middle, last = await chunks(sdk)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.content for chunk in middle] == ["Hello", " there", "."]
    assert last.choices[0].finish_reason == "stop"


async def test_a_stream_tells_its_usage_where_it_is_asked_for(sdk) -> None:
    *rest, last = await chunks(sdk, stream_options={"include_usage": True})
    assert (last.choices, last.usage.prompt_tokens, last.usage.completion_tokens) == ([], 12, 3)
    assert {chunk.usage for chunk in rest} == {None}


async def test_a_stream_ends_with_done(client) -> None:
    assert [line async for line in lines(client, OPENAI)][-1] == "data: [DONE]"


async def test_a_tool_call_is_read_whole(server, sdk) -> None:
    server.script(Answer(tool_calls=(PARIS,)))
    choice = (await sdk.chat.completions.create(**chat())).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls[0].id == "call_7"
    assert choice.message.tool_calls[0].function.arguments == PARIS.arguments


async def test_streamed_tool_calls_come_in_pieces_by_their_index(server, sdk) -> None:
    server.script(Answer(tool_calls=(PARIS, ToolCall("call_8", "time", "{}"))))
    deltas = [
        call for chunk in await chunks(sdk) for call in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [call.index for call in deltas] == [0, 0, 0, 1, 1, 1]
    assert [call.id for call in deltas if call.id] == ["call_7", "call_8"]
    assert "".join(call.function.arguments for call in deltas[:3]) == PARIS.arguments


async def test_a_tool_call_may_have_no_id(server, sdk) -> None:
    server.script(Answer(tool_calls=(ToolCall("", "time", "{}"),)))
    deltas = [chunk.choices[0].delta.tool_calls for chunk in await chunks(sdk)]
    assert [call[0].id for call in deltas if call] == [None, None, None]


@pytest.mark.parametrize("finished", [True, False])
async def test_half_a_tool_call_ends_as_it_was_told_to(server, sdk, finished: bool) -> None:
    server.script(half_tool_call(finished=finished))
    got = [chunk.choices[0] for chunk in await chunks(sdk)]
    calls = [call for choice in got for call in choice.delta.tool_calls or ()]
    assert "".join(call.function.arguments for call in calls) == '{"city": "Lis'
    assert got[-1].finish_reason == ("tool_calls" if finished else None)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_comes_first_under_its_providers_name(server, client, field: str) -> None:
    server.script(Answer("yes", reasoning=("hm", "m"), reasoning_field=field))
    got = [json.loads(line[6:])["choices"][0]["delta"] async for line in events(client)]
    assert got[1:4] == [{field: "hm"}, {field: "m"}, {"content": "yes"}]


async def events(client: httpx.AsyncClient):
    async for line in lines(client, OPENAI):
        if line != "data: [DONE]":
            yield line


async def test_keep_alive_comments_and_pings_stand_before_every_chunk(server, client) -> None:
    server.script(Answer("x", keepalives=(OPENROUTER_COMMENT, PING_COMMENT, PING_EVENT)))
    got = [line async for line in lines(client, OPENAI)]
    assert got[:4] == [OPENROUTER_COMMENT, PING_COMMENT, "event: ping", "data: {}"]
    assert got.count(OPENROUTER_COMMENT) == 4


async def test_keep_alive_comments_do_not_disturb_the_sdk(server, sdk) -> None:
    server.script(Answer("x", keepalives=(OPENROUTER_COMMENT,)))
    assert len(await chunks(sdk)) == 3


async def test_writes_may_cut_characters_in_two(server, sdk) -> None:
    server.script(Answer(("Grüße, ", "世界"), write_bytes=1))
    got = await chunks(sdk)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == "Grüße, 世界"


async def test_a_slow_first_byte_comes_after_its_headers(server, client) -> None:
    server.script(slow_first_byte())
    async with client.stream("POST", OPENAI, json=chat(stream=True)) as response:
        assert response.status_code == 200
        server.release()
        assert (await response.aread()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_before_the_headers_is_a_broken_connection(
    server, client, stream: bool, reset: bool
) -> None:
    server.script(Cut("request", reset=reset))
    error = httpx.ReadError if reset else httpx.RemoteProtocolError
    with pytest.raises(error):
        await client.post(OPENAI, json=chat(stream=stream))


@pytest.mark.parametrize(
    ("after", "texts"), [("headers", []), ("role", [""]), (1, ["", "Hello"]), (9, None)]
)
async def test_a_stream_that_is_closed_gives_what_was_sent_and_an_error(
    server, client, after, texts
) -> None:
    server.script(Cut(after))
    got: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await collect(client, OPENAI, got)
    assert got == (["", "Hello", " there", "."] if texts is None else texts)


@pytest.mark.parametrize(("after", "texts"), [("headers", []), (1, ["", "Hello"])])
async def test_a_stream_that_is_reset_gives_what_was_sent_and_an_error(
    server, client, after, texts
) -> None:
    server.script(Cut(after, reset=True))
    got: list[str] = []
    with pytest.raises(httpx.ReadError):
        await collect(client, OPENAI, got)
    assert got == texts


async def test_a_cut_stream_is_a_connection_error_to_the_sdk(server, sdk) -> None:
    server.script(Cut(1))
    with pytest.raises(openai.APIConnectionError):
        await chunks(sdk)


async def test_an_answer_in_one_piece_is_cut_in_its_body(server, client) -> None:
    server.script(Cut(1))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await client.post(OPENAI, json=chat())


async def test_an_unfinished_stream_looks_whole_to_the_sdk(server, sdk) -> None:
    server.script(unfinished("Half", " an"))
    got = await chunks(sdk)
    assert [chunk.choices[0].finish_reason for chunk in got] == [None, None, None]


async def test_a_stalled_stream_sends_pings_and_nothing_else(server, client) -> None:
    server.script(Stall("role", ping_seconds=0.001))
    got = []
    async for line in lines(client, OPENAI):
        got.append(line)
        if len(got) == 4:
            break
    assert got[1:] == [PING_COMMENT] * 3


async def test_an_error_event_of_openrouter_is_raised_by_the_sdk(server, sdk) -> None:
    server.script(ErrorEvent(form="openrouter", message="upstream is gone"))
    with pytest.raises(openai.APIError, match="upstream is gone") as raised:
        await chunks(sdk)
    assert raised.value.code == "502"


async def test_an_error_event_of_openrouter_has_choices_that_finish_by_error(
    server, client
) -> None:
    server.script(ErrorEvent("headers", form="openrouter"))
    (event,) = [json.loads(line[6:]) async for line in lines(client, OPENAI)]
    assert event["error"] == {"code": 502, "message": "Provider disconnected unexpectedly"}
    assert event["choices"][0]["finish_reason"] == "error"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("plain", {"error": {"code": 502, "message": "gone"}}),
        ("vllm", {"object": "error", "message": "gone", "code": 502}),
    ],
)
async def test_an_error_event_ends_the_stream(server, client, form, expected) -> None:
    server.script(ErrorEvent(1, "gone", form=form))
    got = [json.loads(line[6:]) async for line in lines(client, OPENAI)]
    assert len(got) == 3
    assert got[-1] == expected


async def test_an_error_of_an_answer_in_one_piece_has_status_200(server, client) -> None:
    server.script(ErrorEvent())
    response = await client.post(OPENAI, json=chat())
    assert response.status_code == 200
    assert response.json()["error"]["code"] == 502


async def test_an_event_that_is_no_json_fails_in_the_sdk(server, sdk) -> None:
    server.script(Garbage())
    with pytest.raises(json.JSONDecodeError):
        await chunks(sdk)


async def test_after_an_event_that_is_no_json_the_stream_goes_on(server, client) -> None:
    server.script(Garbage(0, "{oops"))
    got = [line async for line in lines(client, OPENAI)]
    assert got[1] == "data: {oops"
    assert got[-1] == "data: [DONE]"


async def test_an_empty_answer_has_no_choices(server, sdk) -> None:
    server.script(NoChoices(), NoChoices())
    assert (await sdk.chat.completions.create(**chat())).choices == []
    assert await chunks(sdk) == []


async def test_an_answer_may_finish_by_its_content_filter(server, sdk) -> None:
    server.script(Answer("", finish="content_filter"))
    assert (await chunks(sdk))[-1].choices[0].finish_reason == "content_filter"


async def test_a_page_of_a_proxy_is_html_with_status_200(server, client) -> None:
    server.script(html_page())
    response = await client.post(OPENAI, json=chat())
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


async def test_a_redirect_names_its_place(server, client) -> None:
    server.script(redirect("http://127.0.0.1:9/v1/chat/completions"))
    response = await client.post(OPENAI, json=chat())
    assert (response.status_code, response.has_redirect_location) == (307, True)


async def test_headers_of_a_good_answer_are_sent(server, client) -> None:
    server.script(Answer(headers={"x-ratelimit-remaining-tokens": "17"}))
    response = await client.post(OPENAI, json=chat())
    assert response.headers["x-ratelimit-remaining-tokens"] == "17"


async def test_faults_may_stand_around_each_other(server, client) -> None:
    server.script(Slow(("role",), Cut(1)))
    got: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        await collect(client, OPENAI, got, then=server.release)
    assert got == ["", "Hello"]


async def test_models_are_listed(server, sdk) -> None:
    server.models = [Installed("small"), Installed("large")]
    assert [model.id async for model in sdk.models.list()] == ["small", "large"]
