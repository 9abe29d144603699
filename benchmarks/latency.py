"""How long an add, a search and an import take, and what a million messages cost.

Adds are durable (on disk when `add` returns) and are timed in turn with the same row written by
plain sqlite3 (WAL, synchronous=FULL), the floor of this disk. Searches have their query embedded
apart (`embed_query_ms`): their vectors are random and cost no time. --quick leaves out the row of
1,000,000 messages over 10,000 tenants.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from rich.progress import Progress

from benchmarks import tenants
from benchmarks.random_vectors import RandomVectors
from benchmarks.report import Goal, Report
from benchmarks.volume import (
    Texts,
    complete,
    put_scale,
    scaled,
    settle,
    sizing,
    workplace,
)
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.portal import get_portal

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder

GOALS: Final = {
    "import_cpu_s": Goal("<=", 0.15),
    "add_ms_p50": Goal("<=", 1.0),
    "search_ms_p50/1k": Goal("<=", 2.0),
    "search_ms_p50/10k": Goal("<=", 6.0),
    "search_ms_p50/1m_10k_tenants": Goal("<=", 3.0),
    "cold_search_ms_p50/1m_10k_tenants": Goal("<=", 25.0),
}
IMPORTS: Final = 5
HISTORY: Final = 1_000
ADDS: Final = 500
SEARCHES: Final = 300
WARM_UP: Final = 10
BATCH: Final = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    sizing(parser)


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure import, add, search in one namespace, query embedding, and many tenants."""
    report = Report("latency", GOALS)
    put_scale(report, options.scale)
    with workplace(options.dir) as folder:
        imports(report, progress)
        adds(report, progress, folder, options)
        for of, count in (("1k", 1_000), ("10k", 10_000)):
            searches(report, progress, folder, of, count, options)
        queries(report, progress, folder, options)
        if not options.quick:
            tenants.measure(report, progress, folder, options)
    return report


def imports(report: Report, progress: Progress) -> None:
    """User and system CPU of a fresh interpreter that imports the package, minus a bare one."""
    bare, full, names = "pass", "import rag_memory_plugins", "from rag_memory_plugins import *"
    spent: dict[str, list[float]] = {bare: [], full: [], names: []}
    _cpu_of(names)  # the first import writes the bytecode cache
    for _ in progress.track(range(IMPORTS), description="imports"):
        for code, seconds in spent.items():
            seconds.append(_cpu_of(code))
    middle = {code: statistics.median(seconds) for code, seconds in spent.items()}
    report.put("import_cpu_s", max(0.0, middle[full] - middle[bare]))
    report.put("import_all_names_cpu_s", max(0.0, middle[names] - middle[bare]))
    report.put("bare_interpreter_cpu_s", middle[bare])


def _cpu_of(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def adds(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """One-message adds to a namespace with a history: vectors for free, then by the model."""
    took, floor = _adds(progress, folder / "add.db", RandomVectors(), options)
    report.put_times("add", took)
    report.put_times("floor_add", floor)
    took, _ = _adds(progress, folder / "add_embedding.db", "default", options)
    report.put_times("add", took, "embedding")
    report.notes.append("add_ms/embedding: the default embedder works in the background meanwhile")


def _adds(
    progress: Progress,
    path: Path,
    embedder: Embedder | Literal["default"],
    options: argparse.Namespace,
) -> tuple[list[float], list[float]]:
    history, count = scaled(HISTORY, options.scale), scaled(ADDS, options.scale)
    texts = Texts(options.seed).messages(history + WARM_UP + count)
    took: list[float] = []
    floor: list[float] = []
    with open_memory(str(path), embedder=embedder) as memory, plain(path.parent) as insert:
        conversation = memory.conversation("acme", "ann", "long")
        conversation.add([Message("user", text) for text in texts[:history]])
        for text in texts[:history]:
            insert(Message("user", text))
        settle(memory, progress)
        for text in progress.track(texts[history:], description=f"adds {path.stem}"):
            message = Message("user", text)
            start = perf_counter()
            conversation.add(message)
            middle = perf_counter()
            insert(message)
            took.append(middle - start)
            floor.append(perf_counter() - middle)
    return took[WARM_UP:], floor[WARM_UP:]


@contextmanager
def plain(folder: Path) -> Iterator[Callable[[Message], None]]:
    """A function that commits one message with nothing but sqlite3 in between."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY, session TEXT, id TEXT, "
        "role TEXT, content TEXT, time TEXT, UNIQUE (session, id))"
    )

    def insert(message: Message) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO messages (session, id, role, content, time) VALUES (?, ?, ?, ?, ?)",
            ("long", message.id, message.role, message.content, message.time.isoformat()),
        )
        connection.execute("COMMIT")

    try:
        yield insert
    finally:
        connection.close()


def searches(
    report: Report,
    progress: Progress,
    folder: Path,
    of: str,
    count: int,
    options: argparse.Namespace,
) -> None:
    """Searches of one namespace with `count` messages, each for another question."""
    source = Texts(options.seed)
    texts = source.messages(scaled(count, options.scale))
    questions = source.questions(texts, WARM_UP + scaled(SEARCHES, options.scale))
    took: list[float] = []
    with open_memory(str(folder / f"search{of}.db"), embedder=RandomVectors()) as memory:
        conversation = memory.conversation("acme", "ann", "long")
        for start in range(0, len(texts), BATCH):
            conversation.add([Message("user", text) for text in texts[start : start + BATCH]])
        settle(memory, progress)
        for question in progress.track(questions, description=f"searches {of}"):
            start_time = perf_counter()
            found = conversation.search(question, limit=10)
            took.append(perf_counter() - start_time)
            complete(found)
    report.put_times("search", took[WARM_UP:], of)


def queries(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """Questions embedded by the default embedder, none of them twice."""
    source = Texts(options.seed)
    questions = source.questions(source.messages(1_000), WARM_UP + scaled(SEARCHES, options.scale))
    took: list[float] = []
    with open_memory(str(folder / "query.db")) as memory:
        embedder = memory.embedder
        if embedder is None:
            report.notes.append("embed_query_ms: left out, the extra `local` is not installed")
            return
        for question in progress.track(questions, description="query embeddings"):
            start = perf_counter()
            get_portal().call(embedder.aembed_query(question))
            took.append(perf_counter() - start)
    report.put_times("embed_query", took[WARM_UP:])
