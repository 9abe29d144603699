"""Whose nodes these are: stamped when they are added, asked for, and looked at again. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQueryResult,
)

from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidNamespace
from rag_memory_plugins.retrieval.tenancy import TENANT

__all__ = ["checked_ids", "kept", "nested", "owned", "restricted", "stamped"]

Part: TypeAlias = MetadataFilter | MetadataFilters


def stamped(nodes: Iterable[BaseNode], tenant: str) -> list[BaseNode]:
    """Copies that carry the tenant, hidden from models and embedders.

    Raises `InvalidNamespace` for a node that names another.
    """
    copies = []
    for node in nodes:
        named = node.metadata.get(TENANT)
        if named not in (None, tenant):
            remedy = f"the node {node.node_id!r} is another tenant's than {tenant!r}"
            raise InvalidNamespace(f"metadata[{TENANT!r}]", named, remedy)
        hidden = [
            names if TENANT in names else [*names, TENANT]
            for names in (node.excluded_llm_metadata_keys, node.excluded_embed_metadata_keys)
        ]
        update = {
            "metadata": {**node.metadata, TENANT: tenant},
            "excluded_llm_metadata_keys": hidden[0],
            "excluded_embed_metadata_keys": hidden[1],
        }
        copies.append(node.model_copy(update=update))
    return copies


def owned(node: BaseNode, tenant: str) -> bool:
    """Whether a node is the tenant's; one that names none is nobody's."""
    return bool(node.metadata.get(TENANT) == tenant)


def restricted(
    filters: MetadataFilters | None, tenant: str, more: Sequence[MetadataFilter] = ()
) -> MetadataFilters:
    """The tenant, `more` and what `filters` state, all of which hold.

    Flat wherever it says the same, because not every store nests. Raises `InvalidFilter` for
    filters that name the tenant themselves: some stores take the last word on a field.
    """
    own = MetadataFilter(key=TENANT, value=tenant, operator=FilterOperator.EQ)
    if filters is not None and not isinstance(filters, MetadataFilters):
        raise InvalidFilter("filters", filters, "pass LlamaIndex MetadataFilters")
    stated = _members(filters) if filters is not None else []
    return MetadataFilters(filters=[own, *more, *stated], condition=FilterCondition.AND)


def _members(part: Part) -> list[Part]:
    """Filters that all hold together when `part` does; none for one that states nothing."""
    if isinstance(part, MetadataFilter):
        if part.key == TENANT:
            remedy = "leave it out: the store asks for its own tenant, always and for no other"
            raise InvalidFilter(f"filters[{TENANT!r}]", part.value, remedy)
        return [part]
    groups = [_members(item) for item in part.filters]
    together = part.condition in (None, FilterCondition.AND)
    if together or (part.condition == FilterCondition.OR and len(groups) == 1):
        return [member for group in groups for member in group]
    if not all(groups):
        raise InvalidFilter("filters", part, "a group inside it states nothing; leave it out")
    if not groups:
        return []
    return [MetadataFilters(filters=[_one(group) for group in groups], condition=part.condition)]


def _one(group: list[Part]) -> Part:
    return group[0] if len(group) == 1 else MetadataFilters(filters=group)


def nested(filters: MetadataFilters) -> bool:
    """Whether a store must nest filters to keep to these."""
    return any(isinstance(item, MetadataFilters) for item in filters.filters)


def checked_ids(node_ids: object) -> list[str] | None:
    """Node ids as a list; None for none stated. Raises `InvalidInput`."""
    if node_ids is None:
        return None
    if isinstance(node_ids, str) or not isinstance(node_ids, Iterable):
        raise InvalidInput("node_ids", node_ids, "pass a list of node ids")
    return list(node_ids)


def kept(result: VectorStoreQueryResult, mine: Sequence[bool]) -> VectorStoreQueryResult:
    """The rows of `result` that are `mine`; a list that the store left out (None) stays out."""

    def rows(values: Sequence[Any] | None) -> list[Any] | None:
        if values is None:
            return None
        return [value for value, own in zip(values, mine, strict=False) if own]

    return VectorStoreQueryResult(
        nodes=rows(result.nodes), similarities=rows(result.similarities), ids=rows(result.ids)
    )
