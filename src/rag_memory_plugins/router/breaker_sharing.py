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
from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.portal import get_portal, resolve
from rag_memory_plugins.router.breaker import (
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

    `state` is what counts here: `settled`, what the shared state agreed to, with the changes made
    to it that are `pending`. While `busy` somebody asks or tells the shared state of this key; then
    nobody else does, and no probe is given. `due` (ms): when to look again, 0 for never looked yet.

    >>> Breaker().settled == Breaker().state
    True
    """

    __slots__ = ("busy", "due", "pending", "settled", "state")

    def __init__(self) -> None:
        self.state = self.settled = BreakerState()
        self.pending: list[Change] = []
        self.due = 0
        self.busy = False

    def settle(self, settled: BreakerState, told: int) -> bool:
        """The shared state agreed to `settled`, with the first `told` changes; are there more?"""
        del self.pending[:told]
        self.settled = settled
        self.state = changed(settled, self.pending)
        return bool(self.pending)

    def alone(self, state: BreakerState) -> None:
        """The shared state cannot be asked: `state` stands."""
        self.state = self.settled = state
        self.pending.clear()
        self.busy = False


class BreakerSharing:
    """Keeps the `Breaker`s of one process and a `SharedState` in step.

    `now` gives milliseconds, `lock` guards every `Breaker`, `patience` (seconds) is how long the
    state may take.

    >>> from rag_memory_plugins.stores.local_state import LocalState
    >>> now = lambda: 1_000_000
    >>> sharing = BreakerSharing(LocalState(), BreakerRules(), now, Lock(), (), patience=0.5)
    >>> asyncio.run(sharing.aask("groq/llama", Breaker(), None, print))
    Permit(key='groq/llama', generation=0, probe=False)
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

    def forked(self, lock: Lock) -> None:
        """In a child of fork(): the new lock of the registry."""
        self._lock = lock

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

    def later(self, key: str, breaker: Breaker) -> None:
        """Join what is known here and there, and tell what is pending, of a breaker that is `busy`.

        Nobody waits for it and it raises nothing.
        """

        async def run() -> None:
            try:
                await asyncio.wait_for(self._share(key, breaker), self._patience)
            except Exception as error:  # whatever a state's client raises must not cost a call
                self._degraded(key, error)
                with self._lock:
                    breaker.alone(breaker.state)

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
                state, answer = allow(breaker.state, key, self._now(), self._rules, lease)
                breaker.alone(state)
        else:
            with self._lock:
                breaker.busy = bool(breaker.pending)
            if breaker.busy:
                self.later(key, breaker)
        tell(self._hooks, key, before, breaker.state)
        return answer

    async def _decide(self, key: str, breaker: Breaker, lease: float | None) -> Answer:
        for _ in range(_TRIES):
            numbers = await self._state.aget(_PREFIX + key)
            known = state_of(numbers)
            with self._lock:
                agreed = not breaker.pending
                state = newest(breaker.settled, known) if agreed else breaker.state
            now = self._now()
            new, answer = allow(state, key, now, self._rules, lease)
            if not agreed:
                return answer if new is state else beaten(now)
            if await self._written(key, numbers, known, new):
                with self._lock:
                    breaker.settle(new, told=0)
                return answer
        return beaten(self._now())

    async def _share(self, key: str, breaker: Breaker) -> None:
        # Changes are made anew to what is there, not copied: a result that the others know to be
        # late changes nothing there, and what it did here is taken back.
        lost = 0
        while lost < _TRIES:
            numbers = await self._state.aget(_PREFIX + key)
            known = state_of(numbers)
            with self._lock:
                changes = tuple(breaker.pending)
                after = changed(newest(breaker.settled, known), changes)
            if not await self._written(key, numbers, known, after):
                lost += 1
                continue
            with self._lock:
                before = breaker.state
                breaker.busy = breaker.settle(after, len(changes))
            tell(self._hooks, key, before, breaker.state)
            if not breaker.busy:
                return
        raise StoreError(f"breaker {key!r}: {_TRIES} compare-and-sets were lost; it is known here")

    async def _written(
        self, key: str, numbers: dict[str, int], known: BreakerState, state: BreakerState
    ) -> bool:
        """Is `state` what is shared now? Nothing is written where that says as much already."""
        if order(state) == order(known):
            return True
        shared = numbers_of(replace(state, failures=0, at=0))  # each process counts its own
        # Every end is past by then, and who did not see it asks for the probe anew.
        seconds = 2 * self._rules.horizon / 1_000
        return await self._state.aswap(_PREFIX + key, numbers, shared, seconds)

    def _degraded(self, key: str, error: Exception) -> None:
        self._silent_until = self._now() + PAUSE
        data = {"key": key, "error": repr(error), "state": type(self._state).__name__}
        emit(self._hooks, Event("breaker.degraded", data=data))


def changed(state: BreakerState, changes: Iterable[Change]) -> BreakerState:
    for change in changes:
        state = change(state)
    return state


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
