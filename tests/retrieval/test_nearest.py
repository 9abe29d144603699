"""Which passages are nearest: beside their cosine, what their message has and who says the same."""

from __future__ import annotations

import numpy as np
import pytest

from rag_memory_plugins.retrieval.nearest import LOOKED, cosines, found
from rag_memory_plugins.retrieval.passages import Passages

WIDTH = 64
QUESTION = np.eye(WIDTH, dtype=np.int8)[0] * 100
SOME = np.random.default_rng(7)


def leaning(cosine, towards):
    """A passage with this cosine to the question, for the rest of its length in a direction."""
    rest = np.array(towards, np.float64)
    rest[0] = 0.0
    rest *= np.sqrt(1 - cosine**2) / np.linalg.norm(rest)
    rest[0] = cosine
    return np.rint(rest * 100).astype(np.int8)


def anything(cosine):
    return leaning(cosine, SOME.normal(size=WIDTH))


def held(messages, order=None):
    passages = Passages()
    for row in range(len(messages)) if order is None else order:
        blob = b"".join(passage.tobytes() for passage in messages[row])
        passages.put(np.array([row]), [blob or None], [WIDTH])
    return passages


def looked(messages, whole=None, eligible=None, also=(), order=None):
    """What was found in messages, each a list of passages."""
    rows = len(messages)
    whole = np.zeros(rows) if whole is None else whole
    eligible = np.ones(rows, np.bool_) if eligible is None else eligible
    near = held(messages, order).near(QUESTION, rows)
    return found(near, whole, eligible, np.array(also, np.intp))


def scored(messages, **how):
    """The scores of their passages, message by message."""
    return looked(messages, **how).of(np.arange(len(messages)))


def others(count):
    return [[anything(SOME.uniform(-0.2, 0.2))] for _ in range(count)]


def test_a_nearer_passage_stands_above():
    scores = scored([[anything(0.3)], [anything(0.7)], *others(40)])
    assert scores[1] > scores[0]


def test_what_is_said_again_and_again_stands_below_what_is_said_once():
    canned = SOME.normal(size=WIDTH)
    often = [[leaning(0.6, canned + SOME.normal(size=WIDTH) / 4)] for _ in range(60)]
    scores = scored([[anything(0.58)], *often, *others(100)])
    assert scores[0] > max(scores[1:61])


def test_what_is_said_in_the_very_same_words_again_and_again_stands_below_too():
    canned = leaning(0.6, SOME.normal(size=WIDTH))
    scores = scored([[anything(0.58)], *([canned] for _ in range(60)), *others(100)])
    assert scores[0] > max(scores[1:61])


def test_a_passage_that_says_the_same_as_a_better_one_stands_below_another():
    twin = SOME.normal(size=WIDTH)
    scores = scored([[leaning(0.62, twin)], [leaning(0.61, twin)], [anything(0.58)], *others(60)])
    assert scores[0] > scores[2] > scores[1]


def test_a_passage_has_a_share_of_what_its_message_has():
    whole = np.zeros(42)
    whole[0] = 4.0
    scores = scored([[anything(0.5)], [anything(0.5)], *others(40)], whole=whole)
    assert scores[0] > scores[1]


def test_a_passage_of_many_stands_below_one_that_is_a_message():
    crowd = [anything(0.5), *(anything(0.0) for _ in range(9))]
    scores = scored([[anything(0.5)], crowd, *others(40)])
    assert scores[0][0] > scores[1][0]


def test_rows_that_may_not_be_returned_are_not_looked_at():
    eligible = np.ones(22, np.bool_)
    eligible[0] = False
    some = looked([[anything(0.9)], [anything(0.1)], *others(20)], eligible=eligible)
    assert 0 not in some.rows
    assert some.of(np.array([0])) == [()]


def test_rows_that_are_asked_for_are_looked_at_wherever_they_stand():
    messages = [[anything(cosine)] for cosine in np.linspace(0.9, -0.9, LOOKED + 100)]
    last = len(messages) - 1
    assert looked(messages).of(np.array([last])) == [()]
    some = looked(messages, also=[last])
    assert some.of(np.array([last]))[0] < min(some.of(np.arange(LOOKED - 20)))


def test_the_first_rows_are_those_of_the_best_passages_each_once():
    messages = [[anything(0.2)], [anything(0.8), anything(0.7)], [], [anything(0.6)]]
    some = looked(messages)
    assert some.first(3).tolist() == [1, 3]
    assert some.first(10).tolist() == [1, 3, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_scope_of_few_passages_has_scores(count):
    scores = scored([[], *([anything(0.4)] for _ in range(count)), [anything(0.2)]])
    assert [len(some) for some in scores] == [0, *[1] * (count + 1)]


def test_scores_are_the_same_however_the_passages_came():
    messages = others(700)
    mixed = np.random.default_rng(3).permutation(len(messages))
    assert scored(messages) == scored(messages, order=mixed)


def test_rows_are_alike_by_the_passages_that_are_best_for_the_question():
    same = SOME.normal(size=WIDTH)
    messages = [[anything(0.1), leaning(0.7, same)], [leaning(0.7, same), anything(0.2)], []]
    alike = looked(messages, also=[2]).alike(np.arange(3))
    assert alike[1, 0] == pytest.approx(1.0, abs=0.02)
    assert alike[2].tolist() == [0.0, 0.0, 0.0]


def test_cosines_of_many_vectors_are_those_of_a_plain_product():
    vectors = SOME.integers(-100, 100, (300, WIDTH)).astype(np.int8)
    floats = vectors.astype(np.float64)
    unit = floats / np.linalg.norm(floats, axis=1, keepdims=True)
    assert np.allclose(cosines(vectors, vectors), unit @ unit.T, atol=1e-5)


def test_a_cosine_has_the_same_bits_whatever_it_is_taken_with():
    vectors = SOME.integers(-100, 100, (300, WIDTH)).astype(np.int8)
    whole = cosines(vectors, vectors)
    assert cosines(vectors[7:20], vectors[290:]).tobytes() == whole[7:20, 290:].tobytes()
