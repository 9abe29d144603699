"""kNN over a tenant's outcomes: right where it knows better, the prior everywhere else."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins import SHARED, Scope
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.outcomes import Outcomes

ANN, BOB = Scope("acme", "ann"), Scope("acme", "bob")
OTHER = Scope("globex", "ann")
WIDTH = 16
EASY, HARD = 0, 1  # topics: the weak model fails in the second


def vector(random, topic: int, spread: float = 0.3):
    """A prompt about one of eight topics, unit length."""
    made = np.eye(WIDTH)[topic] + random.normal(0, spread / WIDTH**0.5, WIDTH)
    return (made / np.linalg.norm(made)).astype(np.float32)


def teach(
    outcomes, scope, count: int = 400, *, seed: int = 0, hard: int = HARD, swap: bool = False
):
    """Record pairs: the weak model fails at one topic, the prior says nothing about it."""
    random = np.random.default_rng(seed)
    for at in range(count):
        topic = at % 2
        fails = random.random() < (0.5 if swap else 0.9 if topic == hard else 0.1)
        outcomes.record(
            scope, vector(random, topic), float(random.random()), weak=float(not fails), strong=1.0
        )
    return random


def taught(**settings) -> Outcomes:
    outcomes = Outcomes(WIDTH, **settings)
    teach(outcomes, ANN)
    outcomes.report(ANN)
    return outcomes


def ask(outcomes, scope=ANN, topic: int = HARD, prior: float = 0.5, seed: int = 9):
    return outcomes.estimate(scope, vector(np.random.default_rng(seed), topic), prior)


def known(outcomes, topic: int, count: int = 40):
    """Estimates of many prompts of a topic, of those that are like what is known."""
    made = [ask(outcomes, topic=topic, seed=seed) for seed in range(count)]
    return [estimate for estimate in made if not estimate.abstained]


def test_prompts_near_to_failures_of_the_weak_model_are_worth_more() -> None:
    outcomes = taught()
    hard, easy = (known(outcomes, topic) for topic in (HARD, EASY))
    # Half of the prompts are easy: theirs are the lower half of the priors, which are even.
    assert min(estimate.value for estimate in hard) > 0.4
    assert max(estimate.value for estimate in easy) < 0.6
    assert np.mean([estimate.value for estimate in hard]) == pytest.approx(0.75, abs=0.1)
    assert np.mean([estimate.value for estimate in easy]) == pytest.approx(0.25, abs=0.1)
    assert {estimate.support for estimate in hard + easy} == {80}  # a fifth of 400


def test_a_report_has_both_figures_and_is_in_use() -> None:
    outcomes = Outcomes(WIDTH)
    teach(outcomes, ANN)
    report = outcomes.report(ANN)
    assert report.n == 400
    assert report.reason == ""
    assert report.prior < report.low <= report.apgr <= report.high


def test_as_many_prompts_pass_a_threshold_as_by_the_prior() -> None:
    outcomes = Outcomes(WIDTH)
    random = teach(outcomes, ANN, 600)
    outcomes.report(ANN)
    priors = random.random(400)
    made = [
        outcomes.estimate(ANN, vector(random, at % 2), float(prior))
        for at, prior in enumerate(priors)
    ]
    for threshold in (0.25, 0.5, 0.75):
        passed = sum(estimate.value >= threshold for estimate in made) / len(made)
        assert passed == pytest.approx(np.mean(priors >= threshold), abs=0.1)


def test_before_a_report_it_abstains() -> None:
    outcomes = Outcomes(WIDTH)
    teach(outcomes, ANN)
    estimate = ask(outcomes, prior=0.25)
    assert (estimate.value, estimate.abstained) == (0.25, True)
    assert "no report was made" in estimate.reason


def test_with_too_few_pairs_it_abstains_and_says_how_many_are_wanted() -> None:
    outcomes = Outcomes(WIDTH)
    teach(outcomes, ANN, 150)
    report = outcomes.report(ANN)
    assert (report.n, report.apgr) == (150, None)
    assert "of 150 prompts, 200 are wanted" in report.reason
    assert ask(outcomes, prior=0.25).reason == report.reason
    assert ask(outcomes, prior=0.25).value == 0.25


def test_outcomes_of_one_model_alone_are_no_pairs() -> None:
    outcomes = Outcomes(WIDTH)
    random = np.random.default_rng(0)
    for at in range(400):
        worth = {"weak": 1.0} if at % 3 else {"strong": 1.0}
        outcomes.record(ANN, vector(random, at % 2), 0.5, **worth)
    assert outcomes.report(ANN).n == 0


def test_outcomes_of_one_model_alone_sharpen_what_pairs_have_shown() -> None:
    pairs, more = Outcomes(WIDTH), Outcomes(WIDTH)
    for outcomes in (pairs, more):
        teach(outcomes, ANN)
    random = np.random.default_rng(5)
    for _ in range(100):  # a third topic, whose failures only the weak model's outcomes tell
        more.record(ANN, vector(random, 2), 0.5, weak=0.0)
    for outcomes in (pairs, more):
        assert outcomes.report(ANN).reason == ""
    assert known(pairs, 2) == []
    sharpened = known(more, 2)
    assert len(sharpened) > 20
    assert min(estimate.value for estimate in sharpened) > 0.7


def test_where_neighbours_tell_nothing_the_report_switches_it_off() -> None:
    outcomes = Outcomes(WIDTH)
    teach(outcomes, ANN, swap=True)
    report = outcomes.report(ANN)
    assert "no better than the prior" in report.reason
    assert report.low <= report.prior
    estimate = ask(outcomes, prior=0.25)
    assert (estimate.value, estimate.abstained, estimate.reason) == (0.25, True, report.reason)


def test_it_is_switched_off_again_when_outcomes_change() -> None:
    outcomes = taught(capacity=400)
    assert not ask(outcomes).abstained
    teach(outcomes, ANN, swap=True, seed=3)
    outcomes.report(ANN)
    assert ask(outcomes).abstained


def test_where_the_strong_model_is_worth_no_more_there_is_nothing_to_route() -> None:
    outcomes = Outcomes(WIDTH)
    random = np.random.default_rng(0)
    for at in range(300):
        outcomes.record(ANN, vector(random, at % 2), 0.5, weak=1.0, strong=1.0)
    assert outcomes.report(ANN).reason.startswith("no gap")
    assert ask(outcomes, prior=0.25).value == 0.25


def test_a_prompt_unlike_all_that_is_known_gets_the_prior() -> None:
    outcomes = taught()
    estimate = ask(outcomes, topic=7, prior=0.25)
    assert (estimate.value, estimate.support, estimate.abstained) == (0.25, 0, True)
    assert estimate.reason.startswith("unlike what is known: cosine")


def test_when_most_of_the_latest_prompts_are_unlike_it_abstains_for_all() -> None:
    outcomes = taught()
    for seed in range(20):
        ask(outcomes, topic=7, seed=seed)
    moved = ask(outcomes, topic=HARD)
    assert moved.abstained
    assert "of the latest prompts are unlike" in moved.reason
    for seed in range(100):
        ask(outcomes, topic=EASY, seed=seed)
    assert not ask(outcomes, topic=HARD).abstained


def test_outcomes_of_one_kind_leave_questions_of_another_in_the_priors_order() -> None:
    # Half of the others are near to what is known, where neighbours would say the wrong thing.
    outcomes = taught()
    random = np.random.default_rng(6)
    priors = random.random(400)
    made = [
        outcomes.estimate(ANN, vector(random, HARD if at % 2 else 6), float(prior))
        for at, prior in enumerate(priors)
    ]
    same = [e.value == p for e, p in zip(made, priors, strict=True)]
    assert np.mean(same) > 0.95


def test_the_same_prompt_again_and_again_proves_nothing() -> None:
    outcomes = Outcomes(WIDTH)
    random = np.random.default_rng(0)
    for _ in range(100):  # ten times each, always with the same outcome: kNN would seem perfect
        made = random.normal(size=WIDTH)
        made = (made / np.linalg.norm(made)).astype(np.float32)
        good, prior = float(random.random() < 0.5), float(random.random())
        for _ in range(10):
            outcomes.record(ANN, made, prior, weak=good, strong=1.0)
    assert outcomes.report(ANN).reason != ""


def test_it_is_time_for_a_report_when_a_quarter_is_new() -> None:
    outcomes = Outcomes(WIDTH, least=200)
    random = np.random.default_rng(0)

    def due() -> bool:
        return outcomes.record(ANN, vector(random, 0), 0.5, weak=0.0, strong=1.0)

    assert next(at for at in range(1, 300) if due()) == 200
    outcomes.report(ANN)
    assert next(at for at in range(1, 150) if due()) == 100


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(["globex", "initech"]), st.integers(0, 7)), max_size=30))
def test_no_other_tenant_moves_an_estimate_by_one_bit(others) -> None:
    alone, among = (Outcomes(WIDTH, least=20) for _ in range(2))
    for outcomes in (alone, among):
        teach(outcomes, ANN, 60)
    random = np.random.default_rng(1)
    for tenant, topic in others:
        among.record(Scope(tenant, "ann"), vector(random, topic), 0.9, weak=0.0, strong=1.0)
        among.estimate(Scope(tenant, "ann"), vector(random, 7), 0.9)
        among.report(Scope(tenant, "ann"))
    assert alone.report(ANN) == among.report(ANN)
    for topic in range(8):
        assert ask(alone, topic=topic) == ask(among, topic=topic)


def test_a_tenant_sees_nothing_of_another() -> None:
    outcomes = taught()
    assert ask(outcomes, OTHER, prior=0.25).reason == "no outcomes"
    assert outcomes.report(OTHER).n == 0
    assert outcomes.forget(OTHER) == 0
    assert not ask(outcomes).abstained


def test_users_of_a_tenant_share_what_was_learnt() -> None:
    assert ask(taught(), BOB) == ask(taught(), ANN)


def test_forgetting_a_user_drops_their_prompts_and_what_was_learnt_with_them() -> None:
    outcomes = taught()
    teach(outcomes, BOB, 300, seed=4)
    before = outcomes.nbytes
    assert outcomes.forget(ANN) == 400
    assert outcomes.nbytes < before
    assert ask(outcomes).reason == "not measured: no report was made"
    only_bob = Outcomes(WIDTH)
    teach(only_bob, BOB, 300, seed=4)
    assert outcomes.report(BOB) == only_bob.report(BOB)
    assert ask(outcomes, topic=HARD) == ask(only_bob, topic=HARD)
    assert outcomes.forget(ANN) == 0


def test_a_full_ring_that_forgets_keeps_the_newest_in_order() -> None:
    outcomes, fresh = Outcomes(WIDTH, capacity=300), Outcomes(WIDTH, capacity=300)
    teach(outcomes, ANN, 200)
    teach(outcomes, BOB, 250, seed=4)  # 50 of Ann's are left
    assert outcomes.forget(ANN) == 50
    for each in (outcomes, fresh):
        if each is fresh:
            teach(each, BOB, 250, seed=4)
        teach(each, Scope("acme", SHARED), 100, seed=5)
    assert outcomes.report(BOB) == fresh.report(BOB)


def test_a_tenants_memory_has_a_bound() -> None:
    outcomes = Outcomes(WIDTH, capacity=250)
    teach(outcomes, ANN, 250)
    full = outcomes.nbytes
    assert full == 256 * (4 * WIDTH + 8 + 16 + 16)  # in blocks of 16
    teach(outcomes, ANN, 250, seed=2)
    assert outcomes.nbytes == full
    last = Outcomes(WIDTH, capacity=250)
    teach(last, ANN, 250, seed=2)
    assert outcomes.report(ANN) == last.report(ANN)


def test_the_memory_of_all_has_a_bound_and_the_most_silent_goes_first() -> None:
    one = 64 * (4 * WIDTH + 40)
    outcomes = Outcomes(WIDTH, most_bytes=3 * one)
    tenants = [Scope(f"tenant {at}", "ann") for at in range(4)]
    for scope in tenants[:3]:
        teach(outcomes, scope, 10)
    ask(outcomes, tenants[0])
    teach(outcomes, tenants[3], 10)
    assert outcomes.nbytes == 3 * one
    assert [ask(outcomes, scope).reason == "no outcomes" for scope in tenants] == [
        False, True, False, False,
    ]  # fmt: skip


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
             min_size=30, max_size=60),
    st.floats(0, 1),
)  # fmt: skip
def test_a_value_is_between_0_and_1_and_the_prior_whenever_it_abstains(rows, prior) -> None:
    outcomes = Outcomes(WIDTH, least=20)
    random = np.random.default_rng(0)
    for topic, own, weak, strong in rows:
        outcomes.record(ANN, vector(random, topic), own, weak=weak, strong=strong)
    outcomes.report(ANN)
    for topic in range(8):
        estimate = ask(outcomes, topic=topic, prior=prior)
        assert 0 <= estimate.value <= 1
        assert estimate.abstained == bool(estimate.reason)
        if estimate.abstained:
            assert (estimate.value, estimate.support) == (prior, 0)


def test_threads_that_record_estimate_report_and_forget_lose_nothing() -> None:
    outcomes = Outcomes(WIDTH, least=50)
    failed: list[BaseException] = []

    def work(at: int) -> None:
        try:
            scope = Scope("acme", f"user {at}")
            teach(outcomes, scope, 100, seed=at)
            outcomes.report(scope)
            ask(outcomes, scope)
        except BaseException as error:  # whatever it is, the test must say so
            failed.append(error)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [outcomes.forget(Scope("acme", f"user {at}")) for at in range(8)] == [100] * 8


def test_a_report_that_a_forget_overtook_is_not_used(monkeypatch) -> None:
    from rag_memory_plugins.router import outcomes as module

    outcomes = taught()
    real = module.examine

    def overtaken(*columns, **settings):
        outcomes.forget(ANN)
        return real(*columns, **settings)

    monkeypatch.setattr(module, "examine", overtaken)
    outcomes.report(ANN)
    assert ask(outcomes).reason == "not measured: no report was made"


GOOD = np.eye(WIDTH, dtype=np.float32)[0]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"scope": "acme"}, "scope"),
        ({"vector": [1.0] + [0.0] * 15}, "vector"),
        ({"vector": GOOD.astype(np.float64)}, "vector"),
        ({"vector": GOOD[:8]}, "vector"),
        ({"vector": GOOD * 2}, "vector"),
        ({"vector": GOOD * np.float32(np.nan)}, "vector"),
        ({"prior": 1.5}, "prior"),
        ({"prior": float("nan")}, "prior"),
        ({"weak": -0.1}, "weak"),
        ({"strong": "good"}, "strong"),
        ({"weak": None, "strong": None}, "weak"),
    ],
)
def test_bad_outcomes_are_refused_and_change_nothing(changed, field) -> None:
    outcomes = Outcomes(WIDTH)
    given = {"scope": ANN, "vector": GOOD, "prior": 0.5, "weak": 0.0, "strong": 1.0, **changed}
    with pytest.raises(InvalidInput) as caught:
        outcomes.record(**given)
    assert caught.value.field == field
    assert outcomes.nbytes == 0
    if field in {"scope", "vector", "prior"}:
        with pytest.raises(InvalidInput, match=field):
            outcomes.estimate(given["scope"], given["vector"], given["prior"])


@pytest.mark.parametrize(
    "given",
    [{"dimension": 0}, {"capacity": 1.5}, {"least": 1}, {"most_bytes": -1}, {"seed": True},
     {"capacity": 100, "least": 200}],
    ids=str,
)  # fmt: skip
def test_settings_are_checked(given) -> None:
    with pytest.raises(InvalidInput):
        Outcomes(**given)
