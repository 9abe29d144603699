"""The messages of a context as a chain or a model gets them."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from rag_memory_plugins.langchain.convert import to_langchain
from rag_memory_plugins.langchain.marking import MARK, Block, alone, fenced
from rag_memory_plugins.memory.joining import joined
from rag_memory_plugins.memory.units import SHORTENED
from rag_memory_plugins.types import Message

__all__ = ["is_shortened", "rendered"]


def rendered(messages: Sequence[Message], question: BaseMessage | None = None) -> list[BaseMessage]:
    """`messages` of a `Context`; `question` takes the place of the last one a user said.

    Content that no budget counts is in `question` alone.
    """
    asked = [i for i, m in enumerate(messages) if m.role == "user" and MARK not in m.metadata]
    last = asked[-1] if asked and question is not None else None
    shown: list[BaseMessage] = []
    for place, made in joined(messages):
        blocks = [(str(message.metadata[MARK]), message.content) for message in made]
        if place is None:
            shown.append(alone(blocks))
            continue
        said = question if place == last and question is not None else _shown(messages[place])
        shown.append(_fenced(said, blocks) if blocks else said)
    return shown


def is_shortened(message: BaseMessage) -> bool:
    """Whether its text was shortened for a prompt, so that it is not what was said."""
    mark = message.response_metadata.get(MARK)
    return isinstance(mark, dict) and SHORTENED in mark


def _shown(message: Message) -> BaseMessage:
    shown = to_langchain(message, whole=False)
    if SHORTENED in message.metadata:
        shown.response_metadata = {MARK: {SHORTENED: message.metadata[SHORTENED]}}
    return shown


def _fenced(message: BaseMessage, blocks: Sequence[Block]) -> BaseMessage:
    joined = fenced(message, blocks)
    if is_shortened(message):
        mark = {**message.response_metadata[MARK], **joined.response_metadata[MARK]}
        joined.response_metadata = {**joined.response_metadata, MARK: mark}
    return joined
