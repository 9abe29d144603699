"""A Qdrant server that fails: typed errors without secrets, chats that go on, and catching up."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle

import grpc
import httpx
import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import StoreClosed, StoreError
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import RemovedPoint
from rag_memory_plugins.stores import mirrored, qdrant
from rag_memory_plugins.stores.points import point_id
from rag_memory_plugins.stores.qdrant import QdrantStore
from rag_memory_plugins.stores.qdrant_errors import Unavailable, worded
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.fault_replies import Cut, Raw, hang, html_page
from rag_memory_plugins.testing.qdrant_server import QdrantServer, refusal
from rag_memory_plugins.testing.vector_points import ANN, along, message

KEY = "sk-very-secret-0123456789"
DIMENSION = 8
BOB = Scope("acme", "bob")
SAID = [f"In {a} I bought a {b}." for a in "Lisbon Oslo Quito Cairo Delhi".split()
        for b in "bicycle piano kettle ladder violin carpet lantern saddle".split()]  # fmt: skip


@pytest.fixture(scope="module")
def one_server():
    with QdrantServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def server(one_server):
    one_server.fault, one_server.fault_at, one_server.applies = None, None, False
    for name in one_server.collections.names():
        one_server.collections.answer("DELETE", name, "", {})
    one_server.forget()
    yield one_server
    one_server.fault = None


def store_at(server, **options):
    client = AsyncQdrantClient(
        url=server.url, headers={"api-key": KEY}, check_compatibility=False, timeout=5
    )
    return QdrantStore(client, **options)


def result(value):
    return Raw(200, json.dumps({"result": value, "status": "ok"}).encode(), "application/json")


FAULTS = {
    "reset": (Cut("request", reset=True), "the connection broke off", "tried again"),
    "closed": (Cut("headers"), "the connection broke off", "tried again"),
    "stall": (hang(), "no answer in time", "raise timeout"),
    "400": (refusal(400, "Wrong input: x"), "status 400 'Wrong input: x'", "URL of a Qdrant"),
    "401": (Raw(401, b"Invalid API key", "text/plain"), "status 401 'Invalid", "check api_key"),
    "401 echo": (Raw(401, f"bad key {KEY}".encode()), "status 401 'bad key ***'", "check api_key"),
    "403": (refusal(403, "Forbidden"), "status 403", "what api_key may do"),
    "404": (html_page(404), "status 404", "URL of a Qdrant"),
    "409": (refusal(409, "Conflict"), "status 409", "tried again"),
    "413": (refusal(413, "Payload too large"), "status 413", "max_request_size_mb"),
    "429": (refusal(429, "Slow down"), "status 429 'Slow down'", "lower the load"),
    "429 wait": (refusal(429, "Slow", retry_after="7"), "asks to wait 7 s", "lower the load"),
    "429 date": (refusal(429, "x", retry_after="Mon, 1 Jan 2035"), "it is limited", "lower"),
    "500": (refusal(500, "Service internal error: disk"), "internal error: disk", "its log"),
    "503": (html_page(503), "status 503", "its log"),
    "garbage": (Raw(200, b'{"result": [', "application/json"), "no JSON", "URL of a Qdrant"),
    "page": (html_page(), "no JSON", "URL of a Qdrant"),
    "other": (Raw(200, b'{"result": 5}', "application/json"), "of another kind", "URL of a Q"),
    "nothing": (Raw(200, b"{}", "application/json"), "", "URL of a Qdrant"),
}


async def every_call(store):
    """What each call raises."""
    raised = []
    for work in (
        store.aput([message(1, along(0, DIMENSION))]),
        store.anearest(ANN, "piano", along(0, DIMENSION), 5),
        store.aremove([RemovedPoint(ANN, 1, 1)]),
    ):
        with pytest.raises(StoreError) as error:
            await work
        raised.append(error.value)
    return raised


def secret_in(error):
    said = ""
    while error is not None:
        said += f"{error!r} {error} {getattr(error, 'content', '')}"
        error = error.__cause__
    return KEY in said


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_store_error_with_a_remedy_and_no_secret(server, name):
    reply, came, remedy = FAULTS[name]

    async def story():
        store = store_at(server, timeout=0.2 if name == "stall" else 5.0)
        await store.aopen("log", "fp/1", DIMENSION)
        server.fault = reply
        raised = await every_call(store)
        server.fault = None
        await store._client.close()
        return store, raised

    store, raised = asyncio.run(story())
    for error in raised:
        assert str(error).startswith("qdrant: ")
        assert came in str(error)
        assert remedy in str(error)
        assert not secret_in(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert KEY not in repr(store) + store.name


def test_nobody_there_is_a_store_error(server):
    async def story():
        store = store_at(server)
        await store.aopen("log", "fp/1", DIMENSION)
        server.stop()
        try:
            return await every_call(store)
        finally:
            server.start()
            await store._client.close()

    for error in asyncio.run(story()):
        assert "no connection" in str(error)
        assert "is it up" in str(error)


def test_a_wrong_key_is_said_when_the_memory_is_opened(server):
    with pytest.raises(StoreError, match="check api_key"):
        asyncio.run(_opened(QdrantStore(server.url)))


def test_a_key_over_plain_http_is_used_and_the_clients_warning_is_not_hidden(server):
    with pytest.warns(UserWarning, match="insecure connection"):
        store = QdrantStore(server.url, api_key=KEY)
    asyncio.run(_opened(store))
    assert "#" in store.name
    assert KEY not in f"{store!r} {store.name} {vars(store)['_requests']}"


def test_a_server_that_stalls_holds_no_memory_up(server, monkeypatch):
    monkeypatch.setattr(qdrant, "OPEN_SECONDS", 0.05)
    server.fault = hang()
    store = store_at(server)
    asyncio.run(_opened(store))
    assert "#" not in store.name


async def _opened(store):
    try:
        await store.aopen("log", "fp/1", DIMENSION)
    finally:
        await store.aclose()


def examples():
    """One of each error that the client has of its own, by name."""
    request = httpx.Request("GET", "http://127.0.0.1")
    response = httpx.Response(503, request=request)
    return {
        "ApiException": exceptions.ApiException("x"),
        "UnexpectedResponse": UnexpectedResponse.for_response(response),
        "ResponseHandlingException": ResponseHandlingException(httpx.ConnectError("x")),
        "QdrantException": client_exceptions.QdrantException("x"),
        "ResourceExhaustedResponse": client_exceptions.ResourceExhaustedResponse("x", 3),
    }


def test_every_error_of_the_client_is_mapped():
    known = {
        name
        for module in (exceptions, client_exceptions)
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BaseException)
    }
    assert known == examples().keys()
    for error in examples().values():
        assert "look at the error" not in str(worded(error, "read", ()))


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for _, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, httpx.TransportError)
    ],
)
def test_every_error_of_the_transport_is_asked_again(kind):
    assert isinstance(worded(ResponseHandlingException(kind("x")), "read", ()), Unavailable)


def test_errors_of_grpc_are_mapped():
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None, details="down")
    assert "StatusCode.UNAVAILABLE" in str(worded(error, "read", ()))
    assert isinstance(worded(error, "read", ()), Unavailable)


def test_a_client_that_was_closed_is_said(server):
    async def story():
        store = store_at(server)
        await store.aopen("log", "fp/1", DIMENSION)
        await store._client.close()
        return await every_call(store)

    assert all("closed" in str(error) for error in asyncio.run(story()))


def test_a_closed_store_is_not_asked(server):
    async def story():
        store = store_at(server)
        await store.aopen("log", "fp/1", DIMENSION)
        await store.aclose()
        await store._client.close()
        return await every_call(store)

    assert {type(error) for error in asyncio.run(story())} == {StoreClosed}


def scripted(server, what, reply, call):
    """What a call raises when the server answers one path with `reply`."""

    async def story():
        store = store_at(server)
        await store.aopen("log", "fp/1", DIMENSION)
        await store.aput([message(1, along(0, DIMENSION))])
        name = store.name.removeprefix("qdrant/").partition("#")[0]
        server.script(reply, path=f"/collections/{name}/{what}")
        try:
            with pytest.raises(StoreError) as error:
                await call(store)
        finally:
            await store._client.close()
        return str(error.value)

    return asyncio.run(story())


def test_a_removal_that_was_only_said_to_be_done_is_an_error(server):
    done = result({"operation_id": 1, "status": "completed"})
    error = scripted(
        server, "points/delete", done, lambda store: store.aremove([RemovedPoint(ANN, 1, 1)])
    )
    assert "1 of 1 points are still in qdrant/rag_memory-" in error


@pytest.mark.parametrize("what", ["points", "points/delete"])
def test_what_is_only_acknowledged_is_not_taken_for_done(server, what):
    async def put(store):
        await store.aput([message(2, along(1, DIMENSION))])

    async def remove(store):
        await store.aremove([RemovedPoint(ANN, 1, 1)])

    taken = result({"operation_id": 1, "status": "acknowledged"})
    error = scripted(server, what, taken, put if what == "points" else remove)
    assert "was only acknowledged" in error


def test_points_that_are_not_the_askers_are_refused(server):
    points = [
        {"id": point_id("log", scope, 1, 0), "version": 0, "score": 0.9} for scope in (ANN, BOB)
    ]
    error = scripted(
        server,
        "points/query",
        result({"points": points}),
        lambda store: store.anearest(ANN, "piano", along(0, DIMENSION), 5),
    )
    assert "1 of 2 points" in error
    assert "were not the user's, so none is used" in error


# With a memory.


@pytest.fixture
def _large_is_twenty(monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 20)


@pytest.fixture
def told():
    return []


def texts(found):
    return [hit.message.content for hit in found.hits]


def fill(memory, said=SAID):
    place = memory.conversation("acme", "ann", "monday")
    place.add([Message("user", text) for text in said])
    memory.settle()
    return place


def held(server):
    return sum(
        server.collections.answer("POST", name, "points/count", {})["count"]
        for name in server.collections.names()
    )


def close(memory, store):
    memory.close()
    memory.portal.call(store._client.close())


@pytest.fixture
def memory(opened, server, _large_is_twenty, told):
    store = store_at(server, timeout=2.0)
    memory = opened(embedder=WordEmbedder(), index=store, hooks=[told.append])
    yield memory
    close(memory, store)


@pytest.mark.parametrize("name", ["reset", "401", "429 wait", "500", "garbage", "404"])
def test_a_chat_goes_on_while_the_server_fails_and_says_so(memory, server, name):
    place = fill(memory)
    server.fault = FAULTS[name][0]
    place.add("The dentist moved to Thursday.")
    found = place.search("a piano in Cairo", limit=1)
    assert texts(found) == ["In Cairo I bought a piano."]
    (reason,) = found.degraded
    assert reason.startswith("dense: qdrant/rag_memory-")
    assert FAULTS[name][1] in reason
    context = place.context("a piano in Cairo", 150)
    assert any("In Cairo I bought a piano." in each.content for each in context.messages)
    assert any("qdrant/rag_memory-" in each for each in context.degraded)
    assert KEY not in str(found.degraded) + str(context.degraded)


def test_a_server_that_was_down_gets_all_it_missed_without_a_restart(memory, server, told):
    server.stop()
    place = fill(memory)
    assert held(server) == 0
    assert "no connection" in str([e.data for e in told if e.name == "mirror.failed"])
    assert "no connection" in place.search("a piano in Cairo", limit=1).degraded[0]
    server.start()
    memory.settle()
    assert held(server) == len(SAID)
    found = place.search("a piano in Cairo", limit=1)
    assert (texts(found), found.degraded) == (["In Cairo I bought a piano."], ())
    assert found.lanes["dense"] == "ok"


@pytest.mark.usefixtures("_large_is_twenty")
def test_a_memory_is_opened_while_the_server_is_down(opened, server):
    first = store_at(server)
    memory = opened(embedder=WordEmbedder(), index=first)
    fill(memory)
    name = first.name
    close(memory, first)
    server.stop()
    second = store_at(server)
    memory = opened(embedder=WordEmbedder(), index=second)
    place = memory.conversation("acme", "ann", "monday")
    assert "no connection" in place.search("a piano in Cairo", limit=1).degraded[0]
    place.add("The dentist moved to Thursday.")
    server.start()
    server.forget()
    memory.settle()
    assert second.name == name
    assert held(server) == len(SAID) + 1
    put = [each for each in server.requests if each.method == "PUT"]
    assert [len(each.body["points"]) for each in put] == [1], "nothing was put again"
    assert place.search("a piano in Cairo", limit=1).degraded == ()
    close(memory, second)


@pytest.mark.usefixtures("_large_is_twenty")
def test_a_new_memory_is_opened_while_the_server_is_down(opened, server):
    server.stop()
    store = store_at(server)
    memory = opened(embedder=WordEmbedder(), index=store)
    place = fill(memory)
    server.start()
    memory.settle()
    assert held(server) == len(SAID)
    assert place.search("a piano in Cairo", limit=1).degraded == ()
    close(memory, store)


def test_what_was_done_without_an_answer_is_done_once(memory, server):
    (name,) = server.collections.names()
    server.applies = True
    server.script(Cut("request", reset=True), path=f"/collections/{name}/points")
    place = fill(memory)
    assert held(server) == len(SAID), "the put arrived"
    memory.settle()
    assert held(server) == len(SAID)
    puts = [each for each in server.requests if each.path.endswith("/points")]
    assert len(puts) == 2, "it was put again"
    server.script(Cut("request", reset=True), path=f"/collections/{name}/points/delete")
    assert not place.erase().complete
    assert held(server) == 0, "the removal arrived"
    memory.settle()
    deleted = [each for each in server.requests if each.path.endswith("/points/delete")]
    assert len(deleted) == 2, "it was removed again, and counted"
    assert memory.conversation("acme", "ann", "monday").erase().complete


@pytest.mark.usefixtures("_large_is_twenty")
@pytest.mark.parametrize("applies", [False, True], ids=["before", "after"])
def test_one_fault_at_any_request_loses_and_doubles_nothing(tmp_path, server, applies):
    server.applies = applies
    number, came = 0, True
    while came:
        number += 1
        drop_all(server)
        server.forget()
        server.fault, server.fault_at = Cut("request", reset=True), number
        store = store_at(server)
        file = tmp_path / f"{number}.db"
        memory = open_memory(
            file, embedder=WordEmbedder(), index=store, background=False, drain_seconds=0.0
        )
        place = fill(memory, SAID[:3])
        memory.settle()
        assert held(server) == 3, number
        place.forget([place.recent(1)[0].id])
        memory.settle()
        assert held(server) == 2, number
        came = len(server.requests) >= number
        server.fault = None
        close(memory, store)
    assert number > 9


def test_an_erase_waits_for_the_server(memory, server):
    place = fill(memory)
    server.fault = refusal(500, "Service internal error")
    receipt = place.erase()
    assert not receipt.complete
    assert "status 500" in receipt.pending
    server.fault = None
    memory.settle()
    assert held(server) == 0


def drop_all(server):
    for name in server.collections.names():
        server.collections.answer("DELETE", name, "", {})


@pytest.mark.parametrize("by", ["search", "add", "opening"])
def test_a_collection_that_was_dropped_is_made_anew_and_gets_everything(memory, server, opened, by):
    place = fill(memory)
    drop_all(server)
    if by == "search":
        found = place.search("a piano in Cairo", limit=1)
        assert texts(found) == ["In Cairo I bought a piano."]
        assert "it was made anew and gets everything again" in found.degraded[0]
        memory.settle()
    elif by == "add":
        place.add("The dentist moved to Thursday.")
        memory.settle()
    else:
        store = store_at(server)
        again = opened(embedder=WordEmbedder(), index=store)
        again.settle()
        close(again, store)
    assert held(server) == len(SAID) + (by == "add")
    assert place.search("a piano in Cairo", limit=1).degraded == ()


def test_what_is_erased_after_a_drop_is_complete_and_stays_away(memory, server):
    place = fill(memory)
    drop_all(server)
    assert place.erase().complete
    memory.settle()
    assert held(server) == 0
    fill(memory, SAID[:3])
    memory.settle()
    assert held(server) == 3
