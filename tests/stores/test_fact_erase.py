"""Facts go with the messages they rest on, with the session and with the user; nothing else does."""

from __future__ import annotations

import pytest

from rag_memory_plugins import admin
from rag_memory_plugins.ports import Said
from tests.stores.test_erase import stored_bytes

SECRET = "MARKERFACTQZX"


@pytest.fixture(params=["sqlite", "postgres"])
def memory(request):
    """A memory in a file, and one in a database."""
    return request.getfixturevalue("opened" if request.param == "sqlite" else "opened_there")()


@pytest.fixture
def ann(memory):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add([{"role": "user", "content": f"turn {n}", "id": f"m{n}"} for n in range(4)])
    return ann


def objects(facts):
    return sorted(fact.object for fact in facts.query(min_confidence=0.0))


def test_a_fact_goes_with_its_last_message(ann):
    ann.facts.insert("Ann", "lives in", "Lisbon", sources="m0")
    ann.facts.insert("Ann", "lives in", SECRET, sources=["m1", "m2"])
    ann.forget("m1")
    (fact,) = ann.facts.query(subject="Ann")
    assert (fact.object, fact.sources) == (SECRET, (Said("monday", "m2"),))
    receipt = ann.forget("m2")
    assert (receipt.complete, receipt.left, receipt.removed["facts"]) == (True, {}, 1)
    assert objects(ann.facts) == ["Lisbon"]
    assert [change.new for change in ann.facts.history()] == ["Lisbon"]


def test_an_erased_session_takes_what_was_stated_in_it_and_no_more(memory, ann):
    tuesday = memory.conversation("acme", "ann", "tuesday")
    tuesday.add("turn", id="t1")
    ann.facts.insert("Ann", "lives in", "Lisbon")
    ann.facts.insert("Ann", "works at", "Acme", sources=["m1", Said("tuesday", "t1")])
    tuesday.facts.insert("Ann", "plays", "piano", sources="t1")
    receipt = ann.erase("session")
    assert (receipt.complete, receipt.removed["facts"]) == (True, 1)
    assert objects(tuesday.facts) == ["Acme", "piano"]
    assert tuesday.facts.query("Acme")[0].sources == (Said("tuesday", "t1"),)


def test_an_erased_user_leaves_no_fact_and_others_keep_theirs(memory, ann):
    bob = memory.conversation("acme", "bob", "monday")
    bob.facts.insert("Bob", "lives in", "Faro")
    for value in ("Lisbon", "Porto"):
        ann.facts.insert("Ann", "lives in", value, sources="m1")
    memory.settle()
    receipt = ann.erase("user")
    assert (receipt.complete, receipt.left, receipt.removed["facts"]) == (True, {}, 2)
    assert (objects(ann.facts), ann.facts.history()) == ([], ())
    assert objects(bob.facts) == ["Faro"]


def test_no_byte_of_an_erased_fact_is_left(opened, tmp_path):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("turn", id="m1")
    for number in range(50):
        value = f"{SECRET} {number} {'x' * number * 10}"
        ann.facts.insert(SECRET, "has seen", value, sources="m1", many=number % 2 == 0)
    memory.settle()
    assert SECRET.encode() in stored_bytes(tmp_path / "memory.db")
    assert ann.erase("user").complete
    assert SECRET.encode() not in stored_bytes(tmp_path / "memory.db")


def test_an_erased_tenant_leaves_no_fact(opened, tmp_path):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.facts.insert(SECRET, "lives in", "Lisbon")  # no message at all
    memory.close()
    with admin.open_admin(tmp_path / "memory.db") as owner:
        assert owner.erase("acme").complete
    assert SECRET.encode() not in stored_bytes(tmp_path / "memory.db")


def test_facts_move_with_everything_else(opened, log_url, tmp_path):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("turn", id="m1")
    for value in ("Lisbon", "Porto"):
        ann.facts.insert("Ann", "lives in", value, sources="m1")
    undone = ann.facts.insert("Ann", "lives in", "Faro")
    ann.facts.undo(undone)
    ann.facts.insert("Ann", "plays", "piano")
    memory.settle()
    before = (list(ann.facts.query(subject="Ann")), ann.facts.history())
    memory.close()
    admin.migrate(tmp_path / "memory.db", log_url)
    from rag_memory_plugins import open_memory

    with open_memory(log_url, embedder=None, background=False) as there:
        facts = there.conversation("acme", "ann", "monday").facts
        assert (list(facts.query(subject="Ann")), facts.history()) == before
        assert facts.insert("Ann", "lives in", "Braga").decision == "UPDATE"


def test_a_tenant_exports_its_facts(memory, ann):
    ann.facts.insert("Ann", "lives in", "Lisbon", sources="m1")
    owner = admin.Admin(memory)
    (fact,) = [row["fact"] for row in owner.export("acme") if "fact" in row]
    assert (fact["subject"], fact["object"], fact["by"]) == ("Ann", "Lisbon", "user")
    assert fact["sources"] == [{"session": "monday", "id": "m1"}]
    stats = owner.tenant("acme")
    assert (stats.users, stats.messages, stats.facts) == (1, 4, 1)
