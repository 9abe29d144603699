"""Messages by the million: sentences with the word frequencies of a language, random vectors.

Time and memory depend on how many words a message has, how often they come back and how many
vectors there are, not on what is said; so neither a corpus nor a model is needed for volume.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.report import BadData

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.progress import Progress

    from rag_memory_plugins import Memory, SearchResult

    Vectors = NDArray[np.float32]

__all__ = ["RandomVectors", "Texts", "complete", "scaled", "settle"]

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
        self._words, self._cumulative = _vocabulary()

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
def _vocabulary() -> tuple[NDArray[np.object_], NDArray[np.float64]]:
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


class RandomVectors:
    """An `Embedder` that takes no time: a text's vector is random, but always the same.

    Each vector is the normalised sum of two rows of a table of random ones, which gives a million
    different vectors for 1.5 MB, so that the embedder does not count in the memory measured.
    """

    ROWS: Final = 1024

    def __init__(self, dimension: int = 384) -> None:
        self._table: Vectors = np.random.default_rng(0).standard_normal(
            (2 * self.ROWS, dimension), dtype=np.float32
        )

    @property
    def fingerprint(self) -> str:
        """Says that these are no model's vectors."""
        return f"benchmarks/random-vectors-1/{self.dimension}"

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return int(self._table.shape[1])

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        sums = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.int64)
        first = self._table[sums % self.ROWS]
        second = self._table[self.ROWS + (sums >> 10) % self.ROWS]
        vectors: Vectors = first + second
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    async def aembed_query(self, text: str) -> Vectors:
        """The text's vector, shape (dimension,)."""
        vector: Vectors = self._vectors([text])[0]
        return vector

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One piece a text, shape (1, dimension); none for an empty text."""
        vectors = self._vectors(texts) if texts else np.empty((0, self.dimension), np.float32)
        return [vectors[at : at + 1] if text else vectors[:0] for at, text in enumerate(texts)]

    async def aclose(self) -> None:
        """Nothing is held."""


def scaled(count: int, scale: float) -> int:
    """`count` under --scale; never fewer than ten, so that a median means something."""
    return max(10, round(count * scale))


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


def complete(found: SearchResult) -> None:
    """Raise `BadData` if a lane did not run: the time of less work is not the time of a search."""
    if found.degraded or any(state != "ok" for state in found.lanes.values()):
        raise BadData(f"a search was not complete: {dict(found.lanes)} {found.degraded}")
