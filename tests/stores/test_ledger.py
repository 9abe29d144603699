"""The ledger's file: what is in it, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import InvalidInput, ProviderLimited, StoreClosed, StoreCorrupt
from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.opening import open_ledger
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.ledger import Entry
from rag_memory_plugins.router.models import Model, Price
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

ENTRY = Entry(
    request_id="r1", number=0, time=1_000.0, tenant="acme", user="ann", provider="groq",
    model="fast", answered_by="llama-3.3-70b", input_tokens=100, output_tokens=20, cached_tokens=0,
    exact=True, cost=5_000, first_seconds=0.2, seconds=0.7, outcome="ok", error="",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request):
    """A ledger in a file, and one in a database."""
    place = request.getfixturevalue("path" if request.param == "sqlite" else "log_url")
    with open_ledger(place) as ledger:
        yield ledger


def test_an_entry_comes_back_as_it_was(ledger):
    without = replace(ENTRY, request_id="r2", time=1_001.0, first_seconds=None, exact=False)
    ledger.record(ENTRY)
    ledger.record(without)
    assert ledger.entries("acme") == [without, ENTRY]


def test_entries_of_other_tenants_are_not_shown(ledger):
    ledger.record(ENTRY)
    ledger.record(replace(ENTRY, tenant="acme/ann", user="x"))
    assert ledger.entries("acme") == [ENTRY]
    assert ledger.entries("nobody") == []


def test_totals_by_tenant_and_model(ledger):
    for entry in (
        ENTRY,
        replace(ENTRY, cost=7_000, output_tokens=30),
        replace(ENTRY, outcome="failed", cost=0, input_tokens=0, output_tokens=0),
        replace(ENTRY, tenant="other", model="slow", cost=50_000),
    ):
        ledger.record(entry)
    totals = [
        (t.by, t.attempts, t.failed, t.input_tokens, t.output_tokens, t.cost)
        for t in ledger.totals()
    ]
    assert totals == [
        ({"tenant": "other", "model": "slow"}, 1, 0, 100, 20, 5e-05),
        ({"tenant": "acme", "model": "fast"}, 3, 1, 200, 50, 1.2e-05),
    ]


def test_totals_of_a_tenant_and_a_time(ledger):
    for time in (10.0, 20.0, 30.0):
        ledger.record(replace(ENTRY, time=time))
    ledger.record(replace(ENTRY, tenant="other", time=20.0))
    (total,) = ledger.totals(by=(), tenant="acme", since=20.0, until=30.0)
    assert (total.by, total.attempts) == ({}, 1)


def test_totals_of_nothing_are_none(ledger):
    assert ledger.totals() == []


def test_an_unknown_column_is_refused(ledger):
    with pytest.raises(InvalidInput, match="did you mean 'tenant'"):
        ledger.totals(by=("tenants",))


def test_entries_reach_the_file_within_a_second_by_themselves(path):
    ledger = open_ledger(path)
    ledger.record(ENTRY)

    async def wait():
        for _ in range(200):
            if rows(path):
                return
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(wait(), 10))
    assert rows(path) == 1
    ledger.close()


def rows(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
    finally:
        connection.close()


def test_what_waits_is_written_at_close(path):
    with open_ledger(path) as ledger:
        for number in range(2_500):
            ledger.record(replace(ENTRY, number=number))
    assert rows(path) == 2_500


def test_what_waits_is_written_when_the_process_ends(path):
    code = f"""
from rag_memory_plugins.opening import open_ledger
from rag_memory_plugins.router.ledger import Entry
ledger = open_ledger({str(path)!r})
ledger.record(Entry("r", 0, 1.0, "t", "u", "p", "m", "", 1, 1, 0, True, 1, None, 0.1, "ok", ""))
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert rows(path) == 1


def test_threads_lose_nothing(ledger):
    def work():
        for number in range(500):
            ledger.record(replace(ENTRY, number=number))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (total,) = ledger.totals(by=())
    assert total.attempts == 4_000


