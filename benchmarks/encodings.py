"""An embedder that keeps token vectors too: a second run ranks exactly as the first, late step in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
            "CREATE TABLE IF NOT EXISTS encoded (key BLOB PRIMARY KEY, vectors BLOB, tokens BLOB, "
            "width INTEGER, spans TEXT, passages BLOB, passage_width INTEGER)"
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
            "SELECT vectors, tokens, width, spans, passages, passage_width FROM encoded "
            "WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        vectors = np.frombuffer(row[0], np.float32).reshape(-1, self.dimension)
        spans = tuple((low, high) for low, high in json.loads(row[3]))
        return Encoded(vectors, _rows(row[1], row[2]), spans, _rows(row[4], row[5]))

    def _keep(self, rows: Sequence[tuple[bytes, Encoded]]) -> None:
        values = [(key, *_columns(encoded)) for key, encoded in rows]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(
            "INSERT OR REPLACE INTO encoded VALUES (?, ?, ?, ?, ?, ?, ?)", values
        )
        self._file.execute("COMMIT")


def _columns(encoded: Encoded) -> tuple[Any, ...]:
    vectors = encoded.vectors.astype(np.float32).tobytes()
    tokens, passages = _blob(encoded.tokens), _blob(encoded.passages)
    return vectors, *tokens, json.dumps(encoded.spans), *passages


def _blob(rows: NDArray[np.int8] | None) -> tuple[bytes, int]:
    """Rows and their width; -1 for none, as of an embedder that does not give them."""
    return (b"", -1) if rows is None else (rows.tobytes(), rows.shape[1])


def _rows(blob: bytes, width: int) -> NDArray[np.int8] | None:
    return np.frombuffer(blob, np.int8).reshape(-1, width) if width > 0 else None


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
