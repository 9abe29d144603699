"""Facts of a user through a conversation: stated, queried, undone, with their sources."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import InvalidInput, InvalidQuery, MessageConflict
from rag_memory_plugins.memory.facts import Facts
from rag_memory_plugins.ports import Claim, Said

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def day(number):
    return START + timedelta(days=number)


class Clock:
    """The present, moved by a test."""

    def __init__(self, now=100):
        self.now = now

    def __call__(self):
        return day(self.now)


@pytest.fixture
def memory(opened):
    return opened()


@pytest.fixture
def ann(memory):
    return memory.conversation("acme", "ann", "monday")


@pytest.fixture
def facts(ann):
    return Facts(ann, Clock())


def values(result):
    return [fact.object for fact in result]


def test_a_value_gives_way_to_the_next_and_both_are_kept(facts):
    first = facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3))
    second = facts.insert("Ann", "lives in", "Porto", valid_from=day(9))
    assert (first.decision, second.decision) == ("ADD", "UPDATE")
    assert second.over == (first.id,)
    assert values(facts.query("where does Ann live?")) == ["Porto"]
    assert values(facts.query(subject="ann", predicate="Lives in")) == ["Porto"]
    (before,) = facts.query("where does Ann live?", as_of=day(5))
    assert (before.object, before.valid_from, before.valid_to) == ("Lisbon", day(3), day(9))
    assert before.superseded_at == day(100)
    assert values(facts.query("where does Ann live?", as_of=day(1))) == []


def test_a_question_with_the_old_value_finds_the_one_that_holds(facts):
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3))
    facts.insert("Ann", "lives in", "Porto", valid_from=day(9))
    assert values(facts.query("Lisbon")) == ["Porto"]


def test_every_fact_leads_to_the_messages_it_was_said_in(ann, facts):
    ann.add("I moved to Porto", id="m1", time=day(9))
    ann.add("Porto is home now", id="m2", time=day(12))
    facts.insert("Ann", "lives in", "Porto", sources="m1", confidence=0.8)
    again = facts.insert("ann", "lives in", "porto", sources=["m2"], confidence=0.5)
    assert again.decision == "NOOP"
    (fact,) = facts.query(subject="Ann")
    assert fact.sources == (Said("monday", "m1"), Said("monday", "m2"))
    assert (fact.valid_from, fact.confidence) == (day(9), pytest.approx(0.9))


def test_a_source_may_be_of_another_session_and_must_be_the_users_own(memory, ann, facts):
    memory.conversation("acme", "ann", "tuesday").add("Porto", id="t1", time=day(5))
    memory.conversation("acme", "bob", "monday").add("Faro", id="b1")
    facts.insert("Ann", "lives in", "Porto", sources=Said("tuesday", "t1"))
    assert facts.query(subject="Ann")[0].sources == (Said("tuesday", "t1"),)
    for source in ("b1", "t1", Said("monday", "b1"), Said("nowhere", "t1")):
        with pytest.raises(InvalidInput, match="no such message"):
            facts.insert("Ann", "lives in", "Faro", sources=source)
    assert values(facts.query(subject="Ann")) == ["Porto"]


def test_what_was_known_then(facts):
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3), recorded_at=day(3))
    facts.insert("Ann", "lives in", "Faro", valid_from=day(1), recorded_at=day(20))
    said = {"subject": "Ann", "as_of": day(2)}
    assert values(facts.query(**said)) == ["Faro"]
    assert values(facts.query(**said, known_at=day(10))) == []
    assert values(facts.query("Ann", as_of=day(2), known_at=day(20))) == ["Faro"]


def test_two_values_for_one_time_are_both_shown_and_flagged(facts):
    facts.insert("launch", "is on", "3 June", valid_from=day(3))
    second = facts.insert("launch", "is on", "9 July", valid_from=day(3))
    assert second.decision == "CONFLICT"
    found = facts.query("launch")
    assert sorted((fact.object, fact.conflict) for fact in found) == [
        ("3 June", True),
        ("9 July", True),
    ]


def test_many_values_stand_beside_each_other_and_end_one_by_one(facts):
    for food in ("olives", "figs"):
        facts.insert("Ann", "likes", food, many=True)
    facts.insert("Ann", "likes", "olives", many=True, negated=True, valid_from=day(100))
    facts.clock.now = 101
    assert values(facts.query(subject="Ann")) == ["figs"]


def test_of_many_values_one_in_other_words_is_the_same(facts):
    facts.insert("Ann", "speaks", "Portuguese", many=True)
    facts.insert("Ann", "owns", "2 cats", many=True)
    assert facts.insert("Ann", "owns", "two cats", many=True).decision == "NOOP"
    assert facts.insert("Ann", "owns", "3 cats", many=True).decision == "ADD"
    facts.insert("Ann", "owns", "currently two cats", many=True, negated=True)
    facts.clock.now = 101
    assert sorted(values(facts.query(subject="Ann"))) == ["3 cats", "Portuguese"]
    with pytest.raises(InvalidInput, match="object"):
        facts.insert("Ann", "owns", "", many=True, negated=True)


def test_only_what_is_sure_enough_is_shown(facts):
    facts.insert("Ann", "works at", "Acme", confidence=0.5)
    assert values(facts.query(subject="Ann")) == []
    assert values(facts.query(subject="Ann", min_confidence=0.5)) == ["Acme"]


def test_the_same_id_is_one_fact(facts):
    one = facts.insert("Ann", "lives in", "Porto", id="f1")
    again = facts.insert("Ann", "lives in", "Porto", id="f1")
    assert (one.new, again.new, again.decision) == (True, False, "ADD")
    with pytest.raises(MessageConflict, match="another fact"):
        facts.insert("Ann", "lives in", "Faro", id="f1")
    assert len(facts.history()) == 1


def test_all_or_none(ann, facts):
    claims = [Claim("Ann", "lives in", "Porto"), Claim("Ann", "lives in", "", confidence=1.0)]
    with pytest.raises(InvalidInput, match="object"):
        ann.portal.call(facts.astate(claims))
    assert facts.history() == ()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("subject", {"subject": ""}),
        ("subject", {"subject": None}),
        ("predicate", {"predicate": " "}),
        ("object", {"object": "x" * 1_001}),
        ("confidence", {"confidence": 1.5}),
        ("confidence", {"confidence": True}),
        ("valid_from", {"valid_from": datetime(2026, 1, 1)}),  # noqa: DTZ001  # no time zone
        ("valid_to", {"valid_from": day(3), "valid_to": day(3)}),
        ("sources", {"sources": [7]}),
        ("sources", {"sources": [f"m{n}" for n in range(65)]}),
        ("id", {"id": 7}),
        ("recorded_at", {"recorded_at": "yesterday"}),
    ],
)
def test_bad_input_is_named_and_changes_nothing(facts, field, given):
    stated = {"subject": "Ann", "predicate": "lives in", "object": "Porto", **given}
    with pytest.raises(InvalidInput, match=field):
        facts.insert(**stated)
    assert facts.history() == ()


def test_bad_questions_are_named(facts):
    with pytest.raises(InvalidQuery, match="text"):
        facts.query("  ")
    with pytest.raises(InvalidInput, match="as_of"):
        facts.query("Ann", as_of="now")
    with pytest.raises(InvalidInput, match="fact_id"):
        facts.retract("nothing")
    with pytest.raises(InvalidInput, match="act"):
        facts.undo("nothing")


def test_a_history_has_every_statement_and_what_became_of_it(ann, facts):
    ann.add("Porto!", id="m1", time=day(9))
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3))
    facts.insert("Ann", "lives in", "Porto", sources="m1")
    facts.insert("Ann", "lives in", "Porto", negated=True, valid_from=day(50))
    told = [(c.old, c.new, c.negated, c.decision, c.by) for c in facts.history("Ann")]
    assert told == [
        ((), "Lisbon", False, "ADD", "user"),
        (("Lisbon",), "Porto", False, "UPDATE", "user"),
        (("Porto",), "Porto", True, "UPDATE", "user"),
    ]
    assert facts.history("Ann")[1].sources == (Said("monday", "m1"),)
    assert facts.history("Bob") == ()


def test_a_retracted_value_leaves_what_it_had_taken_the_place_of(facts):
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3))
    facts.insert("Ann", "lives in", "Porto", valid_from=day(9))
    facts.insert("Ann", "lives in", "porto", valid_from=day(12))
    act = facts.retract(facts.query(subject="Ann")[0])
    assert values(facts.query(subject="Ann")) == ["Lisbon"]
    assert [change.undone for change in facts.history("Ann")] == [False, True, True]
    assert facts.undo(act) == 2
    assert values(facts.query(subject="Ann")) == ["Porto"]
    with pytest.raises(InvalidInput, match="act"):
        facts.undo(act)


def test_a_decision_is_undone_once_so_that_who_tries_again_changes_nothing(facts):
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3))
    second = facts.insert("Ann", "lives in", "Porto", valid_from=day(9))
    assert facts.undo(second) == 1
    with pytest.raises(InvalidInput, match="undone before"):
        facts.undo(second)
    assert values(facts.query(subject="Ann")) == ["Lisbon"]


def test_what_was_undone_was_known_before(facts):
    facts.insert("Ann", "lives in", "Lisbon", valid_from=day(3), recorded_at=day(3))
    second = facts.insert("Ann", "lives in", "Porto", valid_from=day(9), recorded_at=day(9))
    facts.undo(second)
    assert values(facts.query(subject="Ann", as_of=day(20))) == ["Lisbon"]
    assert values(facts.query(subject="Ann", as_of=day(20), known_at=day(99))) == ["Porto"]
    assert values(facts.query(subject="Ann", as_of=day(20), known_at=day(100))) == ["Lisbon"]


def test_users_and_tenants_see_their_own(memory, facts):
    facts.insert("Ann", "lives in", "Porto", id="f1")
    for tenant, user in (("acme", "bob"), ("other", "ann")):
        place = memory.conversation(tenant, user, "monday").facts
        assert values(place.query("where does Ann live?", min_confidence=0.0)) == []
        assert values(place.query(subject="Ann")) == []
        assert place.history() == ()
        for refused in (place.retract, place.undo, place.pin):
            with pytest.raises(InvalidInput):
                refused("f1")
        assert place.insert("Ann", "lives in", "Faro", id="f1").decision == "ADD"
    assert values(facts.query(subject="Ann")) == ["Porto"]


def test_other_sessions_of_the_user_share_them(memory, facts):
    facts.insert("Ann", "lives in", "Porto")
    other = memory.conversation("acme", "ann", "tuesday").facts
    assert values(other.query("Porto")) == ["Porto"]


# Random stories: what holds is the same however it was arrived at, and undo takes one step back.

steps = st.one_of(
    st.tuples(
        st.just("insert"),
        st.sampled_from(["Ann", "Bob"]),
        st.sampled_from(["Lisbon", "Porto", "Faro", "porto"]),
        st.integers(0, 20),
        st.sampled_from(["", "", "", "negated", "corrects", "ends", "many"]),
        st.integers(0, 30),
    ),
    st.tuples(st.just("retract"), st.integers(0, 30)),
    st.tuples(st.just("undo"), st.integers(0, 30)),
)


def told(facts):
    """All that a question can see, at several moments."""
    moments = [day(n) for n in (0, 5, 12, 25, 60)]
    return [
        (f.id, f.subject, f.object, f.confidence, f.valid_from, f.valid_to, f.conflict, f.sources)
        for moment in moments
        for f in facts.query(as_of=moment, min_confidence=0.0)
    ]


def do(facts, step, acts):
    """Take one step; the act that undoes it, or None."""
    kind, *rest = step
    if kind == "insert":
        subject, value, since, how, recorded = rest
        options = {how: True} if how in ("negated", "corrects", "many") else {}
        if how == "ends":
            options["valid_to"] = day(since + 4)
        times = {"valid_from": day(since), "recorded_at": day(40 + recorded)}
        return facts.insert(subject, "lives in", value, **times, **options).id
    try:
        if kind == "retract":
            held = facts.query(as_of=day(12), min_confidence=0.0)
            return facts.retract(held[rest[0] % len(held)]) if held else None
        if acts:
            facts.undo(acts[rest[0] % len(acts)])
    except InvalidInput:
        pass  # undone before
    return None


@given(st.lists(steps, max_size=9), steps)
@settings(max_examples=40)
def test_undo_restores_what_was_told_before_and_a_fold_from_nothing_tells_the_same(story, last):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        with open_memory(path, embedder=None, background=False) as memory:
            facts = Facts(memory.conversation("acme", "ann", "monday"), Clock())
            acts = []
            for step in story:
                act = do(facts, step, acts)
                if act is not None:
                    acts.append(act)
            before, history = told(facts), facts.history()
            act = do(facts, last, [])
            if act is not None:
                facts.undo(act)
                assert told(facts) == before
            memory.portal.call(memory.fact_store.arefold(facts.conversation.namespace.scope))
            assert told(facts) == before
            kept = {change.id: change for change in facts.history()}
            assert [kept[change.id] for change in history] == list(history)
