"""Random filters, nested at random: whatever a tenant states, it finds its own nodes alone."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
    VectorStoreQuery,
)

from rag_memory_plugins.errors import InvalidFilter
from rag_memory_plugins.llama_index import TenantVectorStore
from rag_memory_plugins.llama_index.tenancy import restricted
from tests.llama_index.doubles import INSTALLED, NestingStore, holds, id_of, qdrant

COLORS = ("red", "blue", "green")
TENANTS = ("acme", "globex", "red")
NODES = [
    TextNode(
        id_=id_of(f"{tenant} {color} {size}"),
        text=f"{tenant} {color} {size}",
        embedding=[1.0, 0.5],
        metadata={"color": color, "size": size},
    )
    for tenant in TENANTS
    for color in COLORS
    for size in (1, 2)
]

colors = st.builds(
    MetadataFilter,
    key=st.sampled_from(["color", "shade"]),
    value=st.sampled_from([*COLORS, "pink"]),
    operator=st.sampled_from([FilterOperator.EQ, FilterOperator.NE]),
)
several = st.builds(
    MetadataFilter,
    key=st.just("color"),
    value=st.lists(st.sampled_from(COLORS), min_size=1),
    operator=st.sampled_from([FilterOperator.IN, FilterOperator.NIN]),
)
sizes = st.builds(
    MetadataFilter,
    key=st.just("size"),
    value=st.integers(0, 3),
    operator=st.sampled_from([FilterOperator.GT, FilterOperator.LTE]),
)
tenants = st.builds(
    MetadataFilter, key=st.just("tenant"), value=st.sampled_from(TENANTS), operator=st.just("==")
)


def groups(leaves: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[Any]:
    def group(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.builds(
            MetadataFilters,
            filters=st.lists(members, min_size=least, max_size=3),
            condition=st.sampled_from([*FilterCondition, None]),
        )

    return group(st.recursive(leaves, group, max_leaves=8))


def filled(store: Any) -> dict[str, TenantVectorStore]:
    views = {name: TenantVectorStore(store, name) for name in TENANTS}
    for name, view in views.items():
        view.add([node.model_copy() for node in NODES if node.text.startswith(f"{name} ")])
    return views


def texts(view: TenantVectorStore, filters: MetadataFilters) -> set[str]:
    asked = VectorStoreQuery(
        query_embedding=[1.0, 0.5], similarity_top_k=100, query_str="?", filters=filters
    )
    by_id = {node.node_id: node.text for node in NODES}
    return {by_id[node_id] for node_id in view.query(asked).ids or ()}


INSTALLED_STORES = ["simple", "nesting", *(["qdrant"] if INSTALLED else [])]


@functools.cache
def views_of(store: str) -> dict[str, TenantVectorStore]:
    return filled({"simple": SimpleVectorStore, "nesting": NestingStore, "qdrant": qdrant}[store]())


def wanted(tenant: str, filters: MetadataFilters) -> set[str]:
    return {n.text for n in NODES if n.text.startswith(f"{tenant} ") and holds(filters, n)}


@given(groups(colors | several | sizes), st.sampled_from(TENANTS))
def test_a_restriction_says_the_tenant_and_what_was_stated_and_no_more(
    filters: MetadataFilters, tenant: str
) -> None:
    restriction = restricted(filters, tenant)
    for node in NODES:
        for owner in TENANTS:
            marked = node.model_copy(update={"metadata": {**node.metadata, "tenant": owner}})
            assert holds(restriction, marked) == (owner == tenant and holds(filters, node))


@given(groups(colors | several | sizes), st.sampled_from(TENANTS))
def test_a_store_that_nests_finds_exactly_what_the_tenant_stated(
    filters: MetadataFilters, tenant: str
) -> None:
    assert texts(views_of("nesting")[tenant], filters) == wanted(tenant, filters)


@given(groups(colors | several | sizes), st.sampled_from(TENANTS))
def test_a_store_that_cannot_nest_finds_that_or_raises(
    filters: MetadataFilters, tenant: str
) -> None:
    try:
        found = texts(views_of("simple")[tenant], filters)
    except InvalidFilter:
        return
    assert found == wanted(tenant, filters)


@pytest.mark.parametrize("store", INSTALLED_STORES)
@given(filters=groups(colors | several | sizes | tenants, 0), tenant=st.sampled_from(TENANTS))
def test_no_filter_gives_another_tenants_node(
    store: str, filters: MetadataFilters, tenant: str
) -> None:
    try:
        found = texts(views_of(store)[tenant], filters)
    except InvalidFilter:
        return
    assert {text.partition(" ")[0] for text in found} <= {tenant}
