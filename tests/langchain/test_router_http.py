"""Routers of LangChain's models against a server that fails as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent

from rag_memory_plugins.errors import RequestCancelled, StreamInterrupted
from rag_memory_plugins.langchain import RouterChatModel, RouterMiddleware, as_chat_model
from rag_memory_plugins.router.models import Model, Timeouts
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    Slow,
    Stall,
    half_tool_call,
    hang,
    unfinished,
)
from rag_memory_plugins.testing.fault_server import FaultServer
from tests.langchain.agents import say
from tests.langchain.faces import FACES, ask
from tests.langchain.over_http import HTTPChat


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(reply=Answer(("Hello", " there"))) as running:
        yield running


def entry(server: FaultServer, name: str, **values: Any) -> Model:
    chat = HTTPChat(base_url=server.openai_url, model=name)
    return Model(as_chat_model(chat, name=name), **values)


def routed(server: FaultServer, *names: str, **values: Any) -> Router:
    return Router([entry(server, name, **values) for name in names or ("first", "second")])


def asked(server: FaultServer) -> list[str]:
    return [request.model for request in server.chats]


BEFORE = {
    "429": refusals.rate_limited(),
    "500": refusals.server_error(),
    "overloaded": refusals.overloaded(),
    "cut before headers": Cut("request"),
    "reset before headers": Cut("request", reset=True),
    "cut after headers": Cut("headers"),
    "cut after the role": Cut("role"),
    "an error in a 200": ErrorEvent("headers"),
    "no JSON in a 200": Garbage("headers"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", BEFORE.values(), ids=BEFORE)
async def test_before_the_first_piece_another_model_answers(server, face, fault):
    server.script(fault, model="first")
    answer = await ask(RouterChatModel(routed(server)), "Hi", face)
    assert answer.text == "Hello there"
    assert answer.response_metadata["router"]["model"] == "second"
    assert answer.usage_metadata["total_tokens"] == 15
    assert asked(server) == ["first", "second"]


AFTER = {
    "cut": Cut(1),
    "reset": Cut(1, reset=True),
    "an error event": ErrorEvent(1),
    "bad events": Garbage(1),
}


@pytest.mark.parametrize("face", ["stream", "astream"])
@pytest.mark.parametrize("fault", AFTER.values(), ids=AFTER)
async def test_after_the_first_piece_the_stream_is_interrupted(server, face, fault):
    server.script(fault, model="first")
    seen: list[Any] = []
    with pytest.raises(StreamInterrupted) as caught:
        await ask(RouterChatModel(routed(server)), "Hi", face, seen)
    assert "".join(chunk.text for chunk in seen) == caught.value.text == "Hello"
    assert asked(server) == ["first"]


@pytest.mark.parametrize("face", ["stream", "astream"])
async def test_a_stream_without_an_end_is_interrupted_once_the_model_is_known_to_say_it(
    server, face
):
    model = RouterChatModel(routed(server))
    await ask(model, "Hi", face)
    server.script(unfinished("Hello"), model="first")
    with pytest.raises(StreamInterrupted, match="without an end"):
        await ask(model, "Hi", face)


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_half_a_tool_call_is_asked_of_another(server, face):
    server.script(half_tool_call(finished=True), model="first")
    assert (await ask(RouterChatModel(routed(server)), "Hi", face)).text == "Hello there"


@pytest.mark.parametrize("face", FACES)
async def test_who_hangs_is_not_waited_for_longer_than_its_entry_says(server, face):
    server.script(hang(), model="first")
    router = Router([entry(server, "first", timeouts=Timeouts(total=0.2)), entry(server, "second")])
    assert (await ask(RouterChatModel(router), "Hi", face)).text == "Hello there"


async def test_a_stream_that_is_closed_closes_the_providers_connection(server):
    server.script(Stall(1), model="first")
    pieces = RouterChatModel(routed(server)).astream("Hi")
    assert (await anext(pieces)).text == "Hello"
    await pieces.aclose()
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5)


@pytest.mark.parametrize("face", ["ainvoke", "astream"])
async def test_a_cancelled_task_closes_the_providers_connection(server, face):
    server.script(hang(), model="first")
    task = asyncio.create_task(ask(RouterChatModel(routed(server)), "Hi", face))
    await server.await_for(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5)
    await server.await_for_connections(0)


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_a_request_is_cancelled_by_its_id(server, face):
    server.script(Slow(("request",)), model="first")
    router = routed(server)
    task = asyncio.create_task(ask(RouterChatModel(router), "Hi", face, request_id="r1"))
    await server.await_for(1)
    assert router.cancel("r1")
    with pytest.raises(RequestCancelled):
        await task
    server.release()
    await server.await_for_connections(0)


def test_a_sync_stream_that_is_closed_ends_the_providers_at_its_next_piece(server):
    server.script(Slow((1,), Answer(("Hello", " there", "."))), model="first")
    pieces = RouterChatModel(routed(server)).stream("Hi")
    assert next(pieces).text == "Hello"
    pieces.close()
    server.release()
    server.wait_for_connections(0)


async def turned(agent: Any, face: str) -> str:
    if "stream" not in face:
        return (await ask(agent, say("Hi"), face))["messages"][-1].text
    pieces: list[Any] = []

    def read() -> None:
        for piece, _ in agent.stream(say("Hi"), stream_mode="messages"):
            pieces.append(piece)

    if face == "stream":
        await asyncio.to_thread(read)
    else:
        async for piece, _ in agent.astream(say("Hi"), stream_mode="messages"):
            pieces.append(piece)
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", BEFORE.values(), ids=BEFORE)
async def test_an_agent_goes_on_with_another_model(server, face, fault):
    server.script(fault, model="first")
    routes = RouterMiddleware(routed(server))
    agent = create_agent(routes.model, middleware=[routes])
    assert await turned(agent, face) == "Hello there"
    assert asked(server) == ["first", "second"]


@pytest.mark.parametrize("face", ["stream", "astream"])
@pytest.mark.parametrize("fault", AFTER.values(), ids=AFTER)
async def test_an_agent_whose_stream_broke_off_says_nothing_more(server, face, fault):
    server.script(fault, model="first")
    routes = RouterMiddleware(routed(server))
    with pytest.raises(StreamInterrupted) as caught:
        await turned(create_agent(routes.model, middleware=[routes]), face)
    assert caught.value.text == "Hello"
    assert asked(server) == ["first"]
