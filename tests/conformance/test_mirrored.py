"""`VectorIndex` over the vector stores: each is asked for every user, however few the messages."""

from __future__ import annotations

from functools import partial

import pytest

from rag_memory_plugins.stores.edge import EdgeStore
from rag_memory_plugins.stores.mirrored import MirroredIndex
from rag_memory_plugins.stores.pgvector import PgvectorStore
from rag_memory_plugins.stores.pinecone import PineconeStore
from rag_memory_plugins.stores.postgres import PostgresDatabase
from rag_memory_plugins.stores.qdrant import QdrantStore
from rag_memory_plugins.stores.sqlite import SqliteDatabase
from rag_memory_plugins.testing.pinecone_server import PineconeServer
from rag_memory_plugins.testing.qdrant_server import QdrantServer
from rag_memory_plugins.testing.vector_index import VectorIndexConformance
from tests.conformance.opening import stores_of


def _copied(test):
    def run(self):
        test(self)

    return run


class Asking(MirroredIndex):
    """Compares nothing by itself."""

    def __init__(self, *parts, **options):
        super().__init__(*parts, **options)
        self.exact_up_to = 0


BRIEF = {
    "test_its_methods_are_called_as_the_ports_are",
    "test_what_says_the_question_is_the_best",
    "test_hits_and_their_neighbours_match_the_filter",
    "test_names_that_look_alike_are_apart",
    "test_what_was_erased_is_not_found",
}
"""What shows most of a store; the others are about what all these indexes share, and run long."""


class Mirrored(VectorIndexConformance):
    """Over a log in SQLite, unless told otherwise."""

    def __init_subclass__(cls, **values):
        super().__init_subclass__(**values)
        for name in sorted(set(dir(cls)) - BRIEF):
            if name.startswith("test_"):
                setattr(cls, name, pytest.mark.long(_copied(getattr(cls, name))))

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.folder = tmp_path

    def database(self):
        return SqliteDatabase(self.folder / "memory.db", busy_timeout=30.0)

    def store(self):
        raise NotImplementedError

    async def aopen(self):
        store = self.store()
        return await stores_of(self.database(), partial(Asking, store=store), store)

    async def ashare(self, kept):
        return await self.aopen()


class TestEdge(Mirrored):
    def store(self):
        return EdgeStore(self.folder / "vectors")

    async def ashare(self, kept):
        # A folder has one owner: who opens the log beside it goes on with the same store.
        return await stores_of(self.database(), partial(Asking, store=kept.index.store))


class TestPgvector(Mirrored):
    """Beside a log in the same Postgres."""

    @pytest.fixture(autouse=True)
    def _database(self, emptied):
        self.url = emptied

    def database(self):
        return PostgresDatabase(self.url)

    def store(self):
        return PgvectorStore(self.url)


@pytest.fixture(scope="module")
def qdrant_url():
    with QdrantServer() as server:
        yield server.url


class TestQdrant(Mirrored):
    @pytest.fixture(autouse=True)
    def _server(self, qdrant_url):
        self.url = qdrant_url

    def store(self):
        return QdrantStore(self.url)


@pytest.fixture(scope="module")
def pinecone_url():
    pytest.importorskip("pinecone")
    with PineconeServer(dimension=64) as server:
        yield server.url


class TestPinecone(Mirrored):
    @pytest.fixture(autouse=True)
    def _server(self, pinecone_url):
        self.url = pinecone_url

    def store(self):
        return PineconeStore(self.url, api_key="test-key")
