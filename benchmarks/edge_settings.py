"""What the settings of `EdgeStore` find and cost: one user's vectors, by graph and by comparing all.

For every m the vectors are put in batches of 128, and the graph is built with ef_construct 128; each
ef_search asks the same questions of it for their ten nearest. recall@10 is the share of the exact
ten. The row `exact` has no graph. put_ms_p50: a batch, on the disk. build_s: from the first batch
until the graph is there, without the batches. remove_s: one call that removes 1 or 1,000 of them, until
no byte of them is in a file. --quick takes 2,000 vectors.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.progress import Progress

from benchmarks.random_vectors import ClusteredVectors
from benchmarks.report import BadData, Report, percentile
from benchmarks.volume import workplace
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Point, RemovedPoint
from rag_memory_plugins.stores.edge import EdgeStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MS: Final = (8, 16, 32)
EFS: Final = (32, 64, 128, 256, 512)
BATCH: Final = 128
QUESTIONS: Final = 200
QUICK: Final = 2_000
ANN: Final = Scope("acme", "ann")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--count", type=int, default=10_000, help="how many vectors the user has")
    parser.add_argument("--dimension", type=int, default=384, help="of how many numbers each")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure. Raises `BadData`."""
    count = QUICK if options.quick else options.count
    if count < 1_100 or options.dimension < 2:
        raise BadData("edge_settings: --count must be 1,100 or more, --dimension 2 or more")
    report = Report("edge_settings", grid=("recall@10", "search_ms_p50", "search_ms_p95"))
    report.notes.append(f"{count} vectors of {options.dimension} numbers, one user, one process")
    embedder = ClusteredVectors(options.dimension)
    vectors = embedder._vectors([f"said {number}" for number in range(count)])
    questions = embedder._vectors([f"asked {number}" for number in range(QUESTIONS)])
    best = [set(np.argsort(-(vectors @ question))[:10].tolist()) for question in questions]
    task = progress.add_task("graphs", total=1 + len(MS))
    with workplace(options.dir) as place:
        for m in (None, *MS):
            asyncio.run(_measure(report, place / f"m{m}", m, vectors, questions, best))
            progress.advance(task)
    return report


async def _measure(
    report: Report,
    folder: Path,
    m: int | None,
    vectors: Vectors,
    questions: Vectors,
    best: list[set[int]],
) -> None:
    """One graph, or none, with everything that is asked of it."""
    exact_up_to = len(vectors) + 1 if m is None else len(vectors) // 2
    name = "exact" if m is None else f"m{m}"
    for ef in EFS[:1] if m is None else EFS:
        store = EdgeStore(folder, m=m or 16, ef_search=ef, exact_up_to=exact_up_to)
        await store.aopen("log", "fp", vectors.shape[1])
        if ef == EFS[0]:
            await _fill(report, store, name, vectors)
        row = name if m is None else f"{name}_ef{ef}"
        seconds, right = [], 0
        for number, question in enumerate(questions):
            start = perf_counter()
            found = await store.anearest(ANN, "", question, 10)
            seconds.append(perf_counter() - start)
            right += len(best[number] & set(found[:10]))
        report.put(f"recall@10/{row}", right / (10 * len(questions)))
        report.put_times("search", seconds, row)
        if ef == EFS[-1] or m is None:
            await _empty(report, store, name)
        await store.aclose()


async def _fill(report: Report, store: EdgeStore, name: str, vectors: Vectors) -> None:
    seconds, begun = [], perf_counter()
    points = [
        Point(ANN, "monday", number, "", vector[None, :]) for number, vector in enumerate(vectors)
    ]
    for start in range(0, len(points), BATCH):
        before = perf_counter()
        await store.aput(points[start : start + BATCH])
        seconds.append(perf_counter() - before)
    # The graph is begun at half of them; a removal brings in the rest, and waits for it.
    await store.aremove([RemovedPoint(ANN, len(points), 1)])
    typical = percentile(seconds, 50)
    report.put(f"put_ms_p50/{name}", 1000 * typical)
    report.put(f"build_s/{name}", perf_counter() - begun - typical * len(seconds))


async def _empty(report: Report, store: EdgeStore, name: str) -> None:
    for count in (1, 1_000):
        before = perf_counter()
        await store.aremove([RemovedPoint(ANN, number, 1) for number in range(count)])
        report.put(f"remove_s/{name}_{count}", perf_counter() - before)
