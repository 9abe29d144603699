"""The memory as a LlamaIndex retriever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from rag_memory_plugins.filters import Filter, When, combined
from rag_memory_plugins.llama_index.events import recalled
from rag_memory_plugins.llama_index.nodes import node_of
from rag_memory_plugins.memory.arguments import (
    check_limit,
    check_window,
    checked_level,
    checked_relevance,
)
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.whose import whose
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict

if TYPE_CHECKING:
    from llama_index.core.callbacks.base import CallbackManager

    from rag_memory_plugins.results import SearchResult
    from rag_memory_plugins.types import Level

__all__ = ["MemoryRetriever"]


class MemoryRetriever(BaseRetriever):
    """Remembered messages as nodes, best first; one a message, so no text comes twice.

    Pass a conversation; or a memory, and as `namespace` a function that every retrieval asks whose
    memory it is for: `MemoryRetriever(memory, namespace=lambda: Namespace(...))`. One that fails or
    gives anything but a `Namespace` raises `InvalidNamespace`, and nothing is searched.

    A node's id holds tenant, user and session beside the message's id, so that nodes of two
    tenants never merge in a fusion. Metadata: tenant, session, role, time (ISO 8601), name, id, and
    with `window` what was said so many messages to either side (`beside`: a model is shown it).
    The other arguments are those of `Conversation.search`; `where` is a `Filter` that every node's
    message matches. Scores mean something only within one retrieval. Each search is told of by a
    `RecallEvent`, and what it had to leave out by `DegradeEvent`s.

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
        conversation: Conversation | Memory,
        *,
        namespace: Namespace | Callable[[], Namespace] | None = None,
        limit: int = 10,
        level: Level = "user",
        since: When | None = None,
        until: When | None = None,
        roles: str | Collection[str] | None = None,
        where: Filter | None = None,
        min_relevance: float = 0.0,
        window: int = 0,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._whose = whose(conversation, namespace)
        check_limit(limit)
        check_window(window)
        self._asked: dict[str, Any] = {
            "limit": limit,
            "level": checked_level(level),
            "where": combined(where, since=since, until=until, roles=roles),
            "min_relevance": checked_relevance(min_relevance),
            "window": window,
        }
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        conversation = self._whose()
        return _nodes(conversation, conversation.search(query_bundle.query_str, **self._asked))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        conversation = self._whose()
        found = await conversation.asearch(query_bundle.query_str, **self._asked)
        return _nodes(conversation, found)


def _nodes(conversation: Conversation, found: SearchResult) -> list[NodeWithScore]:
    recalled(conversation.namespace.key, found)
    scope = conversation.namespace.scope
    return [
        NodeWithScore(
            node=node_of(hit.message, scope, hit.session, hit.neighbours), score=hit.score
        )
        for hit in found
    ]
