"""Every call of a database and of a vector store fails once, before or after it was done."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import RagMemoryError, StoreUnreachable

LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
STEP = {"flat": 1, "edge": 1 if LONG else 29, "pgvector": 1 if LONG else 9}
"""Every how manieth call fails: engines that rewrite files to erase take seconds a point."""
KEPT = ["m0", "m2", "m3"]


class Faults:
    """Counts calls, and fails one: before it was made, or after it was done."""

    def __init__(self):
        self.at = self.count = 0
        self.side = ""

    def arm(self, at, side):
        self.at, self.side, self.count = at, side, 0

    @property
    def fired(self):
        return 0 < self.at <= self.count

    def within(self, owner, name):
        """Let a method's calls be counted and fail."""
        call = getattr(owner, name)

        async def counted(*args):
            self.count += 1
            mine = self.count == self.at
            if mine and self.side == "before":
                raise StoreUnreachable("told to fail before it was done")
            result = await call(*args)
            if mine and self.side == "after":
                raise StoreUnreachable("told to fail after it was done")
            return result

        setattr(owner, name, counted)


class World:
    """A memory on an engine, whose calls fail where it is told, and a clock that can leap."""

    def __init__(self, memory, step=1):
        self.memory = memory
        self.step = step
        self.faults = Faults()
        self.store = getattr(memory.index, "store", None)
        self.leap = 0.0
        memory.index._clock = lambda: time.time() + self.leap
        self.faults.within(memory.log.database, "_put")
        if self.store is not None:
            for name in ("aput", "aremove"):
                self.faults.within(self.store, name)

    def tried(self, work):
        """What a client does: again, until it is told that it was done."""
        for _ in range(3):
            try:
                return work()
            except RagMemoryError:
                self.leap += 120.0  # leases of what failed are over
        raise AssertionError("one fault, and three tries failed")

    def settled(self, user):
        for _ in range(
            30
        ):  # again for what the fault left; on a busy machine little is done in each
            self.tried(lambda: self.memory.settle(0.1))
            self.leap += 120.0
            _, _, _, queued, waiting, _ = self.tried(lambda: self.held(user))
            if not queued and not waiting:
                return

    def played(self, user):
        """Four messages are said, one of them is forgotten, another session is erased."""
        ann = self.memory.conversation("acme", user, "s")
        other = self.memory.conversation("acme", user, "other")
        batch = [Message("user", f"turn {n} about {n}", id=f"m{n}") for n in range(3)]
        self.tried(lambda: ann.add(batch))
        self.tried(lambda: ann.add(Message("user", "the last turn", id="m3")))
        self.tried(lambda: other.add("to be erased", id="o1"))
        self.tried(lambda: self.memory.settle(0.1))
        self.tried(lambda: ann.forget(["m1"]))
        self.tried(other.erase)
        self.settled(user)

    def held(self, user):
        """(ids in the log; seqs in the log, in the index, queued, in the store) of a user."""
        from sqlalchemy import select

        from rag_memory_plugins.stores.schema import mirror_removals, outbox, vectors
        from rag_memory_plugins.stores.sql import find_scope

        ann = self.memory.conversation("acme", user, "s")
        portal, database, scope = self.memory.portal, self.memory.log.database, ann.namespace.scope

        def read(connection):
            own = find_scope(connection, scope)
            of = [
                sorted(connection.execute(select(t.c.seq).where(t.c.scope_id == own)).scalars())
                for t in (vectors, outbox)
            ]
            waiting = select(mirror_removals.c.seq).where(mirror_removals.c.scope == scope.key)
            return [*of, list(connection.execute(waiting).scalars())]

        log = portal.call(self.memory.log.alisted(ann.namespace))
        index, queued, waiting = portal.call(database.aread(read))
        seqs = [item.seq for item in log]
        near = seqs
        if self.store is not None:
            question = portal.call(self.memory.embedder.aembed_query("turn"))
            near = sorted(portal.call(self.store.anearest(scope, "turn", question, 20)))
        return [item.message.id for item in log], seqs, index, queued, waiting, near


@pytest.fixture(params=STEP)
def world(request, tmp_path, words):
    options = {"embedder": words, "background": False, "drain_seconds": 0.0, "summarizer": None}
    url = tmp_path / "memory.db"
    if request.param == "edge":
        options["index"] = f"edge:///{tmp_path / 'vectors'}"
    if request.param == "pgvector":
        url, options["index"] = request.getfixturevalue("log_url"), "pgvector"
    with open_memory(url, **options) as memory:
        yield World(memory, STEP[request.param])


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_fault_at_any_call_loses_nothing_and_doubles_nothing(world, side):
    first = 1 if side == "before" else 1 + world.step // 2
    for at in itertools.count(first, world.step):
        user = f"{side}-{at}"
        world.faults.arm(at, side)
        world.played(user)
        fired = world.faults.fired
        world.faults.arm(0, "")
        ids, seqs, index, queued, waiting, near = world.held(user)
        assert ids == KEPT, (at, "the log")
        assert index == seqs, (at, "the index")
        assert (queued, waiting) == ([], []), (at, "what waits")
        assert near == seqs, (at, "the vector store")
        if not fired:
            break
    assert at > 15
