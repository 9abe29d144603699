"""Which names mean one entity: groups written by hand, and what holds of any set of names."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.facts.naming import blocks, resolved

DATA = Path(__file__).parent / "data" / "names.jsonl"
GROUPS = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
FIRST = "Ann Anne A. Bob Robert Rob Liz Elizabeth Sam Samuel Samantha Ngozi Dr. Mr. Mrs.".split()
LAST = "Lee Kim L. Anderson Andersen Montgomery Montgomrey Jr. II Stone".split()
OTHER = [
    "NYC", "New York City", "IBM", "International Business Machines", "Acme", "Acme Inc", "Acme GmbH",
    "Team A", "Team B", "Team", "Server v2", "Server v3", "Environmental Agency", "",
    "Enviromental Agency", "Dr. Lee", "Mr. Lee", "Mrs. Lee", "Ann", "ann", "Ann Lee", "Lee, Ann",
    "Ann M. Lee", "A. Lee", "Ann's", "!!", "the", "Mr.", "Jr.", "Ann Marie Lee", "東京", "nasa", "NASA",
]  # fmt: skip
NAMES = (
    st.sampled_from(OTHER)
    | st.lists(st.sampled_from(FIRST + LAST), min_size=1, max_size=4).map(" ".join)
    | st.text(max_size=8)
)
SETS = st.sets(NAMES, max_size=12)


def partition(found):
    """The entities as sets of names."""
    return {frozenset(n for n in found if found[n] == one) for one in set(found.values())}


def parts(names):
    """Sets of names that share blocks, directly or through others."""
    found = []
    for name in sorted(names):
        near = [part for part in found if any(blocks(name) & blocks(each) for each in part)]
        found = [part for part in found if part not in near]
        found.append({name}.union(*near))
    return found


@pytest.mark.parametrize(("kept", "precision", "recall"), [(False, 1.0, 0.95), (True, 0.99, 0.9)])
def test_groups_written_by_hand_come_out_as_expected(kept, precision, recall):
    right = wrong = missed = 0
    rows = [row["groups"] for row in GROUPS if row["kept"] is kept]
    assert len(rows) >= 60
    for groups in rows:
        of = {name: number for number, group in enumerate(groups) for name in group}
        found = resolved(of)
        for one, other in combinations(of, 2):
            same, told = of[one] == of[other], found[one] == found[other]
            right += same and told
            wrong += told and not same
            missed += same and not told
    assert right / (right + wrong) >= precision
    assert right / (right + missed) >= recall


@given(st.lists(NAMES, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_names_does_not_count(names, rng):
    other = rng.sample(names, len(names))
    assert resolved(names) == resolved(other) == resolved(set(names))


@given(SETS)
def test_the_name_of_an_entity_is_one_of_its_names(names):
    found = resolved(names)
    assert set(found) == names
    assert all(found[found[name]] == found[name] for name in names)


@given(SETS, st.data())
def test_names_that_are_apart_never_meet_and_names_told_together_do(names, data):
    pairs = st.lists(st.tuples(NAMES, NAMES), max_size=4)
    apart, together = data.draw(pairs), data.draw(pairs)
    found = resolved(names, apart=apart, together=together)
    for one, other in apart:
        if one != other and {one, other} <= names:
            assert found[one] != found[other]
    if not apart:
        assert all(found[a] == found[b] for a, b in together if {a, b} <= names)


@given(SETS)
def test_names_that_are_one_by_themselves_share_a_block(names):
    for one, other in combinations(sorted(names), 2):
        found = resolved([one, other])
        if found[one] == found[other]:
            assert blocks(one) & blocks(other)


@given(SETS)
def test_looking_at_names_that_share_blocks_is_looking_at_all(names):
    apart = {}
    for part in parts(names):
        apart |= resolved(part)
    assert apart == resolved(names)


@given(SETS, NAMES)
def test_a_name_of_no_shared_block_changes_nothing(names, added):
    if any(blocks(added) & blocks(name) for name in names):
        return
    found = resolved(names)
    assert resolved({*names, added}) == {**found, added: added}


@pytest.mark.parametrize(
    ("names", "entities"),
    [
        (["Ann", "Ann Lee", "Ann Kim"], 3),
        (["Ann", "Ann L.", "Ann Lee"], 1),
        (["Ann", "Ann L.", "Ann Lee", "Ann Long"], 4),
        (["Sam Lee", "Samuel", "Samantha Lee"], 2),
        (["Mr. Lee", "Mrs. Lee", "Sam Lee"], 3),
        (["John Smith", "John Smith Jr.", "John Smith Sr."], 3),
        (["Ann Lee", "A. M. Lee", "Ann K. Lee"], 2),
        (["Acme Inc", "Acme Incorporated", "ACME"], 1),
        (["Acme Inc", "Acme GmbH", "Acme"], 3),
    ],
)
def test_a_name_joins_only_what_it_alone_fits(names, entities):
    assert len(partition(resolved(names))) == entities


def test_what_users_told_decides_what_names_alone_do_not():
    names = ["Ann", "Ann Lee", "Ann Kim"]
    assert resolved(names, together=[("Ann", "Ann Kim")])["Ann"] == "Ann Kim"
    assert resolved(names, apart=[("Ann", "Ann Lee")])["Ann"] == "Ann Kim"
    married = resolved(names, together=[("Ann Lee", "Ann Kim")])
    assert len(partition(married)) == 1
    undone = resolved(["ann lee", "Ann Lee"], apart=[("Ann Lee", "ann lee")])
    assert len(partition(undone)) == 2


def test_a_name_that_is_told_to_be_one_person_does_not_make_one_of_two():
    found = resolved(["Ann", "Ann Lee", "Bob Kim"], together=[("Ann", "Bob Kim")])
    assert found["Ann"] == "Bob Kim"
    assert found["Ann Lee"] == "Ann Lee"


def test_a_name_is_a_text():
    with pytest.raises(InvalidInput, match="names"):
        resolved([7])
