"""Agents that run with a conversation's memory, whatever Context they are given."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.llama_index.memory import ScopedMemory
from rag_memory_plugins.llama_index.trust import restoring

if TYPE_CHECKING:
    from llama_index.core.workflow import Context, StartEvent

__all__ = ["with_memory"]


def with_memory(
    run: Callable[..., Any],
    prepare: Callable[[Context, StartEvent], Awaitable[None]],
    memory: ScopedMemory,
) -> dict[str, Any]:
    """Attributes that make an agent, or a workflow of agents, run with `memory`.

    `run` and `prepare` are its own: `run` and `_init_context`, which every run begins with.

    LlamaIndex takes the memory that a Context holds before the one of `memory=`, so a Context of
    another user would be written to without a word. Here a Context, or a `memory=`, that holds
    anything but this namespace raises `InvalidNamespace`: before the run's first step, and where
    a finished or saved Context is read back, which includes one that waits in the middle of a run.
    """

    @functools.wraps(run)
    def attached_run(*args: Any, **kwargs: Any) -> Any:
        try:
            with restoring(memory):
                return run(*args, **kwargs)
        except ValueError as error:
            refused = _refused(error)
            if refused is None:
                raise
            raise refused from error

    async def attached_init_context(ctx: Context, ev: StartEvent) -> None:
        held = await ctx.store.get("memory", default=None)
        asked = ev.get("memory", default=None)
        for found in (held, asked):
            _check(found, memory)
        if held is None:
            await ctx.store.set("memory", asked or memory)
        await prepare(ctx, ev)

    return {"run": attached_run, "_init_context": attached_init_context}


def _check(found: object, memory: ScopedMemory) -> None:
    if found is None:
        return
    if isinstance(found, ScopedMemory) and found.namespace == memory.namespace:
        return
    got = found.namespace if isinstance(found, ScopedMemory) else type(found).__name__
    remedy = f"the agent is attached to {memory.namespace!r}; use a new Context, or detach it"
    raise InvalidNamespace("memory", got, remedy)


def _refused(error: BaseException) -> InvalidNamespace | None:
    """The `InvalidNamespace` that reading a Context back has wrapped, if it is one."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, InvalidNamespace):
        inner = inner.__cause__ or inner.__context__
    return inner and InvalidNamespace(inner.field, inner.got, inner.remedy)
