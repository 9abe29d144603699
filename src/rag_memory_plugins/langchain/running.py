"""The config of the run that a retriever is in, which LangChain does not hand on to it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

__all__ = ["ConfigRetriever"]

_config: Final[ContextVar[RunnableConfig | None]] = ContextVar("rag_memory_config", default=None)


class ConfigRetriever(BaseRetriever):
    """A retriever that knows the config it was invoked with."""

    def invoke(
        self,
        input: str,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents for the query `input`; see the class for the keywords."""
        token = _config.set(ensure_config(config))
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            _config.reset(token)

    async def ainvoke(
        self,
        input: str,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Async form of `invoke`."""
        token = _config.set(ensure_config(config))
        try:
            return await super().ainvoke(input, config, **kwargs)
        finally:
            _config.reset(token)

    @property
    def _running(self) -> RunnableConfig:
        """The config of this run: what `invoke` was given, in the run around it."""
        return _config.get() or ensure_config()
