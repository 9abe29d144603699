"""Time that passes when it is told to, and a ledger that a test can read."""

from __future__ import annotations

import pytest

from rag_memory_plugins.router.ledger import Entry
from rag_memory_plugins.router.router import Router


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


@pytest.fixture
def make():
    """`make(models)`: a router that is closed after the test, and its connections with it."""
    routers = []

    def router(models, **values):
        routers.append(Router(models, **values))
        return routers[-1]

    yield router
    for each in routers:
        each.close()
