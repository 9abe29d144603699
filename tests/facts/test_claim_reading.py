"""Entries of a model's answer as claims: only what the message bears out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.facts.claim_reading import claims_of, entries_of
from rag_memory_plugins.ports.facts import Claim
from rag_memory_plugins.types import Message

SAID = datetime(2026, 5, 8, 9, 30, tzinfo=timezone.utc)
TEXT = "I moved to Porto on 1 May, I pay 1,250 euros and we have two cats named Ada and Bit."
ENTRY = {"subject": "Ann", "predicate": "lives in", "object": "Porto"}


def read(value, text=TEXT, name="Ann"):
    return claims_of(value, Message("user", text, name=name, time=SAID), text)


def only(**values):
    result = read([{**ENTRY, **values}])
    assert not result.dropped
    [claim] = result.claims
    return claim


def dropped(**values):
    result = read([{**ENTRY, **values}])
    assert result.claims == ()
    [reason] = result.dropped
    return reason


def test_an_entry_is_a_claim():
    claim = only(
        confidence=0.9,
        valid_from="2026-05-01",
        valid_to="2026-12-31T12:00:00+02:00",
        negated=True,
        corrects=True,
        many=True,
    )
    assert claim == Claim(
        "Ann",
        "lives in",
        "Porto",
        0.9,
        datetime(2026, 5, 1, tzinfo=timezone.utc),
        datetime(2026, 12, 31, 12, tzinfo=timezone(timedelta(hours=2))),
        negated=True,
        corrects=True,
        many=True,
    )


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"subject": "I"}, "subject", "Ann"),
        ({"subject": "the user"}, "subject", "Ann"),
        ({"subject": " ann "}, "subject", "Ann"),
        ({"subject": "Ann's landlord"}, "subject", "Ann's landlord"),
        ({"predicate": "Lives  in"}, "predicate", "lives in"),
        ({"object": "two cats"}, "object", "two cats"),
        ({"object": "2 cats"}, "object", "2 cats"),
        ({"object": "1250 euros"}, "object", "1250 euros"),
        ({"object": "Cats"}, "object", "Cats"),
        ({"object": None, "negated": True}, "object", ""),
        ({"valid_from": "2026"}, "valid_from", datetime(2026, 1, 1, tzinfo=timezone.utc)),
        ({"valid_from": "2026-05"}, "valid_from", datetime(2026, 5, 1, tzinfo=timezone.utc)),
        (
            {"valid_from": "2026-05-01T00:00:00Z"},
            "valid_from",
            SAID.replace(day=1, hour=0, minute=0),
        ),
        ({"valid_from": None, "valid_to": ""}, "valid_to", None),
        ({"confidence": 1}, "confidence", 1.0),
    ],
)
def test_a_field_is_read_as_it_was_meant(values, field, expected):
    assert getattr(only(**values), field) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"object": "Lisbon"}, "a name that was not said"),
        ({"subject": "Zoe"}, "a name that was not said"),
        ({"object": "three cats"}, "a number that was not said"),
        ({"object": "125 euros"}, "a number that was not said"),
        ({"object": "250 euros"}, "a number that was not said"),
        ({"object": "12,500"}, "a number that was not said"),
        ({"predicate": "lives with Zoe in"}, "a name that was not said"),
        ({"predicate": "pays 99 for"}, "a number that was not said"),
        ({"object": ""}, "no object"),
        ({"object": "x" * 201}, "a field of the wrong length"),
        ({"predicate": " "}, "a field of the wrong length"),
        ({"subject": None}, "a field of the wrong type"),
        ({"object": ["Porto"]}, "a field of the wrong type"),
        ({"negated": "no"}, "a field of the wrong type"),
        ({"confidence": True}, "a field of the wrong type"),
        ({"confidence": "high"}, "a field of the wrong type"),
        ({"confidence": 1.1}, "a confidence outside of 0 to 1"),
        ({"confidence": float("nan")}, "a confidence outside of 0 to 1"),
        ({"valid_from": "next Monday"}, "a date that is none"),
        ({"valid_from": "2026-02-30"}, "a date that is none"),
        ({"valid_from": 2026}, "a date that is none"),
        ({"valid_from": "2026-05-02", "valid_to": "2026-05-02"}, "dates in the wrong order"),
    ],
)
def test_what_cannot_be_is_dropped(values, reason):
    assert dropped(**values) == reason


def test_one_bad_entry_costs_itself_alone():
    result = read([{**ENTRY, "object": "Lisbon"}, "tea", ENTRY, ENTRY])
    assert [claim.object for claim in result.claims] == ["Porto"]
    assert result.dropped.total() == 2


def test_a_list_that_runs_away_is_cut():
    result = read([{**ENTRY, "confidence": number / 100} for number in range(30)])
    assert len(result.claims) == 20
    assert result.dropped == {"more claims than one message makes": 10}


def test_the_subject_of_a_nameless_speaker_is_user():
    assert read([{**ENTRY, "subject": "I"}], name=None).claims[0].subject == "user"


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ([], []),
        ({"claims": [ENTRY]}, [ENTRY]),
        (ENTRY, [ENTRY]),
        ({"claims": None}, None),
        ({}, None),
        (None, None),
        ("[]", None),
        (True, None),
    ],
)
def test_entries_are_found_however_they_are_wrapped(value, entries):
    assert entries_of(value) == entries


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = ("subject", "predicate", "object", "confidence", "valid_from", "valid_to", "negated")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_no_answer_raises_and_every_entry_is_counted(value):
    result = read(value)
    assert len(result.claims) + result.dropped.total() <= len(value)
    assert bool(result.claims or result.dropped) == bool(value)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_number_is_taken_only_where_it_was_said(said, claimed):
    text = f"The code is {said}, keep it."
    entry = {"subject": "code", "predicate": "is", "object": str(claimed)}
    assert bool(read([entry], text).claims) == (said == claimed)


def test_a_part_of_a_number_is_another_number():
    text = "The rent is 1,250.75 euros."
    said = [{"subject": "rent", "predicate": "is", "object": part} for part in ("1", "250", "75")]
    assert read(said, text).dropped == {"a number that was not said": 3}
