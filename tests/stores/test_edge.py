"""qdrant-edge: the port's contract, kills, one owner a folder, erased bytes, the graph's recall."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import (
    ForkedProcess,
    InvalidInput,
    MissingExtra,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import RemovedPoint
from rag_memory_plugins.stores import edge, mirrored
from rag_memory_plugins.stores.edge import EdgeStore
from rag_memory_plugins.stores.points import point_id
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.vector_points import ANN, message, ranked, units
from rag_memory_plugins.testing.vector_store import VectorStoreConformance

KILLS = 200 if os.environ.get("RAG_MEMORY_LONG") == "1" else 8
BOB = Scope("acme", "bob")
DIMENSION = 32


class TestConformance(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    async def aopen_store(self, place):
        return EdgeStore(self.folder / place)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr(edge, "SEARCH_SECONDS", 60.0)


@pytest.fixture
def served(tmp_path):
    """`served()`: a store that serves a log in this test's folder."""
    stores = []

    def make(**settings):
        store = EdgeStore(tmp_path / "vectors", **settings)
        stores.append(store)
        asyncio.run(store.aopen("log", "fp", DIMENSION))
        return store

    yield make
    for store in stores:
        store.close()


def put(store, *points):
    asyncio.run(store.aput(points))


def remove(store, seqs, scope=ANN):
    asyncio.run(store.aremove([RemovedPoint(scope, seq, 1) for seq in seqs]))


def near(store, vector, limit=10, scope=ANN):
    return asyncio.run(store.anearest(scope, "", vector, limit))


def held(store, scope=ANN, dimension=DIMENSION):
    return sorted(near(store, np.ones(dimension, np.float32), 10**5, scope))


def folder_bytes(folder):
    """What its files hold, without their empty pages."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return b"".join(path.read_bytes().replace(bytes(4096), b"") for path in files)


def test_no_acknowledged_point_is_lost_by_kills_of_the_shards_process(served):
    store, rng, acknowledged = served(exact_up_to=200), random.Random(5), 0
    vectors = units(20_000, DIMENSION)
    for _ in range(2 * KILLS):
        with suppress(StoreError):  # it is killed between two of them, too
            held(store)
        side = store._side
        timer = threading.Timer(rng.uniform(0, 0.15), side._process.kill)
        timer.start()
        while store._side is side and side.alive:
            batch = range(acknowledged, acknowledged + 25)
            try:
                put(store, *(message(seq, vectors[seq % 20_000]) for seq in batch))
            except StoreError:
                break
            acknowledged += 25
        timer.join()
    assert acknowledged
    kept = held(store)
    # What was in flight may be there as well: its batch is put again.
    assert kept[:acknowledged] == list(range(acknowledged))
    assert len(kept) <= acknowledged + 25


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.08])
def test_a_folder_whose_making_was_killed_opens(served, delay):
    store = served()

    def kill():
        while store._side is None and not stop.is_set():
            for pid in children() - before:  # a test's server is a child too
                stop.wait(delay)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return

    def children():
        found = set()
        for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
            with suppress(OSError):
                found.update(map(int, path.read_text().split()))
        return found

    before = children()
    stop = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    with suppress(StoreError):  # it may be through before
        put(store, message(1, units(1, DIMENSION)[0]))
    stop.set()
    killer.join()
    with suppress(StoreError):  # or only now
        held(store)
    put(store, message(1, units(1, DIMENSION)[0]))
    assert held(store) == [1]


def test_a_second_opener_is_told_who_has_the_folder(served):
    first, second = served(), served(lock_seconds=0.1)
    put(first, message(1, units(1, DIMENSION)[0]))
    with pytest.raises(StoreLocked, match=rf'"pid": {os.getpid()}.*one process at a time'):
        held(second)
    first.close()
    assert held(second) == [1]


def test_a_memory_without_the_folder_searches_by_keywords_and_says_so(served, opened, monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 2)
    stores = [served() for _ in range(2)]
    for store in stores:
        store._log = ""
    stores[1]._settings["lock_seconds"] = 0.1
    memory = opened(index=stores[0])
    memory.conversation("acme", "ann", "monday").add(["a red piano", "a violin", "a kettle"])
    memory.settle()
    other = opened(index=stores[1])
    found = other.conversation("acme", "ann", "monday").search("a piano", limit=1)
    assert [hit.message.content for hit in found.hits] == ["a red piano"]
    assert "StoreLocked" in found.degraded[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_may_not_use_its_parents_store(served):
    store = served()
    put(store, message(1, units(1, DIMENSION)[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of fork with threads
        child = os.fork()
    if not child:
        code = 1
        try:
            for work in (
                lambda: near(store, units(1, DIMENSION)[0]),
                lambda: put(store, message(2, units(1, DIMENSION)[0])),
                lambda: remove(store, [1]),
                lambda: asyncio.run(store.aclose()),
            ):
                with pytest.raises(ForkedProcess, match="use the store in one process"):
                    work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert held(store) == [1]


def test_the_engine_is_not_in_this_process(served):
    # It holds Python's lock while it builds graphs: no chat would go on.
    code = """
