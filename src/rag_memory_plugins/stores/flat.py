"""`VectorIndex` in the log's own file: exact search per scope over columns cached in memory.

Every search reads the scope's id and generation in its own transaction and brings the cached
columns up to that snapshot first, so several processes may write and erase: what was erased
anywhere is served nowhere. Only the searched scope is loaded; the cache is bounded in bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import (
    Connection,
    delete,
    select,
    update,
)

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Encoded, Found, Pending, Query
from rag_memory_plugins.retrieval.lexical import ANALYZER
from rag_memory_plugins.retrieval.retriever import Question, Ranking, rank
from rag_memory_plugins.stores import filtering, mirroring, queueing, snapshot
from rag_memory_plugins.stores.cache import Loaded, ScopeCache
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.schema import (
    ACTIVE,
    FILLED,
    calibrations,
    indexes,
    meta,
    outbox,
    scopes,
)
from rag_memory_plugins.stores.snapshot import Head
from rag_memory_plugins.stores.sql import find_scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.retrieval.chosen import ChosenRows
    from rag_memory_plugins.retrieval.dense import DenseRows

__all__ = ["Asked", "FlatIndex"]


@dataclass(frozen=True)
class Asked:
    """A search as it goes through an index. `near` are seqs that a vector store proposed."""

    namespace: Namespace
    query: Query
    question: Question
    near: Sequence[int] | None = None


class FlatIndex:
    """Exact search over one database file; implements `ports.VectorIndex`.

    Without a `fingerprint` there is no dense lane and nothing to embed. Of a scope with more than
    `exact_up_to` messages no vectors are held in memory; None is no limit. `beside` the index that
    serves it is only filled: it gets every new message too, and nothing else changes for anybody.
    """

    def __init__(
        self,
        database: Database,
        fingerprint: str | None,
        dimension: int = 0,
        cache_bytes: int = 256 * 2**20,
        clock: Callable[[], float] = time.time,
        exact_up_to: int | None = None,
        *,
        beside: bool = False,
    ) -> None:
        self.database = database
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.exact_up_to = exact_up_to
        self._beside = beside
        self._index_id = 0
        self._clock = clock
        self._cache_bytes = cache_bytes
        self._cache = ScopeCache(cache_bytes)
        self._last_scope = 0  # where the outbox went on to the next scope

    @property
    def index_id(self) -> int:
        """The number of this embedder's index in the file; 0 while there is none."""
        return self._index_id

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
        # A look first: making an index active shuts out all writers for a moment.
        self._index_id = await self.database.aread(self._active)
        if not self._index_id:
            unit = self._join if self._beside else self._activate
            self._index_id = await self.database.awrite(unit, "everybody")

    def _active(self, connection: Connection) -> int:
        """The id of this embedder's index, if it is the one that is active, or filled beside it."""
        rows = connection.execute(select(indexes.c.id, indexes.c.fingerprint, indexes.c.active))
        state = FILLED if self._beside else ACTIVE
        active = {row.id: row.fingerprint for row in rows if row.active == state}
        if self._beside:
            return next((key for key, name in active.items() if name == self.fingerprint), 0)
        return next(iter(active)) if [*active.values()] == [self.fingerprint] else 0

    def _activate(self, connection: Connection) -> int:
        query = select(indexes.c.id, indexes.c.active).where(
            indexes.c.fingerprint == self.fingerprint
        )
        row = connection.execute(query).one_or_none()
        if row is not None and row.active == ACTIVE:
            return int(row.id)
        # Messages no longer queue for the embedder that was replaced. A process that still uses
        # it finds that out at its next search, and makes it active beside this one.
        connection.execute(update(indexes).where(indexes.c.active == ACTIVE).values(active=0))
        index_id = self._put(connection, ACTIVE)
        queued = select(indexes.c.id).where(indexes.c.active > 0)
        connection.execute(delete(outbox).where(outbox.c.index_id.not_in(queued)))
        queueing.queue_missing(connection, index_id)
        return index_id

    def _join(self, connection: Connection) -> int:
        """Have this embedder's index filled beside the others; one that serves goes on serving."""
        query = select(indexes.c.id).where(
            indexes.c.fingerprint == self.fingerprint, indexes.c.active > 0
        )
        index_id = connection.execute(query).scalar_one_or_none()
        if index_id is None:
            index_id = self._put(connection, FILLED)
            queueing.queue_missing(connection, index_id)
        return int(index_id)

    def _put(self, connection: Connection, state: int) -> int:
        """The id of this embedder's index, made if there is none, in this state from now on."""
        statement = upsert(indexes).values(
            fingerprint=self.fingerprint, dimension=self.dimension, active=state
        )
        statement = statement.on_conflict_do_update(
            index_elements=["fingerprint"], set_={"active": state}
        )
        return int(connection.execute(statement.returning(indexes.c.id)).scalar_one())

    async def _areactivate(self) -> None:
        def unit(connection: Connection) -> int:
            index_id = self._put(connection, ACTIVE)
            queueing.queue_missing(connection, index_id)
            return index_id

        index_id = await self.database.awrite(unit, "everybody")
        if index_id != self._index_id:  # it was dropped while this process still used it
            self._index_id = index_id
            self._cache = ScopeCache(self._cache_bytes)

    async def asearch(self, namespace: Namespace, query: Query) -> Found:
        """The best messages of one snapshot; see `ports.VectorIndex`."""
        question = snapshot.question_of(query)
        asked = Asked(namespace, query, question)
        return await self._asnapshot(asked, partial(self._search, asked))

    async def _asnapshot(
        self, asked: Asked, search: Callable[[Connection], tuple[Found, bool]]
    ) -> Found:
        """What `search` finds in one snapshot; it says whether this index is active there."""
        found, active = await self.database.aread(search, asked.namespace.scope)
        if not active and self._index_id and not self.database.readonly:
            await self._areactivate()
        return found

    def _search(self, asked: Asked, connection: Connection) -> tuple[Found, bool]:
        """(what one snapshot holds, whether this index is active in it)."""
        query = asked.query
        place = snapshot.heads(connection, asked.namespace, self._index_id, self.fingerprint or "")
        if place is None:
            return Found((), 0, 0), True
        loaded = self._cache.get(place.id, place.generation)
        where = query.where
        allowed = None
        if where is not None:
            allowed = filtering.seqs(connection, place.id, where, under=query.under)
        within = None
        if query.under:
            within = snapshot.sessions_under(connection, place.id, query.under)
        with loaded.lock:
            if loaded.removed > (place.removed or 0):
                # Another search has seen a later state; what it left out is still there in ours.
                loaded = Loaded(place.generation)
            started = perf_counter()
            snapshot.refresh(
                connection, loaded, place, self._index_id, self.dimension, self.exact_up_to
            )
            loading = perf_counter() - started
            ranking = Ranking()
            note = ""
            if query.level == "user" or place.session is not None:
                dense, note = self._dense(connection, loaded, place, asked, allowed)
                ranking = rank(
                    loaded.corpus,
                    dense,
                    asked.question,
                    query.limit,
                    settings=query.recall,
                    session=place.session if query.level == "session" else None,
                    sessions=within,
                    allowed=allowed,
                    paged=query.paged,
                    source=partial(snapshot.tokens_of, connection, loaded, self._index_id),
                    passages=loaded.passages,
                    focus=query.focus,
                )
            seqs, around = snapshot.places(loaded.corpus, ranking.rows, query.neighbours, allowed)
            total = loaded.corpus.held
            waiting = loaded.waiting if self._index_id else 0
            self._cache.account(place.id, loaded)
        started = perf_counter()
        hits = snapshot.hits_of(connection, ranking.rows, seqs, around)
        seconds = {"load": loading, **ranking.seconds, "read": perf_counter() - started}
        off, signals = ranking.off | ({"dense": note} if note else {}), ranking.signals
        found = Found(hits, total, waiting, seconds, off, signals, place.calibration)
        return found, bool(place.active)

    def _dense(
        self,
        connection: Connection,
        loaded: Loaded,
        place: Head,
        asked: Asked,
        allowed: NDArray[np.int64] | None,
    ) -> tuple[DenseRows | ChosenRows | None, str]:
        """(the vectors that a question is compared with, what to say of the lane): all there are."""
        return loaded.dense, ""

    async def acalibrate(self, scope: Scope, calibration: str) -> None:
        """Keep a scope's calibration of this embedder."""

        def unit(connection: Connection) -> None:
            scope_id = find_scope(connection, scope)
            if scope_id is None:
                return
            row = {
                "scope_id": scope_id,
                "fingerprint": self.fingerprint or "",
                "data": calibration,
            }
            statement = upsert(calibrations).values(row)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["scope_id", "fingerprint"], set_={"data": calibration}
                )
            )

        await self.database.awrite(unit, scope)

    async def apending(self, scope: Scope, limit: int) -> list[Pending]:
        """Up to `limit` messages of the scope without a vector, oldest first."""

        def unit(connection: Connection) -> list[Pending]:
            return queueing.waiting(
                connection, self._index_id, find_scope(connection, scope), limit
            )

        return await self.database.aread(unit, scope)

    async def alease(self, limit: int, seconds: float) -> list[Pending]:
        """Take up to `limit` messages to embed, scopes in turn, for `seconds`."""
        if not self._index_id or self.database.readonly:
            return []
        now = self._clock()

        def unit(connection: Connection) -> tuple[list[tuple[int, int]], int]:
            start = self._last_scope
            return queueing.take(connection, self._index_id, start, limit, now, seconds)

        # Looking costs nothing; only what is there is worth a write transaction.
        if not await self.database.aread(lambda c: queueing.any_due(c, self._index_id, now)):
            return []
        taken, self._last_scope = await self.database.awrite(unit)
        # Read apart: whoever waits to write waits for the lease alone.
        seqs = [seq for _, seq in taken]
        return await self.database.aread(lambda c: queueing.texts(c, seqs))

    async def astore(self, pending: Sequence[Pending], encoded: Sequence[Encoded]) -> int:
        """Write vectors of messages that still exist and settle them; return how many."""
        if not pending:
            return 0
        whose = sorted({item.scope_id for item in pending})
        return await self.database.awrite(
            lambda connection: queueing.store(connection, self._index_id, pending, encoded), whose
        )

    async def arelease(self, pending: Sequence[Pending], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""
        due = self._clock() + seconds
        places = [(item.scope_id, item.seq) for item in pending]
        await self.database.awrite(lambda c: queueing.set_due(c, self._index_id, places, due))

    async def abacklog(self) -> int:
        """Messages of all scopes that wait for a vector of this embedder."""
        return await self.database.aread(lambda c: queueing.backlog(c, self._index_id))

    async def arebuild(self, scope: Scope | None = None) -> int:
        """Derive keywords and vectors from the log again, one scope a transaction."""
        return await self._arederive(scope, vectors_too=True)

    async def _arederive(self, scope: Scope | None, *, vectors_too: bool) -> int:
        if scope is None:
            query = select(scopes.c.id).order_by(scopes.c.id)
            ids = await self.database.aread(lambda c: [row.id for row in c.execute(query)])
        else:
            found = await self.database.aread(lambda c: find_scope(c, scope))
            ids = [] if found is None else [found]
        total = 0
        for scope_id in ids:
            total += await self.database.awrite(
                partial(queueing.rebuild, scope_id=scope_id, vectors_too=vectors_too), [scope_id]
            )
        return total

    async def _areanalyze(self) -> None:
        """Make the keyword rows again when another version of the analyzer made them."""
        mark = select(meta.c.value).where(meta.c.key == "analyzer")
        if await self.database.aread(lambda c: c.execute(mark).scalar_one()) == ANALYZER:
            return
        await self._arederive(None, vectors_too=False)
        done = update(meta).where(meta.c.key == "analyzer").values(value=ANALYZER)
        await self.database.awrite(lambda c: c.execute(done).rowcount)

    async def amirror(self) -> int:
        """Nothing stands outside this file."""
        return 0

    async def aclean(self) -> str:
        """What was erased may wait in a store that this memory was not opened with."""
        if self.database.readonly:
            return ""
        count, name = await self.database.aread(mirroring.waiting)
        if not count:
            return ""
        return f"{count} messages wait to be removed from {name}; open the memory with that index"
