"""Many processes and threads on one file: nothing lost, order kept, no lock reaches the caller."""

from __future__ import annotations

import os

import pytest

from rag_memory_plugins import open_memory
from tests.stores.forks import IMPORTS, said_by

PROCESSES, THREADS, TURNS = 8, 8, 12

WORKER = """
import threading
path, process, threads, turns = sys.argv[2], number, *map(int, sys.argv[3:])
errors = []
memory = open_memory(path, embedder=WordEmbedder())
def work(thread):
    own = memory.conversation("acme", "ann", f"{process}-{thread}")
    common = memory.conversation("acme", "ann", "common")
    try:
        for turn in range(turns):
            own.add(f"turn {turn} of the piano", id=f"t{turn}")
            common.add("yes", id=f"{process}-{thread}-{turn}")
            found = own.search("piano", 3)
            assert not found.degraded, found.degraded
            assert len(own.recent(100)) == turn + 1
    except BaseException as error:
        errors.append(error)
        raise
workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
[w.start() for w in workers]
[w.join() for w in workers]
memory.close()
sys.exit(1 if errors else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_eight_processes_of_eight_threads_write_and_search_one_file(tmp_path):
    path = tmp_path / "memory.db"
    (tmp_path / "said").mkdir()
    counts = (str(THREADS), str(TURNS))
    said_by(PROCESSES, WORKER, str(path), *counts, imports=IMPORTS, folder=tmp_path / "said")
    with open_memory(path, embedder=None, background=False) as memory:
        for process in range(PROCESSES):
            for thread in range(THREADS):
                own = memory.conversation("acme", "ann", f"{process}-{thread}").messages()
                assert [m.id for m in own] == [f"t{turn}" for turn in range(TURNS)]
        common = [m.id for m in memory.conversation("acme", "ann", "common").messages()]
        assert len(common) == PROCESSES * THREADS * TURNS == len(set(common))
        for process in range(PROCESSES):
            for thread in range(THREADS):
                own = [i for i in common if i.startswith(f"{process}-{thread}-")]
                assert own == [f"{process}-{thread}-{turn}" for turn in range(TURNS)]
        assert memory.health()["problems"] == []
