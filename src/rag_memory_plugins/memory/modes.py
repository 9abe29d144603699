"""How much of a conversation a context shows: the mode, and what each part may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from rag_memory_plugins.budget import PARTS, TokenBudget
from rag_memory_plugins.config import Modes, Strategy, strategy_of
from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.ports import SessionView

__all__ = ["MODES", "Mode", "Recommended", "checked_mode", "chosen", "recommended", "shares"]

Mode: TypeAlias = Literal["full", "balanced", "safe"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
FACTS: Final = 0.1
"""What facts may take of what a budget leaves open."""
SAFE_RECENT: Final = 0.5
"""In mode safe recent turns get this share of what they get in mode balanced."""


@dataclass(frozen=True)
class Recommended:
    """What suits a session: the mode and why, its `tokens`, and what each part may take.

    >>> Recommended("full", "100 tokens are at most 5000", 100, {"recent": 6300}).mode
    'full'
    """

    mode: Mode
    reason: str
    tokens: int
    shares: Mapping[str, int]


def recommended(
    view: SessionView, budget: TokenBudget, modes: Modes, strategy: Strategy | None = None
) -> Recommended:
    """The mode that "auto" takes for a session, and the shares it leads to."""
    mode, reason = chosen("auto", view.peak, budget.available, modes)
    made = shares(budget, mode, strategy or strategy_of("chat"), budget.available)
    return Recommended(mode, reason, view.tokens, made)


def checked_mode(mode: object) -> str:
    """The mode, or "auto". Raises `InvalidInput`."""
    if mode != "auto" and mode not in MODES:
        raise InvalidInput("mode", mode, nearest(str(mode), ("auto", *MODES)))
    return str(mode)


def chosen(asked: str, peak: int, room: int, modes: Modes) -> tuple[Mode, str]:
    """(mode, why): what was asked for, or by the size of the session and what there is room for.

    `peak` is the session's size as `SessionView.peak` keeps it, `room` the tokens of the budget.
    """
    if asked != "auto":
        return asked, "asked for"  # type: ignore[return-value]  # checked_mode saw to it
    if peak <= modes.full_up_to:
        if peak <= room:
            return "full", f"{peak} tokens are at most {modes.full_up_to}"
        return "balanced", f"{peak} tokens do not fit into {room}"
    if peak <= modes.balanced_up_to:
        return "balanced", f"{peak} tokens are more than {modes.full_up_to}"
    return "safe", f"{peak} tokens are more than {modes.balanced_up_to}"


def shares(budget: TokenBudget, mode: Mode, strategy: Strategy, left: int) -> dict[str, int]:
    """What each part after the anchors may take of the `left` tokens, before any flows on."""
    stated = {name: getattr(budget, name) for name in PARTS if name != "anchors"}
    if mode == "full" and stated["recent"] != 0:
        facts = int(left * FACTS) if stated["facts"] is None else min(left, stated["facts"])
        return {"facts": facts, "summary": 0, "recent": left - facts, "retrieved": 0}
    fixed = {name: share for name, share in stated.items() if share is not None}
    wanted = sum(fixed.values())
    if wanted > left:
        fixed = _squeezed(fixed, budget, left)
    return fixed | _opened(stated, strategy, mode, max(0, left - wanted), budget)


def _squeezed(fixed: dict[str, int], budget: TokenBudget, left: int) -> dict[str, int]:
    """Shares made to fit: in proportion, none below its least while that can be kept."""
    least = {name: min(budget.least.get(name, 0), share) for name, share in fixed.items()}
    floor = sum(least.values())
    if floor >= left:  # not even the least: by priority
        kept: dict[str, int] = {}
        for name in PARTS:
            if name in least:
                kept[name] = min(least[name], max(0, left))
                left -= kept[name]
        return kept
    above = {name: share - least[name] for name, share in fixed.items()}
    total = max(1, sum(above.values()))
    return {name: least[name] + above[name] * (left - floor) // total for name in fixed}


def _opened(
    stated: dict[str, int | None], strategy: Strategy, mode: Mode, rest: int, budget: TokenBudget
) -> dict[str, int]:
    """What the parts without a number get of the rest."""
    recent = strategy.recent * (SAFE_RECENT if mode == "safe" else 1)
    weights = {"facts": FACTS, "summary": strategy.summary, "recent": recent}
    weights["retrieved"] = max(0.0, 1 - sum(weights.values()))
    open_parts = [name for name, share in stated.items() if share is None]
    # Where the retrieved part has its number, what nobody states is not all given away.
    total = sum(weights[name] for name in open_parts) if "retrieved" in open_parts else 1.0
    result = {}
    for name in open_parts:
        share = int(rest * weights[name] / total) if total else 0
        result[name] = max(share, min(budget.least.get(name, 0), rest))
    return result
