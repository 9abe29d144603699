"""A memory copied to another place: nothing lost, nothing twice, answers alike."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rag_memory_plugins import SHARED, Message, Scope, ToolCall, open_memory
from rag_memory_plugins.admin.checking import compare
from rag_memory_plugins.admin.migrating import migrate
from rag_memory_plugins.errors import StoreCorrupt, StoreError
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.stores.moving import COPIED, LEFT, OF_INDEX
from rag_memory_plugins.stores.schema import metadata
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.stores.conftest import log_url, postgres

KILLS = 50 if os.environ.get("RAG_MEMORY_LONG") == "1" else 3
__all__ = ["log_url", "postgres"]

MOVER = """
import sys
from rag_memory_plugins.admin.migrating import migrate
from rag_memory_plugins.stores import moving
from rag_memory_plugins.testing.fakes import WordEmbedder
moving._ROWS = 7
print("begun", flush=True)
migrate(sys.argv[1], sys.argv[2], embedder=WordEmbedder())
"""


def fill(path, messages=60):
    """Two tenants with all that a log can hold, some of it erased."""
    with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(
            [Message("user", f"turn {n} of the piano {n % 7}", id=f"m{n}") for n in range(messages)]
        )
        ann.add(
            [
                Message("assistant", "", id="call", tool_calls=(ToolCall("c1", "look", "{}"),)),
                Message("tool", "it is blue", id="result", tool_call_id="c1"),
            ]
        )
        memory.conversation("acme", "bob/1", "größe").add("Ich wohne in Köln", id="m1")
        memory.conversation("globex", SHARED, "rules").add("No shoes", id="r1")
        memory.conversation("globex", "zoe", "last").add("to be erased", id="z")
        ann.pin("m3")
        ann.forget(["m5"])
        memory.portal.call(memory.log.aarchive(ann.namespace, ["m0", "m1"]))
        shelf = Shelf(memory, Scope("acme", "ann", items=True))
        item = Message("user", "likes tea", id="taste", metadata={"drink": "tea"})
        memory.portal.call(shelf.achange([ItemChange("people/ann", "taste", item)]))
        memory.settle()
        memory.conversation("globex", "zoe", "last").erase("user")
        return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("source") / "memory.db")


def test_every_table_is_copied_or_stays_behind_for_a_reason():
    known = {table.name for table in (*COPIED, *OF_INDEX)} | set(LEFT)
    assert known == set(metadata.tables)


def test_sqlite_to_postgres_and_back_answers_alike_and_embeds_nothing(source, log_url, tmp_path):
    embedder = WordEmbedder()
    there = migrate(source, log_url, embedder=embedder)
    back = migrate(log_url, tmp_path / "back.db", embedder=embedder)
    assert there.complete
    assert back.complete
    assert embedder.embedded == []
    assert there.compared.searches == there.compared.dense == 3
    assert compare(source, tmp_path / "back.db", embedder=embedder).alike
    with open_memory(log_url, embedder=embedder, background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("the newest", id="new")  # a number that was never given out
        assert ann.messages()[-1].id == "new"
        assert [
            item.message.id for item in memory.portal.call(memory.log.apins(ann.namespace))
        ] == ["m3"]
        assert memory.settle() == 0
        assert memory.health()["problems"] == []
    assert not compare(source, log_url, embedder=embedder).alike


def test_erased_numbers_are_not_given_out_again(source, tmp_path):
    migrate(source, tmp_path / "new.db", embedder=None)
    seqs = []
    for path in (source, tmp_path / "new.db"):
        copy = tmp_path / f"copy{len(seqs)}.db"
        migrate(path, copy, embedder=None)
        with open_memory(copy, embedder=None, background=False) as memory:
            zoe = memory.conversation("globex", "zoe", "last")
            zoe.add("again", id="z")
            seqs.append(memory.portal.call(memory.log.arecent(zoe.namespace, 1))[0].seq)
    assert seqs[0] == seqs[1] > 65


def test_the_secret_goes_along_so_that_fences_stay_the_same(source, tmp_path):
    migrate(source, tmp_path / "new.db", embedder=None)
    fences = []
    for path in (source, tmp_path / "new.db"):
        with open_memory(path, embedder=None, background=False) as memory:
            ann = memory.conversation("acme", "ann", "monday")
            fences.append(ann.context("piano", 500).text)
    assert fences[0] == fences[1]


def test_another_embedder_gets_all_its_vectors(source, tmp_path):
    other = WordEmbedder(name="other", dimension=32)
    done = migrate(source, tmp_path / "new.db", embedder=other)
    assert done.complete
    assert len(other.embedded) == done.rows["messages"]


def test_the_targets_vector_store_is_filled_too(source, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 0)  # every user's vectors are asked of the store
    index = f"edge:///{tmp_path / 'vectors'}"
    done = migrate(source, tmp_path / "new.db", index=index, embedder=WordEmbedder())
    assert done.complete
    assert not done.unmirrored
    options = {"embedder": WordEmbedder(), "index": index, "background": False}
    with open_memory(tmp_path / "new.db", **options) as memory:
        found = memory.conversation("acme", "ann", "monday").search("turn 17 of the piano")
        assert found.lanes["dense"] == "ok"
        assert found.degraded == ()
        assert not memory.portal.call(memory.index.abehind())
        near = memory.index.store.anearest(Scope("acme", "ann"), "", np.ones(64, np.float32), 1_000)
        assert len(memory.portal.call(near)) == 61  # its messages; nothing of other users


def test_a_target_with_other_data_is_refused_and_left_alone(source, tmp_path):
    other = tmp_path / "other.db"
    with open_memory(other, embedder=None) as memory:
        memory.conversation("acme", "ann", "monday").add("mine", id="m1")
    with pytest.raises(StoreError, match="other data"):
        migrate(source, other, embedder=None)
    with pytest.raises(StoreError, match="same database"):
        migrate(source, source, embedder=None)
    with open_memory(other, embedder=None) as memory:
        assert [m.content for m in memory.conversation("acme", "ann", "monday").messages()] == [
            "mine"
        ]


def test_a_half_filled_target_cannot_be_opened(source, tmp_path):
    def stop(what, _done, _of):
        if what == "keywords":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        migrate(source, tmp_path / "new.db", embedder=None, progress=stop)
    with pytest.raises(StoreCorrupt, match="migrate"):
        open_memory(tmp_path / "new.db", embedder=None)
    assert migrate(source, tmp_path / "new.db", embedder=None).complete


def test_what_was_written_meanwhile_shows_in_the_comparison(tmp_path):
    source = fill(tmp_path / "old.db", 5)
    migrate(source, tmp_path / "new.db", embedder=None)
    with open_memory(source, embedder=None) as memory:
        memory.conversation("acme", "ann", "monday").forget(["m2"])
    found = compare(source, tmp_path / "new.db", embedder=None)
    assert found.different == ("acme/ann",)


def test_a_killed_migration_goes_on_where_it_was(source, tmp_path):
    rng = random.Random(3)
    target = tmp_path / "new.db"
    command = [sys.executable, "-c", MOVER, str(source), str(target)]
    for _ in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.2, 0.8))  # a moment of no importance
            process.send_signal(signal.SIGKILL)
    done = migrate(source, target, embedder=WordEmbedder())
    assert done.complete
    assert done.rows["messages"] == 64
