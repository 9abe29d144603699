"""Servers that the stores' tests share, one a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rag_memory_plugins import Memory, open_memory
from tests.stores.servers import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real Postgres."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def log_url(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres.url(postgres.create_database())


@pytest.fixture
def opened_there(log_url: str, words: object) -> Iterator[Callable[..., Memory]]:
    """`opened_there()`: a memory in this test's Postgres database, closed after the test."""
    memories = []

    def make(url: str = log_url, **options: object) -> Memory:
        options = {"embedder": words, "background": False, "drain_seconds": 0.0, **options}
        memories.append(open_memory(url, **options))
        return memories[-1]

    yield make
    for memory in memories:
        memory.close()
