"""Messages by the million: sentences with the word frequencies of a language; and what times them.

Time and memory depend on how many words a message has, how often they come back and how many
vectors there are, not on what is said; so neither a corpus nor a model is needed for volume.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from benchmarks.report import BadData

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Context, Memory, SearchResult

__all__ = [
    "Texts",
    "complete",
    "fresh",
    "put_scale",
    "resident_mb",
    "scaled",
    "settle",
    "sizing",
    "unread",
    "vocabulary",
    "workplace",
]

R = TypeVar("R")

COMMON: Final = (
    "the I to and a you of it that is in was for my we on so have with be at this but me like do "
    "just are not about what been your all really had some up can out they get how know time going "
    "from would one there went as if or when an were think good did more them new after day last"
).split()
SYLLABLES: Final = (
    "ba be bo ca ce co da de di do fa fe fi ga go ha he ho ja ka ke la le li lo lu ma me mi mo mu "
    "na ne ni no pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi wa wi ya ze zo"
).split()
ENDINGS: Final = ("", "s", "ed", "ing", "er", "ly", "ness", "n", "r", "st")
OPENINGS: Final = ("what did", "when was", "who said", "where is")
WORDS: Final = 20_000
ZIPF: Final = 1.0
"""Exponent of word frequency by rank; about 1 in every language counted."""
LENGTH: Final = (2.9, 0.6)
"""Mean and deviation of the logarithm of words a message: half have 18 or more, 1 in 20 has 50."""


class Texts:
    """A seeded source of messages and of questions about them."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        # The vocabulary is one language for every seed; only what is said differs.
        self._words, self._cumulative = vocabulary()

    def messages(self, count: int) -> list[str]:
        """`count` texts of one to three sentences."""
        lengths = self._random.lognormal(*LENGTH, size=count).astype(int).clip(3, 200)
        ends = np.cumsum(lengths)
        ranks = np.searchsorted(self._cumulative, self._random.random(int(ends[-1])))
        words = self._words[ranks.clip(0, WORDS - 1)]
        return [
            _sentences(words[end - length : end].tolist())
            for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]

    def questions(self, messages: Sequence[str], count: int) -> list[str]:
        """`count` questions, each with up to four rarer words of one message."""
        picked = self._random.integers(len(messages), size=count).tolist()
        return [self._question(messages[at], number) for number, at in enumerate(picked)]

    def _question(self, message: str, number: int) -> str:
        words = dict.fromkeys(word.strip(".").lower() for word in message.split())
        rare = [word for word in words if word not in _COMMON]
        self._random.shuffle(rare)
        return f"{OPENINGS[number % len(OPENINGS)]} {' '.join(rare[:4])}?"


_COMMON: Final = frozenset(word.lower() for word in COMMON)


@functools.cache
def vocabulary() -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Different words, the commonest first, and the share of text that each and those before fill.

    Real function words come first, then made-up ones.
    """
    random = np.random.default_rng(0)
    words: dict[str, None] = dict.fromkeys(COMMON)
    while len(words) < WORDS:
        syllables = random.choice(SYLLABLES, size=int(random.integers(2, 5)))
        words["".join(syllables) + ENDINGS[int(random.integers(len(ENDINGS)))]] = None
    weights = 1.0 / np.arange(1, WORDS + 1) ** ZIPF
    return np.array(list(words), dtype=object), np.cumsum(weights / weights.sum())


def _sentences(words: list[str]) -> str:
    step = max(6, -(-len(words) // 3))
    parts = (" ".join(words[start : start + step]) for start in range(0, len(words), step))
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def sizing(parser: argparse.ArgumentParser) -> None:
    """Add the options of a benchmark whose data is made up: how much of it, and from which seed."""
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of every count, for a trial run; its figures do not compare with a full run's",
    )
    parser.add_argument("--seed", type=int, default=7, help="of the texts (7)")


def put_scale(report: Report, share: float) -> None:
    """Say in the figures that they are of a trial run. Raises `BadData` for a share of none."""
    if not 0 < share <= 1:
        raise BadData(f"--scale: got {share}; pass a share above 0 and up to 1")
    if share < 1:
        report.put("scale", share)


def scaled(count: int, scale: float) -> int:
    """`count` under --scale; never fewer than ten, so that a median means something."""
    return max(10, round(count * scale))


@contextmanager
def workplace(folder: str | None) -> Iterator[Path]:
    """A new folder for the databases, inside `folder` if given, removed afterwards."""
    if folder is not None and not Path(folder).is_dir():
        raise BadData(f"--dir: {folder} is no folder; make it or leave the option out")
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder) as name:
        yield Path(name)


def fresh(function: Callable[..., R], *arguments: object) -> R:
    """What `function` of a module returns in a process of its own, which has nothing loaded."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def resident_mb() -> float:
    """Resident memory of this process now; on systems without /proc, the most it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def unread(path: Path) -> None:
    """Have the system forget the file's pages, so that reading it reads the disk."""
    for part in path.parent.glob(f"{path.name}*"):
        descriptor = os.open(part, os.O_RDWR)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def settle(memory: Memory, progress: Progress, what: str = "", patience: float = 60.0) -> None:
    """Wait until every message has its vector.

    Raises `BadData` when none was made for `patience` seconds: `settle` may return while the
    background worker still embeds a batch that it took.
    """
    total = left = memory.backlog()
    task = progress.add_task(f"{what} vectors".strip(), total=total)
    moved = time.monotonic()
    while left:
        before, left = left, memory.settle(timeout=5.0)
        progress.update(task, completed=total - left)
        if left < before:
            moved = time.monotonic()
        elif time.monotonic() - moved > patience:
            raise BadData(f"the outbox stands still at {left} messages without a vector")
        else:
            time.sleep(0.02)


def complete(found: SearchResult | Context) -> None:
    """Raise `BadData` if a lane did not run: the time of less work is not the time of a search.

    Cues are off for questions in other languages than English; that is how a search goes there.
    """
    states = [state for lane, state in found.lanes.items() if lane != "cues"]
    if found.degraded or any(state != "ok" for state in states):
        raise BadData(f"a search was not complete: {dict(found.lanes)} {found.degraded}")
