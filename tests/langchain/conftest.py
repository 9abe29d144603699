from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_memory_plugins import Event, Memory, open_memory
from rag_memory_plugins.router.ledger import Entry


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class ListLedger:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        self.entries.append(entry)

    async def aclose(self) -> None:
        pass


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ledger() -> ListLedger:
    return ListLedger()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def memory(tmp_path: Path, events: list[Event]) -> Iterator[Memory]:
    with open_memory(tmp_path / "memory.db", embedder=None, hooks=[events.append]) as opened:
        yield opened
