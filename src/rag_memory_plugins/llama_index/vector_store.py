"""One tenant's view of any LlamaIndex vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.tenancy import checked_ids
from rag_memory_plugins.llama_index.walled import Walled, later, now
from rag_memory_plugins.portal import at_once, strict
from rag_memory_plugins.retrieval.tenancy import Tenant, tenant_now

__all__ = ["TenantVectorStore"]


class TenantVectorStore(BasePydanticVectorStore):
    """A vector store that holds and finds the nodes of one tenant alone.

    `store` is any LlamaIndex vector store; `tenant` a str, or a function that every call asks (for
    request-time tenants); it has no default, and a call without a tenant raises `InvalidNamespace`.

    - `add` stamps the tenant on every node (metadata `tenant`, hidden from models and embedders)
      and refuses a node that names another. It looks up first whether an id is taken by another
      tenant's node, which would be overwritten; `unique_ids=True` says that none ever is (those
      that LlamaIndex makes are random), for a store that cannot look ids up.
    - Queries, `get_nodes` and deletes ask for the tenant AND whatever the filters state, flat where
      that says the same. Arguments that replace filters (`qdrant_filters=`) are refused, and so are
      filters that name the tenant. Where the store cannot nest, filters that need it raise
      `InvalidFilter`.
    - Each node found is looked at again. One that is not the tenant's is left out, with a
      `DegradeEvent`; ids without nodes that cannot be looked up raise `StoreError`.
    - `delete` and `clear` delete the tenant's nodes alone, by filter, and raise `StoreError` where
      the store cannot.

    Two tenants that add one id at the same moment are not told apart from one that adds it twice.
    A docstore knows no tenant: over a store that keeps no texts give each tenant an index of its
    own, for LlamaIndex' deletes reach the docstore past this wall.

    Async methods use the store's own; one that has only sync methods works in a thread. `client`
    is the store's, and knows no tenant.

    >>> from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
    >>> from llama_index.core.schema import TextNode
    >>> from llama_index.core.vector_stores import SimpleVectorStore
    >>> shared = SimpleVectorStore()
    >>> def index_of(tenant, text):
    ...     context = StorageContext.from_defaults(vector_store=TenantVectorStore(shared, tenant))
    ...     nodes = [TextNode(text=text)]
    ...     return VectorStoreIndex(nodes, storage_context=context, embed_model=MockEmbedding(2))
    >>> acme, globex = index_of("acme", "Lisbon"), index_of("globex", "Oslo")
    >>> [node.text for node in acme.as_retriever(similarity_top_k=5).retrieve("where?")]
    ['Lisbon']
    """

    _now: Walled = PrivateAttr()
    _later: Walled = PrivateAttr()

    @strict
    def __init__(
        self, store: BasePydanticVectorStore, tenant: Tenant, *, unique_ids: bool = False
    ) -> None:
        if not isinstance(store, BasePydanticVectorStore):
            raise InvalidInput("store", store, "pass a LlamaIndex vector store")
        if not callable(tenant):
            tenant_now(tenant)
        mirrored: dict[str, Any] = {
            "stores_text": store.stores_text,
            "is_embedding_query": store.is_embedding_query,
        }
        super().__init__(**mirrored)
        self._now = Walled(store, tenant, unique_ids, now)
        self._later = Walled(store, tenant, unique_ids, later)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the store by."""
        return "TenantVectorStore"

    @property
    def client(self) -> Any:
        """The wrapped store's client; it knows no tenant."""
        return self._now.store.client

    @property
    def tenant(self) -> str:
        """Whose nodes these are, now. Raises `InvalidNamespace`."""
        return tenant_now(self._now.tenant)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Stamp and store nodes; returns their ids. Raises before any of them is stored."""
        return at_once(self._now.add(nodes, kwargs))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Async form of `add`."""
        return await self._later.add(nodes, kwargs)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """What the store finds of the tenant's nodes; without similarities if it gives none."""
        return at_once(self._now.query(query, kwargs))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Async form of `query`."""
        return await self._later.query(query, kwargs)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The tenant's nodes of these ids, or of all, that match."""
        return at_once(self._now.get_nodes(checked_ids(node_ids), filters))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Async form of `get_nodes`."""
        return await self._later.get_nodes(checked_ids(node_ids), filters)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of the tenant's document; another tenant's of the same id stays."""
        at_once(self._now.delete(ref_doc_id, delete_kwargs))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Async form of `delete`."""
        await self._later.delete(ref_doc_id, delete_kwargs)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete the tenant's nodes of these ids, or of all, that match."""
        at_once(self._now.delete_nodes(checked_ids(node_ids), filters, delete_kwargs))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Async form of `delete_nodes`."""
        await self._later.delete_nodes(checked_ids(node_ids), filters, delete_kwargs)

    def clear(self) -> None:
        """Delete every node of the tenant, and no other."""
        at_once(self._now.clear())

    async def aclear(self) -> None:
        """Async form of `clear`."""
        await self._later.clear()

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Write the wrapped store to a file, all tenants of it."""
        self._now.store.persist(persist_path, fs)
