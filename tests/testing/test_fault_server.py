"""The server itself: what a test sees of its clients, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import httpx
import pytest

from rag_memory_plugins.testing.fault_replies import Answer, Cut, Raw, Slow, Stall, hang
from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.testing.fault_server import FaultServer
from tests.testing.chats import HELLO, OLLAMA, OPENAI, chat, content, lines, said


async def test_a_reply_function_answers_by_what_was_asked() -> None:
    def reply(request: Request) -> Answer:
        return Answer(f"{request.model} heard {request.messages[-1]['content']}")

    with FaultServer(reply=reply) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert await said(client) == "small heard Hello?"


def test_what_a_reply_function_raises_is_raised_at_the_end_of_the_block() -> None:
    def reply(request: Request) -> Answer:
        raise KeyError("no such question")

    with pytest.raises(KeyError, match="no such question"), FaultServer(reply=reply) as server:
        assert httpx.post(f"{server.url}{OPENAI}", json=chat()).status_code == 500


def test_a_client_that_does_not_wait_for_its_answer_is_an_error_of_the_test() -> None:
    def ask() -> None:
        with server, socket.create_connection(server.address) as client:
            server.script(hang())
            client.sendall(b"POST /api/chat HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            server.wait_for(1)
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            server.wait_for_connections(0)

    server = FaultServer()
    with pytest.raises(RuntimeError, match="before the last was answered"):
        ask()


def test_a_reply_function_that_does_not_return_is_named_when_the_server_stops(monkeypatch) -> None:
    monkeypatch.setattr("rag_memory_plugins.testing.fault_sockets.JOIN_SECONDS", 0.01)
    entered, end = threading.Event(), threading.Event()

    def reply(request: Request) -> Answer:
        entered.set()
        end.wait(20)
        return Answer()

    def serve() -> None:
        with server, socket.create_connection(server.address) as client:
            client.sendall(b"POST /api/chat HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            assert entered.wait(20)

    server = FaultServer(reply=reply)
    with pytest.raises(TimeoutError, match="a reply function does not return"):
        serve()
    end.set()
    server.wait_for_connections(0)


async def test_requests_are_seen_as_they_were_sent(server, client) -> None:
    await client.get("/api/tags")
    await client.post(f"{OPENAI}?x=1", json=chat(tools=[{}]), headers={"Authorization": "Bearer k"})
    probe, asked = server.requests
    assert (probe.number, probe.method, probe.path, probe.chat) == (1, "GET", "/api/tags", False)
    assert (asked.number, asked.path, asked.model) == (2, OPENAI, "small")
    assert (asked.messages, asked.tools, asked.stream) == (HELLO, [{}], False)
    assert asked.headers["authorization"] == "Bearer k"
    assert server.chats == [asked]


async def test_a_body_that_is_not_json_is_refused(server, client) -> None:
    response = await client.post(OPENAI, content=b"{")
    assert response.status_code == 400
    assert server.requests[0].body == {}


@pytest.mark.parametrize("point", ["request", "headers", "role", 1])
@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
async def test_a_client_that_leaves_a_stalled_answer_is_noticed(
    server, client, path: str, point
) -> None:
    server.script(Stall(point))

    async def read() -> None:
        async for _ in lines(client, path):
            pass

    task = asyncio.create_task(read())
    (request,) = await server.await_for(1)
    assert not request.closed_by_client.is_set()
    task.cancel()
    await asyncio.wait([task])
    assert await asyncio.to_thread(request.closed_by_client.wait, 5)
    assert await asyncio.to_thread(request.finished.wait, 5)
    assert request.closed_at is not None
    assert not request.whole


async def test_a_client_that_leaves_a_slow_answer_is_noticed(server, client) -> None:
    server.script(Slow(("request",)))
    task = asyncio.create_task(said(client))
    (request,) = await server.await_for(1)
    task.cancel()
    assert await asyncio.to_thread(request.closed_by_client.wait, 5)
    await asyncio.wait([task])


async def test_a_client_that_times_out_is_noticed(server, client) -> None:
    server.script(hang())
    with pytest.raises(httpx.ReadTimeout):
        await client.post(OPENAI, json=chat(), timeout=httpx.Timeout(20, read=0.05))
    (request,) = await server.await_for(1)
    assert await asyncio.to_thread(request.closed_by_client.wait, 5)


LONG = Answer("long " * 5_000_000)  # more than sockets hold on the way


async def test_a_client_that_leaves_unread_text_is_noticed(server, client) -> None:
    server.script(LONG)
    async with client.stream("POST", OPENAI, json=chat(stream=True)):
        (request,) = server.requests
        assert not request.finished.is_set()
    assert await asyncio.to_thread(request.closed_by_client.wait, 5)


def test_a_server_stops_although_a_client_does_not_read() -> None:
    with FaultServer(reply=LONG) as server, httpx.Client(base_url=server.url) as client:
        with client.stream("POST", OPENAI, json=chat(stream=True)):
            assert server.close() == []


async def test_a_client_that_stays_to_the_end_did_not_leave(server, client) -> None:
    await said(client)
    (request,) = server.requests
    assert await asyncio.to_thread(request.finished.wait, 5)
    assert request.whole
    assert not request.closed_by_client.is_set()


def test_a_server_that_stops_in_mid_answer_is_not_taken_for_a_client_that_left() -> None:
    with FaultServer() as server:
        server.script(Stall("headers"))
        with httpx.stream("POST", f"{server.url}{OPENAI}", json=chat(stream=True)) as response:
            server.close()
            with pytest.raises(httpx.RemoteProtocolError):
                response.read()
    assert not server.requests[0].closed_by_client.is_set()


async def test_each_release_lets_an_answer_pass_one_wait(server, client) -> None:
    server.script(Slow((1, 2), Answer(("a", "b", "c"))))
    texts = []
    async for line in lines(client, OPENAI):
        texts += [content(line)] if line != "data: [DONE]" else []
        if texts[-1] in {"a", "b"}:
            assert not server.requests[0].finished.is_set()
            server.release()
    assert "".join(texts) == "abc"


async def test_one_of_two_waiting_answers_is_released_alone(server, client) -> None:
    server.script(Slow(reply=Answer("one")), Slow(reply=Answer("two")))
    first = asyncio.create_task(said(client))
    await server.await_for(1)
    second = asyncio.create_task(said(client))
    requests = await server.await_for(2)
    requests[1].release()
    assert await second == "two"
    assert not first.done()
    requests[0].release()
    assert await first == "one"


async def test_a_release_before_the_wait_is_kept_for_it(server, client) -> None:
    server.script(Slow(("request", "headers", "role")))
    task = asyncio.create_task(said(client))
    await server.await_for(1)
    server.release(3)
    assert await task == "Hello there."


async def test_fifty_requests_at_once_are_served(server) -> None:
    server.script(*[Slow()] * 50)
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=20) as client:
        tasks = [asyncio.create_task(said(client)) for _ in range(50)]
        await server.await_for(50, timeout=20)
        assert server.open_connections == 50
        server.release()
        assert await asyncio.gather(*tasks) == ["Hello there."] * 50


async def test_connections_are_counted_until_they_are_closed(server) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        await said(client)
        await said(client)
        assert server.open_connections == 1
    await server.await_for_connections(0)


def test_waiting_for_a_request_that_does_not_come_says_what_came(server) -> None:
    httpx.get(f"{server.url}/api/tags")
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        server.wait_for(1, 0.01, path=OPENAI)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="shows no open files")
def test_no_thread_and_no_socket_is_left() -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/dev/fd").iterdir()))

    before = held()
    with FaultServer(reply=Raw()) as server, httpx.Client(base_url=server.url) as client:
        server.script(Answer(), Cut("headers"), Slow(), Cut(1, reset=True))
        client.post(OPENAI, json=chat())
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                client.post(OPENAI, json=chat(stream=True), timeout=httpx.Timeout(20, read=0.2))
        server.wait_for(3)
        with pytest.raises(httpx.TransportError):
            client.post(OPENAI, json=chat(stream=True))
        assert held() > before
    assert held() == before


def test_after_the_block_connections_are_refused() -> None:
    with FaultServer() as server:
        pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
