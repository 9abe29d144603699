"""Erase is physical: no byte of it in any file, and no process returns it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rag_memory_plugins import Message, ToolCall, open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder

MARKERS = [f"MARKER{n:03d}QZX" for n in range(100)]


def stored_bytes(path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(path.parent.glob(path.name + "*")))


def vector_bytes(vector) -> list[bytes]:
    # Part of it is enough: a torn copy counts as found.
    return [vector.astype("<f2").tobytes()[8:24], vector.astype("<f4").tobytes()[16:32]]


def fill(memory):
    """Secrets in texts, names, ids, tools and metadata, among what stays; in random-like order."""
    rng = np.random.default_rng(3)
    ann, keep = memory.conversation("acme", "ann", "s"), memory.conversation("acme", "bob", "s")
    for n, marker in enumerate(MARKERS):
        field = n % 5
        ann.add(
            [
                Message("user", f"{marker} in a text " * (1 + n % 90), id=f"x{rng.integers(1e9)}"),
                Message("user", "named", name=marker, metadata={"key": [marker]}),
                Message("assistant", "", id=f"id-{marker}-{n}",
                        tool_calls=(ToolCall(f"c{n}", "look", f'{{"q": "{marker}"}}'),)),
                Message("tool", f"result {marker}" * (1 + 50 * (field == 4)), tool_call_id=f"c{n}"),
            ]
        )  # fmt: skip
        keep.add([f"kept turn {n} {'about the garden ' * (n % 60)}", "yes"])
    memory.conversation("acme", "ann", MARKERS[0]).add("in a session of that name", id=MARKERS[1])
    return ann


def vectors_of(texts):
    import asyncio

    return [v[0] for v in asyncio.run(WordEmbedder().aembed_documents(texts))]


@pytest.mark.parametrize("settled", [True, False])
def test_no_byte_of_an_erased_user_is_left(opened, tmp_path, settled):
    memory = opened()
    ann = fill(memory)
    if settled:
        memory.settle(600)
    path = tmp_path / "memory.db"
    secret_vectors = vectors_of(
        [f"{marker} in a text " * (1 + n % 90) for n, marker in enumerate(MARKERS)]
    )
    if settled:
        before = stored_bytes(path)
        assert all(vector_bytes(v)[0] in before for v in secret_vectors[:5])
    receipt = ann.erase(level="user")
    assert receipt.complete
    assert receipt.messages == 401
    left = stored_bytes(path)
    assert [m for m in MARKERS if m.encode() in left] == []
    assert [
        n for n, v in enumerate(secret_vectors) for part in vector_bytes(v) if part in left
    ] == []
    assert memory.conversation("acme", "bob", "s").stats().messages == 200
    assert memory.health()["problems"] == []


def test_a_forgotten_message_and_an_erased_session_are_gone_too(opened, tmp_path):
    memory = opened()
    ann = fill(memory)
    memory.settle(600)
    ids = [m.id for m in ann.messages() if any(marker in m.content for marker in MARKERS[:10])]
    receipt = ann.forget(ids)
    assert receipt.complete
    assert receipt.messages == len(ids)
    path = tmp_path / "memory.db"
    assert memory.conversation("acme", "ann", MARKERS[0]).erase().complete
    assert MARKERS[0].encode() + b"in" not in stored_bytes(path)
    assert ann.erase().complete
    assert [m for m in MARKERS if m.encode() in stored_bytes(path)] == []


def test_a_message_with_an_erased_id_can_be_said_anew(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("old parrot", id="m1")
    ann.search("parrot")
    ann.erase(level="user")
    ann.add("new parrot", id="m1")
    assert [hit.message.content for hit in ann.search("parrot")] == ["new parrot"]


# Reads one user over and over and says what it sees; a line on stdin ends it.
READER = """
import sys, threading
from rag_memory_plugins import open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder
mode, path = sys.argv[1:]
memory = open_memory(path, embedder=WordEmbedder(), background=False, drain_seconds=0)
ann = memory.conversation("acme", "ann", "s")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
print("ready", flush=True)
while not stop.is_set():
    if mode == "read":
        ann.search("in a text", 50); ann.context("in a text", 2000)
    else:
        memory.settle(0.05)
found = [m.content for m in ann.messages()] + [h.message.content for h in ann.search("in a text", 50)]
print(len(found), flush=True)
memory.close()
"""


def test_no_process_returns_what_another_erased(opened, tmp_path):
    memory = opened()
    ann = fill(memory)
    path = tmp_path / "memory.db"
    others = [
        subprocess.Popen(
            [sys.executable, "-c", READER, mode, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for mode in ("read", "index")
    ]  # fmt: skip
    assert [other.stdout.readline() for other in others] == ["ready\n"] * 2
    ann.search("in a text")
    receipt = ann.erase(level="user")
    while not receipt.complete:  # a reader held an old state; asking again is harmless
        receipt = ann.erase(level="user")
    assert [other.communicate("stop\n")[0] for other in others] == ["0\n"] * 2
    left = stored_bytes(path)
    assert [m for m in MARKERS if m.encode() in left] == []
    vectors = vectors_of(
        [f"{marker} in a text " * (1 + n % 90) for n, marker in enumerate(MARKERS)]
    )
    assert [v for v in vectors if vector_bytes(v)[0] in left] == []


def test_a_reader_of_an_old_state_makes_the_receipt_pending_until_it_ends(tmp_path):
    import sqlite3

    path = tmp_path / "memory.db"
    with open_memory(path, embedder=None, busy_timeout=0.1, background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(MARKERS[0], id="m1")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        receipt = ann.erase()
        assert not receipt.complete
        assert "reader" in receipt.pending
        assert len(ann.messages()) == 0
        reader.execute("COMMIT")
        reader.close()
        assert ann.erase().complete
        assert MARKERS[0].encode() not in stored_bytes(path)
