"""Agents of one workflow that remember each for itself.

    run      the Context's memory is that of the agent whose turn it is (`agents.with_memory`)
    handoff  A stores its turn; the Context's memory becomes B's, which gets the user's message
    steps    B is asked with its own history, and beside the question with what A said on leaving
    answer   B stores its turn

A workflow's Context has one place for a memory, one for what agents gather in a turn and one for
their reasoning. The first changes hands here; for the others every agent has a key of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from rag_memory_plugins.llama_index.agents import CURRENT, HANDED, Memories
from rag_memory_plugins.llama_index.fitting import question_of

if TYPE_CHECKING:
    from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
    from llama_index.core.agent.workflow.workflow_events import AgentOutput
    from llama_index.core.workflow import Context

    from rag_memory_plugins.llama_index.memory import ScopedMemory

__all__ = ["own_keys", "own_steps"]

_REASONING: Final = "reasoning_key"
_GATHERED: Final = ("scratchpad_key", _REASONING)


def own_keys(agent: BaseWorkflowAgent, place: int) -> dict[str, str]:
    """Names under which a Context keeps what the workflow's agent at `place` gathers in a turn."""
    # Not of its name: a dot in a key is a way into an object.
    keys = [key for key in _GATHERED if hasattr(agent, key)]
    return {key: f"{getattr(agent, key)}_{place}" for key in keys}


def own_steps(agent: BaseWorkflowAgent, memories: Memories) -> dict[str, Callable[..., Any]]:
    """`take_step` and `finalize` of `agent`, around its own, for its memory of `memories`."""
    return {
        "take_step": _own_input(agent, agent.take_step),
        "finalize": _handing_over(agent, memories, agent.finalize),
    }


def _own_input(
    agent: BaseWorkflowAgent, step: Callable[..., Awaitable[AgentOutput]]
) -> Callable[..., Awaitable[AgentOutput]]:
    """`step`, whose first input after a handoff is of this agent's history, not the other's."""

    @functools.wraps(step)
    async def take_step(
        ctx: Context, llm_input: list[ChatMessage], tools: Any, memory: ScopedMemory
    ) -> AgentOutput:
        handed = await ctx.store.get(HANDED, default=None)
        if handed and handed["to"] == agent.name:
            if not handed["taken"]:
                prompt = llm_input[:1] if agent.system_prompt else []
                question = await ctx.store.get("user_msg_str")
                llm_input = [*prompt, *await memory.aget(input=question)]
                await ctx.store.set(HANDED, {**handed, "taken": True})
            llm_input = _told(llm_input, handed["said"])
        return await step(ctx, llm_input, tools, memory)

    return take_step


def _handing_over(
    agent: BaseWorkflowAgent, memories: Memories, finish: Callable[..., Awaitable[AgentOutput]]
) -> Callable[..., Awaitable[AgentOutput]]:
    """`finish`, and where another agent goes on, what that one needs."""

    @functools.wraps(finish)
    async def finalize(ctx: Context, output: AgentOutput, memory: ScopedMemory) -> AgentOutput:
        said = output.response.content or ""
        done = await finish(ctx, output, memory)
        to = await ctx.store.get(CURRENT)
        if to == agent.name:
            return done
        await _keep_reasoning(ctx, getattr(agent, _REASONING, ""), memory)
        asked = await memory.conversation.afind(roles="user", limit=1, level="session")
        await memories[to].conversation.aadd([hit.message for hit in asked])
        await ctx.store.set("memory", memories[to])
        await ctx.store.set(HANDED, {"to": to, "said": said, "taken": False})
        return done

    return finalize


async def _keep_reasoning(ctx: Context, key: str, memory: ScopedMemory) -> None:
    """Store reasoning that ended in a handoff: LlamaIndex leaves it to the next agent's."""
    left = await ctx.store.get(key, default=[]) if key else []
    if left:
        text = "\n".join(step.get_content() for step in left)
        await memory.aput(ChatMessage(text, role=MessageRole.ASSISTANT))
        await ctx.store.set(key, [])


def _told(chats: Sequence[ChatMessage], said: str) -> list[ChatMessage]:
    """`chats`, and beside the user's question what was said at the handoff."""
    told = list(chats)
    at = question_of(chats)
    if at is None:
        return [*told, ChatMessage(said, role=MessageRole.USER)]
    told[at] = told[at].model_copy(update={"blocks": [*told[at].blocks, TextBlock(text=said)]})
    return told
