"""Ranking: the steps from a question to ordered rows, each a pure function over one scope.

lanes (dense turn, dense window, keywords) -> fuse -> boosts (speaker, inherit, question, dates,
answer type) -> late interaction over the first candidates -> the best rows, each with the parts of
its score. Every step is off at weight 0 and reports its seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.config import Recall
from rag_memory_plugins.retrieval.boosts import boosts
from rag_memory_plugins.retrieval.chosen import ChosenRows
from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.fusion import Lane, Scores, best_rows, fuse, standardized
from rag_memory_plugins.retrieval.late import TokenSource, late_scores, token_weights
from rag_memory_plugins.retrieval.lexical import bm25
from rag_memory_plugins.retrieval.nearest import Found, found
from rag_memory_plugins.retrieval.ordering import diversified, recency
from rag_memory_plugins.retrieval.passages import Near, Passages
from rag_memory_plugins.retrieval.ranking import Question, Ranked, Ranking
from rag_memory_plugins.retrieval.silence import signals_of
from rag_memory_plugins.retrieval.topics import session_scores, topic_scores
from rag_memory_plugins.retrieval.traits import NOT_RECALLED

__all__ = ["Question", "Ranked", "Ranking", "rank"]

# Near the spread that one LoCoMo question in a hundred has (0.41 and 0.08): recall is unchanged there.
KEYWORD_FLOOR: Final = 0.5
COSINE_FLOOR: Final = 0.03
LATE_FLOOR: Final = 0.01
PASSAGE_FLOOR: Final = 0.03
NEWER_FIRST: Final = 400
NEWER_LIKE: Final = 0.3
NEWER_BY: Final = 0.001
"""Of the first 400, one whose best passage has this cosine to an older one's is raised above it."""
MOST_CANDIDATES: Final = 4
"""Who asks for many hits has them looked at too, up to this many times the candidates."""
LATE_TERMS: Final = 4_000
LANES: Final = ("dense_turn", "dense_window", "keywords")
INTERPOLATED: Final = frozenset((*LANES, "passage", "inherit"))
LANES_AFTER_LATE: Final = 0.5
"""What is left of the lanes where late interaction has looked: it tells the same, only better."""


def rank(
    corpus: Corpus,
    dense: DenseRows | ChosenRows | None,
    question: Question,
    limit: int,
    *,
    settings: Recall,
    session: int | None = None,
    sessions: NDArray[np.int64] | None = None,
    allowed: NDArray[np.int64] | None = None,
    source: TokenSource | None = None,
    passages: Passages | None = None,
    focus: int = 0,
    paged: bool = False,
) -> Ranking:
    """The best `limit` rows for a question, best first.

    Without vectors the keyword lane stands alone, and only rows that it matched are returned.
    `session` keeps only that session's rows, `sessions` those of several and `allowed` only messages
    of these seqs (ascending); lanes and boosts score over the whole scope, late interaction looks at
    the first that match. With `paged` the order does not depend on `limit`.
    """
    ranking = Ranking()
    if not len(corpus):
        return ranking
    lanes, eligible = _lanes(corpus, dense, question, settings, ranking)
    near = _near(passages, question, len(corpus), settings, ranking, focus)
    if near is not None and settings.passage:
        lanes["passage"] = Lane(near.best, settings.passage, PASSAGE_FLOOR, near.has & eligible)
    _narrow(eligible, corpus, session, allowed)
    if sessions is not None:
        eligible &= np.isin(corpus.session, sessions)
    total, parts = fuse(lanes, len(corpus))
    ranking.ran("fuse")
    more = _boosts(corpus, dense, question, total, settings, ranking.off)
    score = sum(more.values(), total)
    parts |= more
    ranking.ran("boosts")
    looked_at = 0 if paged else limit
    late = _late(corpus, question, score, eligible, settings, looked_at, source, ranking)
    best = _ordered(score, eligible, max(limit, settings.candidates), late, parts)
    ranking.ran("order")
    judged = [part for name, part in parts.items() if name != "passage"]
    first = float(sum(part[best[0]] for part in judged)) if len(best) else 0.0
    ranking.signals = _signals(corpus, question, lanes, eligible, late, first, settings)
    ranking.ran("signals")
    if settings.diversity and dense is not None:
        _diversify(best, dense, parts, settings)
        ranking.ran("diversity")
    best = best[:limit]
    looked = None
    if near is not None and focus:
        looked = found(near, total, eligible, best)
        best = _focused(best, looked, parts, focus)
        ranking.ran("focus")
    ranking.rows = _ranked(best, parts, near, looked)
    return ranking


