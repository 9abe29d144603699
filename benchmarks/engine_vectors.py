"""Vectors as a sentence embedder's lie, questions about them, and their exact neighbours.

Most of what tells real embeddings apart lies along few directions, and texts are about something:
the length of a part along axis i falls with the root of i (about 26 directions hold it all), 256
topics are as frequent as words are (Zipf), and two texts of a topic have a cosine of about 0.36, of
different ones about 0. A question has one of about 0.7 with one text, its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

__all__ = ["DIMENSION", "Asked", "ask", "exact", "make"]

DIMENSION: Final = 384
TOPICS: Final = 256
PULL: Final = 0.6
SOURCE: Final = 0.7


@dataclass(frozen=True)
class Asked:
    """Questions, shape (n, dimension), each of one tenant."""

    tenants: list[int]
    vectors: Vectors


def make(count: int, seed: int) -> Vectors:
    """`count` unit vectors."""
    random = np.random.default_rng(seed)
    topics = _parts(random, TOPICS)
    shares = 1.0 / np.arange(1, TOPICS + 1)
    about = random.choice(TOPICS, size=count, p=shares / shares.sum())
    vectors: Vectors = PULL * topics[about] + np.sqrt(1 - PULL**2) * _parts(random, count)
    return _units(vectors)


def ask(vectors: Vectors, tenants: int, among: int, count: int, seed: int) -> Asked:
    """`count` questions of `among` of the tenants, in turn; all have equally many vectors."""
    random = np.random.default_rng(seed)
    each = len(vectors) // tenants
    some = random.permutation(tenants)[:among]
    whose = [int(some[number % len(some)]) for number in range(count)]
    sources = np.array([tenant * each + int(random.integers(each)) for tenant in whose])
    other = np.sqrt(1 - SOURCE**2) * _units(_parts(random, count))
    return Asked(whose, _units(SOURCE * vectors[sources] + other))


def exact(vectors: Vectors, tenants: int, asked: Asked, limit: int) -> list[set[int]]:
    """The numbers of each question's nearest vectors among its tenant's."""
    each = len(vectors) // tenants
    best = []
    for tenant, question in zip(asked.tenants, asked.vectors, strict=True):
        start = tenant * each
        scores = vectors[start : start + each] @ question
        best.append({start + int(at) for at in np.argsort(-scores)[:limit]})
    return best


def _parts(random: np.random.Generator, count: int) -> Any:
    scales = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5
    scales /= np.linalg.norm(scales)
    return random.standard_normal((count, DIMENSION), dtype=np.float32) * scales


def _units(vectors: Any) -> Vectors:
    made: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return made
