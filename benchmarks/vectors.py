"""An embedder that keeps what another one made, so that a second run embeds nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import Embedder

    Vectors = NDArray[np.float32]

__all__ = ["CachedVectors"]


class CachedVectors:
    """An `Embedder` that asks `inner` only for texts whose vectors its file does not hold.

    The key is the inner fingerprint and the text. A vector is written before it is returned.
    """

    def __init__(self, inner: Embedder, path: str) -> None:
        self._inner = inner
        # The memory awaits us on its own thread, never on two at once.
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, data BLOB)")

    def close(self) -> None:
        """Let go of the file; the inner embedder is its opener's."""
        self._file.close()

    @property
    def fingerprint(self) -> str:
        """The inner one: the vectors are the same."""
        return self._inner.fingerprint

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._inner.dimension

    async def aembed_query(self, text: str) -> Vectors:
        """One question's vector, shape (dimension,)."""
        key = self._key("query", text)
        if (held := self._read(key)) is not None:
            first: Vectors = held[0]
            return first
        vector = await self._inner.aembed_query(text)
        self._write([(key, vector)])
        return vector

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """Each text's pieces, shape (pieces, dimension)."""
        keys = [self._key("document", text) for text in texts]
        held = [self._read(key) for key in keys]
        missing = [at for at, vectors in enumerate(held) if vectors is None]
        made = await self._inner.aembed_documents([texts[at] for at in missing]) if missing else []
        self._write([(keys[at], vectors) for at, vectors in zip(missing, made, strict=True)])
        fresh = dict(zip(missing, made, strict=True))
        return [fresh[at] if vectors is None else vectors for at, vectors in enumerate(held)]

    async def aclose(self) -> None:
        """Nothing: the inner embedder and the file outlive the memories that use them."""

    def _key(self, kind: str, text: str) -> bytes:
        return hashlib.sha256(f"{self.fingerprint}\n{kind}\n{text}".encode()).digest()

    def _read(self, key: bytes) -> Vectors | None:
        row = self._file.execute("SELECT data FROM vectors WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        vectors: Vectors = np.frombuffer(row[0], dtype=np.float32).reshape(-1, self.dimension)
        return vectors

    def _write(self, rows: Sequence[tuple[bytes, Vectors]]) -> None:
        blobs = [(key, vectors.astype(np.float32).tobytes()) for key, vectors in rows]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", blobs)
        self._file.execute("COMMIT")
