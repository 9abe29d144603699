"""Requests that run now, so that one can be cancelled by its id from anywhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from rag_memory_plugins.errors import InvalidInput, RequestCancelled

__all__ = ["Run", "Running"]


class Run:
    """One request that runs. What it awaits is stopped by `stop`, on its own loop.

    Between two pieces of a stream nobody awaits anything: then `close` is called, which a stream
    sets, and closes the provider's.
    """

    __slots__ = ("_closing", "_loop", "_task", "close", "request_id", "stopped")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.stopped = False
        self.close: Callable[[BaseException], Coroutine[Any, Any, None]] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """What is awaited inside ends with `RequestCancelled` when the request is cancelled."""
        if self.stopped:
            raise self.error()
        self._task = task = asyncio.current_task()
        # One that was cancelled earlier may have work left to do, as in a `finally`.
        before = task.cancelling() if sys.version_info >= (3, 11) and task is not None else 0
        try:
            yield
        except asyncio.CancelledError:
            if not self.stopped or task is None:
                raise
            # The task's own cancellation, coming at the same time, still counts.
            if sys.version_info >= (3, 11) and task.uncancel() > before:
                raise
            raise self.error() from None
        finally:
            self._task = None

    def stop(self) -> None:
        """Called on any thread."""
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        if self._task is not None:
            self._task.cancel()
        elif self.close is not None:
            self._closing = self._loop.create_task(self.close(self.error()))

    async def aclose(self) -> None:
        """Close the provider's stream, or wait until it is closed."""
        close, self.close = self.close, None  # `_stop` must not close it a second time
        if self._closing is not None:
            await self._closing
        elif close is not None:
            await close(self.error())

    def error(self) -> RequestCancelled:
        return RequestCancelled(f"request {self.request_id} was cancelled by its id")


class Running:
    """The requests of one router, from any thread and any loop."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._lock = Lock()

    def begin(self, request_id: str) -> Run:
        """Raises `InvalidInput` for an id that runs already: it could not be told apart."""
        run = Run(request_id)
        with self._lock:
            if request_id in self._runs:
                raise InvalidInput("id", request_id, "a request of this id runs; make a new one")
            self._runs[request_id] = run
        return run

    def end(self, run: Run) -> None:
        with self._lock:
            self._runs.pop(run.request_id, None)

    def cancel(self, request_id: str) -> bool:
        """Whether there was such a request."""
        with self._lock:
            run = self._runs.get(request_id)
        if run is None:
            return False
        try:
            run.stop()
        except RuntimeError:  # its loop is closed, and it with it
            return False
        return True

    def forked(self) -> None:
        """In a child of fork(): what ran, runs in the parent."""
        self._lock = Lock()
        self._runs.clear()

    def __len__(self) -> int:
        return len(self._runs)
