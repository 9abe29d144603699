"""The memory as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidQuery, UnknownArgument, nearest
from rag_memory_plugins.filters import Filter, When, combined
from rag_memory_plugins.langchain.documents import SCORE, document_of, noted, with_reasons
from rag_memory_plugins.langchain.events import atell, recalled, tell
from rag_memory_plugins.langchain.running import ConfigRetriever
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
from rag_memory_plugins.types import Level

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )

    from rag_memory_plugins.results import SearchResult

__all__ = ["MemoryRetriever"]

_NARROWING: Final = ("level", "limit", "min_relevance", "roles", "since", "until", "where")


class MemoryRetriever(ConfigRetriever):
    """Remembered messages as documents, best first; one a message, so no text comes twice.

    Pass a conversation; or a memory, and as `namespace` a function of the run's config that every
    retrieval asks whose memory it is for: `lambda config: Namespace(config["configurable"]["org"],
    ...)`. One that fails or gives anything but a `Namespace` raises `InvalidNamespace`, and nothing
    is searched.

    A document's id holds tenant, user and session beside the message's id. Metadata: tenant,
    session, role, time (ISO 8601), name, id, score (it means something within one retrieval), and
    with `window` what was said so many messages to either side (`beside`). The other arguments are
    those of `Conversation.search`; `where` is a `Filter` that every document's message matches.

    `invoke` takes `limit`, and `level`, `where`, `since`, `until`, `roles` and `min_relevance`,
    which only narrow what this retriever was made for: any other keyword raises `UnknownArgument`,
    so `filter=None` cannot drop the tenant. Each search is told of by the event
    `rag_memory_recall`, and what it had to leave out by `rag_memory_degrade` and in the metadata
    `degraded`.

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
    min_relevance: float
    window: int
    _whose: Callable[..., Conversation] = PrivateAttr()
    _where: Filter | None = PrivateAttr()

    @strict
    def __init__(
        self,
        conversation: Conversation | Memory,
        *,
        namespace: Namespace | Callable[[RunnableConfig], Namespace] | None = None,
        limit: int = 10,
        level: Level = "user",
        since: When | None = None,
        until: When | None = None,
        roles: str | Collection[str] | None = None,
        where: Filter | None = None,
        min_relevance: float = 0.0,
        window: int = 0,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        asked = whose(conversation, namespace)
        check_limit(limit)
        check_window(window)
        filtered = combined(where, since=since, until=until, roles=roles)
        fields: dict[str, Any] = {
            "limit": limit,
            "level": checked_level(level),
            "min_relevance": checked_relevance(min_relevance),
            "window": window,
        }
        super().__init__(**fields, tags=tags, metadata=metadata)
        self._whose = asked
        self._where = filtered

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked = self._narrowed(kwargs)
        conversation = self._whose(self._running)
        found = conversation.search(query, **asked)
        tell(recalled(conversation.namespace.key, found), run_manager.get_child())
        return _documents(conversation, found)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked = self._narrowed(kwargs)
        conversation = self._whose(self._running)
        found = await conversation.asearch(query, **asked)
        await atell(recalled(conversation.namespace.key, found), run_manager.get_child())
        return _documents(conversation, found)

    def _narrowed(self, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in given.items():
            if name not in _NARROWING:
                raise UnknownArgument(f"invoke({name}=)", value, nearest(name, _NARROWING))
        level = given.get("level", self.level)
        if level not in (self.level, "session"):
            raise InvalidQuery("level", level, f"this retriever is for {self.level!r} or narrower")
        told = {name: given.get(name) for name in ("since", "until", "roles")}
        least = checked_relevance(given.get("min_relevance", 0.0))
        return {
            "limit": given.get("limit", self.limit),
            "level": level,
            "where": combined(self._where, given.get("where"), **told),
            "min_relevance": max(self.min_relevance, least),
            "window": self.window,
        }


def _documents(conversation: Conversation, found: SearchResult) -> list[Document]:
    scope = conversation.namespace.scope
    documents = [
        noted(document_of(hit.message, scope, hit.session, hit.neighbours), {SCORE: hit.score})
        for hit in found
    ]
    return [with_reasons(document, *found.degraded) for document in documents]
