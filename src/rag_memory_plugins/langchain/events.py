"""What happened, as LangChain's custom events: for `on_custom_event` of callback handlers.

`astream_events` gives them too. No event holds a text. Hooks of `open_memory` get ours beside.

- `rag_memory_recall`: namespace, hits, lanes (which steps of the search ran).
- `rag_memory_trim`: source, original, kept, tokens, available, removed.
- `rag_memory_degrade`: source, reason. It stands in the log too, as a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.runnables.config import ensure_config

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from rag_memory_plugins.results import SearchResult

__all__ = ["DEGRADE", "RECALL", "TRIM", "Told", "atell", "degraded", "recalled", "tell"]

RECALL: Final = "rag_memory_recall"
TRIM: Final = "rag_memory_trim"
DEGRADE: Final = "rag_memory_degrade"

Told = tuple[str, dict[str, Any]]
"""An event's name and data."""

_log = logging.getLogger("rag_memory_plugins.langchain")


def degraded(source: str, reason: str) -> Told:
    """That `source` gave less than was asked of it; the log is told at once."""
    _log.warning("%s: %s", source, reason)
    return DEGRADE, {"source": source, "reason": reason}


def recalled(namespace: str, found: SearchResult) -> list[Told]:
    """A search, and what it had to leave out."""
    data = {"namespace": namespace, "hits": len(found.hits), "lanes": dict(found.lanes)}
    return [(RECALL, data), *(degraded(namespace, reason) for reason in found.degraded)]


def tell(told: Sequence[Told], callbacks: Callbacks = None) -> None:
    """Tell the handlers of `callbacks`, or of the run that is going on."""
    if told:
        manager = CallbackManager.configure(callbacks or ensure_config().get("callbacks"))
        for name, data in told:
            manager.on_custom_event(name, data, run_id=manager.parent_run_id)


async def atell(told: Sequence[Told], callbacks: Callbacks = None) -> None:
    """Async form of `tell`."""
    if told:
        manager = AsyncCallbackManager.configure(callbacks or ensure_config().get("callbacks"))
        for name, data in told:
            await manager.on_custom_event(name, data, run_id=manager.parent_run_id)
