"""Filters on SQLite and on Postgres: exactly what `Filter.matches` says, inside one user's wall."""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import reduce

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event

from rag_memory_plugins import Filter, Hit, Message, ToolCall, open_memory
from rag_memory_plugins.errors import InvalidFilter, InvalidMessage, InvalidQuery, StoreReadOnly
from rag_memory_plugins.stores.filtering import seqs
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.filters import (
    KEYS,
    NUMBERS,
    TEXTS,
    filters,
    operations,
    stored,
    turns,
)

LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
NOON = datetime(2026, 5, 8, 12, tzinfo=timezone.utc)

_users = itertools.count()


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    path = tmp_path_factory.mktemp("filtering") / "memory.db"
    with open_memory(path, embedder=WordEmbedder(), background=False, drain_seconds=0) as made:
        yield made


@pytest.fixture(scope="module")
def on_postgres(postgres):
    url = postgres.url(postgres.create_database())
    with open_memory(url, embedder=WordEmbedder(), background=False, drain_seconds=0) as made:
        yield made


@pytest.fixture(scope="module", params=["on_sqlite", "on_postgres"])
def memory(request):
    return request.getfixturevalue(request.param)


def fill(memory, said, user):
    """Store the turns; (session, message) of each, in order."""
    stored = []
    for number, (session, role, name, moment, metadata) in enumerate(said):
        message = Message(
            role,
            f"plum number {number}",
            id=f"m{number}",
            name=name,
            time=moment,
            metadata=metadata,
        )
        memory.conversation("acme", user, session).add(message)
        stored.append((session, message))
    return stored


def places(hits):
    return [(hit.session, hit.message) for hit in hits]


stories = given(
    said=st.lists(turns, min_size=1, max_size=8), wheres=st.lists(filters, min_size=8, max_size=8)
)


@settings(max_examples=1000 if LONG else 25)
@stories
def test_every_door_takes_exactly_what_matches(on_sqlite, said, wheres):
    check_every_door(on_sqlite, said, wheres)


@settings(max_examples=300 if LONG else 8)
@stories
def test_every_door_takes_exactly_what_matches_on_postgres(on_postgres, said, wheres):
    check_every_door(on_postgres, said, wheres)


def check_every_door(memory, said, wheres):
    user = f"ann{next(_users)}"
    stored = fill(memory, said, user)
    fill(memory, said, f"{user}-other")
    ann = memory.conversation("acme", user, "monday")
    for where in wheres:
        matching = [(session, m) for session, m in stored if where.matches(m, session)]
        assert places(ann.find(where)) == matching
        assert places(ann.find(where, 2)) == matching[-2:]
        inside = [place for place in matching if place[0] == "monday"]
        assert places(ann.find(where, level="session")) == inside
        found = ann.search("plum number", 100, where=where)
        assert {place[1].id for place in places(found)} == {m.id for _, m in matching}
        assert {near.id for hit in found for near in hit.neighbours} <= {m.id for _, m in matching}
    where = wheres[0] if not wheres[0].states_nothing else Filter(since="0001-01-01")
    kept = [(session, m) for session, m in stored if not where.matches(m, session)]
    receipt = ann.forget(where=where, level="user")
    assert receipt.messages == len(stored) - len(kept)
    assert places(ann.find()) == kept
    assert len(memory.conversation("acme", f"{user}-other", "x").find()) == len(stored)


