"""`open_memory` by URL: which engine, what a URL may say, and what is closed."""

from __future__ import annotations

import pytest

from rag_memory_plugins import open_memory
from rag_memory_plugins.engines import make_database, make_state, make_store
from rag_memory_plugins.errors import InvalidURL
from rag_memory_plugins.stores.edge import EdgeStore
from rag_memory_plugins.stores.local_state import LocalState
from rag_memory_plugins.stores.postgres import PostgresDatabase
from rag_memory_plugins.stores.resilient import ResilientState
from tests.stores.servers import RedisServer


def test_postgres_pgvector_and_redis_by_their_urls(log_url, words):
    with (
        RedisServer() as redis,
        open_memory(log_url, index="pgvector", shared=redis.url(), embedder=words) as memory,
    ):
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("the parrot is green")
        ann.add("the cat is black")
        memory.settle()
        assert ann.search("parrot", 1)[0].message.content == "the parrot is green"
        ann.context("parrot", 500)
        assert repr(memory.usage)


def test_edge_by_its_url_is_closed_with_the_memory(tmp_path, words):
    url = f"edge:///{tmp_path / 'vectors'}?ef_search=64"
    for _ in range(2):  # a folder that is not let go of cannot be opened again
        with open_memory(tmp_path / "memory.db", index=url, embedder=words) as memory:
            memory.conversation("acme", "ann", "monday").add("the parrot", id="m1")
            memory.settle()


def test_a_store_that_was_given_is_left_open(tmp_path, words):
    state = LocalState()
    with open_memory(tmp_path / "memory.db", shared=state, embedder=words) as memory:
        memory.portal.call(state.aadd("a", {"x": 1}, 60))
    assert "closed" not in repr(state)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("qdrnat://host", "qdrant"),
        ("qdrant://host?efsearch=3", "ef_search"),
        ("qdrant://host?m=x", "no value"),
        ("qdrant://", "qdrant://host"),
        ("edge://folder", "edge:///relative"),
        ("pgvector", "not in Postgres"),
        ("pinecone://", "pinecone://host"),
        ("nothing", "known"),
    ],
)
def test_an_index_that_no_engine_is_at_says_what_is_known(tmp_path, words, url, told):
    with pytest.raises(InvalidURL, match=told):
        open_memory(tmp_path / "memory.db", index=url, embedder=words)


def test_shared_numbers_at_an_unknown_scheme_say_what_is_known(tmp_path):
    with pytest.raises(InvalidURL, match="redis://"):
        open_memory(tmp_path / "memory.db", shared="memcached://host", embedder=None)


@pytest.mark.parametrize(
    "make",
    [lambda url: make_store(url, "m.db"), lambda url: make_state(url, ())],
    ids=["store", "state"],
)
def test_a_secret_of_a_url_is_not_told(make):
    with pytest.raises(InvalidURL) as caught:
        make("nothing://ann:hunter2@host/1")
    assert "hunter2" not in str(caught.value)


def test_what_a_url_makes(tmp_path):
    assert isinstance(make_database("postgresql://localhost/app", 1), PostgresDatabase)
    store = make_store(f"edge:///{tmp_path}/vectors?exact_up_to=5", "m.db")
    assert isinstance(store, EdgeStore)
    assert isinstance(make_state("redis://localhost", ()), ResilientState)
    assert repr(make_store("qdrant://db.example:6333?hybrid=yes&collection=mine", "m.db")) == (
        "QdrantStore('qdrant/mine')"
    )
    beside = make_store("pgvector", "postgresql://ann:secret@db.example/app?schema=mine")
    assert repr(beside) == "PgvectorStore('pgvector at db.example/app')"
