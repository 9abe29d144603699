"""LangChain messages to and from `Message`.

What a `Message` has no field for (content blocks, additional_kwargs, a tool's error status) is
kept in its metadata under "langchain", and only then. What the provider said about the call
(usage, response_metadata) and a tool's artifact were not said in the conversation: they are left.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)
from pydantic import BaseModel, ValidationError

from rag_memory_plugins.langchain.marking import injected, said
from rag_memory_plugins.memory.units import SHORTENED
from rag_memory_plugins.types import Image, Message, Role, ToolCall

__all__ = [
    "calls_of",
    "injected",
    "is_plain",
    "minted",
    "role_of",
    "said",
    "same",
    "to_langchain",
    "to_message",
]

KEY: Final = "langchain"
_ROLES: Final[Mapping[str, Role]] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_CLASSES: Final[Mapping[str, type[BaseMessage]]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}
_OF_ROLE: Final[Mapping[Role, str]] = {
    "user": "human",
    "assistant": "ai",
    "system": "system",
    "tool": "tool",
}


def minted(message: BaseMessage) -> str:
    """The message's id, given to it now if it has none: the same object is then never two."""
    if not message.id:
        message.id = uuid.uuid4().hex
    return message.id


def to_message(message: BaseMessage) -> Message:
    """`message` as a `Message` with the same id; raises `InvalidMessage`, naming the field."""
    message = said(message_chunk_to_message(message))
    spoken = message.role if isinstance(message, ChatMessage) else message.type
    role = role_of(message)
    plain = Message(
        role,
        str(message.text),
        id=message.id or "",
        name=message.name or (spoken if spoken not in _ROLES else None),
        tool_calls=calls_of(message) if role == "assistant" else (),
        tool_call_id=(getattr(message, "tool_call_id", None) or message.name)
        if role == "tool"
        else None,
        images=tuple(_images(message.content)),
    )
    if is_plain(message):
        return plain
    wanted, back = _dump(message), _dump(_plain(plain))
    lost = {field: value for field, value in wanted.items() if back.get(field) != value}
    return replace(plain, metadata={KEY: lost}) if lost else plain


def is_plain(message: BaseMessage) -> bool:
    """Whether nothing of it could be lost: most of a history, which is converted every turn."""
    if not isinstance(message.content, str) or message.additional_kwargs:
        return False
    calls = isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls)
    return type(message) in (HumanMessage, SystemMessage, AIMessage) and not calls


def to_langchain(message: Message, *, whole: bool = True) -> BaseMessage:
    """`message` as LangChain holds it, as it came if it came from there.

    Without `whole`, only what token budgets count: text, images, tool calls.
    """
    lost = message.metadata.get(KEY)
    plain = _plain(message)
    if not whole or not isinstance(lost, Mapping):
        return plain
    data = {**_dump(plain), **lost}
    if SHORTENED in message.metadata:
        data["content"] = plain.content  # the stored blocks hold the whole text
    try:
        kind = _CLASSES[data.pop("type")]
        fields = {name: value for name, value in data.items() if name in kind.model_fields}
        return kind(**fields, id=message.id)
    except (KeyError, ValidationError):
        return plain  # written by another version of LangChain; what was said is in the plain form


def role_of(message: BaseMessage) -> Role:
    """The role that a message is stored and counted under; an unknown one is the user's."""
    return _ROLES.get(message.role if isinstance(message, ChatMessage) else message.type, "user")


def same(message: Message) -> tuple[object, ...]:
    """What two messages of different ids have in common when they say the same."""
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    return (message.role, message.content, calls, message.tool_call_id)


