"""One turn of a conversation: its context is made once, and what is said later follows it.

An agent asks for its history before every model call of a turn, and once more when it has put its
answer. Between the two nothing is recalled again: the question is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidBudget
from rag_memory_plugins.llama_index.counting import uncounted
from rag_memory_plugins.ports import TokenCounter
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Message

__all__ = ["Asked", "Beside", "Turn", "beside", "since_question"]


@dataclass(frozen=True)
class Asked:
    """What a context is made for: the question, the user's last message, tokens taken already."""

    query: str
    user: str
    taken: int


@dataclass(frozen=True)
class Turn:
    """The context of a turn. `last` is the id of the log's last message when it was made.

    `system` stands before it. `answers` says whether the blocks of answers that have no field in
    `Message` are shown, `room` is what messages said later may take.
    """

    asked: Asked
    last: str
    context: Context
    system: tuple[Message, ...]
    answers: bool
    room: int

    def later(
        self, asked: Asked, recent: Sequence[Message], counter: TokenCounter
    ) -> Sequence[Message] | None:
        """What was said since the context was made; None when it must be made anew.

        That is for another question, and for what would not fit behind it: too many tokens, a
        tool call without its result, a system message.
        """
        ids = [message.id for message in recent]
        if asked != self.asked or self.last not in ids:
            return () if asked == self.asked and not self.last and not recent else None
        later = recent[ids.index(self.last) + 1 :]
        calls = {call.id for message in later for call in message.tool_calls}
        results = {message.tool_call_id for message in later if message.role == "tool"}
        if calls != results or any(message.role == "system" for message in later):
            return None
        tokens = counter.count_messages(later)
        if self.answers:
            tokens += sum(uncounted(message, counter) for message in later)
        return later if tokens <= self.room else None

    def messages(self, later: Sequence[Message]) -> list[Message]:
        """The whole history for the model: system messages, the context, what was said since."""
        shown = {message.id for message in self.system}
        held = [message for message in self.context.messages if message.id not in shown]
        return [*self.system, *held, *later]


@dataclass(frozen=True)
class Beside:
    """What a budget must leave for what no context counts; see `beside`."""

    limits: TokenBudget
    answers: bool
    degraded: str


def beside(
    budget: TokenBudget,
    asked: Asked,
    system: Sequence[Message],
    turn: Sequence[Message],
    counter: TokenCounter,
) -> Beside:
    """The budget without what stands beside the context.

    That is what the caller took, system messages, and blocks of `turn` (the messages from the
    user's last one on) that have no field in `Message`: all, or when those of answers are more
    than half of what is left, only those of the question. Raises `BudgetTooSmall`.
    """
    taken = asked.taken + (counter.count_messages(system) if system else 0)
    sizes = [uncounted(message, counter) for message in turn]
    taken += sizes[0] if sizes else 0
    answers = sum(sizes[1:])
    keep = answers <= (budget.available - taken) // 2
    try:
        limits = budget.less(taken + answers * keep) if taken + answers * keep else budget
    except InvalidBudget as error:
        raise BudgetTooSmall(error.field, error.got, error.remedy) from error
    reason = f"thinking and files of the turn's answers left out: {answers} tokens"
    return Beside(limits, keep, "" if keep else reason)


def since_question(recent: Sequence[Message]) -> Sequence[Message]:
    """The messages from the user's last one on; all of them when it is further back."""
    users = [at for at, message in enumerate(recent) if message.role == "user"]
    return recent[users[-1] :] if users else recent
