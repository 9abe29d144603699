"""Embedders that take no time: time and memory depend on how many vectors there are, not on which."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.retrieval.sentences import passages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    TokenVectors = NDArray[np.int8]

__all__ = ["ClusteredVectors", "Foreseen", "RandomVectors"]

WORD: Final = re.compile(r"\w+|[^\w\s]")
LONG: Final = 8
"""Letters from which on a word has two tokens: there are 1.4 to a word then, as in MiniLM."""
WIDTH: Final = 64
LENGTH: Final = 200.0
PASSAGE_WIDTH: Final = 128
PASSAGE_LENGTH: Final = 300.0
"""What the local embedder's token vectors have, cut to whole numbers of one byte."""


class RandomVectors:
    """A `TokenEmbedder`: a text's vector is random, but always the same, and so is a token's.

    Each vector is the normalised sum of two rows of a table of random ones, which gives a million
    different vectors for 1.5 MB, so that the embedder does not count in the memory measured.
    """

    ROWS: Final = 1024

    def __init__(self, dimension: int = 384) -> None:
        random = np.random.default_rng(0)
        self._table: Vectors = random.standard_normal((2 * self.ROWS, dimension), dtype=np.float32)
        tokens = random.standard_normal((8 * self.ROWS, WIDTH), dtype=np.float32)
        tokens *= LENGTH / np.linalg.norm(tokens, axis=1, keepdims=True)
        self._tokens: TokenVectors = np.clip(np.rint(tokens), -127, 127).astype(np.int8)
        short = random.standard_normal((8 * self.ROWS, PASSAGE_WIDTH), dtype=np.float32)
        short *= PASSAGE_LENGTH / np.linalg.norm(short, axis=1, keepdims=True)
        self._short: TokenVectors = np.clip(np.rint(short), -127, 127).astype(np.int8)

    @property
    def fingerprint(self) -> str:
        """Says that these are no model's vectors."""
        return f"benchmarks/random-vectors-3/{self.dimension}"

    def _passages(self, texts: Sequence[str]) -> TokenVectors:
        """A short vector for each of these passages."""
        rows = [zlib.crc32(text.encode()) for text in texts]
        short: TokenVectors = self._short[np.array(rows, np.int64) % len(self._short)]
        return short

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

    def _of_tokens(self, text: str) -> tuple[TokenVectors, tuple[tuple[int, int], ...]]:
        """(vectors of the tokens, where each stands); a long word is two tokens."""
        rows: list[int] = []
        spans: list[tuple[int, int]] = []
        for word in WORD.finditer(text):
            start, end = word.span()
            row = zlib.crc32(word.group().lower().encode())
            cut = end if end - start < LONG else (start + end) // 2
            rows.append(row)
            spans.append((start, cut))
            if cut < end:
                rows.append(row >> 13)
                spans.append((cut, end))
        return self._tokens[np.array(rows, np.int64) % len(self._tokens)], tuple(spans)

    async def aembed_query(self, text: str) -> Vectors:
        """The text's vector, shape (dimension,)."""
        vector: Vectors = self._vectors([text])[0]
        return vector

    async def aencode_query(self, text: str) -> Encoded:
        """The text's vector, shape (1, dimension), and its tokens'."""
        return Encoded(self._vectors([text]), *self._of_tokens(text), self._passages([text]))

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One piece a text, shape (1, dimension); none for an empty text."""
        vectors = self._vectors(texts) if texts else np.empty((0, self.dimension), np.float32)
        return [vectors[at : at + 1] if text else vectors[:0] for at, text in enumerate(texts)]

    async def aencode_documents(
        self, texts: Sequence[str], before: Sequence[str] = ()
    ) -> list[Encoded]:
        """The same with token vectors; what was said before a text changes nothing."""
        vectors = await self.aembed_documents(texts)
        return [
            Encoded(
                pieces,
                self._of_tokens(text)[0],
                (),
                self._passages([text[start:end] for start, end in passages(text)]),
            )
            for pieces, text in zip(vectors, texts, strict=True)
        ]

    async def aclose(self) -> None:
        """Nothing is held."""


class ClusteredVectors(RandomVectors):
    """Random vectors that lie around a few dozen topics.

    Two texts have a cosine of about 0.3 when their topic is the same, else of about 0.
    """

    TOPICS: Final = 48
    PULL: Final = 0.65
    """Length of the topic's part beside a random part of length 1."""

    def __init__(self, dimension: int = 384) -> None:
        super().__init__(dimension)
        random = np.random.default_rng(1)
        topics: Vectors = random.standard_normal((self.TOPICS, dimension), dtype=np.float32)
        topics *= self.PULL / np.linalg.norm(topics, axis=1, keepdims=True)
        self._topics = topics

    @property
    def fingerprint(self) -> str:
        """Says that these are no model's vectors."""
        return f"benchmarks/clustered-vectors-3/{self.dimension}"

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        sums = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.int64)
        vectors: Vectors = super()._vectors(texts) + self._topics[(sums >> 5) % self.TOPICS]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


class Foreseen(ClusteredVectors):
    """The same, with some questions encoded before anything is timed: they are looked up."""

    def __init__(self, questions: Sequence[str]) -> None:
        super().__init__()
        vectors = self._vectors(questions)
        self._at_hand = {
            question: Encoded(
                vectors[at : at + 1], *self._of_tokens(question), self._passages([question])
            )
            for at, question in enumerate(questions)
        }

    async def aencode_query(self, text: str) -> Encoded:
        """A question at hand; another is encoded."""
        return self._at_hand.get(text) or await super().aencode_query(text)

    async def aembed_query(self, text: str) -> Vectors:
        """Its vector, shape (dimension,)."""
        vector: Vectors = (await self.aencode_query(text)).vectors[0]
        return vector
