"""The passages of a scope: which rows are nearest, what they say of each, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from rag_memory_plugins.retrieval.passages import Passages

WIDTH, LENGTH = 128, 300.0


def vectors(count, seed):
    """Random vectors of one length, in numbers of one byte, the telling ones first."""
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH)) * 0.96 ** np.arange(WIDTH)
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


def cosines(rows, question):
    asked = question.astype(np.float64)
    return [some.astype(np.float64) @ asked / (asked @ asked) for some in rows]


def exact(rows, question, count):
    best = [max(some, default=-np.inf) for some in cosines(rows, question)]
    return sorted(range(len(rows)), key=lambda row: (-best[row], -row))[:count]


@pytest.mark.parametrize("question", range(len(QUESTIONS)))
def test_the_coarse_look_is_about_the_cosine_of_each_rows_best_passage(question):
    near = filled(ROWS).near(QUESTIONS[question], len(ROWS))
    assert near.coarse() == pytest.approx(near.best, abs=0.06)


@pytest.mark.parametrize("question", range(len(QUESTIONS)))
def test_the_nearest_rows_are_among_the_first_of_the_coarse_look(question):
    near = filled(ROWS).near(QUESTIONS[question], len(ROWS))
    leading = np.argsort(-near.coarse(), kind="stable")[:64]
    assert set(exact(ROWS, QUESTIONS[question], 16)) <= set(leading.tolist())


@pytest.mark.parametrize("parts", [2, 7, 100])
def test_passages_put_one_after_the_other_are_as_those_put_at_once(parts):
    one, other = (filled(ROWS, parts=n).near(QUESTIONS[0], len(ROWS)) for n in (1, parts))
    assert one.pairs.tobytes() == other.pairs.tobytes()
    assert one.coarse().tolist() == other.coarse().tolist()


def test_rows_may_be_put_in_any_order():
    mixed = np.random.default_rng(2).permutation(len(ROWS))
    near = filled(ROWS, order=mixed, parts=5).near(QUESTIONS[0], len(ROWS))
    assert near.best == pytest.approx(
        [max(some, default=0.0) for some in cosines(ROWS, QUESTIONS[0])], abs=1e-6
    )


def test_every_passage_of_a_row_has_its_cosine():
    near = filled(ROWS).near(QUESTIONS[0], len(ROWS))
    rows = np.array([4, 2, 300, 1])
    begins, places = near.places(rows)
    found = near.cosines(near.vectors[places])
    expected = cosines(ROWS, QUESTIONS[0])
    assert begins.tolist() == [0, 12, 12, 24]
    assert found == pytest.approx(np.concatenate([expected[row] for row in rows]), abs=1e-6)


def test_a_sample_is_even_over_the_scope_however_its_passages_came():
    mixed = np.random.default_rng(3).permutation(len(ROWS))
    one, other = (filled(ROWS, order=o).near(QUESTIONS[0], len(ROWS)) for o in (None, mixed))
    total = sum(COUNTS)
    assert one.sample(10).tolist() == [at * total // 10 for at in range(10)]
    assert one.vectors[one.sample(10)].tolist() == other.vectors[other.sample(10)].tolist()
    assert one.sample(total + 5).tolist() == list(range(total))


def test_a_row_says_where_its_passages_stand_if_that_was_kept():
    rows = field([2, 3, 1, 2])
    stand = np.array([[0, 5], [6, 9]], "<i4").tobytes()
    spans = [stand, None, None, stand[:8]]  # the last says it of one passage, and it has two
    near = filled(rows, spans=spans).near(QUESTIONS[0], len(rows))
    assert near.spans_of(np.array([3, 0, 1, 2])) == [(), ((0, 5), (6, 9)), (), ()]


def test_passages_without_spans_stand_nowhere():
    near = filled(field([2, 3])).near(QUESTIONS[0], 2)
    assert near.spans_of(np.array([0, 1])) == [(), ()]
