"""How search and context grow: 1,000 to 100,000 turns of one user, a million over 10,000 tenants.

Chats have names, dates and questions in them; what is asked names a speaker, a month, a frequent
word, a rare one (`chats.py`). Vectors are made up, and those of the questions are made before the
clock starts: what a question costs to embed is in `latency`. Every database is searched by new
processes. --quick leaves out 100,000 turns and the million messages.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import plots
from benchmarks.chats import TURNS, chat, questions
from benchmarks.random_vectors import ClusteredVectors
from benchmarks.report import Goal, Report, percentile, written
from benchmarks.timed import BUDGET, CAN_FORGET, Asked, Taken, answered, reopened
from benchmarks.volume import (
    fresh,
    put_scale,
    scaled,
    settle,
    sizing,
    unread,
    workplace,
)
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOALS: Final = {
    "search_ms_p50/1k": Goal("<=", 2.0),
    "search_ms_p50/10k": Goal("<=", 5.0),
    "search_ms_p50/100k": Goal("<=", 30.0),
    "cold_search_ms_p50/1k": Goal("<=", 25.0),
    "cold_search_ms_p50/10k": Goal("<=", 150.0),
}
GRID: Final = ("search_ms_p50", "search_ms_p50_per_1k", "context_ms_p50", "cold_search_ms_p50")
WARM_UP: Final = 10
SLICE: Final = 250
"""Tenants that a process writes before it makes their vectors."""
TOGETHER: Final = 16
"""Tenants that it writes at once, so that they share the disk's waits."""


@dataclass(frozen=True)
class Size:
    """One row: how many tenants with how many turns each, and how often each thing is timed."""

    name: str
    tenants: int
    each: int
    searches: int
    contexts: int
    cold: int
    fresh: int = 0

    def scaled(self, share: float) -> Size:
        """The same row with that share of every count; of many tenants each keeps its turns."""
        kept = "tenants" if self.tenants == 1 else "each"
        names = [item.name for item in fields(self) if item.name not in ("name", "fresh", kept)]
        some = {name: scaled(getattr(self, name), share) for name in names}
        # In one or two sessions everything is recent, and a context recalls nothing.
        some["each"] = max(some.get("each", self.each), 3 * TURNS)
        return replace(self, **some, fresh=math.ceil(self.fresh * share))


SIZES: Final = (
    Size("1k", 1, 1_000, searches=300, contexts=100, cold=30, fresh=5),
    Size("10k", 1, 10_000, searches=300, contexts=100, cold=15, fresh=3),
    Size("100k", 1, 100_000, searches=150, contexts=50, cold=3, fresh=1),
    # First searches of enough tenants to fill the cache, so that `rss_mb` is what it grows to.
    Size("1m_10k_tenants", 10_000, 100, searches=300, contexts=100, cold=2_000),
)
NOTES: Final = (
    "The vectors of the questions are at hand; `latency` has the time to embed one. Cold: first "
    "search after the file was opened again, its pages in the system's memory; disk: those "
    "forgotten too; fresh: the first of a new process, which loads code as well. Context: "
    f"{BUDGET:,} tokens with recent turns. Matrix: all vectors times one, and nothing else."
)
QUICK: Final = 2
"""How many of them --quick measures."""


LINES: Final = {
    "cold_search": ("first search after opening", plots.RED),
    "context": (f"context of {BUDGET:,} tokens", "#7c3aed"),
    "search": ("search", plots.BLUE),
    "matrix": ("vectors times one, nothing else", plots.GREY),
}
"""What the picture shows, with its name and colour."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    sizing(parser)


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure each size in a database of its own."""
    report = Report("scale", GOALS, grid=GRID)
    put_scale(report, options.scale)
    for size in SIZES[: QUICK if options.quick else None]:
        with workplace(options.dir) as folder:
            path = folder / f"{size.name}.db"
            measure(report, progress, path, size.scaled(options.scale), options.seed)
    report.notes.append(NOTES)
    return report


def measure(report: Report, progress: Progress, path: Path, size: Size, seed: int) -> None:
    """One row: load it, then search it in new processes."""
    name = size.name
    start = perf_counter()
    load(path, size, seed, progress)
    report.put(f"load_s/{name}", perf_counter() - start)
    stored = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    report.put(f"file_bytes_per_message/{name}", stored / (size.tenants * size.each))
    task = progress.add_task(f"{name} searched", total=1)
    taken = (one if size.tenants == 1 else many)(path, size, seed)
    progress.advance(task)
    for what, clock in taken.clocks.items():
        report.put_times(what, clock.wall, name)
        report.put(f"{what}_cpu_ms_p50/{name}", 1_000 * percentile(clock.cpu, 50))
    put_growth(report, size)
    report.put(f"context_tokens/{name}", percentile(taken.tokens, 50))
    report.put(f"rss_mb/{name}", taken.resident_mb)


