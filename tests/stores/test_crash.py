"""kill -9 at random moments: nothing acknowledged is lost, nothing is stored twice."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing

from rag_memory_plugins import open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.stores.killed import killed_writers

KILLS = 200 if os.environ.get("RAG_MEMORY_LONG") == "1" else 30


def test_a_killed_writer_loses_nothing_and_a_rebuild_finds_the_same(tmp_path):
    rng = random.Random(7)
    path = tmp_path / "memory.db"
    acknowledged = 0
    with killed_writers() as writers:
        killed = writers.acknowledged_until_killed
        assert killed(str(path), "", 0, since="begun", delay=0) is None  # nothing is open yet
        for _ in range(KILLS):
            delay = rng.uniform(0, 0.15)
            said = killed(str(path), "", acknowledged, since="open", delay=delay)
            acknowledged = acknowledged if said is None else said
    assert acknowledged > KILLS
    with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        stored = [message.id for message in ann.messages()]
        expected = [f"m{n}" for n in range(len(stored))]
        assert stored == expected  # in order, none missing, none twice
        assert len(stored) >= acknowledged
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute(
                "UPDATE outbox SET due = 0"
            )  # the minute of a killed worker's lease is over
        assert memory.settle(600) == 0
        assert memory.health()["problems"] == []
        before = [(hit.message.id, hit.score) for hit in ann.search("turn of the piano 3", 50)]
        assert memory.rebuild() == len(stored)
        assert memory.settle(600) == 0
        after = [(hit.message.id, hit.score) for hit in ann.search("turn of the piano 3", 50)]
        assert after == before
