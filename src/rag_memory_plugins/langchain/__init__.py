"""The memory as LangChain parts: middleware, store, history, retrievers, compressors, models.

Needs the extra `langchain`.

>>> from rag_memory_plugins.langchain import MemoryMiddleware, MemoryRetriever, as_embedder
"""

from __future__ import annotations

from rag_memory_plugins.errors import MissingExtra

try:
    import langchain.agents.middleware  # noqa: F401  # only to say which extra is missing
except ImportError as error:
    raise MissingExtra("langchain", "rag_memory_plugins.langchain") from error

from rag_memory_plugins.langchain.attach import attach, detach
from rag_memory_plugins.langchain.chat import Answer, achat, chat
from rag_memory_plugins.langchain.chat_model import as_chat_model
from rag_memory_plugins.langchain.checkpointer import TenantCheckpointer, run_context
from rag_memory_plugins.langchain.compressors import NeighbourCompressor, TenantGuardCompressor
from rag_memory_plugins.langchain.embedding import LocalEmbeddings, as_embedder
from rag_memory_plugins.langchain.history import LogChatMessageHistory
from rag_memory_plugins.langchain.hybrid import HybridRetriever
from rag_memory_plugins.langchain.importing import (
    Imported,
    aimport_checkpoints,
    aimport_history,
    import_checkpoints,
    import_history,
)
from rag_memory_plugins.langchain.index import as_index
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.query import MemoryQuery, memory_query_tool
from rag_memory_plugins.langchain.recommended import middleware
from rag_memory_plugins.langchain.rerankers import (
    CohereRerank,
    CrossEncoderRerank,
    HybridRerank,
    Rerank,
)
from rag_memory_plugins.langchain.retriever import MemoryRetriever
from rag_memory_plugins.langchain.router_middleware import RouterMiddleware
from rag_memory_plugins.langchain.router_model import RouterChatModel
from rag_memory_plugins.langchain.store import TenantStore
from rag_memory_plugins.langchain.tools import memory_tools
from rag_memory_plugins.langchain.trimming import TokenBudgetCompressor
from rag_memory_plugins.langchain.vector_store import TenantVectorStore

__all__ = [
    "Answer",
    "CohereRerank",
    "CrossEncoderRerank",
    "HybridRerank",
    "HybridRetriever",
    "Imported",
    "LocalEmbeddings",
    "LogChatMessageHistory",
    "MemoryMiddleware",
    "MemoryQuery",
    "MemoryRetriever",
    "NeighbourCompressor",
    "Rerank",
    "RouterChatModel",
    "RouterMiddleware",
    "TenantCheckpointer",
    "TenantGuardCompressor",
    "TenantStore",
    "TenantVectorStore",
    "TokenBudgetCompressor",
    "achat",
    "aimport_checkpoints",
    "aimport_history",
    "as_chat_model",
    "as_embedder",
    "as_index",
    "attach",
    "chat",
    "detach",
    "import_checkpoints",
    "import_history",
    "memory_query_tool",
    "memory_tools",
    "middleware",
    "run_context",
]
