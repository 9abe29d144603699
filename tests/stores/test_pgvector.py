"""pgvector on a real Postgres."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.errors import InvalidInput, StoreClosed, StoreError
from rag_memory_plugins.stores.pgvector import PgvectorStore
from rag_memory_plugins.testing.vector_store import VectorStoreConformance


class TestPgvector(VectorStoreConformance):
    """Each place is a schema of its own."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres):
        self.url = postgres.url()

    async def aopen_store(self, place):
        schema = place.replace("-", "_")
        return PgvectorStore(f"{self.url}?schema={schema}")


@pytest.mark.parametrize(
    ("name", "value"), [("m", 1), ("m", True), ("ef_search", 0), ("ef_construct", 20)]
)
def test_a_graph_that_cannot_be_is_refused(name, value):
    with pytest.raises(InvalidInput, match=name):
        PgvectorStore("postgresql://localhost/app", **{name: value})


def test_a_store_that_is_not_open_says_so():
    store = PgvectorStore("postgresql://localhost/app")
    with pytest.raises(StoreClosed, match="open_memory"):
        asyncio.run(store.aremove([]))


def test_a_table_of_other_dimensions_is_an_error_that_names_both(log_url):
    async def story():
        first = PgvectorStore(log_url)
        await first.aopen("log", "words/1", 8)
        await first.aclose()
        with pytest.raises(StoreError, match="8 dimensions and the embedder makes 16"):
            await PgvectorStore(log_url).aopen("log", "words/1", 16)

    asyncio.run(story())


def test_vectors_too_long_for_an_index_are_refused_before_anything_is_made():
    with pytest.raises(InvalidInput, match="at most 4000"):
        asyncio.run(PgvectorStore("postgresql://localhost/app").aopen("log", "f", 4_001))
