"""What tests of attached engines and agents share: a tool, waiting for a person, looking closely."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent

from rag_memory_plugins.llama_index.blocks import calls
from rag_memory_plugins.llama_index.convert import to_message
from rag_memory_plugins.llama_index.counting import tool_tokens
from rag_memory_plugins.tokens import make_counter
from tests.llama_index.scripted import Call, ScriptedLLM, texts

COUNTER: Final = make_counter()
LONG: Final = "the harbour crane is green and the boat was old " * 40  # 400 tokens


def crane(number: int) -> str:
    """What is known of a crane."""
    return f"crane {number}: {LONG}"


CRANE: Final = FunctionTool.from_defaults(crane)


def look_at(number: int) -> list[Call]:
    """A model's reply that asks for a crane."""
    return [(f"call_{number}", "crane", {"number": number})]


async def ask_first(ctx: Context) -> str:
    """Ask the person first."""
    answer = await ctx.wait_for_event(
        HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="sure?")
    )
    return str(answer.response)


ask_first.__annotations__["ctx"] = Context  # LlamaIndex does not read it as a string


async def waiting(agent: Any) -> dict[str, Any]:
    """A saved Context of a run that waits for a person."""
    handler = agent.run("delete it")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            break
    saved: dict[str, Any] = json.loads(json.dumps(handler.ctx.to_dict()))
    await handler.cancel_run()
    return saved


def asked(llm: ScriptedLLM) -> str:
    """All that a model was ever asked."""
    return "\n".join(text for messages in llm.asked for _, text in texts(messages))


def over(llm: ScriptedLLM, budget: int, tools: Sequence[Any] = ()) -> list[int]:
    """Sizes of the requests that were larger than `budget`."""
    schemas = tool_tokens(tools, COUNTER)
    sizes = [COUNTER.count_messages(list(map(to_message, messages))) for messages in llm.asked]
    return [size + schemas for size in sizes if size + schemas > budget]


def orphans(chats: Sequence[ChatMessage]) -> set[str]:
    """Ids of calls without a result, and of results without a call."""
    made = {call.id for chat in chats for call in calls(chat)}
    return made ^ {m.additional_kwargs["tool_call_id"] for m in chats if m.role == "tool"}


def look(target: Any) -> dict[str, int]:
    """Which object every attribute is, and every attribute of those."""
    seen = {name: id(value) for name, value in vars(target).items()}
    for name, value in vars(target).items():
        inner = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        seen |= {f"{name}.{key}": id(part) for key, part in inner.items()}
    return seen
