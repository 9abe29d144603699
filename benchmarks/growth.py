"""Milliseconds of a context after 1,000 and after 10,000 turns of one user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Final

from benchmarks.random_vectors import ClusteredVectors, Foreseen
from benchmarks.report import percentile
from benchmarks.scenarios import HISTORY, dialogue
from benchmarks.volume import complete, fresh, settle
from benchmarks.walks import context_of
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Message
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["measure"]

SIZES: Final = (("1k", 1_000), ("10k", 10_000))
CONTEXTS: Final = 150
WARM_UP: Final = 10
BATCH: Final = 500


def measure(
    report: Report,
    folder: Path,
    seed: int,
    counter: TokenCounter,
    progress: Progress,
    sizes: Sequence[tuple[str, int]] = SIZES,
) -> None:
    """Write the histories, then ask both in turn in a new process.

    Vectors are made up, and those of the questions are made before the clock starts. In turn,
    because what else the machine does must not fall on one of the two.
    """
    asked = {}
    for name, turns in sizes:
        messages = dialogue(HISTORY, turns, seed, counter).messages
        write(folder / f"{name}.db", messages, progress, name)
        users = [message.content for message in messages if message.role == "user"]
        # As many of each, however short a history is.
        most = min(CONTEXTS + WARM_UP, *(turns for _, turns in sizes))
        asked[name] = Random(seed).sample(users, most)
    taken = fresh(timed, folder, asked)
    for name, (seconds, tokens) in taken.items():
        report.put_times("context", seconds, name)
        report.put(f"context_tokens/{name}", fmean(tokens))
    middle = [percentile(taken[name][0], 50) for name, _ in sizes]
    report.put("context_ms_ratio", middle[-1] / middle[0])


def write(path: Path, messages: Sequence[Message], progress: Progress, name: str) -> None:
    """Store a whole history, and every vector."""
    with open_memory(path, embedder=ClusteredVectors(), background=False) as memory:
        conversation = memory.conversation("benchmark", "ann", HISTORY)
        task = progress.add_task(f"{name} added", total=len(messages))
        for start in range(0, len(messages), BATCH):
            some = messages[start : start + BATCH]
            conversation.add(some)
            progress.advance(task, len(some))
        settle(memory, progress, name)


def timed(folder: Path, asked: dict[str, list[str]]) -> dict[str, tuple[list[float], list[int]]]:
    """(seconds, tokens) of every context, by history."""
    embedder = Foreseen([text for some in asked.values() for text in some])
    taken: dict[str, tuple[list[float], list[int]]] = {name: ([], []) for name in asked}
    memories = {
        name: open_memory(folder / f"{name}.db", embedder=embedder, background=False)
        for name in asked
    }
    try:
        for texts in zip(*asked.values(), strict=True):
            for (name, memory), text in zip(memories.items(), texts, strict=True):
                conversation = memory.conversation("benchmark", "ann", HISTORY)
                start = perf_counter()
                context = context_of(conversation, text)
                taken[name][0].append(perf_counter() - start)
                taken[name][1].append(context.tokens)
                complete(context)
    finally:
        for memory in memories.values():
            memory.close()
    return {name: (times[WARM_UP:], tokens) for name, (times, tokens) in taken.items()}
