"""What our document compressors share, and a retriever whose documents go through some."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import patch_config
from pydantic import PrivateAttr

from rag_memory_plugins.langchain.documents import checked_documents
from rag_memory_plugins.langchain.events import Told, atell, tell
from rag_memory_plugins.langchain.running import ConfigRetriever
from rag_memory_plugins.portal import Portal, get_portal

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.retrievers import BaseRetriever

__all__ = ["Compressed", "CompressedRetriever", "Compressor"]

Compressed = tuple[list[Document], list[Told]]
"""New documents, and what to tell the callbacks."""


class Compressor(BaseDocumentCompressor):
    """Documents in, new documents out; those given are never changed."""

    @property
    def portal(self) -> Portal:
        """Where the work is done, whichever loop or thread asks."""
        return get_portal()

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """New documents for the query; what happened is told to `callbacks`, or to the run."""
        given = checked_documents(documents, "documents")
        done, told = self.portal.call(self._acompressed(given, query), "compress_documents()")
        tell(told, callbacks)
        return done

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Async form of `compress_documents`."""
        given = checked_documents(documents, "documents")
        done, told = await self.portal.acall(self._acompressed(given, query))
        await atell(told, callbacks)
        return done

    @abstractmethod
    async def _acompressed(self, documents: list[Document], query: str) -> Compressed:
        """The work, on the portal."""

    @property
    def _name(self) -> str:
        return type(self).__name__


class CompressedRetriever(ConfigRetriever):
    """What `source` finds, through compressors one after another; keywords go to the source."""

    _source: BaseRetriever = PrivateAttr()
    _after: tuple[BaseDocumentCompressor, ...] = PrivateAttr()

    def __init__(self, source: BaseRetriever, after: Sequence[BaseDocumentCompressor]) -> None:
        super().__init__()
        self._source = source
        self._after = tuple(after)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        config = patch_config(self._running, callbacks=run_manager.get_child())
        found: Sequence[Document] = self._source.invoke(query, config, **kwargs)
        for compressor in self._after:
            if found:
                found = compressor.compress_documents(found, query, run_manager.get_child())
        return list(found)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        config = patch_config(self._running, callbacks=run_manager.get_child())
        found: Sequence[Document] = await self._source.ainvoke(query, config, **kwargs)
        for compressor in self._after:
            if found:
                found = await compressor.acompress_documents(found, query, run_manager.get_child())
        return list(found)
