"""What the middleware's tests share: an agent, what is stored, and what a call held in tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from rag_memory_plugins import Conversation, Message, ToolCall
from rag_memory_plugins.tokens import make_counter
from tests.langchain.scripted import ScriptedModel


@dataclass
class Login:
    """Whom a run is for."""

    tenant: str
    user: str = "ann"


_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def weather(city: str = "Lisbon") -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


def agent(model: ScriptedModel, *middleware: AgentMiddleware[Any, Any, Any], **options: Any) -> Any:
    given = {"tools": [weather], "system_prompt": "Be brief.", **options}
    return create_agent(model, middleware=list(middleware), **given)


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [HumanMessage(text, **fields)]}


def thread(name: str = "t1") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def stored(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages()]


def orphans(messages: Sequence[BaseMessage]) -> set[str | None]:
    """Ids of tool calls without a result and of results without a call."""
    calls = {c["id"] for m in messages if isinstance(m, AIMessage) for c in m.tool_calls}
    return calls ^ {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}


def sizes(model: ScriptedModel) -> list[int]:
    """Tokens of every call that the model got: all messages, and all schemas as JSON."""
    counter = make_counter(None)
    return [
        counter.count_messages([_plain(message) for message in asked])
        + sum(counter.count(json.dumps(schema)) for schema in schemas)
        for asked, schemas in zip(model.asked, model.schemas, strict=True)
    ]


def _plain(message: BaseMessage) -> Message:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return Message(
        _ROLES[message.type],  # type: ignore[arg-type]
        str(message.text),
        name=message.name,
        tool_calls=tuple(ToolCall(str(c["id"]), c["name"], json.dumps(c["args"])) for c in calls),
        tool_call_id=getattr(message, "tool_call_id", None),
    )
