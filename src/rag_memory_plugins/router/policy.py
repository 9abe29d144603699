"""Which models may be asked, and in what order: pure, and yours to replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Literal, Protocol, TypeAlias, get_args

from rag_memory_plugins.chat import Usage
from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.router.models import Model

__all__ = ["Ask", "Candidate", "Mode", "Policy", "Prefer", "Ranked", "RoutePolicy", "Skipped"]

Mode: TypeAlias = Literal["local-first", "local-only", "cloud-only"]
Prefer: TypeAlias = Literal["order", "cost", "latency", "quality"]
MODES: Final = get_args(Mode)
PREFERENCES: Final = get_args(Prefer)
ANSWER_TOKENS: Final = 500
"""How long an answer is taken to be where nobody said."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a policy sees it.

    `tokens` are about those of the prompt; `hardness` from 0 to 1 says how much a stronger model is
    worth, None where nobody asked for an estimate. `budget` is "free", "cheaper" (near its end) or
    "spent". `larger_than` is a window that was too small.
    """

    mode: Mode
    tokens: int
    tools: bool = False
    schema: bool = False
    images: bool = False
    stream: bool = False
    max_tokens: int | None = None
    hardness: float | None = None
    budget: str = "free"
    larger_than: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and what is seen of it now.

    `unwell` is why it cannot be asked; `open_for` the seconds its breaker stays open; `busy` that
    all its places are taken. `seconds` is what an answer takes, None before the first;
    `tokens_left` what its provider's limit has left, None if it does not say, and `tokens_back` the
    seconds until it is whole again.
    """

    model: Model
    unwell: str = ""
    open_for: float = 0.0
    busy: bool = False
    seconds: float | None = None
    tokens_left: int | None = None
    tokens_back: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that is not asked, and why. `wait` is in seconds, if it will pass."""

    model: str
    reason: str
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """Models in the order in which they are asked, and those that are not."""

    order: tuple[Model, ...]
    skipped: tuple[Skipped, ...] = ()


class Policy(Protocol):
    """Which models may be asked, and in what order. Pure and quick: once a request and round."""

    @property
    def estimates(self) -> bool:
        """Whether `Ask.hardness` is wanted."""

    def rank(self, ask: Ask, candidates: Sequence[Candidate]) -> Ranked:
        """The order, and a reason for each model that is left out."""


@dataclass(frozen=True)
class RoutePolicy:
    """The rules: what cannot answer is left out, the others go in the order of your list.

    In local-first mode local models come first when the prompt has at most `local_tokens`, else
    last. `prefer` puts the cheapest first ("cost"), the quickest ("latency"), or ("quality") the
    strongest for prompts at least `strong_from` hard and the cheapest for others; models that are
    alike stay in the order of the list. Near the end of a budget the cheapest come first; behind it
    only those that cost nothing are asked.

    >>> RoutePolicy(prefer="cost").prefer
    'cost'
    """

    prefer: Prefer = "order"
    local_tokens: int = 3_000
    strong_from: float = 0.5

    def __post_init__(self) -> None:
        if self.prefer not in PREFERENCES:
            raise InvalidInput("prefer", self.prefer, nearest(str(self.prefer), PREFERENCES))
        if not isinstance(self.local_tokens, int) or self.local_tokens < 0:
            raise InvalidInput("local_tokens", self.local_tokens, "pass tokens, an int >= 0")
        if not 0 <= self.strong_from <= 1:
            raise InvalidInput("strong_from", self.strong_from, "pass a number from 0 to 1")

    @property
    def estimates(self) -> bool:
        return self.prefer == "quality"

    def rank(self, ask: Ask, candidates: Sequence[Candidate]) -> Ranked:
        fit: list[Candidate] = []
        skipped: list[Skipped] = []
        for candidate in candidates:
            reason = _unfit(ask, candidate) or _passing(ask, candidate)
            if reason is None:
                fit.append(candidate)
            else:
                skipped.append(Skipped(candidate.model.name, *reason))
        if len(fit) > 1:
            fit.sort(key=lambda candidate: self._place(ask, candidate))
        return Ranked(tuple([candidate.model for candidate in fit]), tuple(skipped))

    def _place(self, ask: Ask, candidate: Candidate) -> tuple[float, ...]:
        model = candidate.model
        last = ask.mode == "local-first" and model.local != (ask.tokens <= self.local_tokens)
        if ask.budget != "free":
            return (_cost(ask, model), last)
        match self.prefer:
            case "cost":
                return (_cost(ask, model), last)
            case "latency":
                # Nobody knows how quick one is that was never asked: it is tried once.
                return (candidate.seconds or 0.0, last)
            case "quality" if ask.hardness is not None:
                hard = ask.hardness >= self.strong_from
                return (-model.quality if hard else _cost(ask, model), last)
            case _:
                return (last,)


def _cost(ask: Ask, model: Model) -> float:
    if model.price is None:
        return inf  # what nobody knows the price of is not the cheapest
    return model.price.of(Usage(ask.tokens, ask.max_tokens or ANSWER_TOKENS))


def _unfit(ask: Ask, candidate: Candidate) -> tuple[str] | None:
    """Why a model cannot answer this, now or later."""
    model, can = candidate.model, candidate.model.capabilities
    if ask.mode == "local-only" and not model.local:
        return ("the mode is local-only",)
    if ask.mode == "cloud-only" and model.local:
        return ("the mode is cloud-only",)
    if ask.tools and not can.tools:
        return ("it cannot call tools",)
    if ask.schema and not can.schema:
        return ("it gives no structured output",)
    if ask.images and not can.vision:
        return ("it cannot see images",)
    window = model.window
    if window is not None:
        if ask.tokens + (ask.max_tokens or 0) > window:
            return (f"its window of {window} tokens is too small for about {ask.tokens}",)
        if window <= ask.larger_than:
            return (f"a window of {ask.larger_than} tokens was too small already",)
    elif ask.larger_than:
        return ("its window is not known, and one was too small already",)
    if ask.budget == "spent" and _cost(ask, model) > 0:
        return ("the budget is spent",)
    return None


def _passing(ask: Ask, candidate: Candidate) -> tuple[str, float | None] | None:
    """Why a model is not asked now, and for how long."""
    if candidate.unwell:
        return (candidate.unwell, None)
    if candidate.open_for > 0:
        return (f"it failed; asked again in {candidate.open_for:.1f} s", candidate.open_for)
    if candidate.busy:
        return ("all its places are taken", 0.0)
    left = candidate.tokens_left
    if left is not None and left < ask.tokens:
        return (f"its provider's limit has {left} tokens left", candidate.tokens_back)
    return None
