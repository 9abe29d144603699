"""What a router is made of, handed to each of its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import InvalidInput
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

__all__ = ["Parts", "check_parts"]

_KINDS: Final = {
    "policy": ("rank", 'pass RoutePolicy(prefer="cost"), or a Policy of yours'),
    "budgets": ("areserve", "pass Budgets(tenant=Budget(5.0))"),
    "rates": ("aacquire", 'pass RateLimits([RateLimit("30/minute", per="user")])'),
    "ledger": ("record", 'pass open_ledger("ledger.db"), or a Ledger of yours'),
    "cache": ("alook", 'pass "exact", an ExactCache, a SharedExactCache, or a SemanticCache'),
    "quality": ("ahardness", "pass an OutcomeEstimator, or an Estimator of yours"),
}


def check_parts(**parts: object) -> None:
    """Raises `InvalidInput` for a part of another kind: it would fail in the midst of a call."""
    for name, part in parts.items():
        method, remedy = _KINDS[name]
        if part is not None and not callable(getattr(part, method, None)):
            raise InvalidInput(name, part, remedy)


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
