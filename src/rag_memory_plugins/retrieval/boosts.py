"""What a row gains or loses beside the lanes: by its place in the talk, and by what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.cues import Cues
from rag_memory_plugins.retrieval.fusion import Scores
from rag_memory_plugins.retrieval.traits import (
    BY_ASSISTANT,
    BY_USER,
    ENDS_WITH_QUESTION,
    NAMES_SOMETHING,
    ONLY_ASKS,
    TELLS_TIME,
)

if TYPE_CHECKING:
    from rag_memory_plugins.config import Recall

__all__ = ["boosts", "matching_days"]


def boosts(
    corpus: Corpus, cues: Cues, total: Scores, settings: Recall, off: dict[str, str]
) -> dict[str, Scores]:
    """Each boost over all rows, in standard deviations of a lane; those that do not apply are left out.

    `total` is the sum of the lanes. Why a step is off goes into `off`.
    """
    found: dict[str, Scores] = {}
    speaker = _speaker(corpus, cues)
    if settings.speaker and speaker is not None:
        found["speaker"] = _weighted(settings.speaker, speaker)
    if settings.inherit:
        found["inherit"] = _inherited(corpus, settings.inherit, total)
    if settings.question:
        asks = corpus.derived("asks", lambda: _asks(corpus))
        found["question"] = _weighted(settings.question, asks)
    if settings.date and cues.days:
        found["date"] = _weighted(settings.date, matching_days(corpus, cues.days))
    if not cues.english:
        off["cues"] = "off: they know English questions only"
        return found
    if settings.when and cues.when:
        found["when"] = _weighted(settings.when, corpus.flagged(TELLS_TIME))
    if settings.name and cues.name:
        found["name"] = _weighted(settings.name, corpus.flagged(NAMES_SOMETHING))
    return found


def _inherited(corpus: Corpus, weight: float, total: Scores) -> Scores:
    """What answers have of the row before them; shape (rows,)."""
    # Of answers alone: of every row it takes 0.5 ms more over 100,000.
    rows = corpus.derived("answering", lambda: np.flatnonzero(corpus.answers))
    result = np.zeros(len(total))
    result[rows] = weight * total[corpus.before[rows]]
    return result


def _asks(corpus: Corpus) -> Scores:
    """1 for a row that ends with a question, 3 for one that only asks."""
    return corpus.flagged(ENDS_WITH_QUESTION) + 2.0 * corpus.flagged(ONLY_ASKS)


def _weighted(weight: float, values: NDArray[Any]) -> Scores:
    return np.asarray(weight * values, np.float64)


def _speaker(corpus: Corpus, cues: Cues) -> Scores | None:
    """1 for the rows of who is asked about, -1 for the others', None if nobody is told apart.

    People are told by name; where rows have no names, by role ("what did you suggest?").
    """
    named = corpus.speakers_named(cues.words)
    if named and len(named) < corpus.speakers:
        # A look-up by the speaker's number: `np.isin` takes five times longer.
        signs = np.full(corpus.speakers + 1, -1.0)
        signs[list(named)] = 1.0
        return signs[corpus.speaker]
    if named or corpus.speakers or cues.role is None:
        return None
    user, assistant = corpus.flagged(BY_USER), corpus.flagged(BY_ASSISTANT)
    mine, other = (user, assistant) if cues.role == "user" else (assistant, user)
    return mine.astype(np.float64) - other


def matching_days(corpus: Corpus, asked: tuple[int, ...]) -> Scores:
    """2 for rows of an asked day, 1 for those of its month or year; shape (rows,)."""
    told_row, told_day = corpus.told
    result = np.zeros(len(corpus))
    for day in asked:
        result = np.maximum(result, _levels(corpus.day, day))
        if len(told_row):
            np.maximum.at(result, told_row, _levels(told_day, day))
    return result


def _levels(days: NDArray[np.int32], asked: int) -> Scores:
    year, month, day = asked // 10_000, asked // 100 % 100, asked % 100
    fits = np.ones(len(days), np.bool_) if not year else days // 10_000 == year
    if month:
        fits &= days // 100 % 100 == month
    return fits.astype(np.float64) + (fits & (days % 100 == day) if day else 0.0)
