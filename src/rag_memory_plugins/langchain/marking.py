"""What we put into a prompt, marked in response_metadata, so that nobody takes it for said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage

__all__ = ["MARK", "Block", "alone", "blocks_of", "fenced", "injected", "made_up", "said"]

Block: TypeAlias = tuple[str, str]
"""Text of ours for a prompt: the part of a context it is ("recalled", "anchors"), and the text."""
MARK: Final = "rag_memory"  # on what we put into a prompt: the key core uses in a context


def fenced(message: BaseMessage, blocks: Sequence[Block]) -> BaseMessage:
    """A copy of `message` with blocks of ours before what it says, marked as such.

    The mark is in response_metadata, which is sent to no provider.
    """
    text = _joined(blocks)
    content: Any = f"{text}\n\n{message.content}"
    if not isinstance(message.content, str):
        content = [{"type": "text", "text": text}, *message.content]
    mark = {"said": said(message).content, "blocks": [*blocks, *blocks_of(message)]}
    metadata = {**message.response_metadata, MARK: mark}
    return message.model_copy(update={"content": content, "response_metadata": metadata})


def alone(blocks: Sequence[Block]) -> BaseMessage:
    """A user message of our blocks alone, which nobody said."""
    return HumanMessage(_joined(blocks), response_metadata={MARK: {"blocks": [*blocks]}})


def _joined(blocks: Sequence[Block]) -> str:
    return "\n\n".join(text for _, text in blocks)


def blocks_of(message: BaseMessage) -> list[Block]:
    """The blocks that a memory put into a message."""
    mark = message.response_metadata.get(MARK)
    return list(mark.get("blocks", ())) if isinstance(mark, Mapping) else []


def injected(message: BaseMessage) -> bool:
    """Whether the whole message is ours."""
    return bool(blocks_of(message)) and "said" not in message.response_metadata[MARK]


def made_up(message: BaseMessage) -> bool:
    """Whether nobody said the message: it is ours, or a summary that LangChain's middleware wrote."""
    return injected(message) or "lc_source" in message.additional_kwargs


def said(message: BaseMessage) -> BaseMessage:
    """`message` without the blocks that `fenced` put in."""
    mark = message.response_metadata.get(MARK)
    if not isinstance(mark, Mapping) or "said" not in mark:
        return message
    left = {k: v for k, v in message.response_metadata.items() if k != MARK}
    return message.model_copy(update={"content": mark["said"], "response_metadata": left})
