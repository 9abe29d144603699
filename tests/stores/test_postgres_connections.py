"""Connections to Postgres: how many, what ends them, and what a fork does to them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from rag_memory_plugins import open_memory
from rag_memory_plugins.stores.postgres import PostgresDatabase

OTHERS = (
    "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def connections(url, most=100):
    """How many others there are, once they are no more than `most`: they end by and by."""
    with psycopg.connect(url, autocommit=True) as raw:
        deadline = time.monotonic() + 5
        while True:
            query = f"SELECT count(*) FROM pg_stat_activity WHERE {OTHERS}"
            row = raw.execute(query).fetchone()
            if row[0] <= most or time.monotonic() > deadline:
                return row[0]


def test_a_memory_has_as_many_connections_as_it_needs_at_once(opened_there, log_url):
    opened_there(embedder=None).close()  # it made the tables
    assert connections(log_url, 0) == 0
    memories = [opened_there(embedder=None) for _ in range(5)]
    opened = connections(log_url)
    assert opened <= 10
    ann = memories[0].conversation("acme", "ann", "monday")
    for number in range(10):
        ann.add(f"the parrot {number}")
        ann.context("a parrot?")
    assert connections(log_url) <= opened + 3
    for memory in memories:
        memory.close()
    assert connections(log_url, 0) == 0


def test_reads_at_once_have_a_connection_each_up_to_the_most(log_url):
    async def story():
        database = PostgresDatabase(log_url, readers=3)
        await database.aopen()
        inside, most, lock = 0, 0, threading.Lock()

        def unit(connection):
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            connection.exec_driver_sql("SELECT pg_sleep(0.1)")
            with lock:
                inside -= 1

        await asyncio.gather(*(database.aread(unit) for _ in range(6)))
        await database.aclose()
        return most

    assert asyncio.run(story()) == 3


def test_after_its_connections_were_ended_the_first_call_works(opened_there, log_url):
    memory = opened_there(embedder=None)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("the parrot", id="m1")
    for call in (
        ann.messages,
        lambda: ann.search("parrot").hits,
        lambda: ann.add("more", id="m2"),
    ):
        with psycopg.connect(log_url, autocommit=True) as owner:
            owner.execute(
                f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OTHERS}"
            )
        assert len(call()) >= 1
    assert [message.id for message in ann.messages()] == ["m1", "m2"]


def test_a_read_that_nobody_waits_for_frees_its_connection(log_url, monkeypatch):
    """A store that was black-holed while a search was given up must not stay so."""
    monkeypatch.setattr("rag_memory_plugins.stores.database.LEFT", 0.1)

    async def story():
        database = PostgresDatabase(log_url, readers=1)
        await database.aopen()
        hanging = "SELECT pg_sleep(60)"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(
                database.aread(lambda connection: connection.exec_driver_sql(hanging)), 0.1
            )
        reading = database.aread(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        answer = await asyncio.wait_for(reading, 5)
        await database.aclose()
        return answer

    assert asyncio.run(story()) == 1


FORK = """
import gc, os, psycopg, sys, warnings
from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import ForkedProcess
warnings.simplefilter("ignore", DeprecationWarning)
memory = open_memory(sys.argv[1], embedder=None)
ann = memory.conversation("acme", "ann", "monday")
ann.add("before")
def backends():
    with psycopg.connect(sys.argv[1]) as raw:
        rows = raw.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        return {row[0] for row in rows}
ours = backends()
child = os.fork()
if not child:
    try:
        ann.add("in the child")
    except ForkedProcess as error:
        print("refused:", error)
    with open_memory(sys.argv[1], embedder=None) as own:
        own.conversation("acme", "ann", "monday").add("by the child's own memory")
    del ann, memory
    gc.collect()
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
ann.add("after")
print(status, bool(ours) and ours <= backends(), [message.content for message in ann.messages()])
memory.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_refused_and_its_end_leaves_the_parents_connections(log_url):
    command = [sys.executable, "-c", FORK, log_url]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "refused: this memory was opened in process" in ended.stdout
    said = "['before', \"by the child's own memory\", 'after']"
    assert ended.stdout.splitlines()[-1] == f"0 True {said}"


def test_it_runs_under_uvloop(log_url):
    uvloop = pytest.importorskip("uvloop")

    async def story():
        memory = await asyncio.to_thread(open_memory, log_url, embedder=None)
        ann = memory.conversation("acme", "ann", "monday")
        await asyncio.gather(*(ann.aadd(f"parrot {number}") for number in range(20)))
        found = await ann.asearch("parrot", 20)
        await memory.aclose()
        return len(found)

    loop = uvloop.new_event_loop()
    assert loop.run_until_complete(story()) == 20
    loop.close()
