"""One model made of many: it goes on answering when providers fail.

>>> from rag_memory_plugins.router import Router, groq, ollama, openrouter
>>> router = Router([
...     ollama("llama3.2"),
...     groq("llama-3.3-70b-versatile", api_key="..."),
...     openrouter("meta-llama/llama-3.3-70b-instruct", api_key="..."),
... ])
>>> router.mode
'local-first'

Names are loaded at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag_memory_plugins.chat import Answer, ChatRequest, Delta, ToolPiece, ToolSpec, Usage
    from rag_memory_plugins.router.breaker import BreakerRules
    from rag_memory_plugins.router.budgets import Budget, Budgets
    from rag_memory_plugins.router.cache_rules import CacheRules
    from rag_memory_plugins.router.caching import AnswerCache, ExactCache
    from rag_memory_plugins.router.decisions import Decision
    from rag_memory_plugins.router.estimating import LengthEstimator, OutcomeEstimator
    from rag_memory_plugins.router.ledger import Entry, Ledger
    from rag_memory_plugins.router.models import (
        Capabilities,
        Model,
        Price,
        StreamingChatModel,
        Timeouts,
    )
    from rag_memory_plugins.router.policy import Policy, RoutePolicy
    from rag_memory_plugins.router.providers import (
        default_models,
        groq,
        ollama,
        openai_compatible,
        openrouter,
    )
    from rag_memory_plugins.router.rates import RateLimit, RateLimits
    from rag_memory_plugins.router.router import Router
    from rag_memory_plugins.router.semantic import SemanticCache
    from rag_memory_plugins.router.shared_answers import SharedExactCache

__all__ = [
    "Answer",
    "AnswerCache",
    "BreakerRules",
    "Budget",
    "Budgets",
    "CacheRules",
    "Capabilities",
    "ChatRequest",
    "Decision",
    "Delta",
    "Entry",
    "ExactCache",
    "Ledger",
    "LengthEstimator",
    "Model",
    "OutcomeEstimator",
    "Policy",
    "Price",
    "RateLimit",
    "RateLimits",
    "RoutePolicy",
    "Router",
    "SemanticCache",
    "SharedExactCache",
    "StreamingChatModel",
    "Timeouts",
    "ToolPiece",
    "ToolSpec",
    "Usage",
    "default_models",
    "groq",
    "ollama",
    "openai_compatible",
    "openrouter",
]

_ROOMS = {
    "AnswerCache": "caching",
    "BreakerRules": "breaker",
    "Budget": "budgets",
    "Budgets": "budgets",
    "CacheRules": "cache_rules",
    "Capabilities": "models",
    "Decision": "decisions",
    "Entry": "ledger",
    "ExactCache": "caching",
    "Ledger": "ledger",
    "LengthEstimator": "estimating",
    "Model": "models",
    "OutcomeEstimator": "estimating",
    "Policy": "policy",
    "Price": "models",
    "RateLimit": "rates",
    "RateLimits": "rates",
    "RoutePolicy": "policy",
    "Router": "router",
    "SemanticCache": "semantic",
    "SharedExactCache": "shared_answers",
    "StreamingChatModel": "models",
    "Timeouts": "models",
    "default_models": "providers",
    "groq": "providers",
    "ollama": "providers",
    "openai_compatible": "providers",
    "openrouter": "providers",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = f"{__name__}.{_ROOMS[name]}" if name in _ROOMS else "rag_memory_plugins.chat"
    value = getattr(importlib.import_module(room), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
