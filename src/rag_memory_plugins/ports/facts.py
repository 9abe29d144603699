"""What reads facts out of messages, and what holds beside what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.results import SummaryLine
    from rag_memory_plugins.types import Message

__all__ = ["Claim", "FactExtractor", "FactSource"]


@dataclass(frozen=True)
class Claim:
    """That `object` holds of `subject` by `predicate`, as one message says it.

    Holds from `valid_from` (None: from when it was said) until `valid_to` (None: until something
    else is said). `negated` says that it holds no longer, or does not hold; then an empty `object`
    ends whatever held. `corrects` says that what was said before was never so. `many` says that a
    subject may have several of these at once: what somebody likes, but not where somebody lives.
    `confidence` is from 0 to 1. A speaker without a name is the subject "user".

    >>> Claim("user", "lives in", "Porto", confidence=0.9).many
    False
    """

    subject: str
    predicate: str
    object: str
    confidence: float = 1.0
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    negated: bool = False
    corrects: bool = False
    many: bool = False


@runtime_checkable
class FactExtractor(Protocol):
    """Reads claims out of messages, behind the user's turns."""

    @property
    def name(self) -> str:
        """What reads, with its version: claims of another name are made anew by a rebuild."""

    async def aextract(self, scope: Scope, messages: Sequence[Message]) -> list[list[Claim]]:
        """The claims of each message, in order; none for what says nothing that lasts.

        Equal messages give equal claims. Text that a context put into a message (`Fence`) is not
        read. Raises `ChatModelError` when it has nothing to fall back on.
        """

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class FactSource(Protocol):
    """What holds now, beside what was said."""

    async def acurrent(self, namespace: Namespace, query: str, limit: int) -> Sequence[SummaryLine]:
        """Up to `limit` statements that hold for the namespace's user, the first matter most."""
