"""Words as sparse vectors, for stores that search dense and sparse together."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rag_memory_plugins.retrieval.lexical import terms_of

__all__ = ["asked", "said"]

SATURATION: Final = 1.2
"""BM25's k1: the fifth time that a word is said counts little more than the fourth."""
_WIDTH: Final = 2**32


def said(text: str) -> tuple[list[int], list[float]]:
    """(indices, values) of a message: how often each word stands in it, saturated.

    From the text alone: word statistics of a whole shard would let one user move the scores of
    another.

    >>> said("a piano, a piano and a kettle")[1]
    [1.375, 1.0]
    """
    counts = _counted(text)
    values = [n * (SATURATION + 1) / (n + SATURATION) for n in counts.values()]
    return list(counts), [round(value, 6) for value in values]


def asked(text: str) -> tuple[list[int], list[float]]:
    """(indices, values) of a question: each word once."""
    indices = list(_counted(text))
    return indices, [1.0] * len(indices)


def _counted(text: str) -> Counter[int]:
    # Folded to the 32 bits that an index has: two words in a billion pairs share one.
    return Counter(term % _WIDTH for term in terms_of(text))
