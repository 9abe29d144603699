"""The memory as LlamaIndex parts: chat memory, retrievers, postprocessors, stores, models.

Needs the extra `llama-index`.

>>> from rag_memory_plugins.llama_index import MemoryRetriever, ScopedMemory, as_embedder
"""

from __future__ import annotations

from rag_memory_plugins.errors import MissingExtra

try:
    import llama_index.core  # noqa: F401  # only to say which extra is missing
except ImportError as error:
    raise MissingExtra("llama-index", "rag_memory_plugins.llama_index") from error

from rag_memory_plugins.llama_index.attach import attach, detach
from rag_memory_plugins.llama_index.block import Recalled, RecallMemoryBlock
from rag_memory_plugins.llama_index.chat import Answer, achat, chat
from rag_memory_plugins.llama_index.chat_store import LogChatStore
from rag_memory_plugins.llama_index.embedding import LocalEmbedding, as_embedder
from rag_memory_plugins.llama_index.hybrid import HybridRetriever
from rag_memory_plugins.llama_index.index import as_index
from rag_memory_plugins.llama_index.limited import LimitedLLM
from rag_memory_plugins.llama_index.llm import as_chat_model
from rag_memory_plugins.llama_index.memory import ScopedMemory
from rag_memory_plugins.llama_index.neighbours import NeighbourPostprocessor
from rag_memory_plugins.llama_index.postprocessors import (
    TenantGuardPostprocessor,
    TokenBudgetPostprocessor,
    trimmed,
)
from rag_memory_plugins.llama_index.query_engine import MemoryQueryEngine
from rag_memory_plugins.llama_index.reranking import (
    CohereRerank,
    CrossEncoderRerank,
    HybridRerank,
    Rerank,
)
from rag_memory_plugins.llama_index.retriever import MemoryRetriever
from rag_memory_plugins.llama_index.router_llm import RouterLLM
from rag_memory_plugins.llama_index.trust import restoring
from rag_memory_plugins.llama_index.vector_store import TenantVectorStore

__all__ = [
    "Answer",
    "CohereRerank",
    "CrossEncoderRerank",
    "HybridRerank",
    "HybridRetriever",
    "LimitedLLM",
    "LocalEmbedding",
    "LogChatStore",
    "MemoryQueryEngine",
    "MemoryRetriever",
    "NeighbourPostprocessor",
    "RecallMemoryBlock",
    "Recalled",
    "Rerank",
    "RouterLLM",
    "ScopedMemory",
    "TenantGuardPostprocessor",
    "TenantVectorStore",
    "TokenBudgetPostprocessor",
    "achat",
    "as_chat_model",
    "as_embedder",
    "as_index",
    "attach",
    "chat",
    "detach",
    "restoring",
    "trimmed",
]