@settings(
    max_examples=1000 if LONG else 50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    key=st.sampled_from(KEYS),
    values=st.lists(stored, min_size=1, max_size=6),
    operation=operations,
)
@example(key="a", values=[2**63, 2.0**63, 2**63 + 1], operation=("eq", 2**63))
@example(key="a", values=[{"b": 1}, '{"b": 1}', '{"b":1}'], operation=("eq", '{"b":1}'))
@example(key="a", values=[True, 1, "true", 1.0], operation=("in", [True]))
@example(key="a", values=[0, False, None, "null"], operation=("lte", 0))
def test_every_comparison_of_metadata_agrees_with_its_meaning(memory, key, values, operation):
    user = f"bob{next(_users)}"
    bob = memory.conversation("acme", user, "monday")
    bob.add([Message("user", "x", id=f"m{n}", metadata={key: v}) for n, v in enumerate(values)])
    bob.add(Message("user", "x", id="none", metadata={"other": [{key: values[0]}]}))
    bob.add(Message("user", "x", id="bare"))
    where = Filter(metadata={key: dict([operation])})
    for one in (where, ~where):
        expected = [m.id for m in bob.messages() if one.matches(m, "monday")]
        assert [hit.message.id for hit in bob.find(one)] == expected


@pytest.mark.parametrize("operator", ["eq", "gt", "gte", "lt", "lte"])
def test_every_pair_of_awkward_numbers_is_compared_as_python_does(memory, operator):
    eve = memory.conversation("acme", f"eve-{operator}", "monday")
    eve.add([Message("user", "x", id=str(n), metadata={"n": v}) for n, v in enumerate(NUMBERS)])
    for value in NUMBERS:
        where = Filter(metadata={"n": {operator: value}})
        expected = [m.id for m in eve.messages() if where.matches(m, "monday")]
        assert [hit.message.id for hit in eve.find(where)] == expected, value
        assert [hit.message.id for hit in eve.find(where, 3)] == expected[-3:], value
        assert len(eve.find(~where)) == len(NUMBERS) - len(expected)


def test_fields_asked_together_and_a_row_that_may_hold_a_nul_are_decided_exactly(memory):
    gil = memory.conversation("acme", "gil", "monday")
    gil.add([Message("user", "x", id=f"m{n}", metadata={"n": n, "odd": n % 2}) for n in range(6)])
    call = ToolCall("c1", "read", '{"text": "\\u0000"}')
    gil.add(Message("assistant", "", id="call", tool_calls=(call,), metadata={"n": 3, "odd": 1}))
    gil.add(Message("user", "x", id="path", metadata={"n": 3, "odd": 1, "file": "C:\\u0000"}))
    for where in (
        Filter(metadata={"n": {"gte": 3}, "odd": 1}),
        Filter(metadata={"n": 3}) & Filter(metadata={"file": {"exists": False}}),
        Filter(metadata={"file": "C:\\u0000"}) | Filter(metadata={"odd": {"ne": 1}}),
    ):
        for one in (where, ~where):
            expected = [m.id for m in gil.messages() if one.matches(m, "monday")]
            assert [hit.message.id for hit in gil.find(one)] == expected
            assert 0 < len(expected) < 8


def test_large_and_deep_filters_are_exact_too(memory):
    cat = memory.conversation("acme", "cat", "monday")
    cat.add([Message("user", "x", id=f"m{n}", metadata={"n": n, "a": 0}) for n in range(300)])
    # Past SQLite's limits: 250,000 parameters at most, 100 places on the parser's stack.
    many = Filter(ids=[f"m{n}" for n in range(400_000) if n % 3])
    wide = reduce(lambda a, b: a | b, (Filter(metadata={"n": n}) for n in range(0, 1200, 7)))
    three, odd = Filter(metadata={"n": 3}), Filter(metadata={"n": {"gt": 99}})
    deep = reduce(lambda inner, _: three | (odd & inner), range(23), Filter(roles="user"))
    for where in (many, wide, deep, many & deep, ~many):
        expected = [m.id for m in cat.messages() if where.matches(m, "monday")]
        assert [hit.message.id for hit in cat.find(where, 300)] == expected
        assert 0 < len(expected) < 300


