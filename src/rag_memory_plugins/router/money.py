"""Money in nano-dollars, whole numbers that do not drift; budgets, and what is held of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from math import isfinite
from typing import Final, Literal, NamedTuple, TypeAlias

from rag_memory_plugins.errors import BudgetSpent, InvalidInput, nearest

__all__ = [
    "NANO",
    "Account",
    "Budget",
    "Level",
    "Period",
    "Reservation",
    "Spent",
    "is_time",
    "nano_dollars",
]

NANO: Final = 1_000_000_000
Level: TypeAlias = Literal["free", "cheaper", "spent"]
Period: TypeAlias = Literal["hour", "day", "month"] | float | None
_PERIODS: Final = ("hour", "day", "month")


def nano_dollars(usd: Decimal | float | str) -> int:
    """Dollars as nano-dollars, rounded up: 0.1 is 0.1 and not the float beside it.

    >>> nano_dollars(0.1) + nano_dollars(0.2) == nano_dollars(0.3)
    True
    """
    try:
        nanos = (Decimal(str(usd)) * NANO).to_integral_value(ROUND_CEILING)
        return int(nanos)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise InvalidInput("usd", usd, "pass dollars, a finite number") from error


@dataclass(frozen=True)
class Budget:
    """So many dollars per "hour", "day" or "month" of UTC, per so many seconds, or (None) in all.

    From the share `cheaper_from` of them on calls go to cheaper models. Raises `InvalidInput`.

    >>> Budget(5.0, per="month").nanos
    5000000000
    """

    limit_usd: float | Decimal | str
    per: Period = "day"
    cheaper_from: float = 0.8
    nanos: int = field(init=False, repr=False)
    cheaper: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nanos = nano_dollars(self.limit_usd)
        if nanos < 0:
            raise InvalidInput("limit_usd", self.limit_usd, "pass dollars, a number >= 0")
        per = self.per
        if isinstance(per, str):
            if per not in _PERIODS:
                raise InvalidInput("per", per, nearest(per, _PERIODS))
        elif per is not None and (
            not isinstance(per, (int, float)) or isinstance(per, bool) or not is_time(per)
        ):
            raise InvalidInput("per", per, "pass a period's name, seconds >= 1, or None")
        share = self.cheaper_from
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
            raise InvalidInput("cheaper_from", share, "pass a share, a number from 0 to 1")
        object.__setattr__(self, "nanos", nanos)
        object.__setattr__(self, "cheaper", int(Decimal(str(share)) * nanos))


class Account(NamedTuple):
    """One tenant's or user's money in one window: `limit` in nano-dollars, `until` its end."""

    key: str
    whose: str
    limit: int
    cheaper: int
    until: float | None


@dataclass(eq=False)
class Reservation:
    """Money that is held for one call, in nano-dollars, for `asettle` or `arelease`.

    The first of them counts. `degraded` when the shared state was down.

    >>> Reservation(250_000).degraded
    False
    """

    amount: int
    degraded: bool = False
    accounts: tuple[Account, ...] = field(default=(), repr=False)
    held: str = field(default="", repr=False)
    is_open: bool = field(default=True, repr=False)


@dataclass(frozen=True)
class Spent:
    """No money for this call: `left` nano-dollars of `limit` of the budget of `whose`.

    `until` is when its next window begins. `degraded` when the shared state is down.

    >>> Spent("acme", limit=10, used=8, until=None).left
    2
    """

    whose: str
    limit: int
    used: int
    until: datetime | None
    degraded: bool = False

    @property
    def left(self) -> int:
        return max(self.limit - self.used, 0)

    def error(self) -> BudgetSpent:
        return BudgetSpent(self.whose, self.limit / NANO, self.used / NANO, self.until)


def is_time(seconds: float) -> bool:
    """Whether it is a length of time of at least a second."""
    return isfinite(seconds) and seconds >= 1
