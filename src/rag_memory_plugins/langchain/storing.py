"""What of a running turn is stored, and when it is stored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage, HumanMessage

from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.langchain.cleaning import storable
from rag_memory_plugins.langchain.convert import minted, to_message
from rag_memory_plugins.langchain.marking import made_up
from rag_memory_plugins.langchain.prompt import turn_start

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.types import Message

__all__ = ["answered", "astore", "unstored"]


def answered(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What was said in the running turn since the user spoke.

    What the user said is stored before the call, as the request has it: a middleware in front of
    this one may have redacted there what the state still holds.
    """
    turn = messages[turn_start(messages) :]
    return [message for message in turn if not isinstance(message, HumanMessage)]


async def astore(conversation: Conversation, new: list[Message], stored: dict[str, str]) -> None:
    """Store messages in one write, and note that in `stored`: digests by id."""
    if not new:
        return
    try:
        await conversation.aadd(new)
    except MessageConflict:
        await _areplace(conversation, new)
    stored.update((message.id, message.digest) for message in new)


def unstored(
    turn: Sequence[BaseMessage], stored: Mapping[str, str], *, changed: bool
) -> list[Message]:
    """The messages of `turn` that are not stored yet; with `changed`, those stored otherwise too."""
    for message in turn:
        minted(message)
    said = (item for item in turn if not made_up(item))
    if not changed:
        said = (item for item in said if item.id not in stored)
    plain = (to_message(storable(item)) for item in said)
    return [message for message in plain if stored.get(message.id) != message.digest]


async def _areplace(conversation: Conversation, messages: list[Message]) -> None:
    """Store `messages`; one whose id is taken by other content takes its place.

    LangGraph replaces a message by one of the same id: a reviewed tool call, a redacted text.
    What was replaced there must not be remembered here.
    """
    for message in messages:
        try:
            await conversation.aadd(message)
        except MessageConflict:
            await conversation.aforget([message.id])
            await conversation.aadd(message)
