"""Any LlamaIndex vector store as the vector store of a memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

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
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import strict
from rag_memory_plugins.retrieval.tenancy import TENANT
from rag_memory_plugins.stores.points import owner_key, point_id, seqs_of

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["StoreOfVectors", "as_index"]

OWNER: Final = "rag_memory_owner"
SESSION: Final = "rag_memory_session"


class StoreOfVectors:
    """A LlamaIndex vector store that a memory keeps its vectors in; `as_index` makes it.

    Every vector is a node of its own without any text: its id tells the message, its metadata the
    tenant, the user and the session. Queries ask for the user's alone, and a node of anybody else
    is left out, with a `DegradeEvent`. One call at a time: many stores are not made for threads.
    """

    def __init__(self, store: BasePydanticVectorStore, name: str) -> None:
        self.name = name
        self._store = store
        self._log = ""
        self._one = asyncio.Lock()

    def __repr__(self) -> str:
        return f"StoreOfVectors({self.name!r})"

    async def aopen(self, log: str, dimension: int) -> None:
        """Begin to serve a log. Raises `InvalidInput` when it serves another."""
        if self._log not in ("", log):
            remedy = "it serves a memory already; wrap the store once for each memory"
            raise InvalidInput("index", self.name, remedy)
        self._log = log

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        nodes = [
            TextNode(
                id_=point_id(self._log, point.scope, point.seq, piece),
                text="",
                embedding=vector.tolist(),
                metadata={
                    TENANT: point.scope.tenant,
                    OWNER: owner_key(self._log, point.scope),
                    SESSION: point.session,
                },
            )
            for point in points
            for piece, vector in enumerate(point.vectors)
        ]
        if nodes:
            async with self._one:
                await self._adelete([node.node_id for node in nodes], absent=True)
                await later(self._store, "add", nodes)

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first."""
        more = [MetadataFilter(key=OWNER, value=owner_key(self._log, scope))]
        if session is not None:
            more.append(MetadataFilter(key=SESSION, value=session))
        query = VectorStoreQuery(
            query_embedding=vector.tolist(),
            similarity_top_k=limit,
            filters=restricted(None, scope.tenant, more),
        )
        async with self._one:
            found = await later(self._store, "query", query)
        ids = found.ids or [node.node_id for node in found.nodes or ()]
        seqs, foreign = seqs_of(ids, self._log, scope)
        if foreign:
            reason = f"{foreign} of {len(ids)} nodes that {self.name} found were not the user's"
            events.degraded("as_index", f"{reason} and were left out")
        return seqs

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points."""
        ids = [
            point_id(self._log, point.scope, point.seq, piece)
            for point in points
            for piece in range(point.pieces)
        ]
        if ids:
            async with self._one:
                await self._adelete(ids)

    async def aclose(self) -> None:
        """Nothing: the store is the caller's."""

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
    ...     memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     memory.settle()
    0
    >>> len(store.data.embedding_dict)
    1
    >>> folder.cleanup()
    """
    if not isinstance(store, BasePydanticVectorStore):
        raise InvalidInput("store", store, "pass a LlamaIndex vector store")
    found: Any = type(store).__name__ if name is None else name
    if not isinstance(found, str) or not found:
        raise InvalidInput("name", name, "pass a name, a str")
    return StoreOfVectors(store, found)
