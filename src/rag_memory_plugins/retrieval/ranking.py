"""What a ranking is asked and what it answers: values of `retriever`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.cues import Cues

__all__ = ["Question", "Ranked", "Ranking"]


@dataclass(frozen=True)
class Question:
    """A question as the ranking takes it: stems, cues, when, and what the embedder made of it.

    `vector` has shape (dimension,), `tokens` (tokens, width), `spans` a token's place in `text`.
    """

    text: str
    terms: list[int]
    cues: Cues
    asked: datetime
    vector: NDArray[np.float32] | None = None
    tokens: NDArray[np.int8] | None = None
    spans: tuple[tuple[int, int], ...] = ()
    passage: NDArray[np.int8] | None = None


class Ranked(NamedTuple):
    """One row of a ranking; `parts` add up to `score`.

    `passages` are the scores of its passages beside all others (`retrieval.nearest`), and `spans`
    where each stands in its text, if that is known.
    """

    row: int
    score: float
    parts: dict[str, float]
    passages: tuple[float, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


@dataclass
class Ranking:
    """The best rows first, the seconds of each step, and what did not run with the reason.

    `signals` tell whether the rows mean anything; see `retrieval.silence`.
    """

    rows: list[Ranked] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    signals: tuple[float, ...] = ()
    _since: float = field(default_factory=perf_counter)

    def ran(self, step: str) -> None:
        """Count for `step` what ran since the step before it."""
        since, self._since = self._since, perf_counter()
        self.seconds[step] = self._since - since
