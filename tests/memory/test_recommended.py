"""Which mode suits a session, why, and that it does not flap while the session shrinks and grows."""

from __future__ import annotations

import pytest

from rag_memory_plugins import Modes, TokenBudget
from rag_memory_plugins.errors import InvalidBudget

EACH = 100
"""Tokens of every turn here: 4 of framing, and 384 characters of text."""


@pytest.fixture
def talk(opened):
    memory = opened(counter="characters", embedder=None, summarizer=None)
    return memory.conversation("acme", "ann", "monday")


def say(talk, first, last):
    """Turns `first` to `last`, of a hundred tokens each; the last one is the assistant's."""
    turns = [
        {
            "role": "user" if n % 2 else "assistant",
            "content": f"turn {n:04} is about the piano ".ljust(4 * (EACH - 4), "."),
            "id": f"m{n}",
        }
        for n in range(first, last + 1)
    ]
    talk.add(turns)


def forget(talk, first, last):
    talk.forget([f"m{n}" for n in range(first, last + 1)])


def modes_of(talk):
    """(what is recommended, what a context takes): always the same."""
    return talk.recommended_config().mode, talk.context("").mode


@pytest.mark.parametrize(
    ("turns", "mode", "reason"),
    [
        (0, "full", "0 tokens are at most 5000"),
        (50, "full", "5000 tokens are at most 5000"),
        (51, "balanced", "5100 tokens are more than 5000"),
        (200, "balanced", "20000 tokens are more than 5000"),
        (201, "safe", "20100 tokens are more than 20000"),
    ],
)
def test_the_mode_follows_the_size_of_the_session_and_says_why(talk, turns, mode, reason):
    if turns:
        say(talk, 1, turns)
    found, made = talk.recommended_config(), talk.context("")
    assert (found.mode, found.reason, found.tokens) == (mode, reason, turns * EACH)
    assert (made.mode, made.mode_reason, made.history_tokens) == (mode, reason, turns * EACH)


def test_thresholds_are_the_memorys(opened):
    memory = opened(counter="characters", embedder=None, modes=Modes(200, 400))
    talk = memory.conversation("acme", "ann", "monday")
    say(talk, 1, 2)
    assert modes_of(talk) == ("full", "full")
    say(talk, 3, 4)
    assert modes_of(talk) == ("balanced", "balanced")
    say(talk, 5, 5)
    assert modes_of(talk) == ("safe", "safe")


def test_what_a_user_said_elsewhere_does_not_make_a_session_long(talk):
    other = talk.memory.conversation("acme", "ann", "tuesday")
    say(other, 1, 60)
    say(talk, 1, 3)
    assert modes_of(other) == ("balanced", "balanced")
    assert modes_of(talk) == ("full", "full")


def test_a_session_that_does_not_fit_the_budget_is_not_shown_in_full(talk):
    say(talk, 1, 30)
    found = talk.recommended_config(2_000)
    assert (found.mode, found.reason) == ("balanced", "3000 tokens do not fit into 2000")
    assert talk.context("", 2_000).mode == "balanced"
    assert talk.recommended_config(3_100).mode == "full"


def test_the_mode_that_is_asked_for_is_taken(talk):
    say(talk, 1, 60)
    made = talk.context("", mode="safe")
    assert (made.mode, made.mode_reason) == ("safe", "asked for")


@pytest.mark.parametrize("budget", [None, 3_000, TokenBudget.small(), TokenBudget(5_000, facts=0)])
@pytest.mark.parametrize("turns", [3, 60, 210])
def test_the_shares_are_of_what_the_budget_leaves(talk, budget, turns):
    say(talk, 1, turns)
    shares = talk.recommended_config(budget).shares
    limits = talk.memory.budget if budget is None else TokenBudget.of(budget)
    assert sorted(shares) == ["facts", "recent", "retrieved", "summary"]
    assert sum(shares.values()) <= limits.available
    assert [shares[name] for name in shares if getattr(limits, name) == 0] in ([], [0])
    if limits.retrieved is None:  # nothing is kept back
        assert sum(shares.values()) >= 0.99 * limits.available


def test_recent_turns_get_a_smaller_share_the_longer_the_session(talk):
    shares = []
    for first, last in ((1, 10), (11, 60), (61, 210)):
        say(talk, first, last)
        shares.append(talk.recommended_config(6_000).shares["recent"])
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3


@pytest.mark.parametrize("budget", [None, 8_000])
def test_in_full_every_turn_is_in_view(talk, budget):
    say(talk, 1, 45)
    made = talk.context("", budget)
    assert made.mode == "full"
    assert [len(part.messages) for part in made.parts if part.name == "recent"] == [45]


def test_a_session_that_loses_a_little_keeps_its_mode(talk):
    say(talk, 1, 51)
    forget(talk, 1, 3)
    assert talk.recommended_config().tokens == 4_800
    assert modes_of(talk) == ("balanced", "balanced")
    assert talk.context("").history_tokens == 4_800


def test_a_session_that_has_lost_a_fifth_goes_back(talk):
    say(talk, 1, 51)
    forget(talk, 1, 10)
    assert modes_of(talk) == ("balanced", "balanced")  # 4,100 are over four fifths of 5,100
    forget(talk, 11, 11)
    assert modes_of(talk) == ("full", "full")
    assert talk.recommended_config().reason == "4000 tokens are at most 5000"


def test_a_session_about_the_threshold_does_not_flap(talk):
    say(talk, 1, 51)
    seen = []
    for n in range(52, 60):
        forget(talk, n - 51, n - 50)
        seen.append(talk.recommended_config().mode)
        say(talk, n, n)
        seen.append(talk.recommended_config().mode)
    assert set(seen) == {"balanced"}


def test_one_that_went_back_grows_out_of_it_again(talk):
    say(talk, 1, 51)
    forget(talk, 1, 20)
    assert modes_of(talk) == ("full", "full")
    say(talk, 52, 70)
    assert modes_of(talk) == ("full", "full")
    say(talk, 71, 71)
    assert modes_of(talk) == ("balanced", "balanced")


def test_an_erased_session_begins_anew(talk):
    say(talk, 1, 201)
    assert modes_of(talk) == ("safe", "safe")
    talk.erase()
    assert modes_of(talk) == ("full", "full")
    say(talk, 1, 3)
    assert talk.recommended_config().tokens == 300


@pytest.mark.parametrize("budget", [0, -1, True, "many"])
def test_a_budget_that_is_none_is_refused(talk, budget):
    with pytest.raises(InvalidBudget):
        talk.recommended_config(budget)
