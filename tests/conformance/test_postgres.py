"""The store ports on a real Postgres."""

from __future__ import annotations

import pytest

from rag_memory_plugins.stores.postgres import PostgresDatabase
from rag_memory_plugins.testing.fact_store import FactStoreConformance
from rag_memory_plugins.testing.item_store import ItemStoreConformance
from rag_memory_plugins.testing.message_log import MessageLogConformance
from rag_memory_plugins.testing.vector_index import VectorIndexConformance
from tests.conformance.opening import stores_of


class Postgres:
    @pytest.fixture(autouse=True)
    def _database(self, emptied):
        self.url = emptied

    async def aopen(self):
        return await stores_of(PostgresDatabase(self.url))

    async def ashare(self, kept):
        return await self.aopen()


class TestLog(Postgres, MessageLogConformance):
    """SqlLog."""


class TestItems(Postgres, ItemStoreConformance):
    """SqlItems."""


class TestIndex(Postgres, VectorIndexConformance):
    """FlatIndex."""


class TestFacts(Postgres, FactStoreConformance):
    """SqlFacts."""
