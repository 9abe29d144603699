"""What one search reads of the database: the scope's head, its new rows and vectors, its hits.

All within the search's own transaction, so that every part is of one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, bindparam, func, null, select
from sqlalchemy.dialects import sqlite

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.ports import Query
from rag_memory_plugins.results import Hit
from rag_memory_plugins.retrieval.columns import from_halves
from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.cues import cues_of
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.retrieval.retriever import Question, Ranked
from rag_memory_plugins.stores.cache import Loaded
from rag_memory_plugins.stores.dialects import Numbers, one_of
from rag_memory_plugins.stores.rows import message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    calibrations,
    indexes,
    keywords,
    messages,
    paths,
    removals,
    scopes,
    sessions,
    text_hash,
    tokens,
    vectors,
)
from rag_memory_plugins.types import Messages

__all__ = [
    "Head",
    "Prepared",
    "as_prepared",
    "fetched",
    "heads",
    "hits_of",
    "pieces_of",
    "places",
    "question_of",
    "refresh",
    "sessions_under",
    "tokens_of",
]

PART: Final = 500
"""Rows read and converted at a time: they become columns while the processor's cache holds them."""


class Head(NamedTuple):
    """A scope and its session, how far its rows (`seq`), vectors (`vid`) and removals go."""

    id: int
    key: str
    generation: int
    session: int | None
    seq: int | None
    vid: int | None
    active: int | None
    removed: int | None
    calibration: str | None


def heads(
    connection: Connection, namespace: Namespace, index_id: int, fingerprint: str
) -> Head | None:
    """What the snapshot holds of the namespace's scope."""
    values = {
        "hash": text_hash(namespace.scope.key),
        "session": text_hash(namespace.session),
        "index": index_id,
        "fingerprint": fingerprint,
    }
    # The hash finds the row; the key itself decides, so that no collision crosses the wall.
    found = map(Head._make, fetched(connection, _HEADS, values))
    return next((head for head in found if head.key == namespace.scope.key), None)


def sessions_under(connection: Connection, scope_id: int, path: str) -> NDArray[np.int64]:
    """Ids of the scope's sessions of items that have this path or a longer one."""
    found = fetched(connection, _UNDER, {"scope": scope_id, "path": text_hash(path)})
    return np.fromiter((row[0] for row in found), np.int64, len(found))


def tokens_of(
    connection: Connection, loaded: Loaded, index_id: int, rows: Sequence[int]
) -> list[NDArray[np.int8] | None]:
    """Token vectors of these rows, kept in memory once read."""
    found = list(map(loaded.tokens.get, rows))
    missing = [place for place, held in enumerate(found) if held is None]
    if missing:
        seqs = loaded.corpus.seq[[rows[place] for place in missing]].tolist()
        place_of = dict(zip(seqs, missing, strict=True))
        values = {"index": index_id, "seqs": seqs}
        for seq, width, data in fetched(connection, _TOKENS, values):
            place, read = place_of[seq], np.frombuffer(data, np.int8).reshape(-1, width)
            found[place] = loaded.tokens[rows[place]] = read
    return found


def refresh(
    connection: Connection,
    loaded: Loaded,
    place: Head,
    index_id: int,
    dimension: int,
    exact_up_to: int | None = None,
) -> None:
    """Append what the snapshot holds beyond the cached columns.

    The vectors themselves only of a scope with at most `exact_up_to` messages, unless that is None.
    """
    if place.seq is not None and place.seq > loaded.seq:
        rows = connection.execute(_NEW_ROWS, {"scope": place.id, "seq": loaded.seq})
        columns: list[list[Any]] = [[] for _ in _NEW_ROWS.selected_columns]
        for some in rows.partitions(PART):
            for column, values in zip(columns, zip(*some, strict=True), strict=True):
                column.extend(values)
        loaded.corpus.append(*columns)
        loaded.seq = place.seq
    if index_id:
        _refresh_vectors(connection, loaded, place, index_id, dimension, exact_up_to)
    if place.removed is not None and place.removed > loaded.removed:
        wanted = {"scope": place.id, "after": loaded.removed}
        seqs = [row[0] for row in fetched(connection, _REMOVED, wanted)]
        gone = loaded.corpus.remove(np.array(seqs, np.int64))
        if loaded.dense is not None:
            loaded.dense.remove(gone)
        loaded.settle(gone)
        for row in gone.tolist():
            loaded.tokens.drop(row)
            loaded.pieces.drop(row)
        loaded.removed = place.removed


