"""Statements of a slot folded: what holds, what held, what was known, and why."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.facts.fold import Line, Statement, fold, known_at

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
VALUES = ["Lisbon", "Porto", "Faro"]


def day(number):
    return START + timedelta(days=number)


def same(a, b):
    return a.casefold() == b.casefold()


def said(number, value, since, **options):
    recorded = options.pop("recorded", number)
    options.setdefault("sources", (number,))
    return Statement(number, value, day(since), recorded_at=day(recorded), **options)


def story(folded):
    """(value, from, to) of all that held, as days."""
    return [
        (h.object, (h.valid_from - START).days, h.valid_to and (h.valid_to - START).days)
        for h in folded.held
    ]


def decided(folded):
    return [each.decision for each in folded.decisions]


@st.composite
def slots(draw):
    """Statements about one slot, in any order of time."""
    count = draw(st.integers(0, 12))
    made = []
    for number in range(1, count + 1):
        since = draw(st.integers(0, 20))
        lasts = draw(st.none() | st.integers(1, 6))
        kind = draw(st.sampled_from(["", "", "", "", "negated", "corrects"]))
        value = draw(st.sampled_from([*VALUES, ""] if kind == "negated" else VALUES))
        sources = tuple(draw(st.sets(st.sampled_from([1, 2, 3]), max_size=2)))
        made.append(
            said(
                number,
                value,
                since,
                confidence=draw(st.sampled_from([0.5, 0.8, 1.0])),
                sources=sources,
                valid_to=None if lasts is None else day(since + lasts),
                negated=kind == "negated",
                corrects=kind == "corrects",
            )
        )
    return made


def test_a_later_value_takes_the_place_of_the_one_before_and_both_are_kept():
    folded = fold([said(1, "Lisbon", 3), said(2, "Porto", 9)], same)
    assert story(folded) == [("Lisbon", 3, 9), ("Porto", 9, None)]
    assert decided(folded) == ["ADD", "UPDATE"]
    assert folded.decisions[1].over == (1,)
    assert [held.object for held in folded.at(day(8))] == ["Lisbon"]
    assert [held.object for held in folded.at(day(9))] == ["Porto"]
    assert folded.at(day(2)) == ()


def test_the_same_again_adds_its_source_and_makes_it_surer():
    folded = fold(
        [said(1, "Lisbon", 3, confidence=0.8), said(2, "lisbon", 9, confidence=0.5)], same
    )
    (held,) = folded.held
    assert decided(folded) == ["ADD", "NOOP"]
    assert (held.object, held.sources, held.statements) == ("Lisbon", (1, 2), (1, 2))
    assert held.confidence == pytest.approx(0.9)


def test_one_source_makes_nothing_surer_however_often_it_is_read():
    again = [said(n, "Lisbon", 3, confidence=0.8, sources=(1,)) for n in range(1, 9)]
    (held,) = fold(again, same).held
    assert (held.confidence, held.sources) == (0.8, (1,))


def test_late_news_of_the_past_changes_the_past_alone():
    known = [said(1, "Lisbon", 3), said(2, "Porto", 9)]
    before = fold([*known, said(3, "Faro", 1)], same)
    assert story(before) == [("Faro", 1, 3), ("Lisbon", 3, 9), ("Porto", 9, None)]
    assert decided(before)[2] == "ADD"
    between = fold([*known, said(3, "Faro", 5)], same)
    assert story(between) == [("Lisbon", 3, 5), ("Faro", 5, 9), ("Porto", 9, None)]
    assert decided(between)[2] == "UPDATE"


def test_what_was_true_earlier_than_known_begins_earlier():
    folded = fold([said(1, "Lisbon", 3), said(2, "Lisbon", 1)], same)
    assert story(folded) == [("Lisbon", 1, None)]
    assert decided(folded) == ["ADD", "NOOP"]


def test_a_while_ends_and_then_it_is_as_before():
    folded = fold([said(1, "Lisbon", 3), said(2, "Faro", 9, valid_to=day(12))], same)
    assert story(folded) == [("Lisbon", 3, 9), ("Faro", 9, 12), ("Lisbon", 12, None)]


def test_a_return_to_an_old_value_is_a_time_of_its_own():
    folded = fold([said(1, "Lisbon", 3), said(2, "Porto", 9), said(3, "Lisbon", 15)], same)
    assert story(folded) == [("Lisbon", 3, 9), ("Porto", 9, 15), ("Lisbon", 15, None)]
    assert decided(folded) == ["ADD", "UPDATE", "UPDATE"]


def test_no_longer_ends_it_and_nothing_takes_its_place():
    folded = fold([said(1, "Lisbon", 3), said(2, "Lisbon", 9, negated=True)], same)
    assert story(folded) == [("Lisbon", 3, 9)]
    assert decided(folded) == ["ADD", "UPDATE"]
    other = fold([said(1, "Lisbon", 3), said(2, "Porto", 9, negated=True)], same)
    assert story(other) == [("Lisbon", 3, None)]
    assert decided(other) == ["ADD", "NOOP"]


def test_a_correction_was_so_all_the_time():
    folded = fold([said(1, "Lisbon", 3), said(2, "Porto", 9, corrects=True)], same)
    assert story(folded) == [("Porto", 3, None)]
    assert folded.decisions[1].over == (1,)


def test_a_correction_to_what_a_rival_had_said_makes_one_value_of_the_two():
    rivals = [said(1, "Porto", 3), said(2, "Lisbon", 3, valid_to=day(5))]
    folded = fold([*rivals, said(3, "Lisbon", 5, corrects=True)], same)
    assert story(folded) == [("Lisbon", 3, None)]
    assert folded.held[0].statements == (2, 3)
    assert folded.decisions[2].over == (1,)


def test_two_values_from_the_same_moment_are_rivals_until_something_changes():
    known = [said(1, "Lisbon", 3), said(2, "Porto", 3)]
    folded = fold(known, same)
    assert decided(folded) == ["ADD", "CONFLICT"]
    assert [held.object for held in folded.at(day(4))] == ["Lisbon", "Porto"]
    after = fold([*known, said(3, "Faro", 9)], same)
    assert [held.object for held in after.at(day(10))] == ["Faro"]
    ended = fold([*known, said(3, "Lisbon", 3, negated=True)], same)
    assert [held.object for held in ended.held] == ["Porto"]


def test_what_was_known_then_is_a_fold_of_what_had_been_recorded():
    statements = [said(1, "Lisbon", 3), said(2, "Faro", 1, recorded=20)]
    assert story(fold(known_at(statements, day(10)), same)) == [("Lisbon", 3, None)]
    assert story(fold(known_at(statements, day(20)), same)) == [
        ("Faro", 1, 3),
        ("Lisbon", 3, None),
    ]


@given(slots())
def test_every_statement_gets_one_decision_and_the_order_of_the_list_means_nothing(statements):
    folded = fold(statements, same)
    in_order = sorted(statements, key=lambda each: each.order)
    assert [each.statement for each in folded.decisions] == [each.id for each in in_order]
    assert fold(statements[::-1], same) == folded


@given(slots())
def test_what_had_ended_has_no_part_in_what_becomes_of_the_next(statements):
    if not statements:
        return
    *known, last = sorted(statements, key=lambda each: each.order)
    before, after = fold(known, same), fold(statements, same)
    ended = [h for h in before.held if h.valid_to is not None and h.valid_to <= last.valid_from]
    if last.corrects:  # it reaches back as far as what was never so
        ended = []
    line = Line(same, [held for held in before.held if held not in ended])
    assert line.take(last) == after.decisions[-1]
    whole = sorted([*ended, *line.held], key=lambda each: (each.valid_from, each.statements))
    assert tuple(whole) == after.held


@given(slots())
def test_what_ended_was_ended_by_a_statement_or_when_it_was_said_to(statements):
    said_ends = {each.valid_to for each in statements}
    begins = {each.id: each.valid_from for each in statements}
    for held in fold(statements, same).held:
        if held.valid_to is None:
            assert held.ended_by is None
        elif held.ended_by is None:
            assert held.valid_to in said_ends
        else:
            assert held.ended_by in begins


@given(slots())
def test_times_are_whole_in_order_and_meet_only_where_a_conflict_was_decided(statements):
    folded = fold(statements, same)
    held = folded.held
    conflicts = decided(folded).count("CONFLICT")
    assert all(each.valid_to is None or each.valid_from < each.valid_to for each in held)
    assert [each.valid_from for each in held] == sorted(each.valid_from for each in held)
    for moment in range(30):
        there = [each for each in held if each.at(day(moment))]
        assert len(there) <= 1 + conflicts
        assert len({each.object.casefold() for each in there}) == len(there)


@given(slots())
def test_nothing_holds_that_nobody_stated_and_sources_are_those_of_the_statements(statements):
    by_id = {each.id: each for each in statements}
    for held in fold(statements, same).held:
        said_so = [by_id[number] for number in held.statements]
        assert all(same(each.object, held.object) and not each.negated for each in said_so)
        assert set(held.sources) == {source for each in said_so for source in each.sources}
        assert held.confidence <= max(0.99, *(each.confidence for each in said_so))


@given(slots(), st.integers(0, 20), st.sampled_from(VALUES))
def test_news_of_a_past_that_had_passed_leaves_the_present_as_it_is(statements, since, value):
    before = fold(statements, same)
    starts = [held.valid_from for held in before.held if held.valid_from > day(since)]
    late = said(99, value, since)
    after = fold([*statements, late], same)
    if not starts:
        return
    present = max(starts)
    kept = [held.object for held in before.held if held.at(present)]
    assert [held.object for held in after.held if held.at(present)] == kept


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=10))
def test_told_in_order_the_last_value_holds_now_and_each_held_at_its_time(values):
    statements = [said(n, value, n) for n, value in enumerate(values, 1)]
    folded = fold(statements, same)
    for number, value in enumerate(values, 1):
        assert [held.object for held in folded.at(day(number))] == [value]
    changes = 1 + sum(one != other for one, other in pairwise(values))
    assert len(folded.held) == changes
    assert decided(folded).count("NOOP") == len(values) - changes
