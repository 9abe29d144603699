"""The log on a real Postgres: what other processes, roles and a dying server make of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import (
    InvalidURL,
    MessageConflict,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreUnreachable,
)
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.stores.postgres import PostgresDatabase
from rag_memory_plugins.stores.sql import SqlLog
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.proxy import FaultProxy
from tests.stores.servers import PostgresServer


def test_what_is_said_is_found_counted_forgotten_and_erased(opened_there):
    memory = opened_there()
    ann = memory.conversation("acme", "ann", "monday")
    for number in range(30):
        ann.add(f"the parrot {number} is green", id=f"m{number}", metadata={"number": number})
    assert memory.settle() == 0
    assert [message.id for message in ann.recent(3)] == ["m27", "m28", "m29"]
    found = ann.search("parrot 7", 3)
    assert found[0].message.id == "m7"
    assert found.lanes["dense"] == "ok"
    assert ann.forget("m7").complete
    assert ann.stats().messages == 29
    receipt = ann.erase(level="user")
    assert (receipt.messages, receipt.complete) == (29, True)
    assert len(ann.search("parrot", 3)) == 0


def test_a_retry_stores_nothing_twice_and_other_content_is_refused(opened_there):
    ann = opened_there().conversation("acme", "ann", "monday")
    ann.add("one", id="m1")
    ann.add("one", id="m1")
    with pytest.raises(MessageConflict):
        ann.add("two", id="m1")
    assert [message.content for message in ann.messages()] == ["one"]


def test_two_processes_make_the_tables_at_once(log_url):
    with ThreadPoolExecutor(4) as pool:
        memories = list(pool.map(lambda _: open_memory(log_url, embedder=None), range(4)))
    for memory in memories:
        memory.conversation("acme", "ann", "monday").add("here")
    assert memories[0].conversation("acme", "ann", "monday").stats().messages == 4
    for memory in memories:
        memory.close()


def test_a_process_sees_what_others_write_in_the_same_scope(log_url, words):
    with (
        open_memory(log_url, embedder=words) as first,
        open_memory(log_url, embedder=words) as second,
    ):
        places = [memory.conversation("acme", "ann", "monday") for memory in (first, second)]

        def say(number):
            places[number % 2].add(f"word{number} parrot", id=f"m{number}")
            return [hit.message.id for hit in places[number % 2].search(f"word{number}", 1)]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(say, range(80)))
        assert found == [[f"m{number}"] for number in range(80)]
        first.settle()
        for place in places:
            seen = {hit.message.id for hit in place.search("parrot", 100)}
            assert seen == {f"m{number}" for number in range(80)}


def test_concurrent_conversations_keep_their_order(log_url):
    async def story():
        databases = [PostgresDatabase(log_url) for _ in range(2)]
        for database in databases:
            await database.aopen()
        logs = [SqlLog(database) for database in databases]

        async def talk(user):
            namespace = Namespace("acme", f"u{user}", "s")
            for turn in range(10):
                log = logs[(user + turn) % 2]
                assert await log.aappend(namespace, [Message("user", f"{turn}")], [1]) == 1
            return [item.message.content for item in await logs[0].arecent(namespace, 50)]

        said = await asyncio.gather(*(talk(user) for user in range(60)))
        for database in databases:
            await database.aclose()
        return said

    assert asyncio.run(story()) == [[str(turn) for turn in range(10)]] * 60


def test_a_vector_in_flight_is_not_passed_by(log_url):
    """Numbers are given before they are committed: a mirror waits for the smaller ones."""

    async def story():
        database = PostgresDatabase(log_url)
        await database.aopen()
        held, go_on = threading.Event(), threading.Event()

        def slow(connection):
            connection.exec_driver_sql("SELECT nextval('vectors_id_seq')")
            held.set()
            go_on.wait(20)

        writing = asyncio.ensure_future(database.awrite(slow, [1]))
        await asyncio.get_running_loop().run_in_executor(None, held.wait, 20)
        other = PostgresDatabase(log_url)
        await other.aopen()
        horizon = asyncio.ensure_future(other.ahorizon())
        early = await asyncio.wait({horizon}, timeout=0.2)
        go_on.set()
        await writing
        await horizon
        for each in (database, other):
            await each.aclose()
        return len(early[0])

    assert asyncio.run(story()) == 0


def test_a_role_that_row_security_binds_sees_the_scopes_it_names(opened_there, log_url):
    memory = opened_there()
    for tenant in ("acme", "evil"):
        memory.conversation(tenant, "ann", "monday").add(f"{tenant} secret")
    with psycopg.connect(log_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE reader LOGIN")
        owner.execute("GRANT USAGE ON SCHEMA rag_memory TO reader")
        owner.execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rag_memory TO reader"
        )
        owner.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA rag_memory TO reader")
    try:
        url = log_url.replace("postgres@", "reader@")
        with psycopg.connect(url, autocommit=True) as raw:
            query = "SELECT content FROM rag_memory.messages"
            assert raw.execute(query).fetchall() == []
        with open_memory(url, embedder=WordEmbedder(), background=False) as bound:
            assert bound.health()["row_level_security"] == "on"
            ann = bound.conversation("acme", "ann", "monday")
            ann.add("and tea")
            assert [m.content for m in ann.messages()] == ["acme secret", "and tea"]
            assert bound.settle() == 0
            # A statement that forgot its scope finds what the transaction is about, and no more.
            seen = bound.portal.call(
                bound.log.database.aread(
                    lambda c: c.exec_driver_sql("SELECT content FROM messages").all(),
                    ann.namespace.scope,
                )
            )
            assert {row[0] for row in seen} == {"acme secret", "and tea"}
            assert ann.erase(level="user").messages == 2
    finally:
        memory.close()
        with psycopg.connect(log_url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY reader")
            owner.execute("DROP ROLE reader")


def test_a_reader_of_an_older_state_makes_the_receipt_wait(opened_there, log_url):
    memory = opened_there(busy_timeout=0.3)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("secret")
    with psycopg.connect(log_url) as reader:
        reader.execute("SELECT count(*) FROM rag_memory.messages").fetchone()
        receipt = ann.erase()
        assert not receipt.complete
        assert "old state" in receipt.pending
    assert memory.portal.call(memory.log.atidy())


def test_opened_read_only_it_reads_and_does_not_write(opened_there, log_url):
    opened_there().conversation("acme", "ann", "monday").add("the parrot")
    with open_memory(f"{log_url}?mode=ro", embedder=None) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        assert len(ann.search("parrot")) == 1
        with pytest.raises(StoreReadOnly):
            ann.add("x")


def test_a_schema_of_another_program_is_left_alone(log_url):
    with psycopg.connect(log_url, autocommit=True) as raw:
        raw.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.orders (id int)")
    with pytest.raises(StoreCorrupt, match="another program"):
        open_memory(f"{log_url}?schema=theirs", embedder=None)


@pytest.mark.parametrize("schema", ["a;drop", "A", "", "1a", "a" * 64])
def test_a_schema_is_a_plain_name(schema):
    with pytest.raises(InvalidURL, match="schema"):
        PostgresDatabase("postgresql://localhost/app", schema)


def test_an_unknown_part_of_the_url_is_told_without_the_password(log_url):
    with pytest.raises(StoreError) as caught:
        open_memory("postgresql://ann:hunter2@127.0.0.1:1/app?connect_timeout=2", embedder=None)
    assert isinstance(caught.value, StoreUnreachable)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(PostgresDatabase("postgresql://ann:hunter2@localhost/app"))


def test_after_a_restart_of_the_server_the_memory_goes_on(words):
    with (
        PostgresServer(fsync="on") as server,
        open_memory(server.url(), embedder=words, background=False, busy_timeout=5) as memory,
    ):
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("before")
        server.stop()
        with pytest.raises(StoreUnreachable, match="check that the server runs"):
            ann.add("during", id="m2")
        server.start()
        ann.add("during", id="m2")
        assert [message.content for message in ann.messages()] == ["before", "during"]


@pytest.mark.parametrize("fault", ["reset", "swallow"])
@pytest.mark.parametrize("after_bytes", [None, 0])
def test_a_server_that_goes_or_falls_silent_is_an_error_in_time_and_no_lie(
    postgres, fault, after_bytes, monkeypatch
):
    """With `after_bytes=0` it does what it was asked, and its answer is lost."""
    monkeypatch.setattr(PostgresDatabase, "patience", 0.5)
    name = postgres.create_database()
    with FaultProxy("127.0.0.1", postgres.port) as proxy:
        url = postgres.url(name, proxy.port)
        with open_memory(url, embedder=None, background=False, busy_timeout=0.2) as memory:
            ann = memory.conversation("acme", "ann", "monday")
            ann.add("before", id="m1")
            proxy.fault(fault, after_bytes=after_bytes)
            with pytest.raises(StoreError, match=f"127.0.0.1:{proxy.port}/{name}|127.0.0.1/{name}"):
                ann.add("during", id="m2")
            with pytest.raises(StoreError):
                ann.recent(5)
            proxy.heal()
            ann.add("during", id="m2")
            assert [message.id for message in ann.messages()] == ["m1", "m2"]
