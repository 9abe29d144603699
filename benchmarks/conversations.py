"""Many conversations at once: is a turn lost or out of order, how long is it waited for.

Every conversation is a user's own. Each of its turns is one message, added when the one before was
acknowledged, and counted by the token tracker; meanwhile the background workers embed (by the
deterministic double of `testing`), and fill the vector store. Then every conversation is read back.
Postgres with qdrant-edge and Redis, and for comparison SQLite with qdrant-edge and no Redis.
--quick takes 100 conversations of 10 turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import servers
from benchmarks.processes import MEASURES, cpu_seconds
from benchmarks.report import BadData, Goal, Report, percentile
from benchmarks.volume import Texts, workplace
from rag_memory_plugins import Message, aopen_memory
from rag_memory_plugins.testing.fakes import WordEmbedder

if TYPE_CHECKING:
    from rag_memory_plugins import Memory

GOALS: Final = {"lost": Goal("<=", 0), "reordered": Goal("<=", 0)}
SETUPS: Final = ("postgres", "sqlite")
QUICK: Final = (100, 10)
TENANTS: Final = 100
SETTLES: Final = 20
"""Half minutes until every message must have its vector, and the store must hold it."""
USAGE_LOOKS: Final = 300
"""A 20th of a second apart, until the tracker must have counted all."""


@dataclass(frozen=True)
class Counted:
    """What the token tracker counts of a turn."""

    tokens: int = 100
    history_tokens: int = 400
    mode: str = "full"
    parts: Sequence[object] = ()


@dataclass
class Played:
    """What came of all conversations."""

    acks: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    own_cpu: float = 0.0
    settle_seconds: float = 0.0
    lost: int = 0
    reordered: int = 0
    uncounted: int = 0
    without_vector: int = 0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--count", type=int, default=1_000, help="conversations (1,000)")
    parser.add_argument("--turns", type=int, default=20, help="of each (20)")
    parser.add_argument("--only", choices=SETUPS, help="one of the two setups")
    parser.add_argument("--seed", type=int, default=7, help="of the texts (7)")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Play them with either setup. Raises `BadData`."""
    count, turns = QUICK if options.quick else (options.count, options.turns)
    if count < 1 or turns < 1:
        raise BadData("conversations: --count and --turns must be 1 or more")
    report = Report("conversations", GOALS)
    report.put("conversations", count)
    report.put("turns", turns)
    for setup in [options.only] if options.only else SETUPS:
        with workplace(options.dir) as folder, placed(setup, folder) as urls:
            said = texts(count, turns, options.seed)
            played = asyncio.run(play(urls, said, progress, setup))
        put(report, played, count * turns, "" if setup == "postgres" else f"/{setup}")
    report.notes.append(
        "without a name: Postgres + qdrant-edge + Redis; /sqlite: one file + qdrant-edge. A turn is "
        "one message. Processor times are of this process, the vectors' and the servers'"
    )
    return report


@contextmanager
def placed(setup: str, folder: Path) -> Iterator[dict[str, str]]:
    """What `open_memory` is told; the servers are children of this process."""
    urls = {"index": f"edge:///{folder}/vectors"}
    if setup == "sqlite":
        yield {"url": str(folder / "memory.db"), **urls}
        return
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        redis = stack.enter_context(servers.redis())
        urls |= {"url": postgres.url(postgres.create_database()), "shared": redis.url}
        yield urls


def texts(count: int, turns: int, seed: int) -> list[list[Message]]:
    """What is said in each conversation, with ids."""
    every = iter(Texts(seed).messages(count * turns))
    return [
        [Message(("user", "assistant")[turn % 2], next(every)) for turn in range(turns)]
        for _ in range(count)
    ]


async def play(
    urls: dict[str, str],
    said: list[list[Message]],
    progress: Progress,
    setup: str,
) -> Played:
    """All conversations at once, then what they came to."""
    played = Played()
    options = {"embedder": WordEmbedder(), "drain_seconds": 0.0}
    task = progress.add_task(f"{setup} turns", total=sum(map(len, said)))
    async with await aopen_memory(urls["url"], **{**options, **_but_url(urls)}) as memory:
        before, began = _cpu(), perf_counter()

        async def converse(number: int) -> None:
            conversation = memory.conversation(*place(number))
            for message in said[number]:
                start = perf_counter()
                await conversation.aadd(message)
                played.acks.append(perf_counter() - start)
                memory.usage.record(conversation.namespace, Counted())
                progress.advance(task)

        await asyncio.gather(*map(converse, range(len(said))))
        played.seconds = perf_counter() - began
        after = _cpu()
        played.cpu, played.own_cpu = after[0] - before[0], after[1] - before[1]
        began = perf_counter()
        await _settled(memory, played)
        played.settle_seconds = perf_counter() - began
        await _read_back(memory, said, played)
        await _counted(memory, sum(map(len, said)), played)
    return played


def place(number: int) -> tuple[str, str, str]:
    """Tenant, user and session of a conversation."""
    return f"tenant-{number % TENANTS}", f"user-{number}", "chat"


def _but_url(urls: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in urls.items() if name != "url"}


def _cpu() -> tuple[float, float]:
    """Processor seconds of (everything that takes part, this process alone)."""
    own = sum(os.times()[:2])
    return (cpu_seconds([os.getpid()]) if MEASURES else own), own


async def _settled(memory: Memory, played: Played) -> None:
    """Wait until all is embedded and in the store."""
    for _ in range(SETTLES):
        played.without_vector = await memory.asettle(timeout=30.0)
        if not played.without_vector:
            return


async def _read_back(memory: Memory, said: list[list[Message]], played: Played) -> None:
    """Count what is not there, and what does not stand after the one it was said after."""
    for number, messages in enumerate(said):
        held = [item.id for item in await memory.conversation(*place(number)).amessages()]
        at = {key: position for position, key in enumerate(held)}
        found = [at[message.id] for message in messages if message.id in at]
        played.lost += len(messages) - len(found)
        played.reordered += sum(after < before for before, after in pairwise(found))
        # Twice, or of another conversation: also what should not be.
        played.reordered += len(held) - len(found)


async def _counted(memory: Memory, turns: int, played: Played) -> None:
    """Wait for the tracker, which counts in the background."""
    for _ in range(USAGE_LOOKS):
        played.uncounted = turns - (await memory.usage.atotal()).contexts
        if not played.uncounted:
            return
        await asyncio.sleep(0.05)


def put(report: Report, played: Played, turns: int, suffix: str) -> None:
    """Keep the figures of one setup."""
    report.put(f"turns_per_s{suffix}", turns / played.seconds)
    for share in (50, 99):
        report.put(f"ack_ms_p{share}{suffix}", 1_000 * percentile(played.acks, share))
    report.put(f"lost{suffix}", played.lost)
    report.put(f"reordered{suffix}", played.reordered)
    report.put(f"uncounted{suffix}", played.uncounted)
    report.put(f"without_vector{suffix}", played.without_vector)
    report.put(f"cpu_ms_per_turn{suffix}", 1_000 * played.cpu / turns)
    report.put(f"client_cpu_ms_per_turn{suffix}", 1_000 * played.own_cpu / turns)
    report.put(f"settle_s{suffix}", played.settle_seconds)
