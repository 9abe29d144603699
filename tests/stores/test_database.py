"""Faults of the file: a typed error, and what was acknowledged is intact."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy.exc

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidURL,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreReadOnly,
    UnknownArgument,
)
from rag_memory_plugins.stores.sqlite import translated
from rag_memory_plugins.testing.fakes import WordEmbedder


def test_a_lock_held_too_long_is_a_typed_error_and_nothing_is_lost(opened, tmp_path):
    ann = opened(busy_timeout=0.05).conversation("acme", "ann", "monday")
    ann.add("before")
    other = sqlite3.connect(tmp_path / "memory.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked, match=r"memory\.db: .*raise busy_timeout"):
        ann.add("during")
    assert [m.content for m in ann.messages()] == ["before"]
    other.execute("ROLLBACK")
    other.close()
    ann.add("after")
    assert [m.content for m in ann.messages()] == ["before", "after"]


def test_a_memory_opened_read_only_reads_and_does_not_write(opened, tmp_path):
    opened().conversation("acme", "ann", "monday").add("the parrot")
    opened().settle()
    url = f"sqlite:////{str(tmp_path).lstrip('/')}/memory.db?mode=ro"
    with open_memory(url, embedder=WordEmbedder()) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        assert len(ann.search("parrot")) == 1
        for write in (lambda: ann.add("x"), ann.erase, lambda: ann.pin("x")):
            with pytest.raises(StoreReadOnly):
                write()


FULL = """
import resource, signal, sys
from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import StoreFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
memory = open_memory(sys.argv[1], embedder=None, background=False)
ann = memory.conversation("acme", "ann", "monday")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
count = 0
try:
    while True:
        ann.add("piano " * 400, id=str(count))
        count += 1
except StoreFull as error:
    print(count, "make room" in str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(ann.messages()) == count
ann.add("again")
memory.close()
"""


def test_a_full_disk_is_a_typed_error_and_what_was_acknowledged_stays(tmp_path):
    path = tmp_path / "memory.db"
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, told = done.stdout.split()
    assert told == "True"
    with open_memory(path, embedder=None) as memory:
        stored = memory.conversation("acme", "ann", "monday").messages()
        assert len(stored) == int(count) + 1
        assert memory.health()["problems"] == []


def test_files_of_others_are_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are notes, not a database\n" * 100)
    with pytest.raises(StoreCorrupt, match="pass the path of a memory"):
        open_memory(text)
    assert text.read_text().startswith("these are notes")
    foreign = tmp_path / "other.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        open_memory(foreign)


def test_a_newer_schema_is_refused(opened, tmp_path):
    opened().close()
    connection = sqlite3.connect(tmp_path / "memory.db")
    connection.execute("INSERT INTO schema_migrations VALUES (99, 'future')")
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorrupt, match="upgrade rag-memory-plugins"):
        opened()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreReadOnly, match="does not exist"):
        open_memory(tmp_path / "no" / "memory.db")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlit:///x.db", "did you mean sqlite://"),
        ("mongodb://x", "schemes: "),
        ("sqlite://", "sqlite:///relative.db"),
        ("sqlite:///x.db?mod=ro", "did you mean 'mode'"),
        ("sqlite:///x.db?mode=rx", "mode is ro or rw"),
        (":memory:", "temporary folder"),
        ("", "pass a path"),
    ],
)
def test_a_url_that_names_no_place_is_refused(url, words):
    with pytest.raises(InvalidURL, match=words.replace("?", r"\?")):
        open_memory(url)


def test_unknown_and_unusable_options_are_refused(tmp_path):
    with pytest.raises(
        UnknownArgument, match=r"^open_memory\(embeder=\): .*did you mean 'embedder'"
    ):
        open_memory(tmp_path / "x.db", embeder=None)
    for options in ({"busy_timeout": -1}, {"cache_bytes": "1"}, {"hooks": [3]}, {"embedder": 3}):
        with pytest.raises(InvalidInput):
            open_memory(tmp_path / "x.db", **options)
    assert not (tmp_path / "x.db").exists()


def client_errors(base):
    yield base
    for kind in base.__subclasses__():
        yield from client_errors(kind)


@pytest.mark.parametrize("kind", list(client_errors(sqlite3.Error)), ids=lambda k: k.__name__)
def test_every_error_of_sqlite_is_translated(kind, tmp_path):
    with (
        pytest.raises(StoreError, match=r"memory\.db") as caught,
        translated(tmp_path / "memory.db"),
    ):
        raise kind("trouble")
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    "kind", list(client_errors(sqlalchemy.exc.SQLAlchemyError)), ids=lambda k: k.__name__
)
def test_every_error_of_sqlalchemy_is_translated(kind, tmp_path):
    error = kind.__new__(kind)
    error.__dict__.update(detail=[], statement=None, params=None, orig=None, code=None)
    Exception.__init__(error, "trouble")
    with pytest.raises(StoreError), translated(tmp_path / "memory.db"):
        raise error


def test_units_that_wait_are_committed_together_and_fail_alone(opened):
    import asyncio

    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("taken", id="m7")

    async def burst():
        adds = [ann.aadd(f"turn {n}", id=f"m{n}") for n in range(40)]
        return await asyncio.gather(*adds, return_exceptions=True)

    results = asyncio.run(burst())
    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [7]
    assert len(ann.messages()) == 40
