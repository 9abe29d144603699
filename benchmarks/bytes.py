"""Bytes on the disk, or in Redis' memory, that a turn takes; for sizing a deployment.

The same turns are added by the public `add` to SQLite, to SQLite with qdrant-edge beside it, and to
Postgres with pgvector in it; each has its vector, and a text's tokens and passages have theirs, as
those of the local embedder. Redis: what the token tracker keeps of a conversation.
--quick takes a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import servers
from benchmarks.conversations import Counted
from benchmarks.engines import bytes_of
from benchmarks.random_vectors import RandomVectors
from benchmarks.report import BadData, Report
from benchmarks.volume import Texts, settle, workplace
from rag_memory_plugins import Message, Namespace, open_memory
from rag_memory_plugins.memory.usage import TokenTracker
from rag_memory_plugins.stores.redis import RedisState

if TYPE_CHECKING:
    from rag_memory_plugins import Memory

USERS: Final = 10
PATIENCE: Final = 60.0
GRID: Final = ("bytes_per_turn",)
TABLES: Final = """
SELECT n.nspname, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname LIKE 'rag\\_memory%' AND c.relkind = 'r' GROUP BY 1
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--turns", type=int, default=10_000, help="messages (10,000)")
    parser.add_argument("--count", type=int, default=20_000, help="conversations in Redis (20,000)")
    parser.add_argument("--seed", type=int, default=7, help="of the texts (7)")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure. Raises `BadData`."""
    share = 0.1 if options.quick else 1.0
    turns, count = math.ceil(share * options.turns), math.ceil(share * options.count)
    if turns < USERS or count < 1:
        raise BadData(f"bytes: --turns must be {USERS} or more, --count 1 or more")
    report = Report("bytes", grid=GRID)
    texts = Texts(options.seed).messages(turns)
    report.put("turns", turns)
    report.put("text_bytes_per_turn", fmean(len(text.encode()) for text in texts))
    with workplace(options.dir) as folder:
        _files(report, folder, texts, progress)
    _tables(report, texts, progress)
    _redis(report, count, progress)
    report.notes.append(
        "sqlite, postgres: the log with vectors of 384 numbers and 64 bytes a token; edge, "
        "pgvector: the vectors once more, in a store beside it"
    )
    return report


def _files(report: Report, folder: Path, texts: list[str], progress: Progress) -> None:
    """The log's file and the folder of vectors, each less what it takes empty."""
    place, beside = folder / "log", folder / "vectors"
    place.mkdir()
    url, index = str(place / "memory.db"), f"edge:///{beside}"
    sizes = []
    for some in (texts[:1], texts):
        _told(url, index, some, progress, "sqlite")
        sizes.append((bytes_of(place), bytes_of(beside)))
    for name, before, after in zip(("sqlite", "edge"), *sizes, strict=True):
        report.put(f"bytes_per_turn/{name}", (after - before) / len(texts))
        report.put(f"empty_mb/{name}", before / 1e6)


def _tables(report: Report, texts: list[str], progress: Progress) -> None:
    """The log's schema and that of the vectors, each less what it takes empty."""
    import psycopg

    with servers.postgres(fsync="off") as server:
        url = server.url(server.create_database())
        sizes = []
        for some in (texts[:1], texts):
            _told(url, "pgvector", some, progress, "postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                sizes.append({name: int(size) for name, size in connection.execute(TABLES)})
    for schema, name in (("rag_memory", "postgres"), ("rag_memory_vectors", "pgvector")):
        before, after = (size[schema] for size in sizes)
        report.put(f"bytes_per_turn/{name}", (after - before) / len(texts))
        report.put(f"empty_mb/{name}", before / 1e6)


def _told(url: str, index: str, texts: list[str], progress: Progress, name: str) -> None:
    """Open a memory, say these texts, and wait for all that follows from them."""
    with open_memory(url, index=index, embedder=RandomVectors(), background=False) as memory:
        each = math.ceil(len(texts) / USERS)
        for user in range(USERS):
            some = texts[user * each : (user + 1) * each]
            if some:
                _said(memory, f"user-{user}", some)
        settle(memory, progress, name)
        memory.settle()


def _said(memory: Memory, user: str, texts: list[str]) -> None:
    roles = ("user", "assistant")
    batch = [Message(roles[at % 2], text) for at, text in enumerate(texts)]
    memory.conversation("acme", user, "chat").add(batch)


def _redis(report: Report, count: int, progress: Progress) -> None:
    """What Redis' memory grows by for a conversation, of one user each."""
    from redis import Redis

    with servers.redis() as server, Redis.from_url(server.url) as client:

        def used() -> int:
            return int(client.info("memory")["used_memory"])

        before = used()
        asyncio.run(_recorded(server.url, count, progress))
        report.put("conversations", count)
        report.put("bytes_per_conversation/redis", (used() - before) / count)


async def _recorded(url: str, count: int, progress: Progress) -> None:
    state = RedisState(url)
    tracker = TokenTracker(state)
    try:
        for number in progress.track(range(count), description="redis conversations"):
            tracker.record(Namespace(f"tenant-{number % 100}", f"user-{number}", "chat"), Counted())
            if number % 500 == 499:
                await _caught_up(tracker, number + 1)
        await _caught_up(tracker, count)
    finally:
        await state.aclose()


async def _caught_up(tracker: TokenTracker, count: int) -> None:
    """Wait for the tracker, which counts in the background. Raises `BadData`."""
    end = monotonic() + PATIENCE
    while (await tracker.atotal()).contexts < count:
        if monotonic() > end:
            raise BadData(f"bytes: Redis had not counted {count} contexts after {PATIENCE:g} s")
        await asyncio.sleep(0.01)
