"""The log as a LangChain chat message history, for `RunnableWithMessageHistory`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput, MessageConflict
from rag_memory_plugins.events import Event
from rag_memory_plugins.langchain.convert import injected, minted, same, to_langchain, to_message
from rag_memory_plugins.langchain.rendering import is_shortened, rendered
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import blocking, strict
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.portal import Portal

__all__ = ["LogChatMessageHistory"]


class LogChatMessageHistory(BaseChatMessageHistory):
    """A conversation as `get_session_history` of a `RunnableWithMessageHistory` gives it.

    `messages` is the whole session as it was said. With `budget` it is a context of at most so many
    tokens instead: pins, first goal, summary and the latest turns, a tool call never parted from its
    results; the log keeps the rest. The question is not known here, so nothing is recalled for it:
    `chat` and `MemoryMiddleware` do that. A last user message over the budget leaves the context
    empty, and an event `history.degraded` tells it.

    A message is known by its id, which one without is given when it is added: the same object
    again is stored once, equal ones are as many messages. What a budget shortened or put in is not
    stored when it comes back. Raises `MessageConflict` for an id that was said otherwise, and
    stores nothing then. `clear` erases the session from every file.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     history = LogChatMessageHistory(memory.conversation("acme", "ann", "monday"))
    ...     history.add_user_message("I moved to Lisbon in May")
    ...     [message.content for message in history.messages]
    ['I moved to Lisbon in May']
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self, conversation: Conversation, *, budget: int | TokenBudget | None = None
    ) -> None:
        if not isinstance(conversation, Conversation):
            raise InvalidInput(
                "conversation", conversation, "pass memory.conversation(tenant, user, session)"
            )
        super().__init__()
        self.conversation = conversation
        self.budget = None if budget is None else TokenBudget.of(budget)
        self._read: tuple[str, list[BaseMessage]] | None = None

    def __repr__(self) -> str:
        limit = "" if self.budget is None else f", {self.budget.total} tokens"
        return f"{type(self).__name__}({self.conversation.namespace.key!r}{limit})"

    @property
    def portal(self) -> Portal:
        """Where the sync methods run."""
        return self.conversation.portal

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # an attribute in the base
        """Sync form of `aget_messages`."""
        return self.get_messages()

    async def aget_messages(self) -> list[BaseMessage]:
        """The session's messages, oldest first; with a budget, its context."""
        if self.budget is None:
            return [to_langchain(message) for message in await self.conversation.amessages()]
        last = await self.conversation.arecent(1)
        if not last:
            return []
        # RunnableWithMessageHistory reads before and after a run, and takes what is longer than
        # the first reading for new: between two writes both must be the same.
        if self._read is None or self._read[0] != last[0].id:
            self._read = (last[0].id, await self._acontext(self.budget))
        return list(self._read[1])

    async def _acontext(self, budget: TokenBudget) -> list[BaseMessage]:
        try:
            context = await self.conversation.acontext("", budget)
        except BudgetTooSmall as error:
            # An old question must not stop the next one.
            scope = self.conversation.namespace.scope.key
            event = Event("history.degraded", scope, data={"error": type(error).__name__})
            self.conversation.memory.emit(event)
            return []
        return rendered(context.messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store all of `messages` or none; on disk when this returns."""
        given = [message for message in messages if not injected(message)]
        for message in given:
            minted(message)
        said = [to_message(message) for message in given]
        if not said:
            return
        try:
            await self.conversation.aadd(said)
        except MessageConflict:
            cut = {message.id for message in given if message.id and is_shortened(message)}
            new = await self._anew(said, cut)
            if new:
                await self.conversation.aadd(new)
        self._read = None

    async def _anew(self, said: Sequence[Message], cut: set[str]) -> list[Message]:
        """`said` without what the log gave out and holds otherwise: its metadata, its full text."""
        windows = await self.conversation.aaround([message.id for message in said], 0, 0)
        held = {message.id: message for window in windows for message in window}
        return [
            message
            for message in said
            if message.id not in held
            or (message.id not in cut and same(message) != same(held[message.id]))
        ]

    async def aclear(self) -> None:
        """Erase the session, and all that was derived from it, from every file."""
        await self.conversation.aerase("session")
        self._read = None

    get_messages = blocking(aget_messages)
    add_messages = blocking(aadd_messages)
    clear = blocking(aclear)
