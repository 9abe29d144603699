"""A plain vector store: one vector a turn, exact cosine by numpy, and nothing else.

The vector is of "Name: text" (of its first piece, should the model not read it whole). A store with
an approximate index finds at most what this finds, so it stands for them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.peers import Peer
from benchmarks.scores import line
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS: Final[Mapping[str, str]] = {}
PARTS: Final[Sequence[str]] = ("numpy",)
EMBEDS: Final = True
RANKS: Final = True


class PlainVectors(Peer):
    """Rows of unit vectors; the best products first."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand) -> None:
        self._vectors = vectors
        self._ids: list[str] = []
        self._rows: list[list[float]] = []
        self._matrix: NDArray[np.float32] = np.empty((0, vectors.dimension), np.float32)

    def add(self, session: str, message: Message) -> None:
        self._ids.append(message.id)
        self._rows.append(self._vectors.document(line(message)))

    def finish(self) -> None:
        self._matrix = np.array(self._rows, dtype=np.float32)

    def search(self, query: str, limit: int) -> list[str]:
        scores = self._matrix @ np.array(self._vectors.query(query), dtype=np.float32)
        best = np.argsort(-scores, kind="stable")[:limit]
        return [self._ids[at] for at in best.tolist()]


opened = PlainVectors
