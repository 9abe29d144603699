"""No memory at all: the whole conversation in every prompt, or its newest turns that fit.

It ranks nothing, so it has no R@k and no S@k; `tokens/full_history` is what it takes to send it all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers import Peer
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

NEEDS: Final[Mapping[str, str]] = {}
PARTS: Final[Sequence[str]] = ()
EMBEDS: Final = False
RANKS: Final = False


class FullHistory(Peer):
    """Turns in the order they were said, given from the newest."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand | None) -> None:
        self._ids: list[str] = []

    def add(self, session: str, message: Message) -> None:
        self._ids.append(message.id)

    def search(self, query: str, limit: int) -> list[str]:
        return self._ids[::-1][:limit]


opened = FullHistory
