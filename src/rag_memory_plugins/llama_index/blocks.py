"""The parts of a LlamaIndex chat message, to and from the fields of `Message`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
)
from pydantic import BaseModel

from rag_memory_plugins.llama_index.compat import (
    HAS_TOOL_CALL_BLOCK,
    tool_call_block,
    tool_calls_of,
)
from rag_memory_plugins.types import Image, Message, ToolCall

__all__ = ["COUNTED", "KEY", "calls", "dump", "images", "openai_call", "plain"]

KEY: Final = "llama_index"
"""Metadata key of what a chat message has and a `Message` has no field for."""
COUNTED: Final = frozenset({"text", "image", "tool_call"})
"""Blocks that become fields of a `Message`, so that every token budget counts them."""
_ARGUMENTS: Final = ("arguments", "tool_kwargs", "input", "args")


def plain(message: Message) -> ChatMessage:
    """The usual LlamaIndex form of a message from anywhere: one text, images, tool calls."""
    blocks: list[ContentBlock] = []
    calls = [(c.id, c.name, _arguments(c.arguments)) for c in message.tool_calls]
    if message.content or not (message.images or (calls and HAS_TOOL_CALL_BLOCK)):
        blocks.append(TextBlock(text=message.content))
    blocks += [_image_block(image) for image in message.images]
    kwargs: dict[str, Any] = {"tool_call_id": message.tool_call_id, "name": message.name}
    if HAS_TOOL_CALL_BLOCK:
        blocks += [tool_call_block(*call) for call in calls]
    elif calls:
        kwargs["tool_calls"] = [openai_call(call) for call in message.tool_calls]
    return ChatMessage(
        role=MessageRole(message.role),
        blocks=blocks,
        additional_kwargs={k: v for k, v in kwargs.items() if v is not None},
    )


def calls(chat: ChatMessage) -> tuple[ToolCall, ...]:
    """The tool calls of an assistant message, of its blocks or else of its additional_kwargs."""
    found = [ToolCall(key, name, _text(given)) for key, name, given in tool_calls_of(chat)]
    if not found:
        found = [_call(item) for item in chat.additional_kwargs.get("tool_calls") or ()]
    return tuple(found)


def images(chat: ChatMessage) -> tuple[Image, ...]:
    """The images of a message; bytes become data: URIs."""
    return tuple(_image(block) for block in chat.blocks if isinstance(block, ImageBlock))


def dump(chat: ChatMessage) -> dict[str, Any]:
    """`chat` as JSON values; what has no JSON form is left out."""
    # "images" is a legacy way to make blocks, and made them when the message was built.
    kwargs = {k: _jsonable(v) for k, v in chat.additional_kwargs.items() if k != "images"}
    return {
        "role": chat.role.value,
        "blocks": [b.model_dump(mode="json", exclude_none=True) for b in chat.blocks],
        "additional_kwargs": {k: v for k, v in kwargs.items() if v is not None},
    }


def openai_call(call: ToolCall) -> dict[str, Any]:
    """A tool call as the OpenAI integration and those that follow it keep it."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call(item: Any) -> ToolCall:
    """One entry of additional_kwargs["tool_calls"]: each provider package has its own shape."""
    data: Mapping[str, Any] = item if isinstance(item, Mapping) else _jsonable(item) or {}
    inner = data.get("function")
    function: Mapping[str, Any] = inner if isinstance(inner, Mapping) else data
    name = str(function.get("name") or data.get("tool_name") or "")
    arguments: object = next(
        (source[key] for source in (function, data) for key in _ARGUMENTS if key in source), {}
    )
    call_id = data.get("id") or data.get("tool_id") or data.get("tool_call_id") or name
    return ToolCall(str(call_id), name, _text(arguments))


def _text(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _arguments(text: str) -> dict[str, Any] | str:
    try:
        value = json.loads(text)
    except ValueError:
        return text  # a model may write broken JSON; the text is what it said
    return value if isinstance(value, dict) else text


def _image(block: ImageBlock) -> Image:
    detail = cast("Literal['auto', 'low', 'high']", block.detail)
    known = detail if detail in ("low", "high") else "auto"
    if block.url is not None:
        return Image(str(block.url), detail=known)
    data = block.resolve_image(as_base64=True).read().decode()
    return Image(f"data:{block.image_mimetype or 'image/png'};base64,{data}", detail=known)


def _image_block(image: Image) -> ImageBlock:
    detail = None if image.detail == "auto" else image.detail
    head, comma, data = image.url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        kind = head.removeprefix("data:").removesuffix(";base64")
        return ImageBlock(image=data.encode(), image_mimetype=kind, detail=detail)
    return ImageBlock(url=image.url, detail=detail)


def _jsonable(value: object) -> Any:
    """JSON values of `value`, None for what has none."""
    try:
        return json.loads(json.dumps(value, default=_default, allow_nan=False))
    except (TypeError, ValueError):
        return None


def _default(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
