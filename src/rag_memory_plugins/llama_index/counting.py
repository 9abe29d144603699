"""Chat messages as a budget counts them: every block costs something.

LlamaIndex counts tool calls, thinking and citable blocks as nothing in some of its versions
(#21950). Here text, images and tool calls are counted by the memory's rules and the other blocks
are estimated: thinking and cited text by their text or what the model said they took; documents by
their text, or an eighth of their bytes; audio and video by their length where LlamaIndex tells it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from rag_memory_plugins.llama_index.blocks import KEY, calls
from rag_memory_plugins.llama_index.compat import at_once
from rag_memory_plugins.llama_index.convert import ROLES, to_chat
from rag_memory_plugins.memory.media import LEAST, cleaned, media_tokens, sized
from rag_memory_plugins.tokens import image_tokens
from rag_memory_plugins.types import Image, Message, ToolCall

if TYPE_CHECKING:
    from llama_index.core.tools import BaseTool

    from rag_memory_plugins.ports import TokenCounter

__all__ = ["as_counted", "tool_tokens", "uncounted", "with_content"]


def as_counted(chat: ChatMessage, counter: TokenCounter) -> Message:
    """`chat` as a message of its size: for counting and cutting, never for storing.

    Nothing is read or fetched but a document's own file. A result of a tool that names no call is
    taken for one all the same.
    """
    role = ROLES[chat.role]
    kwargs = chat.additional_kwargs
    name = kwargs.get("name")
    call_id = cleaned(str(kwargs.get("tool_call_id") or name or "result"))[:64]
    made = [ToolCall(cleaned(c.id), cleaned(c.name), cleaned(c.arguments)) for c in calls(chat)]
    extra = sum(_extra(block, counter) for block in chat.blocks)
    message = Message(
        role,
        "",
        # Part of the mark in a shortened text, which must be the same in every request.
        id=call_id if role == "tool" else role,
        name=cleaned(name) if isinstance(name, str) else None,
        tool_calls=tuple(made) if role == "assistant" else (),
        tool_call_id=call_id if role == "tool" else None,
        images=tuple(_image(block) for block in chat.blocks if _kind(block) == "image"),
    )
    return sized(message, chat.content or "", extra)


def uncounted(message: Message, counter: TokenCounter) -> int:
    """Tokens of the blocks that a stored `message` has no field for, if it is shown whole."""
    lost = message.metadata.get(KEY)
    if not isinstance(lost, Mapping) or "blocks" not in lost:
        return 0
    return sum(_extra(block, counter) for block in to_chat(message).blocks)


def with_content(chat: ChatMessage, text: str) -> ChatMessage:
    """A copy of `chat` with another text; its other blocks stay."""
    others = [block for block in chat.blocks if _kind(block) != "text"]
    return chat.model_copy(update={"blocks": [TextBlock(text=text), *others]})


def tool_tokens(tools: Sequence[BaseTool], counter: TokenCounter) -> int:
    """Tokens of the tools' schemas as JSON, which is how most models are told of them."""
    schemas = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
    return sum(counter.count(json.dumps(schema, ensure_ascii=False)) for schema in schemas)


def _kind(block: Any) -> str:
    return str(getattr(block, "block_type", ""))


def _image(block: Any) -> Image:
    # Only the detail counts; the picture itself may be large, or far away.
    return Image("image", detail="low" if block.detail == "low" else "auto")


def _extra(block: Any, counter: TokenCounter) -> int:
    """Tokens of a block that a `Message` has no field for."""
    kind = _kind(block)
    if kind in ("text", "image", "tool_call", "cache"):
        return 0
    if kind == "thinking":
        return max(block.num_tokens or 0, counter.count(block.content or ""))
    if kind in ("citable", "citation"):
        return _cited(block, counter)
    if kind in LEAST:
        return _media(block, kind, counter)
    return counter.count(block.model_dump_json())


def _cited(block: Any, counter: TokenCounter) -> int:
    content = block.content if _kind(block) == "citable" else [block.cited_content]
    tokens = counter.count(block.title) + counter.count(block.source)
    for part in content:
        tokens += counter.count(part.text) if _kind(part) == "text" else 0
        tokens += image_tokens(_image(part)) if _kind(part) == "image" else 0
        tokens += _extra(part, counter)
    return tokens


def _media(block: Any, kind: str, counter: TokenCounter) -> int:
    """Tokens of a document, or of audio and video by their length."""
    least = media_tokens(kind, counter)
    if block.url is not None and not str(block.url).startswith("data:"):
        return least  # nothing is fetched only to be counted
    try:
        if kind == "document":
            return _document(block, counter)
        return media_tokens(kind, counter, known=_length(block))
    except Exception:  # whatever a parser or a missing file raises: the least estimate stands
        return least


def _document(block: Any, counter: TokenCounter) -> int:
    buffer = block.resolve_document()
    data: bytes = buffer.read()
    buffer.seek(0)
    text = partial(data.decode, errors="replace")
    mime = block.document_mimetype or ""
    return media_tokens("document", counter, mime=mime, size=len(data), text=text)


def _length(block: Any) -> int:
    """What LlamaIndex makes of a medium's length; core before 0.14.15 does not tell."""
    if not hasattr(block, "aestimate_tokens"):
        return 0
    return at_once(block.aestimate_tokens()) or 0  # it reads bytes that are here