def put_growth(report: Report, size: Size) -> None:
    """Keep what a search costs for every 1,000 turns that it looks through."""
    warm = report.figures[f"search_ms_p50/{size.name}"]
    report.put(f"search_ms_p50_per_1k/{size.name}", warm / size.each * 1_000)


def load(path: Path, size: Size, seed: int, progress: Progress) -> None:
    """Make the database; many tenants are written by as many processes as there are CPUs."""
    if size.tenants == 1:
        write(path, [0], size, seed, progress)
        return
    starts = range(0, size.tenants, SLICE)
    slices = [range(start, min(start + SLICE, size.tenants)) for start in starts]
    write(path, [], size, seed, progress)  # the file is made by one
    task = progress.add_task(f"{size.name} written", total=size.tenants)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(slices), os.cpu_count() or 1), context) as processes:
        parts = [processes.submit(write, path, some, size, seed) for some in slices]
        for written, some in zip(parts, slices, strict=True):
            written.result()
            progress.advance(task, len(some))


def write(
    path: Path,
    tenants: Sequence[int],
    size: Size,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Write chats through the public `add`, a session at a time, and then every vector."""
    progress = progress or Progress(disable=True)
    task = progress.add_task(f"{size.name} added", total=len(tenants) * size.each)
    # Who shares the file with other writers may have to wait for them.
    with open_memory(
        path, embedder=ClusteredVectors(), background=False, busy_timeout=60.0
    ) as memory:

        async def add(tenant: int) -> None:
            for session in chat(seed + tenant, size.each):
                conversation = memory.conversation(f"tenant-{tenant}", "ann", session.name)
                await conversation.aadd(session.messages)
                progress.advance(task, len(session.messages))

        async def add_all() -> None:
            for start in range(0, len(tenants), TOGETHER):
                await asyncio.gather(*map(add, tenants[start : start + TOGETHER]))

        asyncio.run(add_all())
        settle(memory, progress, size.name)


def asked_of(tenant: int, size: Size, count: int, seed: int) -> list[Asked]:
    """`count` questions about what a tenant said, asked in its last session."""
    sessions = list(chat(seed + tenant, size.each))
    said = [message for session in sessions for message in session.messages]
    some = questions(said, count, seed + tenant)
    return [Asked(tenant, sessions[-1].name, question) for question in some]


def one(path: Path, size: Size, seed: int) -> Taken:
    """Everything that is timed of a tenant that has the file to itself."""
    count = 2 * WARM_UP + size.searches + size.contexts + 2 * size.cold + 2 + size.fresh
    asked = iter(asked_of(0, size, count, seed))
    steps = {
        "warm_up": WARM_UP,
        "search": size.searches,
        "warm_up_context": WARM_UP,
        "context": size.contexts,
    }
    asking = {name: list(islice(asked, some)) for name, some in steps.items()}
    taken = fresh(answered, path, asking, size.each)
    for question in islice(asked, size.fresh):
        taken.join(fresh(answered, path, {"fresh_search": [question]}))
    taken.join(fresh(reopened, path, list(asked)))
    return taken


def many(path: Path, size: Size, seed: int) -> Taken:
    """Everything that is timed of tenants that share a file; one process serves them all."""
    users = random.Random(seed).sample(range(size.tenants), min(size.cold, size.tenants))
    asked = {user: asked_of(user, size, 4, seed) for user in users}

    def some(number: int, count: int) -> list[Asked]:
        """Question `number` of those searched last."""
        return [asked[user][number] for user in users[-count:]]

    steps = {
        "cold_search": some(0, size.cold),
        "search": some(1, size.searches),
        "warm_up_context": some(2, WARM_UP),
        "context": some(3, size.contexts),
    }
    taken = fresh(answered, path, steps, size.each)
    if CAN_FORGET:
        unread(path)
        taken.join(fresh(answered, path, {"disk_search": some(0, size.contexts)}))
    return taken


def picture(report: Report, figure: Figure) -> None:
    """What a search costs by the turns it looks through, beside a context and the bare product."""
    share = report.figures.get("scale", 1.0)
    sizes = [size.scaled(share) for size in SIZES if size.tenants == 1]
    figure.set_size_inches(8, 5)
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="turns of one user", ylabel="ms, median")
    for what, (label, colour) in LINES.items():
        points = [
            (size.each, report.figures[f"{what}_ms_p50/{size.name}"])
            for size in sizes
            if f"{what}_ms_p50/{size.name}" in report.figures
        ]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
        for turns, milliseconds in points:
            axes.annotate(
                written(milliseconds),
                (turns, milliseconds),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.legend(fontsize=8, frameon=False)
    plots.tidy(axes)
