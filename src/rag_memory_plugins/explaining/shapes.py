"""What is explained, by its shape: `results` calls this room and is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.types import Message, Messages

__all__ = ["ExplainedContext", "ExplainedPart", "ExplainedPiece"]


class ExplainedPiece(Protocol):
    """A `Piece`."""

    @property
    def message(self) -> Message: ...
    @property
    def part(self) -> str: ...
    @property
    def included(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def score(self) -> float | None: ...
    @property
    def session(self) -> str | None: ...


class ExplainedPart(Protocol):
    """A `ContextPart`."""

    @property
    def name(self) -> str: ...
    @property
    def messages(self) -> Messages: ...
    @property
    def tokens(self) -> int: ...


P_co = TypeVar("P_co", bound=ExplainedPiece, covariant=True)


class ExplainedContext(Protocol[P_co]):
    """A `Context`."""

    @property
    def query(self) -> str: ...
    @property
    def budget(self) -> TokenBudget: ...
    @property
    def tokens(self) -> int: ...
    @property
    def tokens_exact(self) -> bool: ...
    @property
    def parts(self) -> Sequence[ExplainedPart]: ...
    @property
    def pieces(self) -> tuple[P_co, ...]: ...
    @property
    def lanes(self) -> Mapping[str, str]: ...
    @property
    def degraded(self) -> tuple[str, ...]: ...
    @property
    def mode(self) -> str: ...
    @property
    def mode_reason(self) -> str: ...
    @property
    def history_tokens(self) -> int: ...