def _focused(
    best: NDArray[np.intp],
    found: Found,
    parts: dict[str, Scores],
    focus: int,
) -> NDArray[np.intp]:
    """The best rows with those of the `focus` best passages; of like ones the newer stands above.

    What was said anew has mostly changed; what it changed has the better words of the question.
    """
    more = found.first(focus)
    rows = np.concatenate([best, more[~np.isin(more, best)]])
    whole = np.sum([part[rows] for part in parts.values()], axis=0)
    looked = np.sort(rows[np.argsort(-whole, kind="stable")][:NEWER_FIRST])
    alike = np.tril(found.alike(looked) >= NEWER_LIKE, -1)
    whole = np.sum([part[looked] for part in parts.values()], axis=0)
    raised = whole.copy()
    # The oldest first: what is raised raises what came after.
    for at in np.flatnonzero(alike.any(axis=1)).tolist():
        raised[at] = max(raised[at], raised[:at][alike[at, :at]].max() + NEWER_BY)
    part = np.zeros(len(next(iter(parts.values()))))
    part[looked] = raised - whole
    parts["newer"] = part
    total = np.sum([some[rows] for some in parts.values()], axis=0)
    order: NDArray[np.intp] = rows[np.argsort(-total, kind="stable")]
    return order


def _near(
    passages: Passages | None,
    question: Question,
    rows: int,
    settings: Recall,
    ranking: Ranking,
    focus: int,
) -> Near | None:
    """Every passage's score, unless nobody asked for it or it cannot run."""
    if not settings.passage and not focus:
        return None
    if passages is None or question.passage is None or not len(passages):
        ranking.off["passage"] = "off: the embedder gives no passages"
        return None
    near = passages.near(question.passage[0], rows)
    ranking.ran("passage")
    return near


def _narrow(
    eligible: NDArray[np.bool_],
    corpus: Corpus,
    session: int | None,
    allowed: NDArray[np.int64] | None,
) -> None:
    """Leave out, in place, the rows of other sessions and those that are not allowed."""
    if session is not None:
        eligible &= corpus.session == session
    if allowed is not None:
        eligible &= np.isin(corpus.seq, allowed, assume_unique=True)


def _ranked(
    best: NDArray[np.intp], parts: dict[str, Scores], near: Near | None, found: Found | None
) -> list[Ranked]:
    """These rows, each with its score and the parts of it."""
    columns = [part[best] for part in parts.values()]
    score = np.zeros(len(best))
    for column in columns:  # one after the other: a sum adds otherwise by how many rows there are
        score += column
    values = zip(*(column.tolist() for column in columns), strict=True)
    passages: Iterable[tuple[Any, ...]] = repeat((), len(best))
    if near is not None and found is not None:
        passages = zip(found.of(best), near.spans_of(best), strict=True)
    return [
        Ranked(
            row,
            whole,
            dict(zip(parts, some, strict=True)),
            *more,
        )
        for row, whole, some, more in zip(
            best.tolist(), score.tolist(), values, passages, strict=True
        )
    ]


@dataclass(frozen=True)
class _Late:
    """Late interaction over the first candidates: raw scores, and the parts they add to each."""

    rows: NDArray[np.intp]
    raw: Scores
    added: dict[str, Scores]


def _lanes(
    corpus: Corpus,
    dense: DenseRows | ChosenRows | None,
    question: Question,
    settings: Recall,
    ranking: Ranking,
) -> tuple[dict[str, Lane], NDArray[np.bool_]]:
    """Every lane that can run, and the rows that may be returned."""
    recalled = ~corpus.flagged(NOT_RECALLED)
    matches = bm25(corpus.postings, question.terms, corpus.spread_lengths, corpus.spread)
    lanes = {"keywords": Lane(matches, settings.keywords, KEYWORD_FLOOR, recalled)}
    ranking.ran("keywords")
    if isinstance(dense, ChosenRows) and question.vector is not None:
        dense.choose(corpus, matches)
    if dense is None or question.vector is None or not dense.has.any():
        return lanes, (matches > 0) & recalled
    has = dense.has & recalled
    sample = None if dense.sample is None else dense.sample[has[dense.sample]]
    turn, window = dense.scores(corpus, question.vector)
    for name, scores, weight in (
        ("dense_turn", turn, settings.dense_turn),
        ("dense_window", window, settings.dense_window),
    ):
        lanes[name] = Lane(scores.astype(np.float64), weight, COSINE_FLOOR, has, sample)
    ranking.ran("dense")
    return lanes, recalled.copy()


