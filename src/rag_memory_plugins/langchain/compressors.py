"""Documents shown with their neighbours, and kept to one tenant."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.filters import Filter, combined
from rag_memory_plugins.langchain.compressing import Compressed, Compressor
from rag_memory_plugins.langchain.documents import (
    document_of,
    noted,
    with_reasons,
)
from rag_memory_plugins.langchain.events import degraded
from rag_memory_plugins.memory.arguments import check_window
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.neighbouring import around, widened
from rag_memory_plugins.memory.placing import place_of
from rag_memory_plugins.portal import strict
from rag_memory_plugins.retrieval.tenancy import TENANT, Untagged, check_guard, guarded

__all__ = ["NeighbourCompressor", "TenantGuardCompressor"]


class NeighbourCompressor(Compressor):
    """Puts `before` and `after` messages of the same session beside every remembered document.

    A window stands where its best document stood, in the order it was said; windows that overlap
    or touch are one, so every message comes once. Only documents of the conversation's tenant and
    user have neighbours, from any of the user's sessions; others stay as they are, where they are.
    With `where` only messages that match come in: pass the retriever's filter. A store that fails
    costs the neighbours, told by `rag_memory_degrade`, the metadata `degraded` and the log.
    Raises `InvalidInput`, `InvalidQuery`, `InvalidFilter`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.langchain import MemoryRetriever
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add(["What is the code of the boathouse?", "4711", "Thanks, bye"])
    ...     found = MemoryRetriever(ann, limit=1).invoke("code of the boathouse")
    ...     near = NeighbourCompressor(ann, 1, 0).compress_documents(found, "")
    >>> [document.page_content for document in near]
    ['What is the code of the boathouse?', '4711']
    >>> folder.cleanup()
    """

    before: int
    after: int
    _conversation: Conversation = PrivateAttr()
    _where: Filter | None = PrivateAttr()

    @strict
    def __init__(
        self,
        conversation: Conversation,
        before: int = 2,
        after: int = 2,
        *,
        where: Filter | None = None,
    ) -> None:
        if not isinstance(conversation, Conversation):
            raise InvalidInput(
                "conversation", conversation, "pass memory.conversation(tenant, user, session)"
            )
        check_window(before, "before")
        check_window(after, "after")
        filtered = combined(where)
        fields: dict[str, Any] = {"before": before, "after": after}
        super().__init__(**fields)
        self._conversation = conversation
        self._where = filtered

    async def _acompressed(self, documents: list[Document], query: str) -> Compressed:
        scope = self._conversation.namespace.scope
        places = [place_of(document.id, document.metadata, scope) for document in documents]
        windows, failed = await around(self._conversation, places, self.before, self.after)
        told = []
        if failed:
            told.append(degraded(f"{self._name} {self._conversation.namespace.key}", failed))
            documents = [
                document if place is None else with_reasons(document, failed)
                for document, place in zip(documents, places, strict=True)
            ]
        shown = [
            noted(documents[one]) if isinstance(one, int) else document_of(one[1], scope, one[0])
            for one in widened(places, windows, self._where)
        ]
        return shown, told


class TenantGuardCompressor(Compressor):
    """Lets through documents of one tenant alone: a last wall, whatever retrieved them.

    A document's tenant is `metadata[key]`, a str, compared as it is. A document that names none is
    dropped too, unless `untagged` is "keep": then shared documents may stand beside a tenant's own.
    Every drop is told by `rag_memory_degrade` and the log, by count and without texts.
    Raises `InvalidNamespace`, `InvalidInput`.

    >>> found = [Document(text, metadata={"tenant": text}) for text in ("acme", "globex")]
    >>> guard = TenantGuardCompressor("globex")
    >>> [document.page_content for document in guard.compress_documents(found, "")]
    ['globex']
    """

    tenant: str
    key: str
    untagged: Untagged

    @strict
    def __init__(self, tenant: str, *, key: str = TENANT, untagged: Untagged = "drop") -> None:
        check_guard(tenant, key, untagged)
        fields: dict[str, Any] = {"tenant": tenant, "key": key, "untagged": untagged}
        super().__init__(**fields)

    async def _acompressed(self, documents: list[Document], query: str) -> Compressed:
        named = [document.metadata.get(self.key) for document in documents]
        own, reasons = guarded(named, self.tenant, self.key, self.untagged, "document")
        kept = [noted(document) for document, ours in zip(documents, own, strict=True) if ours]
        return kept, [degraded(self._name, reason) for reason in reasons]
