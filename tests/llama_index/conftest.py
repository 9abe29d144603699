from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_memory_plugins import Event, Memory, open_memory


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def memory(tmp_path: Path, events: list[Event]) -> Iterator[Memory]:
    with open_memory(tmp_path / "memory.db", embedder=None, hooks=[events.append]) as opened:
        yield opened
