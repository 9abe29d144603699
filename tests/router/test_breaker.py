"""The breaker as values: what each result does to each state, and that it holds in any order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.breaker import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    BreakerRules,
    BreakerState,
    Permit,
    Refused,
    allow,
    failure,
    newest,
    numbers_of,
    order,
    release,
    state_of,
    success,
)

RULES = BreakerRules(failures=3, window=60, cool_down=10, longest=35, longest_stated=600, lease=120)
NOW = 1_700_000_000_000


def asked(state, now, **more):
    return allow(state, "k", now, RULES, **more)


def opened(now=NOW, cool_down=10.0):
    """(an open breaker, a permit that was given before)."""
    _, permit = asked(BreakerState(), now)
    return failure(BreakerState(), permit, now, RULES, at_once=True, cool_down=cool_down), permit


def probing(now=NOW):
    """(a half-open breaker, its probe, a permit that was given before it opened)."""
    state, early = opened(now)
    state, probe = asked(state, now + 10_000)
    assert probe.probe
    return state, probe, early


def test_a_closed_breaker_permits_everybody_and_stays_the_same_object():
    state = BreakerState()
    assert asked(state, NOW) == (state, Permit("k", 0, probe=False))
    assert asked(state, NOW)[0] is state
    assert success(state, Permit("k", 0)) is state


def test_failures_in_a_row_open_it():
    state, permit = BreakerState(), Permit("k", 0)
    for number in range(3):
        assert state.phase == CLOSED
        state = failure(state, permit, NOW + number, RULES)
    assert (state.phase, state.until) == (OPEN, NOW + 2 + 10_000)


def test_a_success_between_them_begins_the_count_anew():
    state, permit = BreakerState(), Permit("k", 0)
    for _ in range(5):
        state = failure(failure(state, permit, NOW, RULES), permit, NOW, RULES)
        state = success(state, permit)
    assert state == BreakerState()


def test_a_failure_longer_than_the_window_after_the_last_is_the_first_again():
    state, permit = BreakerState(), Permit("k", 0)
    for number in range(10):
        state = failure(state, permit, NOW + number * 60_001, RULES)
    assert (state.phase, state.failures) == (CLOSED, 1)
    for _ in range(2):
        state = failure(state, permit, state.at + 60_000, RULES)
    assert state.phase == OPEN


def test_one_failure_that_says_so_opens_it_for_as_long_as_it_says():
    state, _ = opened(cool_down=60)
    assert asked(state, NOW + 59_999) == (state, Refused((NOW + 60_000) / 1_000, "open"))
    assert asked(state, NOW + 60_000)[1].probe


def test_one_probe_goes_out_and_everybody_else_is_refused():
    state, probe, _ = probing()
    assert state.phase == HALF_OPEN
    for later in (0, 1, 119_999):
        refused = asked(state, NOW + 10_000 + later)
        assert refused == (state, Refused((NOW + 130_000) / 1_000, "half-open"))
    assert success(state, probe) == BreakerState(probe.generation)


def test_a_probe_that_fails_doubles_the_cool_down_up_to_the_longest():
    state, now, lengths = opened(cool_down=None)[0], NOW, []
    for _ in range(60):
        lengths.append((state.until - now) / 1_000)
        now = state.until
        state, probe = asked(state, now)
        state = failure(state, probe, now, RULES)
    assert lengths[:4] == [10, 20, 35, 35]
    assert set(lengths[2:]) == {35}


def test_a_closed_breaker_forgets_how_often_its_probes_failed():
    state, probe, _ = probing()
    state = failure(state, probe, NOW + 10_000, RULES)
    state, probe = asked(state, state.until)
    state = success(state, probe)
    state = failure(state, probe, NOW + 50_000, RULES, at_once=True)
    assert state.until == NOW + 60_000


def test_40130_of_two_cool_downs_the_longer_counts():
    state, permit = opened(cool_down=60)
    longer = failure(state, permit, NOW + 1_000, RULES, at_once=True, cool_down=120)
    assert longer.until == NOW + 121_000
    assert longer.generation == state.generation
    for cool_down in (None, 0, 5, 59):
        assert failure(longer, permit, NOW, RULES, at_once=True, cool_down=cool_down) is longer


def test_no_cool_down_is_longer_than_the_longest_that_may_be_stated():
    for stated in (10**6, 10**300, math.inf):
        assert opened(cool_down=stated)[0].until == NOW + 600_000


@pytest.mark.parametrize("late", ["success", "failure", "release"])
def test_a_result_of_a_call_begun_before_it_opened_moves_nothing(late):
    half_open, probe, early = probing()
    closed = success(half_open, probe)
    for state in (opened()[0], half_open, closed):
        now = NOW + 11_000
        after = {
            "success": lambda state: success(state, early),
            "failure": lambda state, now=now: failure(
                state, early, now, RULES, at_once=True, cool_down=60
            ),
            "release": lambda state, now=now: release(state, early, now),
        }[late](state)
        assert after is state


def test_a_cancelled_probe_is_given_back_and_the_next_who_asks_gets_it():
    state, probe, _ = probing()
    state = release(state, probe, NOW + 12_000)
    assert (state.phase, state.reopened) == (OPEN, 0)
    again, next_probe = asked(state, NOW + 12_000)
    assert next_probe.probe
    assert next_probe.generation > probe.generation
    assert success(again, probe) is again
    assert failure(again, probe, NOW + 12_000, RULES, at_once=True) is again


def test_a_probe_that_never_reports_is_given_up_after_its_lease():
    state, lost, _ = probing()
    state, probe = asked(state, NOW + 130_000)
    assert probe.probe
    assert success(state, lost) is state
    assert failure(state, lost, NOW + 130_000, RULES) is state
    assert release(state, lost, NOW + 130_000) is state
    assert success(state, probe).phase == CLOSED


def test_a_probe_may_have_a_lease_of_its_own():
    state, _ = opened()
    assert asked(state, NOW + 10_000, lease=5)[0].until == NOW + 15_000
    assert asked(state, NOW + 10_000, lease=math.inf)[0].until == NOW + 610_000


def test_a_stream_that_breaks_after_its_first_content_counts_again():
    state, probe, _ = probing()
    state = success(state, probe)
    once = failure(state, probe, NOW + 11_000, RULES)
    assert (once.phase, once.failures) == (CLOSED, 1)
    assert failure(state, probe, NOW + 11_000, RULES, at_once=True).phase == OPEN


def test_a_clock_that_went_back_blocks_nobody_for_longer_than_a_cool_down():
    state, _ = opened(NOW + 86_400_000)
    _, answer = asked(state, NOW)
    assert answer.probe


def test_a_state_reads_as_a_sentence():
    assert str(BreakerState(4)) == "closed"
    assert str(BreakerState(4, HALF_OPEN, until=61_500)) == "half-open until 61.5"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failures", 0),
        ("failures", True),
        ("failures", 1.5),
        ("window", 0),
        ("cool_down", -1),
        ("cool_down", 301),
        ("longest", math.inf),
        ("longest_stated", "60"),
        ("lease", math.nan),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(field, value):
    with pytest.raises(InvalidInput):
        BreakerRules(**{field: value})


@pytest.mark.parametrize("cool_down", [-1, math.nan, "60"])
def test_a_cool_down_that_is_none_is_refused(cool_down):
    with pytest.raises(InvalidInput, match=r"^cool_down: got"):
        failure(BreakerState(), Permit("k", 0), NOW, RULES, cool_down=cool_down)


@pytest.mark.parametrize("lease", [0, -1, math.nan, "60"])
def test_a_lease_that_is_none_is_refused(lease):
    with pytest.raises(InvalidInput, match=r"^lease: got"):
        asked(opened()[0], NOW + 10_000, lease=lease)


@pytest.mark.parametrize("numbers", [{"phase": 3}, {"phase": -1}, {"until": -5}])
def test_numbers_of_something_else_are_refused(numbers):
    with pytest.raises(InvalidInput, match=r"drop the key"):
        state_of(numbers)


def test_a_number_that_a_later_version_adds_is_passed_over():
    assert state_of({"generation": 4, "colour": 9}) == BreakerState(4)


small = st.integers(0, 5)
states = st.builds(
    BreakerState, small, st.sampled_from([CLOSED, OPEN, HALF_OPEN]), small, small, small, small
)


@given(states)
def test_a_state_is_read_back_from_its_numbers(state):
    assert state_of(numbers_of(state)) == state
    assert all(type(number) is int and number for number in numbers_of(state).values())


@given(states, states, states)
def test_who_hears_what_in_which_order_knows_the_same_in_the_end(one, two, three):
    def known(state):
        return state.generation, state.phase

    assert order(newest(one, two)) == order(newest(two, one))
    assert known(newest(newest(one, two), three)) == known(newest(one, newest(two, three)))
    assert newest(one, one) == one


@given(states, states)
def test_hearing_of_another_never_ends_a_cool_down_earlier(one, two):
    both = newest(one, two)
    if one.phase == two.phase == OPEN:
        assert both.until == max(one.until, two.until)
    assert both.generation == max(one.generation, two.generation)
