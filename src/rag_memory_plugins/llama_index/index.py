"""Any LlamaIndex vector store as the vector store of a memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
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
    is left out, with a `DegradeEvent`. Of a store without filters more nodes are asked for, until
    there are enough of the user's.
    """

    def __init__(self, store: BasePydanticVectorStore, name: str | None, *, filters: bool) -> None:
        super().__init__(name, type(store).__name__)
        self._store = store
        self._filters = filters

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        self.check_open()
        nodes = {}  # by name: some stores refuse a batch that holds one twice
        for point in points:
            metadata = named(self.log, point.scope, point.session)
            for piece, vector in enumerate(point.vectors):
                name = point_id(self.log, point.scope, point.seq, piece)
                nodes[name] = TextNode(
                    id_=name, text="", embedding=vector.tolist(), metadata=dict(metadata)
                )
        if nodes:
            async with self.one:
                await self._adelete(list(nodes), before=True)
                await later(self._store, "add", list(nodes.values()))

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first."""
        self.check_open()
        vectors = vector.tolist()
        if not self._filters:
            # Their names tell whose they are, and not of which session: the log knows that.
            return await self.awider(limit, partial(self._asearch, scope, vectors, None))
        wanted = named(self.log, scope, session)
        del wanted[TENANT]  # `restricted` states it
        more = [MetadataFilter(key=key, value=value) for key, value in wanted.items()]
        only = restricted(None, scope.tenant, more)
        return (await self._asearch(scope, vectors, only, limit))[0]

    async def _asearch(
        self, scope: Scope, vector: list[float], only: MetadataFilters | None, most: int
    ) -> tuple[list[int], int]:
        """(seqs of the user, how many nodes were found)."""
        query = VectorStoreQuery(query_embedding=vector, similarity_top_k=most, filters=only)
        async with self.one:
            found = await self._aquery(query)
        if found is None:
            return [], 0
        ids = found.ids or [node.node_id for node in found.nodes or ()]
        seqs, foreign = seqs_of(ids, self.log, scope)
        if foreign and only is not None:
            reason = f"{foreign} of {len(ids)} nodes that {self.name} found were not the user's"
            events.degraded("as_index", f"{reason} and were left out")
        return seqs, len(ids)

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points."""
        self.check_open()
        ids = self.ids_of(points)
        if ids:
            async with self.one:
                await self._adelete(ids)

    async def _aquery(self, query: VectorStoreQuery) -> VectorStoreQueryResult | None:
        """What the store finds; None while it has no collection, which the first `add` makes."""
        try:
            found: VectorStoreQueryResult = await later(self._store, "query", query)
        except Exception as error:  # any client: their errors share no base class
            if ABSENT.search(str(error)):
                return None
            raise
        return found

    async def _adelete(self, ids: list[str], *, before: bool = False) -> None:
        """Delete nodes by id, or see that there are none; `before` others take their place."""
        try:
            await later(self._store, "delete_nodes", ids)
        except NotImplementedError as error:
            raise StoreError(
                f"{self.name} cannot delete nodes by id, so nothing could be erased from it; "
                "use a store that can"
            ) from error
        except Exception as error:  # any client: their errors share no base class
            if not ABSENT.search(str(error)):
                raise
            # One id that is not found may have kept the others; a question names none.
            anything = [1.0] * self.dimension
            query = VectorStoreQuery(query_embedding=anything, similarity_top_k=1)
            if not before and await self._aquery(query) is not None:
                raise


@strict
def as_index(
    store: BasePydanticVectorStore, *, name: str | None = None, filters: bool | None = None
) -> StoreOfVectors:
    """A LlamaIndex vector store as the `index=` of `open_memory`.

    The store proposes what is near; texts stay in the log. `name` tells it from others when a
    memory is opened again, `type(store).__name__` when left out: a store under a new name gets all
    vectors again. The caller closes the store.

    `filters` says whether the store takes filters; left out, all do but those of FAISS. It must
    delete by id: `FaissVectorStore` cannot, and `FaissMapVectorStore` (0.7) gives a new node the
    number of one that it holds once any was deleted, and loses that one.

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
    known = any(kind.__name__ in _WITHOUT_FILTERS for kind in type(store).__mro__)
    return StoreOfVectors(store, name, filters=not known if filters is None else filters)


_WITHOUT_FILTERS: Final = {"FaissVectorStore"}
"""By class name, so that none of their packages is imported."""
