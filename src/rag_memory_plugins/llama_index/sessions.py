"""One user's conversations by the session ids that LlamaIndex's `Memory` hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ChatMessage

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.convert import SESSION, put_in, to_messages
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Scope, SharedUser
from rag_memory_plugins.types import Message

__all__ = ["Sessions", "said_in"]


@dataclass(frozen=True)
class Sessions:
    """The conversations of one user of a memory. Raises `InvalidInput`, `InvalidNamespace`."""

    memory: Memory
    tenant: str
    user: str | SharedUser

    def __post_init__(self) -> None:
        if not isinstance(self.memory, Memory):
            got = f"{type(self.memory).__module__}.{type(self.memory).__name__}"
            raise InvalidInput("memory", got, "pass what rag_memory_plugins.open_memory() gave")
        Scope(self.tenant, self.user)

    @property
    def scope(self) -> Scope:
        """Who remembers."""
        return Scope(self.tenant, self.user)

    def conversation(self, session: str) -> Conversation:
        """The session's conversation; raises `InvalidNamespace` for what cannot name one."""
        return self.memory.conversation(self.tenant, self.user, session)


def said_in(conversation: Conversation, chats: Sequence[ChatMessage]) -> list[Message]:
    """What was said, by whoever said it, without what `put_in` matches."""
    return to_messages(chats, put_in(conversation.fence), (SESSION,))
