"""The log as the chat store of LlamaIndex's `Memory`."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.llama_index.convert import to_chat
from rag_memory_plugins.llama_index.sessions import Sessions, said_in
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.overlapping import held
from rag_memory_plugins.namespace import SharedUser
from rag_memory_plugins.portal import strict
from rag_memory_plugins.ports import StoredMessage

__all__ = ["LogChatStore"]

# What this task read last: the conversation's fence, which no other has, and ids in order.
_read: Final = contextvars.ContextVar[tuple[str, tuple[str, ...]] | None](
    "rag_memory_read", default=None
)


class LogChatStore(AsyncDBChatStore):
    """A user's log as `Memory.from_defaults(chat_store=...)`, `Memory(sql_store=...)`; key: session.

    Versions whose `Memory` takes only its own class take this one by `memory.sql_store = store`.

    Every message is in the log once, and stays there: archived messages are out of `Memory`'s
    queue, but `RecallMemoryBlock` and every other door to the log find them. The same object
    added again is a retry. Archived or not outlives the process.

    `Memory` archives by number what it has read a moment ago. Here the oldest n are those of what
    the same task read last, so two that flush at once archive the same messages, and none that
    neither has handed to its blocks.

    >>> import asyncio, tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     store = LogChatStore(memory, "acme", "ann")
    ...     asyncio.run(store.add_message("monday", ChatMessage("I moved to Lisbon in May")))
    ...     _ = asyncio.run(store.archive_oldest_messages("monday", 1))
    ...     found = memory.conversation("acme", "ann", "tuesday").search("Where did I move?")
    ...     asyncio.run(store.get_messages("monday")), found[0].message.content
    ([], 'I moved to Lisbon in May')
    >>> folder.cleanup()
    """

    scope: str
    _sessions: Sessions = PrivateAttr()

    @strict
    def __init__(self, memory: Memory, tenant: str, user: str | SharedUser) -> None:
        sessions = Sessions(memory, tenant, user)
        fields: dict[str, Any] = {"scope": sessions.scope.key}
        super().__init__(**fields)
        self._sessions = sessions

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex knows the store by."""
        return "LogChatStore"

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Messages of the session, oldest first: `limit` of them after the first `offset`."""
        if status != MessageStatus.ACTIVE:
            found = await self._listed(key, status, limit=limit, offset=offset or 0)
            return [to_chat(item.message) for item in found]
        found = await self._listed(key, status)
        self._remember(key, [item.message.id for item in found])
        start = offset or 0
        stop = None if limit is None else start + limit
        return [to_chat(item.message) for item in found[start:stop]]

    async def count_messages(
        self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE
    ) -> int:
        """How many messages the session has of that status; None: of any."""
        conversation = self._sessions.conversation(key)
        aside = None if status is None else _is_archived(status)
        memory = self._sessions.memory
        return await memory.portal.acall(memory.log.acounted(conversation.namespace, aside))

    async def add_message(
        self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Store one message; it is on disk when this returns."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Store all of `messages` or none. What a block put into one of them is left out."""
        aside = _is_archived(status)
        conversation = self._sessions.conversation(key)
        said = said_in(conversation, messages)
        if said:
            await conversation.aadd(said)
        if said and aside:
            await self._archive(conversation, [message.id for message in said])

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Make `messages` the session's messages of that status; nothing is deleted.

        What the log holds of them already, in their order, is not stored again; what it holds
        beside them is archived. So an agent that is given `chat_history` neither doubles the log
        nor wipes it. `delete_messages` deletes.
        """
        aside = _is_archived(status)
        conversation = self._sessions.conversation(key)
        said = said_in(conversation, messages)
        log = [item.message for item in await self._listed(key, None)]
        active = {item.message.id for item in await self._listed(key, MessageStatus.ACTIVE)}
        places = held(log, said)
        kept = {log[at].id for at in places}
        if new := said[len(places) :]:
            new_ids = {message.id for message in await conversation.aadd(new)}
            kept |= new_ids
            active |= new_ids
        wanted = set() if aside else kept
        await self._archive(conversation, sorted(active - wanted))
        await self._archive(conversation, sorted(wanted - active), archived=False)
        _read.set(None)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Erase the message at place `idx` of all the session's, from 0; None if there is none."""
        chosen = await self._listed(key, None, limit=1, offset=idx) if idx >= 0 else []
        return next(iter(await self._forget(key, chosen)), None)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Erase the session from every file, or its messages of one status."""
        if status is None:
            await self._sessions.conversation(key).aerase("session")
            _read.set(None)
        else:
            await self._forget(key, await self._listed(key, status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Erase the oldest n active messages from every file, and return them."""
        oldest = await self._listed(key, MessageStatus.ACTIVE, limit=max(0, n))
        return await self._forget(key, oldest)

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest n of the active messages that this task read last; return them.

        Where it read none, or fewer, of those that are active now.
        """
        conversation = self._sessions.conversation(key)
        read = _read.get()
        ids = list(read[1]) if read and read[0] == conversation.fence.digits else []
        if len(ids) < n:
            active = await self._listed(key, MessageStatus.ACTIVE)
            ids += [item.message.id for item in active if item.message.id not in set(ids)]
        found = await self._archive(conversation, ids[: max(0, n)])
        self._remember(key, ids[max(0, n) :])
        return [to_chat(item.message) for item in found]

    async def get_keys(self) -> list[str]:
        """The user's sessions that hold a message, in the order they began."""
        memory = self._sessions.memory
        return await memory.portal.acall(memory.log.asessions(self._sessions.scope))

    async def _listed(
        self, key: str, status: MessageStatus | None, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredMessage]:
        conversation = self._sessions.conversation(key)
        aside = None if status is None else _is_archived(status)
        memory = self._sessions.memory
        return await memory.portal.acall(
            memory.log.alisted(conversation.namespace, aside, limit=limit, offset=offset)
        )

    async def _archive(
        self, conversation: Conversation, ids: Sequence[str], *, archived: bool = True
    ) -> list[StoredMessage]:
        memory = self._sessions.memory
        if not ids:
            return []
        return await memory.portal.acall(
            memory.log.aarchive(conversation.namespace, ids, archived=archived)
        )

    async def _forget(self, key: str, chosen: Sequence[StoredMessage]) -> list[ChatMessage]:
        if chosen:
            await self._sessions.conversation(key).aforget([item.message.id for item in chosen])
            _read.set(None)
        return [to_chat(item.message) for item in chosen]

    def _remember(self, key: str, ids: Sequence[str]) -> None:
        _read.set((self._sessions.conversation(key).fence.digits, tuple(ids)))


def _is_archived(status: MessageStatus) -> bool:
    try:
        return MessageStatus(status) is MessageStatus.ARCHIVED
    except ValueError as error:
        names = [item.value for item in MessageStatus]
        raise InvalidInput("status", status, nearest(str(status), names)) from error
