"""Ranking: the steps from a question to ordered rows, each a pure function over one scope.

lanes (dense turn, dense window, keywords) -> fuse -> boosts (speaker, inherit, question, dates,
answer type) -> late interaction over the first candidates -> the best rows, each with the parts of
its score. Every step is off at weight 0 and reports its seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.config import Recall
from rag_memory_plugins.retrieval.boosts import boosts
from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.cues import Cues
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.fusion import Lane, Scores, best_of, fuse, standardized
from rag_memory_plugins.retrieval.late import TokenSource, late_scores, token_weights
from rag_memory_plugins.retrieval.lexical import bm25
from rag_memory_plugins.retrieval.ordering import diversified, recency
from rag_memory_plugins.retrieval.silence import signals_of
from rag_memory_plugins.retrieval.topics import session_scores, topic_scores
from rag_memory_plugins.retrieval.traits import NOT_RECALLED

__all__ = ["Question", "Ranked", "Ranking", "rank"]

# Near the spread that one LoCoMo question in a hundred has (0.41 and 0.08): recall is unchanged there.
KEYWORD_FLOOR: Final = 0.5
COSINE_FLOOR: Final = 0.03
LATE_FLOOR: Final = 0.01
MOST_CANDIDATES: Final = 4
"""Who asks for many hits has them looked at too, up to this many times the candidates."""
LANES: Final = ("dense_turn", "dense_window", "keywords")


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


@dataclass(frozen=True)
class Ranked:
    """One row of a ranking; `parts` add up to `score`."""

    row: int
    score: float
    parts: dict[str, float]


@dataclass
class Ranking:
    """The best rows first, the seconds of each step, and what did not run with the reason.

    `signals` tell whether the rows mean anything; see `retrieval.silence`.
    """

    rows: list[Ranked] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    signals: tuple[float, ...] = ()

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what runs inside for `step`."""
        started = perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started


def rank(
    corpus: Corpus,
    dense: DenseRows | None,
    question: Question,
    limit: int,
    *,
    settings: Recall,
    session: int | None = None,
    allowed: NDArray[np.int64] | None = None,
    source: TokenSource | None = None,
) -> Ranking:
    """The best `limit` rows for a question, best first.

    Without vectors the keyword lane stands alone, and only rows that it matched are returned.
    `session` keeps only that session's rows and `allowed` only messages of these seqs (ascending);
    lanes and boosts score over the whole scope, late interaction looks at the first that match.
    """
    ranking = Ranking()
    if not len(corpus):
        return ranking
    lanes, eligible = _lanes(corpus, dense, question, settings, ranking)
    with ranking.timed("fuse"):
        total, parts = fuse(lanes, len(corpus))
    with ranking.timed("boosts"):
        parts |= boosts(corpus, question.cues, total, settings, ranking.off)
        parts |= _grains(corpus, dense, total, settings)
        if settings.recency:
            fresh = recency(corpus.day, question.asked, settings.half_life_days)
            parts["recency"] = settings.recency * fresh
        score = np.zeros(len(corpus))
        for part in parts.values():
            score += part
        eligible &= ~corpus.flagged(NOT_RECALLED)
        if session is not None:
            eligible &= corpus.session == session
        if allowed is not None:
            eligible &= np.isin(corpus.seq, allowed, assume_unique=True)
    with ranking.timed("late"):
        wide = min(max(limit, settings.candidates), MOST_CANDIDATES * settings.candidates)
        late = _late(corpus, question, score, eligible, settings, wide, source, ranking.off)
    best = _ordered(score, eligible, max(limit, settings.candidates), late, parts)
    with ranking.timed("signals"):
        raw = [lanes[name].scores if name in lanes else None for name in LANES]
        first = float(sum(part[best[0]] for part in parts.values())) if len(best) else 0.0
        ranking.signals = _signals(corpus, question, raw, eligible, late, first, settings)
    if settings.diversity and dense is not None:
        with ranking.timed("diversity"):
            _diversify(best, dense, parts, settings)
    ranking.rows = [
        Ranked(
            int(row),
            float(sum(part[row] for part in parts.values())),
            {name: float(part[row]) for name, part in parts.items()},
        )
        for row in best[:limit]
    ]
    return ranking


@dataclass(frozen=True)
class _Late:
    """Late interaction over the first candidates: raw scores, and what they add to each."""

    rows: NDArray[np.intp]
    raw: Scores
    added: Scores


