"""This package opened with `embedder=None`: its keyword lane alone, no model at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.ours import Ours
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand

NEEDS: Final[Mapping[str, str]] = {}
PARTS: Final[Sequence[str]] = ()
EMBEDS: Final = False
RANKS: Final = True


class OursKeywords(Ours):
    """As `ours`, without vectors."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand | None) -> None:
        super().__init__(talk, folder, None)


opened = OursKeywords
