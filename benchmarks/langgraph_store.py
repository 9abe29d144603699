"""Store search: ours and LangGraph's in memory, over the same items, by the same questions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.random_vectors import ClusteredVectors, Foreseen
from benchmarks.report import BadData, Goal, Report
from benchmarks.timed import Clock
from benchmarks.volume import Texts, scaled, settle
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore
    from rich.progress import Progress

__all__ = ["GOALS", "measure"]

GOALS: Final = {
    "store_faster/10k": Goal(">=", 10.0),
    "store_faster/100k": Goal(">=", 30.0),
    "store_faster_cpu/10k": Goal(">=", 10.0),
    "store_faster_cpu/100k": Goal(">=", 30.0),
}
SIZES: Final = (("1k", 1_000), ("10k", 10_000), ("100k", 100_000))
TURNS: Final = {"1k": 60, "10k": 40, "100k": 10}
WARM_UP: Final = 3
WRITES: Final = 10
"""Searches that come just after an item was replaced."""
BATCH: Final = 500
PLACE: Final = ("users", "ann", "memories")
CACHE: Final = 2**30
"""Bytes of columns in memory: 100,000 items of 384 numbers take some 300 MB."""


def measure(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """Every size; --quick leaves out the largest."""
    for of, size in SIZES[: 2 if options.quick else None]:
        texts = Texts(options.seed).messages(scaled(size, options.scale))
        turns = TURNS[of] + WARM_UP
        asked = Texts(options.seed + 1).questions(texts, 4 * (turns + WRITES))
        questions = list(dict.fromkeys(asked))[: turns + WRITES]
        one_size(report, progress, folder / f"{of}.db", of, texts, questions)


def one_size(
    report: Report,
    progress: Progress,
    path: Path,
    of: str,
    texts: Sequence[str],
    questions: Sequence[str],
) -> None:
    """Fill both stores with the same items, then ask both every question in turn."""
    from rag_memory_plugins.langchain import TenantStore

    embedder = Foreseen(questions)
    other = in_memory(embedder)
    fill(other, texts, progress, f"InMemoryStore {of}")
    with open_memory(path, embedder=embedder, cache_bytes=CACHE, background=False) as memory:
        ours = TenantStore(memory, "benchmark", fields=["text"])
        fill(ours, texts, progress, f"TenantStore {of}")
        settle(memory, progress, of)
        clocks = {name: Clock() for name in ("store_search", "inmemory_search", "after_put")}
        asked, last = questions[:-WRITES], questions[-WRITES:]
        for at, question in enumerate(progress.track(asked, description=f"searches {of}")):
            if at == WARM_UP:
                clocks |= {name: Clock() for name in clocks}
            for name, store in (("store_search", ours), ("inmemory_search", other)):
                search(store, question, clocks[name])
        for at, question in enumerate(last):
            ours.put(PLACE, str(at), {"text": f"{texts[at]} {at}"})
            memory.settle()
            search(ours, question, clocks["after_put"])
    put(report, of, clocks)


def search(store: BaseStore, question: str, clock: Clock) -> None:
    """Time one search. Raises `BadData` for one that found less than it should."""
    with clock:
        found = store.search(PLACE, query=question, limit=10)
    if len(found) != 10 or found[0].score is None:
        raise BadData(f"a search found {len(found)} items")


def fill(store: BaseStore, texts: Sequence[str], progress: Progress, what: str) -> None:
    """Put every text as an item, in batches."""
    from langgraph.store.base import PutOp

    for start in progress.track(range(0, len(texts), BATCH), description=what):
        some = enumerate(texts[start : start + BATCH], start)
        store.batch([PutOp(PLACE, str(at), {"text": text, "number": at}) for at, text in some])


def in_memory(embedder: ClusteredVectors) -> BaseStore:
    """LangGraph's store with the same vectors, as lists: what its embedders give."""
    from langgraph.store.memory import InMemoryStore

    embed: Callable[[list[str]], list[list[float]]]
    embed = lambda texts: embedder._vectors(texts).tolist()  # noqa: E731
    return InMemoryStore(index={"dims": embedder.dimension, "embed": embed, "fields": ["text"]})


def put(report: Report, of: str, clocks: dict[str, Clock]) -> None:
    """The figures of one size."""
    for name in ("store_search", "inmemory_search"):
        report.put_times(name, clocks[name].wall, of)
        report.put(f"{name}_cpu_ms_p50/{of}", 1000 * median(clocks[name].cpu))
    report.put_times("store_search_after_put", clocks["after_put"].wall, of)
    ours, other = clocks["store_search"], clocks["inmemory_search"]
    report.put(f"store_faster/{of}", median(other.wall) / median(ours.wall))
    report.put(f"store_faster_cpu/{of}", median(other.cpu) / median(ours.cpu))
