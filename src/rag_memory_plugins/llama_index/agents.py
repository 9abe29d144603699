"""Agents that run with a conversation's memory, whatever Context they are given."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.llama_index.compat import memory_in
from rag_memory_plugins.llama_index.memory import ScopedMemory
from rag_memory_plugins.llama_index.trust import restoring

if TYPE_CHECKING:
    from llama_index.core.workflow import Context, StartEvent

__all__ = ["ALL", "CURRENT", "HANDED", "Memories", "with_memory"]

Memories = Mapping[str, ScopedMemory]
"""Memories by the name of their agent, or one for `ALL`."""
ALL: Final = ""
CURRENT: Final = "current_agent_name"
"""Where a workflow's Context says who is answering; LlamaIndex's own key, as "memory" is."""
HANDED: Final = "rag_memory_handed_over"
"""Where it says what was said at a run's latest handoff, to whom, and whether that one took it."""


def with_memory(
    run: Callable[..., Any],
    prepare: Callable[[Context, StartEvent], Awaitable[None]],
    memories: Memories,
) -> dict[str, Any]:
    """Attributes that make an agent, or a workflow of agents, run with its memory or memories.

    `run` and `prepare` are its own: `run` and `_init_context`, which every run begins with.

    LlamaIndex takes the memory that a Context holds before the one of `memory=`, so a Context of
    another user would be written to without a word. Here a Context, or a `memory=`, that holds
    anything but these namespaces raises `InvalidNamespace`: before the run begins, which for one
    that waits in its middle is before it goes on, and where a saved Context is read back.
    """

    @functools.wraps(run)
    def attached_run(*args: Any, **kwargs: Any) -> Any:
        try:
            with restoring(*memories.values()):
                for context in (*args, kwargs.get("ctx")):
                    _check(memory_in(context), *memories.values())
                return run(*args, **kwargs)
        except ValueError as error:
            refused = _refused(error)
            if refused is None:
                raise
            raise refused from error

    async def attached_init_context(ctx: Context, ev: StartEvent) -> None:
        held = await ctx.store.get("memory", default=None)
        asked = ev.get("memory", default=None)
        _check(held, *memories.values())
        first = next(iter(memories.values()))
        # Set before `prepare`, which would make a memory of LlamaIndex's for a Context without one.
        await ctx.store.set("memory", held or first)
        await prepare(ctx, ev)
        if ALL not in memories:
            await ctx.store.set(HANDED, None)
        own = memories.get(await ctx.store.get(CURRENT, default=ALL)) or first
        _check(asked, own)
        if held is None or held.namespace != own.namespace:
            await ctx.store.set("memory", asked or own)

    return {"run": attached_run, "_init_context": attached_init_context}


def _check(found: object, *memories: ScopedMemory) -> None:
    if found is None:
        return
    names = [memory.namespace for memory in memories]
    if isinstance(found, ScopedMemory) and found.namespace in names:
        return
    got = found.namespace if isinstance(found, ScopedMemory) else type(found).__name__
    attached = " and ".join(map(repr, names))
    raise InvalidNamespace(
        "memory", got, f"the agent is attached to {attached}; use a new Context, or detach it"
    )


def _refused(error: BaseException) -> InvalidNamespace | None:
    """The `InvalidNamespace` that reading a Context back has wrapped, if it is one."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, InvalidNamespace):
        inner = inner.__cause__ or inner.__context__
    return inner and InvalidNamespace(inner.field, inner.got, inner.remedy)