import asyncio, sys, numpy as np
from rag_memory_plugins.stores.edge import EdgeStore
from rag_memory_plugins.testing.vector_points import message, units
async def main():
    store = EdgeStore(sys.argv[1])
    await store.aopen("log", "fp", 8)
    await store.aput([message(1, units(1, 8)[0])])
    await store.aclose()
asyncio.run(main())
print("qdrant_edge" in sys.modules)
"""
    path = served().path / "own"
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.skipif(os.name != "posix", reason="reads process ids")
def test_the_shards_process_ends_with_a_store_that_is_dropped(tmp_path):
    store = EdgeStore(tmp_path)
    asyncio.run(store.aopen("log", "fp", DIMENSION))
    put(store, message(1, units(1, DIMENSION)[0]))
    process = store._side._process
    store._changing.close()
    store._searching.close()
    del store
    process.wait(10)


def test_bytes_of_what_was_removed_are_in_no_file(served, tmp_path):
    rng = np.random.default_rng(5)
    vectors = dict(enumerate(units(600, DIMENSION), 1))
    store, gone, there = served(exact_up_to=50), [], {}
    for number in range(6):
        seqs = [int(seq) for seq in rng.choice(300, 60) + 1]
        # A message put again with another vector leaves the bytes of both to be erased.
        again = 300 * (number % 2)
        put(store, *(message(seq, vectors[seq + again]) for seq in seqs))
        for seq in seqs:
            there.setdefault(seq, set()).add(seq + again)
        out = [seq for seq in list(there) if rng.random() < 0.3]
        remove(store, [*out, 999])
        for seq in out:
            gone += [(seq, row) for row in there.pop(seq)]
        if number == 3:
            store.close()
            store = served(exact_up_to=50)
        data = folder_bytes(tmp_path / "vectors")
        left = {row for rows in there.values() for row in rows}
        for seq, row in gone:
            assert row in left or vectors[row].tobytes()[:24] not in data
            name = bytes.fromhex(point_id("log", ANN, seq, 0).replace("-", ""))
            assert seq in there or name not in data
        for seq in there:
            name = bytes.fromhex(point_id("log", ANN, seq, 0).replace("-", ""))
            assert name in data or name[::-1] in data  # the scan finds what is there
    assert held(store) == sorted(there)


def test_bytes_of_a_graph_whose_building_was_killed_are_removed_too(served, tmp_path):
    store = served(exact_up_to=500, ef_construct=2_000)
    vectors = units(2_000, DIMENSION)
    put(store, *(message(number, vector) for number, vector in enumerate(vectors)))
    process = store._side._process
    half = list((tmp_path / "vectors").glob("*/temp_segments/*/vector_storage"))
    while not half and store._side._building and not store._side.free:
        half = list((tmp_path / "vectors").glob("*/temp_segments/*/vector_storage"))
    process.kill()
    process.wait()
    assert half
    assert held(store) == list(range(2_000))
    remove(store, range(1_999))
    data = folder_bytes(tmp_path / "vectors")
    assert [vector.tobytes()[:24] in data for vector in vectors] == [False] * 1_999 + [True]


def test_an_erased_user_leaves_nothing_in_the_folder_when_the_receipt_says_so(
    served, opened, tmp_path
):
    store = served()
    store._log = ""
    memory = opened(index=store)
    texts = [f"MARKER{n}QZX is a word of ann's about number {n}" for n in range(300)]
    ann = memory.conversation("acme", "ann", "monday")
    ann.add([Message("user", text) for text in texts])
    memory.conversation("acme", "bob", "monday").add("what bob said")
    memory.settle()
    vectors = asyncio.run(WordEmbedder().aembed_documents([*texts, "what bob said"]))
    parts = [vector.astype("<f2").astype("<f4").tobytes()[4:20] for vector in vectors]
    before = folder_bytes(tmp_path / "vectors")
    assert [part in before for part in parts] == [True] * 301
    assert b"MARKER" not in before
    assert b"acme" not in before
    assert ann.erase().complete
    after = folder_bytes(tmp_path / "vectors")
    assert [part in after for part in parts] == [False] * 300 + [True]


def test_a_users_graph_finds_what_comparing_all_finds(served):
    store, count = served(exact_up_to=1_000), 10_000
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((50, DIMENSION))
    rows = centres[rng.integers(50, size=count)] + rng.standard_normal((count, DIMENSION))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    put(store, *(message(number, vector) for number, vector in enumerate(vectors)))
    right = 0
    for question in vectors[:50] + 0.1 * units(50, DIMENSION):
        best = ranked(vectors, question)[:10]
        right += len({*best} & {*near(store, question, 10)})
    assert right / 500 >= 0.95
    quick = served(exact_up_to=1_000, ef_search=1)
    store.close()
    few = [near(quick, question, 1)[0] for question in units(50, DIMENSION, seed=8)]
    best = [ranked(vectors, question)[0] for question in units(50, DIMENSION, seed=8)]
    assert few != best  # it is a graph that is searched


def test_a_search_does_not_wait_for_a_graph_that_is_built(served, monkeypatch):
    store = served(exact_up_to=1_000, ef_construct=2_000)
    vectors = units(4_000, DIMENSION)
    put(store, *(message(number, vector) for number, vector in enumerate(vectors)))
    monkeypatch.setattr(edge, "SEARCH_SECONDS", 0.02)
    with pytest.raises(StoreLocked, match="busy with graphs"):
        near(store, vectors[7])
    monkeypatch.setattr(edge, "SEARCH_SECONDS", 60.0)
    assert near(store, vectors[7])[0] == 7


def test_a_process_that_ended_is_started_again(served):
    store = served()
    put(store, message(1, units(1, DIMENSION)[0]))
    store._side._process.kill()
    store._side._process.wait()
    assert held(store) == [1]


def test_a_folder_of_another_dimension_says_what_to_do(served, tmp_path):
    store = served()
    put(store, message(1, units(1, DIMENSION)[0]))
    store.close()
    other = EdgeStore(tmp_path / "vectors")
    asyncio.run(other.aopen("log", "fp", 16))
    with pytest.raises(StoreCorrupt, match=r"32.*memory\.rebuild"):
        held(other, dimension=16)
    other.close()


def test_a_store_that_was_closed_or_serves_no_memory_says_so(served, tmp_path):
    store = served()
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="make a new EdgeStore"):
        held(store)
    with pytest.raises(StoreClosed):
        asyncio.run(store.aopen("log", "fp", DIMENSION))
    with pytest.raises(StoreError, match="pass it to open_memory as index="):
        held(EdgeStore(tmp_path))


def test_a_store_serves_one_memory(served):
    with pytest.raises(InvalidInput, match="a folder of its own"):
        asyncio.run(served().aopen("other", "fp", DIMENSION))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("m", 1),
        ("m", 16.0),
        ("ef_construct", 0),
        ("ef_search", 0),
        ("exact_up_to", 0),
        ("name", ""),
    ],
)
def test_a_setting_out_of_range_is_refused(tmp_path, setting, value):
    with pytest.raises(InvalidInput, match=setting):
        EdgeStore(tmp_path, **{setting: value})


def test_without_the_engine_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(edge.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[qdrant-edge\]"):
        EdgeStore(tmp_path)


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("Locked", '{"pid": 7}', StoreLocked),
        ("Exception", "Service runtime error: No space left on device (os error 28)", StoreFull),
        ("OSError", "[Errno 122] Disk quota exceeded", StoreFull),
        ("PermissionError", "[Errno 13] Permission denied: '/x'", StoreReadOnly),
        ("OSError", "[Errno 30] Read-only file system: '/x'", StoreReadOnly),
        ("Exception", "Service runtime error: config is incompatible", StoreCorrupt),
        ("PanicException", "index out of bounds", StoreError),
        ("ValueError", "failed to parse", StoreError),
    ],
)
def test_every_failure_of_the_engine_is_one_of_ours(kind, text, error):
    assert type(edge._mapped("edge", "/folder", kind, text)) is error


def test_the_engine_has_no_errors_of_its_own():
    # If it gets some they are to be mapped by class, above.
    import qdrant_edge

    own = [
        name for name in dir(qdrant_edge) if "error" in name.lower() or "exception" in name.lower()
    ]
    assert own == []


def test_a_damaged_folder_is_an_error_of_ours(served, tmp_path):
    store = served()
    put(store, message(1, units(1, DIMENSION)[0]))
    store.close()
    for path in (tmp_path / "vectors").rglob("segment.json"):
        path.write_text("{")
    with pytest.raises(StoreError, match="vectors"):
        held(served())


def test_a_folder_that_was_deleted_gets_everything_again(tmp_path, words):
    url = f"edge:///{tmp_path / 'vectors'}"
    for _ in range(2):
        with open_memory(tmp_path / "memory.db", index=url, embedder=words) as memory:
            if not memory.namespaces():
                memory.conversation("acme", "ann", "monday").add("the parrot", id="m1")
            memory.settle()
            scope = memory.conversation("acme", "ann", "monday").namespace.scope
            vector = memory.portal.call(words.aembed_query("parrot"))
            found = memory.portal.call(memory.index.store.anearest(scope, "", vector, 5))
            assert len(found) == 1
        shutil.rmtree(tmp_path / "vectors")
