"""A scope's columns: the same bits however its rows came in, and what each short cut stands for."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.retrieval import dates, postings
from rag_memory_plugins.retrieval.columns import from_halves
from rag_memory_plugins.retrieval.corpus import Corpus, Row
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.postings import Postings, Spread, bm25

WIDTH = 5
WORDS = [2**63 + 5, 2**63 + 6, 7, 7 + 2**20, 2**64 - 1, 1]  # two pairs share their first 16 bits


def rows_of(rng, count, sessions):
    """`count` rows; `sessions` names each one's."""
    return [
        Row(
            seq=3 * at + 1,
            session=int(sessions[at]),
            flags=int(rng.integers(0, 128)),
            terms=rng.choice(np.array(WORDS, np.uint64), int(rng.integers(0, 6))),
            names=np.array([[], [11], [12, 13]][int(rng.integers(3))], np.uint64),
            days=np.array([20230508, 20220000, 20220300][: int(rng.integers(1, 4))], np.int32),
        )
        for at in range(count)
    ]


def some_sessions(rng, count, held):
    """Sessions one after the other, or several at the same time."""
    lengths = rng.integers(1, 9, count)
    return (
        np.repeat(np.arange(count), lengths)[:count]
        if held == "apart"
        else rng.integers(3, size=count)
    )


def everything(corpus):
    """Each column and what is made of them, to the last bit."""
    columns = [
        corpus.seq, corpus.session, corpus.before, corpus.after, corpus.spread_lengths,
        corpus.speaker, corpus.day, *corpus.told, corpus.answers, corpus.flagged(8),
        *(corpus.postings.find(word) for word in WORDS),
        bm25(corpus.postings, WORDS, corpus.spread_lengths, corpus.spread),
    ]  # fmt: skip
    named = [sorted(corpus.speakers_named([word])) for word in (11, 12, 13)]
    idfs = [corpus.idf(word) for word in WORDS]
    return [column.tolist() for column in columns], named, corpus.side_by_side, idfs


def in_parts(rng, count, size):
    """Slices of a few rows each, or of one."""
    cuts = range(1, count) if size == "one" else sorted(set(rng.integers(0, count + 1, 4).tolist()))
    edges = [0, *cuts, count]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


counts = st.sampled_from([0, 1, 2, 3, 12, 40])
held = st.sampled_from(["apart", "at once"])
seeds = st.integers(0, 2**16)


@given(counts, held, st.sampled_from(["one", "some"]), seeds)
def test_a_scope_that_grew_has_the_bits_of_one_loaded_at_once(count, how, size, seed):
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, count, some_sessions(rng, count, how))
    whole, grown = Corpus(), Corpus()
    whole.extend(rows)
    for part in in_parts(rng, count, size):
        grown.extend(rows[part])
        everything(grown)  # what is kept for the next search must not outlive a row
    assert everything(grown) == everything(whole)


@given(counts, held, st.sampled_from([1, 2]), seeds)
def test_vectors_that_came_late_score_to_the_same_bits(count, how, most, seed):
    rng = np.random.default_rng(seed)
    corpus = Corpus()
    corpus.extend(rows_of(rng, count, some_sessions(rng, count, how)))
    pieces = [
        rng.standard_normal((int(rng.integers(0, most + 1)), WIDTH)).astype(np.float32)
        for _ in range(count)
    ]
    query = rng.standard_normal(WIDTH).astype(np.float32)
    whole, grown = DenseRows(WIDTH), DenseRows(WIDTH)
    whole.update(corpus, np.arange(count), pieces)
    # Further pieces are multiplied in the order they came in, and BLAS tells their places apart.
    for at in (rng.permutation(count) if most == 1 else np.arange(count)).tolist():
        grown.update(corpus, np.array([at]), [pieces[at]])
        grown.scores(corpus, query)
    grown.resize(count)
    found, expected = grown.scores(corpus, query), whole.scores(corpus, query)
    assert [lane.tolist() for lane in found] == [lane.tolist() for lane in expected]
    assert grown.has.tolist() == [len(piece) > 0 for piece in pieces]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("how", ["apart", "at once"])
def test_a_window_is_a_row_with_half_of_each_neighbour(count, how):
    rng = np.random.default_rng(count)
    corpus = Corpus()
    corpus.extend(rows_of(rng, count, some_sessions(rng, count, how)))
    vectors = rng.standard_normal((count, WIDTH)).astype(np.float32)
    dense = DenseRows(WIDTH)
    dense.update(corpus, np.arange(count), list(vectors[:, None]))
    query = rng.standard_normal(WIDTH).astype(np.float32)
    padded = np.concatenate([vectors, np.zeros((1, WIDTH), np.float32)])
    window = vectors + 0.5 * (padded[corpus.before] + padded[corpus.after])
    expected = window @ query / np.linalg.norm(window, axis=1)
    assert dense.scores(corpus, query)[1] == pytest.approx(expected, abs=1e-5)


