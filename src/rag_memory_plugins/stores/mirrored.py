"""`VectorIndex` with a vector store beside the log: it proposes, the log's own vectors decide.

A store follows the vectors of the log: whoever embeds goes on to put what it has not got. A search
of a large user asks it for the nearest messages, reads their vectors from the log, with those of
the keyword lane's best and of what the store has not got yet, and ranks them as `FlatIndex` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from rag_memory_plugins.errors import StoreError, shorten
from rag_memory_plugins.ports import Found, Query, VectorStore
from rag_memory_plugins.retrieval.chosen import ChosenRows
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.stores import mirroring, snapshot
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.flat import Asked, FlatIndex
from rag_memory_plugins.stores.resting import Resting, Rests
from rag_memory_plugins.stores.schema import secret_of, text_hash

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.stores.cache import Loaded
    from rag_memory_plugins.stores.snapshot import Head

__all__ = ["EXACT_UP_TO", "MirroredIndex"]

EXACT_UP_TO: Final = 2_000
"""Messages of a user that are all compared: 3 MB, and quicker than any store is asked."""
PROPOSED: Final = 256
"""Messages that a store proposes at least; the first 48 are looked at word by word."""
NOT_YET: Final = 512
"""Newest messages that are looked at although the store has not got them."""
BATCH: Final = 128
REMOVED: Final = 8_192
"""Removals of one call: a store that rewrites files to be rid of bytes does it once for them all."""
PATIENCE: Final = 2.0
"""Seconds that a search waits for a store, which is then left alone for some; see `Resting`."""
PUT_SECONDS: Final = 30.0
LEASE_SECONDS: Final = 60.0
"""Longer than a batch may take: its lease ends after whatever was under way has."""


class _AskFirst(Exception):
    """This search needs what a store proposes."""


@dataclass
class _Lease:
    """Whether the store is ours to write to, and how far it will have been brought."""

    taken: bool
    upto: int = 0


class MirroredIndex(FlatIndex):
    """Search over one database file and one vector store; implements `ports.VectorIndex`.

    Users with up to `EXACT_UP_TO` messages are searched without the store.
    """

    def __init__(
        self,
        database: Database,
        fingerprint: str,
        dimension: int,
        store: VectorStore,
        cache_bytes: int = 256 * 2**20,
        clock: Callable[[], float] = time.time,
        *,
        beside: bool = False,
    ) -> None:
        super().__init__(
            database, fingerprint, dimension, cache_bytes, clock, EXACT_UP_TO, beside=beside
        )
        self.store = store
        self._mirror_id = 0
        self._mirror_name = ""
        self._one_at_a_time = asyncio.Lock()
        self._resting = Resting(clock)

    async def aopen(self) -> None:
        """Open the log's index and the store; the store will get every vector it has not got."""
        await super().aopen()
        secret = await self.database.aread(secret_of)
        # Not the secret itself: fences are made from that.
        log = text_hash(f"log {secret} {self.fingerprint}").hex()
        await self.store.aopen(log, self.fingerprint or "", self.dimension)
        await self._afind_mirror()

    async def _afind_mirror(self) -> None:
        """Find the store's row by the name that it has now; of one made anew it starts again."""
        name = self.store.name
        if name == self._mirror_name:
            return
        if self.database.readonly:
            self._mirror_id = await self.database.aread(
                lambda c: mirroring.find(c, self._index_id, name)
            )
        else:
            self._mirror_id = await self.database.awrite(
                lambda c: mirroring.open_mirror(c, self._index_id, name), "everybody"
            )
        self._mirror_name = name

    async def asearch(self, namespace: Namespace, query: Query) -> Found:
        """The best messages of one snapshot; see `ports.VectorIndex`."""
        asked = Asked(namespace, query, snapshot.question_of(query))
        try:
            return await self._asnapshot(asked, partial(self._search, asked))
        except _AskFirst:
            near, failed = await self._anearest(namespace, query)
        found = await self._asnapshot(asked, partial(self._search, replace(asked, near=near)))
        if not failed:
            return found
        return replace(found, off={**found.off, "dense": failed}, degraded=(f"dense: {failed}",))

    async def _anearest(self, namespace: Namespace, query: Query) -> tuple[list[int], str]:
        """(seqs that the store proposes, why it proposes none)."""
        assert query.encoded is not None  # who asks has seen to it
        session = namespace.session if query.level == "session" else None
        # Filters are the log's: of more there are more that match.
        limit = max(PROPOSED, 4 * query.limit) * (
            4 if query.where is not None or query.under else 1
        )
        vector, text = query.encoded.vectors[0], query.text
        asking = partial(self.store.anearest, namespace.scope, text, vector, limit, session)
        try:
            return await self._resting.ask(asking, PATIENCE), ""
        except Rests as told:
            return [], f"{self.store.name} {told}"
        except Exception as error:  # a user's store; the keyword lane and the newest still answer
            return [], f"{self.store.name} failed ({shorten(error, 200)})"

    def _dense(
        self,
        connection: Connection,
        loaded: Loaded,
        place: Head,
        asked: Asked,
        allowed: NDArray[np.int64] | None,
    ) -> tuple[DenseRows | ChosenRows | None, str]:
        """All vectors of a small scope; of a large one those that are worth a look."""
        if loaded.dense is not None or asked.query.encoded is None or not len(loaded.settled):
            return loaded.dense, ""
        corpus = loaded.corpus
        few = self._few(loaded, place, asked, allowed)
        if few is None and asked.near is None:
            raise _AskFirst
        note = ""
        if few is None:
            newest, count = mirroring.unmirrored(connection, self._mirror_id, place.id, NOT_YET)
            if count > NOT_YET:
                note = f"ok, {count} not in {self.store.name} yet"
            seqs = np.unique(np.array([*(asked.near or ()), *newest], np.int64))
            # What the log does not hold in this snapshot is nobody's: erased, or never this user's.
            few = np.searchsorted(corpus.seq, seqs[np.isin(seqs, corpus.seq)])
        source = partial(snapshot.pieces_of, connection, loaded, self._index_id, self.dimension)
        return ChosenRows(self.dimension, few, source), note

    def _few(
        self, loaded: Loaded, place: Head, asked: Asked, allowed: NDArray[np.int64] | None
    ) -> NDArray[np.intp] | None:
        """The rows that may be hits, if they are so few that all can be compared."""
        corpus, most = loaded.corpus, self.exact_up_to or 0
        if allowed is not None and len(allowed) <= most:
            return np.searchsorted(corpus.seq, allowed[np.isin(allowed, corpus.seq)])
        if asked.query.level == "session":
            rows = np.flatnonzero(corpus.session == place.session)
            return rows if len(rows) <= most else None
        return None

    async def amirror(self) -> int:
        """Remove what was erased, and put one batch of what the store has not got."""
        if not self._mirror_id or self.database.readonly:
            return 0
        await self._afind_mirror()
        if not await self.database.aread(lambda c: mirroring.busy(c, self._mirror_id)):
            return 0
        async with self._leased() as lease:
            if not lease.taken:
                return 0
            count = await self._aremove()
            horizon = await self.database.ahorizon()
            points, upto = await self.database.aread(
                lambda c: mirroring.next_points(c, self._mirror_id, self.dimension, BATCH, horizon)
            )
            if points:
                await self._ask(self.store.aput(points))
            lease.upto = upto
            return count + len(points) + (upto > 0)

    async def adrop_tenant(self, tenant: str) -> None:
        """Remove a tenant that the log holds no more from the store at once, where it can do that.

        Any other store is told of each message by `aclean`. Raises `StoreError`.
        """
        drop = getattr(self.store, "adrop_tenant", None)
        if drop is None or not self._mirror_id:
            return
        async with self._leased() as lease:
            if lease.taken:
                await self._ask(drop(tenant))
                await self.database.awrite(
                    lambda c: mirroring.removed_tenant(c, self._mirror_id, tenant)
                )

    async def aleft(self, scope: Scope, session: str | None) -> int:
        """How many points of an erased user, or session, a look at the store still meets."""
        probe = np.zeros(self.dimension, np.float32)
        probe[0] = 1.0
        asking = self.store.anearest(scope, "erased", probe, 1, session)
        try:
            return len(await asyncio.wait_for(asking, PATIENCE))
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise StoreError(f"{self.store.name}: no answer in {PATIENCE:g} s") from error

    async def abehind(self) -> bool:
        """Whether the store has still to get something, or to let go of something."""
        await self._afind_mirror()
        return await self.database.aread(lambda c: mirroring.busy(c, self._mirror_id))

    async def aclean(self) -> str:
        """Remove what was erased from the store; why that must wait, "" when nothing does."""
        if not self._mirror_id or self.database.readonly:
            return ""
        count, _ = await self.database.aread(lambda c: mirroring.waiting(c, self._index_id))
        if not count:
            return ""
        async with self._leased() as lease:
            if not lease.taken:
                return f"another process writes to {self.store.name}; this is tried again"
            try:
                await self._aremove()
            except StoreError as error:
                return f"{error}; this is tried again in the background"
        waits_for = await self.database.acheckpoint()
        if waits_for:
            return f"{waits_for}; this is tried again in the background"
        return await super().aclean()

    async def _aremove(self) -> int:
        """Let the store remove what was erased; return how many messages that were."""
        count = 0
        while True:
            batch = await self.database.aread(
                lambda c: mirroring.to_remove(c, self._mirror_id, REMOVED)
            )
            if not batch:
                return count
            await self._ask(self.store.aremove([point for _, point in batch]))
            ids = [key for key, _ in batch]
            await self.database.awrite(partial(mirroring.removed, ids=ids))
            count += len(batch)

    async def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        """Await a change of the store. Raises `StoreError`, naming the store."""
        try:
            await asyncio.wait_for(work, PUT_SECONDS)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise StoreError(
                f"vector store {self.store.name}: no answer in {PUT_SECONDS:g} s"
            ) from error
        except StoreError:
            raise
        except Exception as error:  # any client: their errors share no base class
            raise StoreError(f"vector store {self.store.name}: {shorten(error, 300)}") from error

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[_Lease]:
        """Be the only one at the store, unless another process is."""
        async with self._one_at_a_time:
            now = self._clock()
            lease = _Lease(
                await self.database.awrite(
                    lambda c: mirroring.lease(c, self._mirror_id, now, LEASE_SECONDS)
                )
            )
            try:
                yield lease
            finally:
                if lease.taken:
                    name = self.store.name  # another one, if it was made anew under way
                    await self.database.awrite(
                        lambda c: mirroring.release(c, self._mirror_id, name, lease.upto)
                    )
