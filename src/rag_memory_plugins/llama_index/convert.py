"""LlamaIndex chat messages to and from `Message`, losing nothing.

What a `Message` has no field for (block order, thinking, documents, other additional_kwargs) is
kept in its metadata under "llama_index", and only then: a plain message stores no metadata.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from pydantic import ValidationError

from rag_memory_plugins.llama_index.blocks import COUNTED, KEY, calls, dump, images, plain
from rag_memory_plugins.memory.joining import joined
from rag_memory_plugins.memory.units import SHORTENED
from rag_memory_plugins.types import Message, Role

if TYPE_CHECKING:
    from rag_memory_plugins.memory.rendering import Fence

__all__ = [
    "ROLES",
    "SESSION",
    "known_ids",
    "put_in",
    "render",
    "to_chat",
    "to_message",
    "to_messages",
]

INJECTED: Final = "rag_memory"  # the metadata key of a block that we put into a prompt
SESSION: Final = "session_id"
"""Key of additional_kwargs under which LlamaIndex's `Memory` tells its blocks the session."""
ROLES: Final[Mapping[MessageRole, Role]] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


class _Identities:
    """Which `Message` a ChatMessage object is, for as long as that object lives.

    A ChatMessage has no id. One in additional_kwargs would reach the provider, where several
    integrations send every key, so the object itself is the identity: the same object put again
    is a retry, an equal one is another message. An object that was edited since is another too.
    None stands for a block of ours, which nobody said.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[ChatMessage], object, Message | None]] = {}

    def remember(self, chat: ChatMessage, message: Message | None) -> None:
        key = id(chat)
        # The callback runs before the address can be given to another object.
        ref = weakref.ref(chat, lambda _: self._known.pop(key, None))
        self._known[key] = (ref, _look(chat), message)

    def find(self, chat: ChatMessage) -> tuple[bool, Message | None]:
        """Whether the object is known and unchanged, and what it is."""
        entry = self._known.get(id(chat))
        if entry is None or entry[0]() is not chat or entry[1] != _look(chat):
            return False, None
        return True, entry[2]


def _look(chat: ChatMessage) -> object:
    # The session is a mark that `Memory` leaves on a message for its blocks; nobody said it.
    kwargs = chat.additional_kwargs.keys() - {SESSION}
    return (chat.role, chat.content, len(chat.blocks), len(kwargs))


_identities: Final = _Identities()


def to_messages(
    chats: Iterable[ChatMessage], fence: re.Pattern[str], marks: Collection[str] = ()
) -> list[Message]:
    """What was said, without the blocks that we put in; the same object gives the same id.

    A copy of a chat message that `render` made is not known as an object any more, so what
    `fence` matches is taken out of the texts. `marks` are keys of additional_kwargs that are no
    part of what was said.
    """
    messages = []
    for chat in chats:
        known, message = _identities.find(chat)
        if not known:
            said = _unfenced(_unmarked(chat, marks), fence)
            message = None if said is None else to_message(said)
            _identities.remember(chat, message)
        if message is not None:
            messages.append(message)
    return messages


def known_ids(chats: Iterable[ChatMessage]) -> list[str]:
    """Ids of those chat messages that are objects of a log already."""
    found = [_identities.find(chat)[1] for chat in chats]
    return [message.id for message in found if message is not None]


def _unmarked(chat: ChatMessage, marks: Collection[str]) -> ChatMessage:
    if not chat.additional_kwargs.keys() & set(marks):
        return chat
    kwargs = {key: value for key, value in chat.additional_kwargs.items() if key not in marks}
    return chat.model_copy(update={"additional_kwargs": kwargs})


def put_in(fence: Fence) -> re.Pattern[str]:
    """What matches the blocks of ours in a conversation's prompts, and no one else's text.

    LlamaIndex's `Memory` writes all its blocks into one text between <memory> tags: with ours, all
    of it.
    """
    other = r"(?:(?!</?memory>).)*?"
    fenced = rf"<({fence.tag}\d*)>\n.*?\n</\1>\n*"
    framed = rf"\s*<memory>{other}<({fence.tag}\d*)>\n.*?\n</\2>{other}</memory>\s*"
    return re.compile(f"{fenced}|{framed}", re.DOTALL)


def _unfenced(chat: ChatMessage, fence: re.Pattern[str]) -> ChatMessage | None:
    if not any(isinstance(b, TextBlock) and fence.search(b.text) for b in chat.blocks):
        return chat
    bare = [
        TextBlock(text=fence.sub("", block.text)) if isinstance(block, TextBlock) else block
        for block in chat.blocks
    ]
    left = [block for block in bare if not isinstance(block, TextBlock) or block.text]
    return chat.model_copy(update={"blocks": left}) if left else None


def to_message(chat: ChatMessage) -> Message:
    """`chat` as a `Message` with a new id; raises `InvalidMessage`, naming the field."""
    role = ROLES[chat.role]
    kwargs = chat.additional_kwargs
    name = kwargs.get("name")
    call_id = kwargs.get("tool_call_id") or name if role == "tool" else None
    message = Message(
        role,
        chat.content or "",
        name=name if isinstance(name, str) else None,
        tool_calls=calls(chat) if role == "assistant" else (),
        tool_call_id=call_id,
        images=images(chat),
    )
    wanted, usual = dump(chat), dump(plain(message))
    lost = {field: value for field, value in wanted.items() if usual[field] != value}
    return replace(message, metadata={KEY: lost}) if lost else message


def to_chat(message: Message, *, whole: bool = True) -> ChatMessage:
    """`message` as LlamaIndex holds it, exactly as it came if it came from there.

    Without `whole`, only blocks that token budgets count: text, images, tool calls.
    """
    chat = usual = plain(message)
    lost = message.metadata.get(KEY)
    if isinstance(lost, Mapping):
        data = {**dump(usual), **lost}
        if SHORTENED in message.metadata:
            data["blocks"] = dump(usual)["blocks"]  # the stored ones hold the whole text
        elif not whole:
            counted = [b for b in data["blocks"] if b.get("block_type") in COUNTED]
            data["blocks"] = counted or dump(usual)["blocks"]
        try:
            chat = ChatMessage.model_validate(data)
        except ValidationError:
            # A block that named a file which is gone; the plain form still says what was said.
            chat = usual
    _identities.remember(chat, message)
    return chat


def render(messages: Sequence[Message], *, answers: bool = True) -> list[ChatMessage]:
    """The messages of a `Context` as chat messages.

    Blocks that no budget counts (documents, audio, thinking) stay only from the last user message
    on, and without `answers` in that message alone.
    """
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    spoken = [i for i, m in enumerate(messages) if m.role == "user" and INJECTED not in m.metadata]
    last_user = spoken[-1] if spoken else last_user
    chats: list[ChatMessage] = []
    for place, made in joined(messages):
        blocks = [message.content for message in made]
        if place is None:
            chats.append(_alone(blocks))
            continue
        whole = place >= last_user if answers else place == last_user
        chat = to_chat(messages[place], whole=whole)
        chats.append(_joined(blocks, chat, messages[place]) if blocks else chat)
    return chats


def _joined(fences: Sequence[str], chat: ChatMessage, source: Message) -> ChatMessage:
    blocks = [*(TextBlock(text=fence) for fence in fences), *chat.blocks]
    both = ChatMessage(
        role=chat.role, blocks=blocks, additional_kwargs=dict(chat.additional_kwargs)
    )
    _identities.remember(both, source)
    return both


def _alone(fences: Sequence[str]) -> ChatMessage:
    blocks = [TextBlock(text=fence) for fence in fences]
    chat = ChatMessage(role=MessageRole.USER, blocks=blocks)
    _identities.remember(chat, None)
    return chat
