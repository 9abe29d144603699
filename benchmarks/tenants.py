"""The row of a million messages: 10,000 tenants of 100 each in one file, every lane on.

Searches run in fresh processes, so that `rss_mb` is a server's memory and not the loader's.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from rich.progress import Progress

from benchmarks.random_vectors import RandomVectors
from benchmarks.report import Report
from benchmarks.volume import (
    Texts,
    complete,
    fresh,
    resident_mb,
    scaled,
    settle,
    unread,
)
from rag_memory_plugins import Message, open_memory

__all__ = ["measure"]

TENANTS: Final = 10_000
EACH: Final = 100
COLD: Final = 2_000
"""First searches: enough tenants to fill the cache, so that `rss_mb` is what it grows to."""
WARM: Final = 200
ROW: Final = "1m_10k_tenants"

Asked = tuple[int, str]
"""A tenant's number and a question about what it said."""


def measure(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """Load the file, then search tenants outside the cache, and those last used again."""
    tenants = scaled(TENANTS, options.scale)
    path = folder / "tenants.db"
    start = perf_counter()
    load(path, tenants, options.seed, progress)
    report.put(f"load_s/{ROW}", perf_counter() - start)
    report.put(f"file_mb/{ROW}", path.stat().st_size / 1e6)
    some = random.Random(options.seed).sample(range(tenants), min(tenants, COLD))
    cold = questions(some, options.seed, 0)
    again = questions([tenant for tenant, _ in cold[-WARM:]], options.seed, 1)
    task = progress.add_task("tenants, cold and warm", total=2)
    first, second, resident = fresh(search, str(path), cold, again)
    report.put_times("search", second, ROW)
    report.put_times("cold_search", first, ROW)
    report.put(f"rss_mb/{ROW}", resident)
    progress.advance(task)
    if hasattr(os, "posix_fadvise"):
        unread(path)
        first, _, _ = fresh(search, str(path), cold[:WARM], [])
        report.put_times("disk_search", first, ROW)
        report.notes.append(
            "cold_search_ms: a tenant's first search in a process that has just opened the file, "
            "whose pages the system holds; disk_search_ms: with those pages dropped first"
        )
    progress.advance(task)


def load(path: Path, tenants: int, seed: int, progress: Progress) -> None:
    """Write every tenant's messages through the public `add`, then their vectors."""
    with open_memory(str(path), embedder=RandomVectors(), background=False) as memory:
        for tenant in progress.track(range(tenants), description="tenants loaded"):
            texts = Texts(seed + tenant).messages(EACH)
            messages = [
                Message(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)
            ]
            memory.conversation(f"tenant-{tenant}", "ann", "chat").add(messages)
        settle(memory, progress)


def questions(tenants: Sequence[int], seed: int, turn: int) -> list[Asked]:
    """For each tenant the question number `turn` about what it said, in random order."""
    asked = []
    for tenant in random.Random(seed + turn).sample(tenants, len(tenants)):
        # The tenant's own seed, so that these are the very messages it was loaded with.
        source = Texts(seed + tenant)
        asked.append((tenant, source.questions(source.messages(EACH), turn + 1)[turn]))
    return asked


def search(
    path: str, cold: Sequence[Asked], warm: Sequence[Asked]
) -> tuple[list[float], list[float], float]:
    """Seconds of each search, those of `warm` after those of `cold`, and resident megabytes."""
    with open_memory(path, embedder=RandomVectors(), background=False) as memory:
        times: list[list[float]] = []
        for asked in (cold, warm):
            took = []
            for tenant, question in asked:
                conversation = memory.conversation(f"tenant-{tenant}", "ann", "chat")
                start = perf_counter()
                found = conversation.search(question, limit=10)
                took.append(perf_counter() - start)
                complete(found)
            times.append(took)
        return times[0], times[1], resident_mb()
