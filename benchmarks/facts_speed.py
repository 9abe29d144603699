"""What a fact costs to state and to ask for, in a file that holds many of many users.

Every user has 100 facts. The file is filled in batches of one user's; then single facts are stated,
a tenth of which change a value, and questions are asked of users drawn at random. With the local
model a smaller file is asked twice: with the embedding of the question, and with it at hand.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final

from benchmarks.encodings import default_encodings
from benchmarks.report import BadData, percentile
from benchmarks.timed import Clock
from benchmarks.volume import settle
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.ports import Claim

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Memory
    from rag_memory_plugins.memory.facts import Facts

__all__ = ["measure"]

FACTS: Final = 100
INSERTS: Final = 500
QUERIES: Final = 500
TEXTS: Final = 200
LOCAL: Final = 20
"""Users of the file that the local model fills: a question reads one user's facts alone."""
PREDICATES: Final = ("status", "owner", "budget", "deadline", "supplier")
WORDS: Final = (
    "granite harbour lantern meadow orchard pillar quarry ribbon saddle timber velvet willow anchor "
    "bramble candle dagger ember falcon garnet hazel"
).split()


def measure(
    report: Report, folder: Path, seed: int, namespaces: int, progress: Progress, *, local: bool
) -> None:
    """Fill a file and time single facts and questions; with `local` also by the local model."""
    chance = random.Random(seed)  # no secret
    with open_memory(folder / "speed.db", embedder=None, background=False) as memory:
        _fill(report, memory, namespaces, seed, progress)
        _insert(report, memory, namespaces, chance)
        _query(report, memory, namespaces, chance)
        _texts(report, memory, namespaces, chance, "keywords")
    report.put("facts", namespaces * FACTS)
    report.put("namespaces", namespaces)
    if local:
        count = min(LOCAL, namespaces)
        with (
            default_encodings(str(folder / "speed-vectors.db")) as embedder,
            open_memory(folder / "local.db", embedder=embedder, background=False) as memory,
        ):
            _fill(None, memory, count, seed, progress)
            settle(memory, progress, "facts embedded")
            asked = list(_questions(count, chance, TEXTS))
            _asked(report, memory, asked, "local_embedding_too")
            _asked(report, memory, asked, "local")


def _fill(
    report: Report | None, memory: Memory, namespaces: int, seed: int, progress: Progress
) -> None:
    wall, cpu = perf_counter(), process_time()
    task = progress.add_task("facts stored", total=namespaces)

    async def fill() -> None:
        for user in range(namespaces):
            claims = [_claim(user, number, seed) for number in range(FACTS)]
            await _facts(memory, user).astate(claims)
            progress.advance(task)

    memory.portal.call(fill())
    if report is not None:
        count = namespaces * FACTS
        report.put("fill_ms_per_fact", 1000 * (perf_counter() - wall) / count)
        report.put("fill_cpu_ms_per_fact", 1000 * (process_time() - cpu) / count)


def _insert(report: Report, memory: Memory, namespaces: int, chance: random.Random) -> None:
    """Single facts, and in turn messages of the same words: what any write costs here, now."""
    clock, beside = Clock(), Clock()
    for number in range(INSERTS):
        user = chance.randrange(namespaces)
        # A tenth are other values of what is known; the others are new.
        of = chance.randrange(FACTS) if number % 10 == 0 else FACTS + number
        claim = _claim(user, of, -1 - number)
        facts = _facts(memory, user)
        with clock:
            decided = facts.insert(claim.subject, claim.predicate, claim.object)
        expected = "UPDATE" if of < FACTS else "ADD"
        if decided.decision != expected:
            raise BadData(f"{decided.decision} in the place of {expected}: {claim}")
        message = Message("user", f"{claim.subject} {claim.predicate} {claim.object}")
        with beside:
            facts.conversation.add(message)
    _put(report, "insert", clock)
    report.put("add_ms_p50", 1000 * median(beside.wall))


def _query(report: Report, memory: Memory, namespaces: int, chance: random.Random) -> None:
    clock = Clock()
    for _ in range(QUERIES):
        user, number = chance.randrange(namespaces), chance.randrange(FACTS)
        claim = _claim(user, number, 0)
        facts = _facts(memory, user)
        with clock:
            found = facts.query(subject=claim.subject, predicate=claim.predicate)
        if len(found) != 1:
            raise BadData(f"{len(found)} facts in the place of one: {claim}")
    _put(report, "query", clock)


def _texts(
    report: Report, memory: Memory, namespaces: int, chance: random.Random, way: str
) -> None:
    _asked(report, memory, list(_questions(namespaces, chance, TEXTS)), way)


def _questions(namespaces: int, chance: random.Random, count: int) -> Iterator[tuple[int, str]]:
    for _ in range(count):
        user = chance.randrange(namespaces)
        claim = _claim(user, chance.randrange(FACTS), 0)
        yield user, f"What is the {claim.predicate} of {claim.subject}?"


def _asked(report: Report, memory: Memory, asked: Sequence[tuple[int, str]], way: str) -> None:
    clock = Clock()
    for user, text in asked:
        facts = _facts(memory, user)
        with clock:
            found = facts.query(text, limit=10)
        if not found or (found.degraded and way != "keywords"):
            raise BadData(f"a search was not complete: {found.degraded}, {len(found)} facts")
    _put(report, "query_text", clock, way)


def _put(report: Report, name: str, clock: Clock, of: str = "") -> None:
    report.put_times(name, clock.wall, of)
    suffix = f"/{of}" if of else ""
    report.put(f"{name}_cpu_ms_p50{suffix}", 1000 * median(clock.cpu))
    report.put(f"{name}_cpu_ms_p95{suffix}", 1000 * percentile(clock.cpu, 95))


def _facts(memory: Memory, user: int) -> Facts:
    return memory.conversation(f"tenant-{user % 100}", f"user-{user}", "told").facts


def _claim(user: int, number: int, seed: int) -> Claim:
    """One fact of a user; another seed gives the same slot another value."""
    chance = random.Random(f"{seed} {user} {number}")  # no secret
    name = f"{WORDS[number % len(WORDS)]} {WORDS[(number * 7 + user) % len(WORDS)]} {number}"
    value = f"{chance.choice(WORDS)} {chance.choice(WORDS)} {chance.randrange(10**6)}"
    return Claim(name, PREDICATES[number % len(PREDICATES)], value)
