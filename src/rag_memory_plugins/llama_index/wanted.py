"""What is to be attached, and the parts it is made of: memory, model, postprocessors, answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from llama_index.core.llms.llm import LLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers import BaseSynthesizer

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.llama_index.limited import LimitedLLM
from rag_memory_plugins.llama_index.memory import ScopedMemory
from rag_memory_plugins.llama_index.postprocessors import TokenBudgetPostprocessor
from rag_memory_plugins.llama_index.synthesis import RecommendedMode, with_model
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.types import Level

__all__ = ["Wanted"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be attached. `apart`: conversations of a workflow's agents by their names."""

    conversation: Conversation
    rerank: tuple[BaseNodePostprocessor, ...]
    budget: int | TokenBudget | None
    llm: LLM | None
    response_mode: bool
    level: Level = "user"
    apart: Mapping[str, Conversation] = field(default_factory=dict)

    def of(self, agent: str) -> Wanted:
        """What is to be attached to one of several agents."""
        return replace(self, conversation=self.apart[agent], apart={})

    def same(self, other: Wanted) -> bool:
        """Whether both come to the same: one memory and namespace, the same objects beside it."""
        return (
            self._whose() == other._whose()
            and list(map(id, self.rerank)) == list(map(id, other.rerank))
            and (self.budget, self.response_mode) == (other.budget, other.response_mode)
            and (self.level, id(self.llm)) == (other.level, id(other.llm))
        )

    def _whose(self) -> list[tuple[str, int, Namespace]]:
        held = {"": self.conversation, **self.apart}
        return [(name, id(talk.memory), talk.namespace) for name, talk in held.items()]

    @property
    def limit(self) -> int | None:
        """What one request may hold."""
        if self.budget is None:
            return None
        total = TokenBudget.of(self.budget)
        return total.total - total.completion

    def memory(self, *, beside: bool = False) -> ScopedMemory:
        """The conversation as a chat memory; `beside` other things it gets half of a budget."""
        if self.budget is None:
            return ScopedMemory(self.conversation, level=self.level)
        if isinstance(self.budget, TokenBudget):
            return ScopedMemory(self.conversation, self.budget, level=self.level)
        if beside:
            return ScopedMemory(self.conversation, max(1, self.budget // 2), level=self.level)
        # Shares, not a smaller total: a long question may have all of it.
        quarter, eighth = self.budget // 4, self.budget // 8
        most = {"recent": quarter, "retrieved": quarter, "summary": eighth, "facts": eighth}
        return ScopedMemory(
            self.conversation, TokenBudget(self.budget, most=most), level=self.level
        )

    def model(self, in_place: LLM) -> LLM:
        """The model for a target that has `in_place`."""
        llm = in_place if self.llm is None else self.llm
        if self.budget is None:
            return llm
        if isinstance(llm, StructuredLLM):  # engines ask whether it is one
            return llm.model_copy(update={"llm": self.model(llm.llm)})
        return LimitedLLM(llm, self.budget, conversation=self.conversation)

    def after(self, part: float) -> list[BaseNodePostprocessor]:
        """What comes behind the postprocessors in place; nodes get `part` of a budget."""
        if self.limit is None:
            return list(self.rerank)
        room = max(1, int(self.limit * part))
        counter = self.conversation.memory.counter
        return [*self.rerank, TokenBudgetPostprocessor(room, min_nodes=1, counter=counter)]

    def synthesizer(self, in_place: BaseSynthesizer) -> BaseSynthesizer:
        """`in_place`, or a copy that does what is wanted."""
        made, asked = in_place, in_place._llm  # noqa: SLF001  # no public door
        llm = self.model(asked)
        if llm is not asked:
            window = llm.metadata.context_window
            if self.llm is None:  # one that the user made smaller stays so
                window = min(window, in_place._prompt_helper.context_window)  # noqa: SLF001
            made = with_model(made, llm, window, self.limit)
        if self.response_mode:
            made = RecommendedMode(made, self.conversation.memory.counter)
        return made
