"""One model call within its budget: system prompt, our blocks, history, the running turn. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from langchain_core.messages import BaseMessage, SystemMessage

from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.langchain.prompt import RECALLED, Prompt, last_question
from rag_memory_plugins.langchain.slimming import lean, with_text
from rag_memory_plugins.memory.fitting import Fitted, fitted
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.langchain.counting import BlockCounter

__all__ = ["Sent", "Work", "fitted_call"]

_NO_ROOM: Final = "left out: the request has no room for it"
_GIVES_WAY: Final = (
    ((), False, ""),
    ((RECALLED,), False, f"recalled text {_NO_ROOM}"),
    ((RECALLED, "summary", "facts"), False, f"summary {_NO_ROOM}"),
    (
        (RECALLED, "summary", "facts"),
        True,
        f"a picture, file or long argument of a tool {_NO_ROOM}",
    ),
    ((RECALLED, "summary", "facts", "anchors"), True, f"pins {_NO_ROOM}"),
)
"""(parts, lean, note): what goes, one after another, before a turn loses its latest round."""


@dataclass(frozen=True)
class Work:
    """What a model call is made of; `room` is for `system`, blocks, history and turn together."""

    system: SystemMessage | None
    prompt: Prompt
    turn: list[BaseMessage]
    room: int


@dataclass(frozen=True)
class Sent:
    """The messages of a model call, without its system message; `tokens` counts that too.

    `removed` tokens of `original` messages are gone; `degraded` says what hurts.
    """

    messages: list[BaseMessage]
    tokens: int
    original: int
    removed: int = 0
    degraded: tuple[str, ...] = ()


def fitted_call(work: Work, counter: BlockCounter) -> Sent:
    """`work` in at most its room, by the rules of `memory.fitting.fitted`.

    History goes first, then the turn's results of tools are shortened, then its oldest rounds go.
    Before the latest round does, what was recalled goes, the summary, pictures, files and long
    arguments of tools, and last the pins. Raises `BudgetTooSmall` when system message and question
    alone are too much.
    """
    whole = work.prompt.around(work.turn)
    before = _tokens(work, whole, counter)
    if before <= work.room:
        return Sent(whole, before, len(whole), degraded=work.prompt.degraded)
    made = _first_that_fits(work, counter)
    return replace(made, original=len(whole), removed=before - made.tokens)


def _first_that_fits(work: Work, counter: BlockCounter) -> Sent:
    best: Sent | None = None
    refused: BudgetTooSmall | None = None
    for given, notes in _tries(work):
        try:
            made, latest = _cut(given, counter)
        except BudgetTooSmall as error:
            refused = error
            continue
        best = replace(made, degraded=(*work.prompt.degraded, *notes, *made.degraded))
        if latest:
            return best
    if best is not None:
        return best
    assert refused is not None  # there is always one try
    raise refused


def _tries(work: Work) -> Iterator[tuple[Work, list[str]]]:
    """The work with less and less of what may go, and what is said of that."""
    bare = [lean(message) for message in work.turn]
    last: Work | None = None
    notes: list[str] = []
    for parts, slim, note in _GIVES_WAY:
        turn = bare if slim else work.turn
        given = replace(work, prompt=work.prompt.without(parts), turn=turn)
        if last is None or given.prompt.blocks != last.prompt.blocks or given.turn != last.turn:
            notes = [*notes, note] if note else notes
            last = given
            yield given, notes


def _cut(work: Work, counter: BlockCounter) -> tuple[Sent, bool]:
    """The work in its room, and whether the turn's last message is still there."""
    entries = _entries(work)
    counted = [item if isinstance(item, Message) else counter.counted(item) for _, item in entries]
    messages = [item for _, item in entries if isinstance(item, BaseMessage)]
    asked = last_question(messages)
    at = None
    if asked < len(messages):
        at = next(i for i, (_, item) in enumerate(entries) if item is messages[asked])
    target = work.room
    while True:
        made = fitted(counted, target, counter, question=at)
        kept = _kept(entries, made)
        prompt = replace(work.prompt, history=tuple(kept["history"]))
        sent = prompt.around(kept["turn"])
        tokens = _tokens(work, sent, counter)
        if tokens <= work.room:
            latest = not work.turn or (len(entries) - 1) in made.places
            return Sent(sent, tokens, 0, degraded=made.degraded), latest
        target -= tokens - work.room  # texts cost more joined than apart


def _entries(work: Work) -> list[tuple[str, BaseMessage | Message]]:
    """Everything in the request by where it belongs; blocks of ours as what must stay."""
    blocks = [("block", Message("system", text)) for _, text in work.prompt.blocks]
    system = [("system", as_system)] if (as_system := work.system) is not None else []
    return [
        *system,
        *blocks,
        *(("history", message) for message in work.prompt.history),
        *(("turn", message) for message in work.turn),
    ]


def _kept(
    entries: Sequence[tuple[str, BaseMessage | Message]], made: Fitted
) -> dict[str, list[BaseMessage]]:
    kept: dict[str, list[BaseMessage]] = {"history": [], "turn": []}
    shortened = set(made.shortened)
    for place, message in zip(made.places, made.messages, strict=True):
        where, item = entries[place]
        if where in kept and isinstance(item, BaseMessage):
            kept[where].append(with_text(item, message.content) if place in shortened else item)
    return kept


def _tokens(work: Work, messages: Sequence[BaseMessage], counter: BlockCounter) -> int:
    system = [work.system] if work.system is not None else []
    return counter.request([*system, *messages])
