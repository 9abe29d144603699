"""kill -9 of a writer, its vector store and its server: no acknowledged turn is lost or twice."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing

import psycopg
import pytest
import qdrant_edge

from rag_memory_plugins import open_memory
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.stores import edge
from rag_memory_plugins.stores.edge import EdgeStore
from rag_memory_plugins.stores.edge_process import Shard
from rag_memory_plugins.stores.points import seqs_of
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.stores.killed import killed_writers
from tests.stores.servers import PostgresServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by process group")

LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
KILLS = 200 if LONG else 5
SERVER_KILLS = 20 if LONG else 1
ENDED = ("UPDATE {}outbox SET due = 0", "UPDATE {}mirrors SET due = 0")
"""The minute of a killed worker's leases is over."""


def nothing() -> None:
    """Kill the writer alone."""


def held_by(store) -> list[int]:
    """Numbers of all messages that have a point, each as often as it has one.

    Read one by one: a graph that is searched may leave out what is there.
    """
    shard = Shard(store._folder, store._settings)
    points, _ = shard._shard.scroll(qdrant_edge.ScrollRequest(limit=10**6))
    shard.close()
    names = [str(point.id) for point in points]
    seqs, foreign = seqs_of(names, store._log, Scope("acme", "ann"))
    assert (foreign, len(seqs)) == (0, len(names))
    return sorted(seqs)


class InFile:
    def __init__(self, folder) -> None:
        self.url = folder / "memory.db"

    def end_leases(self) -> None:
        if self.url.exists():
            with closing(sqlite3.connect(self.url, timeout=10)) as raw, raw:
                if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'mirrors'").fetchone():
                    for statement in ENDED:
                        raw.execute(statement.format(""))

    def restart(self) -> None:
        """There is no server."""

    def close(self) -> None:
        """Nothing is open."""


class InPostgres:
    def __init__(self) -> None:
        self._server = PostgresServer(fsync="on")
        self._server.__enter__()
        self.url = self._server.url()

    def end_leases(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as raw:
            if raw.execute("SELECT to_regclass('rag_memory.mirrors')").fetchone() != (None,):
                for statement in ENDED:
                    raw.execute(statement.format("rag_memory."))

    def restart(self) -> None:
        """As after a crash: "immediate", so it recovers from its write-ahead log."""
        self._server.stop()
        self._server.start()

    def close(self) -> None:
        self._server.__exit__()


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    with closing(InFile(tmp_path) if request.param == "sqlite" else InPostgres()) as made:
        yield made


@pytest.mark.timeout(1_800 if LONG else 300)
def test_no_acknowledged_turn_is_lost_or_twice_by_kills_and_the_index_equals_the_log(
    log, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(edge, "SEARCH_SECONDS", 60.0)
    rng, acknowledged = random.Random(5), 0
    every = KILLS // SERVER_KILLS
    with killed_writers(engines=True) as writers:
        for number in range(KILLS):
            said = writers.acknowledged_until_killed(
                str(log.url),
                str(tmp_path / "vectors"),
                acknowledged,
                # Some are killed while they make the log, others while they make the shard.
                since="begun" if number % 8 == 0 else "open",
                delay=rng.uniform(0, 0.6),
                meanwhile=log.restart if number % every == every // 2 else nothing,
            )
            acknowledged = acknowledged if said is None else said
            log.end_leases()
    store = EdgeStore(tmp_path / "vectors", exact_up_to=100, lock_seconds=20.0)
    with open_memory(log.url, embedder=WordEmbedder(), index=store, background=False) as memory:
        stored = memory.conversation("acme", "ann", "monday").messages()
        assert [item.id for item in stored] == [f"m{n}" for n in range(len(stored))]
        assert len(stored) >= acknowledged > 0
        assert memory.settle(600) == 0
        query = "SELECT seq FROM messages ORDER BY seq"
        reading = memory.log.database.aread(lambda c: c.exec_driver_sql(query).scalars().all())
        said = list(memory.portal.call(reading))
        found = memory.conversation("acme", "ann", "monday").search("turn 1 of the piano 1")
        assert found.lanes["dense"] == "ok"
    store.close()
    assert held_by(store) == said
    print(f"\n{KILLS} kills, {acknowledged} acknowledged, {len(stored)} stored")  # noqa: T201
