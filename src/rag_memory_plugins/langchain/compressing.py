"""What our document compressors share: one async implementation with two faces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.documents import BaseDocumentCompressor, Document

from rag_memory_plugins.langchain.documents import checked_documents
from rag_memory_plugins.langchain.events import Told, atell, tell
from rag_memory_plugins.portal import Portal, get_portal

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

__all__ = ["Compressed", "Compressor"]

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