def _plain(message: Message) -> BaseMessage:
    """The usual LangChain form of a message from anywhere."""
    content: Any = message.content
    if message.images:
        text = [{"type": "text", "text": message.content}] if message.content else []
        content = [*text, *(_image_block(image) for image in message.images)]
    fields: dict[str, Any] = {"content": content, "id": message.id, "name": message.name}
    if message.role == "tool":
        fields["tool_call_id"] = message.tool_call_id
    if message.role == "assistant":
        calls = [_call(call) for call in message.tool_calls]
        fields["tool_calls"] = [call for call in calls if "error" not in call]
        fields["invalid_tool_calls"] = [call for call in calls if "error" in call]
    return _CLASSES[_OF_ROLE[message.role]](**fields)


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        args = json.loads(call.arguments)
    except ValueError:
        args = None  # a model may write broken JSON; LangChain has a place for that
    fields = {"name": call.name, "id": call.id}
    if isinstance(args, dict):
        return {**fields, "args": args, "type": "tool_call"}
    return {**fields, "args": call.arguments, "error": None, "type": "invalid_tool_call"}


def calls_of(message: BaseMessage) -> tuple[ToolCall, ...]:
    """The calls of an answer, those whose arguments are no JSON behind the others."""
    if not isinstance(message, AIMessage):
        return ()
    good = [
        ToolCall(c["id"] or c["name"], c["name"], json.dumps(c["args"], ensure_ascii=False))
        for c in message.tool_calls
    ]
    broken = [
        ToolCall(c["id"] or c["name"] or "", c["name"] or "", c["args"] or "")
        for c in message.invalid_tool_calls
    ]
    return (*good, *broken)


def _images(content: str | list[str | dict[Any, Any]]) -> list[Image]:
    parts = content if isinstance(content, list) else []
    found = [_image(part) for part in parts if isinstance(part, dict)]
    return [image for image in found if image is not None]


def _image(part: Mapping[str, Any]) -> Image | None:
    """An image block of any dialect: OpenAI, LangChain 0.3 and 1.0, Anthropic."""
    detail = (part.get("extras") or {}).get("detail")
    if part.get("type") == "image_url":
        inner = part.get("image_url")
        url = inner.get("url") if isinstance(inner, Mapping) else inner
        detail = inner.get("detail") if isinstance(inner, Mapping) else None
    elif part.get("type") == "image":
        source = part["source"] if isinstance(part.get("source"), Mapping) else part
        data = source.get("base64") or source.get("data")
        kind = source.get("mime_type") or source.get("media_type") or "image/png"
        url = source.get("url") or (f"data:{kind};base64,{data}" if data else None)
    else:
        return None
    if not isinstance(url, str):
        return None  # a file id of the provider: kept in the metadata, nothing to count it by
    known = cast("Literal['low', 'high']", detail) if detail in ("low", "high") else "auto"
    return Image(url, detail=known)


def _image_block(image: Image) -> dict[str, Any]:
    extras = {} if image.detail == "auto" else {"extras": {"detail": image.detail}}
    head, comma, data = image.url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        kind = head.removeprefix("data:").removesuffix(";base64")
        return {"type": "image", "base64": data, "mime_type": kind, **extras}
    return {"type": "image", "url": image.url, **extras}


def _dump(message: BaseMessage) -> dict[str, Any]:
    """The fields that make up what was said, as JSON values."""
    data: dict[str, Any] = {
        "type": message.type,
        "content": _jsonable(message.content),
        "name": message.name,
        "additional_kwargs": _jsonable(message.additional_kwargs) or {},
    }
    if isinstance(message, AIMessage):
        data["tool_calls"] = _jsonable(message.tool_calls) or []
        data["invalid_tool_calls"] = _jsonable(message.invalid_tool_calls) or []
        if isinstance(message.content, list):
            # LangChain reads a provider's own blocks by these two.
            known = ("model_provider", "output_version")
            said = {k: v for k, v in message.response_metadata.items() if k in known}
            data["response_metadata"] = said
    if isinstance(message, ToolMessage):
        data["tool_call_id"] = message.tool_call_id
        data["status"] = message.status
    if isinstance(message, ChatMessage):
        data["role"] = message.role
    return data


def _jsonable(value: object) -> Any:
    """JSON values of `value`; of a mapping, the keys that have one; None for what has none."""
    try:
        return json.loads(json.dumps(value, default=_default, allow_nan=False))
    except (TypeError, ValueError):
        if not isinstance(value, Mapping):
            return None
        fields = {str(key): _jsonable(item) for key, item in value.items()}
        return {key: item for key, item in fields.items() if item is not None}


def _default(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
