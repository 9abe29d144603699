"""Which messages a model call gets: state, log and recalled text as one list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from rag_memory_plugins.langchain.convert import (
    block,
    fenced,
    injected,
    said,
    same,
    to_langchain,
    to_message,
)
from rag_memory_plugins.tokens import REPLY_TOKENS

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.results import Context
    from rag_memory_plugins.types import Message

__all__ = ["Prompt", "arranged", "last_question", "question", "turn_start"]

INJECTED: Final = "rag_memory"  # the metadata key of a block that we put into a prompt

Pair = tuple["Message", BaseMessage]


@dataclass(frozen=True)
class Prompt:
    """What stands round a running turn: pins, history, and what was recalled for its question."""

    pins: tuple[str, ...] = ()
    history: tuple[BaseMessage, ...] = ()
    recalled: tuple[str, ...] = ()

    def around(self, turn: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The whole list for a model call.

        A block of ours joins the user message beside it, because several providers refuse two
        user messages in a row; where there is none it stands alone.
        """
        body = list(turn)
        asked = [i for i, message in enumerate(body) if _asked(message)]
        if self.recalled and asked:
            body[asked[-1]] = fenced(body[asked[-1]], self.recalled)
        elif self.recalled:
            body.insert(0, block(self.recalled))
        body = [*self.history, *body]
        if self.pins and body and _asked(body[0]):
            body[0] = fenced(body[0], self.pins)
        elif self.pins:
            body.insert(0, block(self.pins))
        return body


def _asked(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and not injected(message)


def turn_start(messages: Sequence[BaseMessage]) -> int:
    """Where the running turn begins: at the last user message, or the run of them it ends."""
    start = len(messages)
    while start and not _asked(messages[start - 1]):
        start -= 1
    while start and isinstance(messages[start - 1], (HumanMessage, SystemMessage)):
        start -= 1
    return start


def last_question(messages: Sequence[BaseMessage]) -> int:
    """Where the last user message stands; the list's end if there is none."""
    asked = (i for i in range(len(messages) - 1, -1, -1) if _asked(messages[i]))
    return next(asked, len(messages))


def question(turn: Sequence[BaseMessage]) -> str:
    """The text that memory is asked with: the turn's last user message."""
    return next((str(said(m).text) for m in reversed(turn) if _asked(m)), "")


def arranged(
    history: Sequence[BaseMessage],
    turn: Sequence[BaseMessage],
    context: Context,
    counter: TokenCounter,
) -> Prompt:
    """`history` (the state's) and `context` (the log's) as one prompt within context.budget."""
    ours = [m for m in context.messages if INJECTED in m.metadata]
    running = {m.id for m in turn}
    recent = [m for m in context.messages if INJECTED not in m.metadata and m.id not in running]
    parts = {part.name: part for part in context.parts}
    recalled = parts["retrieved"].messages if "retrieved" in parts else ()
    taken = context.tokens - (parts["recent"].tokens if "recent" in parts else 0)
    groups = _groups(_merged([(to_message(m), m) for m in history], recent))
    kept = _newest(groups, context.budget.total - taken, {m.id for m in recent}, recalled, counter)
    return Prompt(
        tuple(m.content for m in ours if m.metadata[INJECTED] != "recalled"),
        tuple(message for _, message in kept),
        tuple(m.content for m in ours if m.metadata[INJECTED] == "recalled"),
    )


def _merged(state: Sequence[Pair], recent: Sequence[Message]) -> list[Pair]:
    """State and log in one order; what both hold (by id, else by what was said) comes once."""
    pairs: list[tuple[int, int]] = []
    bound = len(state)
    for j in range(len(recent) - 1, -1, -1):
        log = recent[j]
        for i in range(bound - 1, -1, -1):
            mine = state[i][0]
            if mine.id == log.id or same(mine) == same(log):
                pairs.append((i, j))
                bound = i
                break
    merged: list[Pair] = []
    next_i = next_j = 0
    for i, j in [*reversed(pairs), (len(state), len(recent))]:
        merged += [(m, to_langchain(m, whole=False)) for m in recent[next_j:j]]
        merged += state[next_i : i + 1]
        next_i, next_j = i + 1, j + 1
    return merged


def _groups(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Messages that must stay together: a tool call and its results.

    A call without all its results, and a result without its call, are left out: an abandoned run
    leaves them in a state, and providers refuse the request that holds one.
    """
    groups: list[list[Pair]] = []
    waiting: set[str] = set()
    for pair in pairs:
        message = pair[0]
        if isinstance(pair[1], ToolMessage):
            if message.tool_call_id in waiting:
                groups[-1].append(pair)
                waiting.discard(message.tool_call_id)
            continue
        if waiting:
            groups.pop()
        waiting = {call.id for call in message.tool_calls}
        groups.append([pair])
    if waiting:
        groups.pop()
    return groups


def _newest(
    groups: Sequence[list[Pair]],
    room: int,
    recent: set[str],
    recalled: Sequence[Message],
    counter: TokenCounter,
) -> list[Pair]:
    """The newest groups that fit into `room` tokens, from a user message on."""
    ids, texts = {m.id for m in recalled}, {same(m) for m in recalled}
    kept: list[list[Pair]] = []
    for group in reversed(groups):
        messages = [message for message, _ in group]
        room -= counter.count_messages(messages) - REPLY_TOKENS  # once a request, not a group
        known = all(m.id in recent for m in messages)
        # Older than the log's recent part: it may stand among the recalled already.
        if room < 0 or (not known and any(m.id in ids or same(m) in texts for m in messages)):
            break
        kept.append(group)
    while kept and isinstance(kept[-1][0][1], (AIMessage, ToolMessage)):
        kept.pop()
    return [pair for group in reversed(kept) for pair in group]
