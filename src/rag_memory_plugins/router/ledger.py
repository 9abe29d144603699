"""The ledger: a row for each attempt, who it was for, what it cost, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

__all__ = ["NANO", "Entry", "Ledger"]

NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt. `time` is when it began, in seconds since 1970; `cost` in billionths of a dollar.

    `user` is a scope's key for its user, "" without a scope. `model` is the router's name for it and
    `answered_by` the provider's. `outcome` is "ok", "failed", "rejected", "interrupted",
    "cancelled" or "cached". `exact` is False where we counted the tokens. `error` is the name of a
    class: what a provider says may repeat what it was asked.
    """

    request_id: str
    number: int
    time: float
    tenant: str
    user: str
    provider: str
    model: str
    answered_by: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    exact: bool
    cost: int
    first_seconds: float | None
    seconds: float
    outcome: str
    error: str


@runtime_checkable
class Ledger(Protocol):
    """Keeps entries. `record` is on the hot path: it only takes the entry."""

    def record(self, entry: Entry) -> None:
        """Take one entry, from any thread; it is written within a second."""

    async def aclose(self) -> None:
        """Write what is left."""
