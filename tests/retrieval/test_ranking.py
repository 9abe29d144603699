"""Ranking over small fields built by hand: each step alone, and what holds of all together."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Message, Recall
from rag_memory_plugins.retrieval.corpus import Corpus, Row
from rag_memory_plugins.retrieval.cues import cues_of
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.fusion import best_of
from rag_memory_plugins.retrieval.late import (
    LONG,
    LOSS_AFTER,
    LOSS_BEFORE,
    late_scores,
    token_weights,
)
from rag_memory_plugins.retrieval.lexical import bm25, terms_of
from rag_memory_plugins.retrieval.ordering import diversified
from rag_memory_plugins.retrieval.retriever import Question, rank
from rag_memory_plugins.retrieval.silence import SIGNALS
from rag_memory_plugins.stores.rows import keyword_row

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
MAY = datetime(2023, 5, 8, 12, tzinfo=timezone.utc)
WIDTH = 4
LANES = ("dense_turn", "dense_window", "keywords")
BOOSTS = ("speaker", "inherit", "question", "date", "when", "name", "session", "topic", "recency")
STEPS = (*LANES, *BOOSTS, "late", "own", "diversity")
ALL = Recall(session=0.5, topic=0.5, recency=1.0, diversity=0.3)
OFF = Recall(**dict.fromkeys(STEPS, 0))


def only(**weights):
    return Recall(**{**dict.fromkeys(STEPS, 0), **weights})


def said(text, name=None, *, role="user", time=NOW):
    call = "c1" if role == "tool" else None
    return Message(role, text, name=name, time=time, tool_call_id=call)


def rows_of(messages, sessions=None):
    sessions = sessions or [1] * len(messages)
    rows = []
    for at, (message, session) in enumerate(zip(messages, sessions, strict=True), 1):
        columns = keyword_row(message)
        terms, names = (np.frombuffer(columns[key], "<u8") for key in ("terms", "names"))
        days = np.frombuffer(columns["days"], "<i4")
        rows.append(Row(at, session, columns["flags"], terms, names, days))
    return rows


def corpus_of(*messages, sessions=None):
    corpus = Corpus()
    corpus.extend(rows_of([m if isinstance(m, Message) else said(m) for m in messages], sessions))
    return corpus


def unit(*numbers):
    return np.array(numbers, np.float32) / np.float32(np.linalg.norm(numbers))


def dense_of(corpus, *vectors):
    dense = DenseRows(len(vectors[0]))
    dense.update(corpus, np.arange(len(corpus)), [v.reshape(-1, len(v)) for v in vectors])
    return dense


def ask(text, vector=None, tokens=None, spans=()):
    return Question(text, terms_of(text), cues_of(text, NOW), NOW, vector, tokens, spans)


def order(ranking):
    return [item.row for item in ranking.rows]


def scored(ranking):
    return [(item.row, item.score, item.parts) for item in ranking.rows]


def part(corpus, question, name, dense=None, /, **weights):
    """What a step alone gives each row, by row; None where it leaves no part."""
    # Without vectors only what matches is returned: any vectors make every row count.
    dense = dense or dense_of(corpus, *[unit(1, 0)] * len(corpus))
    question = question if question.vector is not None else ask(question.text, unit(1, 0))
    ranking = rank(corpus, dense, question, 100, settings=only(**weights))
    found = {item.row: item.parts.get(name) for item in ranking.rows}
    return [found[row] for row in range(len(corpus))]


# ---- What holds of any field ----------------------------------------------------------------

TEXTS = [
    "We flew to Rome in March 2022.", "Where did you fly?", "The kite is red", "red red kite",
    "Nice! What did Ann say about the kite?", "yes", "It rained yesterday", "\u732b\u304c\u597d\u304d",
    "", 'Bob said "the kite" is on the roof', "On 8 May 2023 we met Cleo",
]  # fmt: skip
QUESTIONS = [
    "Where was the red kite?", "When did Ann fly to Rome?", "What happened on 8 May 2023?",
    "What did you suggest?", "Wann war das?", "What did I do in May?", "zzz", "?",
]  # fmt: skip
turns = st.tuples(
    st.sampled_from(TEXTS),
    st.sampled_from([None, "Ann", "Bob", "Cleo Lee"]),
    st.sampled_from(["user", "assistant", "tool", "system"]),
    st.integers(0, 900),
    st.integers(1, 3),
)
weights = st.sampled_from([0, 0.5, 1, 3, -2.5])


@st.composite
def some_settings(draw):
    picked = {name: draw(weights) for name in (*LANES, *BOOSTS, "late", "own")}
    return Recall(
        **picked, candidates=draw(st.integers(0, 8)), diversity=draw(st.sampled_from([0, 0.4, 1]))
    )


class Field:
    """A scope of drawn turns with vectors and tokens; some rows have none, some have two pieces."""

    def __init__(self, said_turns, seed):
        rng = np.random.default_rng(seed)
        messages = [
            said(text, name, role=role, time=MAY + timedelta(days=days))
            for text, name, role, days, _ in said_turns
        ]
        self.rows = rows_of(messages, [turn[-1] for turn in said_turns])
        self.tokens, self.pieces = [], []
        for _ in self.rows:
            # As the index stores them.
            count = int(rng.choice([0, 1, 1, 2]))
            made = rng.standard_normal((count, WIDTH)).astype(np.float32)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            self.pieces.append(made.astype(np.float16).astype(np.float32))
            some = rng.integers(-127, 128, (int(rng.integers(0, 4)), WIDTH)).astype(np.int8)
            self.tokens.append(some if len(some) else None)
        self.corpus = Corpus()
        self.corpus.extend(self.rows)
        self.dense = DenseRows(WIDTH)
        self.dense.update(self.corpus, np.arange(len(self.rows)), self.pieces)
        self._rng = rng

    def question(self, text):
        spans, at = [], 0
        for word in text.split():
            spans.append((at, at + len(word)))
            at += len(word) + 1
        tokens = self._rng.integers(-127, 128, (len(spans), WIDTH)).astype(np.int8)
        vector = self._rng.standard_normal(WIDTH)
        return ask(text, unit(*vector), tokens, tuple(spans))

    def source(self, rows):
        return [self.tokens[row] for row in rows]

    def ranked(self, question, recall, limit=50, **kept):
        return rank(
            self.corpus, self.dense, question, limit, settings=recall, source=self.source, **kept
        )


fields = st.builds(Field, st.lists(turns, min_size=1, max_size=14), st.integers(0, 2**16))


@given(fields, st.sampled_from(QUESTIONS), some_settings(), st.integers(1, 16))
def test_parts_add_up_scores_descend_and_no_row_is_twice(field, text, recall, limit):
    ranking = field.ranked(field.question(text), recall, limit)
    scores = [item.score for item in ranking.rows]
    assert np.isfinite(scores).all()
    for item in ranking.rows:
        assert sum(item.parts.values()) == pytest.approx(item.score, abs=1e-9)
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(scores))
    recalled = [at for at, row in enumerate(field.rows) if not row.flags & 2]
    assert len(set(order(ranking))) == len(ranking.rows)
    assert set(order(ranking)) <= set(recalled)
    if field.dense.has.any():
        assert len(ranking.rows) == min(limit, len(recalled))
    assert all(seconds >= 0 for seconds in ranking.seconds.values())
    assert np.isfinite(ranking.signals).all()


def kept_of(field, keep):
    """What a filter or a session leaves of the field: the arguments of `rank`, and the rows."""
    if keep == "session":
        session = field.rows[0].session
        return {"session": session}, {
            at for at, row in enumerate(field.rows) if row.session == session
        }
    rows = set(range(0, len(field.rows), 2))
    return {"allowed": np.array([field.rows[at].seq for at in sorted(rows)], np.int64)}, rows


@pytest.mark.parametrize("keep", ["session", "allowed"])
@given(field=fields, text=st.sampled_from(QUESTIONS), recall=some_settings())
def test_a_filter_leaves_out_and_changes_no_score_of_lanes_and_boosts(keep, field, text, recall):
    recall = Recall(**{**vars(recall), "late": 0, "diversity": 0})
    question = field.question(text)
    whole = scored(field.ranked(question, recall))
    given_, rows = kept_of(field, keep)
    assert scored(field.ranked(question, recall, **given_)) == [
        item for item in whole if item[0] in rows
    ]


@pytest.mark.parametrize("keep", ["session", "allowed"])
@given(field=fields, text=st.sampled_from(QUESTIONS))
def test_late_interaction_looks_at_the_first_candidates_that_match(keep, field, text):
    looked = []

    def source(rows):
        looked.extend(rows)
        return field.source(rows)

    question, recall = field.question(text), Recall(candidates=2)
    given_, rows = kept_of(field, keep)
    plain = rank(field.corpus, field.dense, question, 2, settings=Recall(late=0), **given_)
    found = rank(field.corpus, field.dense, question, 2, settings=recall, source=source, **given_)
    # The best two that match, in whichever order late interaction puts them.
    assert set(order(found)) == set(order(plain)) <= rows
    assert set(order(plain)) <= set(looked)


@given(fields, st.sampled_from(QUESTIONS), st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_scope_that_grew_ranks_as_one_loaded_at_once_to_the_last_bit(field, text, cut, rng):
    corpus, dense = Corpus(), DenseRows(WIDTH)
    waiting = []
    for at, row in enumerate(field.rows):
        corpus.extend([row])
        dense.resize(len(corpus))
        waiting.append(at)
        if at % (cut + 1) == 0:  # vectors come later, several together, in any order
            rng.shuffle(waiting)
            dense.update(corpus, np.array(waiting), [field.pieces[row] for row in waiting])
            waiting = []
    dense.update(corpus, np.array(waiting, np.intp), [field.pieces[row] for row in waiting])
    assert corpus.day.tolist() == field.corpus.day.tolist()
    assert corpus.speaker.tolist() == field.corpus.speaker.tolist()
    assert [part.tolist() for part in corpus.told] == [p.tolist() for p in field.corpus.told]
    question = field.question(text)
    grown = rank(corpus, dense, question, 50, settings=ALL, source=field.source)
    whole = field.ranked(question, ALL)
    assert scored(grown) == scored(whole)
    assert grown.signals == whole.signals


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_weight_0_leaves_no_part_and_one_with_a_weight_does(name):
    corpus = corpus_of(
        said("Where does Ann live?", "Bob", time=MAY),
        said("In Rome since March 2022", "Ann", time=MAY),
        said("The kite is red", "Cleo"),
        sessions=[1, 1, 2],
    )
    dense = dense_of(corpus, unit(1, 0), unit(1, 1), unit(0, 1))
    text = "Which city did Ann live in, and when, in May 2023 or before?"
    tokens = np.full((1, 2), 100, np.int8)
    question = ask(text, unit(1, 2), tokens, ((0, 4),))
    found = {}
    for weight in (0, 1):
        recall = Recall(**{**vars(ALL), name: weight})
        ranking = rank(
            corpus, dense, question, 3, settings=recall, source=lambda r: [tokens] * len(r)
        )
        found[weight] = [item.parts.get(name, 0.0) for item in ranking.rows]
        assert name in LANES or all((name in item.parts) == bool(weight) for item in ranking.rows)
    assert not any(found[0])
    # Equal tokens, and an order that is varied already: these two change no score here.
    assert name in {"late", "own", "diversity"} or any(found[1])


# ---- Scopes that are no special case --------------------------------------------------------


def test_a_scope_of_none_has_no_rows_and_no_signals():
    ranking = rank(Corpus(), None, ask("anything"), 5, settings=ALL)
    assert (ranking.rows, ranking.signals) == ([], ())


def test_a_scope_of_one_scores_by_no_lane():
    corpus = corpus_of("the red kite")
    dense = dense_of(corpus, unit(1, 0))
    [item] = rank(corpus, dense, ask("red kite", unit(1, 0)), 5, settings=Recall()).rows
    assert [item.parts[name] for name in LANES] == [0.0, 0.0, 0.0]


def test_of_equal_scores_the_newer_is_first():
    corpus = corpus_of(*["the red kite"] * 5, sessions=[1, 2, 3, 4, 5])
    dense = dense_of(corpus, *[unit(1, 0)] * 5)
    ranking = rank(corpus, dense, ask("red kite", unit(1, 0)), 3, settings=OFF)
    assert order(ranking) == [4, 3, 2]
    assert [item.score for item in ranking.rows] == [0.0] * 3


def test_without_vectors_only_what_holds_a_word_is_returned():
    corpus = corpus_of("the red kite", "a blue boat", sessions=[1, 2])
    assert order(rank(corpus, None, ask("kites"), 5, settings=Recall())) == [0]
    assert order(rank(corpus, DenseRows(2), ask("submarine"), 5, settings=Recall())) == []


@pytest.mark.parametrize("limit", [0, 1, 5, 50])
def test_more_may_be_asked_for_than_late_interaction_looks_at(limit):
    corpus = corpus_of(*[f"kite {n}" for n in range(12)], sessions=range(1, 13))
    dense = dense_of(corpus, *[unit(1, n) for n in range(12)])
    tokens = [np.array([[100 - 9 * n, 40]], np.int8) for n in range(12)]
    question = ask("kite", unit(1, 0), np.array([[50, 50]], np.int8), ((0, 4),))
    found = rank(
        corpus, dense, question, limit,
        settings=only(dense_turn=1, late=9, candidates=4), source=lambda r: [tokens[at] for at in r],
    )  # fmt: skip
    assert order(found) == list(range(12))[:limit]
    scores = [item.score for item in found.rows]
    assert scores == sorted(scores, reverse=True)


# ---- Each step alone ------------------------------------------------------------------------


def test_a_row_of_the_asked_day_is_above_one_of_its_month_and_that_above_the_others():
    corpus = corpus_of(
        said("on the day", time=MAY),
        said("in its month", time=MAY + timedelta(days=9)),
        said("another year", time=MAY.replace(year=2024)),
        said("we meet on 8 May 2023"),
        said("we met in May 2023"),
        said("nothing"),
    )
    found = part(corpus, ask("What was on 8 May 2023?"), "date", date=6)
    assert found == [12.0, 6.0, 0.0, 12.0, 6.0, 0.0]
    assert part(corpus, ask("What was on 8 May?"), "date", date=6)[2] == 12.0
    assert part(corpus, ask("What was in 2023?"), "date", date=6) == [6.0, 6.0, 0, 6.0, 6.0, 0]
    assert part(corpus, ask("What was it?"), "date", date=6) == [None] * 6


def test_two_speakers_are_told_apart_by_the_name_that_is_asked_for():
    corpus = corpus_of(said("a", "Ann Lee"), said("b", "Bob"), said("c"))
    for text in ("What did Ann say?", "ANN'S boat?", "What did ms. lee say?"):
        assert part(corpus, ask(text), "speaker", speaker=2) == [2.0, -2.0, -2.0]


@pytest.mark.parametrize(
    "text", ["What did Ann tell Bob?", "What did Cleo say?", "What did I say?"]
)
def test_nobody_is_told_apart_when_both_or_neither_is_named(text):
    corpus = corpus_of(said("a", "Ann"), said("b", "Bob"))
    assert part(corpus, ask(text), "speaker", speaker=2) == [None, None]


def test_in_a_group_of_five_those_who_are_named_stand_out():
    corpus = corpus_of(*[said("x", name) for name in ("Ann", "Bob", "Cleo", "Dan", "Eve")])
    found = part(corpus, ask("What did Bob and Eve say?"), "speaker", speaker=2)
    assert found == [-2.0, 2.0, -2.0, -2.0, 2.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What did you suggest?", [-2.0, 2.0, 0.0]),
        ("What did I say?", [2.0, -2.0, 0.0]),
        ("What did she say?", [None, None, None]),
    ],
)
def test_without_names_people_are_told_by_their_role(text, expected):
    corpus = corpus_of(said("a"), said("b", role="assistant"), said("c", role="tool"))
    assert part(corpus, ask(text), "speaker", speaker=2) == expected


def test_an_answer_inherits_its_share_of_what_the_question_before_it_has():
    corpus = corpus_of(
        "Which kite is yours?", "The long one", "Fine", "And?", sessions=[1, 1, 1, 2]
    )
    dense = dense_of(corpus, unit(1, 0), unit(0, 1), unit(0, 1), unit(0, 1))
    lane, inherited = (
        part(corpus, ask("kite", unit(1, 0)), name, dense, dense_turn=1, inherit=0.4)
        for name in ("dense_turn", "inherit")
    )
    assert lane[0] > 0
    assert inherited == [0.0, 0.4 * lane[0], 0.0, 0.0]


def test_what_asks_stands_back_and_what_only_asks_three_times_as_far():
    corpus = corpus_of(
        "Whose is it?", "I flew a red kite. Whose is it?", "It is mine", "Yes! Yours?"
    )
    found = part(corpus, ask("kite"), "question", question=-2)
    assert found == [-6.0, -2.0, 0.0, -6.0]


def test_a_time_and_a_name_are_lifted_when_they_are_asked_for():
    corpus = corpus_of("we moved in March", "we moved to Rome", "we moved")
    assert part(corpus, ask("When did they move?"), "when", when=3) == [3.0, 0.0, 0.0]
    assert part(corpus, ask("Where did they move?"), "name", name=4) == [4.0, 4.0, 0.0]
    assert part(corpus, ask("Wo war das?"), "when", when=3) == [None] * 3


def test_a_gain_for_age_halves_with_every_half_life():
    days = [0, 10, 20, 40, -3]
    corpus = corpus_of(*[said("x", time=NOW - timedelta(days=n)) for n in days])
    found = part(corpus, ask("y"), "recency", recency=2, half_life_days=10)
    assert found == pytest.approx([2, 1, 0.5, 0.125, 2])


def test_a_session_lifts_its_rows_by_the_mean_of_its_three_best():
    corpus = corpus_of(*["x"] * 7, sessions=[1, 1, 1, 1, 2, 2, 3])
    cosines = [0.9, 0.8, 0.7, 0.1, 0.9, 0.1, 0.8]
    dense = dense_of(corpus, *[unit(c, np.sqrt(1 - c * c)) for c in cosines])
    lane, lifted = (
        np.array(part(corpus, ask("y", unit(1, 0)), name, dense, dense_turn=1, session=0.5))
        for name in ("dense_turn", "session")
    )
    expected = [lane[:3].mean()] * 4 + [lane[4:6].mean()] * 2 + [lane[6]]
    assert lifted == pytest.approx(0.5 * np.array(expected))


def test_sessions_about_the_same_lift_one_another_and_no_other():
    corpus = corpus_of(*["x"] * 3, sessions=[1, 2, 3])
    dense = dense_of(corpus, unit(9, 5, 0), unit(0.5, 0.866, 0), unit(0.5, 0, 0.866))
    question = ask("y", unit(1, 0, 0))
    lane, lifted = (
        np.array(part(corpus, question, name, dense, dense_turn=1, topic=1))
        for name in ("dense_turn", "topic")
    )
    together = lane[:2].mean()
    assert lifted == pytest.approx([together, together, lane[2]])
    plain, lifting = (
        rank(corpus, dense, question, 3, settings=only(dense_turn=1, topic=topic))
        for topic in (0, 1)
    )
    assert (order(plain), order(lifting)) == ([0, 2, 1], [0, 1, 2])


# ---- Late interaction -----------------------------------------------------------------------

EAST, NORTH, UP = (np.array([axis], np.int8) * 100 for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))


def late_of(tokens, sessions=None, texts=None, part="late", **weights):
    """Parts of late interaction for "red kite", whose tokens point east and north."""
    texts = texts or [f"word{n} red kite" for n in range(len(tokens))]
    corpus = corpus_of(*texts, sessions=sessions or range(1, len(tokens) + 1))
    dense = dense_of(corpus, *[unit(1, 0)] * len(tokens))
    question = ask("red kite", unit(1, 0), np.concatenate([EAST, NORTH]), ((0, 3), (4, 8)))
    recall = only(**{"late": 2.5, **weights})
    found = rank(
        corpus, dense, question, 50, settings=recall, source=lambda r: [tokens[at] for at in r]
    )
    parts = {item.row: item.parts[part] for item in found.rows}
    return order(found), [parts[row] for row in range(len(tokens))]


def test_late_interaction_puts_first_what_meets_every_token_of_the_question():
    both, one = np.concatenate([UP, NORTH, EAST]), np.concatenate([EAST, EAST, UP])
    first, parts = late_of([one, both, UP, one])
    assert first[0] == 1
    assert parts[1] > parts[0] == parts[3] > parts[2]


def test_a_row_without_tokens_is_neither_for_nor_against():
    first, parts = late_of([UP, None, np.empty((0, 3), np.int8), np.concatenate([EAST, NORTH])])
    assert parts[1] == parts[2] == 0.0
    assert parts[0] < 0 < parts[3]
    assert first == [3, 2, 1, 0]


def test_no_row_with_tokens_changes_no_order():
    first, parts = late_of([None, None, None])
    assert (first, parts) == ([2, 1, 0], [0.0, 0.0, 0.0])


def test_a_neighbour_lends_its_tokens_at_a_loss_that_grows_with_the_distance():
    both = np.concatenate([EAST, NORTH])
    _, parts = late_of([both, UP, UP, UP, UP], sessions=[1, 1, 1, 1, 2])
    assert parts[0] > parts[1] > parts[2] > parts[3]
    assert parts[3] == parts[4]  # the third is out of reach


def test_what_is_alone_in_its_session_is_lent_nothing():
    corpus = corpus_of("x", "x", "x", sessions=[1, 2, 2])
    tokens = [UP, np.concatenate([EAST, NORTH]), UP]
    raw, own, has = late_scores(
        corpus, np.arange(3), EAST, np.ones(1, np.float32), lambda r: [tokens[at] for at in r]
    )
    assert raw.tolist() == pytest.approx([0, 1, LOSS_BEFORE[0]])
    assert own.tolist() == pytest.approx([0, 1, 0])
    assert has.all()


def test_a_long_message_lends_its_tokens_to_none_and_is_lent_those_of_short_ones():
    corpus = corpus_of("x", " ".join(f"word{n}" for n in range(LONG + 1)), "x")
    tokens = [UP, EAST, np.concatenate([EAST, NORTH])]
    raw, own, _ = late_scores(
        corpus, np.arange(3), NORTH, np.ones(1, np.float32), lambda r: [tokens[at] for at in r]
    )
    assert raw.tolist() == pytest.approx([LOSS_AFTER[1], LOSS_AFTER[0], 1])
    assert own.tolist() == pytest.approx([0, 0, 1])
    tokens = [UP, np.concatenate([EAST, NORTH]), UP]
    raw, _, _ = late_scores(
        corpus, np.arange(3), NORTH, np.ones(1, np.float32), lambda r: [tokens[at] for at in r]
    )
    assert raw.tolist() == pytest.approx([0, 1, 0])


def test_an_answer_takes_its_share_of_what_the_question_has():
    both = np.concatenate([EAST, NORTH])
    texts = ["red kite?", "red kite", "red kite", "red kite"]
    sessions = [1, 1, 2, 2]
    _, alone = late_of([both, UP, both, UP], sessions, texts)
    _, shared = late_of([both, UP, both, UP], sessions, texts, inherit=0.4)
    assert alone[1] == alone[3]
    assert shared == pytest.approx([alone[0], alone[1] + 0.4 * alone[0], *alone[2:]])


def test_a_turns_own_tokens_count_beside_what_its_neighbours_lend():
    both = np.concatenate([EAST, NORTH])
    _, lent = late_of([both, UP, UP, UP], [1, 1, 2, 2])
    _, own = late_of([both, UP, UP, UP], [1, 1, 2, 2], part="own", own=1)
    assert lent[1] > lent[2] == lent[3]
    assert own[0] > own[1] == own[2] == own[3]


def test_lanes_count_half_where_late_interaction_has_looked():
    texts = ["red kite", "red boat", "a kite", "boat", "red red", "kite sea"]
    corpus = corpus_of(*texts, sessions=[1, 2, 3, 4, 5, 6])
    question = ask("red kite", unit(1, 0), EAST, ((0, 8),))

    def keywords(late):
        recall = only(keywords=1, late=late, candidates=1)
        found = rank(
            corpus, None, question, 6, settings=recall, source=lambda rows: [UP] * len(rows)
        )
        return {item.row: item.parts["keywords"] for item in found.rows}

    whole, half = keywords(0), keywords(1)
    looked = sorted(whole, key=lambda row: (whole[row], row))[-4:]  # four times the candidates
    assert len(whole) == len(half) > 4
    assert half == {row: part / 2 if row in looked else part for row, part in whole.items()}


def test_the_rarer_word_of_a_question_weighs_more():
    corpus = corpus_of("a red boat", "a red kite", "red", sessions=[1, 2, 3])
    the, red, kite, ki, te, sign = token_weights(
        "the red kite kites!", [(0, 3), (4, 7), (8, 12), (13, 15), (15, 18), (18, 19)], corpus
    )
    assert kite > red > 0
    assert ki == te == kite  # two tokens of one word
    assert sign == 0
    assert the > 0


def test_an_embedder_without_token_vectors_is_said_to_be():
    corpus = corpus_of("a", "b")
    dense = dense_of(corpus, unit(1, 0), unit(0, 1))
    ranking = rank(corpus, dense, ask("a", unit(1, 0)), 2, settings=Recall())
    assert ranking.off["late"] == "off: the embedder gives no token vectors"
    off = rank(corpus, dense, ask("a", unit(1, 0)), 2, settings=Recall(late=0))
    assert "late" not in off.off


# ---- The highest of many --------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, 48])
@pytest.mark.parametrize("size", [0, 1, 5, 48, 49, 400, 3_071, 3_073, 5_000])
@pytest.mark.parametrize("kind", ["apart", "equal", "mostly nothing", "ascending"])
def test_the_highest_scores_are_those_of_sorting_all(count, size, kind):
    rng = np.random.default_rng(size)
    scores = rng.standard_normal(size)
    if kind == "equal":
        scores = np.round(scores)
    elif kind == "mostly nothing":
        scores[rng.random(size) < 0.995] = -np.inf
    elif kind == "ascending":
        scores.sort()
    before = scores.copy()
    finite = sorted(scores[np.isfinite(scores)].tolist(), reverse=True)
    assert best_of(scores, count).tolist() == finite[:count]
    assert scores.tolist() == before.tolist()


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9])
def test_how_many_are_asked_for_changes_no_bit_of_a_score(limit):
    rng = np.random.default_rng(4)
    corpus = corpus_of(*[said(text, "Ann") for text in TEXTS])
    dense = dense_of(corpus, *[unit(*rng.standard_normal(3)) for _ in TEXTS])
    question = ask("When did Ann fly to Rome on 8 May?", unit(1, 2, 3))
    many = rank(corpus, dense, question, len(TEXTS), settings=ALL)
    few = rank(corpus, dense, question, limit, settings=ALL)
    assert scored(few) == scored(many)[:limit]


# ---- Signals --------------------------------------------------------------------------------


def test_the_signals_are_the_raw_scores_and_what_nobody_said():
    corpus = corpus_of("red kite", "blue boat", "red boat", sessions=[1, 2, 3])
    dense = dense_of(corpus, unit(1, 0), unit(0, 1), unit(1, 1))
    question = ask("red kite submarine", unit(1, 0))
    ranking = rank(corpus, dense, question, 3, settings=Recall())
    found = dict(zip(SIGNALS, ranking.signals, strict=True))
    red, kite, submarine = (corpus.idf(term) for term in question.terms)
    matches = bm25(corpus.postings, question.terms, corpus.spread_lengths, corpus.spread)
    mass = red + kite + submarine
    assert found["keywords_best"] == pytest.approx(matches.max() / mass)
    assert found["keywords_first"] == pytest.approx(matches.mean() / mass)
    assert found["unknown"] == pytest.approx(submarine / mass)
    assert found["turn_best"] == found["window_best"] == pytest.approx(1)
    assert found["turn_first"] == pytest.approx((1 + 0 + np.sqrt(0.5)) / 3)
    assert found["late_best"] == found["late_first"] == 0
    assert found["score"] == ranking.rows[0].score


@pytest.mark.parametrize("kept", [[], [2], [1, 3]])
def test_the_signals_are_of_what_may_be_returned(kept):
    corpus = corpus_of("red kite", "blue boat", "red boat")
    dense = dense_of(corpus, unit(1, 0), unit(0, 1), unit(1, 1))
    allowed = np.array(kept, np.int64)
    ranking = rank(corpus, dense, ask("red", unit(1, 0)), 3, settings=Recall(), allowed=allowed)
    found = dict(zip(SIGNALS, ranking.signals, strict=True))
    cosines = {1: 1.0, 2: 0.0, 3: np.sqrt(0.5)}
    assert found["turn_best"] == pytest.approx(max([cosines[seq] for seq in kept], default=0))
    mean = sum(cosines[seq] for seq in kept) / max(len(kept), 1)
    assert found["turn_first"] == pytest.approx(mean)


# ---- Diversity ------------------------------------------------------------------------------


def mmr(score, vectors, strength):
    """Maximal marginal relevance, written as its definition reads."""
    spread = max(score) - min(score)
    worth = [(s - min(score)) / spread if spread else 1.0 for s in score]
    order_, left = [], list(range(len(score)))
    while left:
        likeness = {
            at: max((float(vectors[at] @ vectors[o]) for o in order_), default=0.0) for at in left
        }
        best = max(left, key=lambda at: (1 - strength) * worth[at] - strength * likeness[at])
        order_.append(best)
        left.remove(best)
    return order_


@given(st.integers(0, 10), st.integers(0, 2**16), st.sampled_from([0, 0.25, 0.5, 0.75, 1]))
def test_an_order_of_variety_is_that_of_its_definition(count, seed, strength):
    rng = np.random.default_rng(seed)
    score = np.sort(rng.standard_normal(count))[::-1]
    vectors = rng.standard_normal((count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    got = diversified(score, np.arange(count), vectors, strength).tolist()
    assert got == (mmr(score, vectors, strength) if count > 2 else list(range(count)))


def test_full_variety_puts_the_most_different_second_and_keeps_the_scores():
    corpus = corpus_of(*["x"] * 4, sessions=[1, 2, 3, 4])
    dense = dense_of(corpus, unit(1, 0, 0), unit(0.99, 0.1, 0), unit(0.9, 0.3, 0), unit(0.1, 0, 1))
    question = ask("y", unit(1, 0.01, 0))
    plain, same, most = (
        rank(corpus, dense, question, 4, settings=only(dense_turn=1, diversity=strength))
        for strength in (0, 1e-9, 1)
    )
    assert order(plain) == order(same) == [0, 1, 2, 3]
    assert order(most)[:2] == [0, 3]
    assert [item.score for item in most.rows] == pytest.approx([item.score for item in plain.rows])
    assert "diversity" not in plain.rows[0].parts
    assert most.rows[1].parts["diversity"] > 0
