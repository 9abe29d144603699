"""The store ports on SQLite."""

from __future__ import annotations

import pytest

from rag_memory_plugins.stores.sqlite import SqliteDatabase
from rag_memory_plugins.testing.fact_store import FactStoreConformance
from rag_memory_plugins.testing.item_store import ItemStoreConformance
from rag_memory_plugins.testing.message_log import MessageLogConformance
from rag_memory_plugins.testing.vector_index import VectorIndexConformance
from tests.conformance.opening import stores_of


class Sqlite:
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "memory.db"

    async def aopen(self):
        return await stores_of(SqliteDatabase(self.path, busy_timeout=30.0))

    async def ashare(self, kept):
        return await self.aopen()


class TestLog(Sqlite, MessageLogConformance):
    """SqlLog."""


class TestItems(Sqlite, ItemStoreConformance):
    """SqlItems."""


class TestIndex(Sqlite, VectorIndexConformance):
    """FlatIndex."""


class TestFacts(Sqlite, FactStoreConformance):
    """SqlFacts."""
