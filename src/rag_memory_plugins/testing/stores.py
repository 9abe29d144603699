"""A log with what stands beside it, as the conformance suites of `ports.log` and others open them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.testing.conforming import SharedConformance
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.memory.memory import Closable
    from rag_memory_plugins.ports import (
        FactStore,
        ItemStore,
        MessageLog,
        StoredMessage,
        VectorIndex,
    )

__all__ = ["MONDAY", "NOON", "Stores", "StoresConformance", "ids", "said", "texts"]

MONDAY: Final = Namespace("acme", "ann", "monday")
NOON: Final = datetime(2026, 5, 8, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Stores:
    """What is open: a log, its items, index and facts, and `others` that are closed before the log.

    >>> from rag_memory_plugins.stores.sql import SqlLog
    >>> from rag_memory_plugins.stores.sqlite import SqliteDatabase
    >>> async def opened(path):
    ...     database = SqliteDatabase(path, busy_timeout=10.0)
    ...     await database.aopen()
    ...     return Stores(SqlLog(database))
    """

    log: MessageLog
    items: ItemStore | None = None
    index: VectorIndex | None = None
    facts: FactStore | None = None
    others: Sequence[Closable] = ()

    async def aclose(self) -> None:
        """Close all of it."""
        for other in self.others:
            await other.aclose()
        await self.log.aclose()


class StoresConformance(SharedConformance):
    """Tests of one `part` of `Stores`: "log", "items", "index" or "facts"."""

    part: ClassVar[str]

    async def aopen(self) -> Stores:
        """Empty stores; what they held before this test is gone."""
        raise NotImplementedError

    async def ashare(self, kept: Stores) -> Stores:
        """The same stores, as another process would open them."""
        raise NotImplementedError

    def _with(self, story: Callable[[Any], Awaitable[None]]) -> None:
        async def run(stores: Stores) -> None:
            await story(getattr(stores, self.part))

        self._with_stores(run)

    def _with_two(self, story: Callable[[Any, Any], Awaitable[None]]) -> None:
        """Run a story on two who have opened the same."""

        async def run(stores: Stores) -> None:
            async with self._shared(stores) as others:
                await story(getattr(stores, self.part), getattr(others, self.part))

        self._with_stores(run)

    def _with_stores(self, story: Callable[[Stores], Awaitable[None]]) -> None:
        async def run() -> None:
            stores = await self.aopen()
            try:
                await story(stores)
            finally:
                await stores.aclose()

        asyncio.run(run())


def said(*contents: str, first: int = 0, **fields: Any) -> list[Message]:
    """Messages with the ids m0, m1 and so on, a minute apart.

    >>> [message.id for message in said("one", "two", first=5)]
    ['m5', 'm6']
    """
    return [
        Message("user", content, f"m{number}", time=NOON + timedelta(minutes=number), **fields)
        for number, content in enumerate(contents, first)
    ]


def ids(stored: Sequence[StoredMessage]) -> list[str]:
    """The ids of stored messages, in their order."""
    return [item.message.id for item in stored]


def texts(stored: Sequence[StoredMessage]) -> list[str]:
    """What stored messages say, in their order."""
    return [item.message.content for item in stored]
