"""What a router is made of, handed to each of its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.events import Hook
from rag_memory_plugins.router.decisions import Decisions
from rag_memory_plugins.router.estimating import Estimator
from rag_memory_plugins.router.ledger import Ledger
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.policy import Mode, Policy
from rag_memory_plugins.router.seen import Seen

if TYPE_CHECKING:
    from rag_memory_plugins.router.breakers import Breakers
    from rag_memory_plugins.router.budgets import Budgets
    from rag_memory_plugins.router.caching import AnswerCache
    from rag_memory_plugins.router.rates import RateLimits

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """What a router is made of. `clock` never goes back; `now` is in seconds since 1970."""

    models: tuple[Model, ...]
    mode: Mode
    policy: Policy
    breakers: Breakers
    rates: RateLimits | None
    budgets: Budgets | None
    ledger: Ledger | None
    decisions: Decisions
    seen: Mapping[str, Seen]
    health: Mapping[str, Callable[[], Awaitable[str]]]
    fits: Mapping[str, Callable[[ChatRequest], str]]
    cache: AnswerCache | None
    quality: Estimator
    count: Callable[[str], int]
    count_request: Callable[[ChatRequest], int]
    timeout: float
    patience: float
    rounds: int
    answer_tokens: int
    hooks: tuple[Hook, ...]
    clock: Callable[[], float]
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
