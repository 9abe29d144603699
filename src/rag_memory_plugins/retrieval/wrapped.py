"""An `Embedder` made of two blocking functions: what both adapters' `as_embedder` return."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from rag_memory_plugins.errors import EmbedderError, InvalidInput
from rag_memory_plugins.portal import Threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import Vectors

__all__ = ["WrappedEmbedder"]

Rows = Sequence[Sequence[float]]
T = TypeVar("T")

PIECE_CHARACTERS: Final = 2000
OVERLAP: Final = 10  # a tenth of a piece is said again in the next one


class WrappedEmbedder:
    """Blocking `query` and `documents` functions as an `Embedder`, run in one worker thread.

    `name` must change when the model does: with `dimension` and `piece_characters` it is the
    fingerprint. Left at None, `dimension` is asked of the model once, here. A text longer than
    `piece_characters` is embedded in overlapping pieces, because the frameworks do not tell how
    much a model reads. Vectors come out as unit float32, whatever the model gives. Raises
    `EmbedderError` for anything the model raises and for vectors that cannot be used.
    """

    def __init__(
        self,
        name: str,
        query: Callable[[str], Sequence[float]],
        documents: Callable[[list[str]], Rows],
        *,
        dimension: int | None = None,
        piece_characters: int = PIECE_CHARACTERS,
    ) -> None:
        if piece_characters < OVERLAP:
            raise InvalidInput("piece_characters", piece_characters, f"pass at least {OVERLAP}")
        if dimension is not None and dimension < 1:
            raise InvalidInput("dimension", dimension, "pass the length of the model's vectors")
        self._name = name
        self._query = query
        self._documents = documents
        self._piece = piece_characters
        self._lock = threading.Lock()
        self._threads: Threads | None = None
        self.dimension = dimension or len(self._guard(lambda: query("dimension")))

    @property
    def fingerprint(self) -> str:
        """Model and dimension, and the length of a piece, which changes the vectors too."""
        return f"{self._name}:{self.dimension}:{self._piece}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fingerprint!r})"

    async def aembed_query(self, text: str) -> Vectors:
        """One question as a unit vector. Raises `EmbedderError`."""
        rows = await self._run(lambda: [self._query(text)])
        vectors, zero = self._unit(rows, 1)
        if zero[0]:
            raise EmbedderError(f"{self._name} gave a vector of length zero for the query")
        first: Vectors = vectors[0]
        return first

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces; shape (0, dimension) for an empty text."""
        pieces = [self._pieces(text) for text in texts]
        flat = [piece for of_text in pieces for piece in of_text]
        rows = await self._run(lambda: self._documents(flat)) if flat else []
        vectors, zero = self._unit(rows, len(flat))
        done: list[Vectors] = []
        start = 0
        for of_text in pieces:
            end = start + len(of_text)
            done.append(vectors[start:end][~zero[start:end]])
            start = end
        return done

    async def aclose(self) -> None:
        """End the worker thread; a later call starts another."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.close()

    async def _run(self, function: Callable[[], T]) -> T:
        with self._lock:
            if self._threads is None:
                self._threads = Threads(1, "rag-memory-embedder")
            threads = self._threads
        return await threads.run(lambda: self._guard(function))

    def _guard(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except Exception as error:  # any model, any client: its errors share no base class
            raise EmbedderError(f"{self._name} failed: {error}") from error

    def _pieces(self, text: str) -> list[str]:
        if not text.strip():
            return []
        step = self._piece - self._piece // OVERLAP
        last = max(len(text) - self._piece // OVERLAP, 1)
        return [text[start : start + self._piece] for start in range(0, last, step)]

    def _unit(self, rows: Rows, count: int) -> tuple[Vectors, NDArray[np.bool_]]:
        """Unit rows of shape (count, dimension), and which of them were of length zero."""
        try:
            vectors: Vectors = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
        except (TypeError, ValueError) as error:
            raise EmbedderError(f"{self._name} gave vectors that are not numbers") from error
        if not count:
            vectors = vectors.reshape(0, self.dimension)
        if vectors.shape != (count, self.dimension):
            raise EmbedderError(
                f"{self._name} gave vectors of shape {vectors.shape}; "
                f"expected {(count, self.dimension)}"
            )
        if not np.isfinite(vectors).all():
            raise EmbedderError(f"{self._name} gave vectors with NaN or infinity")
        lengths = np.linalg.norm(vectors, axis=1)
        zero: NDArray[np.bool_] = lengths == 0
        unit: Vectors = (vectors / np.where(zero, 1, lengths)[:, None]).astype(np.float32)
        return unit, zero
