"""A conversation played turn by turn: what is sent each time, and what its questions get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.evidence import Given, answered, bm25, keywords, of_context, recent, stale
from benchmarks.report import BadData
from benchmarks.scenarios import Dialogue, Probe
from rag_memory_plugins import Conversation, TokenBudget
from rag_memory_plugins.tokens import REPLY_TOKENS

if TYPE_CHECKING:
    from rich.progress import Progress

    from rag_memory_plugins import Context, Memory

__all__ = ["AUTO", "MODES", "Asked", "Walk", "context_of", "default_budget", "walked"]

AUTO: Final = "auto"
MODES: Final = ("full", "balanced", "safe")
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Asked:
    """A question of a conversation, and by who chose the context whether it has what it needs."""

    dialogue: Dialogue
    probe: Probe
    answered: Mapping[str, bool]
    stale: Mapping[str, bool]
    accepted: bool
    tokens: int


@dataclass
class Walk:
    """What a whole conversation took.

    `sent` is by mode, summed over its turns, as is `full`, the whole history each time; `said` are
    the tokens of its messages' texts.
    """

    dialogue: Dialogue
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    full: int = 0
    said: int = 0
    prefixes: list[float] = field(default_factory=list)
    over_budget: int = 0
    asked: list[Asked] = field(default_factory=list)

    def saved(self, mode: str) -> float:
        """Share of the input tokens that need not be sent."""
        return 1 - self.sent[mode] / self.full


def default_budget() -> TokenBudget:
    """The budget that a user gets who names none."""
    return TokenBudget.default()


def context_of(conversation: Conversation, query: str, mode: str = AUTO) -> Context:
    """A context at the default budget."""
    return conversation.context(query, default_budget(), mode=mode)


def walked(
    dialogue: Dialogue, memory: Memory, progress: Progress, modes: Sequence[str] = ()
) -> Walk:
    """Play the conversation, a context for each of the user's messages, then ask its questions.

    `modes` are measured beside "auto". A question is not added to the conversation: what one gets
    must not change with those asked before. What works in the background is waited for between
    turns, as the time that a model takes to answer would allow.
    """
    walk = Walk(dialogue)
    conversation = memory.conversation("benchmark", "ann", dialogue.name)
    count = memory.counter.count_messages
    said, before = 0, ""
    some = progress.track(dialogue.messages, description=f"{dialogue.name} turns")
    for message in some:
        conversation.add(message)
        said += count([message]) - REPLY_TOKENS
        walk.said += memory.counter.count(message.content)
        if message.role != "user":
            settled(memory)
            continue
        walk.full += said + REPLY_TOKENS
        for mode in (AUTO, *modes):
            # Each is counted again: what a context says of itself is what is being measured.
            context = context_of(conversation, message.content, mode)
            walk.sent[mode] += count(context.messages)
            walk.over_budget += count(context.messages) > context.budget.total
            if mode == AUTO:
                now = written(context)
                if before:
                    walk.prefixes.append(common(before, now) / len(before))
                before = now
    walk.asked = ask(dialogue, conversation, progress, modes)
    return walk


def settled(memory: Memory) -> None:
    """Wait until nothing is left to do in the background."""
    if memory.settle(timeout=PATIENCE):
        raise BadData(f"the background work was not done within {PATIENCE:g} seconds")


def written(context: Context) -> str:
    """All that is sent, as a provider's prompt cache compares it: from the first character on."""
    return "\n".join(f"{message.role}: {message.content}" for message in context.messages)


def common(one: str, other: str) -> int:
    """Characters that both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (x, y) in enumerate(pairs) if x != y), min(len(one), len(other)))


def ask(
    dialogue: Dialogue, conversation: Conversation, progress: Progress, modes: Sequence[str]
) -> list[Asked]:
    """Every question with what ours, the last turns and BM25 alone have for it."""
    messages = {message.id: message for message in dialogue.messages}
    texts = {key: message.content for key, message in messages.items()}
    memory = conversation.memory
    count = memory.counter.count_messages
    ranked = keywords(dialogue.messages)
    found = []
    for probe in progress.track(dialogue.probes, description=f"{dialogue.name} questions"):
        context = context_of(conversation, probe.question)
        room = count(context.messages)
        given: dict[str, Given] = {
            AUTO: of_context(context),
            "recent": recent(dialogue.messages, room, count),
            "bm25": bm25(ranked, messages, probe.question, room, count),
        }
        for mode in modes:
            given[mode] = of_context(context_of(conversation, probe.question, mode))
        found.append(
            Asked(
                dialogue,
                probe,
                {k: answered(g, probe.answer, probe.evidence, texts) for k, g in given.items()},
                {k: stale(g, probe, texts) for k, g in given.items()},
                probe.support <= set(given[AUTO].order),
                room,
            )
        )
    return found
