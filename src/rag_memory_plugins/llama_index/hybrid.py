"""A retriever of the user's own, with keywords and the memory beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.base import BaseIndex
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.simple import SimpleVectorStore

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, shorten
from rag_memory_plugins.llama_index.events import degraded
from rag_memory_plugins.llama_index.retriever import MemoryRetriever
from rag_memory_plugins.memory.arguments import check_limit
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import get_portal, strict
from rag_memory_plugins.retrieval.keywords import Keywords
from rag_memory_plugins.retrieval.union import Listed, checked_weight, united

if TYPE_CHECKING:
    from llama_index.core.callbacks.base import CallbackManager
    from llama_index.core.prompts.mixin import PromptMixinType

__all__ = ["HybridRetriever"]


class HybridRetriever(BaseRetriever):
    """What `source` finds, and what the words of the question and the memory find beside it.

    `source` is any retriever or index. `memory` is a `MemoryRetriever`, or a conversation for one
    of its defaults. Of `nodes` the best `limit` that hold a word of the question join too. An index
    over LlamaIndex's own in-memory store brings all its nodes by itself; any other source brings
    what it returns and no more, because what its filters leave out must not come back by its words:
    pass as `nodes` only what may be shown to whoever asks.

    The source's scores, the memory's, and the BM25 of all candidates among each other are measured
    in standard deviations from their own mean and added, the last times `keywords`: so documents
    and messages can be compared, and no scale drowns another. A node of `nodes` that the source did
    not return has its lowest score; what a list does not know, or holds without a score, has its
    mean, 0, and so has all of a list of one or of equal scores. Equals keep the order source,
    memory, nodes. No node comes twice, at most `limit` come.

    A source that fails raises. A memory that fails is left out, with a `DegradeEvent`; only
    `InvalidNamespace` raises. In `aretrieve` both run side by side.

    >>> from llama_index.core import MockEmbedding, VectorStoreIndex
    >>> from llama_index.core.schema import TextNode
    >>> texts = ["Invoice 4711 is paid", "Invoice 4712 is open", "The office is closed"]
    >>> index = VectorStoreIndex([TextNode(text=t) for t in texts], embed_model=MockEmbedding(2))
    >>> HybridRetriever(index, limit=1).retrieve("what about 4712?")[0].text
    'Invoice 4712 is open'
    """

    @strict
    def __init__(
        self,
        source: BaseRetriever | BaseIndex[Any],
        *,
        memory: MemoryRetriever | Conversation | None = None,
        nodes: Sequence[BaseNode] | None = None,
        limit: int = 10,
        keywords: float = 1.0,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if not isinstance(source, (BaseRetriever, BaseIndex)):
            raise InvalidInput("source", source, "pass a LlamaIndex retriever or index")
        if isinstance(memory, Conversation):
            memory = MemoryRetriever(memory)
        if memory is not None and not isinstance(memory, MemoryRetriever):
            raise InvalidInput("memory", memory, "pass a MemoryRetriever or a conversation")
        if nodes is not None and not all(isinstance(node, BaseNode) for node in nodes):
            raise InvalidInput("nodes", nodes, "pass LlamaIndex nodes, without scores")
        weight = checked_weight(keywords)
        check_limit(limit)
        super().__init__(callback_manager=callback_manager)
        self._source = source
        self._memory = memory
        self._limit = limit
        self._weight = weight
        self._keywords = Keywords(nodes or (), _embedded)
        self._follows = nodes is None and _brings_all(source)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {"source": self._source} if isinstance(self._source, BaseRetriever) else {}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        documents = self._retriever().retrieve(query_bundle)
        remembered: list[NodeWithScore] = []
        if self._memory is not None:
            try:
                remembered = self._memory.retrieve(query_bundle)
            except InvalidNamespace:
                raise
            except Exception as error:  # documents without memories are still an answer
                _without_memory(error)
        return self._fused(query_bundle.query_str, documents, remembered)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        tasks = [
            asyncio.ensure_future(_adocuments(self._retriever(), query_bundle)),
            asyncio.ensure_future(self._aremembered(query_bundle)),
        ]
        try:
            documents, remembered = await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # whichever failed, nobody waits for the other
                task.cancel()
        work = partial(self._fused, query_bundle.query_str, documents, remembered)
        return await get_portal().acompute(work)

    async def _aremembered(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._memory is None:
            return []
        try:
            return await self._memory.aretrieve(query_bundle)
        except InvalidNamespace:
            raise
        except Exception as error:  # documents without memories are still an answer
            _without_memory(error)
            return []

    def _retriever(self) -> BaseRetriever:
        if isinstance(self._source, BaseRetriever):
            return self._source
        # Made anew each time: a retriever of an index knows the nodes it held when it was made.
        if isinstance(self._source, VectorStoreIndex):
            return self._source.as_retriever(similarity_top_k=self._limit)
        return self._source.as_retriever()

    def _fused(
        self, query: str, documents: list[NodeWithScore], remembered: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        by_words = self._all_nodes().best(query, self._limit) if self._weight else []
        best = united(
            query,
            [_listed(item) for item in documents],
            [_listed(item) for item in remembered],
            [Listed(node.node_id, node) for node in by_words],
            _embedded,
            weight=self._weight,
            limit=self._limit,
        )
        return [NodeWithScore(node=node, score=score) for node, score in best]

    def _all_nodes(self) -> Keywords[BaseNode]:
        if not self._follows or not isinstance(self._source, VectorStoreIndex):
            return self._keywords
        index = self._source
        ids = list(index.index_struct.nodes_dict.values())
        return self._keywords.follow(
            ids, lambda new: index.docstore.get_nodes(new, raise_error=False)
        )


def _brings_all(source: object) -> bool:
    """Whether all nodes of `source` may be shown: an index whose store knows no tenants."""
    if not isinstance(source, VectorStoreIndex):
        return False
    return type(source.vector_store) is SimpleVectorStore


async def _adocuments(source: BaseRetriever, query_bundle: QueryBundle) -> list[NodeWithScore]:
    if type(source)._aretrieve is not BaseRetriever._aretrieve:  # noqa: SLF001  # what to override
        return await source.aretrieve(query_bundle)
    # The base class would call the sync method and block the loop for everybody.
    return await asyncio.to_thread(source.retrieve, query_bundle)


def _without_memory(error: Exception) -> None:
    degraded("HybridRetriever", f"memory: {shorten(error, 300)}")


def _listed(item: NodeWithScore) -> Listed[BaseNode]:
    return Listed(item.node.node_id, item.node, item.score)


def _embedded(node: BaseNode) -> str:
    """What an embedder is shown of a node."""
    return node.get_content(MetadataMode.EMBED)