def _lanes(
    corpus: Corpus,
    dense: DenseRows | None,
    question: Question,
    settings: Recall,
    ranking: Ranking,
) -> tuple[dict[str, Lane], NDArray[np.bool_]]:
    """Every lane that can run, and the rows that may be returned."""
    recalled = ~corpus.flagged(NOT_RECALLED)
    with ranking.timed("keywords"):
        matches = bm25(corpus.postings, question.terms, corpus.spread_lengths, corpus.spread)
    lanes = {"keywords": Lane(matches, settings.keywords, KEYWORD_FLOOR, recalled)}
    if dense is None or question.vector is None or not dense.has.any():
        return lanes, matches > 0
    has = dense.has & recalled
    with ranking.timed("dense"):
        turn, window = dense.scores(corpus, question.vector)
    for name, scores, weight in (
        ("dense_turn", turn, settings.dense_turn),
        ("dense_window", window, settings.dense_window),
    ):
        lanes[name] = Lane(scores.astype(np.float64), weight, COSINE_FLOOR, has)
    return lanes, np.ones(len(corpus), np.bool_)


def _grains(
    corpus: Corpus, dense: DenseRows | None, total: Scores, settings: Recall
) -> dict[str, Scores]:
    """What a row gains by its session and topic."""
    found = {}
    if settings.session:
        found["session"] = settings.session * session_scores(total, corpus.session)
    if settings.topic and dense is not None:
        topic = topic_scores(total, corpus.session, dense.vectors)
        found["topic"] = settings.topic * topic
    return found


def _late(
    corpus: Corpus,
    question: Question,
    score: Scores,
    eligible: NDArray[np.bool_],
    settings: Recall,
    wide: int,
    source: TokenSource | None,
    off: dict[str, str],
) -> _Late | None:
    """Late interaction over the first `wide` rows, or None when it does not run.

    The scale is that of the first `settings.candidates`, so that more rows change no score.
    """
    if not settings.late or not settings.candidates:
        return None
    if source is None or question.tokens is None:
        off["late"] = "off: the embedder gives no token vectors"
        return None
    first = _best(score, eligible, wide)
    if not len(first):
        return None
    weights = token_weights(question.text, question.spans, corpus)
    # The row before an answer is looked at too: the answer inherits from it.
    answers = corpus.answers[first]
    looked = np.concatenate([first, corpus.before[first[answers]].astype(np.intp)])
    raw, has = late_scores(corpus, looked, question.tokens, weights, source)
    scale = standardized(raw, has, LATE_FLOOR, min(len(first), settings.candidates))
    added = settings.late * scale[: len(first)]
    added[answers] += settings.inherit * settings.late * scale[len(first) :]
    return _Late(first, np.where(has, raw, -np.inf)[: len(first)].astype(np.float64), added)


def _ordered(
    score: Scores,
    eligible: NDArray[np.bool_],
    limit: int,
    late: _Late | None,
    parts: dict[str, Scores],
) -> NDArray[np.intp]:
    """The best rows; those that late interaction looked at stand before the others."""
    if late is None:
        return _best(score, eligible, limit)
    part = np.zeros(len(score))
    part[late.rows] = late.added
    # What was not looked at has no late part: it follows in its own order, below the last looked at.
    others = eligible.copy()
    others[late.rows] = False
    behind = _best(score, others, limit - len(late.rows))
    if len(behind):
        floor = (score[late.rows] + late.added).min()
        part[behind] = np.minimum(0.0, floor - score[behind].max())
    parts["late"] = part
    looked = late.rows[np.argsort(-(score[late.rows] + late.added), kind="stable")]
    return np.concatenate([looked, behind])


def _signals(
    corpus: Corpus,
    question: Question,
    lanes: list[Scores | None],
    eligible: NDArray[np.bool_],
    late: _Late | None,
    first: float,
    settings: Recall,
) -> tuple[float, ...]:
    """What tells whether the first rows mean anything; see `retrieval.silence`."""
    counts = {term: corpus.idf(term) for term in dict.fromkeys(question.terms)}
    mass = sum(counts.values())
    unknown = sum(idf for term, idf in counts.items() if not len(corpus.postings.find(term)))
    looked = None
    if late is not None:
        looked = np.full(len(corpus), -np.inf)
        few = slice(settings.candidates)  # a longer answer is judged as a shorter one
        looked[late.rows[few]] = late.raw[few]
    return signals_of([*lanes, looked], eligible, mass, unknown / mass if mass else 1.0, first)


def _diversify(
    best: NDArray[np.intp], dense: DenseRows, parts: dict[str, Scores], settings: Recall
) -> None:
    """Reorder the first candidates in place; the k-th of them keeps the k-th score there was."""
    first = best[: settings.candidates].copy()
    score = np.sum(list(parts.values()), axis=0)
    order = diversified(score, first, dense.vectors[first], settings.diversity)
    part = np.zeros(len(score))
    part[order] = score[first] - score[order]
    parts["diversity"] = part
    best[: len(order)] = order


def _best(score: Scores, eligible: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Rows of the `limit` highest scores, best first; among equals the newer row is first."""
    if limit <= 0:
        return np.empty(0, np.intp)
    masked = np.where(eligible, score, -np.inf)
    highest = best_of(masked, limit)
    if not len(highest):
        return np.empty(0, np.intp)
    rows = np.flatnonzero(masked >= highest[-1])
    order = np.lexsort((-rows, -score[rows]))
    return rows[order][:limit]
