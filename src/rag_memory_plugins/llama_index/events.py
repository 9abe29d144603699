"""What happened, as events of LlamaIndex's instrumentation. No event holds a message's text.

They reach whoever listens on LlamaIndex's dispatcher (`get_dispatcher().add_event_handler(...)`),
within the span of the query, chat or agent run that asked; hooks of `open_memory` get ours beside.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher

if TYPE_CHECKING:
    from rag_memory_plugins.results import Context, SearchResult
    from rag_memory_plugins.retrieval.packing import Packed

__all__ = [
    "AssemblyEvent",
    "DegradeEvent",
    "RecallEvent",
    "TrimEvent",
    "assembled",
    "degraded",
    "packed",
    "recalled",
    "warned",
]

_log = logging.getLogger("rag_memory_plugins.llama_index")
dispatcher: Final = get_dispatcher("rag_memory_plugins.llama_index")


class RecallEvent(BaseEvent):
    """A search of the memory: how many hits, and which of its steps ran ("dense: 3 pending")."""

    namespace: str
    hits: int
    lanes: dict[str, str]

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the event by."""
        return "RagMemoryRecallEvent"


class AssemblyEvent(BaseEvent):
    """A context was made: its mode, its tokens within `budget`, and those of each part."""

    namespace: str
    mode: str
    tokens: int
    budget: int
    parts: dict[str, int]

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the event by."""
        return "RagMemoryAssemblyEvent"


class TrimEvent(BaseEvent):
    """Nodes or messages were made to fit: `kept` of `original`, `tokens` of `available`.

    `recommended_response_mode` says how a query engine had better answer from nodes.
    """

    source: str
    original: int
    kept: int
    tokens: int
    available: int
    removed: int
    recommended_response_mode: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the event by."""
        return "RagMemoryTrimEvent"


class DegradeEvent(BaseEvent):
    """A part gave less than was asked of it, and why."""

    source: str
    reason: str

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the event by."""
        return "RagMemoryDegradeEvent"


def recalled(namespace: str, found: SearchResult) -> None:
    """Tell of a search, and of what it had to leave out."""
    dispatcher.event(
        RecallEvent(namespace=namespace, hits=len(found.hits), lanes=dict(found.lanes))
    )
    for reason in found.degraded:
        degraded(namespace, reason)


def assembled(namespace: str, context: Context) -> None:
    """Tell of a context, and of what it had to leave out."""
    parts = {part.name: part.tokens for part in context.parts}
    dispatcher.event(
        AssemblyEvent(
            namespace=namespace,
            mode=context.mode,
            tokens=context.tokens,
            budget=context.budget.total,
            parts=parts,
        )
    )
    for reason in context.degraded:
        degraded(namespace, reason)


def packed(source: str, done: Packed) -> None:
    """Tell of nodes that were made to fit."""
    dispatcher.event(
        TrimEvent(
            source=source,
            original=done.original,
            kept=done.kept,
            tokens=done.tokens,
            available=done.available,
            removed=done.removed,
            recommended_response_mode=done.recommended_response_mode,
        )
    )


def warned(source: str, reason: str) -> None:
    """`degraded`, and a warning in the log: for what nobody would see in the answer."""
    _log.warning("%s: %s", source, reason)
    degraded(source, reason)


def degraded(source: str, reason: str) -> None:
    """Tell that `source` gave less than was asked of it."""
    dispatcher.event(DegradeEvent(source=source, reason=reason))
