"""`OpenAIChat` through real HTTP: answers, faults, cancellation, loops and threads."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from rag_memory_plugins.chat import ChatRequest, Gathered, ToolSpec, Usage
from rag_memory_plugins.errors import (
    BadRequest,
    ContentFiltered,
    ContextOverflow,
    MissingExtra,
    ModelMissing,
    OutOfMemory,
    ProviderAuth,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.router.openai_protocol import OpenAIChat
from rag_memory_plugins.router.providers import groq, openrouter
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    OPENROUTER_COMMENT,
    PING_EVENT,
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Raw,
    Slow,
    Stall,
    half_tool_call,
    hang,
    html_page,
    redirect,
    unfinished,
)
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.types import Message, ToolCall

pytest.importorskip("openai")

HELLO = (Message("user", "Hello"),)
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module")
def shared():
    with FaultServer() as server:
        yield server


@pytest.fixture
def server(shared):
    shared.wait_for_connections(0)  # the test before closed what it opened
    return shared


@pytest.fixture
def opened(server):
    """`opened()`: a chat on the server, closed after the test."""
    made = []

    def make(**options):
        options = {"timeouts": Timeouts(connect=5, first=5, between=5, total=5), **options}
        made.append(OpenAIChat(server.openai_url, "small", provider="local", **options))
        return made[-1]

    yield make
    for chat in made:
        get_portal().call(chat.aclose())


async def gather(chat, **values):
    gathered = Gathered()
    async for piece in chat.astream(ChatRequest(HELLO, **values)):
        gathered.add(piece)
    return gathered


def ask(chat, **values):
    return asyncio.run(gather(chat, **values))


# Answers


@BOTH
def test_an_answer_has_its_text_its_reasoning_its_usage_and_its_end(server, opened, stream):
    server.script(Answer(("Ho", "la"), reasoning=("Hm", "m"), model="small-2026"))
    got = ask(opened(), stream=stream)
    assert (got.text, got.reasoning, got.finish, got.model) == ("Hola", "Hmm", "stop", "small-2026")
    assert got.usage == Usage(12, 3)
    assert server.chats[-1].stream is stream


@BOTH
def test_tool_calls_are_put_together_and_what_is_offered_arrives(server, opened, stream):
    calls = (ToolCall("1", "weather", '{"city":"Lisbon"}'), ToolCall("", "now", "{}"))
    server.script(Answer(tool_calls=calls))
    tools = (ToolSpec("weather"), ToolSpec("now"))
    got = ask(opened(), stream=stream, tools=tools, tool_choice="required")
    assert got.finish == "tool_calls"
    assert [(call.name, call.arguments) for call in got.tool_calls] == [
        (call.name, call.arguments) for call in calls
    ]
    assert all(call.id for call in got.tool_calls)
    request = server.chats[-1]
    assert [tool["function"]["name"] for tool in request.tools] == ["weather", "now"]
    assert request.body["tool_choice"] == "required"


def test_a_stream_comes_piece_by_piece_whatever_the_writes_and_comments(server, opened):
    noise = (OPENROUTER_COMMENT, ": ping", PING_EVENT.replace("{}", '{"choices": []}'))
    server.script(Answer(("Grüße", " 👋"), keepalives=noise, write_bytes=7))
    got = ask(opened(), stream=True)
    assert (got.text, got.finish) == ("Grüße 👋", "stop")


def test_an_answer_is_streamed_inside_where_the_chat_always_does(server, opened):
    server.script(Answer(("a", "b")))
    got = ask(opened(always_streams=True))
    assert (got.text, got.finish, got.usage) == ("ab", "stop", Usage(12, 3))
    assert server.chats[-1].stream


def test_a_server_that_does_not_stream_when_asked_is_understood(server, opened):
    body = b'{"choices": [{"message": {"content": "Hola"}, "finish_reason": "stop"}]}'
    server.script(Raw(200, body, "application/json"))
    got = ask(opened(), stream=True)
    assert (got.text, got.finish) == ("Hola", "stop")


def test_options_reach_the_server_as_they_are(server, opened):
    ask(opened(), options={"seed": 3, "provider": {"sort": "price"}}, max_tokens=9)
    body = server.chats[-1].body
    assert (body["seed"], body["provider"], body["max_tokens"]) == (3, {"sort": "price"}, 9)


def test_it_is_a_plain_chat_model_too_with_a_sync_way_through_the_portal(server, opened):
    chat = opened()
    assert isinstance(chat, ChatModel)
    server.script(Answer(("Hola",)))
    answer = get_portal().call(chat.achat(HELLO, max_tokens=7))
    assert (answer.role, answer.content) == ("assistant", "Hola")
    assert server.chats[-1].body["max_tokens"] == 7


def test_a_plain_chat_does_not_take_half_an_answer_for_a_whole_one(server, opened):
    server.script(unfinished("Hel"))
    with pytest.raises(ProviderUnavailable, match="cut off"):
        get_portal().call(opened(always_streams=True).achat(HELLO))


def test_a_field_is_left_out_even_if_the_refusal_names_it_late(server, opened):
    server.script(refusals.bad_request(f"{'x' * 1_000} stream_options"))
    assert ask(opened(), stream=True).text == "Hello there."


def test_fields_that_a_server_does_not_take_are_left_out_from_then_on(server, opened):
    chat = opened()
    server.script(refusals.bad_request("Unrecognized request argument: stream_options"))
    before = len(server.chats)
    assert ask(chat, stream=True).text == "Hello there."
    ask(chat, stream=True)
    sent = ["stream_options" in request.body for request in server.chats[before:]]
    assert sent == [True, False, False]


def test_a_server_that_takes_a_field_neither_way_is_not_asked_for_ever(server, opened):
    text = "Unsupported parameter: use max_completion_tokens, not max_tokens"
    server.script(*[refusals.bad_request(text)] * 3)
    before = len(server.chats)
    with pytest.raises(BadRequest):
        ask(opened(), options={"max_tokens": 5})
    assert len(server.chats) == before + 3


def test_requests_that_are_under_way_when_a_field_is_refused_all_succeed(server, opened):
    chat = opened()

    def refuse(request):
        if "stream_options" in request.body:
            return refusals.bad_request("stream_options: extra fields not permitted")
        return Answer()

    async def run():
        return await asyncio.gather(*(gather(chat, stream=True) for _ in range(8)))

    server.reply = refuse
    try:
        assert [got.text for got in asyncio.run(run())] == ["Hello there."] * 8
    finally:
        server.reply = Answer()


def test_the_newer_name_of_max_tokens_is_used_once_the_server_asks_for_it(server, opened):
    chat = opened()
    text = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.script(refusals.bad_request(text))
    before = len(server.chats)
    ask(chat, max_tokens=5)
    ask(chat, max_tokens=5)
    sent = ["max_completion_tokens" in request.body for request in server.chats[before:]]
    assert sent == [False, True, True]


def test_openais_own_newer_models_are_asked_by_the_newer_name_at_once():
    url = "https://api.openai.com/v1"
    names = {name: OpenAIChat(url, name)._limit for name in ("gpt-5", "o3-mini", "gpt-4o")}
    assert names == {
        "gpt-5": "max_completion_tokens",
        "o3-mini": "max_completion_tokens",
        "gpt-4o": "max_tokens",
    }
    assert OpenAIChat("https://openrouter.ai/api/v1", "o3")._limit == "max_tokens"


# Faults


@BOTH
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusals.rate_limited(retry_after=2.5), ProviderLimited),
        (refusals.out_of_credit(), ProviderLimited),
        (refusals.unauthorized(), ProviderAuth),
        (refusals.forbidden(), ProviderAuth),
        (refusals.model_missing(), ModelMissing),
        (refusals.bad_request(), BadRequest),
        (refusals.context_exceeded(), ContextOverflow),
        (refusals.too_large(), ContextOverflow),
        (refusals.too_large(status=429), ContextOverflow),
        (refusals.content_filtered(), ContentFiltered),
        (refusals.content_filtered(status=403), ContentFiltered),
        (refusals.server_error(), ProviderUnavailable),
        (refusals.server_error(502), ProviderUnavailable),
        (refusals.overloaded(529), ProviderUnavailable),
        (refusals.out_of_memory(), OutOfMemory),
        (NoChoices(), ProviderUnavailable),
        (html_page(), ProviderUnavailable),
        (html_page(503), ProviderUnavailable),
        (Raw(200, b"", "application/json"), ProviderUnavailable),
        (Raw(200, b"null", "application/json"), ProviderUnavailable),
        (Raw(204), ProviderUnavailable),
        (redirect("http://192.0.2.1/v1/chat/completions"), ProviderUnavailable),
        (Answer(finish="error"), ProviderUnavailable),
        (ErrorEvent(after=0), ProviderUnavailable),
        (ErrorEvent(after="role", form="openrouter"), ProviderUnavailable),
        (ErrorEvent(form="vllm"), ProviderUnavailable),
        (ErrorEvent(code=429, message="slow down"), ProviderLimited),
        (Garbage(), ProviderUnavailable),
        (Cut("request"), ProviderUnavailable),
        (Cut("headers"), ProviderUnavailable),
        (Cut(1), ProviderUnavailable),
        (Cut(1, reset=True), ProviderUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_one_of_ours_and_is_not_asked_again(server, opened, reply, kind, stream):
    before = len(server.chats)
    server.script(reply)
    with pytest.raises(kind) as caught:
        ask(opened(), stream=stream)
    assert type(caught.value) is kind
    assert "local/small" in str(caught.value)
    assert getattr(caught.value, "connected", True)
    assert len(server.chats) == before + 1


def test_what_came_before_a_fault_was_handed_over(server, opened):
    for reply in (Cut(2), ErrorEvent(2), Garbage(2)):
        server.script(reply)
        gathered = Gathered()

        async def read(gathered=gathered):
            async for piece in opened().astream(ChatRequest(HELLO, stream=True)):
                gathered.add(piece)

        with pytest.raises(ProviderUnavailable):
            asyncio.run(read())
        assert (gathered.text, gathered.finish) == ("Hello there", "")


def test_a_stream_that_just_ends_has_no_finish(server, opened):
    server.script(unfinished("Hel"), half_tool_call())
    got = ask(opened(), stream=True)
    assert (got.text, got.finish) == ("Hel", "")
    assert ask(opened(), stream=True).finish == ""


def test_half_a_tool_call_is_seen_in_what_was_gathered(server, opened):
    server.script(half_tool_call(finished=True))
    assert ask(opened(), stream=True).broken_call == "weather"


def test_an_answer_that_was_done_is_whole_even_if_its_usage_is_lost(server, opened):
    head = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    server.script(Raw(200, head + b"data: {broken\n\n", "text/event-stream"))
    got = ask(opened(), stream=True)
    assert (got.text, got.finish, got.usage) == ("Hi", "stop", None)


@pytest.mark.parametrize(
    ("reply", "stream", "stage"),
    [
        (hang(), True, "first"),
        (Stall("role"), True, "first"),
        (Stall(1), True, "between"),
        (hang(), False, "total"),
        (Stall(1), False, "total"),
    ],
    ids=["hang", "stall before", "stall after", "hang whole", "stall whole"],
)
def test_a_time_out_names_its_stage_and_closes_the_connection(server, opened, reply, stream, stage):
    before = len(server.chats)
    server.script(reply)
    chat = opened(timeouts=Timeouts(connect=5, first=0.2, between=0.2, total=0.2))
    with pytest.raises(ProviderTimeout) as caught:
        ask(chat, stream=stream)
    assert caught.value.stage == stage
    assert server.wait_for(before + 1, path="/v1")[-1].closed_by_client.wait(5)


def test_where_nobody_listens_it_says_so():
    chat = OpenAIChat("http://127.0.0.1:9/v1", "small")  # the port of `discard`
    with pytest.raises(ProviderUnavailable) as caught:
        ask(chat)
    assert not caught.value.connected
    get_portal().call(chat.aclose())


def test_without_a_key_nothing_is_sent(server, monkeypatch):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    before = len(server.requests)
    with pytest.raises(ProviderAuth, match="set GROQ_API_KEY"):
        ask(groq("m", base_url=server.openai_url).chat)
    assert len(server.requests) == before


def test_a_missing_library_names_its_extra(server, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[openai\]"):
        ask(opened())


# What is sent along


def closing(model):
    get_portal().call(model.chat.aclose())


def test_presets_send_their_key_and_openrouter_the_names_you_give(server, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "from the environment")
    fast = groq("m", base_url=server.openai_url)
    ask(fast.chat)
    sent = server.chats[-1]
    assert sent.headers["authorization"] == "Bearer from the environment"
    assert sent.stream
    closing(fast)
    big = openrouter("m", "mine", app="Demo", site="https://d.example", base_url=server.openai_url)
    ask(big.chat)
    sent = server.chats[-1].headers
    assert (sent["authorization"], sent["x-title"]) == ("Bearer mine", "Demo")
    assert sent["http-referer"] == "https://d.example"
    closing(big)


def test_what_the_environment_holds_for_openai_goes_to_nobody_else(server, opened, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    monkeypatch.setenv("OPENAI_ORG_ID", "secret-2")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "secret-3")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: secret-4\nAuthorization: secret-5")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1/v1")
    assert ask(opened()).text == "Hello there."
    assert "secret" not in str(server.chats[-1].headers)
    assert "authorization" not in server.chats[-1].headers


def test_a_name_and_password_in_the_url_are_sent_as_such(server):
    url = server.openai_url.replace("http://", "http://ann:mine@")
    chat = OpenAIChat(url, "small")
    ask(chat)
    assert server.chats[-1].headers["authorization"].startswith("Basic ")
    get_portal().call(chat.aclose())


def test_proxies_of_the_environment_are_not_asked_for_this_machine(server, opened, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask(opened()).text == "Hello there."


def test_tokens_left_are_known_until_the_limit_is_whole_again(server, opened):
    now = [100.0]
    chat = opened(clock=lambda: now[0])
    assert chat.tokens_left is None
    headers = {"x-ratelimit-remaining-tokens": "90", "x-ratelimit-reset-tokens": "7.5s"}
    server.script(Answer(headers=headers), refusals.rate_limited(reset_tokens="3s"), Answer())
    ask(chat, stream=True)
    assert chat.tokens_left == 90
    now[0] = 107.4
    assert chat.tokens_left == 90
    now[0] = 107.6
    assert chat.tokens_left is None
    with pytest.raises(ProviderLimited) as caught:
        ask(chat)
    assert caught.value.retry_after == 3.0
    assert chat.tokens_left == 0
    ask(chat)
    assert chat.tokens_left == 0  # an answer that says nothing changes nothing


# Ends


def portal_tasks():
    """Tasks of the portal that are there to stay: of a generator left early one ends it at once."""

    async def late():
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        late = (await asyncio.wait(tasks, timeout=5))[1] if tasks else ()
        return [repr(task) for task in late]

    return get_portal().call(late())


@pytest.mark.parametrize("reply", [hang(), Stall("headers"), Stall("role"), Stall(1)], ids=str)
@BOTH
async def test_cancelling_closes_the_connection_at_once(server, opened, reply, stream):
    server.script(reply)
    count = len(server.chats)
    task = asyncio.create_task(gather(opened(), stream=stream))
    (*_, request) = await server.await_for(count + 1, path="/v1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(request.closed_by_client.wait, 5)
    await server.await_for_connections(0)
    assert await asyncio.to_thread(portal_tasks) == []


async def test_closing_a_stream_early_closes_the_connection(server, opened):
    server.script(Slow((1,)))
    pieces = opened().astream(ChatRequest(HELLO, stream=True))
    assert (await anext(pieces)).text == "Hello"
    await pieces.aclose()
    assert await asyncio.to_thread(server.chats[-1].closed_by_client.wait, 5)
    await server.await_for_connections(0)


async def test_closing_a_stream_that_was_read_whole_keeps_the_connection_for_the_next(
    server, opened
):
    chat = opened()
    for _ in range(3):
        await gather(chat, stream=True)
        await gather(chat)
    await server.await_for_connections(1)


async def test_one_cancelled_answer_leaves_the_others_alone(server, opened):
    chat = opened()
    server.script(Stall(1), Slow((1,)))
    count = len(server.chats)
    first = asyncio.create_task(gather(chat, stream=True))
    await server.await_for(count + 1, path="/v1")
    second = asyncio.create_task(gather(chat, stream=True))
    (*_, request) = await server.await_for(count + 2, path="/v1")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    request.release()
    assert (await second).text == "Hello there."


def test_a_stream_read_on_the_portal_itself_is_closed_there(server, opened):
    server.script(Slow((1,)))
    chat = opened()

    async def read():
        pieces = chat.astream(ChatRequest(HELLO, stream=True))
        first = await anext(pieces)
        await pieces.aclose()
        return first.text

    assert get_portal().call(read()) == "Hello"
    assert server.chats[-1].closed_by_client.wait(5)


def test_two_loops_and_many_threads_share_one_chat(server, opened):
    chat = opened()
    both = threading.Barrier(4)
    texts = []

    def work():
        async def run():
            both.wait()
            return await asyncio.gather(*(gather(chat, stream=n % 2 == 0) for n in range(5)))

        texts.extend(got.text for got in asyncio.run(run()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Hello there."] * 20
    assert portal_tasks() == []


async def test_a_closed_chat_opens_again_when_it_is_asked(server, opened):
    chat = opened()
    assert (await gather(chat)).text == "Hello there."
    await chat.aclose()
    await chat.aclose()
    await server.await_for_connections(0)
    assert (await gather(chat)).text == "Hello there."
