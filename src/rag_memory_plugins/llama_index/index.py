"""Any LlamaIndex vector store as the vector store of a memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    VectorStoreQuery,
)

from rag_memory_plugins.errors import InvalidInput, StoreError
from rag_memory_plugins.llama_index import events
from rag_memory_plugins.llama_index.tenancy import restricted
from rag_memory_plugins.llama_index.walled import ABSENT, later
from rag_memory_plugins.portal import strict
from rag_memory_plugins.retrieval.tenancy import TENANT
from rag_memory_plugins.stores.points import Bridge, named, point_id, seqs_of

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["StoreOfVectors", "as_index"]


class StoreOfVectors(Bridge):
    """A LlamaIndex vector store that a memory keeps its vectors in; `as_index` makes it.

    Every vector is a node of its own without any text: its id tells the message, its metadata the
    tenant, the user and the session. Queries ask for the user's alone, and a node of anybody else
    is left out, with a `DegradeEvent`.
    """

    def __init__(self, store: BasePydanticVectorStore, name: str | None) -> None:
        super().__init__(name, type(store).__name__)
        self._store = store

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        nodes = [
            TextNode(
                id_=point_id(self.log, point.scope, point.seq, piece),
                text="",
                embedding=vector.tolist(),
                metadata=named(self.log, point.scope, point.session),
            )
            for point in points
            for piece, vector in enumerate(point.vectors)
        ]
        if nodes:
            async with self.one:
                await self._adelete([node.node_id for node in nodes], absent=True)
                await later(self._store, "add", nodes)

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first."""
        wanted = named(self.log, scope, session)
        del wanted[TENANT]  # `restricted` states it
        more = [MetadataFilter(key=key, value=value) for key, value in wanted.items()]
        query = VectorStoreQuery(
            query_embedding=vector.tolist(),
            similarity_top_k=limit,
            filters=restricted(None, scope.tenant, more),
        )
        async with self.one:
            found = await later(self._store, "query", query)
        ids = found.ids or [node.node_id for node in found.nodes or ()]
        seqs, foreign = seqs_of(ids, self.log, scope)
        if foreign:
            reason = f"{foreign} of {len(ids)} nodes that {self.name} found were not the user's"
            events.degraded("as_index", f"{reason} and were left out")
        return seqs

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points."""
        ids = self.ids_of(points)
        if ids:
            async with self.one:
                await self._adelete(ids)

    async def _adelete(self, ids: list[str], *, absent: bool = False) -> None:
        """Delete nodes by id; with `absent` there may be no collection yet."""
        try:
            await later(self._store, "delete_nodes", ids)
        except NotImplementedError as error:
            raise StoreError(
                f"{self.name} cannot delete nodes by id, so nothing could be erased from it; "
                "use a store that can"
            ) from error
        except Exception as error:  # any client: their errors share no base class
            if not (absent and ABSENT.search(str(error))):
                raise


@strict
def as_index(store: BasePydanticVectorStore, *, name: str | None = None) -> StoreOfVectors:
    """A LlamaIndex vector store as the `index=` of `open_memory`.

    The store proposes what is near; texts stay in the log. `name` tells it from others when a
    memory is opened again, `type(store).__name__` when left out: a store under a new name gets all
    vectors again. The caller closes the store.

    >>> import tempfile, pathlib
    >>> from llama_index.core.vector_stores import SimpleVectorStore
    >>> from rag_memory_plugins import open_memory
    >>> folder, store = tempfile.TemporaryDirectory(), SimpleVectorStore()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", index=as_index(store)) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     memory.settle()
    0
    >>> len(store.data.embedding_dict)
    1
    >>> folder.cleanup()
    """
    if not isinstance(store, BasePydanticVectorStore):
        raise InvalidInput("store", store, "pass a LlamaIndex vector store")
    return StoreOfVectors(store, name)
