"""What a router sees of a model while it runs: how long it takes, and how many places are taken."""

from __future__ import annotations

import asyncio
from collections import deque
from threading import Lock
from typing import Final

from rag_memory_plugins.portal import resolve

__all__ = ["Seen"]

WEIGHT: Final = 0.2
"""Of the newest answer in the running mean of seconds: about the last ten count."""


class Seen:
    """Of one model: the mean seconds of its answers, and at most `places` requests at once.

    May be used from any thread and any loop.
    """

    def __init__(self, places: int | None) -> None:
        self.seconds: float | None = None
        self._places = places
        self._taken = 0
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = Lock()

    @property
    def busy(self) -> bool:
        return self._places is not None and self._taken >= self._places

    @property
    def taken(self) -> int:
        """Requests that run now."""
        return self._taken

    def take(self) -> bool:
        """Take a place; False if there is none."""
        with self._lock:
            if self.busy:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1
            waiting = self._waiting.popleft() if self._waiting else None
        if waiting is not None:
            resolve(*waiting, None, None)

    def took(self, seconds: float) -> None:
        """An answer was whole after so long."""
        known = self.seconds
        self.seconds = seconds if known is None else known + WEIGHT * (seconds - known)

    async def afree(self) -> None:
        """Return when there may be a place: another may have taken it by then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (loop, future)
        with self._lock:
            if not self.busy:
                return
            self._waiting.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                    raise
            self._pass_on()  # its turn had come: the next one has it
            raise

    def _pass_on(self) -> None:
        with self._lock:
            waiting = self._waiting.popleft() if self._waiting and not self.busy else None
        if waiting is not None:
            resolve(*waiting, None, None)
