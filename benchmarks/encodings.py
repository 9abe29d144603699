"""An embedder that keeps token vectors too: a second run ranks exactly as the first, late step in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report import BadData
from benchmarks.vectors import CachedVectors
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason
from rag_memory_plugins.retrieval.encoding import aencode_documents, aencode_query

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder

__all__ = ["CachedEncodings", "default_encodings"]


class CachedEncodings(CachedVectors):
    """A `TokenEmbedder` that asks `inner` only for texts whose encodings its file does not hold.

    The key is the inner fingerprint and the text. Vectors asked for alone are kept apart, as
    `CachedVectors` keeps them.
    """

    def __init__(self, inner: Embedder, path: str) -> None:
        super().__init__(inner, path)
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS encodings "
            "(key BLOB PRIMARY KEY, vectors BLOB, tokens BLOB, width INTEGER, spans TEXT)"
        )

    async def aencode_query(self, text: str) -> Encoded:
        """One question with its token vectors, if the inner embedder gives any."""
        key = self._key("encoded query", text)
        held = self._encoding(key)
        if held is None:
            held = await aencode_query(self._inner, text)
            self._keep([(key, held)])
        return held

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text's pieces and token vectors."""
        keys = [self._key("encoded document", text) for text in texts]
        held = [self._encoding(key) for key in keys]
        missing = [at for at, encoded in enumerate(held) if encoded is None]
        if missing:
            made = await aencode_documents(self._inner, [texts[at] for at in missing])
            self._keep([(keys[at], encoded) for at, encoded in zip(missing, made, strict=True)])
            for at, encoded in zip(missing, made, strict=True):
                held[at] = encoded
        return [encoded for encoded in held if encoded is not None]

    def _encoding(self, key: bytes) -> Encoded | None:
        row = self._file.execute(
            "SELECT vectors, tokens, width, spans FROM encodings WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        vectors = np.frombuffer(row[0], np.float32).reshape(-1, self.dimension)
        # -1: the inner embedder gives no token vectors.
        tokens = np.frombuffer(row[1], np.int8).reshape(-1, row[2]) if row[2] > 0 else None
        return Encoded(vectors, tokens, tuple((low, high) for low, high in json.loads(row[3])))

    def _keep(self, rows: Sequence[tuple[bytes, Encoded]]) -> None:
        values = [(key, *_columns(encoded)) for key, encoded in rows]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany("INSERT OR REPLACE INTO encodings VALUES (?, ?, ?, ?, ?)", values)
        self._file.execute("COMMIT")


def _columns(encoded: Encoded) -> tuple[Any, ...]:
    vectors = encoded.vectors.astype(np.float32).tobytes()
    spans = json.dumps(encoded.spans)
    if encoded.tokens is None:
        return vectors, b"", -1, spans
    return vectors, encoded.tokens.tobytes(), encoded.tokens.shape[1], spans


@contextmanager
def default_encodings(path: str) -> Iterator[CachedEncodings]:
    """The default embedder behind a file of its encodings. Raises `BadData` without one."""
    inner = default_embedder()
    if inner is None:
        raise BadData(missing_local_reason())
    try:
        with closing(CachedEncodings(inner, path)) as embedder:
            yield embedder
    finally:
        get_portal().call(inner.aclose())
