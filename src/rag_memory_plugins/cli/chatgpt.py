"""One conversation of ChatGPT's export as plain messages.

An export keeps every branch of a conversation in `mapping`, a tree of nodes; `current_node` is the
leaf that the user saw last. What is read is the path from the root to it, without what was hidden.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from rag_memory_plugins.errors import InvalidFile

__all__ = ["conversation_messages"]

_UNSAID: Final = {"thoughts", "reasoning_recap", "user_editable_context", "model_editable_context"}


def conversation_messages(
    place: str, conversation: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(node id, fields of a `Message`) of what was said, in order. Raises `InvalidFile`."""
    mapping = conversation.get("mapping")
    if not isinstance(mapping, dict):
        raise InvalidFile(f"{place}, mapping", mapping, "a conversation has an object of nodes")
    said = []
    for node_id in _path(place, conversation, mapping):
        message = mapping[node_id].get("message")
        if isinstance(message, dict) and (text := _visible_text(message)):
            said.append((node_id, message, text))
    call = None
    for index, (node_id, message, text) in enumerate(said):
        following = said[index + 1][1] if index + 1 < len(said) else None
        data = _fields(node_id, message, text, call, following)
        time = _time(place, node_id, message, conversation)
        call = node_id if data.get("tool_calls") else None
        yield node_id, data if time is None else {**data, "time": time}


def _path(place: str, conversation: Mapping[str, Any], mapping: dict[str, Any]) -> list[str]:
    """Ids from the root to the current node, or to the newest leaf of a file that names none."""
    for node_id, node in mapping.items():
        if not isinstance(node, dict) or not isinstance(node.get("parent"), (str, type(None))):
            raise InvalidFile(f"{place}, node {node_id}", node, "a node is an object with a parent")
    current = conversation.get("current_node")
    if current is None:
        parents = {node.get("parent") for node in mapping.values()}
        current = next((node_id for node_id in reversed(mapping) if node_id not in parents), None)
    if mapping and (not isinstance(current, str) or current not in mapping):
        raise InvalidFile(f"{place}, current_node", current, "it must be a node of the mapping")
    path: dict[str, None] = {}
    while current in mapping:
        if current in path:
            raise InvalidFile(f"{place}, node {current}", "its own ancestor", "export it again")
        path[current] = None
        current = mapping[current].get("parent")
    return [*path][::-1]


def _visible_text(message: Mapping[str, Any]) -> str:
    metadata = message.get("metadata")
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    content = message.get("content")
    if hidden or not isinstance(content, dict) or content.get("content_type") in _UNSAID:
        return ""
    parts = content.get("parts")
    if not isinstance(parts, list):
        parts = [content.get("text") or content.get("result")]
    texts = [_part(part) for part in parts]
    return "\n".join(text for text in texts if text.strip())


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    if isinstance(part.get("text"), str):  # what was said aloud, written down
        return str(part["text"])
    return "[image]" if "image" in str(part.get("content_type")) else ""


def _fields(
    node_id: str,
    message: Mapping[str, Any],
    text: str,
    call: str | None,
    following: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A call becomes one only when its result follows: a tool call is never kept without it."""
    role, recipient = _role(message), message.get("recipient")
    if role == "tool":
        name = _author(message).get("name") or "tool"
        if call is not None:
            return {
                "id": node_id,
                "role": "tool",
                "content": text,
                "name": name,
                "tool_call_id": call,
            }
        return {"id": node_id, "role": "assistant", "content": text, "name": name}
    if (
        role == "assistant"
        and recipient not in (None, "", "all")
        and following is not None
        and _role(following) == "tool"
    ):
        tool_call = {"id": node_id, "name": str(recipient), "arguments": _arguments(text)}
        return {"id": node_id, "role": role, "content": "", "tool_calls": [tool_call]}
    return {"id": node_id, "role": role, "content": text}


def _author(message: Mapping[str, Any]) -> Mapping[str, Any]:
    author = message.get("author")
    return author if isinstance(author, dict) else {}


def _role(message: Mapping[str, Any]) -> Any:
    return _author(message).get("role")


def _arguments(text: str) -> str:
    """The call's text as a JSON object: code that went to a tool is wrapped in one."""
    try:
        return text if isinstance(json.loads(text), dict) else json.dumps({"input": text})
    except (ValueError, RecursionError):
        return json.dumps({"input": text}, ensure_ascii=False)


def _time(
    place: str, node_id: str, message: Mapping[str, Any], conversation: Mapping[str, Any]
) -> datetime | None:
    value = message.get("create_time") or conversation.get("create_time")
    if not value:
        return None
    try:
        return datetime.fromtimestamp(float(value), timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        where = f"{place}, node {node_id}, create_time"
        raise InvalidFile(where, value, "it must be seconds since 1970, a number") from error
