"""Other stores for `engine_work`, each by its plain client, with a filter on the tenant.

Batches are larger than ours, which both ask for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

__all__ = ["Chroma", "Lance"]


class Lance:
    """A LanceDB table with an index over the tenants; the vectors have none, as in its default."""

    batch = 1_000

    def __init__(self, place: str) -> None:
        database = importlib.import_module("lancedb").connect(place)
        held = "vectors" in database.table_names()
        self._database = database
        self._table: Any = database.open_table("vectors") if held else None

    def add(self, tenants: Sequence[int], numbers: Sequence[int], vectors: Vectors) -> None:
        rows = [
            {"tenant": tenant, "number": number, "vector": vector}
            for tenant, number, vector in zip(tenants, numbers, vectors, strict=True)
        ]
        if self._table is None:
            self._table = self._database.create_table("vectors", rows)
        else:
            self._table.add(rows)

    def finish(self) -> None:
        """Index the tenants, and join the files of the batches."""
        self._table.create_scalar_index("tenant")
        self._table.optimize()

    def nearest(self, tenant: int, vector: Vectors, limit: int) -> list[int]:
        asked = self._table.search(vector).distance_type("cosine")
        found = asked.where(f"tenant = {tenant}", prefilter=True).select(["number"]).limit(limit)
        return [int(row["number"]) for row in found.to_list()]

    def close(self) -> None:
        """Nothing is open."""


class Chroma:
    """A Chroma collection on disk, of cosine distances, with its own graph."""

    batch = 1_000

    def __init__(self, place: str) -> None:
        chroma = importlib.import_module("chromadb")
        settings = chroma.Settings(anonymized_telemetry=False)
        client = chroma.PersistentClient(path=place, settings=settings)
        space = {"hnsw:space": "cosine"}
        self._held = client.get_or_create_collection(
            "vectors", metadata=space, embedding_function=None
        )

    def add(self, tenants: Sequence[int], numbers: Sequence[int], vectors: Vectors) -> None:
        self._held.add(
            ids=[str(number) for number in numbers],
            embeddings=vectors,
            metadatas=[{"tenant": tenant} for tenant in tenants],
        )

    def finish(self) -> None:
        """All is there."""

    def nearest(self, tenant: int, vector: Vectors, limit: int) -> list[int]:
        found = self._held.query(
            query_embeddings=[vector], n_results=limit, where={"tenant": tenant}, include=[]
        )
        return [int(number) for number in found["ids"][0]]

    def close(self) -> None:
        """It closes itself."""
