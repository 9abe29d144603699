"""Packing: what a session holds and what was recalled, into a `Context` within its budget.

Pure functions. Parts are filled by priority: the user's message, anchors, facts, summary, recent
turns, recalled turns. Each may take its share and what the parts before it left. What must be in
is shortened when it is too long; the whole is counted once more as the model will get it, and
should the joined text cost more than its pieces did, the weakest piece goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.config import Modes, Strategy
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.memory import filling, recalling
from rag_memory_plugins.memory.draft import Draft
from rag_memory_plugins.memory.modes import Mode, chosen, shares
from rag_memory_plugins.memory.rendering import Fence
from rag_memory_plugins.memory.units import Unit, shortened, units_of
from rag_memory_plugins.ports import SessionView, StoredMessage, TokenCounter
from rag_memory_plugins.results import Context, Hit, SummaryLine

__all__ = ["Material", "Settings", "assemble"]

FEW_FACTS: Final = 160
"""Tokens that facts get at least where there are some, of a small budget a quarter."""
GOAL_SHARE: Final = 0.2
"""What the first goal may take of the room: a long text pasted at the start is not all goal."""


@dataclass(frozen=True)
class Settings:
    """How a context is made: its limits, the mode asked for, and what the strategy weighs."""

    budget: TokenBudget
    mode: str
    strategy: Strategy
    modes: Modes
    system: str = ""


@dataclass(frozen=True)
class Material:
    """What a context is made from. `groups` holds every message of the tool groups in it."""

    view: SessionView
    hits: Sequence[Hit] = ()
    groups: Sequence[StoredMessage] = ()
    facts: Sequence[SummaryLine] = ()
    outdated: frozenset[int] = frozenset()


def assemble(
    query: str, material: Material, settings: Settings, counter: TokenCounter, fence: Fence
) -> Context:
    """Pack `material` within the budget.

    Raises `BudgetTooSmall` when the system message and the user's last message alone do not fit.
    `lanes` of the result, and what a search degraded, are left for the caller to fill in.
    """
    budget, view = settings.budget, material.view
    draft = Draft(query, budget, counter, fence, settings.system, room=_room(settings, view))
    _take_question(draft, material)
    mode, reason = chosen(settings.mode, view.peak, draft.left(), settings.modes)
    _take_anchors(draft, material, mode, settings.strategy)
    _fill(draft, material, mode, settings)
    draft.shrink()
    return draft.finished(mode, reason, view.tokens)


def _room(settings: Settings, view: SessionView) -> int:
    """Tokens for messages: the total without what the caller adds to them."""
    budget = settings.budget
    room = budget.total - budget.completion
    if not settings.system:
        room -= budget.system
    if budget.recent == 0 or not _asks(view):
        room -= budget.question
    return room


def _asks(view: SessionView) -> bool:
    return bool(view.recent) and view.recent[-1].message.role == "user"


def _take_question(draft: Draft, material: Material) -> None:
    """What the user just said is not a matter of shares: it is in, or there is no context."""
    if draft.budget.recent != 0 and _asks(material.view):
        draft.question = Unit([material.view.recent[-1]])
        draft.question.tokens = draft.counter.count_messages(
            [item.message for item in draft.question.items]
        )
    needed = draft.tokens()
    if needed > draft.room:
        what = "the system message and the user's last message take"
        raise BudgetTooSmall("budget", draft.room, f"{what} {needed} tokens; raise it")


def _take_anchors(draft: Draft, material: Material, mode: Mode, strategy: Strategy) -> None:
    """Pins, and the first goal where not everything is in view; shortened when they must be."""
    view, question = material.view, draft.question
    asked = question.seqs if question is not None else set()
    pins = [unit for unit in units_of(view.pins, material.groups) if not unit.seqs & asked]
    pinned = set[int]().union(*(unit.seqs for unit in pins)) | asked
    goals = []
    if mode != "full" and draft.budget.recent != 0:
        goals = [Unit([item]) for item in view.goal[: strategy.goal] if item.seq not in pinned]
    most = draft.left() if draft.budget.anchors is None else draft.budget.anchors
    for unit in goals:
        _take_anchor(draft, unit, "first goal", min(most, int(draft.left() * GOAL_SHARE)))
    _take_pins(draft, pins, min(most, draft.left()))


def _take_anchor(draft: Draft, unit: Unit, reason: str, room: int) -> None:
    unit.tokens = draft.lines(unit)
    room -= draft.anchor_frame()
    fitted = unit if unit.tokens <= room else shortened(unit, room, draft.counter, draft.lines)
    if fitted is None:
        draft.note(unit, "anchors", f"out: {reason}, no room", included=False)
        draft.degraded.append(f"{reason} left out: {max(0, room)} tokens are no room for it")
        return
    draft.anchors.append(fitted)
    draft.note(fitted, "anchors", reason + fitted.note, included=True)


def _take_pins(draft: Draft, pins: Sequence[Unit], room: int) -> None:
    """All pins whole if they fit, else each cut to an equal share of the room."""
    for unit in pins:
        unit.tokens = draft.lines(unit)
    before = draft.tokens()
    held = list(draft.anchors)
    draft.anchors = [*held, *pins]
    if draft.tokens() <= before + room and draft.tokens() <= draft.room:
        for unit in pins:
            draft.note(unit, "anchors", "pinned", included=True)
        return
    draft.anchors = held
    left = room - draft.anchor_frame()
    # The short ones first: what they leave of their share the long ones may have.
    waiting = sorted(pins, key=lambda unit: (unit.tokens, unit.items[0].seq))
    for count, unit in enumerate(waiting):
        share = left // (len(waiting) - count)
        fitted = unit
        if unit.tokens > share:
            cut = shortened(unit, share, draft.counter, draft.lines)
            if cut is None:
                draft.note(unit, "anchors", "out: pinned, no room", included=False)
                draft.degraded.append("a pin left out: the budget has no room for it")
                continue
            fitted = cut
            draft.degraded.append(f"a pin shortened from {unit.tokens} to {cut.tokens} tokens")
        left -= fitted.tokens
        draft.anchors.append(fitted)
        draft.note(fitted, "anchors", "pinned" + fitted.note, included=True)


def _fill(draft: Draft, material: Material, mode: Mode, settings: Settings) -> None:
    """Facts, summary, recent turns and hits, each by its share and what was left before it."""
    before = len(draft.pieces)
    share = shares(draft.budget, mode, settings.strategy, draft.left())
    if material.facts and mode != "full" and draft.budget.facts is None:
        share = _with_facts(share)
    draft.facts_first = any(
        item.seq in material.outdated for unit in draft.anchors for item in unit.items
    )
    _fill_once(draft, material, mode, share)
    left = draft.left()
    if mode == "safe" or draft.budget.recent is not None or left <= share["recent"] // 2:
        return
    if not any(p.part == "recent" and not p.included for p in draft.pieces[before:]):
        return
    # Recall did not use its share: the turns before the recent ones may.
    del draft.pieces[before:]
    draft.clear()
    _fill_once(draft, material, mode, {**share, "recent": share["recent"] + left})


def _with_facts(share: dict[str, int]) -> dict[str, int]:
    """Shares with room for a few facts, which say more a token than turns do."""
    missing = min(FEW_FACTS, sum(share.values()) // 4) - share["facts"]
    taken = dict(share)
    for name in ("retrieved", "recent"):
        more = max(0, min(missing, taken[name] // 2))
        taken[name] -= more
        taken["facts"] += more
        missing -= more
    return taken


def _fill_once(draft: Draft, material: Material, mode: Mode, share: dict[str, int]) -> None:
    view = material.view
    flow = _Flow(draft, share)
    flow.used("facts", filling.facts(draft, material.facts, flow.room("facts")))
    summary = view.summary if mode != "full" else None
    flow.used("summary", filling.summary(draft, summary, flow.room("summary")))
    room = flow.room("recent")
    whole = mode == "full"
    used = filling.recent(draft, view, material.groups, room, share["recent"], whole=whole)
    flow.used("recent", used - filling.drop_doubles(draft))
    recalling.retrieved(draft, material.hits, material.groups, flow.room("retrieved"))


@dataclass
class _Flow:
    """What each part may take: its share and what the parts before it left, within its bounds."""

    draft: Draft
    share: dict[str, int]
    carry: int = 0

    def room(self, name: str) -> int:
        budget = self.draft.budget
        if getattr(budget, name) == 0:
            return 0
        names = list(self.share)
        later = names[names.index(name) + 1 :]
        promised = sum(min(budget.least.get(other, 0), self.share[other]) for other in later)
        most = budget.most.get(name, self.draft.room)
        return max(0, min(self.share[name] + self.carry, self.draft.left() - promised, most))

    def used(self, name: str, tokens: int) -> None:
        self.carry = max(0, self.carry + self.share[name] - tokens)
