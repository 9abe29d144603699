"""Accounts of money: what was spent and what running calls hold, within a window.

The numbers of an account: "spent", and "held T" for what is held until T (seconds since 1970). A hold
whose time has passed counts for nothing: its process crashed, or lost its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from math import ceil
from threading import Lock
from typing import Final, NamedTuple

from rag_memory_plugins.router.money import Account, Period

__all__ = [
    "Accounts",
    "Overdrawn",
    "held_until",
    "used",
    "window",
    "with_held",
]

_HELD: Final = "held "
_LENGTHS: Final = {"hour": 3_600.0, "day": 86_400.0}


def window(period: Period, now: float) -> tuple[str, float | None]:
    """(the window's name, when the next begins), by the UTC calendar; no end where there is none."""
    if period is None:
        return "ever", None
    if period == "month":
        today = datetime.fromtimestamp(now, timezone.utc)
        first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return f"month/{today:%Y-%m}", following.timestamp()
    seconds = _LENGTHS[period] if isinstance(period, str) else float(period)
    number = int(now // seconds)
    return f"{period}/{number}", (number + 1) * seconds


class Overdrawn(NamedTuple):
    """An account that has no room for a call, and what of it is used."""

    account: Account
    used: int


def used(numbers: Mapping[str, int], now: float) -> int:
    """Spent, and held by calls that still run."""
    total = 0
    for name, amount in numbers.items():
        if not name.startswith(_HELD) or int(name[len(_HELD) :]) > now:
            total += amount
    return total


def held_until(now: float, lease: float) -> str:
    """The name of what is held from now on; at most nine such names live in an account at once."""
    step = max(ceil(lease / 8), 1)
    return f"{_HELD}{(int((now + lease) // step) + 1) * step}"


def with_held(
    numbers: Mapping[str, int], limit: int, amount: int, held: str, now: float
) -> dict[str, int] | None:
    """The numbers with `amount` held too; None where that is over the limit.

    What costs nothing has always room.
    """
    if amount and used(numbers, now) + amount > limit:
        return None
    kept = {
        name: number
        for name, number in numbers.items()
        if not name.startswith(_HELD) or (number and int(name[len(_HELD) :]) > now)
    }
    kept[held] = kept.get(held, 0) + amount
    return kept


class Accounts:
    """Accounts of this process, dropped when their window has ended, and not before.

    `clock` gives seconds since 1970. May be used from any thread.

    >>> accounts = Accounts(lambda: 0.0)
    >>> acme = Account("acme", "acme", limit=10, cheaper=8, until=None)
    >>> accounts.hold([acme], 7, "held 600") is None
    True
    >>> accounts.hold([acme], 7, "held 600").used
    7
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By the end of their window, so that all accounts of one are dropped together.
        self._windows: dict[float | None, dict[str, dict[str, int]]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def hold(self, accounts: Sequence[Account], amount: int, held: str) -> Overdrawn | None:
        """Hold `amount` in all accounts, or in none."""
        with self._lock:
            now = self._clock()
            changed = []
            for account in accounts:
                numbers = self._numbers(account)
                after = with_held(numbers, account.limit, amount, held, now)
                if after is None:
                    return Overdrawn(account, used(numbers, now))
                changed.append(after)
            for account, after in zip(accounts, changed, strict=True):
                if account.until not in self._windows:
                    self._drop_ended(now)
                    self._windows[account.until] = {}
                self._windows[account.until][account.key] = after
            return None

    def change(self, accounts: Sequence[Account], held: str, amount: int, spent: int) -> None:
        """Give back `amount` of what is held, if it still is, and count `spent`."""
        with self._lock:
            for account in accounts:
                numbers = self._numbers(account)
                if not numbers:  # its window is over: nothing can be refused for it any more
                    continue
                if held in numbers:
                    numbers[held] -= amount
                numbers["spent"] = numbers.get("spent", 0) + spent

    def used(self, account: Account) -> int:
        with self._lock:
            return used(self._numbers(account), self._clock())

    def forget(self) -> None:
        with self._lock:
            self._windows.clear()

    def _numbers(self, account: Account) -> dict[str, int]:
        return self._windows.get(account.until, {}).get(account.key, {})

    def _drop_ended(self, now: float) -> None:
        for until in [until for until in self._windows if until is not None and until <= now]:
            del self._windows[until]
