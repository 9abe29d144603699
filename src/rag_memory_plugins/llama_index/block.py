"""A memory block that recalls from the log, for LlamaIndex's own `Memory`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory.memory import BaseMemoryBlock
from pydantic import PrivateAttr
from typing_extensions import Self

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput, StoreError, shorten
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.llama_index import events
from rag_memory_plugins.llama_index.convert import SESSION, known_ids, put_in
from rag_memory_plugins.llama_index.sessions import Sessions, said_in
from rag_memory_plugins.llama_index.waiting import Waiting
from rag_memory_plugins.memory.arguments import checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import SharedUser
from rag_memory_plugins.portal import strict
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Level, Message

__all__ = ["RecallMemoryBlock", "Recalled"]


@dataclass(frozen=True)
class _Asked:
    """What a block was asked: in which conversation, for what, and which messages are in view."""

    conversation: Conversation
    query: str
    where: Filter | None


class Recalled(str):
    """What a block gives `Memory`: a text, with the `Context` it is of."""

    __slots__ = ("asked", "context")
    context: Context
    asked: _Asked

    def __new__(cls, context: Context, asked: _Asked) -> Self:
        made = super().__new__(cls, context.text)
        made.context = context
        made.asked = asked
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (str(self),))  # a copy of the text refers to no memory


class RecallMemoryBlock(BaseMemoryBlock[str]):
    """Recalls for the latest user text from all the user's sessions; stores what leaves the queue.

    One block serves any number of sessions: `Memory` names the session with every call. Recall is
    over all sessions of the user (`level="session"`: over the one), by the text of the last user
    message alone, and leaves out what `Memory` shows anyway if its chat store is `LogChatStore`.
    Pins come first. The text is within `budget` tokens of the memory's counter; `Memory` may have
    it shortened to what its `token_limit` leaves, unless `priority` is 0.

    What is recalled stands in fences that stored text cannot close. `Memory` puts it into the
    system message, with the authority of one; `insert_method=InsertMethod.USER` does not.

    A store that fails costs the recall, not the turn: a `DegradeEvent` says so. One that fails to
    store raises `StoreError`; `Memory` never hands those messages over again, so the block keeps
    them and stores them with the next call for the session. An erase takes them, too.

    >>> import asyncio, tempfile, pathlib
    >>> from llama_index.core.memory import Memory
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as store:
    ...     block = RecallMemoryBlock(store, "acme", "ann")
    ...     said = [ChatMessage("I moved to Lisbon in May")]
    ...     asyncio.run(block.aput(said, session_id="monday"))
    ...     question = [ChatMessage("Where did I move?")]
    ...     text = asyncio.run(block.aget(question, session_id="tuesday"))
    >>> "I moved to Lisbon in May" in text, text.context.tokens <= 1000
    (True, True)
    >>> folder.cleanup()
    """

    scope: str
    budget: TokenBudget
    level: Level
    _sessions: Sessions = PrivateAttr()
    _waiting: Waiting = PrivateAttr(default_factory=Waiting)

    @strict
    def __init__(
        self,
        memory: Memory,
        tenant: str,
        user: str | SharedUser,
        budget: int | TokenBudget = 1000,
        *,
        level: Level = "user",
        name: str = "RecalledMemory",
        description: str | None = None,
        priority: int = 1,
        accept_short_term_memory: bool = True,
    ) -> None:
        sessions = Sessions(memory, tenant, user)
        limits = TokenBudget.of(budget)
        fields: dict[str, Any] = {
            "scope": sessions.scope.key,
            # `Memory` brings the recent turns; a summary is made of them too.
            "budget": replace(limits, recent=0, summary=limits.summary or 0),
            "level": checked_level(level),
            "name": name,
            "description": description,
            "priority": priority,
            "accept_short_term_memory": accept_short_term_memory,
        }
        super().__init__(**fields)
        self._sessions = sessions
        memory.keepers.add(self._waiting)

    async def aput(
        self,
        messages: list[ChatMessage],
        from_short_term_memory: bool = False,
        session_id: str | None = None,
    ) -> None:
        """Store what `Memory` archived; the same object again is a retry and stores nothing.

        Raises `InvalidMessage` for what no log can hold, after storing the others, and
        `StoreError`; then nothing was stored and the block tries again with the next call.
        """
        if self.accept_short_term_memory or not from_short_term_memory:
            await self._astore(messages, session_id)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self._astore(messages, None)

    async def _astore(self, chats: Sequence[ChatMessage], session: str | None) -> None:
        by_session: dict[str | None, list[ChatMessage]] = {}
        for chat in chats:
            by_session.setdefault(session or chat.additional_kwargs.get(SESSION), []).append(chat)
        talks = [(self._conversation(name), some) for name, some in by_session.items()]
        failed: InvalidInput | None = None
        for conversation, some in talks:
            said: list[Message] = []
            for chat in some:
                try:
                    said += said_in(conversation, [chat])
                except InvalidInput as error:
                    failed = failed or error
            await self._waiting.astore(conversation, said)
        if failed is not None:
            raise failed

    async def _aget(
        self,
        messages: list[ChatMessage] | None = None,
        session_id: str | None = None,
        **block_kwargs: Any,
    ) -> str:
        chats = messages or []
        conversation = self._conversation(session_id)
        asked = _Asked(conversation, _question(conversation, chats), _unseen(conversation, chats))
        try:
            await self._waiting.astore(conversation, ())
        except StoreError as error:
            self._degraded(conversation, "store", error)
        return await self._arecalled(asked, self.budget) or ""

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """The best of what `content` recalls in so many tokens less; None where nothing fits."""
        if not isinstance(content, Recalled):
            return None  # nothing was recalled
        count = self._sessions.memory.counter.count
        # What `Memory` writes around it, which it does not count.
        frame = f"<memory>\n<{self.name}>\n\n</{self.name}>\n</memory>\n"
        room = count(content) - max(0, tokens_to_truncate) - count(frame)
        budget = content.context.budget
        if room < 1:
            return None
        shorter = await self._arecalled(content.asked, budget.less(budget.available - room))
        if shorter is not None:
            original, kept = _size(content.context), _size(shorter.context)
            event = events.TrimEvent(
                source=content.asked.conversation.namespace.key,
                original=original,
                kept=kept,
                tokens=count(shorter),
                available=room,
                removed=original - kept,
            )
            events.dispatcher.event(event)
        return shorter

    async def _arecalled(self, asked: _Asked, budget: TokenBudget) -> Recalled | None:
        """What is recalled within a budget; None for nothing, and when the store fails."""
        conversation = asked.conversation
        try:
            context = await conversation.acontext(
                asked.query, budget, level=self.level, where=asked.where
            )
        except StoreError as error:
            self._degraded(conversation, "recall", error)
            return None
        events.assembled(conversation.namespace.key, context)
        return Recalled(context, asked) if context.text else None

    def _degraded(self, conversation: Conversation, what: str, error: StoreError) -> None:
        events.degraded(conversation.namespace.key, f"{what}: {shorten(error, 300)}")

    def _conversation(self, session: str | None) -> Conversation:
        if session is None:
            raise InvalidInput(
                "session_id", None, "Memory passes it; else pass session_id= to aget and aput"
            )
        return self._sessions.conversation(session)


def _question(conversation: Conversation, chats: Sequence[ChatMessage]) -> str:
    """What the last user message says; "" when it has no text (#19050, #23179)."""
    users = (chat for chat in reversed(chats) if chat.role == MessageRole.USER)
    text = next((chat.content or "" for chat in users), "")
    return put_in(conversation.fence).sub("", text).strip()


def _unseen(conversation: Conversation, chats: Sequence[ChatMessage]) -> Filter | None:
    """All that is not in view: what the log holds of the messages at hand is left out."""
    ids = known_ids(chats)
    if not ids:
        return None
    return ~(Filter(sessions=conversation.namespace.session) & Filter(ids=ids))


def _size(context: Context) -> int:
    return sum(len(part.messages) for part in context.parts)
