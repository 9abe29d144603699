"""What a router is given, checked: its models, those that its mode allows, its cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Hook
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.parts import check_parts
from rag_memory_plugins.router.policy import Mode

if TYPE_CHECKING:
    from rag_memory_plugins.ports import ChatModel
    from rag_memory_plugins.router.caching import AnswerCache

__all__ = ["cache_of", "entries_of", "in_mode"]


def entries_of(models: Sequence[Model | ChatModel]) -> tuple[Model, ...]:
    """The entries, each of a name of its own. Raises `InvalidInput`."""
    if isinstance(models, (str, bytes)) or not isinstance(models, Sequence) or not models:
        raise InvalidInput("models", models, "pass a list of at least one Model")
    entries = tuple([m if isinstance(m, Model) else Model(m) for m in models])
    names = [model.name for model in entries]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidInput("models", twice[0], "two have this name; pass Model(name=...)")
    return entries


def in_mode(model: Model, mode: Mode) -> bool:
    """Whether a model may be asked. Raises `InvalidInput` for a local one that is none."""
    if mode == "cloud-only":
        return not model.local
    if mode == "local-only" and model.local and getattr(model.chat, "loopback", True) is False:
        remedy = "it is said to be local and is asked over the network; local-only forbids that"
        raise InvalidInput("models", model.name, remedy)
    return model.local or mode == "local-first"


def cache_of(
    cache: AnswerCache | Literal["exact"] | None, models: Sequence[Model], hooks: tuple[Hook, ...]
) -> AnswerCache | None:
    """The cache that was given or named."""
    if cache != "exact":
        check_parts(cache=cache)
        return cache
    from rag_memory_plugins.router.cache_rules import CacheRules
    from rag_memory_plugins.router.caching import ExactCache

    return ExactCache(CacheRules(models), hooks=hooks)
