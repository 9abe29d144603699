"""The loopback Pinecone, through Pinecone's own clients."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket

import numpy as np
import pytest

from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Cut, Garbage, Refusal, Slow
from rag_memory_plugins.testing.pinecone_data import Refused, Space, matches, scored
from rag_memory_plugins.testing.pinecone_server import PineconeServer

pinecone = pytest.importorskip("pinecone")

KEY = "test-key"
RECORDS = [
    {"id": "a", "values": [1.0, 0.0], "metadata": {"kind": "note", "year": 2024}},
    {"id": "b", "values": [0.6, 0.8], "metadata": {"kind": "note", "year": 2026}},
    {"id": "c", "values": [0.0, 2.0], "metadata": {"kind": "chat", "tags": ["red", "blue"]}},
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    from pinecone._internal import http_client

    monkeypatch.setattr(http_client, "_retry_sleep", lambda _: None)
    http_client.get_budget_registry()._reset()


@pytest.fixture
def server():
    with PineconeServer(dimension=2) as server:
        yield server


@pytest.fixture
def index(server):
    """The blocking client of the index; `PineconeStore` uses the other one."""
    with pinecone.Pinecone(api_key=KEY).index(host=server.url) as index:
        yield index


@pytest.fixture
def filled(index):
    index.upsert(vectors=RECORDS, namespace="acme")
    return index


def ids(answer):
    return [match.id for match in answer.matches]


def near(index, vector=(0.0, 1.0), top_k=10, namespace="acme", **more):
    return index.query(vector=list(vector), top_k=top_k, namespace=namespace, **more)


def refused(call, *args, **values):
    with pytest.raises(pinecone.errors.ApiError) as caught:
        call(*args, **values)
    return caught.value.status_code


def test_the_nearest_come_first_with_their_cosine(filled):
    found = near(filled, top_k=2, include_values=True, include_metadata=True)
    assert [(match.id, pytest.approx(match.score)) for match in found.matches] == [
        ("c", 1.0),
        ("b", 0.8),
    ]
    assert list(found.matches[0].values) == [0.0, 2.0]
    assert found.matches[0].metadata == {"kind": "chat", "tags": ["red", "blue"]}
    bare = near(filled, top_k=1).matches[0]
    assert not bare.values
    assert not bare.metadata


@pytest.mark.parametrize(
    ("metric", "best"), [("cosine", ["c", "b", "a"]), ("dotproduct", ["c", "b", "a"])]
)
def test_scores_are_exact(server, filled, metric, best):
    server.index.metric = metric
    found = near(filled, (0.1, 1.0))
    assert ids(found) == best
    values = np.array([record["values"] for record in RECORDS])
    expected = values @ [0.1, 1.0]
    if metric == "cosine":
        expected /= np.linalg.norm(values, axis=1) * np.linalg.norm([0.1, 1.0])
    assert [match.score for match in found.matches] == pytest.approx(sorted(expected)[::-1])


def test_of_distances_the_smallest_is_first(server, filled):
    server.index.metric = "euclidean"
    found = near(filled, (0.0, 1.0))
    assert [(match.id, round(match.score, 3)) for match in found.matches] == [
        ("b", 0.4),
        ("c", 1.0),
        ("a", 2.0),
    ]


def test_namespaces_are_apart_and_no_name_is_the_default_one(filled):
    filled.upsert(vectors=[("z", [1.0, 0.0])])
    assert ids(near(filled, namespace="__default__")) == ["z"]
    assert ids(near(filled, namespace="")) == ["z"]
    assert ids(near(filled, namespace="zeta")) == []
    assert len(ids(near(filled))) == 3
    stats = filled.describe_index_stats()
    assert {name: each.vector_count for name, each in stats.namespaces.items()} == {
        "acme": 3,
        "__default__": 1,
    }
    assert (stats.dimension, stats.metric, stats.total_vector_count) == (2, "cosine", 4)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"kind": "note"}, "ab"),
        ({"kind": {"$eq": "note"}, "year": {"$gt": 2024}}, "b"),
        ({"kind": {"$ne": "note"}}, "c"),
        ({"year": {"$in": [2024, 2025]}}, "a"),
        ({"year": {"$nin": [2024]}}, "bc"),
        ({"year": {"$gte": 2024, "$lt": 2026}}, "a"),
        ({"year": {"$lte": 2026}}, "ab"),
        ({"year": {"$exists": False}}, "c"),
        ({"tags": "red"}, "c"),
        ({"tags": {"$in": ["blue", "green"]}}, "c"),
        ({"$or": [{"kind": "chat"}, {"year": 2026}]}, "bc"),
        ({"$and": [{"kind": "note"}, {"year": 2026}]}, "b"),
        ({"kind": "nothing"}, ""),
        ({"year": True}, ""),
    ],
)
def test_a_filter_keeps_what_it_says(filled, where, expected):
    assert sorted(ids(near(filled, filter=where))) == sorted(expected)


@pytest.mark.parametrize("where", [{"kind": {"$like": "n%"}}, {"$not": [{"kind": "note"}]}])
def test_a_filter_with_an_unknown_operator_is_refused(filled, where):
    assert refused(near, filled, filter=where) == 400


def test_terms_are_added_to_dot_products_and_refused_elsewhere(server, filled):
    sparse = {"indices": [7, 2**32 - 1], "values": [0.5, 2.0]}
    assert refused(near, filled, sparse_vector=sparse) == 400
    server.index.metric = "dotproduct"
    records = [{"id": "d", "values": [0.0, 0.1], "sparse_values": {"indices": [7], "values": [9]}}]
    filled.upsert(vectors=records, namespace="acme")
    found = near(filled, sparse_vector=sparse)
    assert (found.matches[0].id, round(found.matches[0].score, 3)) == ("d", 4.6)


def test_a_query_may_name_a_record(filled):
    assert ids(filled.query(id="a", top_k=1, namespace="acme")) == ["a"]


def test_records_are_fetched_by_id(filled):
    found = filled.fetch(ids=["a", "c", "x"], namespace="acme").vectors
    assert sorted(found) == ["a", "c"]
    assert (list(found["a"].values), found["a"].metadata["year"]) == ([1.0, 0.0], 2024)


def test_an_update_changes_a_record(filled):
    filled.update(id="a", values=[0.0, 3.0], set_metadata={"year": 2030}, namespace="acme")
    found = filled.fetch(ids=["a"], namespace="acme").vectors["a"]
    assert list(found.values) == [0.0, 3.0]
    assert found.metadata == {"kind": "note", "year": 2030}
    filled.update(id="x", set_metadata={"year": 2030}, namespace="acme")
    assert refused(filled.update, id="a", values=[1.0], namespace="acme") == 400


def test_an_upsert_takes_the_place_of_a_record(filled):
    filled.upsert(vectors=[("a", [0.0, 1.0])], namespace="acme")
    found = filled.fetch(ids=["a"], namespace="acme").vectors["a"]
    assert (list(found.values), found.metadata or None) == ([0.0, 1.0], None)


def test_records_are_deleted_by_id_by_filter_or_all(filled):
    filled.delete(ids=["a", "x"], namespace="acme")
    assert sorted(ids(near(filled))) == ["b", "c"]
    filled.delete(filter={"kind": "note"}, namespace="acme")
    assert ids(near(filled)) == ["c"]
    filled.delete(delete_all=True, namespace="acme")
    assert ids(near(filled)) == []
    assert refused(filled.delete, ids=["a"], namespace="nowhere") == 404


def test_a_namespace_is_deleted_whole(filled):
    assert filled.describe_namespace(name="acme").record_count == 3
    filled.delete_namespace(name="acme")
    assert refused(filled.describe_namespace, name="acme") == 404
    assert refused(filled.delete_namespace, name="acme") == 404
    assert filled.describe_index_stats().namespaces == {}


def test_ids_are_listed_in_pages(index):
    names = [f"{kind}#{number:03}" for kind in "ab" for number in range(130)]
    index.upsert(vectors=[(name, [1.0, 0.0]) for name in names], namespace="acme")
    pages = [[item.id for item in page.vectors] for page in index.list(namespace="acme")]
    assert [len(page) for page in pages] == [100, 100, 60]
    assert [name for page in pages for name in page] == names
    page = index.list_paginated(prefix="b#", limit=3, namespace="acme")
    assert [item.id for item in page.vectors] == ["b#000", "b#001", "b#002"]
    page = index.list_paginated(prefix="b#12", pagination_token="b#125", limit=3, namespace="acme")
    assert [item.id for item in page.vectors] == ["b#126", "b#127", "b#128"]


def test_an_index_is_found_by_its_name(server):
    client = pinecone.Pinecone(api_key=KEY, host=server.url)
    model = client.indexes.describe("memory")
    assert (model.host, model.dimension, model.metric) == (server.url, 2, "cosine")
    with client.index("memory") as index:
        index.upsert(vectors=RECORDS, namespace="acme")
        assert ids(near(index, top_k=1)) == ["c"]
    assert refused(client.indexes.describe, "other") == 404
    client.close()


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"id": "a", "values": [1.0]}, 400),
        ({"id": "a", "values": [0.0, 0.0]}, 400),
        ({"id": "a", "values": [1.0, 0.0], "metadata": {"text": "x" * 41_000}}, 400),
        # The client itself looks for this one from release to release.
        ({"id": "a", "values": [1.0, 0.0], "metadata": {"more": None}}, 400),
    ],
)
def test_what_pinecone_refuses_is_refused(server, index, record, status):
    assert refused(index.upsert, vectors=[record], namespace="acme") == status
    assert server.index.records() == {}


def test_requests_have_limits(index):
    many = [(str(number), [1.0, 0.0]) for number in range(1_001)]
    assert refused(index.upsert, vectors=many, namespace="acme") == 400
    index.upsert(vectors=many[:1_000], namespace="acme")
    assert refused(index.delete, ids=[name for name, _ in many], namespace="acme") == 400
    large = [(str(number), [1.0, 0.0], {"text": "x" * 39_000}) for number in range(60)]
    assert refused(index.upsert, vectors=large, namespace="acme") == 413


def test_a_wrong_key_is_refused_and_a_strange_path_not_found(server):
    with pinecone.Pinecone(api_key="other").index(host=server.url) as index:
        assert refused(index.describe_index_stats) == 401
    client = http.client.HTTPConnection(*server.address)
    client.request("POST", "/vectors/upsert", b"[", {"Api-Key": KEY})
    answer = client.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (400, 3)
    client.request("GET", "/vectors/what", headers={"Api-Key": KEY})
    answer = client.getresponse()
    assert (answer.status, json.loads(answer.read())["message"]) == (
        404,
        "no such path: GET /vectors/what",
    )
    client.close()


def test_a_write_is_seen_after_so_many_reads_and_headers_tell(server, index):
    server.index.lag, server.index.fetch_lag = 2, 1
    written = index.upsert(vectors=RECORDS, namespace="acme").response_info
    assert written.raw_headers["x-pinecone-request-lsn"] == "1"
    seen = [near(index) for _ in range(3)]
    assert [len(each.matches) for each in seen] == [0, 0, 3]
    told = [each.response_info.raw_headers["x-pinecone-max-indexed-lsn"] for each in seen]
    assert told == ["0", "0", "1"]
    fetched = [index.fetch(ids=["a"], namespace="acme") for _ in range(2)]
    assert [len(each.vectors) for each in fetched] == [0, 1]
    assert "x-pinecone-max-indexed-lsn" not in fetched[0].response_info.raw_headers


def test_namespaces_count_their_writes_apart(index):
    for namespace, lsn in (("acme", "1"), ("zeta", "1"), ("acme", "2")):
        info = index.upsert(vectors=RECORDS, namespace=namespace).response_info
        assert info.raw_headers["x-pinecone-request-lsn"] == lsn


def test_an_index_may_lag_until_it_is_told_and_say_nothing(server, index):
    server.index.lag, server.index.lsn = None, False
    info = index.upsert(vectors=RECORDS, namespace="acme").response_info
    found = near(index)
    assert ids(found) == []
    assert not any(
        "lsn" in name for name in {**info.raw_headers, **found.response_info.raw_headers}
    )
    assert len(server.index.records()["acme"]) == 3
    server.index.catch_up()
    assert len(ids(near(index))) == 3


def test_writes_are_seen_in_their_order():
    space = Space()
    space.write(lambda held: held.update(a={"id": "a"}))
    assert space.read("query", 1) == {}
    space.write(lambda held: held.clear())
    assert list(space.read("query", 1)) == ["a"]
    assert space.read("query", 1) == {}
    assert space.indexed == space.newest == 2


def test_a_refusal_comes_instead_and_a_fault_around_the_answer_after(server, index):
    server.script(refusals.rate_limited(retry_after=1), path="/vectors/upsert")
    server.script(Cut("request", reset=True, reply=Refusal(500, "")), path="/vectors/upsert")
    server.script(Cut("request"), path="/vectors/upsert")
    index.upsert(vectors=RECORDS, namespace="acme")
    assert [request.path for request in server.requests] == ["/vectors/upsert"] * 4
    # Twice carried out: the third was cut after it was.
    info = index.upsert(vectors=RECORDS, namespace="acme").response_info
    assert info.raw_headers["x-pinecone-request-lsn"] == "3"


def test_every_request_may_be_refused_for_ever(server, filled):
    server.reply = refusals.rate_limited(retry_after=0)
    with pytest.raises(pinecone.errors.RateLimitError) as caught:
        near(filled)
    assert caught.value.retry_after == 0
    server.reply = Refusal(503, "busy")
    assert refused(near, filled) == 503
    server.reply = Garbage()
    with pytest.raises(pinecone.errors.ResponseParsingError):
        near(filled)


def test_an_answer_may_be_held_until_it_is_released(server, filled):
    server.reply = lambda request: Slow() if request.path == "/query" else Refusal(500, "")

    async def story():
        async with pinecone.AsyncPinecone(KEY) as client:
            async with await client.index(host=server.url) as slow:
                work = asyncio.ensure_future(near(slow))
                await server.await_for(1, path="/query")
                assert not work.done()
                server.release()
                return ids(await work)

    assert len(asyncio.run(story())) == 3


def test_its_parts_stand_alone():
    assert matches({}, {})
    with pytest.raises(Refused):
        matches({"a": 1}, {"a": {"$regex": "x"}})
    assert scored([], "cosine", [1.0], None) == []


def test_a_request_whose_body_was_cut_never_arrived() -> None:
    with PineconeServer(dimension=3) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(b"POST /query HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""  # closed, without an answer
        assert server.requests == []
