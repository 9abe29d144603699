"""`Breakers`: one circuit breaker a key, kept here and shared with other processes.

```text
ask      closed -> a permit, nothing waits | open -> refused | its end is past -> the probe, for one
report   the breaker here changes at once; that it opened or closed is shared behind the call
look     at most once a second: behind a call while closed, before the call while not
```
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.breaker import (
    CLOSED,
    OPEN,
    BreakerRules,
    BreakerState,
    Permit,
    allow,
    failure,
    order,
    release,
    success,
)
from rag_memory_plugins.router.breaker_sharing import (
    PAUSE,
    Answer,
    Breaker,
    BreakerSharing,
    Change,
    beaten,
    tell,
)

if TYPE_CHECKING:
    from rag_memory_plugins.events import Hook
    from rag_memory_plugins.ports import SharedState

__all__ = ["Breakers"]

_LOOKED_AT: Final = 8
"""Breakers asked longest ago, of which one goes when there are too many."""


class Breakers:
    """Circuit breakers by key, of this process or of all that share a `SharedState`.

    `aallow` before a call gives a `Permit`, which is reported when the call has ended: `succeeded`,
    `failed` or `cancelled`. Reports never wait. Keys can be read by people: put no secret in them.
    `clock` gives seconds since 1970, alike in all processes. While a breaker is closed only the
    first call of its key waits for the shared state; while it is not, one call a second and the one
    that may become the probe; none longer than `patience` seconds. Over `most_keys` the breaker
    asked longest ago goes, closed ones first. May be used from any thread and any loop.

    >>> import asyncio
    >>> breakers = Breakers(clock=lambda: 1_000.0)
    >>> permit = asyncio.run(breakers.aallow("groq/llama"))
    >>> breakers.failed(permit, at_once=True, cool_down=60)
    >>> asyncio.run(breakers.aallow("groq/llama"))
    Refused(until=1060.0, why='open')
    """

    def __init__(
        self,
        shared: SharedState | None = None,
        *,
        rules: BreakerRules | None = None,
        clock: Callable[[], float] = time.time,
        hooks: tuple[Hook, ...] = (),
        patience: float = 0.5,
        most_keys: int = 10_000,
    ) -> None:
        if not isinstance(most_keys, int) or isinstance(most_keys, bool) or most_keys < 1:
            raise InvalidInput("most_keys", most_keys, "pass a number of keys, an int >= 1")
        if not isinstance(patience, (int, float)) or not patience > 0:
            raise InvalidInput("patience", patience, "pass seconds, a number > 0")
        self._rules = rules or BreakerRules()
        self._clock = clock
        self._hooks = hooks
        self._most_keys = most_keys
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()  # asked last last
        self._lock = Lock()
        self._sharing = (
            BreakerSharing(shared, self._rules, self._now, self._lock, hooks, patience)
            if shared is not None
            else None
        )

    async def aallow(self, key: str, lease: float | None = None) -> Answer:
        """May `key` be called now? A refusal comes at once: go on with another model.

        `lease`: seconds after which this call, should it be the probe, is given up.
        """
        now = self._now()
        sharing = self._sharing
        with self._lock:
            breaker = self._breaker(key)
            state = breaker.state
            stale = sharing is not None and not 0 < breaker.due - now <= PAUSE
            if state.phase == CLOSED and not stale:
                return Permit(key, state.generation)
            new, answer = allow(state, key, now, self._rules, lease)
            if breaker.busy:
                return answer if new is state else beaten(now)
            if sharing is None or not sharing.reaches(now) or not (stale or new is not state):
                breaker.state = breaker.settled = new
                sharing = None
            else:
                behind = state.phase == CLOSED and breaker.due > 0
                breaker.busy = True
                breaker.due = now + PAUSE
        if sharing is None:
            tell(self._hooks, key, state, new)
        elif behind:
            sharing.later(key, breaker)
        else:
            return await sharing.aask(key, breaker, lease, self.cancelled)
        return answer

    def succeeded(self, permit: Permit) -> None:
        """The call did well; for a stream its first content is enough to say so."""
        self._report(permit, self._now(), lambda state: success(state, permit))

    def failed(
        self, permit: Permit, *, at_once: bool = False, cool_down: float | None = None
    ) -> None:
        """The call failed. `at_once` opens the breaker, for `cool_down` seconds if they are known.

        May follow `succeeded`, for a stream that broke later. Raises `InvalidInput`.
        """
        now = self._now()
        self._report(
            permit,
            now,
            lambda state: failure(
                state, permit, now, self._rules, at_once=at_once, cool_down=cool_down
            ),
        )

    def cancelled(self, permit: Permit) -> None:
        """Nobody waits for the call any more: that is no failure, and a probe is given back."""
        now = self._now()
        self._report(permit, now, lambda state: release(state, permit, now))

    def open_for(self, key: str) -> float:
        """Seconds until `key` may be tried, as far as this process knows; 0.0 while it may.

        A breaker whose probe is out gives 0.0: only `aallow` can tell how that went.
        """
        with self._lock:
            breaker = self._breakers.get(key)
            if breaker is None or breaker.state.phase != OPEN:
                return 0.0
            until = breaker.state.until
        return max(0.0, until / 1_000 - self._clock())

    def states(self) -> dict[str, BreakerState]:
        """What this process knows of every key, those asked last last."""
        with self._lock:
            return {key: breaker.state for key, breaker in self._breakers.items()}

    async def adrain(self) -> None:
        """Wait until what was reported is shared, or has failed to be: `patience` at most."""
        if self._sharing is not None:
            await self._sharing.adrain()

    def forked(self) -> None:
        """In a child of fork(): whoever held the lock, or asks the shared state, is in the parent."""
        self._lock = Lock()
        for breaker in self._breakers.values():
            breaker.alone(breaker.state)
        if self._sharing is not None:
            self._sharing.forked(self._lock)

    def _now(self) -> int:
        return int(self._clock() * 1_000)

    def _breaker(self, key: str) -> Breaker:
        """The breaker of `key`, which is now the last that may be forgotten."""
        breaker = self._breakers.get(key)
        if breaker is not None:
            self._breakers.move_to_end(key)
            return breaker
        if len(self._breakers) >= self._most_keys:
            first = list(islice(self._breakers.items(), _LOOKED_AT))
            idle = [key for key, each in first if not each.state.phase and not each.state.failures]
            del self._breakers[idle[0] if idle else first[0][0]]
        breaker = self._breakers[key] = Breaker()
        return breaker

    def _report(self, permit: Permit, now: int, change: Change) -> None:
        with self._lock:
            breaker = self._breaker(permit.key)
            before = breaker.state
            after = change(before)
            if after is before:
                return
            breaker.state = after
            told = order(after) != order(before)  # each process counts its own failures
            sharing = self._sharing if told and not breaker.busy else None
            if sharing is not None and not sharing.reaches(now):
                sharing = None
            if sharing is not None or breaker.busy:
                breaker.pending.append(change)
                breaker.busy = True
            else:
                breaker.settled = after
        if told:
            tell(self._hooks, permit.key, before, after)
        if sharing is not None:
            sharing.later(permit.key, breaker)
