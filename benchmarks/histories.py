"""Made-up histories of one user, stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.random_vectors import ClusteredVectors
from benchmarks.volume import settle
from rag_memory_plugins import Message, open_memory

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["WHOSE", "write"]

WHOSE: Final = ("benchmark", "ann", "long")
"""Tenant, user and session."""
BATCH: Final = 500


def write(path: Path, texts: Sequence[str], progress: Progress, what: str) -> None:
    """Store a history of both speakers, and every vector."""
    with open_memory(path, embedder=ClusteredVectors(), background=False) as memory:
        conversation = memory.conversation(*WHOSE)
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            conversation.add(
                [Message(("user", "assistant")[at % 2], text) for at, text in enumerate(some)]
            )
        settle(memory, progress, what)