def spread_out(rows, before, after):
    """The spread frequency as its definition reads, added in the order of distance."""
    result = [0.0] * len(before)
    for row in rows:
        result[row] += 1.0
    for step, fade in ((after, Spread.FORWARD), (before, Spread.BACKWARD)):
        at, weight = list(rows), 1.0
        for _ in range(Spread.REACH):
            at = [int(step[row]) for row in at if step[row] >= 0]
            weight *= fade
            for row in at:
                result[row] += weight
    return result


@pytest.mark.parametrize("count", [1, 2, 5, 60, postings.SMALL, postings.SMALL + 1])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("how", ["apart", "at once"])
def test_every_way_to_spread_a_word_gives_the_bits_of_the_definition(count, share, how):
    rng = np.random.default_rng(count)
    corpus = Corpus()
    corpus.extend(rows_of(rng, count, some_sessions(rng, count, how)))
    assert corpus.side_by_side or how == "at once"
    once = np.sort(rng.permutation(count)[: int(np.ceil(share * count))]).astype(np.int32)
    rows = np.repeat(once, rng.choice([1, 1, 1, 2, 3, 7], len(once)))
    near, frequency = corpus.spread.of(rows)
    found = np.zeros(count)
    found[near] = frequency
    assert found.tolist() == spread_out(rows.tolist(), corpus.before, corpus.after)
    assert (frequency > 0).all()


@pytest.mark.parametrize("count", [1, 2, 40, 700, 3_000])
@pytest.mark.parametrize("how", ["apart", "at once"])
def test_words_spread_all_at_once_score_to_the_bits_of_one_by_one(monkeypatch, count, how):
    rng = np.random.default_rng(count)
    corpus = Corpus()
    corpus.extend(rows_of(rng, count, some_sessions(rng, count, how)))
    for words in (WORDS, WORDS[:1], [*WORDS[::-1], 99, *WORDS], [99], []):
        scores = [
            bm25(corpus.postings, words, corpus.spread_lengths, corpus.spread)
            for limit in (2**40, 0)
            if monkeypatch.setattr(postings, "TABLE", limit) is None
        ]
        assert scores[0].tolist() == scores[1].tolist()
        assert (scores[0] > 0).any() == any(len(corpus.postings.find(word)) for word in words)


def test_a_question_of_many_words_is_not_spread_at_once(monkeypatch):
    rng = np.random.default_rng(5)
    corpus = Corpus()
    corpus.extend(rows_of(rng, 50, some_sessions(rng, 50, "apart")))
    tables = []
    monkeypatch.setattr(Spread, "table", lambda _, found: tables.append(len(found)))
    monkeypatch.setattr(postings, "TABLE", 50 * len(WORDS) - 1)
    bm25(corpus.postings, WORDS, corpus.spread_lengths, corpus.spread)
    assert tables == []


def test_postings_found_past_every_merge_are_those_of_one_load():
    rng = np.random.default_rng(1)
    # Few of the first 16 bits, so that many terms stand in one bucket.
    terms = [rng.integers(0, 300, 20).astype(np.uint64) << np.uint64(44) for _ in range(700)]
    whole, grown = Postings(), Postings()
    whole.extend(terms)
    for one in terms:
        grown.extend([one])
    for term in range(300):
        key = term << 44
        expected = [row for row, of_row in enumerate(terms) for _ in range((of_row == key).sum())]
        assert grown.find(key).tolist() == whole.find(key).tolist() == expected
        assert grown.idf(key) == whole.idf(key)
    assert Postings().find(5).tolist() == []


def test_a_kept_look_up_does_not_outlive_a_new_row():
    found = Postings()
    found.extend([np.array([5], np.uint64)])
    assert found.find(5).tolist() == [0]
    found.extend([np.array([5, 5], np.uint64)])
    assert found.find(5).tolist() == [0, 1, 1]


def test_every_finite_half_is_widened_to_its_own_value():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.tile(every[np.isfinite(every)], 2)  # more than one slice, and a remainder
    wide = from_halves(finite)
    assert wide.dtype == np.float32
    assert np.array_equal(wide.view(np.uint32), finite.astype(np.float32).view(np.uint32))
    assert len(from_halves(finite[:0])) == 0


PARTS = (
    "the boat Monday may MAY on in a few last next this past week weekends since for of spring fall "
    "yesterday TODAY tonight tomorrow morning afternoon evening night two days months years ago back "
    "1st 2nd 3 20 2022 2022-05-08 19 augu\u017ft fr\u0131day Kelvin june December of, said many people"
).split()


@given(st.lists(st.sampled_from(PARTS), max_size=8), st.sampled_from([" ", ", ", "\n"]))
def test_what_is_not_worth_looking_at_holds_no_time(words, between):
    text = between.join(words)
    patterns = (dates.TIME, dates._ISO, dates._NAMED, dates._RELATIVE, dates._YEAR)
    if any(pattern.search(text) for pattern in patterns):
        assert dates.may_tell_time(text)
    if not dates.may_tell_time(text):
        assert dates.days_of(text, datetime(2023, 5, 10, tzinfo=timezone.utc)) == []
