"""The passages of a scope: which rows are nearest, what they say of each, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from rag_memory_plugins.retrieval.passages import Passages

WIDTH, LENGTH = 128, 300.0


def vectors(count, seed):
    """Random vectors of one length, in numbers of one byte."""
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH))
    return np.rint(rows * LENGTH / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.int8)


def field(counts, seed=0):
    """(passages of each row, none for a row of 0)."""
    flat = vectors(sum(counts), seed)
    return np.split(flat, np.cumsum(counts)[:-1])


def filled(rows, order=None, parts=1, spans=()):
    held = Passages()
    for some in np.array_split(np.arange(len(rows)) if order is None else order, parts):
        blobs = [rows[at].tobytes() or None for at in some]
        kept = [spans[at] for at in some] if spans else ()
        held.put(some, blobs, [WIDTH] * len(some), kept)
    return held


COUNTS = [1, 7, 0, 3, 12, 1, 0, 5] * 60
ROWS = field(COUNTS)
QUESTIONS = vectors(10, seed=1)
ALL = np.ones(len(ROWS), np.bool_)


def cosines(rows, question):
    asked = question.astype(np.float64)
    return [some.astype(np.float64) @ asked / (asked @ asked) for some in rows]


def exact(rows, question, count):
    best = [max(some, default=-np.inf) for some in cosines(rows, question)]
    return sorted(range(len(rows)), key=lambda row: (-best[row], -row))[:count]


@pytest.mark.parametrize("question", range(len(QUESTIONS)))
def test_the_first_rows_are_those_of_the_nearest_passages(question):
    near = filled(ROWS).near(QUESTIONS[question], len(ROWS))
    assert near.first(ALL, 16).tolist() == exact(ROWS, QUESTIONS[question], 16)


def test_only_eligible_rows_are_first():
    near = filled(ROWS).near(QUESTIONS[0], len(ROWS))
    eligible = ALL.copy()
    eligible[exact(ROWS, QUESTIONS[0], 5)] = False
    expected = exact(ROWS, QUESTIONS[0], 21)[5:]
    assert near.first(eligible, 16).tolist() == expected


@pytest.mark.parametrize("eligible", [~ALL, np.array(COUNTS) == 0])
def test_nothing_is_first_where_no_row_that_may_be_has_passages(eligible):
    assert not len(filled(ROWS).near(QUESTIONS[0], len(ROWS)).first(eligible, 16))


@pytest.mark.parametrize("parts", [2, 7, 100])
def test_passages_put_one_after_the_other_are_as_those_put_at_once(parts):
    one, other = (filled(ROWS, parts=n).near(QUESTIONS[0], len(ROWS)) for n in (1, parts))
    assert one.pairs.tobytes() == other.pairs.tobytes()
    assert one.first(ALL, 16).tolist() == other.first(ALL, 16).tolist()


def test_rows_may_be_put_in_any_order():
    mixed = np.random.default_rng(2).permutation(len(ROWS))
    near = filled(ROWS, order=mixed, parts=5).near(QUESTIONS[0], len(ROWS))
    assert near.first(ALL, 16).tolist() == exact(ROWS, QUESTIONS[0], 16)
    assert near.best == pytest.approx(
        [max(some, default=0.0) for some in cosines(ROWS, QUESTIONS[0])], abs=1e-6
    )


def test_every_passage_of_a_row_has_its_cosine():
    near = filled(ROWS).near(QUESTIONS[0], len(ROWS))
    rows = np.array([4, 2, 300, 1])
    expected = cosines(ROWS, QUESTIONS[0])
    for row, found in zip(rows, near.cosines_of(rows), strict=True):
        assert found == pytest.approx(tuple(expected[row]), abs=1e-6)


def test_rows_are_alike_by_their_best_passages():
    near = filled(ROWS).near(QUESTIONS[0], len(ROWS))
    rows = np.arange(100)
    best = np.zeros((len(rows), WIDTH))
    for row in rows:
        if len(some := cosines([ROWS[row]], QUESTIONS[0])[0]):
            best[row] = ROWS[row][np.argmax(some)]
    best /= np.maximum(np.linalg.norm(best, axis=1, keepdims=True), 1e-6)
    before = np.tril_indices(len(rows), -1)
    assert near.alike(rows)[before] == pytest.approx((best @ best.T)[before], abs=1e-5)


def test_a_row_says_where_its_passages_stand_if_that_was_kept():
    rows = field([2, 3, 1, 2])
    stand = np.array([[0, 5], [6, 9]], "<i4").tobytes()
    spans = [stand, None, None, stand[:8]]  # the last says it of one passage, and it has two
    near = filled(rows, spans=spans).near(QUESTIONS[0], len(rows))
    assert near.spans_of(np.array([3, 0, 1, 2])) == [(), ((0, 5), (6, 9)), (), ()]


def test_passages_without_spans_stand_nowhere():
    near = filled(field([2, 3])).near(QUESTIONS[0], 2)
    assert near.spans_of(np.array([0, 1])) == [(), ()]
