"""A retriever of the user's own, with keywords and the memory beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import patch_config
from langchain_core.vectorstores import VectorStore
from pydantic import PrivateAttr

from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidNamespace,
    UnknownArgument,
    nearest,
    shorten,
)
from rag_memory_plugins.langchain.documents import (
    SCORE,
    checked_documents,
    noted,
    scores_of,
    with_reasons,
)
from rag_memory_plugins.langchain.events import atell, degraded, tell
from rag_memory_plugins.langchain.retriever import MemoryRetriever
from rag_memory_plugins.langchain.running import ConfigRetriever
from rag_memory_plugins.memory.arguments import check_limit
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import get_portal, strict
from rag_memory_plugins.retrieval.keywords import Keywords
from rag_memory_plugins.retrieval.union import Listed, checked_weight, united

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.runnables import RunnableConfig

__all__ = ["HybridRetriever"]

Remembered = tuple[list[Document], str]
"""Documents of the memory, and why there are none."""


class HybridRetriever(ConfigRetriever):
    """What `source` finds, and what the words of the question and the memory find beside it.

    `source` is any retriever, runnable from a query to documents, or vector store. `memory` is a
    `MemoryRetriever`, or a conversation for one of its defaults. Of `documents` the best `limit`
    that hold a word of the question join too: what the source's filters leave out would come back
    by its words, so pass only what may be shown to whoever asks.

    The source's scores, the memory's, and the BM25 of all candidates among each other are measured
    in standard deviations from their own mean and added, the last times `keywords`: so documents
    and messages can be compared, and no scale drowns another. The source's scores are those in the
    metadata (`relevance_score`, `score`) where they fall with its order, else its ranks. Equals
    keep the order source, memory, documents. Documents are told apart by id, those without one by
    their text; none comes twice, at most `limit` come, each with `score` in its metadata.

    `invoke` takes `limit`; any other keyword raises `UnknownArgument`, because it could replace a
    filter of the source. A source that fails raises. A memory that fails is left out, told by the
    event `rag_memory_degrade` and the metadata `degraded`; only `InvalidNamespace` raises. In
    `ainvoke` both run side by side.

    >>> from langchain_core.runnables import RunnableLambda
    >>> texts = ["Invoice 4711 is paid", "Invoice 4712 is open", "The office is closed"]
    >>> source = RunnableLambda(lambda query: [Document(text) for text in texts])
    >>> HybridRetriever(source, limit=1).invoke("what about 4712?")[0].page_content
    'Invoice 4712 is open'
    """

    limit: int
    keywords: float
    _source: Runnable[str, list[Document]] | VectorStore = PrivateAttr()
    _memory: MemoryRetriever | None = PrivateAttr()
    _words: Keywords[Document] = PrivateAttr()

    @strict
    def __init__(
        self,
        source: Runnable[str, list[Document]] | VectorStore,
        *,
        memory: MemoryRetriever | Conversation | None = None,
        documents: Sequence[Document] = (),
        limit: int = 10,
        keywords: float = 1.0,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(source, (Runnable, VectorStore)):
            raise InvalidInput("source", source, "pass a LangChain retriever or vector store")
        if isinstance(memory, Conversation):
            memory = MemoryRetriever(memory)
        if memory is not None and not isinstance(memory, MemoryRetriever):
            raise InvalidInput("memory", memory, "pass a MemoryRetriever or a conversation")
        check_limit(limit)
        fields: dict[str, Any] = {"limit": limit, "keywords": checked_weight(keywords)}
        words = Keywords(checked_documents(documents, "documents"), _text)
        super().__init__(**fields, tags=tags, metadata=metadata)
        self._source = source
        self._memory = memory
        self._words = words

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        limit = self._asked(kwargs)
        config = patch_config(self._running, callbacks=run_manager.get_child())
        found = self._retriever(limit).invoke(query, config)
        remembered: Remembered = ([], "")
        if self._memory is not None:
            try:
                remembered = (self._memory.invoke(query, config), "")
            except InvalidNamespace:
                raise
            except Exception as error:  # documents without memories are still an answer
                remembered = _without(error)
        if remembered[1]:
            tell([degraded("HybridRetriever", remembered[1])], run_manager.get_child())
        return self._united(query, limit, found, remembered)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        limit = self._asked(kwargs)
        config = patch_config(self._running, callbacks=run_manager.get_child())
        source = asyncio.ensure_future(self._retriever(limit).ainvoke(query, config))
        memory = asyncio.ensure_future(self._aremembered(query, config))
        try:
            found, remembered = await asyncio.gather(source, memory)
        finally:
            for task in (source, memory):  # whichever failed, nobody waits for the other
                task.cancel()
        if remembered[1]:
            await atell([degraded("HybridRetriever", remembered[1])], run_manager.get_child())
        return await get_portal().acompute(partial(self._united, query, limit, found, remembered))

    async def _aremembered(self, query: str, config: RunnableConfig) -> Remembered:
        if self._memory is None:
            return [], ""
        try:
            return await self._memory.ainvoke(query, config), ""
        except InvalidNamespace:
            raise
        except Exception as error:  # documents without memories are still an answer
            return _without(error)

    def _asked(self, given: dict[str, Any]) -> int:
        for name, value in given.items():
            if name != "limit":
                raise UnknownArgument(f"invoke({name}=)", value, nearest(name, ["limit"]))
        limit: int = given.get("limit", self.limit)
        check_limit(limit)
        return limit

    def _retriever(self, limit: int) -> Runnable[str, list[Document]]:
        if isinstance(self._source, VectorStore):
            return self._source.as_retriever(search_kwargs={"k": limit})
        return self._source

    def _united(
        self, query: str, limit: int, found: object, remembered: Remembered
    ) -> list[Document]:
        documents = checked_documents(found, "source")
        messages, reason = remembered
        by_words = self._words.best(query, limit) if self.keywords else []
        best = united(
            query,
            _listed(documents),
            _listed(messages),
            [Listed(_key(document), document) for document in by_words],
            _text,
            weight=self.keywords,
            limit=limit,
        )
        reasons = (reason,) if reason else ()
        return [with_reasons(noted(document, {SCORE: score}), *reasons) for document, score in best]


def _without(error: Exception) -> Remembered:
    return [], f"memory: {shorten(error, 300)}"


def _listed(documents: Sequence[Document]) -> list[Listed[Document]]:
    scores = scores_of(documents)
    return [
        Listed(_key(document), document, score)
        for document, score in zip(documents, scores, strict=True)
    ]


def _key(document: Document) -> str:
    return f"id:{document.id}" if document.id else f"text:{document.page_content}"


def _text(document: Document) -> str:
    return document.page_content
