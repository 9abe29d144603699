"""Messages with less in them, for a request that has no room for more; the given ones stay whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from rag_memory_plugins.langchain.convert import role_of
from rag_memory_plugins.langchain.counting import CALLS, IMAGES, MEDIA, kind_of, parts_of

__all__ = ["lean", "with_text"]

_LONG: Final = 300
"""Characters of an argument that is not shortened."""


def with_text(message: BaseMessage, text: str) -> BaseMessage:
    """A copy of `message` with another text; of its other blocks those stay that hold none."""
    content: Any = text
    if not isinstance(message.content, str):
        kept = parts_of(message, None).kept
        content = [{"type": "text", "text": text}, *kept] if kept else text
    return message.model_copy(update={"content": content})


def lean(message: BaseMessage) -> BaseMessage:
    """A tool's result without images and files, a call without long arguments; else the message.

    Where something stood there is a word for it. A call stays a call of the same id and names.
    """
    if isinstance(message, AIMessage):
        return _short_arguments(message)
    if role_of(message) != "tool" or isinstance(message.content, str):
        return message
    blocks = [
        {"type": "text", "text": f"[{kind_of(block)} left out]"}
        if kind_of(block) in (*IMAGES, *MEDIA)
        else block
        for block in message.content
    ]
    return message if blocks == message.content else message.model_copy(update={"content": blocks})


def _short_arguments(message: AIMessage) -> BaseMessage:
    calls = [{**call, "args": _short(call["args"])} for call in message.tool_calls]
    if calls == message.tool_calls:
        return message
    content: Any = message.content
    if not isinstance(content, str):
        # Providers' packages write these anew from the calls; left, they would hold it all.
        content = [block for block in content if kind_of(block) not in CALLS]
    return message.model_copy(update={"tool_calls": calls, "content": content})


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONG:
        return f"{value[: _LONG // 2]} [… shortened] {value[-_LONG // 4 :]}"
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value
