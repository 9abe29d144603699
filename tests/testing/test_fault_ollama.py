"""Ollama's protocol, as httpx reads it."""

from __future__ import annotations

import json

import httpx
import pytest

from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    half_tool_call,
)
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.testing.refusals import out_of_memory
from rag_memory_plugins.types import ToolCall
from tests.testing.chats import HELLO, OLLAMA, OPENAI, chat, collect, lines

SMALL = Installed("llama3.1:8b-q4_0", 4_661_224_676, "8.0B", "Q4_0", "llama")
LOADED = Installed("qwen3", 5_000_000_000, family="qwen3", loaded=True, vram=3_000_000_000)


@pytest.fixture
def stocked(server):
    server.models = [SMALL, LOADED]
    return server


async def streamed(client: httpx.AsyncClient) -> list[dict]:
    return [json.loads(line) async for line in lines(client, OLLAMA)]


async def test_a_chat_is_streamed_unless_told_otherwise(client) -> None:
    response = await client.post(OLLAMA, json={"model": "small", "messages": HELLO})
    assert response.headers["content-type"] == "application/x-ndjson"
    assert len(response.text.splitlines()) == 5


async def test_a_stream_gives_the_text_in_lines_and_counts_in_the_last(client) -> None:
    *rest, last = await streamed(client)
    assert [line["message"]["content"] for line in rest] == ["", "Hello", " there", "."]
    assert {line["done"] for line in rest} == {False}
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (12, 3)


async def test_an_answer_in_one_piece_is_one_object(client) -> None:
    body = (await client.post(OLLAMA, json=chat(stream=False))).json()
    assert (body["message"]["content"], body["done"]) == ("Hello there.", True)


async def test_thinking_comes_before_the_text(server, client) -> None:
    server.script(Answer("yes", reasoning="hm"))
    got = [line["message"] for line in await streamed(client)]
    assert (got[1]["thinking"], got[1]["content"], got[2]["content"]) == ("hm", "", "yes")


async def test_arguments_of_a_tool_call_are_an_object(server, client) -> None:
    server.script(Answer(tool_calls=(ToolCall("call_1", "weather", '{"city": "Paris"}'),)))
    got = await streamed(client)
    (call,) = got[1]["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": {"city": "Paris"}}
    assert got[-1]["done_reason"] == "stop"


@pytest.mark.parametrize(("stream", "status"), [(True, 200), (False, 500)])
async def test_half_a_tool_call_is_an_error_of_ollama(
    server, client, stream: bool, status: int
) -> None:
    server.script(half_tool_call(finished=True))
    response = await client.post(OLLAMA, json=chat(stream=stream))
    assert response.status_code == status
    assert "error parsing tool call" in json.loads(response.text.splitlines()[-1])["error"]


async def test_half_a_tool_call_without_an_end_is_half_a_line(server, client) -> None:
    server.script(half_tool_call())
    got = [line async for line in lines(client, OLLAMA)]
    assert got[-1].endswith('"arguments":{"city": "Lis')


async def test_a_stream_without_a_finish_reason_has_no_last_line(server, client) -> None:
    server.script(Answer(finish=None))
    assert not any(line["done"] for line in await streamed(client))


async def test_an_answer_cut_by_its_length_says_so(server, client) -> None:
    server.script(Answer(finish="length"))
    assert (await streamed(client))[-1]["done_reason"] == "length"


async def test_an_error_in_mid_stream_is_the_last_line(server, client) -> None:
    server.script(ErrorEvent(1, "llama runner process has terminated"))
    got = await streamed(client)
    assert got[1:] == [got[1], {"error": "llama runner process has terminated"}]


async def test_a_line_that_is_no_json_stands_between_the_others(server, client) -> None:
    server.script(Garbage(1, "{oops"))
    got = [line async for line in lines(client, OLLAMA)]
    assert [line == "{oops" for line in got] == [False, False, True, False, False, False]


async def test_a_cut_stream_gives_what_was_sent_and_an_error(server, client) -> None:
    server.script(Cut(1))
    got: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        await collect(client, OLLAMA, got)
    assert got == ["", "Hello"]


async def test_an_empty_answer_is_a_last_line_alone(server, client) -> None:
    server.script(NoChoices())
    (line,) = await streamed(client)
    assert (line["message"]["content"], line["done"]) == ("", True)


@pytest.mark.parametrize("path", [OLLAMA, OPENAI])
async def test_out_of_memory_names_both_numbers_in_either_protocol(
    server, client, path: str
) -> None:
    server.script(out_of_memory("9.1 GiB", "3.0 GiB"))
    response = await client.post(path, json=chat())
    error = response.json()["error"]
    message = error if path == OLLAMA else error["message"]
    assert response.status_code == 500
    assert message == ("model requires more system memory (9.1 GiB) than is available (3.0 GiB)")


async def test_tags_show_what_is_installed(stocked, client) -> None:
    first, second = (await client.get("/api/tags")).json()["models"]
    assert (first["name"], first["size"]) == ("llama3.1:8b-q4_0", 4_661_224_676)
    assert first["details"]["parameter_size"] == "8.0B"
    assert first["details"]["quantization_level"] == "Q4_0"
    assert second["details"]["family"] == "qwen3"


async def test_ps_shows_what_is_loaded_and_where(stocked, client) -> None:
    (model,) = (await client.get("/api/ps")).json()["models"]
    assert (model["name"], model["size"], model["size_vram"]) == (
        "qwen3",
        5_000_000_000,
        3_000_000_000,
    )


async def test_show_tells_a_models_window_and_capabilities(stocked, client) -> None:
    body = (await client.post("/api/show", json={"model": "qwen3"})).json()
    assert body["model_info"]["qwen3.context_length"] == 131_072
    assert body["capabilities"] == ["completion", "tools"]


@pytest.mark.parametrize("path", [OLLAMA, "/api/show"])
async def test_a_model_that_is_not_installed_is_not_found(stocked, client, path: str) -> None:
    response = await client.post(path, json=chat("gemma3"))
    assert response.status_code == 404
    assert response.json() == {"error": "model 'gemma3' not found"}


async def test_a_model_without_a_tag_is_the_latest(stocked, client) -> None:
    assert (await client.post(OLLAMA, json=chat("qwen3:latest"))).status_code == 200


async def test_the_version_is_told(client) -> None:
    assert set((await client.get("/api/version")).json()) == {"version"}


async def test_another_path_is_not_found(client) -> None:
    assert (await client.get("/api/nothing")).status_code == 404
