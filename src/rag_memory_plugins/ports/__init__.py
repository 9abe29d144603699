"""The ports: what a `Memory` is made of. One small Protocol each.

A port that another wraps is implemented by the wrapper too, so caches, limits and fallbacks nest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag_memory_plugins.ports.facts import (
    Claim,
    Entity,
    Fact,
    FactChange,
    FactDecision,
    FactExtractor,
    FactQuery,
    FactSource,
    FactStore,
    NewFact,
    ReadingQueue,
    Relation,
    Said,
    StateComparer,
    Unread,
)
from rag_memory_plugins.ports.index import (
    Found,
    Pending,
    Point,
    Query,
    RemovedPoint,
    VectorIndex,
    VectorStore,
)
from rag_memory_plugins.ports.items import ItemChange, ItemStore, StoredItem
from rag_memory_plugins.ports.log import Fold, Folded, MessageLog, SessionView, StoredMessage
from rag_memory_plugins.ports.models import (
    ChatModel,
    Embedder,
    Encoded,
    Reranker,
    Summarizer,
    TokenCounter,
    TokenEmbedder,
)
from rag_memory_plugins.ports.shared import SharedCache, SharedState

if TYPE_CHECKING:
    from rag_memory_plugins.ports.models import TokenVectors as TokenVectors
    from rag_memory_plugins.ports.models import Vectors as Vectors

__all__ = [
    "ChatModel",
    "Claim",
    "Embedder",
    "Encoded",
    "Entity",
    "Fact",
    "FactChange",
    "FactDecision",
    "FactExtractor",
    "FactQuery",
    "FactSource",
    "FactStore",
    "Fold",
    "Folded",
    "Found",
    "ItemChange",
    "ItemStore",
    "MessageLog",
    "NewFact",
    "Pending",
    "Point",
    "Query",
    "ReadingQueue",
    "Relation",
    "RemovedPoint",
    "Reranker",
    "Said",
    "SessionView",
    "SharedCache",
    "SharedState",
    "StateComparer",
    "StoredItem",
    "StoredMessage",
    "Summarizer",
    "TokenCounter",
    "TokenEmbedder",
    "Unread",
    "VectorIndex",
    "VectorStore",
]
