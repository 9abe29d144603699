"""Settings: how a question is matched, and what a context is made of."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Final

from rag_memory_plugins.errors import InvalidInput, nearest

__all__ = ["STRATEGIES", "Modes", "Recall", "Strategy", "strategy_of"]


@dataclass(frozen=True)
class Recall:
    """The weight of every step of a search, in standard deviations of a lane; 0 switches it off.

    The defaults are those of `docs/benchmarks.md`. `dense_turn`, `passage` (a turn's best sentence),
    `dense_window` and `keywords` are lanes; `late` is late interaction over the first `candidates`,
    a turn's tokens together with its neighbours', `own` goes with it and takes the turn's own tokens
    alone; where they ran lanes count half; `speaker` is for turns of the person a question names, `inherit` what
    an answer takes of the lanes and `late` of the question before it, `question` for turns that end
    with a question (three times for those that only ask), `date` for turns of a day or month that is
    asked for (doubled for the very day), `when` and `name` for turns that tell a time or a name when
    one is asked for. Off unless asked for, because no gain is known (`docs/benchmarks.md`): `session`
    and `topic`, the grains above the turn; `recency`, a gain that halves every `half_life_days`;
    `diversity`, from 0 to 1, maximal marginal relevance among the first `candidates`. Raises
    `InvalidInput`.

    >>> Recall(late=0).late
    0
    """

    dense_turn: float = 0.5
    passage: float = 0.0
    dense_window: float = 0.75
    keywords: float = 1.0
    late: float = 1.3
    own: float = 0.6
    candidates: int = 48
    speaker: float = 0.6
    inherit: float = 0.3
    question: float = -1.2
    date: float = 2.8
    when: float = 3.0
    name: float = 2.2
    session: float = 0.0
    topic: float = 0.0
    recency: float = 0.0
    half_life_days: float = 30.0
    diversity: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not -sys.float_info.max <= value <= sys.float_info.max
            ):
                raise InvalidInput(item.name, value, "pass a finite number; 0 switches a step off")
        if self.half_life_days <= 0:
            raise InvalidInput("half_life_days", self.half_life_days, "pass days, more than 0")
        if not 0 <= self.diversity <= 1:
            raise InvalidInput("diversity", self.diversity, "pass a number from 0 to 1")
        if not isinstance(self.candidates, int) or not 0 <= self.candidates <= 1_000:
            raise InvalidInput("candidates", self.candidates, "pass an int from 0 to 1000")


@dataclass(frozen=True)
class Modes:
    """When a context holds the whole history and when not, by the tokens of its session.

    Up to `full_up_to` tokens everything; up to `balanced_up_to` many recent turns and what is
    recalled; above that few recent turns, so that a long conversation costs the same every turn.
    A session that shrinks goes back only once it has lost a fifth. Raises `InvalidInput`.

    >>> Modes(full_up_to=2_000).balanced_up_to
    20000
    """

    full_up_to: int = 5_000
    balanced_up_to: int = 20_000

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InvalidInput(item.name, value, "pass a number of tokens, an int >= 0")
        if self.balanced_up_to < self.full_up_to:
            remedy = f"it must not be below full_up_to ({self.full_up_to})"
            raise InvalidInput("balanced_up_to", self.balanced_up_to, remedy)


@dataclass(frozen=True)
class Strategy:
    """What a context of some kind of work is made of; a named bundle of settings.

    `recent` and `summary` are shares from 0 to 1 of what the budget leaves open, in mode balanced;
    what is recalled gets the rest. `window` turns to either side come with a hit where they fit.
    `goal` of the user's first messages stay in view. `recall` weighs the steps of the search, in
    place of the memory's. Raises `InvalidInput`.

    >>> Strategy("mine", recent=0.2, window=1)
    Strategy(name='mine', recent=0.2, summary=0.2, window=1, goal=1, recall=None)
    """

    name: str
    recent: float = 0.3
    summary: float = 0.2
    window: int = 0
    goal: int = 1
    recall: Recall | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput("name", self.name, "pass a str that is not empty")
        for name in ("recent", "summary"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value <= 1
            ):
                raise InvalidInput(name, value, "pass a share, a number from 0 to 1")
        if self.recent + self.summary > 1:
            raise InvalidInput("recent", self.recent, f"with summary {self.summary} it is over 1")
        for name, most in (("window", 10), ("goal", 10)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
                raise InvalidInput(name, value, f"pass an int from 0 to {most}")
        if self.recall is not None and not isinstance(self.recall, Recall):
            raise InvalidInput("recall", self.recall, "pass None or a rag_memory_plugins.Recall")


STRATEGIES: Final = {
    strategy.name: strategy
    for strategy in (
        Strategy("chat"),
        Strategy("ui_builder", recent=0.25, summary=0.25, goal=2),
        Strategy("code_editor", recent=0.45, summary=0.15, window=1),
        Strategy("support", recent=0.3, summary=0.2, goal=2),
        Strategy("research", recent=0.15, summary=0.15, window=1),
    )
}
"""The strategies that have a name."""


def strategy_of(value: Strategy | str) -> Strategy:
    """A strategy by its name, or as it is. Raises `InvalidInput`."""
    if isinstance(value, Strategy):
        return value
    if not isinstance(value, str) or value not in STRATEGIES:
        raise InvalidInput("strategy", value, nearest(str(value), STRATEGIES))
    return STRATEGIES[value]
