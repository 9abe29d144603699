"""How often a cache is wrong, as far as samples tell, and how much it may answer by that."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

__all__ = ["Evidence", "Learned", "SemanticReport", "bounds", "share"]

_DOUBTS: Final = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005)
_KEPT: Final = 16


@lru_cache(maxsize=4096)
def bounds(errors: int, trials: int, doubt: float = 0.05) -> tuple[float, float]:
    """The ends of the Clopper-Pearson interval of a rate, which misses it at most `doubt` often.

    >>> low, high = bounds(0, 100)
    >>> low, round(high, 4)
    (0.0, 0.0362)
    """
    if trials == 0:
        return 0.0, 1.0
    low = high = 0.0
    if errors:
        low = _solve(trials - errors, trials, doubt / 2, mirrored=True)
    high = 1.0 if errors == trials else _solve(errors, trials, doubt / 2)
    return low, high


@lru_cache(maxsize=4096)
def share(errors: int, trials: int, max_error: float) -> float:
    """How many of those that could be answered may be, so that at most `max_error` of them are wrong.

    The rule of vCache (arXiv 2502.03771): what is not answered from the cache is asked of a model,
    and right. With doubt d the rate is below an upper bound u, else at worst 1, so the share s has
    to keep s * ((1 - d) * u + d) under `max_error`; of several d the best counts.

    >>> round(share(0, 0, 0.01), 3), round(share(0, 100, 0.01), 2), share(0, 1000, 0.01)
    (0.01, 0.18, 1.0)
    """
    best = max_error
    for doubt in _DOUBTS:
        upper = 1.0 if errors == trials else _solve(errors, trials, doubt)
        best = max(best, max_error / ((1 - doubt) * upper + doubt))
    return min(1.0, best)


def _solve(errors: int, trials: int, tail: float, *, mirrored: bool = False) -> float:
    """The rate at which `errors` or fewer of `trials` happen with probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(errors, trials, middle) > tail else (low, middle)
    return 1 - high if mirrored else high


def _at_most(errors: int, trials: int, rate: float) -> float:
    if rate <= 0 or rate >= 1:
        return float(rate <= 0 or errors >= trials)
    odds = math.log(rate) - math.log1p(-rate)
    term = trials * math.log1p(-rate)
    total = math.exp(term)
    for number in range(errors):
        term += odds + math.log((trials - number) / (number + 1))
        total += math.exp(term)
    return total


@dataclass(frozen=True)
class SemanticReport:
    """Of one partition: entries, hits given, hits compared, and how many of those were wrong.

    `low` and `high` are the ends of the 95 % interval of the false-hit rate (Clopper-Pearson).
    `on` is False when the cache switched itself off here.
    """

    entries: int
    served: int
    sampled: int
    different: int
    low: float
    high: float
    on: bool

    @property
    def rate(self) -> float:
        """Of the hits that were compared, how many were wrong; 0.0 when none was compared."""
        return self.different / self.sampled if self.sampled else 0.0


@dataclass(slots=True)
class Evidence:
    """Of one partition: hits that were given, those that were compared, and those that were wrong."""

    served: int = 0
    trials: int = 0
    errors: int = 0
    off: bool = False

    def report(self, entries: int) -> SemanticReport:
        low, high = bounds(self.errors, self.trials)
        return SemanticReport(
            entries, self.served, self.trials, self.errors, low, high, not self.off
        )


@dataclass(slots=True)
class Learned:
    """Of one entry: how near the prompts were whose own answers were the same, and were not."""

    same: list[float] = field(default_factory=list)
    different: float = -1.0

    def add(self, similarity: float, *, same: bool) -> None:
        """Take note of one comparison. Only the farthest that were the same are kept."""
        if not same:
            self.different = max(self.different, similarity)
            self.same = [near for near in self.same if near > self.different]
        elif similarity > self.different:
            insort(self.same, similarity)
            del self.same[_KEPT:]

    def threshold(self, confirmations: int) -> float:
        """How near a prompt must be: so that so many were the same no nearer, and none differed."""
        return self.same[confirmations - 1] if len(self.same) >= confirmations else math.inf
