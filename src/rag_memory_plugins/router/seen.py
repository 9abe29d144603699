"""What a router sees of a model while it runs: how long it takes, and how many places are taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import Final

__all__ = ["Seen", "aplace"]

WEIGHT: Final = 0.2
"""Of the newest answer in the running mean of seconds: about the last ten count."""


class Seen:
    """Of one model: the mean seconds of its answers, and at most `places` requests at once.

    A place that comes free belongs to whoever has waited longest for it. May be used from any
    thread and any loop.
    """

    def __init__(self, places: int | None) -> None:
        self.seconds: float | None = None
        self._places = places
        self._taken = 0
        self._waiting: deque[_Waiter] = deque()
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
        """Give a place back, or on to the first who waits and is still there."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._taken -= 1
                    return
                waiter = self._waiting.popleft()
            if waiter.gets(self):
                return

    def took(self, seconds: float) -> None:
        """An answer was whole after so long."""
        known = self.seconds
        self.seconds = seconds if known is None else known + WEIGHT * (seconds - known)

    def queue(self, waiter: _Waiter) -> None:
        """Let it wait for a place, or have one now."""
        with self._lock:
            if self.busy:
                self._waiting.append(waiter)
                return
            self._taken += 1
        if not waiter.gets(self):
            self.give_back()

    def leave(self, waiter: _Waiter) -> None:
        """It waits no more."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def forked(self) -> None:
        """In a child of fork(): who had places, and who waited, are in the parent."""
        self._lock = Lock()
        self._taken = 0
        self._waiting.clear()


class _Waiter:
    """Somebody who waits for a place at any of several models, and gets one."""

    __slots__ = ("_lock", "_loop", "future", "got", "over")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self.future: asyncio.Future[None] = self._loop.create_future()
        self.got: Seen | None = None
        self.over = False

    def gets(self, seen: Seen) -> bool:
        """Whether it takes this place; it has one already, or is gone, where it does not."""
        with self._lock:
            if self.over or self.got is not None:
                return False
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # its loop is closed: nobody waits there
                self.over = True
                return False
            self.got = seen
            return True

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def leaves(self) -> Seen | None:
        """What it got; nothing more is taken."""
        with self._lock:
            self.over = True
            return self.got


async def aplace(seen: Iterable[Seen], timeout: float | None) -> Seen | None:
    """Take the first place that comes free at any of these, which the caller gives back.

    None after `timeout` seconds. Cancelled, it has taken none.
    """
    waiter, where = _Waiter(), tuple(seen)
    try:
        for each in where:
            each.queue(waiter)
        await asyncio.wait([waiter.future], timeout=timeout)
    except BaseException:
        if (got := waiter.leaves()) is not None:
            got.give_back()
        raise
    finally:
        for each in where:
            each.leave(waiter)
    return waiter.leaves()