def _refresh_vectors(
    connection: Connection,
    loaded: Loaded,
    place: Head,
    index_id: int,
    dimension: int,
    exact_up_to: int | None,
) -> None:
    whole = exact_up_to is None or len(loaded.corpus) <= exact_up_to
    if not whole:
        loaded.dense = None
    elif loaded.dense is None:
        loaded.dense = DenseRows(dimension)
    if loaded.dense is not None:
        loaded.dense.resize(len(loaded.corpus))
    if place.vid is not None and place.vid > loaded.vid:
        wanted = {"index": index_id, "scope": place.id, "vid": loaded.vid}
        statement = _NEW_VECTORS if whole else _NEW_PASSAGES
        for part in connection.execute(statement, wanted).partitions(PART):
            seqs, blobs, short, widths, spans = zip(*part, strict=True)
            rows_of = loaded.corpus.row_of(seqs)
            if loaded.dense is not None:
                flat = from_halves(np.frombuffer(b"".join(blobs), "<f2"))
                counts = np.fromiter(map(len, blobs), np.int64, len(blobs)) // (2 * dimension)
                loaded.dense.put(loaded.corpus, rows_of, flat.reshape(-1, dimension), counts)
            loaded.passages.put(rows_of, short, widths, spans)
            loaded.settle(rows_of)
        loaded.vid = place.vid


def pieces_of(
    connection: Connection, loaded: Loaded, index_id: int, dimension: int, rows: Sequence[int]
) -> list[NDArray[np.float32] | None]:
    """Vectors of these rows, shape (pieces, dimension), kept in memory once read."""
    found = {row: loaded.pieces[row] for row in rows if row in loaded.pieces}
    missing = [row for row in rows if row not in found]
    if missing:
        seqs = loaded.corpus.seq[missing].tolist()
        row_of = dict(zip(seqs, missing, strict=True))
        values = {"index": index_id, "seqs": seqs}
        for seq, data in fetched(connection, _PIECES, values):
            read = from_halves(np.frombuffer(data, "<f2")).reshape(-1, dimension)
            found[row_of[seq]] = loaded.pieces[row_of[seq]] = read
    return [found.get(row) for row in rows]


def question_of(query: Query) -> Question:
    """The question as the ranking takes it."""
    encoded = query.encoded
    return Question(
        query.text,
        terms_of(query.text),
        cues_of(query.text, query.now),
        query.now,
        None if encoded is None else encoded.vectors[0],
        None if encoded is None else encoded.tokens,
        () if encoded is None else encoded.spans,
        None if encoded is None else encoded.passages,
    )


def places(
    corpus: Corpus, ranked: Sequence[Ranked], reach: int, allowed: NDArray[np.int64] | None
) -> tuple[list[int], list[list[int]]]:
    """(seq of each hit, seqs of each hit's neighbours); windows may overlap."""
    rows = [item.row for item in ranked]
    seq, before, after = corpus.seq, corpus.before, corpus.after
    windows = ([*_steps(before, row, reach)[::-1], *_steps(after, row, reach)] for row in rows)
    around = [[int(seq[row]) for row in window] for window in windows]
    if allowed is not None:
        near = np.array([other for some in around for other in some], np.int64)
        kept = set(near[np.isin(near, allowed)].tolist())
        around = [[other for other in some if other in kept] for some in around]
    return seq[rows].tolist(), around


def _steps(link: NDArray[np.int32], row: int, reach: int) -> list[int]:
    """Up to `reach` rows that a row leads to by its link, the nearest first."""
    rows: list[int] = []
    while len(rows) < reach and (row := int(link[row])) >= 0:
        rows.append(row)
    return rows


def hits_of(
    connection: Connection,
    ranked: Sequence[Ranked],
    seqs: Sequence[int],
    around: Sequence[Sequence[int]],
) -> tuple[Hit, ...]:
    """The ranked messages with those around them, read at once."""
    wanted = list(dict.fromkeys([*seqs, *(seq for some in around for seq in some)]))
    read = map(message_of, fetched(connection, _BY_SEQ, {"seqs": wanted}))
    stored = {item.seq: item for item in read}
    return tuple(
        Hit(
            held.message,
            held.session,
            item.score,
            item.parts,
            Messages([stored[near].message for near in some if near in stored]),
            seq,
            held.group,
            held.tokens,
            item.passages,
            item.spans,
        )
        for item, seq, some in zip(ranked, seqs, around, strict=True)
        if (held := stored.get(seq)) is not None
    )


