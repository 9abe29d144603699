"""One turn by hand: store what was said, make the context to ask with, store the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput, InvalidNamespace
from rag_memory_plugins.memory.arguments import checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.overlapping import held
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Level, Message

__all__ = ["aanswered", "aask", "checked_conversation"]


def checked_conversation(memory: object, namespace: object) -> Conversation:
    """The conversation of `namespace`. Raises `InvalidInput`, `InvalidNamespace`."""
    if not isinstance(memory, Memory):
        got = f"{type(memory).__module__}.{type(memory).__name__}"
        raise InvalidInput("memory", got, "pass what rag_memory_plugins.open_memory() gave")
    if not isinstance(namespace, Namespace):
        raise InvalidNamespace("namespace", namespace, "pass Namespace(tenant, user, session)")
    return memory.conversation(namespace)


async def aask(
    conversation: Conversation,
    said: Sequence[Message],
    *,
    system: str = "",
    budget: int | TokenBudget | None = None,
    level: Level = "user",
) -> Context:
    """The context to answer `said` with; it ends with the user's question.

    `said` may begin with a history: of it the log gets what it does not hold yet, before this
    returns. The same question again while the first waits for an answer is a retry. `system` is
    counted and not stored. Raises `InvalidBudget`, `InvalidQuery`, and `BudgetTooSmall` for what
    no context could hold; then nothing was stored.
    """
    memory = conversation.memory
    limits = _asking(memory.budget if budget is None else TokenBudget.of(budget))
    checked_level(level)
    _check_room(memory, limits, system, said[-1])
    await _astore(conversation, said)
    return await conversation.acontext(said[-1].content, limits, system=system, level=level)


async def aanswered(conversation: Conversation, answer: Message) -> None:
    """Store an answer; one whose id is taken (a cache gave it again) is another message."""
    await conversation.aadd(await _afresh(conversation, answer))


def _asking(budget: TokenBudget) -> TokenBudget:
    """A budget whose contexts hold the question, even one without recent turns."""
    if budget.recent != 0:
        return budget
    return replace(budget.less(1), total=budget.total, recent=1)


def _check_room(memory: Memory, budget: TokenBudget, system: str, question: Message) -> None:
    """Refuse what no context could hold before it is stored."""
    prompt = [Message("system", system)] if system else []
    room = budget.total - budget.completion - (0 if system else budget.system)
    needed = memory.counter.count_messages([*prompt, question])
    if needed > room:
        what = "the system message and the user's message take"
        raise BudgetTooSmall("budget", room, f"{what} {needed} tokens; raise it")


async def _astore(conversation: Conversation, said: Sequence[Message]) -> None:
    """Store what the log does not hold yet."""
    *history, last = said
    log = await (conversation.amessages() if history else conversation.arecent(1))
    new = history[len(held(log, history)) :]
    # Asked before and not answered: a retry. Answered, the same object is asked once more.
    if new or not held(log[-1:], [last]):
        new.append(await _afresh(conversation, last))
    if new:
        await conversation.aadd(new)


async def _afresh(conversation: Conversation, message: Message) -> Message:
    """`message`, said now under a new id if the log has one of its id."""
    if not await conversation.aaround(message.id, 0, 0):
        return message
    return replace(message, id="", time=None)  # type: ignore[arg-type]  # the moment it is made
