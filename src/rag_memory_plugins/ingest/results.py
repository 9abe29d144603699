"""What storing a transcript comes to, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rag_memory_plugins.ingest.transcripts import Kind

__all__ = ["Ingested", "Progress"]


@dataclass(frozen=True)
class Ingested:
    """What one file came to.

    `turns` of the file, `new` of them stored by this call; `speakers` by name, in the order they
    first spoke; `start` is when the talk began, as its messages have it; `seconds` is what it took.
    """

    turns: int
    new: int
    speakers: tuple[str, ...]
    seconds: float
    kind: Kind
    session: str
    start: datetime


@dataclass(frozen=True)
class Progress:
    """How far a file is: `read` bytes of `size`, `turns` stored so far, `new` of them by this call."""

    path: Path
    session: str
    turns: int
    new: int
    read: int
    size: int
