"""What a framework's vector store must keep as the vector store of a memory."""

from __future__ import annotations

from typing import Any

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import VectorStore
from rag_memory_plugins.testing.vector_points import leaning
from rag_memory_plugins.testing.vector_store import VectorStoreConformance

_OTHER = "it holds vectors of one dimension: an embedder of another takes a store of its own"
ONE_DIMENSION = {"test_embedders_may_differ_in_dimension": _OTHER}

# A graph of 16 neighbours, as Chroma has it by default, gave one of two lone points in 12 of 450
# runs of the test below. What is tested is the bridge.
CHROMA = {"hnsw": {"max_neighbors": 400, "ef_construction": 500, "ef_search": 500}}


class BridgedConformance(VectorStoreConformance):
    """Stores that live in this process: who opens a place again is given the same one."""

    def make(self) -> Any:
        """The framework's store."""
        raise NotImplementedError

    def bridge(self, store: Any) -> VectorStore:
        """As the adapter's `as_index` makes it."""
        raise NotImplementedError

    async def aopen_store(self, place: str) -> VectorStore:
        stores = self.__dict__.setdefault("stores", {})
        if place not in stores:
            stores[place] = self.make()
        return self.bridge(stores[place])

    async def aforget(self, place: str) -> None:
        self.__dict__["stores"].pop(place, None)

    def test_a_user_of_few_messages_is_found_among_others_whose_are_nearer(self) -> None:
        async def story(store: VectorStore) -> None:
            bob = Scope("acme", "bob")
            others = [
                self._point(seq, leaning(0, seq, 0.001 * seq, self.dimension), bob)
                for seq in range(1, 400)
            ]
            await self._aput(store, *others, self._point(7, 1), self._point(8, 2))
            assert sorted(await self._anear(store, 0, 2)) == [7, 8]

        self._with(story)
