"""Accounts that processes share, over a `SharedState`.

A hold is put there only if nobody changed the account since it was read. What a call cost is owed
first and then written: if that fails, or its caller is cancelled, it waits for the next ask, so
money that was spent is counted late, perhaps twice, and never lost while the process lives.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final, NamedTuple

from rag_memory_plugins.ports.shared import SharedState
from rag_memory_plugins.router.accounts import Overdrawn, used, with_held
from rag_memory_plugins.router.money import Account

__all__ = ["SharedAccounts"]

_FOREVER: Final = 10 * 365 * 86_400.0  # of an account without a window: longer than a store lives
_SEEN: Final = 10_000


class _Wish(NamedTuple):
    """Somebody waits for `amount` to be held."""

    amount: int
    held: str
    answer: asyncio.Future[Overdrawn | None]


class SharedAccounts:
    """Accounts in a `SharedState`. Its async methods are awaited on the portal's loop alone.

    `clock` gives seconds since 1970, `lease` is how long a hold may last, `timeout` seconds for one
    swap. Raises what the state raises.

    >>> from rag_memory_plugins.stores.local_state import LocalState
    >>> accounts = SharedAccounts(LocalState(), lease=600.0, clock=lambda: 0.0)
    >>> acme = Account("acme", "acme", limit=10, cheaper=8, until=None)
    >>> asyncio.run(accounts.hold([acme], 7, "held 600")) is None
    True
    >>> asyncio.run(accounts.hold([acme], 7, "held 600")).used
    7
    """

    def __init__(
        self,
        state: SharedState,
        lease: float,
        clock: Callable[[], float],
        timeout: float = 1.0,
    ) -> None:
        self._state = state
        self._lease = lease
        self._clock = clock
        self._timeout = timeout
        self._wishes: dict[str, list[_Wish]] = {}
        self._granting: set[asyncio.Task[None]] = set()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._owed: dict[str, tuple[Account, dict[str, int]]] = {}
        self._lock = Lock()

    async def hold(self, accounts: Sequence[Account], amount: int, held: str) -> Overdrawn | None:
        """Hold `amount` in all accounts, or in none."""
        await self.pay()
        done: list[Account] = []
        try:
            for account in accounts:
                over = await self._hold(account, amount, held)
                if over is not None:
                    break
                done.append(account)
            else:
                return None
        except BaseException:
            self.owe(done, {held: -amount})
            raise
        self.owe(done, {held: -amount})
        await self.pay()
        return over

    async def used(self, account: Account) -> int:
        await self.pay()
        return self._look(account, await self._state.aget(account.key))

    async def pay(self) -> None:
        """Write all that is owed; what cannot be written stays so."""
        while self._owed:
            with self._lock:
                if not self._owed:
                    return
                key, (account, changes) = self._owed.popitem()
            try:
                await self._state.aadd(key, changes, self._seconds(account))
            except BaseException:
                self.owe([account], changes)
                raise

    def owe(self, accounts: Sequence[Account], changes: Mapping[str, int]) -> None:
        """Keep changes for the next `pay`, here and at once."""
        with self._lock:
            for account in accounts:
                kept = self._owed.setdefault(account.key, (account, {}))[1]
                for name, amount in changes.items():
                    kept[name] = kept.get(name, 0) + amount

    def seen(self, account: Account) -> int:
        """What was used when the state last said so."""
        with self._lock:
            return self._seen.get(account.key, 0)

    async def _hold(self, account: Account, amount: int, held: str) -> Overdrawn | None:
        """Wish for it: all who wish for money of one account are answered by one swap."""
        wish = _Wish(amount, held, asyncio.get_running_loop().create_future())
        wishes = self._wishes.get(account.key)
        if wishes is None:
            self._wishes[account.key] = [wish]
            task = asyncio.ensure_future(self._grant(account))
            self._granting.add(task)
            task.add_done_callback(self._granting.discard)
        else:
            wishes.append(wish)
        return await wish.answer

    async def _grant(self, account: Account) -> None:
        """Answer the wishes for one account, also those that come meanwhile."""
        wishes = self._wishes[account.key]
        try:
            while wishes:
                await asyncio.wait_for(self._grant_some(account, wishes), self._timeout)
        except Exception as error:  # who wishes is told, whatever the state's client raises
            for wish in wishes:
                if not wish.answer.done():
                    wish.answer.set_exception(error)
        finally:
            del self._wishes[account.key]

    async def _grant_some(self, account: Account, wishes: list[_Wish]) -> None:
        """One swap for the wishes there are; they stay if somebody else changed the account."""
        numbers = await self._state.aget(account.key)
        now, after = self._clock(), numbers
        answers: list[tuple[_Wish, Overdrawn | None]] = []
        for wish in wishes:
            kept = with_held(after, account.limit, wish.amount, wish.held, now)
            answers.append((wish, Overdrawn(account, used(after, now)) if kept is None else None))
            after = after if kept is None else kept
        if after is not numbers and not await self._state.aswap(
            account.key, numbers, after, self._seconds(account)
        ):
            return
        del wishes[: len(answers)]
        self._look(account, after)
        for wish, over in answers:
            if not wish.answer.done():
                wish.answer.set_result(over)
            elif over is None:  # it waited too long, and went
                self.owe([account], {wish.held: -wish.amount})

    def _look(self, account: Account, numbers: Mapping[str, int]) -> int:
        amount = used(numbers, self._clock())
        with self._lock:
            self._seen[account.key] = amount
            self._seen.move_to_end(account.key)
            if len(self._seen) > _SEEN:
                self._seen.popitem(last=False)
        return amount

    def _seconds(self, account: Account) -> float:
        """How long an account is kept: until its window has ended and its last hold too."""
        if account.until is None:
            return _FOREVER
        return max(account.until - self._clock(), 0.0) + 2 * self._lease + 60.0
