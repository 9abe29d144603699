"""`QdrantStore`: conformance on the client's own mode, on loopback and on a server; what it asks."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from rag_memory_plugins.errors import InvalidInput, InvalidURL, MissingExtra, StoreError
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Point, RemovedPoint
from rag_memory_plugins.stores import qdrant_requests, sparse
from rag_memory_plugins.stores.points import OWNER, SESSION, owner_key, point_id
from rag_memory_plugins.stores.qdrant import QdrantStore
from rag_memory_plugins.stores.qdrant_requests import LOG, Requests
from rag_memory_plugins.testing.qdrant_server import QdrantServer
from rag_memory_plugins.testing.vector_points import ANN, along, message, units
from rag_memory_plugins.testing.vector_store import VectorStoreConformance

DIMENSION = 8
BOB = Scope("acme", "bob")


@pytest.fixture(scope="module")
def one_server():
    with QdrantServer() as running:
        yield running


@pytest.fixture
def server(one_server):
    """Empty, and with no request seen."""
    for name in one_server.collections.names():
        one_server.collections.answer("DELETE", name, "", {})
    one_server.forget()
    return one_server


class TestLocalMode(VectorStoreConformance):
    """The client without a server: what is put lives as long as the client."""

    durable = False

    async def aopen_store(self, place):
        return QdrantStore(":memory:", collection=place)


class TestLoopback(VectorStoreConformance):
    """The real client over HTTP, and the real search behind it."""

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.url = server.url

    async def aopen_store(self, place):
        return QdrantStore(self.url, collection=place)


class Hybrid(VectorStoreConformance):
    """Words beside vectors: fused by rank, so what is about the order of vectors is not for it."""

    def __init__(self, url):
        self.url = url

    async def aopen_store(self, place):
        return QdrantStore(self.url, collection=place, hybrid=True)


@pytest.mark.parametrize(
    "name",
    [
        "test_a_session_restricts",
        "test_a_user_sees_and_removes_nobody_elses",
        "test_a_log_sees_and_removes_nothing_of_another",
        "test_what_is_removed_is_gone_and_the_rest_stays",
    ],
)
def test_hybrid_keeps_what_is_about_walls(server, name):
    getattr(Hybrid(server.url), name)()


@pytest.mark.skipif("QDRANT_URL" not in os.environ, reason="QDRANT_URL names no server")
class TestServer(VectorStoreConformance):
    """A real server; QDRANT_API_KEY is its key."""

    async def aopen_store(self, place):
        key = os.environ.get("QDRANT_API_KEY")
        return QdrantStore(os.environ["QDRANT_URL"], api_key=key, collection=place)

    async def aforget(self, place):
        key = os.environ.get("QDRANT_API_KEY")
        client = AsyncQdrantClient(url=os.environ["QDRANT_URL"], api_key=key)
        for held in (await client.get_collections()).collections:
            if held.name.startswith(f"{place}-"):
                await client.delete_collection(held.name)
        await client.close()


def run(store, story=None, log="log", fingerprint="fp/1", dimension=DIMENSION):
    """Open a store, do something with it, close it; what that returned."""

    async def whole():
        try:
            await store.aopen(log, fingerprint, dimension)
            return await story(store) if story else None
        finally:
            await store.aclose()

    return asyncio.run(whole())


def collection_of(store):
    return store.name.removeprefix("qdrant/").partition("#")[0]


def said(seq, text, axis=0, scope=ANN):
    return Point(scope, "monday", seq, text, along(axis, DIMENSION)[None, :])


def test_a_collection_is_made_for_tenants(server):
    store = QdrantStore(server.url, m=24, ef_construct=77)
    run(store)
    made = server.collections.created(collection_of(store))
    assert made["hnsw_config"] == {"m": 0, "payload_m": 24, "ef_construct": 77}
    assert made["vectors"] == {"dense": {"size": DIMENSION, "distance": "Cosine"}}
    indexes = {
        request.body["field_name"]: request.body["field_schema"]
        for request in server.requests
        if request.path.endswith("/index")
    }
    assert indexes == {
        OWNER: {"type": "keyword", "is_tenant": True},
        SESSION: {"type": "keyword"},
        LOG: {"type": "keyword"},
    }


def test_options_of_a_collection_are_passed_on(server):
    store = QdrantStore(server.url, collection_options={"replication_factor": 2})
    run(store)
    assert server.collections.created(collection_of(store))["replication_factor"] == 2


def test_indexes_that_a_crash_left_out_are_made_by_the_next_opener(server):
    store = QdrantStore(server.url)
    run(store)
    server.forget()
    run(QdrantStore(server.url))
    assert not [request for request in server.requests if request.path.endswith("/index")]
    name = collection_of(store)
    made = server.collections.created(name)
    server.collections.answer("DELETE", name, "", {})
    server.collections.answer("PUT", name, "", made)
    run(QdrantStore(server.url))
    assert len([each for each in server.requests if each.path.endswith("/index")]) == 3


def test_every_question_and_removal_names_owner_and_log_outermost(server):
    async def story(store):
        await store.aput([said(1, "a piano"), said(2, "a kettle", 1)])
        await store.anearest(ANN, "a piano", along(0, DIMENSION), 5)
        await store.anearest(ANN, "a piano", along(0, DIMENSION), 5, "monday")
        await store.aremove([RemovedPoint(ANN, 1, 1), RemovedPoint(BOB, 1, 1)])

    run(QdrantStore(server.url, hybrid=True, ef_search=33), story)
    asked = [each for each in server.requests if each.path.rsplit("/", 1)[1] in FILTERED]
    assert len(asked) == 2 + 2 * 2
    for request in asked:
        lanes = [request.body, *request.body.get("prefetch", ())]
        assert len(lanes) == (3 if "query" in request.path else 1)
        for lane in lanes:
            assert set(lane["filter"]) == {"must"}
            whose = {each["key"]: each["match"]["value"] for each in lane["filter"]["must"][:2]}
            owner = owner_key("log", BOB if whose[OWNER].endswith("bob") else ANN)
            assert whose == {OWNER: owner, LOG: "log"}
    assert asked[0].body["prefetch"][0]["params"] == {"hnsw_ef": 33}


FILTERED = {"query", "delete", "count"}


def test_points_are_put_in_requests_of_bounded_size(server, monkeypatch):
    async def story(store):
        await store.aput([message(seq, along(seq, DIMENSION)) for seq in range(10)])

    monkeypatch.setattr(qdrant_requests, "MOST_POINTS", 4)
    run(QdrantStore(server.url), story)
    sizes = [len(each.body["points"]) for each in server.requests if "points" in each.body]
    assert sizes == [4, 4, 2]


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(1, 6), st.integers(1, 5_000))
def test_batches_hold_every_vector_once_and_keep_both_bounds(pieces, most, room):
    points = [message(seq, units(count, 4)) for seq, count in enumerate(pieces)]
    requests = Requests(models, 16, 100, 128, hybrid=False, options={}, log="log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdrant_requests, "MOST_POINTS", most)
        patch.setattr(qdrant_requests, "MOST_BYTES", room)
        batches = list(requests.batches(points))
    ids = [point.id for batch in batches for point in batch]
    assert ids == [point_id("log", ANN, n, k) for n, c in enumerate(pieces) for k in range(c)]
    assert all(1 <= len(batch) <= most for batch in batches)
    for batch in batches:
        size = sum(len(point.model_dump_json()) for point in batch)
        assert len(batch) == 1 or size <= room


@pytest.mark.parametrize("hybrid", [False, True])
def test_embedders_have_collections_of_their_own_and_so_has_hybrid(server, hybrid):
    stores = [QdrantStore(server.url, hybrid=hybrid) for _ in range(2)]
    for number, store in enumerate(stores):
        run(store, fingerprint=f"fp/{number}")
    names = {collection_of(store) for store in stores}
    assert names == set(server.collections.names())
    assert all(name.endswith("-hybrid") is hybrid for name in names)


def test_hybrid_finds_a_word_that_the_vectors_do_not(server):
    async def story(store):
        far = [said(seq, "nothing of note", 0) for seq in range(1, 40)]
        await store.aput([*far, said(99, "the zither was tuned", 5)])
        return await store.anearest(ANN, "who tunes a zither?", along(0, DIMENSION), 5)

    assert 99 in run(QdrantStore(server.url, hybrid=True), story)
    assert 99 not in run(QdrantStore(server.url), story)


WORDS = "piano kettle violin ladder carpet lantern saddle".split()


def test_nobody_elses_words_move_a_users_results(server):
    texts = [" ".join(WORDS[:count] + WORDS[:1] * (count % 3)) for count in range(1, 8)]
    asking = (" ".join(WORDS), units(1, DIMENSION, seed=1)[0], len(texts))

    async def story(store):
        points = zip(texts, units(len(texts), DIMENSION), strict=True)
        await store.aput(
            [Point(ANN, "monday", n, t, v[None, :]) for n, (t, v) in enumerate(points)]
        )
        await store.anearest(ANN, *asking)
        question = server.requests[-1]
        before = scores(question)
        await store.aput([said(n, f"{WORDS[0]} " * 3 + WORDS[6], 6, BOB) for n in range(300)])
        return before, scores(question)

    def scores(question):
        _, _, name, what = question.path.split("/", 3)
        found = server.collections.answer("POST", name, what, question.body)
        return {point["id"]: point["score"] for point in found["points"]}

    before, after = run(QdrantStore(server.url, hybrid=True), story)
    assert len(before) == len(texts)
    assert before == after


def test_a_question_without_words_is_asked_by_its_vector_alone(server):
    async def story(store):
        await store.aput([said(1, "..."), said(2, "a piano", 1)])
        return await store.anearest(ANN, "and of the...", along(0, DIMENSION), 1)

    assert run(QdrantStore(server.url, hybrid=True), story) == [1]


@given(st.text(max_size=80))
def test_sparse_indices_are_distinct_and_fit_32_bits(text):
    for indices, values in (sparse.said(text), sparse.asked(text)):
        assert len(indices) == len(set(indices)) == len(values)
        assert all(0 <= index < 2**32 for index in indices)
        assert all(1 <= value < 1 + sparse.SATURATION for value in values)


def test_a_collection_of_another_dimension_is_refused_naming_both(server):
    store = QdrantStore(server.url)
    run(store)
    with pytest.raises(StoreError, match=r"vectors of 8 Cosine and this embedder's are 9 Cosine"):
        run(QdrantStore(server.url), dimension=9)


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        (None, "has no mark of ours"),
        ({"other": 1}, "has no mark of ours"),
        ({"rag_memory": {"mark": "1", "fingerprint": "fp/2"}}, "is of embedder 'fp/2'"),
    ],
)
def test_a_collection_of_somebody_elses_is_refused(server, mark, problem):
    store = QdrantStore(server.url)
    run(store)
    name = collection_of(store)
    made = {**server.collections.created(name), "metadata": mark}
    server.collections.answer("DELETE", name, "", {})
    server.collections.answer("PUT", name, "", made)
    with pytest.raises(StoreError, match=problem):
        run(QdrantStore(server.url))


def test_the_name_is_of_one_making_of_the_collection(server):
    first, second = QdrantStore(server.url), QdrantStore(server.url)
    run(first)
    run(second)
    assert first.name == second.name
    server.collections.answer("DELETE", collection_of(first), "", {})
    third = QdrantStore(server.url)
    run(third)
    assert third.name != first.name
    assert collection_of(third) == collection_of(first)


def test_two_that_make_the_collection_at_once_agree(server):
    stores = [QdrantStore(server.url) for _ in range(6)]

    async def both():
        await asyncio.gather(*(store.aopen("log", "fp/1", DIMENSION) for store in stores))
        await asyncio.gather(*(store.aclose() for store in stores))

    asyncio.run(both())
    assert len({store.name for store in stores}) == 1


def test_a_store_serves_one_log():
    store = QdrantStore(":memory:")

    async def story(store):
        with pytest.raises(InvalidInput, match="make one for each memory"):
            await store.aopen("other", "fp/1", DIMENSION)

    run(store, story)


def test_a_client_that_is_passed_in_stays_open(server):
    async def story():
        client = AsyncQdrantClient(url=server.url, check_compatibility=False)
        store = QdrantStore(client)
        await store.aopen("log", "fp/1", DIMENSION)
        await store.aclose()
        found = await client.get_collection(collection_of(store))
        await client.close()
        return found.status

    assert asyncio.run(story()) == "green"


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"url_or_client": 5}, InvalidInput, "AsyncQdrantClient"),
        ({"url_or_client": "localhost:6333"}, InvalidURL, "https://host:6333"),
        ({"url_or_client": "ftp://host"}, InvalidURL, "https://host:6333"),
        ({"url_or_client": "https://u:hush@host"}, InvalidURL, "api_key="),
        ({"url_or_client": "https://host?api-key=hush"}, InvalidURL, "api_key="),
        ({"m": 0}, InvalidInput, "m: got 0"),
        ({"ef_construct": 1.5}, InvalidInput, "ef_construct"),
        ({"ef_search": True}, InvalidInput, "ef_search"),
        ({"timeout": 0}, InvalidInput, "timeout"),
        ({"collection": "a/b"}, InvalidInput, "without '/' and '#'"),
        ({"collection": ""}, InvalidInput, "collection"),
        ({"collection_options": {"metadata": {}}}, InvalidInput, "leave metadata to the store"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(values, error, match):
    with pytest.raises(error, match=match) as raised:
        QdrantStore(**{"url_or_client": "http://127.0.0.1:1", **values})
    assert "hush" not in str(raised.value)


def test_a_blocking_client_is_refused():
    client = QdrantClient(":memory:")
    with pytest.raises(InvalidInput, match="AsyncQdrantClient"):
        QdrantStore(client)
    client.close()


def test_a_missing_client_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[qdrant\]"):
        QdrantStore("http://127.0.0.1:1")
