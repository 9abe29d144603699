"""`Shelf`: the items of one scope, as adapters of key-value stores use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from rag_memory_plugins.events import Event
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.ports import Query

if TYPE_CHECKING:
    from rag_memory_plugins.config import Recall
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import ItemChange, StoredItem
    from rag_memory_plugins.results import EraseReceipt

__all__ = ["Shelf", "of_items", "utc_now"]


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(timezone.utc)


class Shelf:
    """Values by path and key, of one scope of a memory; every method runs on the portal.

    What is erased or replaced is gone for every reader at once, and from the file's free pages and
    its WAL by the memory's next look at its chores, a moment later: once for many. `aerase` waits
    for that.

    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.namespace import SHARED, Scope
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     shelf = Shelf(memory, Scope("acme", SHARED, items=True))
    ...     memory.portal.call(shelf.apaths())
    []
    >>> folder.cleanup()
    """

    def __init__(
        self,
        memory: Memory,
        scope: Scope,
        *,
        recall: Recall | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.memory = memory
        self.scope = scope
        self.clock = clock
        self.recall = recall or of_items(memory.recall)

    async def asweep(self) -> int:
        """Erase what has expired; return how many."""
        gone = await self.memory.items.aexpire(self.clock(), self.scope)
        self._changed(gone)
        return gone

    async def aget(self, places: Sequence[tuple[str, str]]) -> list[StoredItem | None]:
        """The item at each (path, key)."""
        return await self.memory.items.aread(self.scope, places, self.clock())

    async def alist(
        self, under: str, where: Filter | None, limit: int, offset: int
    ) -> list[StoredItem]:
        """Items that match, last written first."""
        now = self.clock()
        return await self.memory.items.alist(self.scope, under, where, limit, offset, now)

    async def asearch(
        self, query: str, under: str, where: Filter | None, limit: int, offset: int
    ) -> list[tuple[StoredItem, float]]:
        """(item, score) of those that matter for the query, best first; higher is better."""
        started = time.perf_counter()
        scope = self.scope
        place = Namespace(scope.tenant, scope.user, under or "/", items=True)
        asked = Query(
            query,
            None,
            offset + limit,
            "user",
            self.clock(),
            neighbours=0,
            where=where,
            recall=self.recall,
            under=under,
            paged=True,
        )
        found = await self.memory.asearch(place, asked)
        hits = tuple(found)[offset:]
        items = await self.memory.items.apick(scope, hits, self.clock())
        if len(items) < len(hits) and await self.asweep():  # else the page would be short
            hits = tuple(await self.memory.asearch(place, asked))[offset:]
            items = await self.memory.items.apick(scope, hits, self.clock())
        scores = {hit.seq: hit.score for hit in hits}
        self._emit("items.search", started, hits=len(items), degraded=found.degraded)
        return [(item, scores[item.seq]) for item in items]

    async def apaths(self, under: str = "") -> list[str]:
        """Paths that hold an item, in no order."""
        await self.asweep()
        return await self.memory.items.apaths(self.scope, under)

    async def achange(self, changes: Sequence[ItemChange]) -> None:
        """Make all changes or none; on disk when this returns."""
        started = time.perf_counter()
        gone = await self.memory.items.achange(self.scope, changes, self.clock())
        self._changed(gone)
        self._emit("items.change", started, changes=len(changes), erased=gone)

    async def arefresh(self, seqs: Sequence[int]) -> None:
        """Let these stay as long again as when they were written."""
        await self.memory.items.arefresh(self.scope, seqs, self.clock())

    async def aerase(self, under: str = "") -> EraseReceipt:
        """Erase what is at a path and below it, or all, from every file."""
        receipt = await self.memory.items.aerase(self.scope, under)
        self._changed(receipt.messages)
        return await self.memory.acleaned(receipt)

    def _changed(self, gone: int) -> None:
        if gone:
            place = Namespace(self.scope.tenant, self.scope.user, "/", items=True)
            self.memory.forget_texts(Erased(place, "user"))
        self.memory.wake(chore=gone > 0)

    def _emit(self, name: str, started: float, **data: object) -> None:
        seconds = time.perf_counter() - started
        self.memory.emit(Event(name, self.scope.key, seconds, data))


def of_items(recall: Recall) -> Recall:
    """Without the steps that ask who spoke and what was said before."""
    return replace(
        recall,
        dense_turn=recall.dense_turn + recall.dense_window,
        dense_window=0.0,
        speaker=0.0,
        inherit=0.0,
        question=0.0,
        when=0.0,
        name=0.0,
        session=0.0,
        topic=0.0,
    )
