"""Test doubles that implement the ports, for our tests and for those of users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag_memory_plugins.errors import EmbedderError

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Vectors

__all__ = ["WordEmbedder"]


class WordEmbedder:
    """An `Embedder` without a model: texts that share word stems get near vectors.

    Each stem has a fixed pseudo-random direction and a text the sum of its stems', so results are
    the same on every machine, in every batch. `fail` makes every call raise `EmbedderError`;
    `calls` counts calls, `embedded` lists the texts of `aembed_documents`.

    >>> import asyncio
    >>> embedder = WordEmbedder()
    >>> near, far = (asyncio.run(embedder.aembed_query(t)) for t in ("red cars", "blue sky"))
    >>> query = asyncio.run(embedder.aembed_query("a red car"))
    >>> bool(query @ near > query @ far)
    True
    """

    def __init__(self, dimension: int = 64, name: str = "words") -> None:
        self.dimension = dimension
        self.name = name
        self.fail = False
        self.calls = 0
        self.embedded: list[str] = []

    @property
    def fingerprint(self) -> str:
        return f"{self.name}/1/{self.dimension}"

    async def aembed_query(self, text: str) -> Vectors:
        """One unit vector of shape (dimension,)."""
        self._call()
        return self._vector(text)

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its one piece, of shape (1, dimension); (0, dimension) for no text."""
        import numpy as np

        self._call()
        self.embedded += texts
        empty = np.empty((0, self.dimension), np.float32)
        return [self._vector(text)[None, :] if text.strip() else empty for text in texts]

    async def aclose(self) -> None:
        """Nothing to free."""

    def _call(self) -> None:
        self.calls += 1
        if self.fail:
            raise EmbedderError(f"embedder {self.name!r}: told to fail; set fail=False")

    def _vector(self, text: str) -> Vectors:
        import numpy as np

        from rag_memory_plugins.retrieval.lexical import terms_of

        total = np.zeros(self.dimension)
        for term in terms_of(text) or [0]:
            total += np.random.default_rng(term).standard_normal(self.dimension)
        return np.asarray(total / np.linalg.norm(total), np.float32)
