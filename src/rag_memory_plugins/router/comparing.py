"""Whether two answers say the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.router.guards import normalised, same_facts

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder

__all__ = ["SameAnswer"]

NEAR: Final = 0.9
"""Cosine of two answers that say the same, where their numbers and names agree."""


class SameAnswer:
    """By the user's word `same(a, b)`, else: equal but for case and end sign, or alike.

    Alike are answers that agree in numbers, ids, names and negation and whose pieces have a cosine
    of 0.9. That is right for short answers and too strict for long ones, which are then taken for
    different.

    >>> import asyncio
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> asyncio.run(SameAnswer(WordEmbedder()).asame("Ottawa.", "ottawa"))
    True
    """

    def __init__(self, embedder: Embedder, same: Callable[[str, str], bool] | None = None) -> None:
        self._embedder = embedder
        self._same = same

    async def asame(self, a: str, b: str) -> bool:
        """Whether they say the same. Raises `EmbedderError`, and what the user's word raises."""
        if self._same is not None:
            return bool(self._same(a, b))
        if normalised(a) == normalised(b):
            return True
        if not same_facts(a, b):
            return False
        left, right = await self._embedder.aembed_documents([a, b])
        if not len(left) or len(left) != len(right):
            return False
        return bool((left * right).sum(axis=1).min() >= NEAR)
