"""APGR and CPT: by hand, an oracle, a coin, an order reversed, and what always holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.apgr import apgr, bounds, cpt

# By hand: four prompts, the strong model gains at two of them, so each is half of the gap.
WEAK, STRONG = [1, 0, 1, 0], [1, 1, 1, 1]
BEST, WORST = [1, 3, 0, 2], [2, 0, 3, 1]

labels = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=40
).filter(lambda rows: sum(strong - weak for weak, strong, _ in rows) > 0)

FEWER = settings(max_examples=40)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def stepwise(weak, strong, scores):
    """The same area, prompt by prompt: means over every order of equal scores, by trapezes."""
    gains = [b - a for a, b in zip(weak, strong, strict=True)]
    by_score = {s: [g for g, t in zip(gains, scores, strict=True) if t == s] for s in set(scores)}
    height = area = 0.0
    for score in sorted(by_score, reverse=True):
        run = by_score[score]
        for _ in run:
            step = sum(run) / len(run) / sum(gains)
            area += (height + step / 2) / len(gains)
            height += step
    return area


def test_the_area_by_hand() -> None:
    # PGR is 0, 0.5, 1, 1, 1 at 0, 25 ... 100 % sent: trapezes 0.25, 0.75, 1, 1, a quarter wide.
    assert apgr(WEAK, STRONG, BEST) == 0.75
    assert apgr(WEAK, STRONG, WORST) == 0.25
    # 0, 0.5, 0.5, 0.5, 1
    assert apgr(WEAK, STRONG, [3, 4, 2, 1]) == 0.5


def test_the_calls_by_hand() -> None:
    assert [cpt(WEAK, STRONG, BEST, percent) for percent in (0, 50, 80, 100)] == [0, 25, 40, 50]
    assert [cpt(WEAK, STRONG, WORST, percent) for percent in (50, 80, 100)] == [75, 90, 100]


def test_the_first_place_that_is_high_enough_counts() -> None:
    # The curve: 0, 1, 0, 1 after one prompt each.
    assert cpt([0, 1, 0], [1, 0, 1], [3, 2, 1], 100) == pytest.approx(100 / 3)


def test_prompts_that_the_weak_model_answers_better_lift_the_curve_above_1() -> None:
    # The curve: 0, 1, 2, 1.
    assert apgr([0, 0, 1], [1, 1, 0], [3, 2, 1]) == pytest.approx(3.5 / 3)


def test_an_oracle_finds_the_gap_in_as_many_calls_as_there_are_gains() -> None:
    random = np.random.default_rng(0)
    weak, strong = (random.random((2, 500)) < [[0.6], [0.85]]).astype(float)
    gains = strong - weak
    oracle = apgr(weak, strong, gains)
    assert oracle > max(apgr(weak, strong, random.random(500)) for _ in range(50))
    assert cpt(weak, strong, gains, 100) == pytest.approx(100 * gains.sum() / 500)


def test_a_coin_is_half() -> None:
    random = np.random.default_rng(1)
    weak, strong = (random.random((2, 2_000)) < [[0.6], [0.85]]).astype(float)
    coin = random.random(2_000)
    low, high = bounds(weak, strong, coin)
    assert low < 0.5 < high
    assert high - low < 0.2
    many = [apgr(weak, strong, random.random(2_000)) for _ in range(200)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.01)


def test_equal_scores_are_half_to_the_last_bit() -> None:
    assert apgr(WEAK, STRONG, [7, 7, 7, 7]) == 0.5
    assert [cpt(WEAK, STRONG, [7, 7, 7, 7], percent) for percent in (50, 80)] == [50, 80]


@FEWER
@given(labels)
def test_an_order_reversed_mirrors_the_area(rows) -> None:
    weak, strong, scores = columns(rows)
    assert apgr(weak, strong, [-score for score in scores]) == pytest.approx(
        1 - apgr(weak, strong, scores)
    )


@FEWER
@given(labels)
def test_the_area_is_that_of_the_curve_walked_prompt_by_prompt(rows) -> None:
    assert apgr(*columns(rows)) == pytest.approx(stepwise(*columns(rows)))


@FEWER
@given(labels, st.floats(0, 100))
def test_calls_are_a_percentage_and_never_fewer_for_more(rows, percent) -> None:
    weak, strong, scores = columns(rows)
    calls = cpt(weak, strong, scores, percent)
    assert 0 <= calls <= cpt(weak, strong, scores, 100) <= 100


@FEWER
@given(labels)
def test_only_the_order_of_scores_counts(rows) -> None:
    weak, strong, scores = columns(rows)
    bent = [math.exp(score) for score in scores]
    assert apgr(weak, strong, bent) == apgr(weak, strong, scores)


def test_bounds_are_the_same_for_the_same_seed_alone() -> None:
    random = np.random.default_rng(2)
    weak, strong = (random.random((2, 300)) < [[0.5], [0.9]]).astype(float)
    scores = random.random(300)
    assert bounds(weak, strong, scores) == bounds(weak, strong, scores)
    assert bounds(weak, strong, scores) != bounds(weak, strong, scores, seed=2)


def test_bounds_narrow_with_more_prompts() -> None:
    random = np.random.default_rng(3)
    weak, strong = (random.random((2, 3_000)) < [[0.6], [0.85]]).astype(float)
    scores = random.random(3_000)
    few, many = (bounds(weak[:n], strong[:n], scores[:n]) for n in (300, 3_000))
    assert many[1] - many[0] < (few[1] - few[0]) / 2


def test_bounds_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        weak, strong = (random.random((2, 400)) < [[0.5], [0.8]]).astype(float)
        low, high = bounds(weak, strong, random.random(400), draws=200)
        held += low <= 0.5 <= high
    assert 90 <= held <= 99


def test_where_the_gap_may_be_none_there_are_no_bounds() -> None:
    assert bounds([0, 1, 1], [1, 1, 1], [3, 2, 1]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("weak", "strong", "scores", "field"),
    [
        ([], [], [], "scores"),
        ([1], [1, 1], [1], "scores"),
        ([0, 1], [1, math.nan], [1, 2], "strong"),
        ([0, 1], [1, 1], [1, math.inf], "scores"),
        ([[0, 1]], [1, 1], [1, 2], "weak"),
        ([1, 1], [1, 1], [1, 2], "strong"),
        ([1, 1], [0, 1], [1, 2], "strong"),
    ],
)
@pytest.mark.parametrize("measure", [apgr, bounds, lambda *rows: cpt(*rows, 50)])
def test_what_has_no_curve_is_refused(measure, weak, strong, scores, field) -> None:
    with pytest.raises(InvalidInput) as caught:
        measure(weak, strong, scores)
    assert caught.value.field == field


@pytest.mark.parametrize("percent", [-1, 100.1, math.nan])
def test_a_percentage_is_asked_for(percent) -> None:
    with pytest.raises(InvalidInput, match="percent"):
        cpt(WEAK, STRONG, BEST, percent)


def test_draws_are_at_least_one() -> None:
    with pytest.raises(InvalidInput, match="draws"):
        bounds(WEAK, STRONG, BEST, draws=0)
