"""The worker that embeds what the log acknowledged: leased batches, retried until they succeed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import EmbedderError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.worker import Worker
from rag_memory_plugins.retrieval.encoding import aencode_documents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rag_memory_plugins.ports import Embedder, Pending, VectorIndex, Vectors

__all__ = ["Outbox", "check_vectors"]

BATCH: Final = 32
LEASE_SECONDS: Final = 60.0
"""Longer than a batch takes; a worker that was killed blocks its messages no longer than this."""
POLL_SECONDS: Final = 5.0
"""How often an idle worker looks for what other processes left behind."""
LOOK_AGAIN_SECONDS: Final = 0.05
GATHER_SECONDS: Final = 0.05
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0


class Outbox(Worker):
    """Embeds pending messages in the background of one memory.

    It is woken by `wake`, stopped by `astop`. A failed batch goes back and is tried again after a
    pause that doubles up to a minute; nothing is ever dropped. Each batch emits an Event.
    """

    def __init__(
        self,
        index: VectorIndex,
        embedder: Embedder | None,
        hooks: tuple[Hook, ...],
        chore: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(FIRST_RETRY, LAST_RETRY)
        self._index = index
        self._embedder = embedder
        self._hooks = hooks
        self._chore = chore
        self._one_batch = asyncio.Lock()  # who settles waits for the worker's batch, not around it
        self._chore_due = True

    def wake(self, *, chore: bool = False) -> None:
        """Say that there is something to embed, or with `chore` an erase to finish."""
        self._chore_due = self._chore_due or chore
        super().wake()

    async def adrain(self, seconds: float, *, wait: bool) -> int:
        """Embed what waits until nothing is left or time is up; return what is left.

        With `wait`, also until other workers have done what they took.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                took = await self.astep()
            except (
                Exception
            ):  # anything an embedder raises; its Event told, the messages stay queued
                break
            if took:
                continue
            if not wait or not await self._index.abacklog():
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return await self._index.abacklog()

    async def astep(self) -> int:
        """Embed one batch; return how many messages it held. Raises what the embedder raises."""
        async with self._one_batch:
            return await self._step()

    async def _step(self) -> int:
        started = time.perf_counter()
        batch = await self._index.alease(BATCH, LEASE_SECONDS)
        if not batch:
            return 0
        try:
            await self.aembed(batch)
        except BaseException as error:
            pause = self._retry_after(error)
            await self._index.arelease(batch, pause)
            data = {"messages": len(batch), "error": repr(error), "retry_seconds": pause}
            emit(self._hooks, Event("outbox.failed", data=data))
            raise
        self._pause = 0.0
        seconds = time.perf_counter() - started
        emit(self._hooks, Event("outbox.embedded", seconds=seconds, data={"messages": len(batch)}))
        return len(batch)

    async def aembed(self, batch: Sequence[Pending]) -> None:
        """Embed these messages and write their vectors."""
        if self._embedder is None:  # keywords alone: the index leases nothing
            return
        encoded = await aencode_documents(self._embedder, [item.text for item in batch])
        if len(encoded) != len(batch):
            raise EmbedderError(
                f"embedder {self._embedder.fingerprint}: {len(encoded)} results for {len(batch)} "
                "texts; it must give one array for each"
            )
        for item in encoded:
            check_vectors(self._embedder, item.vectors)
        await self._index.astore(batch, encoded)

    async def _round(self) -> None:
        try:
            if self._chore_due:
                self._chore_due = not await self._chore()
            await self._all()
        except Exception as error:  # an embedder of a user's may raise anything; we live on
            emit(self._hooks, Event("outbox.waiting", data={"error": repr(error)}))
            await asyncio.sleep(max(FIRST_RETRY, self._pause))
            return
        if await self._rest(POLL_SECONDS):
            # Who adds one message often adds the next: a batch costs less than its texts.
            await asyncio.sleep(GATHER_SECONDS)
        else:
            self._chore_due = True


def check_vectors(embedder: Embedder, pieces: Vectors) -> None:
    """Raise `EmbedderError` unless these are finite vectors of the embedder's dimension.

    One wrong vector in a scope would spoil the mean of every score in it.
    """
    import numpy as np

    shape = getattr(pieces, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != embedder.dimension:
        raise EmbedderError(
            f"embedder {embedder.fingerprint}: got an array of shape {shape}; "
            f"it says its vectors have {embedder.dimension} dimensions"
        )
    if not np.isfinite(pieces).all():
        raise EmbedderError(
            f"embedder {embedder.fingerprint}: a vector holds NaN or infinity; check the model"
        )
