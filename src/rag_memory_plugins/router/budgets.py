"""Budgets: money per tenant and per user, held before a call and settled after.

```text
scope -> its accounts (tenant, user), each in its window of UTC
reserve -> room in all accounts: the dearest the call can cost is held for `lease` seconds, else Spent
settle -> what is held is given back, what the call cost is spent | release: nothing was
shared= -> compare and set in a SharedState, on the portal's loop
state down -> what was left when it was last seen, divided by processes | refused | let through
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from threading import Lock

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports.shared import SharedState
from rag_memory_plugins.router.accounts import (
    Accounts,
    Overdrawn,
    held_until,
    window,
)
from rag_memory_plugins.router.money import Account, Budget, Level, Reservation, Spent, is_time
from rag_memory_plugins.router.outage import Outage, WhenDown, check_down
from rag_memory_plugins.router.shared_accounts import SharedAccounts

__all__ = ["Budget", "Budgets", "Level", "Reservation", "Spent"]


class Budgets:
    """What tenants and users may spend. May be used from any thread and any loop.

    `tenant` and `user` hold for each of them, `named` for a tenant by its name or a user by its
    `Scope`, in their place; who has none (None) may spend anything. Amounts are nano-dollars. With
    `shared` processes spend from the same accounts; a hold of a process that crashed ends after
    `lease` seconds, so a lease must be longer than a call. What happens while the state is down, or
    does not answer within `timeout` seconds, is `when_down`: "local" spends up to what was left when
    it was last seen, divided by `processes`; "refuse"; or "allow". What was spent meanwhile is
    written when it is back. `clock` gives seconds since 1970. Events: `budgets.refused` (data:
    whose, limit, used, amount), `budgets.store_down`, `budgets.store_back`. Raises `InvalidInput`.

    >>> import asyncio
    >>> budgets = Budgets(tenant=Budget(0.001))
    >>> held = asyncio.run(budgets.areserve(Scope("acme", "ann"), 900_000))
    >>> asyncio.run(budgets.areserve(Scope("acme", "bob"), 900_000)).left
    100000
    >>> asyncio.run(budgets.asettle(held, 120_000))
    >>> asyncio.run(budgets.alevel(Scope("acme", "bob")))
    'free'
    """

    def __init__(
        self,
        *,
        tenant: Budget | None = None,
        user: Budget | None = None,
        named: Mapping[str | Scope, Budget | None] | None = None,
        shared: SharedState | None = None,
        lease: float = 900.0,
        when_down: WhenDown = "local",
        processes: int = 4,
        timeout: float = 1.0,
        hooks: Sequence[Hook] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_down(when_down, processes, timeout)
        if not isinstance(lease, (int, float)) or isinstance(lease, bool) or not is_time(lease):
            raise InvalidInput("lease", lease, "pass seconds, a number >= 1")
        self._tenant = _budget("tenant", tenant)
        self._user = _budget("user", user)
        self._named = {
            _whose(whose): _budget("named", budget) for whose, budget in (named or {}).items()
        }
        self._lease = float(lease)
        self._processes = processes
        self._hooks = tuple(hooks)
        self._clock = clock
        self._here = Accounts(clock)
        self._shared: SharedAccounts | None = None
        if shared is not None:
            self._shared = SharedAccounts(shared, self._lease, clock, timeout)
        self._outage = Outage("budgets", when_down, clock, self._hooks, timeout)
        self._lock = Lock()

    def __repr__(self) -> str:
        named = f", named={len(self._named)}" if self._named else ""
        return f"Budgets(tenant={self._tenant}, user={self._user}{named})"

    async def areserve(self, scope: Scope | None, amount: int) -> Reservation | Spent:
        """Hold `amount` nano-dollars, the most that a call can cost; 0 for what costs nothing.

        Raises `InvalidInput` for a scope that is missing where there are budgets.
        """
        _check_amount(amount)
        now = self._clock()
        accounts = self._accounts(scope, now)
        held = held_until(now, self._lease)
        if self._shared is None or not accounts:
            over = self._here.hold(accounts, amount, held)
            return self._answer(over, accounts, amount, held, scope)
        if self._outage.asks():
            shared = self._shared

            async def undo(over: Overdrawn | None) -> None:
                if over is None:
                    shared.owe(accounts, {held: -amount})
                    await shared.pay()

            got = await self._outage.ask(lambda: shared.hold(accounts, amount, held), undo)
            if got is not None:
                self._here.forget()  # all of it is owed, or was written
                return self._answer(got[0], accounts, amount, held, scope)
        return self._apart(accounts, amount, held, scope)

    async def asettle(self, reservation: Reservation, amount: int) -> None:
        """The call cost `amount` nano-dollars, also if it broke off; a second time changes nothing."""
        _check_amount(amount)
        await self._close(reservation, amount)

    async def arelease(self, reservation: Reservation) -> None:
        """The call was never made: nothing was spent."""
        await self._close(reservation, 0)

    async def alevel(self, scope: Scope | None) -> Level:
        """Where the scope stands: "cheaper" from `cheaper_from` on, "spent" with nothing left."""
        level: Level = "free"
        for stated in self._accounts(scope, self._clock()):
            account, used = await self._used(stated)
            if used >= account.limit:
                return "spent"
            if used >= account.cheaper:
                level = "cheaper"
        return level

    async def aclose(self) -> None:
        """Write what the shared state has not got yet. What it cannot take is lost."""
        if self._shared is not None:
            await self._outage.ask(self._shared.pay, _nothing)

    def _accounts(self, scope: Scope | None, now: float) -> tuple[Account, ...]:
        if self._tenant is self._user is None and not self._named:
            return ()
        if not isinstance(scope, Scope):
            remedy = "a budget asks whose call it is; pass Scope(tenant, user)"
            raise InvalidInput("scope", scope, remedy)
        tenant = self._named.get(scope.tenant, self._tenant)
        user = self._named.get(scope, self._user)
        whose, _, _ = scope.key.partition("/")  # percent-encoded: no two tenants share it
        found = []
        if tenant is not None:
            found.append(_account(f"tenant/{whose}", scope.tenant, tenant, now))
        if user is not None:
            key = scope.key if not scope.items else Scope(scope.tenant, scope.user).key
            found.append(_account(f"user/{key}", key, user, now))
        return tuple(found)

    def _apart(
        self, accounts: tuple[Account, ...], amount: int, held: str, scope: Scope | None
    ) -> Reservation | Spent:
        """What holds while the state is down: all of it is owed."""
        over: Overdrawn | None = None
        if self._outage.when_down == "refuse" and amount:
            until = self._clock() + self._outage.seconds
            over = Overdrawn(accounts[0]._replace(until=until), accounts[0].limit)
        elif self._outage.when_down == "local":
            over = self._here.hold([self._part(item) for item in accounts], amount, held)
        if over is None and self._shared is not None:
            self._shared.owe(accounts, {held: amount})
        return self._answer(over, accounts, amount, held, scope, degraded=True)

    def _part(self, account: Account) -> Account:
        """This process's part of what was left."""
        seen = self._shared.seen(account) if self._shared is not None else 0
        limit, cheaper = (
            max(most - seen, 0) // self._processes for most in (account.limit, account.cheaper)
        )
        return account._replace(limit=limit, cheaper=cheaper)

    async def _used(self, account: Account) -> tuple[Account, int]:
        """(the account, or this process's part of it, what is used)."""
        shared = self._shared
        if shared is None:
            return account, self._here.used(account)
        if self._outage.asks():
            got = await self._outage.ask(lambda: shared.used(account), _nothing)
            if got is not None:
                return account, got[0]
        if self._outage.when_down == "local":
            return self._part(account), self._here.used(account)
        return account, account.limit if self._outage.when_down == "refuse" else -1

    def _answer(
        self,
        over: Overdrawn | None,
        accounts: tuple[Account, ...],
        amount: int,
        held: str,
        scope: Scope | None,
        degraded: bool = False,
    ) -> Reservation | Spent:
        if over is None:
            return Reservation(amount, degraded, accounts, held)
        whose, limit, until = over.account.whose, over.account.limit, over.account.until
        when = None if until is None else datetime.fromtimestamp(until, timezone.utc)
        data = {"whose": whose, "limit": limit, "used": over.used, "amount": amount}
        emit(self._hooks, Event("budgets.refused", scope.key if scope else "", data=data))
        return Spent(whose, limit, over.used, when, degraded)

    async def _close(self, reservation: Reservation, spent: int) -> None:
        with self._lock:
            was_open, reservation.is_open = reservation.is_open, False
        if not was_open or not reservation.accounts:
            return
        if self._shared is None or reservation.degraded:
            self._here.change(reservation.accounts, reservation.held, reservation.amount, spent)
        if self._shared is None:
            return
        changes = {reservation.held: -reservation.amount, "spent": spent}
        self._shared.owe(reservation.accounts, changes)
        if self._outage.asks():
            await self._outage.ask(self._shared.pay, _nothing)


def _account(name: str, whose: str, budget: Budget, now: float) -> Account:
    number, until = window(budget.per, now)
    return Account(f"budget/{name}/{number}", whose, budget.nanos, budget.cheaper, until)


def _budget(field_name: str, budget: object) -> Budget | None:
    if budget is not None and not isinstance(budget, Budget):
        raise InvalidInput(field_name, budget, "pass a Budget")
    return budget


def _whose(whose: object) -> str | Scope:
    if not isinstance(whose, (str, Scope)):
        raise InvalidInput("named", whose, "name a tenant, or a user by Scope(tenant, user)")
    return whose


def _check_amount(amount: object) -> None:
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
        raise InvalidInput("amount", amount, "pass nano-dollars, an int >= 0")


async def _nothing(_: object) -> None:
    """There is nothing to undo."""
