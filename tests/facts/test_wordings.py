"""Values compared by rules: what can be no other wording."""

from __future__ import annotations

import pytest

from rag_memory_plugins.facts.wordings import contradiction


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("40 seats", "50 seats", "other numbers or units"),
        ("forty seats", "fifty seats", "other numbers or units"),
        ("5 km away", "5 miles away", "other numbers or units"),
        ("due in May", "due in June", "other numbers or units"),
        ("$20 a month", "€20 a month", "other numbers or units"),
        ("working", "not working", "one is negated"),
        ("it works", "it doesn't work", "one is negated"),
        ("turned on and up", "turned on and down", "opposites"),
        ("works at Google", "works at Microsoft", "other names"),
        ("Ann", "Ben", "other names"),
        ("a flat in Porto", "a flat in Porto, Portugal", "other names"),
        ("x" * 2_001, "x", "more text than is checked"),
    ],
)
def test_values_with_other_facts_are_not_the_same(old, new, why):
    assert contradiction("same", old, new) == why
    assert contradiction("same", new, old) == why


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("blocked by legal", "waiting for the lawyers"),
        ("Done", "finished"),
        ("40 seats", "forty seats"),
        ("in Lisbon", "lisbon, by the sea"),
    ],
)
def test_true_paraphrases_may_be_the_same(old, new):
    assert contradiction("same", old, new) == ""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("Porto", "Porto, Rua das Flores 12", ""),
        ("on hold", "on hold until 3 April", ""),
        ("Porto", "Faro, by the sea", "other names"),
        ("room 12", "room on the third floor", "other numbers or units"),
        ("works", "never works", "one is negated"),
    ],
)
def test_a_refined_value_keeps_what_the_old_one_had(old, new, why):
    assert contradiction("refined", old, new) == why


def test_a_change_needs_no_evidence():
    assert contradiction("changed", "5", "6") == ""
