"""Time that passes when it is told to, and a ledger that a test can read."""

from __future__ import annotations

import pytest

from rag_memory_plugins.router.ledger import Entry


class Time:
    """Seconds of both clocks; sleeping lets them pass."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


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