def test_a_long_list_of_awkward_texts_is_compared_as_python_does(on_sqlite):
    dan = on_sqlite.conversation("acme", "dan", "monday")
    awkward = [text for text in TEXTS if text]
    dan.add([Message("user", "x", id=text, name=text) for text in awkward])
    others = [f"m{n}" for n in range(100)]
    for text in awkward:
        for near in (text, f"{text} ", f"\\{text}", text.upper(), text * 2):
            for where in (Filter(ids=[*others, near]), Filter(names=[*others, near])):
                expected = [m.id for m in dan.messages() if where.matches(m, "monday")]
                assert [hit.message.id for hit in dan.find(where)] == expected, near
                assert len(dan.find(~where)) == len(awkward) - len(expected), near


# The doors


@pytest.fixture
def ann(opened):
    """Three sessions of ann's; her namesake elsewhere says the same, of everything."""
    memory = opened()
    for tenant, user in (("acme", "ann"), ("acme", "bob"), ("evil", "ann")):
        for number, session in enumerate(("monday", "tuesday", "monday")):
            day = NOON + timedelta(days=number)
            text = f"the plum tree of {tenant}/{user}, day {number}"
            memory.conversation(tenant, user, session).add(
                [
                    Message("user", text, id=f"q{number}", time=day, metadata={"stars": number}),
                    Message("assistant", f"a plum, {text}", id=f"a{number}", time=day, name="Bot"),
                ]
            )
    return memory.conversation("acme", "ann", "monday")


def ids(found):
    return [hit.message.id for hit in found]


def test_the_five_words_of_search_and_a_filter_all_hold(ann):
    found = ann.search(
        "plum tree",
        since=NOON,
        until="2026-05-09",
        roles="user",
        metadata={"stars": {"gte": 1}},
        where=Filter(sessions="tuesday"),
    )
    assert ids(found) == ["q1"]


def test_find_takes_the_same_words(ann):
    found = ann.find(since="2026-05-09", roles="user", metadata={"stars": {"lt": 2}})
    assert ids(found) == ["q1"]
    assert isinstance(found[0], Hit)
    assert (found[0].session, found[0].score) == ("tuesday", 0.0)


def test_find_gives_the_last_ones_oldest_first(ann):
    assert ids(ann.find(limit=3)) == ["a1", "q2", "a2"]
    assert ids(ann.find(Filter(roles="user"), 2)) == ["q1", "q2"]
    assert ids(ann.find(level="session")) == ["q0", "a0", "q2", "a2"]


def test_a_filter_leaves_out_and_changes_no_score(ann):
    whole = {hit.message.id: (hit.score, hit.parts) for hit in ann.search("plum tree", 50)}
    found = ann.search("plum tree", 50, roles="assistant")
    assert ids(found) == [i for i in ids(ann.search("plum tree", 50)) if i.startswith("a")]
    assert {hit.message.id: (hit.score, hit.parts) for hit in found}.items() <= whole.items()


def test_the_limit_counts_what_matches(ann):
    best = ids(ann.search("plum tree", 50, roles="user"))
    assert len(best) == 3
    assert ids(ann.search("plum tree", 2, roles="user")) == best[:2]


def test_a_filter_holds_beside_a_hit_too(ann):
    assert any(hit.neighbours for hit in ann.search("plum", 50))
    assert not any(hit.neighbours for hit in ann.search("plum", 50, roles="user"))


def test_a_filter_that_matches_nothing_finds_nothing(ann):
    nothing = Filter(names="nobody")
    assert len(ann.search("plum tree", where=nothing)) == 0
    assert ann.find(nothing) == ()
    assert ann.forget(where=nothing).messages == 0
    assert "retrieved" not in [p.name for p in ann.context("plum", 2000, where=nothing).parts]


def test_a_context_recalls_only_what_matches_and_keeps_pins_and_recent_turns(opened, ann):
    friday = ann.memory.conversation("acme", "ann", "friday")
    friday.add("an orchard", id="now")
    ann.pin("a0", level="user")
    context = friday.context("plum tree", 4000, since="2026-05-10", roles="user")
    parts = {part.name: part.messages for part in context.parts}
    assert [m.id for m in parts["recent"]] == ["now"]
    pieces = {p.message.id: p.part for p in context.explain() if p.included}
    assert pieces == {"a0": "anchors", "now": "recent", "q2": "retrieved"}


