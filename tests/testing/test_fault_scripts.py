"""Which reply a request gets."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.testing.fault_replies import Answer, Cut, Refusal, Slow
from tests.testing.chats import said


async def test_a_server_without_a_script_gives_a_good_answer(client) -> None:
    assert await said(client) == "Hello there."


async def test_scripted_replies_are_given_in_order_and_once(server, client) -> None:
    server.script(Answer("first"), Answer("second"))
    assert [await said(client) for _ in range(3)] == ["first", "second", "Hello there."]


async def test_a_script_of_a_model_waits_for_that_model(server, client) -> None:
    server.script(Answer("scripted"), model="b")
    assert [await said(client, model=model) for model in "ab"] == ["Hello there.", "scripted"]


async def test_a_script_of_a_path_waits_for_that_path(server, client) -> None:
    server.script(Answer("scripted"), path="/groq")
    assert await said(client) == "Hello there."
    assert await said(client, "/groq/v1/chat/completions") == "scripted"


async def test_the_closest_script_is_taken_first(server, client) -> None:
    server.script(Answer("any"))
    server.script(Answer("path"), path="/v1")
    server.script(Answer("model"), model="small")
    assert [await said(client) for _ in range(3)] == ["model", "path", "any"]


async def test_a_script_without_a_path_leaves_probes_alone(server, client) -> None:
    server.script(Refusal(500, "broken"))
    assert (await client.get("/api/tags")).status_code == 200


async def test_a_probe_fails_as_its_path_was_scripted(server, client) -> None:
    server.script(Refusal(500, "broken"), path="/api/tags")
    response = await client.get("/api/tags")
    assert (response.status_code, response.json()) == (500, {"error": "broken"})


async def test_a_slow_probe_gives_its_good_answer_in_the_end(server, client) -> None:
    server.script(Slow(), path="/api/version")
    probe = asyncio.create_task(client.get("/api/version"))
    await server.await_for(1)
    server.release()
    assert (await probe).json() == {"version": server.version}


def test_a_script_of_something_else_is_refused(server) -> None:
    with pytest.raises(InvalidInput, match="replies: got 'hang'"):
        server.script("hang")


@pytest.mark.parametrize("point", [-1, 1.5, True, "body"])
def test_a_point_that_no_answer_passes_is_refused(point) -> None:
    with pytest.raises(InvalidInput, match="after: got"):
        Cut(point)
