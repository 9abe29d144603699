"""Pieces that are made on one event loop and read on another."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Generic, TypeVar

__all__ = ["Carried", "resolve"]

R = TypeVar("R")

AHEAD: Final = 64
"""Pieces that may wait to be read; then their maker waits."""


def resolve(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[R],
    result: Any,
    error: BaseException | None,
) -> None:
    """Settle `future` on its own loop from another thread; a cancelled or closed one is left."""
    if isinstance(error, StopIteration):  # a future refuses it, and would wait for ever
        stopped, error = error, RuntimeError("what was asked raised StopIteration")
        error.__cause__ = stopped

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop closed while we worked: nobody waits any more
        if not loop.is_closed():
            raise


class _Belt(Generic[R]):
    """What lies between the two loops. Its task knows it alone, so that a reader may be collected."""

    def __init__(self, source: AsyncIterator[R], loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.ended.set_running_or_notify_cancel()  # who waits for it may be cancelled; it is not
        self.error: BaseException | None = None
        self.started = False
        self.stopped = False
        self._source = source
        self._pieces: deque[R] = deque()
        self._reader: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        # Not a plain lock: the collector may run inside, and close this belt's own reader.
        self._lock = threading.RLock()

    def start(self) -> None:
        """Begin to read the source, with the contextvars of who calls."""
        with self._lock:
            if self.started or self.stopped:
                return
            self.started = True
        self.loop.call_soon_threadsafe(self._begin)

    def stop(self) -> None:
        """Cancel what reads the source, once; `ended` is set when it has unwound."""
        with self._lock:
            first, self.stopped = not self.stopped, True
            started = self.started
            self._pieces.clear()
        if first and started:
            self.loop.call_soon_threadsafe(self._cancel)
        elif first:
            self._settle(None)

    def take(self, waiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]) -> list[R]:
        """The next piece, or none: then `waiting` is settled when there is one, or the end."""
        with self._lock:
            if self._pieces:
                piece = self._pieces.popleft()
                room, self._room = (self._room, None) if not self._pieces else (None, self._room)
            elif self.ended.done():
                raise self._last()
            elif self._reader is not None and not self._reader[1].done():
                raise RuntimeError("two tasks read one stream of pieces at once")
            else:
                self._reader = waiting
                return []
        if room is not None:
            resolve(self.loop, room, None, None)
        return [piece]

    def _last(self) -> BaseException:
        error, self.error = self.error, None
        return StopAsyncIteration() if error is None or self.stopped else error

    def _begin(self) -> None:
        self._task = self.loop.create_task(self._run())
        # Not at the end of _run: a task that is cancelled before its first step never gets there.
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            async for piece in self._source:
                await self._put(piece)
        finally:
            aclose = getattr(self._source, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _put(self, piece: R) -> None:
        room = None
        with self._lock:
            if self.stopped:
                return
            self._pieces.append(piece)
            reader, self._reader = self._reader, None
            if len(self._pieces) >= AHEAD:
                room = self._room = self.loop.create_future()
        if reader is not None:
            resolve(*reader, None, None)
        if room is not None:
            await room

    def _end(self, task: asyncio.Task[None]) -> None:
        self._settle(asyncio.CancelledError() if task.cancelled() else task.exception())

    def _settle(self, error: BaseException | None) -> None:
        with self._lock:
            self.error = error
            self.ended.set_result(None)
            reader, self._reader = self._reader, None
        if reader is not None:
            resolve(*reader, None, None)


class Carried(AsyncIterator[R]):
    """Reads an async iterator of another loop, from any loop, one task at a time.

    The source runs in one task of its loop, at most 64 pieces ahead. Cancelling a read or closing
    cancels that task, and returns when the source has unwound; `aclose` may be called while a
    cancelled read still does. One that is collected unread is closed too.
    """

    def __init__(self, source: AsyncIterator[R], loop: asyncio.AbstractEventLoop) -> None:
        self._belt = _Belt(source, loop)

    def __aiter__(self) -> Carried[R]:
        return self

    async def __anext__(self) -> R:
        belt = self._belt
        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[None] = loop.create_future()
            found = belt.take((loop, future))
            if found:
                return found[0]
            if not belt.started:
                belt.start()
            try:
                await future
            except asyncio.CancelledError:
                await self.aclose()
                raise

    async def aclose(self) -> None:
        """Stop the source and return when it has unwound, however often this is cancelled."""
        self._belt.stop()
        cancelled = None
        while not self._belt.ended.done():
            try:
                await asyncio.wrap_future(self._belt.ended)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def __del__(self) -> None:
        if self._belt.started and not self._belt.loop.is_closed():
            self._belt.stop()
