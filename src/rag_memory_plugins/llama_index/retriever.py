"""The memory as a LlamaIndex retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.filters import Filter, combined
from rag_memory_plugins.llama_index.nodes import node_of
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import strict

if TYPE_CHECKING:
    from llama_index.core.callbacks.base import CallbackManager

    from rag_memory_plugins.results import Hit
    from rag_memory_plugins.types import Level

__all__ = ["MemoryRetriever"]


class MemoryRetriever(BaseRetriever):
    """Remembered messages as nodes, best first; one a message, so no text comes twice.

    A node's id holds tenant, user and session beside the message's id, so that nodes of two
    tenants never merge in a fusion. Metadata: tenant, session, role, time (ISO 8601), name, id.
    `where` is a `Filter` that every node's message matches.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add("I moved to Lisbon in May", id="m1")
    ...     node = MemoryRetriever(ann).retrieve("where did I move?")[0]
    >>> node.text, node.node_id
    ('I moved to Lisbon in May', 'acme/ann/monday/m1')
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        conversation: Conversation,
        *,
        limit: int = 10,
        level: Level = "user",
        where: Filter | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if not isinstance(conversation, Conversation):
            raise InvalidInput(
                "conversation", conversation, "pass memory.conversation(tenant, user, session)"
            )
        super().__init__(callback_manager=callback_manager)
        self._conversation = conversation
        self._limit = limit
        self._level = level
        self._where = combined(where)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(
            self._conversation.search(
                query_bundle.query_str, self._limit, level=self._level, where=self._where
            )
        )

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(
            await self._conversation.asearch(
                query_bundle.query_str, self._limit, level=self._level, where=self._where
            )
        )

    def _nodes(self, hits: Any) -> list[NodeWithScore]:
        return [self._node(hit) for hit in hits]

    def _node(self, hit: Hit) -> NodeWithScore:
        scope = self._conversation.namespace.scope
        return NodeWithScore(node=node_of(hit.message, scope, hit.session), score=hit.score)
