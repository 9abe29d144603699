"""Our engines for `engine_work`: through the index and the stores that a memory uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.engine_vectors import DIMENSION
from rag_memory_plugins import Message, Namespace, open_memory
from rag_memory_plugins.config import Recall
from rag_memory_plugins.errors import StoreLocked
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Encoded, Point, Query, VectorStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

__all__ = ["Edge", "Flat", "Pgvector"]

# One lane and no step: what is left is the exact comparison, as in every other engine here.
DENSE: Final = Recall(
    dense_turn=1.0, dense_window=0.0, keywords=0.0, late=0.0, own=0.0, speaker=0.0, inherit=0.0,
    question=0.0, date=0.0, when=0.0, name=0.0,
)  # fmt: skip


class Given:
    """An `Embedder` that gives the message "said N" the vector that was put down for N."""

    fingerprint = f"benchmarks/given/{DIMENSION}"
    dimension = DIMENSION

    def __init__(self) -> None:
        self.at_hand: dict[int, Vectors] = {}

    async def aembed_query(self, text: str) -> Vectors:
        """Nobody asks by text."""
        raise NotImplementedError

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """Each text's one vector, given once."""
        return [self.at_hand.pop(int(text.rpartition(" ")[2]))[None, :] for text in texts]

    async def aclose(self) -> None:
        """Nothing is held."""


class Flat:
    """`FlatIndex` over the log's SQLite file: messages by the public `add`, vectors by `settle`."""

    batch = 128

    def __init__(self, place: str) -> None:
        self._given = Given()
        path = Path(place) / "memory.db"
        options: dict[str, Any] = {"background": False, "summarizer": None}
        self._memory = open_memory(path, embedder=self._given, **options)

    def add(self, tenants: Sequence[int], numbers: Sequence[int], vectors: Vectors) -> None:
        self._given.at_hand |= dict(zip(numbers, vectors, strict=True))
        for tenant in dict.fromkeys(tenants):
            its = [number for number, who in zip(numbers, tenants, strict=True) if who == tenant]
            messages = [Message("user", f"said {number}", id=str(number)) for number in its]
            self._memory.conversation(_namespace(tenant)).add(messages)
        self._memory.settle()

    def finish(self) -> None:
        """All is there."""

    def nearest(self, tenant: int, vector: Vectors, limit: int) -> list[int]:
        encoded = Encoded(vector[None, :])
        query = Query(
            "", encoded, limit, "user", datetime.now(timezone.utc), neighbours=0, recall=DENSE
        )
        found = get_portal().call(self._memory.index.asearch(_namespace(tenant), query))
        return [int(hit.message.id) for hit in found.hits]

    def close(self) -> None:
        self._memory.close()


class _Beside:
    """A `VectorStore`, as `MirroredIndex` fills and asks it."""

    batch = 128

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        get_portal().call(store.aopen("benchmark", Given.fingerprint, DIMENSION))

    def add(self, tenants: Sequence[int], numbers: Sequence[int], vectors: Vectors) -> None:
        points = [
            Point(_scope(tenant), "chat", number, "", vector[None, :])
            for tenant, number, vector in zip(tenants, numbers, vectors, strict=True)
        ]
        get_portal().call(self._store.aput(points))

    def finish(self) -> None:
        """Wait until it answers again."""
        vector = np.ones(DIMENSION, np.float32) / np.float32(DIMENSION**0.5)
        while True:
            try:
                self.nearest(0, vector, 1)
            except StoreLocked:
                time.sleep(0.1)
            else:
                return

    def nearest(self, tenant: int, vector: Vectors, limit: int) -> list[int]:
        asking = self._store.anearest(_scope(tenant), "", vector, limit)
        return get_portal().call(asking)[:limit]

    def close(self) -> None:
        get_portal().call(self._store.aclose())


class Edge(_Beside):
    """`EdgeStore` in a folder."""

    def __init__(self, place: str) -> None:
        from rag_memory_plugins.stores.edge import EdgeStore

        super().__init__(EdgeStore(place))


class Pgvector(_Beside):
    """`PgvectorStore` in a database."""

    def __init__(self, place: str) -> None:
        from rag_memory_plugins.stores.pgvector import PgvectorStore

        super().__init__(PgvectorStore(place))


def _scope(tenant: int) -> Scope:
    return Scope(f"tenant-{tenant}", "ann")


def _namespace(tenant: int) -> Namespace:
    return Namespace(f"tenant-{tenant}", "ann", "chat")
