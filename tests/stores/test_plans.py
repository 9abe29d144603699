"""No statement of a turn reads a table from end to end: work does not grow with what others said."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import datetime, timezone

import pytest
from sqlalchemy import Engine, event

from rag_memory_plugins import Filter, Message, open_memory
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.stores.schema import metadata

SMALL = {"indexes", "meta", "mirrors", "mirror_removals", "schema_migrations"}
"""A row an embedder, a vector store, a fact about the database, what a store has yet to remove."""
LARGE = metadata.tables.keys() - SMALL


@pytest.fixture
def statements():
    """What SQLite is told, with its values in it."""
    told = []

    def listen(client, _record):
        client.set_trace_callback(told.append)

    event.listen(Engine, "connect", listen)
    yield told
    event.remove(Engine, "connect", listen)


def scans(path, told):
    """(the table, the statement) of each step that reads a table or an index to its end."""
    found = set()
    with closing(sqlite3.connect(path)) as raw:
        for statement in dict.fromkeys(told):
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement, re.IGNORECASE):
                continue
            for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {statement}"):
                said = re.match(r"SCAN (\w+?)(?:_\d+)?\b", step)
                if said and said[1] in LARGE:
                    found.add((said[1], statement))
    return found


def said(ann, start, count):
    ann.add(
        [Message("user", f"the piano is {n % 7} feet", id=f"m{n}") for n in range(start, count)]
    )


def a_turn(ann):
    said(ann, 20, 23)
    said(ann, 20, 23)  # a client that tries again
    ann.search("how long is the piano?", window=2)
    ann.search("the piano", level="session", where=Filter(roles=["user"]))


def reading(ann):
    ann.context("how long is the piano?", 500)
    ann.recent(5)
    ann.around(["m3"], 2)
    list(ann.messages())
    ann.summary()


def changing(ann):
    ann.pin("m3")
    ann.context("the piano", 300)
    ann.unpin("m3")
    ann.forget(["m4"])
    ann.forget(where=Filter(roles=["assistant"]))
    ann.find(where=Filter(ids=["m5"]))


def working(ann):
    ann.memory.settle()
    ann.memory.backlog()


def shelving(ann):
    shelf = Shelf(ann.memory, Scope("acme", "ann", items=True))
    call = ann.memory.portal.call
    call(shelf.achange([ItemChange("people", "ann", Message("user", "likes tea", id="i"))]))
    call(shelf.alist("people", None, 10, 0))
    call(shelf.aget([("people", "ann")]))


def stating(ann):
    facts, entities = ann.facts, ann.entities
    ann.add("Ann lives in Porto", id="s1")
    facts.insert("Ann", "lives in", "Lisbon", sources="m3")
    facts.insert("Ann Lee", "lives in", "Porto", sources=["m4", "s1"])
    facts.insert("Ann", "knows", "Bob Kim", many=True)
    facts.query("where does Ann live?")
    facts.query(subject="Ann", predicate="lives in")
    facts.query()
    facts.query(subject="Ann", known_at=datetime.now(timezone.utc))
    facts.undo(facts.retract(facts.query(subject="Ann")[0]))
    facts.history("Ann")
    facts.undo(entities.merge("Ann", "Bob Kim"))
    entities.find("A. Lee")
    entities.neighbours("Ann", 2)
    ann.context("where does Ann live?", 500)
    ann.forget(["m3", "m4"])
    ann.memory.settle()


def erasing(ann):
    ann.erase("user")


def test_token_vectors_are_read_by_number_too(tmp_path, statements):
    path = tmp_path / "memory.db"
    with open_memory(path, background=False) as memory:  # the local model
        ann = memory.conversation("acme", "ann", "monday")
        said(ann, 0, 5)
        memory.settle()
        del statements[:]
        assert ann.search("how long is the piano?")
        told = list(statements)
    assert any("FROM tokens" in statement for statement in told)
    assert scans(path, told) == set()


@pytest.mark.parametrize("work", [a_turn, reading, changing, working, shelving, stating, erasing])
def test_no_statement_reads_a_table_from_end_to_end(tmp_path, words, statements, work):
    path = tmp_path / "memory.db"
    with open_memory(path, embedder=words, background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        said(ann, 0, 20)
        memory.settle()
        del statements[:]
        work(ann)
        told = list(statements)
        assert len(told) > 3
        assert scans(path, told) == set()
