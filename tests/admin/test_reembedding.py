"""A new embedder is filled beside the one that serves, and the old one dropped."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.admin.reembedding import drop_index, reembed
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.testing.fakes import WordEmbedder

KILLS = 50 if os.environ.get("RAG_MEMORY_LONG") == "1" else 3

FILLER = """
import sys
from rag_memory_plugins.admin.reembedding import reembed
from rag_memory_plugins.memory import outbox
from rag_memory_plugins.testing.fakes import WordEmbedder
outbox.BATCH = 4
print("begun", flush=True)
reembed(sys.argv[1], WordEmbedder(name="new", dimension=32))
"""


def new():
    return WordEmbedder(name="new", dimension=32)


def vectors_of(path):
    """How many vectors each embedder has, and how many messages there are."""
    query = "SELECT fingerprint, (SELECT count(*) FROM vectors v WHERE v.index_id = i.id) FROM indexes i"
    with closing(sqlite3.connect(path)) as raw:
        return dict(raw.execute(query)), raw.execute("SELECT count(*) FROM messages").fetchone()[0]


def said(memory, start, count):
    batch = [
        Message("user", f"turn {n} of the piano {n % 7}", id=f"m{n}")
        for n in range(start, start + count)
    ]
    memory.conversation("acme", "ann", "monday").add(batch)


def test_kills_lose_nothing_and_the_old_one_serves_all_the_time(opened, tmp_path):
    path, old = tmp_path / "memory.db", WordEmbedder().fingerprint
    memory = opened()
    said(memory, 0, 300)
    memory.settle()
    rng = random.Random(5)
    for number in range(KILLS):
        command = [sys.executable, "-c", FILLER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            said(memory, 300 + number, 1)
            memory.settle()
            found = memory.conversation("acme", "ann", "monday").search("piano 3")
            assert found.lanes["dense"] == "ok"
            time.sleep(rng.uniform(0.05, 0.4))  # a moment of no importance
            process.send_signal(signal.SIGKILL)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE outbox SET due = 0")  # the leases of the killed are over
    assert reembed(path, new()).whole
    assert vectors_of(path) == ({old: 300 + KILLS, "new/1/32": 300 + KILLS}, 300 + KILLS)
    assert memory.health()["embedders"] == {old: "active", "new/1/32": "being filled"}


def test_it_follows_what_is_added_until_it_is_told_to_end(opened, tmp_path):
    memory = opened()
    said(memory, 0, 20)
    memory.settle()
    first, end = threading.Event(), threading.Event()

    def progress(_what, done, of):
        if done < of:
            first.set()

    with ThreadPoolExecutor(1) as pool:
        path = tmp_path / "memory.db"
        filling = pool.submit(reembed, path, new(), follow=end, progress=progress)
        assert first.wait(30)
        for number in range(20, 25):
            said(memory, number, 1)
        assert not filling.done()
        end.set()
        assert filling.result(60).whole
    assert vectors_of(path)[0]["new/1/32"] == 25


def test_the_switch_lacks_nothing_and_no_query_meets_vectors_of_the_other(opened, tmp_path):
    memory = opened()
    said(memory, 0, 40)
    memory.settle()
    assert reembed(tmp_path / "memory.db", new()).whole
    said(memory, 40, 3)  # after it was whole: both will get them
    memory.settle()
    later = opened(embedder=new())
    ann, again = (m.conversation("acme", "ann", "monday") for m in (memory, later))
    assert again.search("piano 3").lanes["dense"] == "ok"
    assert ann.search("piano 3").lanes["dense"] == "ok"
    alone = open_memory(tmp_path / "alone.db", embedder=new(), background=False)
    with alone:
        said(alone, 0, 43)
        alone.settle()
        expected = [
            (h.message.id, h.score)
            for h in alone.conversation("acme", "ann", "monday").search("piano 3")
        ]
    assert [(h.message.id, h.score) for h in again.search("piano 3")] == expected


def test_a_dropped_index_leaves_no_vector_and_the_last_one_stays(opened, tmp_path):
    path, old = tmp_path / "memory.db", WordEmbedder().fingerprint
    with opened() as memory:
        said(memory, 0, 5)
        memory.settle()
    with pytest.raises(InvalidInput, match="searches use it"):
        drop_index(path, old)
    with pytest.raises(InvalidInput, match="known: words"):
        drop_index(path, "nobody")
    assert reembed(path, new()).whole
    with pytest.raises(InvalidInput, match="searches use it"):
        drop_index(path, old)
    opened(embedder=new()).close()
    assert drop_index(path, old).vectors == 5
    assert vectors_of(path) == ({"new/1/32": 5}, 5)


def test_a_process_that_still_uses_a_dropped_index_makes_it_anew(opened, tmp_path):
    memory = opened()
    said(memory, 0, 5)
    memory.settle()
    assert reembed(tmp_path / "memory.db", new()).whole
    opened(embedder=new())
    drop_index(tmp_path / "memory.db", WordEmbedder().fingerprint)
    ann = memory.conversation("acme", "ann", "monday")
    ann.search("piano 3")
    memory.settle()
    assert ann.search("piano 3").lanes["dense"] == "ok"
    assert vectors_of(tmp_path / "memory.db")[0] == {"new/1/32": 5, "words/1/64": 5}


def test_a_vector_store_is_filled_too_and_emptied_when_its_index_is_dropped(tmp_path):
    path = tmp_path / "memory.db"
    index = f"edge:///{tmp_path / 'vectors'}"
    with open_memory(path, embedder=WordEmbedder(), index=index, background=False) as memory:
        said(memory, 0, 5)
        memory.settle()
    done = reembed(path, new(), index=f"edge:///{tmp_path / 'others'}")
    assert done.whole
    with open_memory(path, embedder=new(), index=f"edge:///{tmp_path / 'others'}") as memory:
        ann = memory.conversation("acme", "ann", "monday").namespace
        question = memory.portal.call(memory.embedder.aembed_query("piano"))
        near = memory.portal.call(memory.index.store.anearest(ann.scope, "piano", question, 9))
        assert len(near) == 5
    assert drop_index(path, WordEmbedder().fingerprint, index=index).still_in == ()
