"""A `Worker`: what a memory does behind its user's turns, until it is stopped."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod

__all__ = ["Worker"]


class Worker(ABC):
    """Does all that waits, rests, and looks again, as one task of the loop that started it.

    What fails is tried again after a pause that doubles from `first` to `last` seconds.
    """

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._pause = 0.0
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to work in the background of the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def wake(self) -> None:
        """Say that there is something to do."""
        self._woken.set()

    async def astop(self) -> None:
        """Stop after the transaction at hand; what was leased is given back."""
        # The flag too: before Python 3.12 `wait_for` may swallow a cancellation that comes together
        # with what it waits for.
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @abstractmethod
    async def astep(self) -> int:
        """Do one piece of work, 0 when there is none. Raises whatever it fails with."""

    async def afinish(self, seconds: float) -> None:
        """Work until nothing is left, time is up or something fails; `astep` tells what."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                if not await asyncio.wait_for(self.astep(), left):
                    return
        except Exception:  # anything a part of a user's raises; what is left stays queued
            return

    @abstractmethod
    async def _round(self) -> None:
        """Do all that waits, and rest; raises nothing."""

    async def _work(self) -> None:
        while not self._stopping:
            self._woken.clear()
            await self._round()

    async def _all(self) -> None:
        while not self._stopping and await self.astep():
            pass

    async def _rest(self, seconds: float) -> bool:
        """Whether it was woken before they were over."""
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def _retry_after(self, error: BaseException) -> float:
        """Seconds to wait before what failed is tried again.

        None after a cancellation: who opens the file next must not wait for the lease to end.
        """
        if isinstance(error, asyncio.CancelledError):
            return 0.0
        self._pause = min(self._last, max(self._first, 2 * self._pause))
        return self._pause
