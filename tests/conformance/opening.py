"""The stores of a database, as the suites open them."""

from __future__ import annotations

from rag_memory_plugins.stores.facts import SqlFacts
from rag_memory_plugins.stores.flat import FlatIndex
from rag_memory_plugins.stores.items import SqlItems
from rag_memory_plugins.stores.sql import SqlLog
from rag_memory_plugins.testing.stores import Stores


async def stores_of(database, make_index=FlatIndex, *others):
    """`make_index` is called as `FlatIndex` is: with a database, a fingerprint and a dimension."""
    await database.aopen()
    index = make_index(database, "words/1", 64)
    await index.aopen()
    return Stores(SqlLog(database), SqlItems(database), index, SqlFacts(database), others)
