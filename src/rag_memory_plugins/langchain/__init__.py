"""The memory as LangChain parts: middleware, retriever, models; needs the extra `langchain`.

>>> from rag_memory_plugins.langchain import MemoryMiddleware, MemoryRetriever, as_embedder
"""

from __future__ import annotations

from rag_memory_plugins.errors import MissingExtra

try:
    import langchain.agents.middleware  # noqa: F401  # only to say which extra is missing
except ImportError as error:
    raise MissingExtra("langchain", "rag_memory_plugins.langchain") from error

from rag_memory_plugins.langchain.chat_model import as_chat_model
from rag_memory_plugins.langchain.embedding import as_embedder
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.retriever import MemoryRetriever

__all__ = ["MemoryMiddleware", "MemoryRetriever", "as_chat_model", "as_embedder"]
