"""When two values are the same: by hand, by made-up pairs, and what holds of any text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.facts.numbers import with_dates
from rag_memory_plugins.facts.values import normal, predicate_key, same_value, subject_key
from rag_memory_plugins.forgetting import forget_texts
from tests.facts.near import different_pairs, same_pairs

DATA = Path(__file__).parent / "data" / "values.jsonl"
PAIRS = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
WORDS = st.sampled_from(
    "a the Ann ann Lee red car cars not no 5 5k 5,000 five thousand $2 2 dollars May 3 2026-05-03 in "
    "on of and , or NYC New York City Team A B v2 currently just doesn't C++ 3rd third % h 2h . ' - US "
    "über São 東京 accommodation accomodation half to ' '' 's 1. .5 -3 10-20 3pm 15:00 00 07".split()
)
TEXTS = st.text(max_size=30) | st.lists(WORDS, max_size=8).map(" ".join)


def rates(pairs):
    """(wrongly merged of different pairs, missed of same pairs), each with what they are."""
    same = [(a, b) for a, b, told in pairs if told]
    other = [(a, b) for a, b, told in pairs if not told]
    missed = [pair for pair in same if not same_value(*pair)]
    merged = [pair for pair in other if same_value(*pair)]
    return merged, missed, len(other), len(same)


@pytest.mark.parametrize("kept", [False, True])
def test_pairs_written_by_hand_are_told_apart_and_together(kept):
    pairs = [(row["a"], row["b"], row["same"]) for row in PAIRS if row["kept"] is kept]
    assert len(pairs) >= 150
    merged, missed, _, same = rates(pairs)
    assert merged == []
    assert len(missed) <= 0.02 * same, missed


@pytest.mark.parametrize("seed", [1, 2])
def test_made_up_pairs_are_told_apart_and_together(seed):
    pairs = [(a, b, True) for _, a, b in same_pairs(1_000, seed)]
    pairs += [(a, b, False) for _, a, b in different_pairs(6_000, seed)]
    merged, missed, other, same = rates(pairs)
    assert len(merged) <= 0.001 * other, merged
    assert len(missed) <= 0.02 * same, missed


def test_every_kind_of_made_up_pair_is_made_and_none_is_equal_as_text():
    same = list(same_pairs(400, 3))
    other = list(different_pairs(400, 3))
    assert len({kind for kind, _, _ in same}) == 20
    assert len({kind for kind, _, _ in other}) == 16
    assert all(a != b for _, a, b in other)


@given(TEXTS)
def test_a_value_is_the_same_as_itself(text):
    assert same_value(text, text)
    assert normal(text) == normal(text)


@given(TEXTS, TEXTS)
def test_sameness_has_no_direction_and_equal_normal_forms_are_the_same(a, b):
    assert same_value(a, b) is same_value(b, a)
    if normal(a) == normal(b):
        assert same_value(a, b)


@given(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), st.integers(0, 9), st.integers(0, 9))
def test_another_digit_is_another_value(text, one, other):
    a, b = f"{text} item {one}71", f"{text} item {other}71"
    assert same_value(a, b) is (one == other)


@given(TEXTS)
def test_a_normal_form_is_never_empty_but_of_blanks(text):
    assert normal(text) or not text.strip()


@pytest.mark.parametrize("text", ["the", "a", "!!!", "...", "just", "an"])
def test_a_value_of_nothing_but_filler_stays_a_value(text):
    assert normal(text)
    assert not same_value(text, "car")


def test_values_that_are_longer_than_any_fact_are_compared_by_normal_form_alone():
    long = "red car " * 60
    assert same_value(long, long.upper())
    assert not same_value(long, f"{long} currently")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("by 31 February 2026", "by 31 February 2026"),  # no such day
        ("on 03/05/2026", "on 03/05/2026"),  # the third of May, or the fifth of March
        ("on 25/12/2026", "on 2026-12-25"),
        ("at 25:10", "at 25:10"),
        ("12 am", "00:00"),
        ("12 pm", "12:00"),
        ("1.2.3", "1.2.3"),
        ("you may 2 times", "you --05-02 times"),
    ],
)
def test_only_what_can_be_read_in_one_way_is_a_date(text, read):
    assert with_dates(text) == read


@pytest.mark.parametrize(
    "wordings",
    [
        "lives in; resides in; is living in; home; livesIn; LIVES_IN; has been living in; based in",
        "works at; works for; employed by; worked at; is employed by; employer",
        "status; state; is currently; current status; is",
        "likes; loves; enjoys; liked; is fond of",
        "does not like; dislikes; hates; doesn't like",
        "favourite color; favorite colour; favorite color is",
        "was born in; birthplace; born in",
        "birthday; born on; date of birth",
        "is married to; spouse; married to",
        "has; has a; had",
        "drinks; drank; is drinking",
        "due date; deadline; is due on",
    ],
)
def test_wordings_of_one_relation_have_one_key(wordings):
    assert len({predicate_key(said) for said in wordings.split("; ")}) == 1


@pytest.mark.parametrize(
    "relations",
    [
        "lives in; works at; was born in; moved to; moved from; likes; does not like; owns; status",
        "works at; works with; works as; does not work at",
        "birthday; birthplace; origin; age",
        "drinks; does not drink; eats",
        "reports to; manages",
        "is a; has a; is",
        "starts on; ends on; deadline",
    ],
)
def test_other_relations_have_other_keys(relations):
    told = relations.split("; ")
    assert len({predicate_key(said) for said in told}) == len(told)


@given(TEXTS)
def test_a_predicate_and_a_subject_have_a_key_unless_they_are_blank(text):
    assert bool(predicate_key(text)) is bool(text.strip())
    assert bool(subject_key(text)) is bool(text.strip())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The User", "user's", True),
        ("\u201cProject Seven\u201d", "project  seven", True),
        ("ＡＮＮ", "Ann", True),  # noqa: RUF001 -- the wide letters are meant
        ("Ann Lee", "Ann", False),
        ("the Smiths'", "smiths", True),
        ("Ann", "Anne", False),
    ],
)
def test_a_subject_is_known_by_its_spelling(one, other, same):
    assert (subject_key(one) == subject_key(other)) is same


def test_what_was_compared_is_forgotten_with_the_rest():
    from rag_memory_plugins.facts import values

    normal("my pin is 4821")
    assert values._kept.cache_info().currsize
    forget_texts()
    assert values._kept.cache_info().currsize == 0
