"""A store that does not answer: left alone for a second, and everybody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Final, Literal, TypeVar

from rag_memory_plugins.errors import InvalidInput, RagMemoryError, StoreClosed, StoreError, nearest
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.portal import get_portal

__all__ = ["Outage", "WhenDown", "check_down", "finished"]

R = TypeVar("R")
WhenDown = Literal["local", "refuse", "allow"]

PAUSE: Final = 1.0
"""Seconds until a store that failed is asked again."""
_CHOICES: Final = ("local", "refuse", "allow")
_undoing: Final[set[asyncio.Task[None]]] = set()


def check_down(when_down: object, processes: object, timeout: object) -> None:
    """Raise `InvalidInput` for settings of an outage that cannot be used."""
    if when_down not in _CHOICES:
        raise InvalidInput("when_down", when_down, nearest(str(when_down), _CHOICES))
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        raise InvalidInput("processes", processes, "pass how many share the store, an int >= 1")
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
        raise InvalidInput("timeout", timeout, "pass seconds, a number > 0")


class Outage:
    """Whether a store is asked, and the events of its going down and coming back.

    `clock` gives seconds. Events: `NAME.store_down` (data: error, when_down), at most once a second,
    and `NAME.store_back`. May be used from any thread.

    >>> seen, now = [], [0.0]
    >>> outage = Outage("rates", "local", lambda: now[0], (lambda event: seen.append(event.name),))
    >>> outage.failed(TimeoutError())
    >>> outage.asks()
    False
    >>> now[0] = 1.0
    >>> outage.asks(), outage.asks()  # one asks; the others wait for what it finds
    (True, False)
    >>> outage.worked()
    >>> seen
    ['rates.store_down', 'rates.store_back']
    """

    def __init__(
        self,
        name: str,
        when_down: WhenDown,
        clock: Callable[[], float],
        hooks: tuple[Hook, ...] = (),
        timeout: float = 1.0,
    ) -> None:
        self.when_down: Final = when_down
        self._name = name
        self._clock = clock
        self._hooks = hooks
        self._timeout = timeout
        self._until: float | None = None
        self._told: float | None = None
        self._lock = Lock()

    @property
    def is_down(self) -> bool:
        """Whether the store failed when it was last asked."""
        return self._until is not None

    @property
    def seconds(self) -> float:
        """How long until the store is asked again, at most `PAUSE`."""
        until = self._until
        return 0.0 if until is None else min(max(until - self._clock(), 0.0), PAUSE)

    def asks(self) -> bool:
        """Whether this caller asks the store."""
        if self._until is None:
            return True
        with self._lock:
            now = self._clock()
            # A wall clock that was set back must not leave the store alone for hours.
            if self._until is not None and self._until - PAUSE <= now < self._until:
                return False
            self._until = now + PAUSE
            return True

    def failed(self, error: BaseException) -> None:
        with self._lock:
            now = self._clock()
            self._until = now + PAUSE
            if self._told is not None and self._told <= now < self._told + PAUSE:
                return  # many asked at once: once a second is enough
            self._told = now
        data = {"error": type(error).__name__, "when_down": self.when_down}
        emit(self._hooks, Event(f"{self._name}.store_down", data=data))

    def worked(self) -> None:
        if self._until is None:
            return
        with self._lock:
            was_down, self._until = self._until is not None, None
        if was_down:
            emit(self._hooks, Event(f"{self._name}.store_back"))

    async def ask(
        self, work: Callable[[], Coroutine[Any, Any, R]], undo: Callable[[R], Awaitable[None]]
    ) -> tuple[R] | None:
        """What `work` gives on the portal, in a tuple; None when the store does not answer.

        A caller that is cancelled leaves nothing counted: `work` ends and `undo` takes it back.
        """
        portal, got = get_portal(), list[R]()

        async def counted() -> R:
            got.append(await finished(work, undo, self._timeout))
            return got[0]

        try:
            answer = await portal.acall(counted())
        except asyncio.CancelledError:
            if not portal.is_current_thread:  # the answer may be on its way here
                asyncio.run_coroutine_threadsafe(_take_back(got, undo), portal.loop)
            raise
        except Exception as error:  # each client raises its own; the event names it
            ours = isinstance(error, RagMemoryError) and not isinstance(error, StoreError)
            if ours or isinstance(error, StoreClosed):
                raise  # a mistake of the caller, which no waiting mends
            self.failed(error)
            return None
        self.worked()
        return (answer,)


async def _take_back(got: Sequence[R], undo: Callable[[R], Awaitable[None]]) -> None:
    """Undo what was done before its caller was cancelled; what was not, `finished` undoes."""
    for answer in got:
        with suppress(Exception):  # the store is down: windows and leases end by themselves
            await undo(answer)


async def finished(
    work: Callable[[], Coroutine[Any, Any, R]],
    undo: Callable[[R], Awaitable[None]],
    timeout: float,
) -> R:
    """`work` within `timeout` seconds; what it did for somebody who was cancelled is undone."""
    task = asyncio.ensure_future(asyncio.wait_for(work(), timeout))

    async def undone() -> None:
        with suppress(Exception):  # the store is down: windows and leases end by themselves
            await undo(await task)

    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        rest = asyncio.ensure_future(undone())
        _undoing.add(rest)
        rest.add_done_callback(_undoing.discard)
        raise
