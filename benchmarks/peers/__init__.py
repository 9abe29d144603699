"""Other memories, set up to be run beside ours: one small file each, imported when it is named.

A peer's module has `NEEDS` (what must be importable, with the command that installs it), `PARTS`
(whose versions its figures hold for), `EMBEDS` (whether it needs vectors), `RANKS` (whether the
order of its hits means anything), and `opened`.
Its docstring says which of its settings were chosen, and why.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

__all__ = ["NAMES", "Peer", "PeerModule", "load", "missing", "versions"]

NAMES: Final = (
    "ours",
    "ours_keywords",
    "vectors",
    "bm25",
    "langgraph",
    "llamaindex",
    "mem0",
    "full_history",
)
GROUP: Final = "pip install --group peers"
"""Installs every peer but those that come with an extra of ours."""


class Peer(ABC):
    """One conversation in another memory. It finds turns by the id of their message."""

    notes: tuple[str, ...] = ()
    """What of it did not run here, in words for the reader of its figures."""

    @abstractmethod
    def add(self, session: str, message: Message) -> None:
        """Store one turn, as an application does that stores what was just said."""

    def finish(self) -> None:  # noqa: B027  # most index as they go
        """Do what an index needs after the last turn; the time counts as writing."""

    @abstractmethod
    def search(self, query: str, limit: int) -> list[str]:
        """Ids of up to `limit` turns, best first."""

    def close(self) -> None:  # noqa: B027  # most hold nothing but memory
        """Let go of files and threads."""


class PeerModule(Protocol):
    """What a module of this package offers."""

    NEEDS: Mapping[str, str]
    PARTS: Sequence[str]
    EMBEDS: bool
    RANKS: bool

    def opened(self, talk: Talk, folder: Path, vectors: AtHand | None) -> Peer:
        """An empty memory for this conversation, its files in `folder`."""


def load(name: str) -> PeerModule:
    """The module of a peer; its client is imported when it is opened."""
    module: PeerModule = importlib.import_module(f"benchmarks.peers.{name}")
    return module


def missing(module: PeerModule) -> str:
    """Why a peer cannot run here, with the command that changes it; empty if it can."""
    return "; ".join(
        f"{package} is not installed: {command}"
        for package, command in module.NEEDS.items()
        if not _there(package)
    )


def versions(module: PeerModule) -> str:
    """The distributions it runs on: "mem0ai 2.2.1, qdrant-client 1.20.0"."""
    return ", ".join(f"{part} {importlib.metadata.version(part)}" for part in module.PARTS)


def _there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a dotted name, the package that it should stand in
        return False
