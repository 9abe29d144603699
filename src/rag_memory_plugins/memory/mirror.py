"""The worker that keeps a vector store outside up to date with the log's vectors."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.worker import Worker

if TYPE_CHECKING:
    from rag_memory_plugins.ports import VectorIndex

__all__ = ["Mirror"]

POLL_SECONDS: Final = 1.0
"""How often it looks for vectors that were written since: a look is one indexed read."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 15.0
"""How long after it is back a store is found at most: a look costs it one request."""


class Mirror(Worker):
    """Puts vectors and takes removals, a batch at a time, beside the outbox.

    Apart from it, so that a store that is down keeps no message from being embedded. Each batch
    emits an Event; one that fails is tried again after a pause that doubles up to `LAST_RETRY`.
    """

    def __init__(self, index: VectorIndex, hooks: tuple[Hook, ...]) -> None:
        super().__init__(FIRST_RETRY, LAST_RETRY)
        self._index = index
        self._hooks = hooks

    async def astep(self) -> int:
        """Bring the store one batch further; return what that was. Raises `StoreError`."""
        started = time.perf_counter()
        try:
            count = await self._index.amirror()
        except BaseException as error:
            pause = self._retry_after(error)
            data = {"error": repr(error), "retry_seconds": pause}
            emit(self._hooks, Event("mirror.failed", data=data))
            raise
        self._pause = 0.0
        if count:
            seconds = time.perf_counter() - started
            emit(self._hooks, Event("mirror.stored", seconds=seconds, data={"messages": count}))
        return count

    async def _round(self) -> None:
        try:
            await self._all()
        except Exception:  # `astep` told; whatever is wrong with the store, we live on
            await asyncio.sleep(max(FIRST_RETRY, self._pause))
            return
        await self._rest(POLL_SECONDS)
