"""Remembered messages as LangChain documents, documents as nodes, and documents changed in a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate, format_document

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.placing import placed_id, placed_metadata, time_of
from rag_memory_plugins.retrieval.nodes import Node

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.types import Message

__all__ = [
    "ADJUSTMENT",
    "DEGRADED",
    "RELEVANCE",
    "SCORE",
    "checked_documents",
    "document_of",
    "nodes_for_packing",
    "noted",
    "scores_of",
    "shows",
    "with_reasons",
]

SCORE: Final = "score"
"""Metadata key of a score that a retriever of ours gave; higher is better."""
RELEVANCE: Final = "relevance_score"
"""The same of a reranker, as LangChain's own rerankers call it."""
DEGRADED: Final = "degraded"
"""Metadata key of a list: why this document, or its place, is less than was asked for."""
ADJUSTMENT: Final = "context_adjustment"
"""Metadata key of what became of all documents that a compressor was given."""


def document_of(
    message: Message, scope: Scope, session: str, beside: Sequence[Message] = ()
) -> Document:
    """A remembered message as a document; no two tenants' documents have one id.

    Metadata: time (ISO 8601), role, name, tenant, session, id; and `beside`, a dated line for each
    message said around it. `page_content` is the message's own text.
    """
    return Document(
        id=placed_id(scope, session, message.id),
        page_content=message.content,
        metadata=placed_metadata(message, scope, session, beside),
    )


def nodes_for_packing(
    documents: Sequence[Document], prompt: BasePromptTemplate[str] | None = None
) -> list[Node]:
    """Documents as `retrieval.packing.pack` takes them, the first best, as `prompt` shows them.

    LangChain tells what is best by order: scores in metadata may be older than the last reranking.
    The id is the document's place, because two of them may share theirs.
    """
    nodes = []
    for at, document in enumerate(documents):
        before, text, after = _shown(document, prompt)
        nodes.append(Node(str(at), text, -float(at), time_of(document.metadata), before, after))
    return nodes


def shows(document: Document, prompt: BasePromptTemplate[str] | None) -> str:
    """What a model is shown of a document."""
    return document.page_content if prompt is None else format_document(document, prompt)


def _shown(document: Document, prompt: BasePromptTemplate[str] | None) -> tuple[str, str, str]:
    """(what stands before, the text, what stands after) of what a model is shown."""
    whole, text = shows(document, prompt), document.page_content
    if not text.strip() or text not in whole:
        return "", whole if text.strip() else "", ""
    before, _, after = whole.rpartition(text)
    return before, text, after


def noted(
    document: Document, metadata: Mapping[str, Any] | None = None, text: str | None = None
) -> Document:
    """The same document with more metadata, or another text; `document` is as it was."""
    update: dict[str, Any] = {"metadata": {**document.metadata, **(metadata or {})}}
    if text is not None:
        update["page_content"] = text
    return document.model_copy(update=update)


def with_reasons(document: Document, *reasons: str) -> Document:
    """A copy that says why it is less than was asked for; no reasons, a copy that says the same."""
    before = document.metadata.get(DEGRADED)
    known = before if isinstance(before, list) else []
    return noted(document, {DEGRADED: [*known, *reasons]} if reasons else None)


def scores_of(documents: Sequence[Document]) -> list[float]:
    """A score a document, none above the one before it.

    Those in the metadata if they fall with the order, else the ranks: a number there may be a
    distance, or older than the order.
    """
    for key in (RELEVANCE, SCORE):
        values = [document.metadata.get(key) for document in documents]
        scores = [float(value) for value in values if isinstance(value, (int, float))]
        if len(scores) == len(documents) and all(a >= b for a, b in pairwise(scores)):
            return scores
    return [-float(at) for at in range(len(documents))]


def checked_documents(documents: object, field: str) -> list[Document]:
    """The documents as a list. Raises `InvalidInput` for anything else."""
    if not isinstance(documents, Sequence) or isinstance(documents, (str, bytes)):
        raise InvalidInput(field, documents, "pass a list of LangChain documents")
    for document in documents:
        if not isinstance(document, Document):
            raise InvalidInput(field, document, "pass LangChain documents")
    return list(documents)
