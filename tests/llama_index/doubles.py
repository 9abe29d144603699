"""Retrievers, a vector store and an embedding model that do as told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from pydantic import PrivateAttr

from tests.installed import installed

try:
    from llama_index.core.vector_stores.utils import build_metadata_filter_fn
except ImportError:  # core before 0.14
    from llama_index.core.vector_stores.simple import (
        _build_metadata_filter_fn as build_metadata_filter_fn,
    )

INSTALLED = installed("qdrant_client") and installed("llama_index.vector_stores.qdrant")
needs_qdrant = pytest.mark.skipif(
    not INSTALLED,
    reason="llama-index-vector-stores-qdrant is not installed; pip install --group peers",
)


def qdrant() -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return QdrantVectorStore("shared", client=QdrantClient(":memory:"), index_doc_id=False)


def async_qdrant() -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import AsyncQdrantClient

    return QdrantVectorStore("shared", aclient=AsyncQdrantClient(":memory:"), index_doc_id=False)


def id_of(name: str) -> str:
    """A node id as every store takes it."""
    return str(uuid5(NAMESPACE_URL, name))


class Letters(BaseEmbedding):
    """How often each letter stands in a text."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return [1.0 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]


class Given(BaseRetriever):
    """Gives the same nodes to every question, or raises; has sync methods alone."""

    def __init__(self, *found: NodeWithScore, error: Exception | None = None) -> None:
        self.found = list(found)
        self.error = error
        self.threads: list[str] = []
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.threads.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return list(self.found)


def scored(text: str, score: float | None, node_id: str = "") -> NodeWithScore:
    return NodeWithScore(node=TextNode(id_=node_id or text, text=text), score=score)


class NestingStore(BasePydanticVectorStore):
    """Keeps nodes with their texts, nests filters, and misbehaves as told.

    `deaf` ignores filters, `silent` gives no similarities, `blind` has no `get_nodes`, and with
    `fails` every call raises it; `asked` holds each call and the thread it ran in.
    """

    stores_text: bool = True
    deaf: bool = False
    silent: bool = False
    blind: bool = False
    fails: str = ""

    _held: dict[str, BaseNode] = PrivateAttr(default_factory=dict)
    _asked: list[str] = PrivateAttr(default_factory=list)

    @property
    def client(self) -> Any:
        return self._held

    @property
    def asked(self) -> list[str]:
        return self._asked

    @property
    def held(self) -> dict[str, BaseNode]:
        return self._held

    def _call(self, name: str) -> None:
        self._asked.append(f"{name} {threading.current_thread().name.partition('_')[0]}")
        if self.fails:
            raise RuntimeError(self.fails)

    def _matching(
        self, node_ids: list[str] | None, filters: MetadataFilters | None
    ) -> list[BaseNode]:
        return [
            node
            for node in self._held.values()
            if (node_ids is None or node.node_id in node_ids)
            and (self.deaf or filters is None or holds(filters, node))
        ]

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        self._call("add")
        self._held.update((node.node_id, node) for node in nodes)
        return [node.node_id for node in nodes]

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        self._call("get_nodes")
        if self.blind:
            raise NotImplementedError("get_nodes not implemented")
        return self._matching(node_ids, filters)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        raise AssertionError("it would delete other tenants' documents too")

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        self._call("delete_nodes")
        # As some stores do: given ids, it looks at nothing else.
        for node in self._matching(node_ids, None if node_ids else filters):
            del self._held[node.node_id]

    def clear(self) -> None:
        raise AssertionError("it would delete all tenants' nodes")

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._call("query")
        if kwargs.get("anywhere"):  # as a store may have an argument that nobody knows
            query.filters = None
        found = self._matching(query.node_ids or None, query.filters)
        found = found[: query.similarity_top_k]
        similarities = None if self.silent else [1.0 / (1 + at) for at in range(len(found))]
        ids = [node.node_id for node in found]
        return VectorStoreQueryResult(nodes=found, similarities=similarities, ids=ids)


class AsyncStore(NestingStore):
    """The same with an async query of its own."""

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._asked.append("aquery")
        return super().query(query, **kwargs)


def holds(filters: MetadataFilters, node: BaseNode) -> bool:
    """Whether a node matches filters, nested ones too."""
    metadata = node_to_metadata_dict(node)
    each = [
        holds(item, node)
        if isinstance(item, MetadataFilters)
        else build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[item]))("")
        for item in filters.filters
    ]
    if filters.condition == FilterCondition.OR:
        return any(each)
    return not any(each) if filters.condition == FilterCondition.NOT else all(each)
