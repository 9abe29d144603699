"""LangChain messages, tools and response formats as a budget counts them.

Text, images and tool calls count by the memory's rules, sounds, films and documents by those of
`memory.media`, other blocks by the texts in them. What a tool gave counts as text whatever block it
stands in, so that it can be shortened; images, audio and files of it stay what they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from langchain.agents.structured_output import (
    AutoStrategy,
    OutputToolBinding,
    ProviderStrategy,
    ToolStrategy,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from rag_memory_plugins.langchain.convert import calls_of, role_of
from rag_memory_plugins.memory import media
from rag_memory_plugins.memory.media import EXTRA, cleaned, media_tokens, medium_of, sized
from rag_memory_plugins.types import Image, Message

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from rag_memory_plugins.ports import TokenCounter

__all__ = [
    "CALLS",
    "IMAGES",
    "MEDIA",
    "BlockCounter",
    "as_counted",
    "kind_of",
    "parts_of",
    "schema_tokens",
]

IMAGES: Final = ("image", "image_url", "input_image")
MEDIA: Final = ("audio", "input_audio", "video", "file", "document", "media")
CALLS: Final = ("tool_use", "tool_call", "function_call", "tool_call_chunk", "input_json_delta")
"""Blocks of providers that repeat what stands in `tool_calls`."""
_UNSEEN: Final = ("type", "id", "index", "signature", "encrypted_content", "cache_control")
"""Keys of a block that no tokens are made of."""


class BlockCounter(media.BlockCounter):
    """A counter of LangChain messages, made anew for every model call.

    >>> from langchain_core.messages import HumanMessage
    >>> from rag_memory_plugins.tokens import make_counter
    >>> counter = BlockCounter(make_counter("words"))
    >>> counter.request([HumanMessage([{"type": "audio", "url": "a"}])])
    263
    """

    def __init__(self, counter: TokenCounter) -> None:
        super().__init__(counter)
        self._seen: dict[int, tuple[BaseMessage, Message]] = {}

    def request(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of LangChain messages as a chat request."""
        return self.count_messages([self.counted(message) for message in messages])

    def counted(self, message: BaseMessage) -> Message:
        """`as_counted`, made once of each object: a request is counted several times."""
        known = self._seen.get(id(message))
        if known is None:
            # The message is kept beside it: while it lives nothing else has its number.
            known = self._seen[id(message)] = (message, as_counted(message, self))
        return known[1]

    def know(self, message: BaseMessage, plain: Message) -> None:
        """Count `message` as the stored `plain` it was made of: its tokens are known already.

        Only one without calls, images and results: of those the request holds another form.
        """
        if not (plain.tool_calls or plain.images or plain.tool_call_id or EXTRA in plain.metadata):
            self._seen[id(message)] = (message, plain)


@dataclass
class Parts:
    """A message's content by how it is counted; `kept` are blocks that no cut of text touches."""

    texts: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    extra: int = 0


def as_counted(message: BaseMessage, counter: TokenCounter) -> Message:
    """`message` as a message of its size: for counting and cutting, never for storing."""
    role = role_of(message)
    parts = parts_of(message, counter)
    call_id = None
    if role == "tool":
        call_id = cleaned(str(getattr(message, "tool_call_id", None) or message.name or "result"))
    made = Message(
        role,
        "",
        id=cleaned(message.id or role)[:256],  # the mark of a shortened text names it
        name=cleaned(message.name) if message.name else None,
        tool_calls=calls_of(message) if role == "assistant" else (),
        tool_call_id=call_id,
        images=tuple(parts.images),
    )
    return sized(made, "\n".join(parts.texts), parts.extra)


def schema_tokens(
    tools: Sequence[BaseTool | Mapping[str, Any]], response_format: Any, counter: TokenCounter
) -> int:
    """Tokens of what a model is told of tools and of the wanted response, as JSON.

    Of a format that LangChain turns into a tool or a provider's own by the model, the larger.
    """
    schemas: list[Any] = [*tools]
    other = 0
    if isinstance(response_format, ProviderStrategy):
        schemas.append(response_format.to_model_kwargs()["response_format"])
    elif response_format is not None:
        known = isinstance(response_format, (AutoStrategy, ToolStrategy))
        schema = response_format.schema if known else response_format
        strategy = (
            response_format
            if isinstance(response_format, ToolStrategy)
            else ToolStrategy(schema=schema)
        )
        bound = [OutputToolBinding.from_schema_spec(s).tool for s in strategy.schema_specs]
        schemas += bound
        if strategy is not response_format and len(bound) == 1:
            native = ProviderStrategy(schema=schema).to_model_kwargs()["response_format"]
            other = _schema(native, counter) - _schema(bound[0], counter)
    return sum(_schema(schema, counter) for schema in schemas) + max(0, other)


def _schema(schema: Any, counter: TokenCounter) -> int:
    # A provider's built-in tool, or a response format, is a mapping that goes out as it is.
    plain = schema if isinstance(schema, Mapping) else convert_to_openai_tool(schema)
    return counter.count(json.dumps(plain, ensure_ascii=False, default=str))


def parts_of(message: BaseMessage, counter: TokenCounter | None) -> Parts:
    """The content by kind; nothing of it is counted without a counter."""
    parts = Parts()
    if isinstance(message.content, str):
        parts.texts.append(message.content)
        return parts
    calls = isinstance(message, AIMessage)
    result = role_of(message) == "tool"
    for block in message.content:
        kind = kind_of(block)
        if kind in ("text", "text-plain"):
            parts.texts.append(block if isinstance(block, str) else str(block.get("text") or ""))
        elif kind in IMAGES:
            parts.images.append(_image(block))
            parts.kept.append(block)
        elif result and kind not in MEDIA:
            parts.texts.append(json.dumps(block, ensure_ascii=False, default=str))
        elif not (calls and kind in CALLS):
            parts.extra += _extra(kind, block, counter) if counter is not None else 0
            parts.kept.append(block)
        else:
            parts.kept.append(block)
    return parts


def kind_of(block: str | Mapping[str, Any]) -> str:
    """The type of a content block."""
    return "text" if isinstance(block, str) else str(block.get("type"))


def _image(block: Any) -> Image:
    # Only the detail counts; the picture itself may be large, or far away.
    inner = block.get("image_url")
    detail = inner.get("detail") if isinstance(inner, Mapping) else block.get("detail")
    detail = detail or (block.get("extras") or {}).get("detail")
    return Image("image", detail="low" if detail == "low" else "auto")


def _extra(kind: str, block: Any, counter: TokenCounter) -> int:
    """Tokens of a block that a `Message` has no field for."""
    if kind not in MEDIA:
        return sum(counter.count(text) for text in _strings(block))
    source = block.get("source") if isinstance(block.get("source"), Mapping) else block
    mime = str(source.get("mime_type") or source.get("media_type") or "")
    data = source.get("base64") or source.get("data") or block.get("file_data") or ""
    if isinstance(source.get("text"), str) or source.get("type") in ("text", "content"):
        return sum(counter.count(text) for text in _strings(block))
    size = len(data) * 3 // 4 if isinstance(data, str) else len(bytes(data))
    text = partial(_decoded, data) if isinstance(data, str) else None
    return media_tokens(medium_of(kind, mime), counter, mime=mime, size=size, text=text)


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data).decode(errors="replace")
    except ValueError:
        return data


def _strings(value: Any) -> list[str]:
    """Every text inside a block."""
    if isinstance(value, str):
        return [cleaned(value)]
    if isinstance(value, Mapping):
        inner = [item for key, item in value.items() if key not in _UNSEEN]
        return [text for item in inner for text in _strings(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    return []
