"""How each part of a context is filled within what it may take; every function returns its use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rag_memory_plugins.memory.days import Days
from rag_memory_plugins.memory.draft import Draft
from rag_memory_plugins.memory.rendering import summary_line
from rag_memory_plugins.memory.units import Unit, shortened, units_of, whole
from rag_memory_plugins.ports import SessionView, StoredMessage
from rag_memory_plugins.results import Summary, SummaryLine

__all__ = ["drop_doubles", "facts", "recent", "summary"]

STEP: Final = 0.5
"""Recent turns begin at a grid of half their share, so that a prompt begins the same for a while."""


def facts(draft: Draft, lines: Sequence[SummaryLine], room: int) -> int:
    """What holds now, the first matter most, while it fits."""
    return _lines(draft, "facts", lines, room, draft.facts)


def summary(draft: Draft, held: Summary | None, room: int) -> int:
    """The summary; where it is larger than its room the newest lines of it."""
    if held is None or not held.lines:
        return 0
    used = _lines(draft, "summary", held.lines[::-1], room, draft.summary)
    draft.summary.reverse()
    return used


def _lines(
    draft: Draft, part: str, lines: Sequence[SummaryLine], room: int, into: list[SummaryLine]
) -> int:
    if not lines:
        return 0
    days, used = Days(draft.counter), draft.frame(part)
    for line in lines:
        own = draft.counter.count(summary_line(line) + "\n")
        cost = own + days.cost([line.time.date()])
        if used + cost > room:
            draft.note_line(line, part, "out: over its share", 0)
            continue
        used += cost
        days.days.add(line.time.date())
        into.append(line)
        draft.note_line(line, part, f"rests on {len(line.ids)} messages", own)
    return used if into else 0


def recent(
    draft: Draft,
    view: SessionView,
    groups: Sequence[StoredMessage],
    room: int,
    share: int,
    *,
    whole: bool,
) -> int:
    """The newest turns without a gap, as many as fit; with `whole` from the first on."""
    asked = draft.question.seqs if draft.question is not None else set[int]()
    taken = asked | {seq for unit in draft.anchors for seq in unit.seqs}
    start = 0 if whole else _start(view, room, share)
    used, full = 0, False
    chosen: list[Unit] = []
    for unit in reversed(units_of(view.recent, groups)):
        if unit.seqs & taken:
            continue
        reason = _kept_out(draft, unit)
        if reason:
            draft.note(unit, "recent", reason, included=False)
            continue
        # What was forgotten still counts as said: then the grid is coarser than what is there.
        behind = unit.items[-1].said < start and used >= room - share * STEP
        full = full or (behind and bool(chosen))
        fitted = None if full else _fitted(draft, unit, room - used, first=not chosen)
        if fitted is None:
            full = True
            draft.note(unit, "recent", "out: over the share of recent turns", included=False)
            continue
        used += fitted.tokens
        chosen.append(fitted)
    draft.recent = chosen[::-1]
    for unit in draft.recent:
        draft.note(unit, "recent", "recent turn" + unit.note, included=True)
    return used


def _start(view: SessionView, room: int, share: int) -> int:
    """Where the recent turns begin, in tokens said: the first point of the grid that fits."""
    step = max(1, int(share * STEP))
    return -(-max(0, view.said - room) // step) * step


def _kept_out(draft: Draft, unit: Unit) -> str:
    if not whole(unit):
        return "out: a tool call without its result"
    if draft.budget.recent == 0:
        return "out: no share of recent turns"
    return ""


def _fitted(draft: Draft, unit: Unit, room: int, *, first: bool) -> Unit | None:
    """The unit as it is, or shortened if it is the newest or holds a tool's long result."""

    def count(some: Unit) -> int:
        return draft.counter.count_messages([item.message for item in some.items])

    unit.tokens = count(unit)
    if unit.tokens <= room:
        return unit
    tool = any(item.message.role == "tool" for item in unit.items)
    return shortened(unit, room, draft.counter, count) if first or tool else None


def drop_doubles(draft: Draft) -> int:
    """Leave out summary lines of which every message is in view as it was said; tokens saved."""
    shown = {item.message.id for unit in (*draft.recent, *draft.anchors) for item in unit.items}
    double = [line for line in draft.summary if line.ids and shown.issuperset(line.ids)]
    if not double:
        return 0
    before = draft.tokens()
    gone = {line.text for line in double}
    draft.summary = [line for line in draft.summary if line.text not in gone]
    draft.pieces = [
        piece
        for piece in draft.pieces
        if piece.part != "summary" or piece.message.content not in gone
    ]
    for line in double:
        draft.note_line(line, "summary", "out: its messages are in view", 0)
    return before - draft.tokens()
