"""The owner's view: statistics, export and erase of tenants, receipts read back."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from rag_memory_plugins import SHARED, Conversation, Message, Scope, open_memory
from rag_memory_plugins.admin.admin import Admin, open_admin
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.stores.schema import metadata
from tests.stores.conftest import log_url, opened_there, postgres

__all__ = ["log_url", "opened_there", "postgres"]
TENANTS = ["acme", "acme/2", "Zoë"]


def fill(memory):
    for tenant in TENANTS:
        for user in ("ann", SHARED):
            place = memory.conversation(tenant, user, "monday")
            place.add([Message("user", f"{tenant} turn {n}", id=f"m{n}") for n in range(3)])
        place.pin("m1")
        item = Message("user", "likes tea", id="taste", metadata={"drink": "tea"})
        memory.portal.call(
            Shelf(memory, Scope(tenant, "ann", items=True)).achange(
                [ItemChange("people", "taste", item)]
            )
        )
    memory.settle()


def rows(memory):
    """How many rows each table with rows of users holds."""

    def unit(connection):
        return {
            table.name: len(connection.execute(select(table)).all())
            for table in metadata.sorted_tables
            if {"scope_id", "session_id", "seq"} & set(table.c.keys()) or table.name == "scopes"
        }

    return memory.portal.call(memory.log.database.aread(unit))


@pytest.fixture(params=["sqlite", "postgres"])
def filled(request):
    maker = {"sqlite": "opened", "postgres": "opened_there"}[request.param]
    memory = request.getfixturevalue(maker)()
    fill(memory)
    return memory


def test_tenants_are_counted_exported_and_erased(filled):
    admin = Admin(filled)
    first = admin.tenants(limit=2)
    stats = [*first, *admin.tenants(after=first[-1].tenant)]
    assert sorted(s.tenant for s in stats) == sorted(TENANTS)
    assert len(stats) == 3
    acme = admin.tenant("acme")
    assert (acme.users, acme.sessions, acme.messages, acme.items) == (2, 3, 6, 1)
    assert (acme.vectors, acme.pending, acme.pins) == (7, 0, 1)
    assert acme.bytes > 7 * 128
    assert acme.first is not None

    told = list(admin.export("acme"))
    assert [row.get("item", {}).get("key") for row in told].count("taste") == 1
    assert sum(row["user"] is None for row in told) == 3
    assert {row["content"] for row in told if "item" not in row} == {
        f"acme turn {n}" for n in range(3)
    }

    before = rows(filled)
    receipt = admin.erase("acme")
    assert receipt.complete, receipt
    assert receipt.level == "tenant"
    assert receipt.left == {}
    assert receipt.removed["messages"] == 7
    assert receipt.removed["items"] == 1
    assert receipt.removed["vectors"] == 7
    assert receipt.removed["caches"] > 0
    assert ("WAL" in receipt.note) == (filled.log.database.name != "memory.db")
    assert admin.tenant("acme").messages == 0
    assert admin.tenant("acme/2").messages == 6
    after = rows(filled)
    assert after["messages"] == before["messages"] - 7
    for _ in admin.export("acme"):
        pytest.fail("it was erased")
    for tenant in TENANTS[1:]:
        assert admin.erase(tenant).complete
    assert {name: count for name, count in rows(filled).items() if count} == {}


def test_a_receipt_lists_what_went_from_where_and_was_read_back(opened):
    memory = opened()
    fill(memory)
    ann = memory.conversation("acme", "ann", "monday")
    ann.context("turn 1", 500)
    receipt = ann.erase()
    wanted = {"messages": 3, "keywords": 3, "vectors": 3, "sessions": 1, "counters": 1}
    assert {name: receipt.removed.get(name) for name in wanted} == wanted
    assert receipt.left == {}
    assert receipt.complete


def test_rows_that_are_left_make_a_receipt_incomplete(opened):
    memory = opened()
    fill(memory)
    ann = memory.conversation("acme", "ann", "monday")
    trigger = (
        "CREATE TRIGGER keep AFTER DELETE ON pins BEGIN INSERT INTO pins (scope_id, session_id, "
        "seq, level) VALUES (old.scope_id, old.session_id, old.seq, old.level); END"
    )
    ann.pin("m0")
    memory.portal.call(memory.log.database.awrite(lambda c: c.exec_driver_sql(trigger).rowcount))
    receipt = ann.erase("user")
    assert receipt.left == {"pins": 1}
    assert not receipt.complete
    assert "pins" in receipt.pending


def test_a_vector_store_is_named_and_looked_at_again(tmp_path, words):
    index = f"edge:///{tmp_path / 'vectors'}"
    options = {"embedder": words, "index": index, "background": False}
    with open_admin(tmp_path / "memory.db", **options) as admin:
        memory = admin._memory
        fill(memory)
        receipt = admin.erase("acme")
        assert receipt.complete
        assert receipt.removed[memory.index.store.name] == 7


def test_a_tenants_namespace_is_deleted_whole_and_no_other(tmp_path, words):
    pytest.importorskip("pinecone")
    from rag_memory_plugins.stores.pinecone import PineconeStore
    from rag_memory_plugins.testing.pinecone_server import PineconeServer

    with PineconeServer(dimension=64) as server:
        store = PineconeStore(server.url, api_key="test-key")
        options = {"embedder": words, "index": store, "background": False}
        with open_admin(tmp_path / "memory.db", **options) as admin:
            fill(admin._memory)
            before = server.index.records()
            receipt = admin.erase("acme")
            after = server.index.records()
        store.close()
    assert receipt.complete, receipt
    assert len(before) == len(TENANTS)
    gone = before.keys() - after.keys()
    assert len(gone) == 1
    assert all(after[name] == before[name] for name in after)


def test_what_waits_in_a_vector_store_is_told_whoever_erases(tmp_path, words):
    path, index = tmp_path / "memory.db", f"edge:///{tmp_path / 'vectors'}"
    with open_memory(path, embedder=words, index=index, background=False) as memory:
        fill(memory)
    with open_admin(path) as admin:
        receipt = admin.erase("acme")
    assert not receipt.complete
    assert "open the memory with that index" in receipt.pending


def test_no_conversation_leads_to_an_admin(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    assert not hasattr(Conversation, "admin")
    with pytest.raises(InvalidInput, match="open_memory"):
        Admin(ann)
