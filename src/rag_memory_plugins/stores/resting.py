"""A store that kept somebody waiting is left alone for a while, so that one turn pays, not each.

```text
well     asked; a turn waits up to `patience`
slow     a time-out, or an error that took long -> rests
rests    not asked; a turn is told so at once
probe    the rest is over: one turn asks and waits a moment, the question goes on behind it
```
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

__all__ = ["Resting", "Rests"]

R = TypeVar("R")

REST: Final = 5.0
"""Seconds until a store that was slow is asked again."""
PROBE: Final = 0.25
"""Seconds that the turn which asks again waits for the answer."""
SLOW: Final = 0.5
"""Seconds: an error that came sooner costs a turn less than not asking."""


class Rests(Exception):
    """It is not asked now, or did not answer in time; the text says which."""


class Resting:
    """Asks a store, unless it kept the last who asked waiting. On one loop.

    `clock` gives seconds that may be set back.

    >>> async def story():
    ...     now, silent = [0.0], asyncio.Event()
    ...     resting = Resting(lambda: now[0])
    ...     for at in (0.0, 1.0, 6.0):
    ...         now[0] = at
    ...         try:
    ...             await resting.ask(silent.wait, 0.01)
    ...         except Rests as told:
    ...             print(told)
    >>> asyncio.run(story())
    did not answer in 0.01 s
    did not answer before, and is asked again in 4 s
    did not answer in 0.01 s
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: float | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    async def ask(self, work: Callable[[], Coroutine[Any, Any, R]], patience: float) -> R:
        """What `work` gives within `patience` seconds. Raises `Rests`, and what it raises."""
        waits = patience
        if self._until is not None:
            left = self._until - self._clock()
            if 0 < left <= REST:  # of a clock that was set back it would be hours
                raise Rests(f"did not answer before, and is asked again in {left:.0f} s")
            self._until, waits = self._clock() + REST, min(PROBE, patience)
        task = asyncio.ensure_future(self._timed(work, patience))
        self._asking.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task}, timeout=waits)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done() and not task.cancelled():
            return task.result()
        if waits == patience:
            # Not awaited: a client that does not let itself be cancelled must not hold a turn up.
            task.cancel()
            self._until = self._clock() + REST
        raise Rests(f"did not answer in {waits:g} s")

    async def _timed(self, work: Callable[[], Coroutine[Any, Any, R]], patience: float) -> R:
        """What `work` gives; whether the store is slow is told by it."""
        started = time.perf_counter()
        try:
            # A probe goes on when its turn does not wait any more.
            got = await asyncio.wait_for(work(), 2 * patience)
        except Exception:
            slow = time.perf_counter() - started > min(SLOW, patience)
            self._until = self._clock() + REST if slow else None
            raise
        self._until = None
        return got

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waited; of a probe that went on, by the next
