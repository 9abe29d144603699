"""The ports: what a `Memory` is made of. One small Protocol each, on one page.

A port that another wraps is implemented by the wrapper too, so caches, limits and fallbacks nest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.results import EraseReceipt, Hit, Stats
    from rag_memory_plugins.types import Level, Message, Messages

    Vectors = NDArray[np.float32]

__all__ = [
    "ChatModel",
    "Embedder",
    "Found",
    "MessageLog",
    "Pending",
    "Reranker",
    "StoredMessage",
    "TokenCounter",
    "VectorIndex",
]


class TokenCounter(Protocol):
    """Counts tokens. Pure and quick: it is called on the event loop."""

    name: str
    """What counts, for people: "cl100k_base", "words"."""
    exact: bool
    """False for an estimate; a `Context` then says `tokens_exact=False`."""

    def count(self, text: str) -> int:
        """Tokens of one text."""

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order."""

    def count_messages(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages as a chat request: names, tool calls and framing count."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors.

    Methods are awaited on the portal's loop and must not be bound to another loop. Blocking work
    belongs in a worker thread. Equal texts give equal vectors, whatever else is in the batch.
    """

    @property
    def fingerprint(self) -> str:
        """Model, version and dimension: vectors of two fingerprints are never compared."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""

    async def aembed_query(self, text: str) -> Vectors:
        """One question as a float32 unit vector of shape (dimension,). Raises `EmbedderError`."""

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces, float32 unit vectors of shape (pieces, dimension), in order.

        A text longer than the model reads gives several overlapping pieces; an empty text gives
        shape (0, dimension). Raises `EmbedderError`.
        """

    async def aclose(self) -> None:
        """Free threads and memory; called once, by the memory that opened it."""


@runtime_checkable
class Reranker(Protocol):
    """Reads a question beside each text and says how well the text answers it.

    It sees the first few dozen candidates only. One that fails leaves the order it was given and
    marks the result `degraded`.
    """

    @property
    def name(self) -> str:
        """What ranks, for people and events: "cross-encoder model.onnx"."""

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One finite score a text, in order, higher is better. Raises `RerankerError`."""

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class ChatModel(Protocol):
    """Answers a chat: a provider's model, or one made of several."""

    @property
    def name(self) -> str:
        """Which model, for people and events."""

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The assistant's answer. Raises `ChatModelError`."""

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""


@dataclass(frozen=True)
class StoredMessage:
    """A message as the log holds it. `seq` grows with every message of the log."""

    seq: int
    session: str
    message: Message
    group: int | None
    """`seq` of the assistant message that began this message's tool group, if it is in one."""


@dataclass(frozen=True)
class Pending:
    """A message that has no vector yet."""

    seq: int
    scope_id: int
    text: str


@dataclass(frozen=True)
class Found:
    """What an index found: hits best first, of how many messages, how many without a vector."""

    hits: tuple[Hit, ...]
    total: int
    pending: int


class MessageLog(Protocol):
    """The truth: every message, durable before `aappend` returns, in order within its session."""

    async def aappend(self, namespace: Namespace, messages: Sequence[Message]) -> int:
        """Store all of `messages` or none; return how many were new.

        A message whose (namespace, id) is stored with the same content is a retry and stores
        nothing; with other content it raises `MessageConflict`.
        """

    async def arecent(self, namespace: Namespace, limit: int) -> list[StoredMessage]:
        """The last `limit` messages of the session, oldest first."""

    async def agroups(self, scope: Scope, groups: Sequence[int]) -> list[StoredMessage]:
        """Every message of these tool groups, oldest first."""

    async def apin(self, namespace: Namespace, message_id: str, level: Level) -> None:
        """Keep a stored message in every context. Raises `InvalidMessage` for an unknown id."""

    async def aunpin(self, namespace: Namespace, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""

    async def apins(self, namespace: Namespace) -> list[StoredMessage]:
        """Pinned messages of the session and of the user, oldest first."""

    async def aforget(self, namespace: Namespace, ids: Sequence[str]) -> EraseReceipt:
        """Erase these messages of the session."""

    async def aerase(self, namespace: Namespace, level: Level) -> EraseReceipt:
        """Erase the session, or all the user's sessions, from every file."""

    async def astats(self, scope: Scope) -> Stats:
        """Counts of one scope."""

    def aexport(self, namespace: Namespace, level: Level) -> AsyncIterator[tuple[str, Message]]:
        """(session, message) of everything stored, in order."""

    async def amessages(self, namespace: Namespace) -> Messages:
        """Every message of the session, in order."""

    async def anamespaces(self) -> list[Namespace]:
        """Every session of every tenant: for the owner of the store only."""

    async def ahealth(self) -> dict[str, object]:
        """Facts about the store for `doctor`; "problems" is a list, empty when all is well."""

    async def atidy(self) -> bool:
        """Finish an erase that had to wait; True when none waits."""

    async def aclose(self) -> None:
        """Release the file or the connections."""


class VectorIndex(Protocol):
    """The search index, derived from the log: it can be dropped and rebuilt."""

    async def asearch(
        self,
        namespace: Namespace,
        query: str,
        vector: Vectors | None,
        limit: int,
        level: Level,
        neighbours: bool = True,
    ) -> Found:
        """The best `limit` messages, with or without those said beside them.

        Without a vector only the keyword lane runs.
        """

    async def apending(self, scope: Scope, limit: int) -> list[Pending]:
        """Up to `limit` messages of the scope that have no vector, oldest first."""

    async def alease(self, limit: int, seconds: float) -> list[Pending]:
        """Take up to `limit` messages of any scope to embed, scopes in turn, for `seconds`."""

    async def astore(self, pending: Sequence[Pending], vectors: Sequence[Vectors]) -> int:
        """Write vectors of messages that still exist and settle them; return how many."""

    async def arelease(self, pending: Sequence[Pending], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""

    async def abacklog(self) -> int:
        """Messages of all scopes that wait for a vector."""

    @property
    def ready(self) -> bool:
        """Whether there is a dense lane; False for keywords alone."""

    async def arebuild(self, scope: Scope | None = None) -> int:
        """Drop what is derived and queue every message again; return how many."""