@pytest.mark.parametrize("level", ["session", "user"])
@pytest.mark.parametrize(
    "where",
    [Filter(), Filter(since=NOON), ~Filter(names="nobody"), ~Filter(), Filter(sessions="monday"),
     Filter(metadata={"stars": {"exists": True}}), Filter(ids=["q0", "q1"]) | Filter(roles="user"),
     Filter(sessions=["monday' OR 1=1 --", "tuesday"]) | Filter(metadata={'") OR (1=1': 1})],
    ids=repr,
)  # fmt: skip
def test_no_filter_reaches_another_user_or_tenant(ann, where, level):
    memory = ann.memory
    seen = [*ann.find(where, level=level), *ann.search("plum", 50, level=level, where=where)]
    texts = [hit.message.content for hit in seen]
    texts += [m.content for hit in seen for m in hit.neighbours]
    assert [text for text in texts if "acme/ann" not in text] == []
    if not where.states_nothing:
        ann.forget(where=where, level=level)
    for tenant, user in (("acme", "bob"), ("evil", "ann")):
        assert len(memory.conversation(tenant, user, "x").find()) == 6


def test_forget_takes_what_matches_in_the_session_or_everywhere(ann):
    assert ann.forget(where=Filter(roles="user")).messages == 2
    assert ids(ann.find()) == ["a0", "q1", "a1", "a2"]
    receipt = ann.forget(Filter(names="Bot"), level="user")
    assert (receipt.messages, receipt.level, receipt.complete) == (3, "user", True)
    assert ids(ann.find()) == ["q1"]


def test_forget_with_ids_and_a_filter_takes_what_both_name(ann):
    where = Filter(metadata={"stars": {"gte": 1}})
    assert ann.forget(["q0", "q2", "a2"], where=where).messages == 1
    assert ids(ann.find()) == ["q0", "a0", "q1", "a1", "a2"]
    assert ann.forget([], where=where).messages == 0
    assert ann.forget(["q1", "a1"], level="user").messages == 2


@pytest.mark.parametrize("given", [{}, {"where": Filter()}, {"ids": "q0", "where": Filter()}])
def test_forget_refuses_what_states_nothing_and_names_erase(ann, given):
    with pytest.raises(InvalidFilter, match="erase"):
        ann.forget(**given)
    assert len(ann.find()) == 6


@pytest.mark.parametrize("given", [5, [5], {"roles": ["user"]}])
def test_forget_refuses_ids_that_are_none(ann, given):
    with pytest.raises(InvalidMessage, match="where="):
        ann.forget(given)


def test_what_was_forgotten_by_a_filter_is_in_no_file_and_no_search(opened, tmp_path):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    secret, kept = "SECRETQZX plum", "kept plum"
    ann.add(
        [Message("user", f"{secret} {n}", metadata={"p": secret}, id=f"s{n}") for n in range(40)]
    )
    ann.add([Message("user", f"{kept} {n}", id=f"k{n}") for n in range(40)])
    ann.pin("s3")
    memory.settle(60)
    ann.add(Message("user", secret, id="waits for a vector", metadata={"p": secret}))
    assert len(ann.search("plum", 100)) == 81
    receipt = ann.forget(where=Filter(metadata={"p": secret}))
    assert (receipt.messages, receipt.vectors, receipt.pins, receipt.complete) == (41, 41, 1, True)
    assert len(ann.search("plum", 100)) == 40
    left = b"".join(p.read_bytes() for p in tmp_path.glob("memory.db*"))
    assert b"SECRETQZX" not in left
    assert memory.health()["problems"] == []
    assert memory.backlog() == 0


