"""Rate limits: so many requests or tokens in so many seconds; for all, a tenant, a user, a model.

```text
call -> rules that apply -> one window each -> room in all: counted in all, else in none
     -> memory: under a lock, here and now | storage=: limits.aio on the portal's loop
store down -> counted here against amount / processes | refused | let through; asked again in 1 s
after the call -> settle: the tokens it really took | release: as if it never was
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Final

from rag_memory_plugins.errors import InvalidInput, TooManyRequests
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.outage import Outage, WhenDown, check_down
from rag_memory_plugins.router.rate_rules import Asked, Per, RateLimit, identity
from rag_memory_plugins.router.rate_store import StoreWindows, open_storage
from rag_memory_plugins.router.rate_windows import Mark, Rate, Short, Windows

__all__ = ["Per", "RateLimit", "RateLimits", "Refused", "Taken"]


@dataclass(frozen=True)
class Refused:
    """No call now: `rule` has no room for `retry_after` seconds.

    They are infinite for a call that is larger than the rule. `degraded` when the store is down.

    >>> Refused(RateLimit("1/minute"), 30.0).error().retry_after
    30.0
    """

    rule: RateLimit
    retry_after: float
    degraded: bool = False

    def error(self) -> TooManyRequests:
        return TooManyRequests(self.rule.name, self.retry_after)


@dataclass(eq=False)
class Taken:
    """A call that was counted, for `asettle` or `arelease`; the first of them is the one that counts.

    `degraded` when the store was down.

    >>> Taken(tokens=120).degraded
    False
    """

    tokens: int
    degraded: bool = False
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    where: Windows | StoreWindows | None = field(default=None, repr=False)
    is_open: bool = field(default=True, repr=False)


class RateLimits:
    """Some rules, and what was taken of each. May be used from any thread and any loop.

    `storage` is a URL that `limits` knows ("redis://host:6379") or a storage of `limits.aio`; then
    processes share what was taken. What happens while it is down, or does not answer within
    `timeout` seconds, is `when_down`: "local" counts in this process, against each rule's amount
    divided by `processes`; "refuse"; or "allow". The store is asked again after a second. `clock`
    gives seconds that never go back, `wall` seconds since 1970. Events: `rates.refused` (data: rule,
    model, retry_after), `rates.store_down`, `rates.store_back`. Raises `InvalidInput`, `InvalidURL`.

    >>> import asyncio
    >>> limits = RateLimits([RateLimit("1/minute", per="tenant")])
    >>> asyncio.run(limits.aacquire(Scope("acme", "ann"), "gpt-5", tokens=900))
    Taken(tokens=900, degraded=False)
    >>> asyncio.run(limits.aacquire(Scope("acme", "bob"), "gpt-5", tokens=900)).rule.rate
    '1/minute'
    """

    def __init__(
        self,
        rules: Sequence[RateLimit],
        *,
        storage: object = None,
        when_down: WhenDown = "local",
        processes: int = 4,
        timeout: float = 0.5,
        hooks: Sequence[Hook] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        most_keys: int = 100_000,
    ) -> None:
        check_down(when_down, processes, timeout)
        self.rules: Final = tuple(rules)
        for rule in self.rules:
            if not isinstance(rule, RateLimit):
                raise InvalidInput("rules", rule, "pass RateLimit values")
        if len(set(self.rules)) < len(self.rules):
            raise InvalidInput("rules", self.rules, "state each rule once")
        self._hooks = tuple(hooks)
        self._asked = tuple(Asked(number, rule) for number, rule in enumerate(self.rules))
        rates = [Rate(rule.amount, rule.seconds) for rule in self.rules]
        self._store: StoreWindows | None = None
        if storage is not None:
            names = [identity(rule) for rule in self.rules]
            self._store = StoreWindows(open_storage(storage), names, rates, wall)
            rates = [Rate(max(rate.amount // processes, 1), rate.seconds) for rate in rates]
        self._here = Windows(rates, clock, most_keys)
        self._outage = Outage("rates", when_down, clock, self._hooks, timeout)
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"RateLimits([{'; '.join(rule.name for rule in self.rules)}])"

    async def aacquire(self, scope: Scope | None, model: str, tokens: int = 0) -> Taken | Refused:
        """Count one request of about `tokens` in every rule that applies, or in none.

        Raises `InvalidInput` for a scope that is missing where a rule asks whose call it is.
        """
        _check_tokens(tokens)
        wanted = [
            Mark(asked.number, asked.key(scope, model), tokens if asked.of_tokens else 1)
            for asked in self._asked
            if asked.applies(scope, model)
        ]
        if self._store is None or not wanted:
            return self._answer(self._here.take(wanted), self._here, scope, model, tokens)
        if self._outage.asks():
            store = self._store
            got = await self._outage.ask(lambda: store.take(wanted), self._undo)
            if got is not None:
                return self._answer(got[0], store, scope, model, tokens)
        return self._apart(wanted, scope, model, tokens)

    async def asettle(self, taken: Taken, tokens: int) -> None:
        """The call is over and took so many tokens; a second time changes nothing."""
        _check_tokens(tokens)
        await self._correct(
            taken,
            lambda mark: tokens - taken.tokens if self._asked[mark.rule].of_tokens else 0,
        )

    async def arelease(self, taken: Taken) -> None:
        """The call was never made: nothing of it stays counted."""
        await self._correct(taken, lambda mark: -mark.cost)

    def _apart(
        self, wanted: list[Mark], scope: Scope | None, model: str, tokens: int
    ) -> Taken | Refused:
        """What holds while the store is down."""
        if self._outage.when_down == "allow":
            return Taken(tokens, degraded=True)
        if self._outage.when_down == "refuse":
            got: tuple[Mark, ...] | Short = Short(wanted[0].rule, self._outage.seconds)
        else:
            got = self._here.take(wanted)
            if isinstance(got, Short) and got.seconds == inf:
                rule = self.rules[got.rule]
                most = max(tokens if rule.of == "tokens" else 1, 1)
                if most <= rule.amount:  # too large for this process's part alone
                    got = Short(got.rule, self._outage.seconds)
        return self._answer(got, self._here, scope, model, tokens, degraded=True)

    def _answer(
        self,
        got: tuple[Mark, ...] | Short,
        where: Windows | StoreWindows,
        scope: Scope | None,
        model: str,
        tokens: int,
        degraded: bool = False,
    ) -> Taken | Refused:
        if not isinstance(got, Short):
            return Taken(tokens, degraded, got, where)
        refused = Refused(self.rules[got.rule], got.seconds, degraded)
        data = {"rule": refused.rule.name, "model": model, "retry_after": refused.retry_after}
        emit(self._hooks, Event("rates.refused", scope.key if scope else "", data=data))
        return refused

    async def _correct(self, taken: Taken, more: Callable[[Mark], int]) -> None:
        with self._lock:
            was_open, taken.is_open = taken.is_open, False
        if not was_open:
            return
        changes = [(mark, amount) for mark in taken.marks if (amount := more(mark))]
        if not changes:
            return
        if isinstance(taken.where, Windows):
            taken.where.correct(changes)
        elif taken.where is not None and self._outage.asks():
            # Where the store is down the estimate stands, until its window has passed.
            where = taken.where
            await self._outage.ask(lambda: where.correct(changes), _nothing)

    async def _undo(self, got: tuple[Mark, ...] | Short) -> None:
        if self._store is not None and not isinstance(got, Short):
            await self._store.correct([(mark, -mark.cost) for mark in got])


def _check_tokens(tokens: object) -> None:
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise InvalidInput("tokens", tokens, "pass a number of tokens, an int >= 0")


async def _nothing(_: object) -> None:
    """There is nothing to undo."""
