"""What is to be attached, and the parts it is made of: middleware, limits, retrievers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.retrievers import BaseRetriever

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.compressing import CompressedRetriever
from rag_memory_plugins.langchain.hybrid import HybridRetriever
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.retriever import MemoryRetriever
from rag_memory_plugins.langchain.trimming import TokenBudgetCompressor
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.types import Level

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Namespace

__all__ = ["Record", "Wanted", "record_of", "recorded"]

T = TypeVar("T")
RECORD: Final = "_rag_memory_attached"
"""The attribute in which what `attach` gave keeps what it was made of."""

ALL: Final = 100
"""Documents of a retriever: none that it finds is left out for what was said."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be attached; the keys name where a chain or a graph keeps what."""

    conversation: Conversation
    rerank: tuple[BaseDocumentCompressor, ...] = ()
    budget: int | TokenBudget | None = None
    level: Level = "user"
    nodes: tuple[str, ...] = ()
    input_messages_key: str | None = None
    output_messages_key: str | None = None
    history_messages_key: str | None = None

    def same(self, other: Wanted) -> bool:
        """Whether both come to the same: one memory and namespace, the same objects beside it."""
        return self._look() == other._look()

    def _look(self) -> tuple[int, Namespace, list[int], tuple[object, ...]]:
        plain = (self.budget, self.level, self.nodes, self.input_messages_key)
        keys = (self.output_messages_key, self.history_messages_key)
        memory, namespace = self.conversation.memory, self.conversation.namespace
        return id(memory), namespace, list(map(id, self.rerank)), (*plain, *keys)

    def refuse(self, target: str, **names: str) -> None:
        """Raise `InvalidInput` for an option that has no place in `target`."""
        for name, what in names.items():
            if getattr(self, name):
                remedy = f"a {target} has no {what}; leave it out"
                raise InvalidInput(name, getattr(self, name), remedy)

    @property
    def limits(self) -> TokenBudget:
        """What one request may hold; the memory's own budget when none was stated."""
        if self.budget is None:
            return self.conversation.memory.budget
        return TokenBudget.of(self.budget)

    @property
    def shares(self) -> TokenBudget:
        """The same for a context that stands in a prompt of the caller's."""
        if isinstance(self.budget, TokenBudget) or self.budget is None:
            return self.limits
        # Shares, not a smaller total: a long question may have all of it.
        quarter, eighth = self.budget // 4, self.budget // 8
        most = {"recent": quarter, "retrieved": quarter, "summary": eighth, "facts": eighth}
        return TokenBudget(self.budget, most=most)

    def middleware(self, *, unseen: bool = False) -> MemoryMiddleware:
        """What makes a model call of messages; `unseen`: a node adds its system prompt to them."""
        limits = self.limits
        if unseen and limits.system:
            limits = replace(limits, system=0, completion=limits.completion + limits.system)
        return MemoryMiddleware(conversation=self.conversation, budget=limits, level=self.level)

    def retriever(self, source: BaseRetriever) -> BaseRetriever:
        """`source`, with what was said beside it."""
        said = MemoryRetriever(self.conversation, level=self.level)
        return HybridRetriever(source, memory=said, limit=ALL)

    def compressed(self, found: BaseRetriever, part: float) -> BaseRetriever:
        """`found`, reranked and within `part` of a budget that was stated."""
        after: Sequence[BaseDocumentCompressor] = self.rerank
        if self.budget is not None:
            room = max(1, int((self.limits.total - self.limits.completion) * part))
            counter = self.conversation.memory.counter
            after = [*after, TokenBudgetCompressor(room, min_nodes=1, counter=counter)]
        return CompressedRetriever(found, after) if after else found


@dataclass(frozen=True, eq=False)
class Record:
    """What was attached to what."""

    target: Any
    wanted: Wanted

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        return self  # a conversation is not copied, and neither is what it was attached to


def record_of(made: object) -> Record | None:
    """What `made` was made of; None for what nothing was attached to."""
    # Not getattr: bound runnables ask what they hold for names that they have not.
    found = vars(made).get(RECORD) if hasattr(made, "__dict__") else None
    return found if isinstance(found, Record) else None


def recorded(made: T, target: object, wanted: Wanted) -> T:
    """`made`, which now says what it was made of."""
    vars(made)[RECORD] = Record(target, wanted)
    return made
