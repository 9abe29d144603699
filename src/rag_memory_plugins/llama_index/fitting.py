"""A chat request made to fit, in LlamaIndex's words. What is not changed stays the same object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.llama_index.counting import as_counted, with_content
from rag_memory_plugins.memory.draft import TITLES
from rag_memory_plugins.memory.fitting import Fitted, fitted
from rag_memory_plugins.memory.media import BlockCounter
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.memory.rendering import Fence
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["FittedChats", "fitted_chats"]

# How ReActAgent and CodeActAgent begin the user messages in which they hand a tool's result, or
# what was wrong with the last answer, back to the model.
_HANDED_BACK: Final = (
    "Observation:",
    "Result of executing the code given:",
    "Error while parsing the output:",
    "FAILURE: Your previous response was empty.",
)


@dataclass(frozen=True)
class FittedChats:
    """Chat messages within their tokens; `removed` tokens are gone, `degraded` says what hurts."""

    chats: list[ChatMessage]
    tokens: int
    removed: int
    degraded: tuple[str, ...] = ()


def fitted_chats(
    chats: Sequence[ChatMessage], room: int, counter: TokenCounter, fence: Fence | None = None
) -> FittedChats:
    """`chats` in at most `room` tokens by the rules of `memory.fitting.fitted`.

    `fence` tells the blocks that a memory put in: pins of a message that has to go move to the
    next user message, and what was recalled goes before the request is refused. Raises
    `BudgetTooSmall`.
    """
    blocks = BlockCounter(counter)
    request = _Request(list(chats), room, blocks, fence)
    before = blocks.count_messages(request.messages)
    if before <= room:
        return FittedChats(list(chats), before, 0)
    made = request.fitted()
    return replace(made, removed=before - made.tokens)


def question_of(chats: Sequence[ChatMessage]) -> int | None:
    """Where the user's last message stands that is not a tool's result; None if nowhere."""
    for at in range(len(chats) - 1, -1, -1):
        answered = at > 0 and chats[at - 1].role == MessageRole.ASSISTANT
        handed = answered and (chats[at].content or "").startswith(_HANDED_BACK)
        if chats[at].role == MessageRole.USER and not handed:
            return at
    return None


class _Request:
    """Chat messages beside the messages they are counted as."""

    def __init__(
        self, chats: list[ChatMessage], room: int, counter: BlockCounter, fence: Fence | None
    ) -> None:
        self.chats, self.room, self.counter, self.fence = chats, room, counter, fence
        self.messages = [as_counted(chat, counter) for chat in chats]
        self.question = question_of(chats)

    def fitted(self) -> FittedChats:
        try:
            made = self._cut(self.room)
        except BudgetTooSmall:
            without = self._without_recalled()
            if without is None:
                raise
            shorter = without.fitted()
            note = "recalled text left out: the request has no room for it"
            return replace(shorter, degraded=(note, *shorter.degraded))
        lost = [text for at in made.dropped for text in self._pins(at)]
        if not lost or self.question is None:
            return self._chats(made)
        return self._with_pins(made, lost)

    def _cut(self, room: int) -> Fitted:
        return fitted(self.messages, room, self.counter, question=self.question)

    def _with_pins(self, made: Fitted, lost: list[str]) -> FittedChats:
        """The request with pins carried over; without them where there is no room."""
        missing = "pins left out: the request has no room for them"
        pins = Message("user", "\n".join(lost), id="user")
        try:
            again = self._cut(self.room - self.counter.count_messages([pins]))
        except BudgetTooSmall:
            return self._chats(made, missing)
        lost = [text for at in again.dropped for text in self._pins(at)]
        host = next(at for at in again.places if self.chats[at].role == MessageRole.USER)
        blocks = [*(TextBlock(text=text) for text in lost), *self.chats[host].blocks]
        carried = self.chats[host].model_copy(update={"blocks": blocks})
        messages = dict(zip(again.places, again.messages, strict=True))
        messages[host] = as_counted(carried, self.counter)
        tokens = self.counter.count_messages(list(messages.values()))
        if tokens > self.room:
            return self._chats(made, missing)
        chats = {**dict(zip(again.places, self._chats(again).chats, strict=True)), host: carried}
        return FittedChats(list(chats.values()), tokens, 0, again.degraded)

    def _without_recalled(self) -> _Request | None:
        """The request without what a memory put into the question, if it did."""
        at, fence = self.question, self.fence
        if at is None or fence is None:
            return None
        blocks = self.chats[at].blocks
        bare = [block for block in blocks if not _ours(block, fence)]
        if not bare or len(bare) == len(blocks):
            return None
        chats = list(self.chats)
        chats[at] = chats[at].model_copy(update={"blocks": bare})
        return _Request(chats, self.room, self.counter, fence)

    def _pins(self, at: int) -> list[str]:
        """Blocks of pins that a memory put into a chat message."""
        if self.fence is None:
            return []
        title = f"\n{TITLES['anchors']}\n"
        return [
            block.text
            for block in self.chats[at].blocks
            if isinstance(block, TextBlock) and _ours(block, self.fence) and title in block.text
        ]

    def _chats(self, made: Fitted, *notes: str) -> FittedChats:
        changed = set(made.shortened)
        chats = [
            with_content(self.chats[at], message.content) if at in changed else self.chats[at]
            for at, message in zip(made.places, made.messages, strict=True)
        ]
        return FittedChats(chats, made.tokens, 0, (*made.degraded, *notes))


def _ours(block: object, fence: Fence) -> bool:
    """Whether a block is one that a memory put in, and nothing else."""
    return isinstance(block, TextBlock) and bool(block.text) and not fence.stripped(block.text)
