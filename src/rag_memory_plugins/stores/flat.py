"""`VectorIndex` in the log's own file: exact search per scope over columns cached in memory.

Every search reads the scope's id and generation in its own transaction and brings the cached
columns up to that snapshot first, so several processes may write and erase: what was erased
anywhere is served nowhere. Only the searched scope is loaded; the cache is bounded in bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Found, Pending
from rag_memory_plugins.results import Hit
from rag_memory_plugins.retrieval.corpus import Corpus, Row
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.lexical import ANALYZER, terms_of
from rag_memory_plugins.retrieval.retriever import Ranked, rank
from rag_memory_plugins.stores import queueing
from rag_memory_plugins.stores.cache import Loaded, ScopeCache
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import (
    indexes,
    keywords,
    messages,
    meta,
    outbox,
    scopes,
    sessions,
    text_hash,
    vectors,
)
from rag_memory_plugins.stores.sql import find_scope
from rag_memory_plugins.types import Level, Messages

__all__ = ["FlatIndex"]

_SCOPES: Final = 8
"""Scopes that share one lease, and how many are looked at to find them."""
_VISITS: Final = 256


class FlatIndex:
    """Exact search over one database file; implements `ports.VectorIndex`.

    Without a `fingerprint` there is no dense lane and nothing to embed.
    """

    def __init__(
        self,
        database: Database,
        fingerprint: str | None,
        dimension: int = 0,
        cache_bytes: int = 256 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.fingerprint = fingerprint
        self.dimension = dimension
        self._index_id = 0
        self._clock = clock
        self._cache = ScopeCache(cache_bytes)
        self._last_scope = 0  # where the outbox went on to the next scope

    @property
    def ready(self) -> bool:
        """Whether there is a dense lane; False for keywords alone."""
        return self._index_id != 0

    async def aopen(self) -> None:
        """Make this embedder's index the active one; queue every message it has no vector of."""
        if not self.database.readonly:
            await self._areanalyze()
        if self.fingerprint is None:
            return
        if self.database.readonly:
            query = select(indexes.c.id).where(indexes.c.fingerprint == self.fingerprint)
            found = await self.database.aread(lambda c: c.execute(query).scalar_one_or_none())
            self._index_id = found or 0
            return
        self._index_id = await self.database.awrite(self._activate)

    def _activate(self, connection: Connection) -> int:
        query = select(indexes.c.id, indexes.c.active).where(
            indexes.c.fingerprint == self.fingerprint
        )
        row = connection.execute(query).one_or_none()
        if row is not None and row.active:
            return int(row.id)
        # Messages no longer queue for the embedder that was replaced. A process that still uses
        # it finds that out at its next search, and makes it active beside this one.
        connection.execute(update(indexes).values(active=0))
        if row is None:
            values = {"fingerprint": self.fingerprint, "dimension": self.dimension, "active": 1}
            key = connection.execute(insert(indexes), values).inserted_primary_key
            index_id = int(key[0]) if key is not None else 0
        else:
            index_id = int(row.id)
            connection.execute(update(indexes).where(indexes.c.id == index_id).values(active=1))
        connection.execute(delete(outbox).where(outbox.c.index_id != index_id))
        queueing.queue_missing(connection, index_id)
        return index_id

    async def _areactivate(self) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(
                update(indexes).where(indexes.c.id == self._index_id).values(active=1)
            )
            queueing.queue_missing(connection, self._index_id)

        await self.database.awrite(unit)

    async def asearch(
        self,
        namespace: Namespace,
        query: str,
        vector: NDArray[np.float32] | None,
        limit: int,
        level: Level,
        neighbours: bool = True,
    ) -> Found:
        """The best `limit` messages of one snapshot; see `ports.VectorIndex`."""
        terms = terms_of(query)

        def unit(connection: Connection) -> tuple[Found, bool]:
            place = _heads(connection, namespace, self._index_id)
            if place is None:
                return Found((), 0, 0), True
            loaded = self._cache.get(place.id, place.generation)
            with loaded.lock:
                self._refresh(connection, loaded, place)
                session = place.session if level == "session" else None
                ranked = (
                    rank(loaded.corpus, loaded.dense, vector, terms, limit, session)
                    if level == "user" or session is not None
                    else []
                )
                seqs, around = _places(loaded.corpus, ranked, neighbours)
                total = len(loaded.corpus)
                waiting = total - loaded.dense.settled if loaded.dense is not None else 0
                self._cache.account(place.id, loaded)
            return Found(_hits(connection, ranked, seqs, around), total, waiting), bool(
                place.active
            )

        found, active = await self.database.aread(unit)
        if not active and self._index_id and not self.database.readonly:
            await self._areactivate()
        return found

    def _refresh(self, connection: Connection, loaded: Loaded, place: Any) -> None:
        """Append what the snapshot holds beyond the cached columns."""
        if (place.seq or 0) > loaded.seq:
            rows = connection.execute(_NEW_ROWS, {"scope": place.id, "seq": loaded.seq})
            loaded.corpus.extend(
                [
                    Row(row.seq, row.session_id, row.flags, np.frombuffer(row.terms, "<u8"))
                    for row in rows
                ]
            )
            loaded.seq = place.seq
        if not self._index_id:
            return
        if loaded.dense is None:
            loaded.dense = DenseRows(self.dimension)
        loaded.dense.resize(len(loaded.corpus))
        if (place.vid or 0) > loaded.vid:
            values = {"index": self._index_id, "scope": place.id, "vid": loaded.vid}
            found = connection.execute(_NEW_VECTORS, values).all()
            # One conversion for all: a cold scope is thousands of small blobs.
            flat = np.frombuffer(b"".join(row.data for row in found), "<f2").astype(np.float32)
            pieces = flat.reshape(-1, self.dimension)
            counts = [len(row.data) // (2 * self.dimension) for row in found]
            split = np.split(pieces, np.cumsum(counts)[:-1])
            rows_of = loaded.corpus.row_of([row.seq for row in found])
            loaded.dense.update(loaded.corpus, rows_of, split)
            loaded.vid = place.vid

    async def apending(self, scope: Scope, limit: int) -> list[Pending]:
        """Up to `limit` messages of the scope without a vector, oldest first."""

        def unit(connection: Connection) -> list[Pending]:
            return queueing.waiting(
                connection, self._index_id, find_scope(connection, scope), limit
            )

        return await self.database.aread(unit)

    async def alease(self, limit: int, seconds: float) -> list[Pending]:
        """Take up to `limit` messages to embed, scopes in turn, for `seconds`."""
        if not self._index_id or self.database.readonly:
            return []
        now = self._clock()

        def unit(connection: Connection) -> tuple[list[tuple[int, int]], int]:
            taken, following = queueing.due(
                connection, self._index_id, self._last_scope, limit, now
            )
            queueing.set_due(connection, self._index_id, taken, now + seconds)
            return taken, following

        # Looking costs nothing; only what is there is worth a write transaction.
        if not await self.database.aread(lambda c: queueing.any_due(c, self._index_id, now)):
            return []
        taken, self._last_scope = await self.database.awrite(unit)
        # Read apart: whoever waits to write waits for the lease alone.
        seqs = [seq for _, seq in taken]
        return await self.database.aread(lambda c: queueing.texts(c, seqs))

    async def astore(self, pending: Sequence[Pending], data: Sequence[NDArray[np.float32]]) -> int:
        """Write vectors of messages that still exist and settle them; return how many."""
        if not pending:
            return 0
        return await self.database.awrite(
            lambda connection: queueing.store(connection, self._index_id, pending, data)
        )

    async def arelease(self, pending: Sequence[Pending], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""
        due = self._clock() + seconds
        places = [(item.scope_id, item.seq) for item in pending]
        await self.database.awrite(lambda c: queueing.set_due(c, self._index_id, places, due))

    async def abacklog(self) -> int:
        """Messages of all scopes that wait for a vector of this embedder."""
        query = select(func.count()).where(outbox.c.index_id == self._index_id)
        return await self.database.aread(lambda c: int(c.execute(query).scalar_one()))

    async def arebuild(self, scope: Scope | None = None, *, vectors_too: bool = True) -> int:
        """Derive keywords and vectors from the log again, one scope a transaction."""
        if scope is None:
            query = select(scopes.c.id).order_by(scopes.c.id)
            ids = await self.database.aread(lambda c: [row.id for row in c.execute(query)])
        else:
            found = await self.database.aread(lambda c: find_scope(c, scope))
            ids = [] if found is None else [found]
        total = 0
        for scope_id in ids:
            total += await self.database.awrite(
                partial(queueing.rebuild, scope_id=scope_id, vectors_too=vectors_too)
            )
        return total

    async def _areanalyze(self) -> None:
        """Make the keyword rows again when another version of the analyzer made them."""
        mark = select(meta.c.value).where(meta.c.key == "analyzer")
        if await self.database.aread(lambda c: c.execute(mark).scalar_one()) == ANALYZER:
            return
        await self.arebuild(vectors_too=False)
        done = update(meta).where(meta.c.key == "analyzer").values(value=ANALYZER)
        await self.database.awrite(lambda c: c.execute(done).rowcount)


def _heads(connection: Connection, namespace: Namespace, index_id: int) -> Any:
    """The scope's id, generation, session id, and how far its rows and vectors go."""
    row = connection.execute(
        _HEADS,
        {
            "hash": text_hash(namespace.scope.key),
            "session": text_hash(namespace.session),
            "index": index_id,
        },
    ).one_or_none()
    # The hash found the row; the key itself decides, so that no collision crosses the wall.
    return row if row is not None and row.key == namespace.scope.key else None


def _places(
    corpus: Corpus, ranked: Sequence[Ranked], neighbours: bool
) -> tuple[list[int], list[list[int]]]:
    """(seq of each hit, seqs of each hit's neighbours)."""
    seqs = [int(corpus.seq[item.row]) for item in ranked]
    if not neighbours:
        return seqs, [[] for _ in ranked]
    around = [
        [
            int(corpus.seq[row])
            for row in (corpus.before[item.row], corpus.after[item.row])
            if row >= 0
        ]
        for item in ranked
    ]
    return seqs, around


def _hits(
    connection: Connection,
    ranked: Sequence[Ranked],
    seqs: Sequence[int],
    around: Sequence[Sequence[int]],
) -> tuple[Hit, ...]:
    wanted = list(dict.fromkeys([*seqs, *(seq for some in around for seq in some)]))
    stored = {}
    for some in in_batches(wanted):
        for row in connection.execute(_BY_SEQ, {"seqs": some}):
            stored[row.seq] = message_of(row)
    return tuple(
        Hit(
            message=stored[seq].message,
            session=stored[seq].session,
            score=item.score,
            parts=item.parts,
            neighbours=Messages(stored[near].message for near in some if near in stored),
            seq=seq,
            group=stored[seq].group,
        )
        for item, seq, some in zip(ranked, seqs, around, strict=True)
        if seq in stored
    )


# Statements of the read path, built once: see `stores/sql.py`.
_HEADS: Final = select(
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
).where(scopes.c.key_hash == bindparam("hash"))
_NEW_ROWS: Final = (
    select(keywords.c.seq, keywords.c.session_id, keywords.c.flags, keywords.c.terms)
    .where(keywords.c.scope_id == bindparam("scope"), keywords.c.seq > bindparam("seq"))
    .order_by(keywords.c.seq)
)
_NEW_VECTORS: Final = (
    select(vectors.c.seq, vectors.c.data)
    .where(
        vectors.c.index_id == bindparam("index"),
        vectors.c.scope_id == bindparam("scope"),
        vectors.c.id > bindparam("vid"),
    )
    .order_by(vectors.c.id)
)
_BY_SEQ: Final = stored_columns().where(messages.c.seq.in_(bindparam("seqs", expanding=True)))
