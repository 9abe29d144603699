"""Searches and contexts timed in a process of their own: what `scale` starts for every row."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from benchmarks.random_vectors import Foreseen
from benchmarks.report import BadData
from benchmarks.volume import complete, resident_mb, unread
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from rag_memory_plugins import Conversation

__all__ = ["BUDGET", "CAN_FORGET", "Asked", "Clock", "Taken", "answered", "reopened"]

BUDGET: Final = 4_000
PRODUCTS: Final = 100
CAN_FORGET: Final = hasattr(os, "posix_fadvise")
"""Whether the system can be told to forget a file's pages."""


class Asked(NamedTuple):
    """A question of a tenant, asked in one of its sessions."""

    tenant: int
    session: str
    question: str


@dataclass
class Clock:
    """Seconds that some actions took, and of them the processor's, all threads together."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __enter__(self) -> None:
        self._started = perf_counter(), process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._started
        self.cpu.append(process_time() - cpu)
        self.wall.append(perf_counter() - wall)


@dataclass
class Taken:
    """What was measured: clocks by name, tokens of the contexts, memory of the process."""

    clocks: dict[str, Clock] = field(default_factory=lambda: defaultdict(Clock))
    tokens: list[float] = field(default_factory=list)
    resident_mb: float = 0.0

    def join(self, other: Taken) -> None:
        """Take over the times of another process."""
        for name, clock in other.clocks.items():
            self.clocks[name].wall += clock.wall
            self.clocks[name].cpu += clock.cpu

    def search(self, name: str, conversation: Conversation, question: str) -> None:
        """Time one search. Raises `BadData` for one that did less than it should."""
        with self.clocks[name]:
            found = conversation.search(question, limit=10)
        complete(found)

    def pack(self, name: str, conversation: Conversation, question: str) -> None:
        """Time one context. Raises `BadData` for one that did less than it should."""
        with self.clocks[name]:
            context = conversation.context(question, BUDGET)
        complete(context)
        parts = {part.name for part in context.parts}
        if not {"recent", "retrieved"} <= parts or context.tokens > BUDGET:
            raise BadData(f"a context of {context.tokens} tokens has only {sorted(parts)}")
        self.tokens.append(context.tokens)


def answered(path: Path, steps: Mapping[str, Sequence[Asked]], rows: int = 0) -> Taken:
    """Ask every step's questions of one memory; those of a warm-up count for nothing.

    Afterwards `rows` vectors are multiplied, in the same process and so on the same machine.
    """
    taken = Taken()
    embedder = Foreseen([asked.question for some in steps.values() for asked in some])
    with open_memory(path, embedder=embedder, background=False) as memory:
        for name, some in steps.items():
            for asked in some:
                conversation = memory.conversation(f"tenant-{asked.tenant}", "ann", asked.session)
                if name.endswith("context"):
                    taken.pack(name, conversation, asked.question)
                else:
                    taken.search(name, conversation, asked.question)
        taken.resident_mb = resident_mb()
    for name in ("warm_up", "warm_up_context"):
        taken.clocks.pop(name, None)
    if rows:
        taken.clocks["matrix"] = products(rows)
    return taken


def reopened(path: Path, some: Sequence[Asked]) -> Taken:
    """Ask each question of a memory that has just been opened; the first loads the code.

    They are asked in turn with the file's pages in the system's memory and without, if it can be
    told to forget them.
    """
    taken = Taken()
    names = ("cold_search", "disk_search") if CAN_FORGET else ("cold_search",)
    for number, asked in enumerate(some):
        name = names[number % len(names)]
        if name == "disk_search":
            unread(path)
        with open_memory(path, embedder=Foreseen([asked.question]), background=False) as memory:
            conversation = memory.conversation(f"tenant-{asked.tenant}", "ann", asked.session)
            taken.search(name if number else "warm_up", conversation, asked.question)
    del taken.clocks["warm_up"]
    return taken


def products(rows: int) -> Clock:
    """Multiply that many vectors with one, for a hundred of them.

    Whole, or in slices that one thread multiplies: whichever is quicker. BLAS shares a large
    product among threads, which wait for each other when the machine has other work.
    """
    random = np.random.default_rng(0)
    matrix = random.standard_normal((rows, 384), dtype=np.float32)
    vectors = random.standard_normal((PRODUCTS, 384), dtype=np.float32)
    clocks = []
    for step in (rows, 512):
        clocks.append(clock := Clock())
        for vector in vectors:
            with clock:
                for start in range(0, rows, step):
                    np.dot(matrix[start : start + step], vector)
    return min(clocks, key=lambda clock: median(clock.wall))
