"""Pinecone through its own client over loopback HTTP: namespaces, lag, limits, failures."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from contextlib import ExitStack
from itertools import count
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Message
from rag_memory_plugins.errors import InvalidInput, MissingExtra, StoreClosed, StoreError
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Point, RemovedPoint
from rag_memory_plugins.retrieval import chosen
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.stores.pinecone import PineconeStore
from rag_memory_plugins.stores.pinecone_errors import remedy_of, told
from rag_memory_plugins.stores.pinecone_records import Place, requests_of
from rag_memory_plugins.stores.pinecone_waiting import Deadline
from rag_memory_plugins.stores.points import point_id
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    Garbage,
    Raw,
    Refusal,
    Stall,
    html_page,
)
from rag_memory_plugins.testing.pinecone_server import PineconeServer
from rag_memory_plugins.testing.vector_points import ANN, along, awkward_scopes, message, units
from rag_memory_plugins.testing.vector_store import VectorStoreConformance

pinecone = pytest.importorskip("pinecone")

KEY = "pcsk_test_0123456789"
WIDTH = 64
PLACES = "Lisbon Oslo Quito Cairo Delhi Seoul Lima Turin Perth Accra".split()
THINGS = "bicycle piano kettle ladder violin carpet lantern saddle mirror anchor".split()
SAID = [f"In {place} I bought a {thing}." for place in PLACES for thing in THINGS]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """What the client would have slept between its tries, of which it keeps no account here."""
    from pinecone._internal import http_client

    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(http_client, "_async_retry_sleep", sleep)
    http_client.get_budget_registry()._reset()
    return slept


@pytest.fixture
def server():
    with PineconeServer(dimension=WIDTH, api_key=KEY) as server:
        yield server


@pytest.fixture
def make(server):
    """Stores of the server, closed after the test."""
    with ExitStack() as stack:

        def make(where=None, kind=PineconeStore, **options):
            own = Time()
            options = {"api_key": KEY, "clock": own, "sleep": own.sleep, **options}
            store = kind(where or server.url, name="pinecone", **options)
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def store(make):
    """One that is open for a log."""
    store = make()
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    return store


def put(store, *points):
    asyncio.run(store.aput(points))


def near(store, axis=0, scope=ANN, limit=10, text=""):
    return asyncio.run(store.anearest(scope, text, along(axis, WIDTH), limit))


def remove(store, *seqs, scope=ANN):
    asyncio.run(store.aremove([RemovedPoint(scope, seq, 1) for seq in seqs]))


def point(seq, axis=0, scope=ANN):
    return message(seq, along(axis, WIDTH), scope)


def asked(server, path):
    return [request.body for request in server.requests if request.path == path]


class TestConformance(VectorStoreConformance):
    """At once, and with an index that lags and does not say how far it is."""

    gaps: ClassVar = {
        "test_embedders_may_differ_in_dimension": (
            "an index of Pinecone's has one dimension: such an embedder takes another index"
        )
    }

    @pytest.fixture(autouse=True)
    def _server(self):
        with PineconeServer(dimension=self.dimension, api_key=KEY) as self.server:
            yield

    async def aopen_store(self, place):
        return PineconeStore(self.server.url, api_key=KEY, sleep=Time().sleep)


class TestConformanceBehind(TestConformance):
    @pytest.fixture(autouse=True)
    def _server(self):
        with PineconeServer(
            dimension=self.dimension, api_key=KEY, lag=2, fetch_lag=1, lsn=False
        ) as self.server:
            yield

    # No matter of time, and the slowest.
    test_of_random_vectors_the_nearest_are_found = None
    test_users_may_have_messages_of_the_same_number = None
    test_an_embedder_sees_and_removes_nothing_of_another = None

    async def asettled(self, store):
        self.server.index.catch_up()


# Namespaces


def test_every_request_names_the_namespace_of_its_tenant_and_never_the_default_one(server, store):
    scopes = awkward_scopes()[::4]
    for number, scope in enumerate(scopes):
        put(store, point(number, scope=scope))
        assert near(store, scope=scope) == [number]
        remove(store, number, scope=scope)
        asyncio.run(store.adrop_tenant(scope.tenant))
    names = [
        request.body.get("namespace")
        or request.body.get("name")
        or request.path[len("/namespaces/") :]
        for request in server.requests
        if request.path != "/describe_index_stats"
    ]
    tenants = {scope.tenant for scope in scopes}
    assert set(names) == {Place("log", "fp/1").namespace(tenant) for tenant in tenants}
    assert len(set(names)) == len(tenants)
    assert all(name.startswith("rag-memory-") and len(name) == 51 for name in names)


@given(st.sets(st.tuples(st.text(), st.text(), st.text(min_size=1)), min_size=2, max_size=5))
def test_no_two_logs_embedders_or_tenants_share_a_namespace(triples):
    names = {Place(log, print_).namespace(tenant) for log, print_, tenant in triples}
    assert len(names) == len(triples)
    assert all(name.isascii() and 0 < len(name) <= 512 for name in names)


def test_a_search_states_equalities_alone_that_must_all_hold(server, store):
    put(store, point(1))
    asyncio.run(store.anearest(ANN, "", along(0, WIDTH), 5, "monday"))
    (wanted,) = asked(server, "/query")[-1]["filter"].values()
    assert wanted == [
        {"tenant": {"$eq": "acme"}},
        {"rag_memory_owner": {"$eq": "log/acme/ann"}},
        {"rag_memory_session": {"$eq": "monday"}},
    ]


def test_records_that_are_not_the_users_are_left_out_and_told(server, make):
    events = []
    store = make(hooks=[events.append])
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    put(store, point(1))
    ids = [point_id("log", Scope("acme", "bob"), 1, 0), point_id("log", ANN, 1, 0), "x"]
    matches = [{"id": each, "score": 0.5} for each in ids]
    server.script(Raw(200, json.dumps({"matches": matches}).encode()), path="/query")
    assert near(store) == [1]
    assert [(event.name, event.scope) for event in events] == [("pinecone.foreign", "acme/ann")]
    assert "2 of 3 records" in events[0].data["reason"]


def test_a_tenant_is_dropped_whole_and_nobody_else(server, store):
    put(store, point(1), point(2, scope=Scope("acme", "bob")), point(3, scope=Scope("zeta", "ann")))
    store.drop_tenant("acme")
    assert near(store) == []
    assert near(store, scope=Scope("zeta", "ann")) == [3]
    assert list(server.index.records()) == [Place("log", "fp/1").namespace("zeta")]
    store.drop_tenant("acme")
    put(store, point(1))
    assert near(store) == [1]


def test_a_namespace_that_is_not_there_is_empty_and_an_index_that_is_not_there_is_an_error(
    server, store
):
    def reply(request):
        return Answer() if request.path == "/describe_index_stats" else Refusal(404, "not found")

    server.reply = reply
    assert near(store) == []
    remove(store, 1)
    store.drop_tenant("acme")
    server.reply = Answer()
    put(store, point(1))
    server.reply = reply
    for call in (near, lambda store: remove(store, 1), lambda store: store.drop_tenant("acme")):
        with pytest.raises(StoreError, match="check the index's name or host"):
            call(store)


# Lag


def test_a_put_returns_when_a_search_sees_it(server, store):
    server.index.lag = 5
    put(store, point(1), point(2, scope=Scope("zeta", "ann")))
    assert near(store) == [1]
    assert near(store, scope=Scope("zeta", "ann")) == [2]


def test_a_put_that_is_not_seen_in_time_says_so_and_is_not_written_again(server, store):
    server.index.lag = None
    for _ in range(2):
        with pytest.raises(StoreError, match=r"pinecone: 1 records are written and no search sees"):
            put(store, point(1))
    assert len(asked(server, "/vectors/upsert")) == 1
    server.index.lag = 0
    put(store, point(1))
    assert len(asked(server, "/vectors/upsert")) == 1
    put(store, point(1))
    assert len(asked(server, "/vectors/upsert")) == 2


def test_what_was_removed_before_it_was_seen_is_written_again_when_it_is_put_again(server, store):
    server.index.lag = None
    with pytest.raises(StoreError):
        put(store, point(1))
    remove(store, 1)
    server.index.lag = 0
    put(store, point(1))
    assert near(store) == [1]


def test_an_answer_from_before_an_acknowledged_write_is_asked_for_again(server, make):
    events = []
    store = make(hooks=[events.append])
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    put(store, point(1))
    old = Raw(200, b'{"matches": []}', headers={"x-pinecone-max-indexed-lsn": "0"})
    server.script(old, path="/query")
    assert near(store) == [1]
    assert events == []
    server.script(old, old, path="/query")
    assert near(store) == []
    assert [event.name for event in events] == ["pinecone.behind"]


@pytest.fixture
def large_is_twenty(monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 20)
    monkeypatch.setattr(chosen, "SAMPLE", 4)  # else it holds all hundred


@pytest.fixture
def memory(opened, make, large_is_twenty):
    return opened(embedder=WordEmbedder(), index=make())


def fill(memory, said=SAID):
    place = memory.conversation("acme", "ann", "monday")
    place.add([Message("user", text) for text in said])
    memory.settle()
    return place


def texts(result):
    return [hit.message.content for hit in result.hits]


class Wheels(WordEmbedder):
    """Knows that a velocipede is a bicycle, which no keyword tells."""

    def _vector(self, text):
        return super()._vector(text.replace("velocipede", "bicycle"))


def lost(opened, store):
    """Bicycles that are not found when a velocipede is asked for, while an index lags."""
    memory = opened(embedder=Wheels(), index=store)
    missed = []
    for start, end in ((0, 40), (40, 60), (60, 100)):  # never so few that all are compared
        place = fill(memory, SAID[start:end])
        found = place.search("velocipede", limit=10)
        assert found.degraded == ()
        missed += sorted({each for each in SAID[:end] if "bicycle" in each} - {*texts(found)})
    return missed


@pytest.mark.parametrize("lag", [0, 1, 3, None])
def test_no_hit_is_lost_however_far_the_index_lags(opened, server, make, large_is_twenty, lag):
    server.index.lag = lag
    assert lost(opened, make()) == []


class Hasty(PineconeStore):
    """Acknowledges what is written, seen or not."""

    async def _aseen(self, index, request, deadline):
        pass


def test_without_waiting_hits_would_be_lost(opened, server, make, large_is_twenty):
    server.index.lag = None
    assert lost(opened, make(kind=Hasty)) != []


# Limits


def test_a_large_put_is_cut_into_what_pinecone_takes(server, store):
    many = Point(ANN, "monday", 1, "", units(2_500, WIDTH))
    put(store, many)
    sizes = [len(body["vectors"]) for body in asked(server, "/vectors/upsert")]
    assert sum(sizes) == 2_500
    assert max(sizes) <= 1_000
    asyncio.run(store.aremove([RemovedPoint(ANN, 1, 2_500)]))
    deleted = [len(body["ids"]) for body in asked(server, "/vectors/delete")]
    assert (sum(deleted), max(deleted)) == (2_500, 1_000)
    assert max(len(body["ids"]) for body in asked(server, "/vectors/fetch")) == 100
    assert server.index.records() == {}


def test_no_upsert_is_over_two_megabytes():
    points = [Point(ANN, "monday", seq, "", units(3, 3_072, seq)) for seq in range(40)]
    requests = requests_of(Place("log", "fp/1"), points, hybrid=False)
    assert sum(len(each.records) for each in requests) == 120
    # As the client writes it: without spaces.
    sizes = [len(json.dumps(each.records, separators=(",", ":"))) for each in requests]
    assert len(sizes) > 1
    assert max(sizes) < 2_000_000


def test_a_vector_of_zeros_is_kept_back_and_is_near_to_nothing(server, store):
    put(store, Point(ANN, "monday", 1, "", np.zeros((1, WIDTH), np.float32)), point(2))
    assert near(store) == [2]
    assert asyncio.run(store.anearest(ANN, "", np.zeros(WIDTH, np.float32), 5)) == []
    assert len(asked(server, "/vectors/upsert")[0]["vectors"]) == 1


# Terms


@pytest.fixture
def both(make, server):
    server.index.metric = "dotproduct"
    store = make(hybrid=True)
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    return store


def test_terms_find_what_the_vector_does_not(server, both):
    put(
        both,
        Point(ANN, "monday", 1, "a red kettle", along(1, WIDTH)[None]),
        Point(ANN, "monday", 2, "a blue carpet", along(2, WIDTH)[None]),
        Point(ANN, "monday", 3, "", along(3, WIDTH)[None]),
    )
    assert near(both, 5, text="which carpets?", limit=1) == [2]
    assert near(both, 5, text="kettles", limit=1) == [1]
    assert near(both, 3, text="and of the", limit=1) == [3]


def test_how_a_term_counts_does_not_depend_on_other_tenants(server, both):
    put(both, Point(ANN, "monday", 1, "a red kettle", along(1, WIDTH)[None]))
    others = [Scope(f"tenant {number}", "bob") for number in range(20)]
    put(both, *(Point(who, "monday", 1, "kettle kettle", along(1, WIDTH)[None]) for who in others))
    put(both, Point(ANN, "monday", 2, "a red kettle", along(1, WIDTH)[None]))
    mine = server.index.records()[Place("log", "fp/1").namespace("acme")].values()
    first, second = (record["sparseValues"] for record in mine)
    assert first == second


def test_terms_need_an_index_of_dot_products(make):
    with pytest.raises(InvalidInput, match=r"hybrid: got 'an index of metric cosine'"):
        asyncio.run(make(hybrid=True).aopen("log", "fp/1", WIDTH))


# Opening


def test_an_index_of_another_dimension_is_refused_and_both_are_named(make):
    store = make()
    with pytest.raises(InvalidInput, match=r"of dimension 64.*have dimension 384"):
        asyncio.run(store.aopen("log", "fp/1", 384))
    asyncio.run(store.aopen("other log", "fp/2", WIDTH))
    put(store, point(1))


def test_an_index_may_be_named_and_the_client_be_ones_own(server, make):
    async def story():
        async with pinecone.AsyncPinecone(KEY, host=server.url) as client:
            store = make("memory", client=client, api_key=None)
            await store.aopen("log", "fp/1", WIDTH)
            await store.aput([point(1)])
            assert await store.anearest(ANN, "", along(0, WIDTH), 5) == [1]
            await store.aclose()
            wrong = make("other", client=client, api_key=None)
            with pytest.raises(StoreError, match="check the index's name"):
                await wrong.aopen("log", "fp/1", WIDTH)

    asyncio.run(story())


def test_an_index_that_cannot_be_reached_on_opening_is_checked_when_it_can(server, make):
    events = []
    store = make(hooks=[events.append])
    server.reply = Refusal(503, "busy")
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    assert [event.name for event in events] == ["pinecone.unreachable"]
    server.reply = Answer()
    put(store, point(1))
    assert near(store) == [1]
    store = make()
    server.reply = Refusal(503, "busy")
    asyncio.run(store.aopen("log", "fp/1", 8))
    server.reply = Answer()
    with pytest.raises(InvalidInput, match="of dimension 64"):
        put(store, point(1))


def test_a_store_serves_one_memory(store):
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    with pytest.raises(InvalidInput, match="it serves a memory already"):
        asyncio.run(store.aopen("log2", "fp/1", WIDTH))


def test_a_store_that_was_closed_or_never_opened_says_so(make):
    store = make()
    with pytest.raises(StoreError, match="serves no log"):
        put(store, point(1))
    store.close()
    with pytest.raises(StoreClosed, match="is closed"):
        near(store)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pinecone", None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[pinecone\]"):
        PineconeStore("memory", api_key=KEY)


@pytest.mark.parametrize(
    ("where", "options", "field"),
    [
        ("", {"api_key": KEY}, "index_or_host"),
        ("memory", {}, "api_key"),
        ("memory", {"api_key": "two\nlines"}, "api_key"),
        ("memory", {"client": "no client"}, "client"),
    ],
)
def test_what_it_is_made_of_is_checked(monkeypatch, where, options, field):
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    with pytest.raises(InvalidInput) as caught:
        PineconeStore(where, **options)
    assert caught.value.field == field
    assert "two" not in str(caught.value)


def test_the_key_may_come_from_the_environment_and_is_never_shown(monkeypatch, server):
    monkeypatch.setenv("PINECONE_API_KEY", KEY)
    store = PineconeStore(server.url)
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    assert KEY not in repr(store) + store.name
    store.close()


# Failures

NO_JSON = Raw(200, b'{"matches": [', "application/json")
FAULTS = {
    "401": (Refusal(401, f"Invalid API Key {KEY}"), "check the API key"),
    "402": (Refusal(402, "unpaid"), "billing"),
    "403": (Refusal(403, "no access"), "check the API key"),
    "404": (Refusal(404, "no such index"), "check the index's name or host"),
    "400": (Refusal(400, "bad vector"), "check that the index holds dense vectors"),
    "429 for ever": (refusals.rate_limited(retry_after=7), "ask Pinecone for a higher rate limit"),
    "500": (Refusal(500, "oops"), "status page"),
    "503": (Refusal(503, "busy"), "status page"),
    "reset": (Cut("request", reset=True, reply=Refusal(500, "")), "the network"),
    "cut": (Cut("headers", reply=Refusal(500, "")), "the network"),
    "no JSON": (NO_JSON, "check that the host is Pinecone's"),
    "a page": (html_page(), "check that the host is Pinecone's"),
    "nothing": (Raw(200, b"", "application/json"), "check that the host is Pinecone's"),
}
CALLS = {
    "put": lambda store: put(store, point(2)),
    "nearest": near,
    "remove": lambda s: remove(s, 1),
}


def is_told(error, remedy):
    shown = "".join(traceback.format_exception(error)) + repr(error)
    return (
        isinstance(error, StoreError)
        and str(error).startswith("pinecone: ")
        and remedy in str(error)
        and KEY not in shown
    )


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(("fault", "remedy"), FAULTS.values(), ids=FAULTS.keys())
def test_a_failure_is_a_store_error_with_a_remedy_and_without_the_key(
    server, store, fault, remedy, call
):
    put(store, point(1))
    server.reply = fault
    with pytest.raises(StoreError) as caught:
        call(store)
    assert is_told(caught.value, remedy)
    server.reply = Answer()
    put(store, point(2, 1))
    assert 2 in near(store)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_nobody_there_is_a_store_error(server, store, call):
    put(store, point(1))
    server.close()
    with pytest.raises(StoreError) as caught:
        call(store)
    assert is_told(caught.value, "the network")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_no_answer_is_a_store_error_once_the_calls_own_time_is_over(server, make, call):
    store = make(clock=time.monotonic, sleep=asyncio.sleep, read_seconds=0.3, write_seconds=0.3)
    asyncio.run(store.aopen("log", "fp/1", WIDTH))
    server.reply = Stall("request")
    with pytest.raises(StoreError) as caught:
        call(store)
    assert is_told(caught.value, "no answer in 0.3 s")
    server.reply = Answer()
    again(store.aput, [point(1)])
    assert 1 in again(store.anearest, ANN, "", along(0, WIDTH), 10)


def test_a_limit_that_passes_is_waited_for_as_long_as_pinecone_says(server, store, pauses):
    server.script(*[refusals.rate_limited(retry_after=3)] * 2, path="/vectors/upsert")
    put(store, point(1))
    assert near(store) == [1]
    assert len(asked(server, "/vectors/upsert")) == 3
    assert len(pauses) == 2
    assert min(pauses) >= 3


def test_a_put_whose_acknowledgement_was_lost_is_there_once(server, store):
    server.script(Cut("request", reset=True), path="/vectors/upsert")
    put(store, point(1))
    assert len(asked(server, "/vectors/upsert")) == 2
    assert [len(records) for records in server.index.records().values()] == [1]


def test_when_one_tenants_put_fails_the_others_are_put_again_in_their_place(server, store):
    points = [point(number, scope=Scope(f"tenant {number}", "ann")) for number in range(20)]
    server.script(Refusal(403, "quota"), path="/vectors/upsert")
    with pytest.raises(StoreError, match="quota"):
        put(store, *points)
    put(store, *points)
    assert [len(records) for records in server.index.records().values()] == [1] * 20


@pytest.mark.parametrize("fault", [Refusal(403, "no"), Garbage()], ids=["before", "after"])
def test_whatever_request_fails_nothing_is_lost_doubled_or_left_behind(fault):
    scopes = [ANN, Scope("acme", "bob"), Scope("zeta", "ann")]
    for failing in count(1):
        numbers = count(1)
        with PineconeServer(
            dimension=WIDTH,
            api_key=KEY,
            lag=1,
            fetch_lag=1,
            reply=lambda _, numbers=numbers, at=failing: fault if next(numbers) == at else Answer(),
        ) as server:
            store = PineconeStore(server.url, api_key=KEY, sleep=Time().sleep)
            again(store.aopen, "log", "fp/1", WIDTH)
            again(store.aput, [point(seq, seq, who) for who in scopes for seq in (1, 2)])
            again(store.aremove, [RemovedPoint(who, 1, 1) for who in scopes[::2]])
            server.reply = Answer()
            server.index.catch_up()
            found = [sorted(near(store, scope=scope)) for scope in scopes]
            store.close()
        assert found == [[2], [1, 2], [2]]
        assert sum(len(records) for records in server.index.records().values()) == 4
        if next(numbers) <= failing:
            return


def again(call, *values):
    """Call until it is acknowledged, as a worker does."""
    for _ in range(2):
        try:
            return asyncio.run(call(*values))
        except StoreError:
            continue
    return asyncio.run(call(*values))


def test_a_removal_is_read_back(server, store):
    put(store, point(1), point(2))
    server.index.catch_up()
    server.index.fetch_lag = None
    with pytest.raises(StoreError, match="records were deleted and are still there"):
        remove(store, 1)
    server.index.fetch_lag = 2
    remove(store, 1)
    assert near(store) == [2]
    remove(store, 1)


def every_error(kind):
    return {kind}.union(*(every_error(each) for each in kind.__subclasses__()))


def test_every_error_of_the_client_is_mapped():
    from pinecone import errors, exceptions

    kinds = every_error(errors.PineconeError)
    kinds |= {getattr(errors, name) for name in errors.__all__}
    kinds |= {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert len(kinds) > 15
    made = [made_of(kind) for kind in kinds]
    made += [errors.ApiError("what", status) for status in range(400, 600)]
    for error in made:
        with pytest.raises(StoreError, match="pinecone: query failed"):
            with told("pinecone", "query", Deadline(1.0, lambda: 0.0), KEY):
                raise error
        assert remedy_of(error) is not None, error


def made_of(kind):
    for values in (("what",), ("what", 418), ("what", "state")):
        try:
            return kind(*values)
        except TypeError:
            continue
    raise AssertionError(f"how is {kind} made?")


# A chat


def test_the_chat_goes_on_without_pinecone_and_catches_up(memory, server):
    place = fill(memory)
    server.reply = Refusal(503, "busy")
    place.add("The dentist moved to Thursday.")
    memory.settle()
    found = place.search("a piano in Cairo", limit=1)
    assert texts(found) == ["In Cairo I bought a piano."]
    assert found.degraded[0].startswith("dense: pinecone failed")
    assert "status page" in found.degraded[0]
    context = place.context("a piano in Cairo")
    assert any("pinecone" in reason for reason in context.degraded)
    server.reply = Answer()
    memory.settle()
    found = place.search("dentists on a Thursday", limit=1)
    assert texts(found) == ["The dentist moved to Thursday."]
    assert found.degraded == ()
    assert sum(len(records) for records in server.index.records().values()) == len(SAID) + 1


def test_a_memory_opens_while_pinecone_is_down_and_uses_it_later(
    opened, server, make, large_is_twenty
):
    server.reply = Refusal(503, "busy")
    memory = opened(embedder=WordEmbedder(), index=make())
    place = fill(memory)
    assert place.search("a piano in Cairo", limit=1).degraded != ()
    server.reply = Answer()
    memory.settle()
    assert place.search("a piano in Cairo", limit=1).degraded == ()


def test_an_erase_waits_until_pinecone_has_let_go(memory, server):
    place = fill(memory)
    server.reply = Refusal(503, "busy")
    receipt = place.erase(level="user")
    assert "status page" in receipt.pending
    server.reply = Answer()
    memory.settle()
    assert server.index.records() == {}
