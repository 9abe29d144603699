"""Budgets: what they promise, what they refuse, and how they shrink."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Modes, Strategy, TokenBudget
from rag_memory_plugins.budget import PARTS
from rag_memory_plugins.config import STRATEGIES
from rag_memory_plugins.errors import InvalidBudget, InvalidInput
from rag_memory_plugins.memory.modes import chosen, shares


def test_the_presets_are_what_they_say():
    default, small = TokenBudget.default(), TokenBudget.small()
    assert (default.total, default.system, default.completion) == (8_000, 700, 1_000)
    assert (default.summary, default.recent, default.retrieved) == (1_200, 450, 3_750)
    assert (small.total, small.question, small.completion, small.available) == (
        *(3_000, 500, 1_000, 1_500),
    )


def test_a_models_window_bounds_its_budget():
    assert TokenBudget.for_model("gpt-4").total == 8_192
    assert TokenBudget.for_model("gpt-4o").total == 32_000
    assert TokenBudget.for_model("anything", window=16_000).retrieved == 7_500
    with pytest.raises(InvalidInput, match="window"):
        TokenBudget.for_model("no-such-model")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"total": 100, "completion": 100}, "total"),
        ({"total": 100, "recent": 60, "retrieved": 60}, "total"),
        ({"total": 100, "recent": 10, "least": {"recent": 20}}, "least['recent']"),
        ({"total": 100, "recent": 30, "most": {"recent": 20}}, "most['recent']"),
        ({"total": 100, "least": {"recent": 30}, "most": {"recent": 20}}, "least['recent']"),
        ({"total": 100, "least": {"recnet": 30}}, "least"),
        ({"total": 100, "most": {"recent": "30"}}, "most['recent']"),
        ({"total": 100, "most": 5}, "most"),
        ({"total": 100, "system": -1}, "system"),
        ({"total": 100, "least": {"summary": 60, "recent": 60}}, "total"),
    ],
)
def test_a_budget_that_cannot_be_kept_names_its_field(values, field):
    with pytest.raises(InvalidBudget) as caught:
        TokenBudget(**values)
    assert caught.value.field == field


@given(
    total=st.integers(10, 9_000),
    recent=st.none() | st.integers(0, 3_000),
    summary=st.none() | st.integers(0, 3_000),
    least=st.integers(0, 500),
    taken=st.integers(0, 9_000),
)
def test_what_is_less_is_a_budget_that_can_be_kept(total, recent, summary, least, taken):
    try:
        budget = TokenBudget(
            total, recent=recent, summary=summary, least={"recent": least} if recent else {}
        )
    except InvalidBudget:
        return
    if taken >= budget.available:
        with pytest.raises(InvalidBudget):
            budget.less(taken)
        return
    left = budget.less(taken)
    assert left.available == budget.available - taken
    for name in ("recent", "summary"):
        was, now = getattr(budget, name), getattr(left, name)
        assert (was is None) == (now is None)
        assert was is None or now <= was


@given(
    left=st.integers(0, 9_000),
    mode=st.sampled_from(["full", "balanced", "safe"]),
    strategy=st.sampled_from(list(STRATEGIES.values())),
    stated=st.dictionaries(st.sampled_from(PARTS[1:]), st.integers(0, 900)),
)
def test_shares_never_add_up_to_more_than_there_is(left, mode, strategy, stated):
    made = shares(TokenBudget(9_000, **stated), mode, strategy, left)
    assert sum(made.values()) <= left
    assert all(share >= 0 for share in made.values())
    for name, share in stated.items():
        # Mode full shows the history, whatever is said of recent turns, unless they are left out.
        assert made[name] <= share or (mode == "full" and name == "recent" and share)


@pytest.mark.parametrize(
    ("peak", "room", "mode"),
    [
        (0, 6_000, "full"),
        (5_000, 6_000, "full"),
        (5_000, 4_999, "balanced"),
        (5_001, 6_000, "balanced"),
        (20_000, 6_000, "balanced"),
        (20_001, 6_000, "safe"),
    ],
)
def test_the_mode_follows_the_size_of_the_session(peak, room, mode):
    made, why = chosen("auto", peak, room, Modes())
    assert made == mode
    assert str(peak) in why


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Modes, {"full_up_to": -1}),
        (Modes, {"full_up_to": 9, "balanced_up_to": 8}),
        (Strategy, {"name": ""}),
        (Strategy, {"name": "x", "recent": 0.8, "summary": 0.4}),
        (Strategy, {"name": "x", "recent": 2}),
        (Strategy, {"name": "x", "window": 11}),
        (Strategy, {"name": "x", "recall": "late"}),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kind, values):
    with pytest.raises(InvalidInput):
        kind(**values)
