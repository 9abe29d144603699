"""Embedders that keep what another one made: in a file between runs, at hand within one."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.encoding import aencode_documents, aencode_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import Embedder, Encoded

    Vectors = NDArray[np.float32]

__all__ = ["AtHand", "CachedVectors"]


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


class AtHand:
    """An `Embedder` whose vectors are made before anything is timed, for ours and for peers alike.

    What was not foreseen is embedded when asked for; `seconds` sums the time of that, so that who
    measures can take it out. The sync methods are for libraries that want one list a text.
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._documents: dict[str, Encoded] = {}
        self._queries: dict[str, Encoded] = {}
        self.fingerprint = inner.fingerprint
        self.dimension = inner.dimension
        self.seconds = 0.0

    def foresee(self, texts: Sequence[str], questions: Sequence[str]) -> None:
        """Make the vectors of what will be stored and asked."""
        get_portal().call(self.aembed_documents(texts))
        for question in questions:
            get_portal().call(self.aembed_query(question))

    def document(self, text: str) -> list[float]:
        """The vector of a text's first piece, as a model gives it that cuts what is too long."""
        if text not in self._documents:
            get_portal().call(self.aembed_documents([text]))
        pieces = self._documents[text].vectors
        return pieces[0].tolist() if len(pieces) else [0.0] * self.dimension

    def query(self, text: str) -> list[float]:
        """A question's vector; also a stored text's, which some peers embed as a question."""
        if text not in self._queries and self._one_piece(text):
            # MiniLM gives a text of one piece the same vector either way.
            return self.document(text)
        if text not in self._queries:
            get_portal().call(self.aembed_query(text))
        vector: list[float] = self._queries[text].vectors[0].tolist()
        return vector

    def _one_piece(self, text: str) -> bool:
        return text in self._documents and len(self._documents[text].vectors) == 1

    async def aembed_query(self, text: str) -> Vectors:
        """One question's vector, shape (dimension,)."""
        vector: Vectors = (await self.aencode_query(text)).vectors[0]
        return vector

    async def aencode_query(self, text: str) -> Encoded:
        """The same with token vectors, if the inner embedder gives any."""
        if text not in self._queries:
            start = perf_counter()
            self._queries[text] = await aencode_query(self._inner, text)
            self.seconds += perf_counter() - start
        return self._queries[text]

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """Each text's pieces, shape (pieces, dimension)."""
        return [encoded.vectors for encoded in await self.aencode_documents(texts)]

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """The same with token vectors, if the inner embedder gives any."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._documents]
        if missing:
            start = perf_counter()
            made = await aencode_documents(self._inner, missing)
            self._documents.update(zip(missing, made, strict=True))
            self.seconds += perf_counter() - start
        return [self._documents[text] for text in texts]

    async def aclose(self) -> None:
        """Nothing: the inner embedder is its opener's."""
