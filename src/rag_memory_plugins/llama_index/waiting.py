"""Messages that a store refused, until it takes them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.types import Message

__all__ = ["Waiting"]


class Waiting:
    """What waits to be stored, by session; an erase in this process takes its part."""

    def __init__(self) -> None:
        self._batches: dict[Namespace, list[Message]] = {}
        self._lock = threading.Lock()  # an erase comes from another thread

    def __deepcopy__(self, memo: dict[int, Any]) -> Waiting:
        return self  # a copy of a block stores for the same memory, which knows this one

    async def astore(self, conversation: Conversation, said: Sequence[Message]) -> None:
        """Store `said`, after what waits. Raises `StoreError`; then all of it waits."""
        namespace = conversation.namespace
        with self._lock:
            batch = [*self._batches.get(namespace, ()), *said]
            if batch:
                self._batches[namespace] = batch
        if not batch:
            return
        try:
            await conversation.aadd(batch)
        except (StoreError, asyncio.CancelledError):
            raise
        except BaseException:
            self._done(namespace, batch)
            raise
        self._done(namespace, batch)

    def forget(self, erased: Erased) -> None:
        """Let go of what was erased."""
        with self._lock:
            for namespace, batch in list(self._batches.items()):
                self._leave(namespace, [m for m in batch if not erased.takes(namespace, m)])

    def _done(self, namespace: Namespace, tried: Sequence[Message]) -> None:
        ids = {message.id for message in tried}
        with self._lock:
            batch = self._batches.get(namespace, ())
            self._leave(namespace, [message for message in batch if message.id not in ids])

    def _leave(self, namespace: Namespace, left: list[Message]) -> None:
        if left:
            self._batches[namespace] = left
        else:
            self._batches.pop(namespace, None)