@dataclass(frozen=True)
class Prepared:
    """A statement of every search, and how SQLite reads it."""

    statement: Select[Any]
    text: str


def fetched(connection: Connection, prepared: Prepared, values: Mapping[str, Any]) -> list[Any]:
    """What a statement of every search finds.

    SQLite's own client is asked, with lists as JSON: through SQLAlchemy a search takes 0.1 ms more.
    Errors are translated alike: see `Database`.
    """
    if connection.dialect.name != "sqlite":
        return list(connection.execute(prepared.statement, values))
    client: Any = connection.connection.driver_connection
    given = {key: json.dumps(v) if isinstance(v, list) else v for key, v in values.items()}
    found: list[Any] = client.execute(prepared.text, given).fetchall()
    return found


def as_prepared(statement: Select[Any]) -> Prepared:
    """A statement with its parameters by name."""
    return Prepared(statement, str(statement.compile(dialect=sqlite.dialect(paramstyle="named"))))


# Statements of the read path, built once: see `stores/sql.py`.
_HEADS: Final = as_prepared(
    select(
        scopes.c.id,
        scopes.c.key,
        scopes.c.generation,
        select(sessions.c.id)
        .where(sessions.c.scope_id == scopes.c.id, sessions.c.name_hash == bindparam("session"))
        .scalar_subquery()
        .label("session"),
        select(func.max(keywords.c.seq))
        .where(keywords.c.scope_id == scopes.c.id)
        .scalar_subquery()
        .label("seq"),
        select(func.max(vectors.c.id))
        .where(vectors.c.index_id == bindparam("index"), vectors.c.scope_id == scopes.c.id)
        .scalar_subquery()
        .label("vid"),
        select(indexes.c.active)
        .where(indexes.c.id == bindparam("index"))
        .scalar_subquery()
        .label("active"),
        select(func.max(removals.c.id))
        .where(removals.c.scope_id == scopes.c.id)
        .scalar_subquery()
        .label("removed"),
        select(calibrations.c.data)
        .where(
            calibrations.c.scope_id == scopes.c.id,
            calibrations.c.fingerprint == bindparam("fingerprint"),
        )
        .scalar_subquery()
        .label("calibration"),
    ).where(scopes.c.key_hash == bindparam("hash"))
)
_UNDER: Final = as_prepared(
    select(paths.c.session_id).where(
        paths.c.scope_id == bindparam("scope"), paths.c.path_hash == bindparam("path")
    )
)
_NEW_ROWS: Final = (
    select(
        keywords.c.seq,
        keywords.c.session_id,
        keywords.c.flags,
        keywords.c.terms,
        keywords.c.names,
        keywords.c.days,
    )
    .where(keywords.c.scope_id == bindparam("scope"), keywords.c.seq > bindparam("seq"))
    .order_by(keywords.c.seq)
)
_REMOVED: Final = as_prepared(
    select(removals.c.seq).where(
        removals.c.scope_id == bindparam("scope"), removals.c.id > bindparam("after")
    )
)
_NEW_VECTORS: Final = (
    select(vectors.c.seq, vectors.c.data, vectors.c.passages, vectors.c.width, vectors.c.spans)
    .where(
        vectors.c.index_id == bindparam("index"),
        vectors.c.scope_id == bindparam("scope"),
        vectors.c.id > bindparam("vid"),
    )
    .order_by(vectors.c.id)
)
_NEW_PASSAGES: Final = _NEW_VECTORS.with_only_columns(
    vectors.c.seq, null(), vectors.c.passages, vectors.c.width, vectors.c.spans
)
_SEQS: Final = bindparam("seqs", type_=Numbers)
_TOKENS: Final = as_prepared(
    select(tokens.c.seq, tokens.c.width, tokens.c.data).where(
        tokens.c.index_id == bindparam("index"), one_of(tokens.c.seq, _SEQS)
    )
)
_PIECES: Final = as_prepared(
    select(vectors.c.seq, vectors.c.data).where(
        vectors.c.index_id == bindparam("index"), one_of(vectors.c.seq, _SEQS)
    )
)
_BY_SEQ: Final = as_prepared(stored_columns().where(one_of(messages.c.seq, _SEQS)))
