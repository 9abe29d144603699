"""Evidence as text: one line a source with its mark, inside a fence, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from rag_memory_plugins.memory.citing import Source, mark_of, unmarked
from rag_memory_plugins.memory.rendering import Fence, day_line, neutral
from rag_memory_plugins.memory.units import cut
from rag_memory_plugins.ports import Fact, Said

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.results import Hit

__all__ = ["CONFIDENT", "Written", "is_past", "state_of", "written"]

CONFIDENT: Final = 0.8
"""Below it a fact is shown as uncertain; the least that a query of facts asks for by itself."""
_FACTS: Final = 0.6
"""Share of the room that facts may fill before what was said had its turn."""
_LEAST: Final = 40
_TELLING: Final = 16
"""Tokens of a shortened text that may still say something."""
_NAME: Final = 64
_LONG: Final = 20_000
"""Characters of a turn that are looked at: counting a whole book takes longer than a search."""


class Written(NamedTuple):
    """The text, its tokens, and the source of every mark in it, in order."""

    text: str
    tokens: int
    citations: dict[str, Source]


class _Line(NamedTuple):
    source: Source
    text: str
    tokens: int


def is_past(fact: Fact, moment: datetime) -> bool:
    """Whether a fact held no longer at a moment."""
    return fact.valid_to is not None and fact.valid_to <= moment


def state_of(fact: Fact, moment: datetime, when: str = "now") -> str:
    """What a line about a fact begins with: whoever reads it knows whether it holds.

    What was read in messages is no more than what was told last: who reads them may have missed
    that it changed.
    """
    if is_past(fact, moment):
        return "past"
    if fact.conflict:
        return "stated, and so is another value"
    return "last told" if fact.by == "extracted" else f"holds {when}"


def written(
    fence: Fence,
    facts: Sequence[Fact],
    hits: Sequence[Hit],
    *,
    now: datetime,
    as_of: datetime | None,
    counter: TokenCounter,
    budget: int,
) -> Written:
    """The lines of facts and hits that `budget` tokens have room for; "" where it has none.

    What is not shown has no mark either. Facts that hold stand before those that are past.
    """
    title = _title(as_of)
    moment = as_of or now
    ordered = sorted(facts, key=lambda fact: is_past(fact, moment))  # a stable sort
    texts = [_fact_line(fact, moment, "now" if as_of is None else "then") for fact in ordered]
    sizes = counter.count_batch([f"{text}\n" for text in texts])
    lines = [_Line(*line) for line in zip(ordered, texts, sizes, strict=True)]
    room = budget - counter.count(fence.around(title, ""))
    shown = _filled(lines, int(room * _FACTS) if hits else room)
    left = room - sum(line.tokens for line in shown)
    said = _said(hits, left, counter)
    left -= sum(line.tokens for line in said)
    first = {mark_of(line.source) for line in shown}
    more = _filled([line for line in lines if mark_of(line.source) not in first], left)
    marks = first | {mark_of(line.source) for line in more}
    chosen = [line for line in lines if mark_of(line.source) in marks]
    return _fitted(fence, title, [*chosen, *said], counter, budget)


def _fitted(
    fence: Fence, title: str, lines: list[_Line], counter: TokenCounter, budget: int
) -> Written:
    """The lines as one text, without the last ones while it is over: counts of parts are no sum."""
    while lines:
        text = fence.around(title, "\n".join(line.text for line in lines))
        tokens = counter.count(text)
        if tokens <= budget:
            return Written(text, tokens, {mark_of(line.source): line.source for line in lines})
        lines = lines[:-1]
    return Written("", 0, {})


def _title(as_of: datetime | None) -> str:
    day = "" if as_of is None else f", as of {day_line(as_of.date(), with_year=True)}"
    return f"Remembered{day}: [mark] what holds, what is past, what was said"


def _filled(lines: Sequence[_Line], room: int) -> list[_Line]:
    """The lines that fit, in order; a long one makes way for those behind it."""
    chosen = []
    for line in lines:
        if line.tokens <= room:
            chosen.append(line)
            room -= line.tokens
    return chosen


def _said(hits: Sequence[Hit], room: int, counter: TokenCounter) -> list[_Line]:
    """What was said, best first, each in its share of the room."""
    lines: list[_Line] = []
    for at, hit in enumerate(hits):
        share = min(room, max(_LEAST, room // (len(hits) - at)))
        text = _hit_line(hit, share, counter)
        tokens = counter.count(f"{text}\n")
        if text and tokens <= room:
            lines.append(_Line(Said(hit.session, hit.message.id), text, tokens))
            room -= tokens
    return lines


def _hit_line(hit: Hit, share: int, counter: TokenCounter) -> str:
    """`[mark] day, who: text`, on one line; "" where there is no room for any text."""
    message = hit.message
    speaker = " ".join(message.speaker.split())[:_NAME]
    day = day_line(message.time.date(), with_year=True)
    head = f"{mark_of(Said(hit.session, message.id))} {unmarked(f'{day}, {speaker}')}: "
    body = " ".join(neutral(message.content[:_LONG]).split())
    size, room = counter.count(body), share - counter.count(head) - 1
    if size > room < _TELLING:
        return ""
    if size > room:
        body = " ".join(cut(message.shown_as(body, message.metadata), room, size, counter).split())
    return f"{head}{unmarked(body)}" if body else ""


def _fact_line(fact: Fact, moment: datetime, when: str) -> str:
    """`[mark] holds now, since day: fact`."""
    time = f"since {day_line(fact.valid_from.date(), with_year=True)}"
    if fact.valid_to is not None:
        end = day_line(fact.valid_to.date(), with_year=True)
        time = f"{time.replace('since', 'from', 1)} until {end}"
    state = state_of(fact, moment, when)
    unsure = "uncertain, " if fact.confidence < CONFIDENT else ""
    text = " ".join(neutral(fact.text).split())
    return f"{mark_of(fact)} {unsure}{state}, {time}: {unmarked(text)}"
