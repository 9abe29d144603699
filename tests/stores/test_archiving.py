"""What is archived: kept with the message, gone with it, unknown to everybody else."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from rag_memory_plugins import Namespace, Scope, open_memory
from rag_memory_plugins.stores import archiving

ANN = Namespace("acme", "ann", "monday")


def run(memory, coroutine):
    return memory.portal.call(coroutine)


def listed(memory, archived=None, namespace=ANN):
    found = run(memory, memory.log.alisted(namespace, archived))
    return [item.message.id for item in found]


def archive(memory, *ids, archived=True, namespace=ANN):
    found = run(memory, memory.log.aarchive(namespace, ids, archived=archived))
    return [item.message.id for item in found]


@pytest.fixture
def memory(opened):
    memory = opened(embedder=None)
    for user in ("ann", "bob"):
        for n in range(5):
            memory.conversation("acme", user, "monday").add(f"note {n}", id=f"m{n}")
    return memory


def rows(tmp_path):
    file = sqlite3.connect(tmp_path / "memory.db")
    found = file.execute("SELECT seq FROM archived ORDER BY seq").fetchall()
    file.close()
    return [row[0] for row in found]


def test_archived_messages_are_listed_apart_and_in_order(memory):
    assert archive(memory, "m3", "m1", "unknown") == ["m1", "m3"]
    assert listed(memory, True) == ["m1", "m3"]
    assert listed(memory, False) == ["m0", "m2", "m4"]
    assert listed(memory) == ["m0", "m1", "m2", "m3", "m4"]


def test_archiving_twice_is_archiving_once(memory):
    archive(memory, "m1")
    assert archive(memory, "m1", "m2") == ["m1", "m2"]
    assert listed(memory, True) == ["m1", "m2"]


def test_what_is_archived_may_be_brought_back(memory):
    archive(memory, "m1", "m2")
    assert archive(memory, "m2", "m3", archived=False) == ["m2", "m3"]
    assert listed(memory, True) == ["m1"]


def test_the_same_ids_of_another_user_and_another_session_are_left_alone(memory):
    archive(memory, "m1", "m2")
    assert listed(memory, True, Namespace("acme", "bob", "monday")) == []
    nowhere = Namespace("acme", "ann", "tuesday")
    assert (archive(memory, "m3", namespace=nowhere), listed(memory, None, nowhere)) == ([], [])
    assert listed(memory, True) == ["m1", "m2"]


def test_more_ids_than_a_statement_takes(memory):
    talk = memory.conversation("acme", "ann", "long")
    talk.add([f"note {n}" for n in range(1_200)])
    ids = [message.id for message in talk.messages()]
    assert archive(memory, *ids, namespace=talk.namespace) == ids
    assert listed(memory, False, talk.namespace) == []


def test_searches_and_contexts_know_nothing_of_it(memory):
    talk = memory.conversation(ANN)
    before = talk.search("note 2"), talk.context("note 2", 500).text
    archive(memory, "m0", "m1", "m2")
    assert (talk.search("note 2"), talk.context("note 2", 500).text) == before


def test_a_forgotten_message_leaves_no_mark(memory, tmp_path):
    archive(memory, "m1", "m2")
    memory.conversation(ANN).forget(["m1"])
    assert len(rows(tmp_path)) == 1
    memory.conversation(ANN).add("note 1, again", id="m1")
    assert listed(memory, True) == ["m2"]


@pytest.mark.parametrize("level", ["session", "user"])
def test_an_erased_session_leaves_no_mark(memory, tmp_path, level):
    archive(memory, "m1", "m2")
    memory.conversation(ANN).erase(level)
    assert rows(tmp_path) == []


def test_sessions_of_a_user_are_listed_in_the_order_they_began(memory):
    for name in ("tuesday", "a/b", "empty"):
        memory.conversation("acme", "ann", name).add("hello", id="h")
    memory.conversation("acme", "ann", "empty").forget(["h"])
    assert run(memory, memory.log.asessions(Scope("acme", "ann"))) == ["monday", "tuesday", "a/b"]
    assert run(memory, memory.log.asessions(Scope("acme", "nobody"))) == []


def test_a_file_of_the_schema_before_has_nothing_archived(tmp_path):
    path = tmp_path / "old.db"
    with open_memory(path, embedder=None) as memory:
        memory.conversation(ANN).add("hello", id="m0")
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("DROP TABLE archived")
    file.execute("DELETE FROM schema_migrations WHERE version > 4")
    file.close()
    with open_memory(path, embedder=None) as memory:
        assert (listed(memory, False), listed(memory, True)) == (["m0"], [])
        assert archive(memory, "m0") == ["m0"]


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "archive", "bring back", "forget"]),
        st.sets(st.integers(0, 9), min_size=1, max_size=5),
    ),
    max_size=8,
)


@given(changes=CHANGES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_listed_and_counted_is_what_was_archived_and_not_brought_back(memory, changes):
    talk = memory.conversation(ANN)
    talk.erase()
    held, aside = [], set()
    for what, numbers in changes:
        names = sorted({f"n{number}" for number in numbers} & set(held))
        if what == "add":
            held.append(f"n{len(held)}" if f"n{len(held)}" not in held else "n9")
            talk.add("note", id=held[-1])
            held = list(dict.fromkeys(held))
        elif what == "forget":
            talk.forget(names)
            held, aside = [name for name in held if name not in names], aside - set(names)
        else:
            archive(memory, *names, archived=what == "archive")
            aside = aside | set(names) if what == "archive" else aside - set(names)
    expected = {
        None: held,
        True: [name for name in held if name in aside],
        False: [name for name in held if name not in aside],
    }
    for archived, names in expected.items():
        assert listed(memory, archived) == names
        assert run(memory, memory.log.acounted(ANN, archived)) == len(names)
        found = run(memory, memory.log.alisted(ANN, archived, limit=2, offset=1))
        assert [item.message.id for item in found] == names[1:3]


def steps(path, ask):
    """Instructions of SQLite's machine that a reading takes: they grow with the rows it looks at."""
    engine = create_engine(f"sqlite:///{path}")
    counted = []
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        raw.set_progress_handler(lambda: counted.append(1) or 0, 1)
        ask(connection)
        raw.set_progress_handler(None, 0)
    engine.dispose()
    return len(counted)


@pytest.mark.parametrize("ask", [archiving.listed, archiving.counted])
def test_active_messages_are_found_without_a_look_at_the_archived_ones(tmp_path, ask):
    taken = []
    with open_memory(tmp_path / "memory.db", embedder=None, background=False) as memory:
        for start in (0, 20):
            names = [f"m{start + n}" for n in range(20 if start == 0 else 400)]
            memory.conversation(ANN).add([{"role": "user", "content": "a", "id": n} for n in names])
            archive(memory, *names)
            active = {"role": "user", "content": "b", "id": f"active {start}"}
            memory.conversation(ANN).add([active])
            taken.append(steps(tmp_path / "memory.db", lambda c: ask(c, ANN, False)))
            archive(memory, active["id"])
    assert taken[0] == taken[1] > 0
