"""Items: values by path and key, in a scope beside what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.results import EraseReceipt, Hit
    from rag_memory_plugins.types import Message

__all__ = ["ItemChange", "ItemStore", "StoredItem"]


@dataclass(frozen=True)
class StoredItem:
    """A value by its key: `message.id` is the key and `message.metadata` the value.

    `path` is where it stands: labels joined by `/`, as the session of an item is called.
    """

    seq: int
    path: str
    message: Message
    created: datetime
    updated: datetime
    stays: bool = True
    """False for one that expires unless it is read or written again."""


@dataclass(frozen=True)
class ItemChange:
    """What is to be at a path under a key: a message of that id, or with None nothing.

    With `stay` it expires that long after it was last read or written.
    """

    path: str
    key: str
    message: Message | None = None
    stay: timedelta | None = None


class ItemStore(Protocol):
    """Values by path and key, beside what was said: in the log's files, searched by its index.

    A scope's `items` must be set. An item that has expired by `now` is never returned.
    """

    async def aread(
        self, scope: Scope, places: Sequence[tuple[str, str]], now: datetime
    ) -> list[StoredItem | None]:
        """The item at each (path, key), None where there is none. Nothing is made by asking."""

    async def apick(self, scope: Scope, hits: Sequence[Hit], now: datetime) -> list[StoredItem]:
        """The items that a search found, as far as they are still there, in order."""

    async def alist(
        self,
        scope: Scope,
        under: str,
        where: Filter | None,
        limit: int,
        offset: int,
        now: datetime,
    ) -> list[StoredItem]:
        """Items that match, at `under` and below it ("": all), last written first."""

    async def apaths(self, scope: Scope, under: str = "") -> list[str]:
        """Paths at `under` and below it that hold an item, in no order. Reads no item."""

    async def achange(self, scope: Scope, changes: Sequence[ItemChange], now: datetime) -> int:
        """Make all changes or none, durably; return how many items were erased or replaced.

        What is replaced keeps `created`. A value that is stored already is only touched. The last
        change of a (path, key) counts.
        """

    async def arefresh(self, scope: Scope, seqs: Sequence[int], now: datetime) -> None:
        """Let items stay as long again as when they were written."""

    async def aexpire(self, now: datetime, scope: Scope | None = None) -> int:
        """Erase what has expired, of one scope or of all; return how many."""

    async def aerase(self, scope: Scope, under: str = "") -> EraseReceipt:
        """Erase the items at a path and below it, from every file."""