def _boosts(
    corpus: Corpus,
    dense: DenseRows | ChosenRows | None,
    question: Question,
    total: Scores,
    settings: Recall,
    off: dict[str, str],
) -> dict[str, Scores]:
    """What rows gain or lose beside the lanes, whose sum is `total`."""
    found = boosts(corpus, question.cues, total, settings, off)
    if settings.session:
        found["session"] = settings.session * session_scores(total, corpus.session)
    if settings.topic and isinstance(dense, ChosenRows):
        off["topic"] = "off: it needs every vector, and only those worth a look were read"
    elif settings.topic and isinstance(dense, DenseRows):
        topic = topic_scores(total, corpus.session, dense.vectors)
        found["topic"] = settings.topic * topic
    if settings.recency:
        fresh = recency(corpus.day, question.asked, settings.half_life_days)
        found["recency"] = settings.recency * fresh
    return found


def _late(
    corpus: Corpus,
    question: Question,
    score: Scores,
    eligible: NDArray[np.bool_],
    settings: Recall,
    limit: int,
    source: TokenSource | None,
    ranking: Ranking,
) -> _Late | None:
    """Late interaction over the first rows, or None when it does not run.

    The scale is that of the first `settings.candidates`, so that more rows change no score.
    """
    if not settings.late or not settings.candidates:
        return None
    if source is None or question.tokens is None:
        ranking.off["late"] = "off: the embedder gives no token vectors"
        return None
    wide = min(max(limit, settings.candidates), MOST_CANDIDATES * settings.candidates)
    first = best_rows(score, eligible, wide)
    if not len(first):
        return None
    # Long messages are looked at as far as the usual number of short ones costs.
    enough = int(np.searchsorted(np.cumsum(corpus.lengths[first]), LATE_TERMS)) + 1
    first = first[: max(settings.candidates, enough)]
    weights = token_weights(question.text, question.spans, corpus)
    # The row before an answer is looked at too: the answer inherits from it.
    answers = corpus.answers[first]
    looked = np.concatenate([first, corpus.before[first[answers]].astype(np.intp)])
    raw, own, has = late_scores(corpus, looked, question.tokens, weights, source)
    reference = min(len(first), settings.candidates)
    scale = standardized(raw, has, LATE_FLOOR, reference)
    late = settings.late * scale[: len(first)]
    late[answers] += settings.inherit * settings.late * scale[len(first) :]
    added = {"late": late}
    if settings.own:
        added["own"] = settings.own * standardized(own, has, LATE_FLOOR, reference)[: len(first)]
    ranking.ran("late")
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
        return best_rows(score, eligible, limit)
    rows = late.rows
    for name in INTERPOLATED & parts.keys():
        parts[name][rows] *= LANES_AFTER_LATE
    for name, added in late.added.items():
        parts[name] = np.zeros(len(score))
        parts[name][rows] = added
    whole = np.sum([part[rows] for part in parts.values()], axis=0)
    # What was not looked at has no late part: it follows in its own order, below the last looked at.
    others = eligible.copy()
    others[rows] = False
    behind = best_rows(score, others, limit - len(rows))
    if len(behind):
        parts["late"][behind] = np.minimum(0.0, whole.min() - score[behind].max())
    looked = rows[np.argsort(-whole, kind="stable")]
    return np.concatenate([looked, behind])


def _signals(
    corpus: Corpus,
    question: Question,
    lanes: dict[str, Lane],
    eligible: NDArray[np.bool_],
    late: _Late | None,
    first: float,
    settings: Recall,
) -> tuple[float, ...]:
    """What tells whether the first rows mean anything; see `retrieval.silence`."""
    counts = {term: corpus.idf(term) for term in dict.fromkeys(question.terms)}
    mass = sum(counts.values())
    unknown = sum(idf for term, idf in counts.items() if not len(corpus.postings.find(term)))
    raw = [lanes[name].scores if name in lanes else None for name in LANES]
    if not eligible.all():
        raw = [None if lane is None else np.where(eligible, lane, -np.inf) for lane in raw]
    # Of the first candidates alone: a longer answer is judged as a shorter one.
    raw.append(None if late is None else late.raw[: settings.candidates])
    usual = lanes["dense_turn"].mean() if "dense_turn" in lanes else 0.0
    return signals_of(raw, mass, unknown / mass if mass else 1.0, first, usual)


def _diversify(
    best: NDArray[np.intp],
    dense: DenseRows | ChosenRows,
    parts: dict[str, Scores],
    settings: Recall,
) -> None:
    """Reorder the first candidates in place; the k-th of them keeps the k-th score there was."""
    first = best[: settings.candidates].copy()
    score = np.sum(list(parts.values()), axis=0)
    order = diversified(score, first, dense.vectors_of(first), settings.diversity)
    part = np.zeros(len(score))
    part[order] = score[first] - score[order]
    parts["diversity"] = part
    best[: len(order)] = order
