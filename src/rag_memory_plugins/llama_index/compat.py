"""What differs between versions of llama-index-core and llama-index-workflows, in one place.

| | before | since |
|---|---|---|
| tool calls of an assistant message | additional_kwargs["tool_calls"] | `ToolCallBlock`: core 0.14.8 |
| what an agent's run was given, seen from its steps | hidden | seen: workflows 2.23 |
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from llama_index.core.base.llms import types as llms
from llama_index.core.workflow import Context

try:
    from workflows.runtime.types.results import StepWorkerContext, StepWorkerStateContextVar
except ImportError:
    StepWorkerContext = StepWorkerStateContextVar = None  # type: ignore[assignment,misc]

__all__ = [
    "HAS_TOOL_CALL_BLOCK",
    "SEES_RUNS",
    "at_once",
    "memory_in",
    "memory_of_run",
    "tool_call_block",
    "tool_calls_of",
]

HAS_TOOL_CALL_BLOCK: Final = hasattr(llms, "ToolCallBlock")
SEES_RUNS: Final = "event" in getattr(StepWorkerContext, "__dataclass_fields__", ())
"""Whether a step's code can tell which event it works on."""


def tool_call_block(call_id: str, name: str, arguments: dict[str, Any] | str) -> Any:
    """A tool call as a block of an assistant message; only where there is such a block."""
    return llms.ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=arguments)


def tool_calls_of(chat: llms.ChatMessage) -> list[tuple[str, str, dict[str, Any] | str]]:
    """(id, tool, arguments) of a message's blocks; a call without an id goes by its tool."""
    if not HAS_TOOL_CALL_BLOCK:
        return []
    return [
        (block.tool_call_id or block.tool_name, block.tool_name, block.tool_kwargs)
        for block in chat.blocks
        if isinstance(block, llms.ToolCallBlock)
    ]


def memory_of_run() -> object | None:
    """What was passed as `memory=` to the agent run whose first step this is; None elsewhere.

    LlamaIndex drops it without a word when the run's Context holds a memory already. None, too,
    without `SEES_RUNS`.
    """
    step = StepWorkerStateContextVar.get(None) if SEES_RUNS else None
    if step is None:
        return None
    from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent

    if not isinstance(step.event, AgentWorkflowStartEvent):
        return None
    given: object | None = step.event.get("memory", default=None)
    return given


def memory_in(context: object) -> object | None:
    """What a workflow's Context holds as "memory"; None for anything else, or a far store."""
    if not isinstance(context, Context):
        return None
    found: object | None = at_once(context.store.get("memory", default=None))
    return found


def at_once(waiting: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that is async in name only gives; None for one that has to wait."""
    try:
        waiting.send(None)
    except StopIteration as done:
        return done.value
    finally:
        waiting.close()
    return None
