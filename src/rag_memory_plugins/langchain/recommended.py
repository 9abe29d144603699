"""The middleware of an agent with a memory, in an order that works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
)
from langchain_core.language_models import BaseChatModel

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.binding import Naming
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.router_middleware import RouterMiddleware
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

__all__ = ["middleware"]

Middleware: TypeAlias = AgentMiddleware[Any, Any, Any]
_BEHIND: Final[tuple[type[Middleware], ...]] = (PIIMiddleware, HumanInTheLoopMiddleware)
"""Those that change an answer before it is stored."""


@strict
def middleware(
    memory: Memory | Conversation,
    *,
    namespace: Namespace | Naming | None = None,
    budget: int | TokenBudget = 4000,
    level: Level = "user",
    tools: bool = False,
    retries: int = 0,
    fallbacks: Sequence[str | BaseChatModel] = (),
    own: Sequence[Middleware] = (),
    name: str | None = None,
) -> list[Middleware]:
    """For `create_agent(middleware=...)`: a memory, and what else is wanted, in an order that works.

    | place | what stands there | why |
    |---|---|---|
    | first | `own` that stands nowhere below | what it adds to a request is in the budget |
    | then | `MemoryMiddleware` | the context is made once for all tries |
    | then | `RouterMiddleware` of `own` | it asks several models with that context |
    | then | fallbacks, then retries | every model is tried again before the next one is asked |
    | last | `PIIMiddleware`, `HumanInTheLoopMiddleware` of `own` | what they make of an answer is \
what is stored |

    The first four options are those of `MemoryMiddleware`. `retries` is how often a model that
    failed is asked again; when all fail, the last error is raised. `fallbacks` are the models to ask
    then. `own` may hold fallbacks and retries made otherwise. Raises `InvalidInput` for a retry of
    `own` that hides failures from fallbacks (`on_failure="continue"`, LangChain's default): it
    answers with the error's text, and no other model is ever asked.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     [part.name for part in middleware(ann, retries=2, own=[PIIMiddleware("email")])]
    ['MemoryMiddleware', 'ModelRetryMiddleware', 'PIIMiddleware[email]']
    >>> folder.cleanup()
    """
    given = _checked(own)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidInput("retries", retries, "pass how often to ask again, an int from 0")
    if isinstance(fallbacks, (str, BaseChatModel)) or not isinstance(fallbacks, Sequence):
        raise InvalidInput("fallbacks", fallbacks, "pass a list of models, or of their names")
    whose = {"conversation": memory} if isinstance(memory, Conversation) else {"memory": memory}
    ours = MemoryMiddleware(
        **whose,
        namespace=namespace, budget=budget, level=level, tools=tools, name=name,
    )  # fmt: skip
    falls = _of(given, ModelFallbackMiddleware)
    tries = _of(given, ModelRetryMiddleware)
    if fallbacks:
        _alone("fallbacks", falls)
        falls = [ModelFallbackMiddleware(*fallbacks)]
    if retries:
        _alone("retries", tries)
        tries = [ModelRetryMiddleware(max_retries=retries, on_failure="error")]
    if falls and any(part.on_failure == "continue" for part in tries):
        remedy = "with it no fallback is ever asked; make it with on_failure='error'"
        raise InvalidInput("own", "ModelRetryMiddleware(on_failure='continue')", remedy)
    routes, behind = _of(given, RouterMiddleware), _of(given, *_BEHIND)
    placed = {id(part) for part in (*routes, *falls, *tries, *behind)}
    front = [part for part in given if id(part) not in placed]
    return _named_apart([*front, ours, *routes, *falls, *tries, *behind])


def _of(given: Sequence[Any], *kinds: Any) -> list[Any]:
    return [part for part in given if isinstance(part, kinds)]


def _alone(option: str, there: Sequence[Middleware]) -> None:
    if there:
        got = type(there[0]).__name__
        raise InvalidInput(option, got, "own holds one already; leave one of them out")


def _checked(own: object) -> list[Middleware]:
    given = list(own) if isinstance(own, Sequence) else [None]
    parts = [part for part in given if isinstance(part, AgentMiddleware)]
    if len(parts) < len(given):
        raise InvalidInput("own", own, "pass a list of LangChain agent middleware")
    return parts


def _named_apart(parts: list[Middleware]) -> list[Middleware]:
    """`parts`; LangChain refuses two of one name. Raises `InvalidInput`."""
    names = [part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        remedy = "two of this name; give one another: a memory has name= for it"
        raise InvalidInput("own", twice, remedy)
    return parts
