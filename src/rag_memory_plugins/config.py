"""`Recall`: how a question is matched."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields

from rag_memory_plugins.errors import InvalidInput

__all__ = ["Recall"]


@dataclass(frozen=True)
class Recall:
    """The weight of every step of a search, in standard deviations of a lane; 0 switches it off.

    The defaults are those of `docs/benchmarks.md`. `dense_turn`, `dense_window` and `keywords` are
    lanes; `late` is late interaction over the first `candidates`; `speaker` is for turns of the
    person a question names, `inherit` what an answer takes of the question before it, `question`
    for turns that ask, `date` for turns of a day or month that is asked for (doubled for the very
    day), `when` and `name` for turns that tell a time or a name when one is asked for. Off unless
    asked for, because no gain is known (`docs/benchmarks.md`): `session` and `topic`, the grains
    above the turn; `recency`, a gain that halves every `half_life_days`; `diversity`, from 0 to 1,
    maximal marginal relevance among the first `candidates`. Raises `InvalidInput`.

    >>> Recall(late=0).late
    0
    """

    dense_turn: float = 0.5
    dense_window: float = 1.0
    keywords: float = 1.0
    late: float = 2.5
    candidates: int = 48
    speaker: float = 2.0
    inherit: float = 0.4
    question: float = -6.0
    date: float = 6.0
    when: float = 3.0
    name: float = 4.0
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
