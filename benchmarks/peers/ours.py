"""This package by its own `search`, its hits packed like every peer's.

Defaults throughout, one `add` a turn. The figures without a peer's name are of `context`, which
packs by its own rules and pays for dates and a fence; these show what the ranking alone does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers import Peer
from benchmarks.report import BadData
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message, open_memory

NEEDS: Final[Mapping[str, str]] = {}
PARTS: Final[Sequence[str]] = ()
EMBEDS: Final = True
RANKS: Final = True

SETTLE_SECONDS: Final = 600.0


class Ours(Peer):
    """One user's memory; every session of the talk is a session of it."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand | None) -> None:
        self._tenant = talk.name
        name = "keywords" if vectors is None else "vectors"
        # Not in the background: its embedding time would fall into adds that are being timed.
        self._memory = open_memory(
            str(folder / f"{talk.name}-ours-{name}.db"), embedder=vectors, background=False
        )
        self._asking = self._memory.conversation(talk.name, "reader", "questions")

    def add(self, session: str, message: Message) -> None:
        self._memory.conversation(self._tenant, "reader", session).add(message)

    def finish(self) -> None:
        if self._memory.embedder is not None and (left := self._memory.settle(SETTLE_SECONDS)):
            raise BadData(f"ours: {left} messages had no vector after {SETTLE_SECONDS:g} s")

    def search(self, query: str, limit: int) -> list[str]:
        return [hit.message.id for hit in self._asking.search(query, limit=limit)]

    def close(self) -> None:
        self._memory.close()


opened = Ours
