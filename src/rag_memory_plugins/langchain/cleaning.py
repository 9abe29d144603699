"""Texts that a log and a provider take, of messages that may hold anything."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

from rag_memory_plugins.memory.media import cleaned

__all__ = ["storable"]


def storable(message: BaseMessage) -> BaseMessage:
    """`message` without what neither log nor providers take: NUL, lone surrogates; else itself.

    A tool may have read a binary file: that must not end the conversation.
    """
    names = ("content", "name", "additional_kwargs", "tool_calls", "invalid_tool_calls")
    given = {name: value for name in names if (value := getattr(message, name, None))}
    made = {name: _scrubbed(value) for name, value in given.items()}
    changed = {name: value for name, value in made.items() if value is not given[name]}
    return message.model_copy(update=changed) if changed else message


def _scrubbed(value: Any) -> Any:
    """`value` with its texts cleaned, itself if they are."""
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        made = {key: _scrubbed(item) for key, item in value.items()}
        return made if any(made[key] is not item for key, item in value.items()) else value
    if isinstance(value, list):
        items = [_scrubbed(item) for item in value]
        same_items = all(a is b for a, b in zip(items, value, strict=True))
        return value if same_items else items
    return value
