"""`ollama()` through real HTTP: what is sent, what comes back, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta, Gathered, ToolSpec
from rag_memory_plugins.errors import (
    AnswerRejected,
    BadRequest,
    ContextOverflow,
    InvalidInput,
    MissingExtra,
    ModelMissing,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.router.models import HealthChecked, StreamingChatModel, Timeouts
from rag_memory_plugins.router.ollama_chat import OllamaChat
from rag_memory_plugins.router.ollama_http import base_url, is_loopback
from rag_memory_plugins.router.providers import ollama
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Raw,
    Refusal,
    Slow,
    Stall,
    half_tool_call,
    hang,
    html_page,
    redirect,
    unfinished,
)
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.types import Image, Message, ToolCall
from tests.router.ollama_server import Q4, Asked, ask, serving

WEATHER = ToolSpec("weather", "Of a city", {"type": "object", "properties": {"city": {}}})
TIME = ToolSpec("time", "Of a city", {"type": "object", "properties": {}})
CALL = ToolCall("call_1", "weather", '{"city": "Lisbon"}')
SOON = {"first": Timeouts(first=0.2), "between": Timeouts(between=0.2)}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(Q4) as server:
        yield server


@pytest.fixture
def asked(server: FaultServer) -> Asked:
    return Asked(server)


def gathered(pieces: list[Delta]) -> Gathered:
    joined = Gathered()
    for piece in pieces:
        joined.add(piece)
    return joined


async def body(asked: Asked, server: FaultServer, request: ChatRequest) -> dict[str, Any]:
    await asked.pieces(request)
    return dict(server.chats[-1].body)


def test_it_is_what_a_router_takes() -> None:
    model = ollama("llama3.1:8b", "127.0.0.1:11434", window=8_192)
    assert isinstance(model.chat, StreamingChatModel)
    assert isinstance(model.chat, HealthChecked)
    assert (model.name, model.provider, model.model) == (
        "ollama/llama3.1:8b",
        "ollama",
        "llama3.1:8b",
    )
    assert (model.local, model.window) == (True, 8_192)


async def test_an_answer_comes_in_pieces_with_its_usage_and_the_variant(asked: Asked) -> None:
    pieces = await asked.pieces()
    assert [piece.text for piece in pieces] == ["Hello", " there", ".", ""]
    end = pieces[-1]
    assert (end.finish, end.model) == ("stop", "llama3.1:8b-instruct-q4_0")
    assert end.usage is not None
    assert (end.usage.input, end.usage.output, end.usage.exact) == (12, 3, True)


async def test_achat_gives_the_whole_message(asked: Asked) -> None:
    assert (await asked.chat.achat([Message("user", "Hello")])).content == "Hello there."


async def test_an_answer_without_a_word_is_rejected_by_achat(
    server: FaultServer, asked: Asked
) -> None:
    server.script(NoChoices())
    with pytest.raises(AnswerRejected, match="without a word"):
        await asked.chat.achat([Message("user", "Hello")])


async def test_thoughts_are_reasoning(server: FaultServer, asked: Asked) -> None:
    server.script(Answer("Yes.", reasoning=("Let me", " think")))
    joined = gathered(await asked.pieces())
    assert (joined.reasoning, joined.text) == ("Let me think", "Yes.")


async def test_a_tool_call_comes_whole_and_ends_as_one(server: FaultServer, asked: Asked) -> None:
    server.script(Answer(tool_calls=(CALL,)))
    joined = gathered(await asked.pieces(ask(tools=(WEATHER,))))
    assert joined.tool_calls == (CALL,)
    assert joined.finish == "tool_calls"


async def test_calls_without_an_id_get_one_each(server: FaultServer, asked: Asked) -> None:
    server.script(Answer(tool_calls=(ToolCall("", "weather"), ToolCall("", "weather"))))
    calls = gathered(await asked.pieces(ask(tools=(WEATHER,)))).tool_calls
    assert len({call.id for call in calls}) == 2


async def test_calls_of_an_older_server_without_an_id_and_with_text_are_read(
    server: FaultServer, asked: Asked
) -> None:
    call = {"function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
    lines = [{"message": {"content": "", "tool_calls": [call]}}, {"done": True}]
    server.script(Raw(200, "\n".join(map(json.dumps, lines)).encode()))
    joined = gathered(await asked.pieces(ask(tools=(WEATHER,))))
    assert joined.tool_calls[0].arguments == '{"city": "Lisbon"}'
    assert (joined.finish, joined.broken_call) == ("tool_calls", "")


async def test_an_answer_that_was_cut_short_says_length(server: FaultServer, asked: Asked) -> None:
    server.script(Answer("Yes", finish="length"))
    assert gathered(await asked.pieces()).finish == "length"


async def test_a_count_that_is_missing_is_said_to_be_a_guess(
    server: FaultServer, asked: Asked
) -> None:
    server.script(Answer("Yes", usage=None))
    usage = gathered(await asked.pieces("Hello " * 100)).usage
    assert usage is not None
    assert (usage.exact, usage.input > 0) == (False, True)


async def test_a_text_with_any_separator_stays_whole(server: FaultServer, asked: Asked) -> None:
    said = "one\x85two\u2028three\x0cfour\r\n"
    server.script(Answer(said, write_bytes=7))
    assert gathered(await asked.pieces()).text == said


async def test_settings_stand_where_ollama_reads_them(server: FaultServer, asked: Asked) -> None:
    request = ask(
        "Hello",
        max_tokens=50,
        temperature=0.0,
        stop=("END",),
        schema={"type": "object"},
        options={"seed": 7, "think": True, "keep_alive": "10m"},
    )
    sent = await body(asked, server, request)
    assert sent["options"] == {
        "num_ctx": 4_096, "num_predict": 50, "temperature": 0.0, "stop": ["END"], "seed": 7,
    }  # fmt: skip
    assert (sent["think"], sent["keep_alive"]) == (True, "10m")
    assert (sent["format"], sent["stream"]) == ({"type": "object"}, True)


async def test_options_of_a_request_win_over_those_of_the_model(server: FaultServer) -> None:
    asked = Asked(server, options={"seed": 1, "top_k": 5})
    sent = await body(asked, server, ask(options={"seed": 2}))
    assert (sent["options"]["seed"], sent["options"]["top_k"]) == (2, 5)


async def test_a_chat_with_tools_is_sent_as_ollama_reads_it(
    server: FaultServer, asked: Asked
) -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "Sunny", tool_call_id="call_1"),
    )
    sent = await body(asked, server, ChatRequest(messages, tools=(WEATHER,)))
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Lisbon"}}}
            ],
        },
        {"role": "tool", "content": "Sunny", "tool_call_id": "call_1", "tool_name": "weather"},
    ]
    function = sent["tools"][0]["function"]
    assert (function["name"], function["parameters"]) == ("weather", dict(WEATHER.parameters))


async def test_arguments_that_are_no_object_are_refused_before_they_are_sent(
    server: FaultServer, asked: Asked
) -> None:
    call = ToolCall("call_1", "weather", '{"city": "Lis')
    messages = (Message("assistant", "", tool_calls=(call,)), Message("user", "Go on"))
    with pytest.raises(BadRequest, match=r"'weather'.*JSON object"):
        await asked.pieces(ChatRequest(messages))
    assert server.chats == []


async def test_an_image_is_sent_as_base64(server: FaultServer, asked: Asked) -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    images = (Image(f"data:image/png;base64,{data}"), Image("data:image/svg+xml,%3Csvg%2F%3E"))
    sent = await body(asked, server, ChatRequest((Message("user", "What?", images=images),)))
    assert sent["messages"][0]["images"] == [data, base64.b64encode(b"<svg/>").decode()]


@pytest.mark.parametrize("url", ["https://example.invalid/a.png", "data:image/png;base64,%%%"])
async def test_an_image_is_never_fetched(server: FaultServer, asked: Asked, url: str) -> None:
    request = ChatRequest((Message("user", "What?", images=(Image(url),)),))
    with pytest.raises(BadRequest, match=r"messages\.images"):
        await asked.pieces(request)
    assert server.chats == []


async def test_no_tool_is_offered_where_none_may_be_called(
    server: FaultServer, asked: Asked
) -> None:
    assert "tools" not in await body(asked, server, ask(tools=(WEATHER,), tool_choice="none"))


async def test_a_named_tool_is_offered_alone(server: FaultServer, asked: Asked) -> None:
    server.script(Answer(tool_calls=(CALL,)))
    sent = await body(asked, server, ask(tools=(WEATHER, TIME), tool_choice="weather"))
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather"]


async def test_an_answer_that_called_no_tool_though_it_had_to_is_rejected_without_a_piece(
    asked: Asked,
) -> None:
    stream = asked.chat.astream(ask(tools=(WEATHER,), tool_choice="required"))
    with pytest.raises(AnswerRejected, match="no tool was called"):
        await anext(stream)


async def test_what_was_said_before_a_required_call_is_given_with_it(
    server: FaultServer, asked: Asked
) -> None:
    server.script(Answer("I look.", tool_calls=(CALL,)))
    joined = gathered(await asked.pieces(ask(tools=(WEATHER,), tool_choice="required")))
    assert (joined.text, joined.tool_calls) == ("I look.", (CALL,))


REFUSALS: list[tuple[Any, type[ProviderError], str]] = [
    (Refusal(404, "model 'x' not found"), ModelMissing, "404"),
    (refusals.server_error(), ProviderUnavailable, "500"),
    (refusals.overloaded(), ProviderUnavailable, "503"),
    (Refusal(400, "the input length exceeds the context length"), ContextOverflow, "shorten"),
    (Refusal(500, "error parsing tool call: raw='{', err=EOF"), AnswerRejected, "tool call"),
    (redirect("/elsewhere"), ProviderUnavailable, "307"),
    (html_page(502), ProviderUnavailable, "502"),
    (html_page(200), ProviderUnavailable, "no JSON"),
    (Raw(200, b""), ProviderUnavailable, "without its last line"),
    (Raw(200, b"[1]\n"), ProviderUnavailable, "no JSON"),
    (Raw(200, b"\xff\xfe\n"), ProviderUnavailable, "no JSON"),
    (unfinished("Yes"), ProviderUnavailable, "without its last line"),
    (half_tool_call(), ProviderUnavailable, "no JSON"),
    (half_tool_call(finished=True), AnswerRejected, "tool call"),
    (Garbage(), ProviderUnavailable, "no JSON"),
    (ErrorEvent(message="an unexpected error"), ProviderUnavailable, "an unexpected error"),
    (ErrorEvent(message="exceeds the context length"), ContextOverflow, "context"),
    (Cut("request"), ProviderUnavailable, "disconnected"),
    (Cut("headers"), ProviderUnavailable, "RemoteProtocolError"),
    (Cut(2), ProviderUnavailable, "RemoteProtocolError"),
    (Cut(1, reset=True), ProviderUnavailable, "ReadError"),
]


@pytest.mark.parametrize(("reply", "kind", "said"), REFUSALS, ids=lambda value: repr(value)[:50])
async def test_each_failure_has_its_own_error(
    server: FaultServer, reply: Any, kind: type[ProviderError], said: str
) -> None:
    asked = Asked(server, window=4_096)
    server.script(reply)
    with pytest.raises(kind, match=said) as caught:
        await asked.pieces()
    assert type(caught.value) is kind
    assert asked.chat.name in str(caught.value)


async def test_a_redirect_is_not_followed(server: FaultServer, asked: Asked) -> None:
    server.script(redirect("/api/elsewhere"))
    with pytest.raises(ProviderUnavailable):
        await asked.pieces()
    assert [request.path for request in server.requests if "elsewhere" in request.path] == []


@pytest.mark.parametrize(
    ("reply", "stage"),
    [
        (hang(), "first"),
        (Stall("headers"), "first"),
        (Stall("role"), "first"),
        (Stall(2), "between"),
    ],
    ids=repr,
)
async def test_silence_ends_in_a_timeout_that_says_where(
    server: FaultServer, reply: Stall, stage: str
) -> None:
    asked = Asked(server, timeouts=SOON[stage])
    await asked.chat.ahealth()
    server.script(reply)
    with pytest.raises(ProviderTimeout) as caught:
        await asked.pieces()
    assert caught.value.stage == stage
    assert server.chats[0].closed_by_client.wait(5.0)


async def test_a_request_has_a_time_of_its_own_for_everything(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(Stall(1))
    with pytest.raises(ProviderTimeout, match=r"no end within 0\.2 s") as caught:
        await asked.pieces(ask(timeout=0.2))
    assert caught.value.stage == "total"


async def test_nobody_there_is_said_to_be_nobody_there() -> None:
    with FaultServer() as server:
        url = server.url
    with pytest.raises(ProviderUnavailable, match="not running") as caught:
        await Asked(url).pieces()
    assert caught.value.connected is False


async def test_a_model_that_is_not_installed_is_named_with_its_remedy(server: FaultServer) -> None:
    with pytest.raises(
        BadRequest, match=r"'qwen3:8b' is not installed at .*; ollama pull qwen3:8b"
    ):
        await Asked(server, "qwen3:8b").pieces()
    assert server.chats == []


@pytest.mark.parametrize("after", ["request", 1])
async def test_cancelling_closes_the_connection(
    server: FaultServer, asked: Asked, after: Any
) -> None:
    server.script(Stall(after))
    task = asyncio.create_task(asked.pieces())
    request = (await server.await_for(1, path="/api/chat"))[0]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(request.closed_by_client.wait, 5.0)


async def test_closing_the_stream_closes_the_connection(server: FaultServer, asked: Asked) -> None:
    server.script(Slow((1,)))
    stream = asked.chat.astream(ask())
    assert (await anext(stream)).text == "Hello"
    await stream.aclose()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5.0)


async def test_no_connection_outlives_its_request(server: FaultServer, asked: Asked) -> None:
    """Closed at every moment of an answer: httpx alone keeps those open that end meanwhile."""
    for number in range(20):
        stream = asked.chat.astream(ask())
        for _ in range(1 + number % 4):
            await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
    assert gathered(await asked.pieces()).text == "Hello there."
    await server.await_for_connections(0)


def test_it_answers_from_many_loops_and_threads_at_once(server: FaultServer, asked: Asked) -> None:
    said: list[str] = []

    def run() -> None:
        said.append(gathered(asyncio.run(asked.pieces())).text)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert said == ["Hello there."] * 8


async def test_a_proxy_of_the_environment_sees_nothing_of_this_machine(
    server: FaultServer, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert gathered(await asked.pieces()).text == "Hello there."


async def test_a_key_is_sent_and_never_shown(server: FaultServer) -> None:
    asked = Asked(server, api_key="secret")
    await asked.pieces()
    assert server.chats[0].headers["authorization"] == "Bearer secret"
    assert "secret" not in repr(asked.chat)
    assert "secret" not in ollama("llama3.1", server.url, api_key="secret").key


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        (":9000", "http://127.0.0.1:9000"),
        ("http://0.0.0.0:9000/", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("::1", "http://[::1]:11434"),
        ("localhost", "http://localhost:11434"),
        ("http://gpu.lan", "http://gpu.lan:80"),
        ("https://gpu.lan", "https://gpu.lan:443"),
        ("https://gpu.lan:8443/ollama/", "https://gpu.lan:8443/ollama"),
    ],
)
def test_ollama_host_is_read_in_each_of_its_forms(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert OllamaChat("llama3.1").url == url


@pytest.mark.parametrize("quantisation", ["q4_0", "q4", "Q8_0", "iq3", "f16", "fp16", "mxfp4"])
def test_a_quantisation_may_be_named_in_short(quantisation: str) -> None:
    assert ollama("llama3.1", "127.0.0.1", quantisation=quantisation)


def test_a_quantisation_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="quantisation"):
        ollama("llama3.1", "127.0.0.1", quantisation="small")


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="model"):
        ollama(" ")


@pytest.mark.parametrize("host", ["ftp://x", "http://x:port", "x:99999", "http://me:key@x", "a b"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="host"):
        base_url(host)


@pytest.mark.parametrize(
    ("model", "host", "local"),
    [
        ("llama3.1", "127.0.0.1", True),
        ("llama3.1", "[::1]", True),
        ("llama3.1", "localhost", True),
        ("llama3.1", "192.0.2.1", False),
        ("llama3.1", "localhost.example.com", False),
        ("gpt-oss:120b-cloud", "127.0.0.1", False),
    ],
)
def test_only_what_stays_on_this_machine_is_local(model: str, host: str, local: bool) -> None:
    assert ollama(model, host).local is local
    assert is_loopback(base_url("127.0.0.2"))


def test_a_missing_httpx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[ollama\]"):
        ollama("llama3.1", "127.0.0.1")


def test_importing_it_imports_no_client() -> None:
    import subprocess

    code = (
        "import sys, rag_memory_plugins.router as o; o.ollama('llama3.1', '127.0.0.1'); "
        "print(*({'httpx', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_everything_that_httpx_raises_for_a_connection_has_a_meaning() -> None:
    import httpx

    from rag_memory_plugins.router.ollama_http import _mapped

    def kinds(base: type[Exception]) -> Iterator[type[Exception]]:
        yield base
        for each in base.__subclasses__():
            yield from kinds(each)

    for kind in kinds(httpx.TransportError):
        with pytest.raises(ProviderError) as caught, _mapped("m"):
            raise kind("failed")  # type: ignore[call-arg]
        assert type(caught.value) in (ProviderUnavailable, ProviderTimeout), kind
