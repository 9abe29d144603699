"""Chat messages as a budget counts them: every block costs something.

LlamaIndex counts tool calls, thinking and citable blocks as nothing in some of its versions
(#21950). Here text, images and tool calls are counted by the memory's rules and the other blocks
are estimated: thinking and cited text by their text or what the model said they took; documents by
their text, or an eighth of their bytes; audio and video by their length where LlamaIndex tells it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from rag_memory_plugins.llama_index.blocks import KEY, calls
from rag_memory_plugins.llama_index.compat import at_once
from rag_memory_plugins.llama_index.convert import ROLES, to_chat
from rag_memory_plugins.tokens import image_tokens
from rag_memory_plugins.types import Image, Message, ToolCall

if TYPE_CHECKING:
    from llama_index.core.tools import BaseTool

    from rag_memory_plugins.ports import TokenCounter

__all__ = ["BlockCounter", "as_counted", "tool_tokens", "uncounted", "with_content"]

EXTRA: Final = "rag_memory_blocks"
"""Metadata key: tokens of a message's blocks that no rule is published for."""
_LEAST: Final = {"audio": 256, "video": 2048, "document": 512}
"""What LlamaIndex takes a medium for whose length it cannot tell."""
_BYTES: Final = 8  # of a binary document, a token: pages of text are about that dense


class BlockCounter:
    """A counter that also counts the blocks which `as_counted` wrote beside a message.

    >>> from llama_index.core.base.llms.types import DocumentBlock
    >>> from rag_memory_plugins.tokens import make_counter
    >>> counter = BlockCounter(make_counter("words"))
    >>> block = DocumentBlock(data=b"It is green.", document_mimetype="text/plain")
    >>> counter.count_messages([as_counted(ChatMessage(blocks=[block]), counter)])
    519
    """

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self.name = counter.name
        self.exact = counter.exact

    def count(self, text: str) -> int:
        """Tokens of one text."""
        return self._counter.count(text)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order."""
        return self._counter.count_batch(texts)

    def count_messages(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages as a chat request."""
        extra: int = sum(message.metadata.get(EXTRA, 0) for message in messages)
        return self._counter.count_messages(messages) + extra


def as_counted(chat: ChatMessage, counter: TokenCounter) -> Message:
    """`chat` as a message of its size: for counting and cutting, never for storing.

    Nothing is read or fetched but a document's own file. A result of a tool that names no call is
    taken for one all the same.
    """
    role = ROLES[chat.role]
    kwargs = chat.additional_kwargs
    name = kwargs.get("name")
    call_id = _clean(str(kwargs.get("tool_call_id") or name or "result"))[:64]
    made = [ToolCall(_clean(c.id), _clean(c.name), _clean(c.arguments)) for c in calls(chat)]
    extra = sum(_extra(block, counter) for block in chat.blocks)
    message = Message(
        role,
        "",
        # Part of the mark in a shortened text, which must be the same in every request.
        id=call_id if role == "tool" else role,
        name=_clean(name) if isinstance(name, str) else None,
        tool_calls=tuple(made) if role == "assistant" else (),
        tool_call_id=call_id if role == "tool" else None,
        images=tuple(_image(block) for block in chat.blocks if _kind(block) == "image"),
    )
    # As it stands in the chat: it is counted, not stored, and a log's rules do not hold for it.
    return message.shown_as(_clean(chat.content or ""), {EXTRA: extra} if extra else {})


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


def _clean(text: str) -> str:
    """`text` without what cannot be encoded: a tool may have given anything."""
    text = text.replace("\x00", " ")
    return text if text.isascii() else text.encode(errors="replace").decode()


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
    if kind in _LEAST:
        return max(_LEAST[kind], _media(block, kind, counter))
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
    """Tokens of a document, by its text or size; of audio and video, by their length; else 0."""
    if block.url is not None and not str(block.url).startswith("data:"):
        return 0  # nothing is fetched only to be counted
    try:
        return _document(block, counter) if kind == "document" else _length(block)
    except Exception:  # whatever a parser or a missing file raises: the least estimate stands
        return 0


def _document(block: Any, counter: TokenCounter) -> int:
    buffer = block.resolve_document()
    data: bytes = buffer.read()
    buffer.seek(0)
    kind = block.document_mimetype or ""
    if kind.startswith("text/") or kind.endswith(("json", "xml", "yaml")):
        return counter.count(data.decode(errors="replace"))
    return len(data) // _BYTES


def _length(block: Any) -> int:
    """What LlamaIndex makes of a medium's length; core before 0.14.15 does not tell."""
    if not hasattr(block, "aestimate_tokens"):
        return 0
    return at_once(block.aestimate_tokens()) or 0  # it reads bytes that are here