def test_forget_by_a_filter_takes_a_tool_call_apart_as_by_id(opened):
    ann = opened().conversation("acme", "ann", "monday")
    call = Message("assistant", "", id="call", tool_calls=(ToolCall("c1", "weather"),))
    ann.add([Message("user", "rain?", id="q"), call])
    ann.add(Message("tool", "plum rain", id="result", tool_call_id="c1"))
    assert ids(ann.find(Filter(roles="tool"))) == ["result"]
    assert ann.forget(where=Filter(roles="tool")).messages == 1
    assert [m.id for m in ann.messages()] == ["q", "call"]


def test_a_read_only_memory_can_be_filtered_and_not_forgotten(opened, ann, tmp_path):
    url = f"sqlite:///{tmp_path / 'memory.db'}?mode=ro"
    with open_memory(url, embedder=None) as reader:
        again = reader.conversation("acme", "ann", "monday")
        odd = Filter(metadata={"stars": {"gt": 0.5}}) | Filter(metadata={'"': 1})
        assert ids(again.find(odd)) == ["q1", "q2"]
        assert sorted(ids(again.search("plum tree", where=odd))) == ["q1", "q2"]
        with pytest.raises(StoreReadOnly):
            again.forget(where=odd)


def test_nothing_is_found_where_nothing_is_stored(opened):
    nobody = opened().conversation("acme", "nobody", "monday")
    assert nobody.find() == nobody.find(Filter(roles="user")) == ()
    assert len(nobody.search("plum", roles="user")) == 0
    assert nobody.forget(where=Filter(roles="user")).messages == 0


async def test_the_async_doors_take_the_same(ann):
    assert ids(await ann.afind(roles="user", limit=1)) == ["q2"]
    assert len(await ann.asearch("plum", roles="user")) == 3
    assert (await ann.aforget(where=Filter(roles="user"))).messages == 2


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda c: c.search("plum", roles="bot"), "roles"),
        (lambda c: c.search("plum", where={"roles": "user"}), "from_dict"),
        (lambda c: c.search("plum", filters=Filter()), "filters"),
        (lambda c: c.context("plum", since="yesterday"), "since"),
        (lambda c: c.find(metadata={"stars": {"gtt": 1}}), "gtt"),
        (lambda c: c.find(limit=0), "limit"),
        (lambda c: c.find(level="tenant"), "level"),
        (lambda c: c.forget(where={"roles": "user"}), "from_dict"),
        (lambda c: c.forget("q0", level="all"), "level"),
    ],
    ids=str.split("role mapping keyword date operator limit level forget_mapping forget_level"),
)
def test_every_door_refuses_what_it_does_not_know(ann, call, named):
    with pytest.raises((InvalidQuery, TypeError), match=named):
        call(ann)
    assert len(ann.find()) == 6


def test_system_messages_are_found_without_looking_at_the_others(opened, tmp_path):
    talk = opened().conversation("acme", "ann", "monday")
    talk.add(
        [Message("system", "Be brief.", id="s"), *(Message("user", f"word {n}") for n in range(50))]
    )
    engine = create_engine(f"sqlite:///{tmp_path / 'memory.db'}")
    read = []
    with engine.connect() as connection:
        event.listen(engine, "before_cursor_execute", lambda *call: read.append(call[2:4]))
        seqs(connection, 1, Filter(roles="system"), "monday")
        (sql, values), *_ = read
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
    engine.dispose()
    assert "messages_system" in str(plan)
    assert [hit.message.id for hit in talk.find(roles="system")] == ["s"]


def test_a_file_from_before_the_index_of_system_messages_gets_it(opened, tmp_path):
    opened().close()
    names = "SELECT name FROM sqlite_master WHERE name = 'messages_system'"
    with closing(sqlite3.connect(tmp_path / "memory.db", isolation_level=None)) as raw:
        raw.execute("DROP INDEX messages_system")
        named = "SELECT version FROM schema_migrations WHERE name LIKE '%system messages'"
        raw.execute(f"DELETE FROM schema_migrations WHERE version >= ({named})")
        opened().close()
        assert raw.execute(names).fetchall() == [("messages_system",)]