def test_totals_count_a_batch_that_is_being_written(path):
    from rag_memory_plugins.stores.ledger import SqlLedger, migrate_ledger
    from rag_memory_plugins.stores.sqlite import SqliteDatabase

    async def story():
        database = SqliteDatabase(path, readers=1, migrate=migrate_ledger)
        await database.aopen()
        ledger = SqlLedger(database)
        ledger.record(ENTRY)
        writing = asyncio.ensure_future(ledger.astep())
        await asyncio.sleep(0)  # it has taken the entry, and waits for the file
        (total,) = await ledger.atotals(by=())
        await writing
        await ledger.aclose()
        return total.attempts

    assert get_portal().call(story()) == 1


def test_two_processes_may_write_one_file(path):
    with open_ledger(path) as one, open_ledger(path) as other:
        one.record(ENTRY)
        other.record(replace(ENTRY, request_id="r2"))
        other.flush()
        (total,) = one.totals(by=())
    assert total.attempts == 2


def test_what_cannot_be_written_waits_and_is_told(path):
    events = []
    with open_ledger(path, hooks=(events.append,), busy_timeout=0.01) as ledger:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        ledger.record(ENTRY)
        with pytest.raises(Exception, match="locked"):
            ledger.flush()
        holder.execute("ROLLBACK")
        holder.close()
        assert ledger.entries("acme") == [ENTRY]
    assert "ledger.failed" in [event.name for event in events]


def test_over_the_bound_the_oldest_go_and_it_is_told(path):
    from rag_memory_plugins.stores.ledger import SqlLedger, migrate_ledger
    from rag_memory_plugins.stores.sqlite import SqliteDatabase

    events = []

    async def story():
        database = SqliteDatabase(path, readers=1, migrate=migrate_ledger)
        await database.aopen()
        ledger = SqlLedger(database, (events.append,), most_waiting=3)
        for number in range(5):
            ledger.record(replace(ENTRY, number=number))
        kept = [entry.number for entry in await ledger.aentries("acme")]
        await ledger.aclose()
        return kept

    assert sorted(asyncio.run(story())) == [2, 3, 4]
    assert [event.data["lost"] for event in events] == [2]


def test_a_closed_ledger_takes_nothing(path):
    ledger = open_ledger(path)
    ledger.close()
    ledger.close()
    with pytest.raises(StoreClosed, match="open it again"):
        ledger.record(ENTRY)


def test_a_file_of_something_else_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE messages (id INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorrupt, match="a path of its own"):
        open_ledger(path)


def test_a_users_name_can_be_taken_out(ledger, path):
    ledger.record(ENTRY)
    ledger.record(replace(ENTRY, user="bob"))
    ledger.record(replace(ENTRY, tenant="other"))
    assert ledger.forget(Scope("acme", "ann")) == 1
    assert ledger.forget(Scope("acme", SHARED)) == 0
    users = {(t.by["tenant"], t.by["user"]) for t in ledger.totals(by=("tenant", "user"))}
    assert users == {("acme", ""), ("acme", "bob"), ("other", "ann")}


def test_a_router_writes_each_attempt(ledger):
    limited = ScriptedModel(ProviderLimited("429, and what you asked"), name="a")
    router = Router(
        [Model(limited, "a"), Model(ScriptedModel("Hi", name="b"), "b", price=Price(10.0, 10.0))],
        ledger=ledger,
    )
    scope = Scope("acme", "ann")
    router.answer(ChatRequest((Message("user", "Hello"),), scope=scope))
    last, first = ledger.entries("acme")
    assert (first.model, first.outcome, first.error, first.cost) == (
        "a",
        "failed",
        "ProviderLimited",
        0,
    )
    assert (last.model, last.outcome, last.number, last.cost > 0) == ("b", "ok", 1, True)
