"""Shares and their bounds, by hand-made rankings whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import by_group, by_row
from benchmarks.recall import put_bounds
from benchmarks.report import Report
from benchmarks.scores import KEYS, Lines, among, first_sessions, line
from benchmarks.talk_files import Question, Talk
from rag_memory_plugins.tokens import make_counter

SESSION_OF = {f"{session}{turn}": session for session in "abcdefghijkl" for turn in "12"}


def asked(*evidence: str) -> Question:
    return Question("what?", 1, frozenset(evidence))


def test_turns_count_among_the_first_five_and_ten_alone() -> None:
    ranked = ["a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1", "i1", "j1", "k1"]
    assert among(asked("e1", "f1", "k1", "l1"), ranked) == {"R@5": 0.25, "R@10": 0.5}


def test_a_session_counts_once_however_many_of_its_turns_are_hits() -> None:
    ranked = ["a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2", "e1", "f1"]
    scores = first_sessions(asked("e2", "f2"), ranked, SESSION_OF)
    assert scores == {"S@5": 0.5, "S@10": 1.0}


def test_a_session_is_found_by_another_turn_than_the_evidence() -> None:
    assert first_sessions(asked("a2"), ["a1"], SESSION_OF)["S@5"] == 1


def test_two_evidence_turns_of_one_session_are_one_session() -> None:
    assert first_sessions(asked("a1", "a2", "b1"), ["a1"], SESSION_OF)["S@5"] == 0.5


def test_the_eleventh_session_is_not_among_ten() -> None:
    ranked = [f"{session}1" for session in "abcdefghijkl"]
    assert first_sessions(asked("k1", "j1"), ranked, SESSION_OF)["S@10"] == 0.5


def test_packing_takes_what_still_fits_in_the_order_given(talk: Talk) -> None:
    lines = Lines(talk, lambda text: len(text.split()))
    # Words of each line: D1:1 9, D1:2 8, D1:4 10, D3:1 5.
    assert lines.packed(["D1:4", "D1:1", "D3:1", "D1:2"], 16) == {"D1:4", "D3:1"}


def test_a_turn_named_twice_costs_its_tokens_once(talk: Talk) -> None:
    lines = Lines(talk, lambda text: len(text.split()))
    assert lines.packed(["D3:1", "D3:1", "D1:2"], 13) == {"D3:1", "D1:2"}


def test_tokens_of_lines_add_up_to_those_of_the_text_they_make(talk: Talk) -> None:
    count = make_counter("cl100k_base").count
    text = "".join(f"{line(turn)}\n" for turn in talk.turns.values())
    assert sum(Lines(talk, count).tokens.values()) == count(text)


def test_bounds_of_a_figure_that_never_varies_are_the_figure() -> None:
    assert by_row([[0.5], [0.5], [0.5]]).tolist() == [[0.5], [0.5]]


def test_bounds_of_a_coin_are_those_of_the_binomial() -> None:
    rows = [[0.0], [1.0]] * 200
    # 1.96 standard errors: sqrt(0.25 / 400) = 0.025.
    assert by_row(rows)[:, 0] == pytest.approx([0.451, 0.549], abs=0.006)


def test_bounds_are_the_same_in_every_run() -> None:
    rows = np.random.default_rng(3).random((50, 2)).tolist()
    assert by_row(rows).tolist() == by_row(rows).tolist()


def test_bounds_by_group_are_wider_when_rows_of_a_group_are_alike() -> None:
    rows = [[0.0]] * 50 + [[1.0]] * 50
    low, high = by_group(rows, ["first"] * 50 + ["second"] * 50)[:, 0]
    assert (low, high) == (0, 1)
    narrow = by_row(rows)[:, 0]
    assert 0.35 < narrow[0] < narrow[1] < 0.65


def test_groups_of_unequal_size_weigh_by_their_rows() -> None:
    # 0.25 is the mean of rows; whole groups give 0, 0.25 or 1, never 0.5.
    rows = [[0.0]] * 3 + [[1.0]]
    assert set(by_group(rows, "aaab")[:, 0].tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("talks", "there"), [(["x", "x"], False), (["x", "y"], True)])
def test_bounds_by_conversation_need_more_than_one(talks: list[str], there: bool) -> None:
    report = Report("recall")
    rows = [(asked("a1"), dict.fromkeys(KEYS, share)) for share in (0.25, 0.75)]
    put_bounds(report, rows, talks)
    assert report.figures["R@5/low"] == 0.25
    assert report.figures["T@500/high"] == 0.75
    assert ("S@10/low_talks" in report.figures) is there
