"""Entities of a user's facts: names that mean one, states with their transitions, relations."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.entities import Entities
from rag_memory_plugins.memory.graph import Graph

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def day(number):
    return START + timedelta(days=number)


@pytest.fixture
def ann(opened):
    return opened().conversation("acme", "ann", "monday")


@pytest.fixture
def entities(ann):
    return Entities(ann, lambda: day(100))


def state(entities, *told):
    """Each (subject, predicate, object), a day after the other; the decisions."""
    return [
        entities.facts.insert(*claim, valid_from=day(n), recorded_at=day(n))
        for n, claim in enumerate(told, 1)
    ]


def values(result):
    return sorted(fact.object for fact in result)


def test_a_name_for_a_known_entity_changes_that_entitys_state(entities):
    decided = state(
        entities,
        ("Robert Lee", "lives in", "Lisbon"),
        ("Bob", "lives in", "Porto"),
        ("R. Lee", "works at", "Acme"),
    )
    assert [each.decision for each in decided] == ["ADD", "UPDATE", "ADD"]
    for name in ("Bob", "Robert Lee", "Robert", "bob lee"):
        assert values(entities.states(name)) == ["Acme", "Porto"]
    assert set(entities.find("bob").names) == {"Robert Lee", "Bob", "R. Lee"}
    assert [(c.old, c.new) for c in entities.transitions("Bob", "lives in")] == [
        ((), "Lisbon"),
        (("Lisbon",), "Porto"),
    ]


def test_a_name_that_fits_two_stays_by_itself(entities):
    state(entities, ("Ann", "lives in", "Faro"), ("Ann Lee", "lives in", "Lisbon"))
    assert values(entities.states("Ann")) == ["Lisbon"]
    assert entities.find("Ann").name == "Ann Lee"
    state(entities, ("Ann Kim", "lives in", "Porto"))
    assert values(entities.states("Ann")) == ["Faro"]
    assert values(entities.states("Ann Lee")) == ["Lisbon"]
    assert entities.find("A. Smith") is None


def test_numbers_and_letters_tell_entities_apart(entities):
    state(
        entities,
        ("Project 7", "status", "planned"),
        ("Project 8", "status", "shipped"),
        ("Team A", "lead", "Ann"),
        ("Team B", "lead", "Bob"),
    )
    assert values(entities.states("project 7")) == ["planned"]
    assert values(entities.states("Team A")) == ["Ann"]


def test_a_merge_joins_states_and_is_undone(entities):
    state(entities, ("Atlas", "status", "planned"), ("the new site", "status", "shipped"))
    before = [values(entities.states(name)) for name in ("Atlas", "the new site")]
    act = entities.merge("Atlas", "the new site")
    assert values(entities.states("Atlas", as_of=day(50))) == ["shipped"]
    entities.facts.undo(act)
    assert [values(entities.states(n)) for n in ("Atlas", "the new site")] == before


def test_what_users_say_of_names_is_no_fact_of_the_entity(entities):
    state(entities, ("Atlas", "status", "planned"))
    entities.merge("Atlas", "the new site")
    known = entities.facts.query(subject="Atlas", known_at=datetime.now(timezone.utc))
    assert values(known) == values(entities.states("Atlas")) == ["planned"]


def test_what_users_say_is_apart_is_apart(entities):
    state(entities, ("Robert Lee", "lives in", "Lisbon"), ("Bob", "lives in", "Porto"))
    act = entities.distinguish("Robert Lee", "Bob")
    assert values(entities.states("Bob")) == ["Porto"]
    assert values(entities.states("Robert Lee")) == ["Lisbon"]
    entities.facts.undo(act)
    assert values(entities.states("Robert Lee")) == ["Porto"]


def test_an_erased_name_leaves_the_others_as_if_it_had_never_been(ann, entities):
    ann.add("Ann Kim moved to Porto", id="m1")
    state(entities, ("Ann", "lives in", "Faro"), ("Ann Lee", "works at", "Acme"))
    entities.facts.insert("Ann Kim", "lives in", "Porto", sources="m1")
    assert values(entities.states("Ann")) == ["Faro"]
    ann.forget("m1")
    assert values(entities.states("Ann")) == ["Acme", "Faro"]
    assert entities.find("Ann Kim") is None


def test_relations_lead_from_entity_to_entity(entities):
    state(
        entities,
        ("Ann Lee", "works at", "Acme"),
        ("Acme", "is part of", "Globex"),
        ("Globex", "is led by", "Bob Kim"),
        ("Ann", "is married to", "Bob Kim"),
        ("Ann Lee", "likes", "olives"),
    )
    near = entities.neighbours("Ann")
    assert [(e.source, e.fact.predicate, e.target) for e in near.edges] == [
        ("Ann Lee", "works at", "Acme"),
        ("Ann Lee", "is married to", "Bob Kim"),
    ]
    assert entities.neighbours("Globex").nodes == ("Acme", "Bob Kim", "Globex")
    assert len(entities.neighbours("Acme", 3).edges) == 4
    assert entities.neighbours("nobody").edges == ()
    assert entities.graph().nodes == ("Acme", "Ann Lee", "Bob Kim", "Globex")


def test_relations_as_of_a_day(entities):
    state(entities, ("Ann", "works at", "Acme"), ("Ann", "works at", "Globex"))
    assert entities.neighbours("Ann").nodes == ("Ann", "Globex")
    assert entities.neighbours("Ann", as_of=day(1)).nodes == ("Acme", "Ann")
    assert entities.graph(day(0)) == Graph()


def test_a_graph_is_exported_as_json_and_graphml(entities):
    hostile = 'Acme <"&> \x0b Corp'
    state(entities, ("Ann", "works at", hostile))
    graph = entities.graph()
    told = json.loads(graph.to_json())
    assert [node["id"] for node in told["nodes"]] == list(graph.nodes)
    assert (told["edges"][0]["source"], told["edges"][0]["predicate"]) == ("Ann", "works at")
    space = "{http://graphml.graphdrawing.org/xmlns}"
    root = ET.fromstring(graph.to_graphml())  # made above
    nodes = [node.get("id") for node in root.iter(f"{space}node")]
    (edge,) = root.iter(f"{space}edge")
    assert (edge.get("source"), edge.get("target") in nodes) == ("Ann", True)
    assert '<"&>' in edge.get("target")


def test_users_see_their_own_entities(ann, entities):
    state(entities, ("Ann Lee", "works at", "Acme"))
    other = ann.memory.conversation("acme", "bob", "monday").entities
    assert (other.all(), other.find("Ann Lee"), other.graph().edges) == ([], None, ())
    other.facts.insert("Ann Kim", "works at", "Acme")
    assert entities.find("Ann").name == "Ann Lee"
    assert [(e.name, e.facts) for e in entities.all()] == [("Ann Lee", 1)]


def test_bad_arguments_are_named(entities):
    with pytest.raises(InvalidInput, match="depth"):
        entities.neighbours("Ann", 9)
    with pytest.raises(InvalidInput, match="name"):
        entities.find("")
    with pytest.raises(InvalidInput, match="as_of"):
        entities.graph(datetime(2026, 1, 1))  # noqa: DTZ001


NAMES = ["Ann", "Ann Lee", "Ann Kim", "A. Lee", "Bob", "Robert Lee", "Project 7", "Project 8"]
claims = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["lives in", "works at"]),
    st.sampled_from(["Lisbon", "Porto", "Acme"]),
    st.integers(0, 20),
)


@given(st.lists(claims, min_size=1, max_size=7), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_in_which_names_come_means_nothing(told, random):
    numbered = list(enumerate(told))
    seen = []
    for order in (numbered, random.sample(numbered, len(numbered))):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            with open_memory(path, embedder=None, background=False) as memory:
                ann = memory.conversation("acme", "ann", "monday")
                entities = Entities(ann, lambda: day(100))
                for number, (*claim, since) in order:
                    entities.facts.insert(
                        *claim, valid_from=day(since), recorded_at=day(30 + number), id=f"f{number}"
                    )
                seen.append(
                    [
                        {(f.id, f.object, f.valid_from, f.valid_to) for f in entities.states(name)}
                        for name in NAMES
                    ]
                )
    assert seen[0] == seen[1]
