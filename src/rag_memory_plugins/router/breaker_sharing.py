"""What breakers of several processes say to each other, through a `SharedState`.

```text
look     the numbers under a key -> what others know -> newest(here, there)
write    a change made here is made anew to what is there -> compare-and-set, or look again
probe    allow() on what is there -> compare-and-set: who wins it has the only one
```

All of it runs on the portal's loop, where a state's client is at home. A state that fails is left
alone for a second, an event "breaker.degraded" says so, and what is known here goes on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.portal import get_portal, resolve
from rag_memory_plugins.router.breaker import (
    CLOSED,
    BreakerRules,
    BreakerState,
    Permit,
    Refused,
    allow,
    newest,
    numbers_of,
    order,
    state_of,
)

if TYPE_CHECKING:
    from rag_memory_plugins.ports import SharedState

__all__ = ["PAUSE", "Answer", "Breaker", "BreakerSharing", "Change", "beaten", "tell"]

R = TypeVar("R")
Answer: TypeAlias = Permit | Refused
Change: TypeAlias = Callable[[BreakerState], BreakerState]

PAUSE: Final = 1_000
"""Milliseconds between two looks at a key, and of silence after an error."""
_PREFIX: Final = "breaker/"
_TRIES: Final = 5
"""Compare-and-sets of one change. Each that is lost was won by another process."""
_EVENTS: Final = ("breaker.closed", "breaker.opened", "breaker.half_open")


class Breaker:
    """What a process keeps of one key; changed under its registry's lock.

    `due` (ms) says when to look at what is shared again, 0 that nobody has yet; while `asking` one
    call is looking, and goes on with what it sees.
    """

    __slots__ = ("asking", "due", "state")

    def __init__(self) -> None:
        self.state = BreakerState()
        self.due = 0
        self.asking = False


class BreakerSharing:
    """Keeps the `Breaker`s of one process and a `SharedState` in step.

    `now` gives milliseconds, `lock` guards every `Breaker`, `patience` (seconds) is how long the
    state may take.
    """

    def __init__(
        self,
        state: SharedState,
        rules: BreakerRules,
        now: Callable[[], int],
        lock: Lock,
        hooks: tuple[Hook, ...],
        patience: float,
    ) -> None:
        self._state = state
        self._rules = rules
        self._now = now
        self._lock = lock
        self._hooks = hooks
        self._patience = patience
        self._silent_until = 0
        self._behind: set[concurrent.futures.Future[None]] = set()

    def reaches(self, now: int) -> bool:
        """Has the state not failed within the last second?"""
        return not 0 < self._silent_until - now <= PAUSE

    async def aask(
        self,
        key: str,
        breaker: Breaker,
        lease: float | None,
        give_back: Callable[[Permit], None],
    ) -> Answer:
        """May the key be called, by what is shared? If that fails, by what is known here.

        Goes on when the caller is cancelled, and then gives back what it was permitted.
        """

        def unwanted(done: concurrent.futures.Future[Answer]) -> None:
            if not done.exception() and isinstance(permit := done.result(), Permit):
                give_back(permit)

        asking = self._ask(key, breaker, lease)
        future = asyncio.run_coroutine_threadsafe(asking, get_portal().loop)
        try:
            return await _result_of(future)
        except asyncio.CancelledError:
            future.add_done_callback(unwanted)
            raise

    def later(
        self,
        key: str,
        breaker: Breaker,
        before: BreakerState | None = None,
        change: Change | None = None,
        mine: BreakerState | None = None,
    ) -> None:
        """Join what is known here and there; make `change`, which made `before` to `mine` here.

        Nobody waits for it and it raises nothing.
        """

        async def run() -> None:
            sharing = self._share(key, breaker, before, change, mine)
            try:
                await asyncio.wait_for(sharing, self._patience)
            except Exception as error:  # whatever a state's client raises must not cost a call
                self._degraded(key, error)

        def ended(done: concurrent.futures.Future[None]) -> None:
            with self._lock:
                self._behind.discard(done)

        future = asyncio.run_coroutine_threadsafe(run(), get_portal().loop)
        with self._lock:
            self._behind.add(future)
        future.add_done_callback(ended)

    async def adrain(self) -> None:
        """Wait for what is being shared; it takes no longer than `patience`."""
        with self._lock:
            behind = list(self._behind)
        for future in behind:
            await _result_of(future)

    async def _ask(self, key: str, breaker: Breaker, lease: float | None) -> Answer:
        before = breaker.state
        try:
            answer = await asyncio.wait_for(self._decide(key, breaker, lease), self._patience)
        except Exception as error:  # whatever a state's client raises must not cost a call
            self._degraded(key, error)
            with self._lock:
                breaker.state, answer = allow(breaker.state, key, self._now(), self._rules, lease)
        finally:
            breaker.asking = False
        tell(self._hooks, key, before, breaker.state)
        return answer

    async def _decide(self, key: str, breaker: Breaker, lease: float | None) -> Answer:
        for _ in range(_TRIES):
            numbers = await self._state.aget(_PREFIX + key)
            known = state_of(numbers)
            with self._lock:
                state = breaker.state = newest(breaker.state, known)
            new, answer = allow(state, key, self._now(), self._rules, lease)
            if await self._written(key, numbers, known, new):
                with self._lock:
                    breaker.state = newest(breaker.state, new)
                return answer
        return beaten(self._now())

    async def _share(
        self,
        key: str,
        breaker: Breaker,
        before: BreakerState | None,
        change: Change | None,
        mine: BreakerState | None,
    ) -> None:
        # Made anew to what is there, not copied: a result that the others know to be late changes
        # nothing there, and `mine` is then taken back here.
        for _ in range(_TRIES):
            numbers = await self._state.aget(_PREFIX + key)
            known = state_of(numbers)
            base = newest(before or breaker.state, known)
            after = change(base) if change else base
            if await self._written(key, numbers, known, after):
                with self._lock:
                    now = breaker.state
                    breaker.state = after if now is mine else newest(now, after)
                return
        raise StoreError(f"breaker {key!r}: {_TRIES} compare-and-sets were lost; it is known here")

    async def _written(
        self, key: str, numbers: dict[str, int], known: BreakerState, state: BreakerState
    ) -> bool:
        """Is `state` what is shared now? Nothing is written where that says as much already."""
        if order(state) == order(known) or (not numbers and state.phase == CLOSED):
            return True
        shared = numbers_of(replace(state, failures=0, at=0))
        # Every end is past by then, and who did not see it asks for the probe anew.
        seconds = 2 * self._rules.horizon / 1_000
        return await self._state.aswap(_PREFIX + key, numbers, shared, seconds)

    def _degraded(self, key: str, error: Exception) -> None:
        self._silent_until = self._now() + PAUSE
        data = {"key": key, "error": repr(error), "state": type(self._state).__name__}
        emit(self._hooks, Event("breaker.degraded", data=data))


def tell(hooks: tuple[Hook, ...], key: str, before: BreakerState, after: BreakerState) -> None:
    """An event, if a breaker opened, became half-open or closed, or its cool-down was extended."""
    if order(before) != order(after):
        data = {"key": key, "until": after.until / 1_000, "reopened": after.reopened}
        emit(hooks, Event(_EVENTS[after.phase], data=data))


def beaten(now: int) -> Refused:
    """Another call is about to get the probe."""
    return Refused((now + PAUSE) / 1_000, "half-open")


async def _result_of(future: concurrent.futures.Future[R]) -> R:
    """As `asyncio.wrap_future`, but cancelling who waits does not cancel the work."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[R] = loop.create_future()

    def done(ended: concurrent.futures.Future[R]) -> None:
        error = ended.exception()
        resolve(loop, waiter, None if error else ended.result(), error)

    future.add_done_callback(done)
    return await waiter
