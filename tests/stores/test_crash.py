"""kill -9 at random moments: nothing acknowledged is lost, nothing is stored twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

from rag_memory_plugins import open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder

KILLS = 200 if os.environ.get("RAG_MEMORY_LONG") == "1" else 50

# Writes m0, m1, ... and says each id once it is acknowledged; begins by sending the last batch
# that may have been in flight again, as a client would.
WRITER = """
import sys
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder
path, start = sys.argv[1], int(sys.argv[2])
memory = open_memory(path, embedder=WordEmbedder())
ann = memory.conversation("acme", "ann", "monday")
number = start
print("open", flush=True)
while True:
    size = 1 + number % 3
    batch = [Message("user", f"turn {n} of the piano {n % 7}", id=f"m{n}") for n in range(number, number + size)]
    ann.add(batch)
    number += size
    print(number, flush=True)
"""


def write_until_killed(path, start, delay):
    """Returns how many messages were acknowledged before SIGKILL."""
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    acknowledged, timer = start, None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if timer is None:  # from the first sign of life; the first writer dies before it
                timer = threading.Timer(delay, os.kill, (process.pid, signal.SIGKILL))
                timer.start()
            if line.endswith("\n") and line.strip().isdigit():
                acknowledged = int(line)
    timer.join()
    return acknowledged


def test_a_killed_writer_loses_nothing_and_a_rebuild_finds_the_same(tmp_path):
    rng = random.Random(7)
    path = tmp_path / "memory.db"
    acknowledged = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), "0"]) as opening:
        opening.send_signal(signal.SIGKILL)  # one dies before it has opened anything
    for _ in range(KILLS):
        acknowledged = write_until_killed(path, acknowledged, rng.uniform(0, 0.15))
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
