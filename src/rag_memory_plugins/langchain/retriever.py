"""The memory as a LangChain retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidQuery, UnknownArgument, nearest
from rag_memory_plugins.filters import Filter, combined
from rag_memory_plugins.memory.arguments import checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import LEVELS, Level

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )

    from rag_memory_plugins.results import Hit, SearchResult

__all__ = ["MemoryRetriever"]

_NARROWING: Final = ("level", "limit", "where")


class MemoryRetriever(BaseRetriever):
    """Remembered messages as documents, best first; one a message, so no text comes twice.

    `where` is a `Filter` that every document's message matches. `invoke` takes `limit`, `level` and
    `where`, which can only narrow what this retriever was made for: any other keyword raises
    `UnknownArgument`, so `filter=None` cannot drop the tenant.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add("I moved to Lisbon in May", id="m1")
    ...     document = MemoryRetriever(ann).invoke("where did I move?")[0]
    >>> document.page_content, document.id
    ('I moved to Lisbon in May', 'acme/ann/monday/m1')
    >>> folder.cleanup()
    """

    limit: int
    level: Level
    _conversation: Conversation = PrivateAttr()
    _where: Filter | None = PrivateAttr()

    @strict
    def __init__(
        self,
        conversation: Conversation,
        *,
        limit: int = 10,
        level: Level = "user",
        where: Filter | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        checked_conversation(conversation)
        if level not in LEVELS:
            raise InvalidQuery("level", level, nearest(str(level), LEVELS))
        fields: dict[str, Any] = {"limit": limit, "level": level}
        super().__init__(**fields, tags=tags, metadata=metadata)
        self._conversation = conversation
        self._where = combined(where)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        limit, level, where = self._narrowed(kwargs)
        found = self._conversation.search(query, limit, level=level, where=where)
        return self._documents(found)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        limit, level, where = self._narrowed(kwargs)
        found = await self._conversation.asearch(query, limit, level=level, where=where)
        return self._documents(found)

    def _narrowed(self, kwargs: dict[str, Any]) -> tuple[int, Level, Filter | None]:
        for name, value in kwargs.items():
            if name not in _NARROWING:
                raise UnknownArgument(f"invoke({name}=)", value, nearest(name, _NARROWING))
        level = kwargs.get("level", self.level)
        if level not in (self.level, "session"):
            raise InvalidQuery("level", level, f"this retriever is for {self.level!r} or narrower")
        where = combined(self._where, kwargs.get("where"))
        return kwargs.get("limit", self.limit), level, where

    def _documents(self, hits: SearchResult) -> list[Document]:
        return [self._document(hit) for hit in hits]

    def _document(self, hit: Hit) -> Document:
        message = hit.message
        scope = self._conversation.namespace.scope
        said_in = Namespace(scope.tenant, scope.user, hit.session)
        metadata = {
            "time": message.time.isoformat(),
            "role": message.role,
            "name": message.name,
            "session": hit.session,
            "id": message.id,
            "score": hit.score,
        }
        return Document(
            id=f"{said_in.key}/{quote(message.id, safe='')}",
            page_content=message.content,
            metadata={key: value for key, value in metadata.items() if value is not None},
        )
