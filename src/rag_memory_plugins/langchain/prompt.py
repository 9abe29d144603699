"""Which messages a model call gets: state, log and recalled text as one list. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from rag_memory_plugins.langchain.cleaning import storable
from rag_memory_plugins.langchain.convert import is_plain, same, to_langchain, to_message
from rag_memory_plugins.langchain.marking import (
    Block,
    alone,
    blocks_of,
    fenced,
    injected,
    made_up,
    said,
)
from rag_memory_plugins.memory.notes import REMEMBERED
from rag_memory_plugins.memory.rendering import MARK
from rag_memory_plugins.tokens import REPLY_TOKENS

if TYPE_CHECKING:
    from rag_memory_plugins.langchain.counting import BlockCounter
    from rag_memory_plugins.results import Context
    from rag_memory_plugins.types import Message

__all__ = [
    "RECALLED",
    "Prompt",
    "arranged",
    "last_question",
    "question",
    "turn_start",
    "unmixed",
    "unread",
]

RECALLED: Final = "recalled"
"""The part of a context that belongs to the question."""


Pair = tuple["Message", BaseMessage]


@dataclass(frozen=True)
class Prompt:
    """What stands round a running turn: blocks of ours, and the history.

    `mode` is the context's: "full" holds pins that were said lately and the first goal as history.
    """

    blocks: tuple[Block, ...] = ()
    history: tuple[BaseMessage, ...] = ()
    degraded: tuple[str, ...] = ()
    mode: str = ""

    def behind(self, blocks: Sequence[Block]) -> Prompt:
        """The same with blocks of another memory before its own."""
        return replace(self, blocks=(*blocks, *self.blocks)) if blocks else self

    def without(self, parts: Collection[str]) -> Prompt:
        """The same without the blocks of these parts."""
        return replace(self, blocks=tuple(b for b in self.blocks if b[0] not in parts))

    @property
    def recalled(self) -> list[Block]:
        """The blocks that join the question."""
        return [block for block in self.blocks if block[0] == RECALLED]

    @property
    def first(self) -> list[Block]:
        """The blocks that join the first message: facts, pins, a summary."""
        return [block for block in self.blocks if block[0] != RECALLED]

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
            body.insert(0, alone(self.recalled))
        body = [*self.history, *body]
        if self.first and body and isinstance(body[0], HumanMessage) and not injected(body[0]):
            body[0] = fenced(body[0], self.first)
        elif self.first:
            body.insert(0, alone([*self.first, *self._joined(body)]))
        return body

    @staticmethod
    def _joined(body: list[BaseMessage]) -> list[Block]:
        """The blocks of a message of ours that would stand second, which is taken out."""
        return blocks_of(body.pop(0)) if body and injected(body[0]) else []


def unmixed(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[Block]]:
    """What was said, and the blocks that another memory's middleware put between."""
    kept: list[BaseMessage] = []
    blocks: list[Block] = []
    for message in messages:
        found = blocks_of(message)
        blocks += found
        if not (found and injected(message)):
            kept.append(said(message) if found else message)
    return kept, blocks


def _asked(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and not made_up(message)


def turn_start(messages: Sequence[BaseMessage]) -> int:
    """Where the running turn begins: at the last user message, or the run of them it ends."""
    start = len(messages)
    while start and not _asked(messages[start - 1]):
        start -= 1
    while start and (_asked(messages[start - 1]) or isinstance(messages[start - 1], SystemMessage)):
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
    counter: BlockCounter,
) -> Prompt:
    """`history` (the state's) and `context` (the log's) as one prompt within context.budget."""
    ours = [m for m in context.messages if MARK in m.metadata]
    running = {m.id for m in turn}
    recent = [
        m
        for m in context.messages
        if not {MARK, REMEMBERED} & m.metadata.keys() and m.id not in running
    ]
    parts = {part.name: part for part in context.parts}
    recalled = parts["retrieved"].messages if "retrieved" in parts else ()
    taken = context.tokens - (parts["recent"].tokens if "recent" in parts else 0)
    room = context.budget.total - context.budget.completion - taken
    fitting = [storable(message) for message in _tail(history, room, counter)]
    # What is counted of a plain message is all there is of it.
    state = [(counter.counted(m) if is_plain(m) else to_message(m), m) for m in fitting]
    log = [(m, to_langchain(m, whole=False)) for m in recent]
    for plain, message in log:
        counter.know(message, plain)
    groups = _groups(_merged(state, log))
    kept = _newest(groups, room, {m.id for m in recent}, recalled, counter)
    return Prompt(
        tuple((str(m.metadata[MARK]), m.content) for m in ours),
        tuple(message for _, message in kept),
        context.degraded,
        context.mode,
    )


def _tail(
    history: Sequence[BaseMessage], room: int, counter: BlockCounter
) -> Sequence[BaseMessage]:
    """The newest messages of a history, as many as could fit: a state may hold thousands."""
    at = len(history)
    while at and room >= 0:
        at -= 1
        room -= counter.request([history[at]]) - REPLY_TOKENS
    return history[at:]


def unread(history: Sequence[BaseMessage], why: str) -> Prompt:
    """The state's history alone, where memory could not be read."""
    groups = _groups([(to_message(m), m) for m in map(storable, history)])
    return Prompt(history=tuple(m for group in groups for _, m in group), degraded=(why,))


def _merged(state: Sequence[Pair], log: Sequence[Pair]) -> list[Pair]:
    """State and log in one order; what both hold (by id, else by what was said) comes once."""
    pairs: list[tuple[int, int]] = []
    bound = len(state)
    said = [same(message) for message, _ in state]
    for j in range(len(log) - 1, -1, -1) if state else ():
        theirs, spoken = log[j][0].id, same(log[j][0])
        for i in range(bound - 1, -1, -1):
            if state[i][0].id == theirs or said[i] == spoken:
                pairs.append((i, j))
                bound = i
                break
    merged: list[Pair] = []
    next_i = next_j = 0
    for i, j in [*reversed(pairs), (len(state), len(log))]:
        merged += log[next_j:j]
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
    counter: BlockCounter,
) -> list[Pair]:
    """The newest groups that fit into `room` tokens, from a user message on."""
    ids, texts = {m.id for m in recalled}, {same(m) for m in recalled}
    kept: list[list[Pair]] = []
    for group in reversed(groups):
        messages = [message for message, _ in group]
        # Once a request, not a group.
        room -= counter.request([message for _, message in group]) - REPLY_TOKENS
        known = all(m.id in recent for m in messages)
        # Older than the log's recent part: it may stand among the recalled already.
        if room < 0 or (not known and any(m.id in ids or same(m) in texts for m in messages)):
            break
        kept.append(group)
    while kept and isinstance(kept[-1][0][1], (AIMessage, ToolMessage)):
        kept.pop()
    return [pair for group in reversed(kept) for pair in group]
