"""A vector store's methods for one tenant: one implementation for sync and async calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, IndexNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    RagMemoryError,
    StoreError,
    UnknownArgument,
    shorten,
)
from rag_memory_plugins.llama_index.events import degraded
from rag_memory_plugins.llama_index.tenancy import kept, nested, owned, restricted, stamped
from rag_memory_plugins.retrieval.tenancy import TENANT, Tenant, check_keywords, tenant_now

__all__ = ["ABSENT", "Ask", "Walled", "later", "now"]

Ask: TypeAlias = Callable[..., Awaitable[Any]]
"""(store, sync name of its method, arguments): calls it, in the one way or the other."""

_ASYNC: Final = {
    "add": "async_add",
    "query": "aquery",
    "get_nodes": "aget_nodes",
    "delete_nodes": "adelete_nodes",
}
ABSENT: Final = re.compile(r"not.?found|does(n't| not) exist|not initiali[sz]ed", re.IGNORECASE)
"""What stores say of a collection that the first `add` makes: it holds nobody's nodes."""
_DOCUMENT: Final = "doc_id"
"""The id of a node's document, where LlamaIndex's `node_to_metadata_dict` writes it."""


async def now(store: BasePydanticVectorStore, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the sync method, here and now."""
    return getattr(store, name)(*args, **kwargs)


async def later(store: BasePydanticVectorStore, name: str, *args: Any, **kwargs: Any) -> Any:
    """Await the async method; where the store has none of its own, the sync one in a thread."""
    other = _ASYNC[name]
    if getattr(type(store), other) is not getattr(BasePydanticVectorStore, other):
        return await getattr(store, other)(*args, **kwargs)
    method = getattr(store, name)
    if isinstance(store, SimpleVectorStore):  # plain dicts: quick, and not made for threads
        return method(*args, **kwargs)
    return await asyncio.to_thread(method, *args, **kwargs)


@dataclass(frozen=True)
class Walled:
    """A store within a tenant's wall; see `TenantVectorStore` for what each method promises."""

    store: BasePydanticVectorStore
    tenant: Tenant
    unique_ids: bool
    ask: Ask

    async def add(self, nodes: Sequence[BaseNode], given: Mapping[str, Any]) -> list[str]:
        """Stamp and store nodes, or none of them."""
        tenant = tenant_now(self.tenant)
        nodes = list(nodes)
        copies = stamped(nodes, tenant)
        if not copies:
            return []
        if not self.unique_ids:
            await self._check_free([node.node_id for node in copies], tenant)
        ids: list[str] = await self.ask(self.store, "add", copies, **given)
        for node, copy in zip(nodes, copies, strict=True):
            # LlamaIndex keeps these in a docstore beside, and gives them back from there.
            if not self.store.stores_text or isinstance(node, (ImageNode, IndexNode)):
                node.metadata = copy.metadata
                node.excluded_llm_metadata_keys = copy.excluded_llm_metadata_keys
                node.excluded_embed_metadata_keys = copy.excluded_embed_metadata_keys
        return ids

    async def query(
        self, query: VectorStoreQuery, given: Mapping[str, Any]
    ) -> VectorStoreQueryResult:
        """What the store finds, restricted before and looked at after."""
        tenant = tenant_now(self.tenant)
        check_keywords("query", given, "state it as filters=MetadataFilters(...)")
        filters = restricted(query.filters, tenant)
        found = await self._within(filters, "query", replace(query, filters=filters), **given)
        if found.nodes or not found.ids:
            mine = [owned(node, tenant) for node in found.nodes or ()]
        else:
            owners = await self._owners(found.ids, "use a store that gives nodes")
            mine = [owners.get(node_id) == tenant for node_id in found.ids]
        self._tell(mine)
        return kept(found, mine)

    async def get_nodes(
        self, node_ids: list[str] | None, filters: MetadataFilters | None
    ) -> list[BaseNode]:
        """The tenant's nodes of these ids, or of all, that match."""
        tenant = tenant_now(self.tenant)
        restriction = restricted(filters, tenant)
        if node_ids is not None and not node_ids:
            return []
        given = {"node_ids": node_ids, "filters": restriction}
        found = await self._within(restriction, "get_nodes", **given) or []
        mine = [owned(node, tenant) for node in found]
        self._tell(mine)
        return [node for node, own in zip(found, mine, strict=True) if own]

    async def delete(self, ref_doc_id: str, given: Mapping[str, Any]) -> None:
        """Delete the nodes of one document."""
        tenant = tenant_now(self.tenant)
        _refuse("delete", given)
        if not isinstance(ref_doc_id, str) or not ref_doc_id:
            raise InvalidInput("ref_doc_id", ref_doc_id, "pass the id of a document")
        document = MetadataFilter(key=_DOCUMENT, value=ref_doc_id)
        await self._delete(None, restricted(None, tenant, [document]))

    async def delete_nodes(
        self,
        node_ids: list[str] | None,
        filters: MetadataFilters | None,
        given: Mapping[str, Any],
    ) -> None:
        """Delete the nodes of these ids, or of all, that match."""
        tenant = tenant_now(self.tenant)
        _refuse("delete_nodes", given)
        restriction = restricted(filters, tenant)
        if node_ids is None:
            if restriction == restricted(None, tenant):
                remedy = "state ids or filters; clear() deletes all of the tenant's nodes"
                raise InvalidFilter("filters", filters, remedy)
        else:
            # Some stores look at the ids alone when they are given both.
            owners = await self._owners(node_ids, "delete by filters=")
            node_ids = [node_id for node_id in node_ids if owners.get(node_id) == tenant]
            if not node_ids:
                return
        await self._delete(node_ids, restriction)

    async def clear(self) -> None:
        """Delete all of the tenant's nodes."""
        await self._delete(None, restricted(None, tenant_now(self.tenant)))

    async def _delete(self, node_ids: list[str] | None, filters: MetadataFilters) -> None:
        try:
            await self._within(filters, "delete_nodes", node_ids=node_ids, filters=filters)
        except NotImplementedError as error:
            raise StoreError(
                f"{self._name} cannot delete by filter, and would delete other tenants' nodes "
                "too; give each tenant a store of its own, or delete by id on the store itself"
            ) from error

    async def _within(
        self, restriction: MetadataFilters, name: str, /, *args: Any, **given: Any
    ) -> Any:
        """Ask the store; what it cannot make of nested filters is an `InvalidFilter`."""
        try:
            return await self.ask(self.store, name, *args, **given)
        except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
            if not nested(restriction) or isinstance(error, RagMemoryError):
                raise
            raise InvalidFilter(
                "filters",
                restriction,
                f"{self._name} cannot do this inside the tenant's filter ({shorten(error, 200)}); "
                "state filters that all hold (AND), or use a store that nests",
            ) from error

    async def _check_free(self, ids: list[str], tenant: str) -> None:
        """Raise `InvalidInput` for an id that another's node has, which would be overwritten."""
        try:
            owners = await self._owners(ids, "make ids unique and pass unique_ids=True")
        except StoreError as error:
            if not ABSENT.search(str(error.__cause__)):
                raise
            owners = {}
        for node_id, owner in owners.items():
            if owner != tenant:
                remedy = f"a node that is not the tenant's has it; give {tenant!r} ids of its own"
                raise InvalidInput("node_id", node_id, remedy)

    async def _owners(self, ids: Sequence[str], remedy: str) -> dict[str, object]:
        """Those of these nodes that the store holds, and whose each is. Raises `StoreError`."""
        if isinstance(self.store, SimpleVectorStore):
            data = self.store.data
            stored = [node_id for node_id in ids if node_id in data.embedding_dict]
            return {node_id: data.metadata_dict.get(node_id, {}).get(TENANT) for node_id in stored}
        try:
            nodes = await self.ask(self.store, "get_nodes", node_ids=list(ids)) if ids else []
        except Exception as error:  # any store, any client: their errors share no base class
            raise StoreError(
                f"{self._name} cannot look nodes up by id ({shorten(error, 200)}); {remedy}"
            ) from error
        return {node.node_id: node.metadata.get(TENANT) for node in nodes or ()}

    def _tell(self, mine: Sequence[bool]) -> None:
        if not all(mine):
            left = f"{len(mine) - sum(mine)} of {len(mine)} nodes that {self._name} found"
            degraded("TenantVectorStore", f"{left} were not the tenant's and were left out")

    @property
    def _name(self) -> str:
        return type(self.store).__name__


def _refuse(method: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        remedy = "what it deletes cannot be checked; delete on the wrapped store itself"
        raise UnknownArgument(f"{method}({name}=)", value, remedy)
