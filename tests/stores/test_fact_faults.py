"""Facts when a call of the database fails, or the process is killed: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta, timezone

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.memory.facts import Facts
from rag_memory_plugins.ports import Claim
from tests.memory.test_extracting import Reader
from tests.stores.test_fault_points import Faults

LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
KILLS = 100 if LONG else 4
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def told(ann):
    """What holds and what was stated, without ids that are minted."""
    facts = Facts(ann, lambda: START + timedelta(days=99))
    held = [(f.subject, f.object, f.sources, f.conflict) for f in facts.query(min_confidence=0.0)]
    return sorted(held), [(c.new, c.decision, c.undone) for c in facts.history()]


class Story:
    """Said, read, stated, retracted, undone, merged, forgotten; each until it is acknowledged."""

    def __init__(self, memory):
        self.memory = memory
        self.faults = Faults()
        self.faults.within(memory.log.database, "_put")
        queue = memory._lifetime.extracting.queue
        queue._clock = lambda: self.leap
        self.leap = 10.0**10
        self.fired = False

    def tried(self, work, *done):
        for _ in range(3):
            try:
                return work()
            except Exception as error:
                if isinstance(error, done):
                    return None  # it was done, and the answer was lost
                self.leap += 1_000.0
        raise AssertionError("one fault, and three tries failed")

    def play(self):
        from rag_memory_plugins.errors import InvalidInput

        ann = self.memory.conversation("acme", "ann", "monday")
        facts = Facts(ann, lambda: START + timedelta(days=50))
        texts = ["Ann lives in Lisbon", "Ann lives in Porto", "Bob lives in Faro"]
        batch = [
            Message("user", text, f"m{n}", time=START + timedelta(days=n))
            for n, text in enumerate(texts)
        ]
        self.tried(lambda: ann.add(batch))
        self.read()
        self.tried(lambda: facts.insert("Ann", "works at", "Acme", sources="m0", id="f0"))
        claims = [Claim("Bob Lee", "works at", "Acme"), Claim("Ann", "lives in", "Tomar")]
        state = facts.astate
        self.tried(lambda: ann.portal.call(state(claims, ids=["f1", "f2"])))
        self.tried(lambda: facts.retract("f2"), InvalidInput)
        self.tried(lambda: facts.insert("Bob Lee", "same as", "Bob", id="f3", many=True))
        self.tried(lambda: facts.undo("f3"), InvalidInput)
        self.tried(lambda: ann.forget("m1"))
        self.read()
        self.fired = self.faults.fired
        self.faults.arm(0, "")
        return told(ann)

    def read(self):
        queue = self.memory._lifetime.extracting.queue
        for _ in range(20):
            self.tried(lambda: self.memory.settle(1.0))
            self.leap += 1_000.0
            if not self.tried(lambda: self.memory.portal.call(queue.abacklog())):
                return


def played(path, at, side):
    """(what is told in the end, whether the fault came)."""
    options = {"facts": Reader(), "background": False, "summarizer": None, "drain_seconds": 0.0}
    with open_memory(path, embedder=None, **options) as memory:
        story = Story(memory)
        story.faults.arm(at, side)
        return story.play(), story.fired


def test_a_fault_at_any_call_loses_no_fact_and_states_none_twice(tmp_path):
    right, _ = played(tmp_path / "right.db", 0, "")
    assert [new for new, _, _ in right[1]] == ["Lisbon", "Faro", "Acme", "Acme", "Tomar", "Bob"]
    for side in ("before", "after"):
        for at in itertools.count(1, 1 if LONG else 5):
            found, fired = played(tmp_path / f"{side}{at}.db", at, side)
            assert found == right, (side, at)
            if not fired:
                break
        assert at > 20


WRITER = textwrap.dedent(
    r"""
    import re, sys
    from rag_memory_plugins import open_memory
    from rag_memory_plugins.ports import Claim

    class Reader:
        name = "reader/1"
        async def aextract(self, scope, messages):
            found = [re.findall(r"(\w+) lives in (\w+)", m.content) for m in messages]
            return [[Claim(a, "lives in", b, confidence=0.9) for a, b in some] for some in found]
        async def aclose(self): ...

    path, number = sys.argv[1], int(sys.argv[2])
    with open_memory(path, embedder=None, facts=Reader()) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        while True:
            ann.add(f"Ann lives in Place{number}", id=f"m{number}")
            ann.facts.insert("Ann", "has seen", f"Place{number}", id=f"f{number}", many=True,
                             sources=f"m{number}")
            print(number, flush=True)
            number += 1
    """
)


def test_a_killed_process_loses_no_stated_fact_and_reads_the_rest_later(tmp_path):
    path, rng, reached = tmp_path / "memory.db", random.Random(5), -1
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(reached + 1)], stdout=subprocess.PIPE
        )
        with writer:
            for _ in range(rng.randrange(1, 12)):
                reached = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split()
            reached = int(lines[-1]) if lines else reached
    with open_memory(path, embedder=None, facts=Reader(), background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        memory._lifetime.extracting.queue._clock = lambda: 10.0**12  # leases of the killed are over
        memory.settle()
        said = [message.content.removeprefix("Ann lives in ") for message in ann.messages()]
        assert len(said) > reached
        read = [c.new for c in ann.facts.history("Ann", "lives in", 1_000)]
        assert sorted(read) == sorted(said)  # each once
        stated = [c.new for c in ann.facts.history("Ann", "has seen", 1_000)]
        assert set(said[: reached + 1]) <= set(stated)
        assert len(stated) == len(set(stated))
        (now,) = ann.facts.query(subject="Ann", predicate="lives in")
        assert now.object == said[-1]
        before = (list(ann.facts.query(limit=200)), ann.facts.history())
        memory.rebuild()
        memory.settle()
        assert (list(ann.facts.query(limit=200)), ann.facts.history()) == before
