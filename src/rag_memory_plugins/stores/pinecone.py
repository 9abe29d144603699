"""`PineconeStore`: vectors in a Pinecone index, a namespace for each tenant.

```text
open     name or host -> the client's asyncio face -> dimension and metric of the index
put      records by namespace -> upserts of up to 1,000 records and 2 MB -> until a search sees them
nearest  the tenant's namespace, where the user (and session) is equal -> ids -> the user's own seqs
remove   ids by namespace -> delete -> until a fetch brings none of them back
```

A put that is acknowledged is one that searches see: the log looks after what the store has not got
yet, and after nothing else. The client tries a request again by itself, up to three times, with
jitter, after a 408, 429 or 5xx and when a connection fails; each call here has one deadline for all
of that. A put costs an upsert for each tenant in it, and a query or more until it is seen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rag_memory_plugins.errors import InvalidInput, MissingExtra, StoreClosed, StoreError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.portal import Portal, blocking, get_portal, on_portal, strict
from rag_memory_plugins.stores.pinecone_errors import Missing, Unreachable, told
from rag_memory_plugins.stores.pinecone_records import (
    Place,
    Request,
    condition,
    in_parts,
    requests_of,
    sparse_of,
    values_of,
)
from rag_memory_plugins.stores.pinecone_waiting import (
    Deadline,
    agathered,
    auntil,
    indexed_of,
    written_of,
)
from rag_memory_plugins.stores.points import point_id, seqs_of

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["PineconeStore"]

T = TypeVar("T")

MOST_DELETED: Final = 1_000
MOST_FETCHED: Final = 100
"""Their ids stand in a URL of 4 kB; Pinecone takes 1,000, what is between may not."""
MOST_FOUND: Final = 10_000
KNOWN: Final = 10_000
"""Namespaces whose newest write is remembered."""

_log = logging.getLogger("rag_memory_plugins")


class PineconeStore:
    """A `ports.VectorStore` in a Pinecone index, which several logs and embedders may share.

    `index_or_host` is an index's name, or its host or URL. The key is `api_key`, else the
    environment's PINECONE_API_KEY; or pass `client`, a built `AsyncPinecone`, which stays yours to
    close. With `hybrid` terms count as well as vectors, half each; the index's metric must then be
    "dotproduct". `name` tells the store from others when a memory is opened again. `hooks` get an
    `Event` when a search met records that are not the user's ("pinecone.foreign"), was answered
    from before an acknowledged write ("pinecone.behind"), or when Pinecone could not be reached on
    opening ("pinecone.unreachable"). `read_seconds` and `write_seconds` are what a search, and a
    put or removal, may take in all. `clock` and `sleep` are for tests.

    Raises `MissingExtra` without the extra `pinecone`, `InvalidInput` without a key.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> from rag_memory_plugins.testing.pinecone_server import PineconeServer
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "memory.db"
    >>> with PineconeServer(dimension=64) as server:
    ...     store = PineconeStore(server.url, api_key="test-key", name="pinecone")
    ...     with open_memory(path, embedder=WordEmbedder(), index=store) as memory:
    ...         _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...         _ = memory.settle()
    ...     store.close()
    ...     [len(records) for records in server.index.records().values()]
    [1]
    >>> store
    PineconeStore('pinecone')
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        index_or_host: str,
        *,
        api_key: str | None = None,
        client: Any = None,
        hybrid: bool = False,
        name: str | None = None,
        hooks: Iterable[Hook] = (),
        read_seconds: float = 4.0,
        write_seconds: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not isinstance(index_or_host, str) or not index_or_host.strip():
            raise InvalidInput("index_or_host", index_or_host, "pass an index's name or host")
        where = index_or_host.strip().rstrip("/")
        # No name of an index holds a dot or a colon, and every host does.
        self._where = {"host" if "." in where or ":" in where else "name": where}
        self._hybrid = hybrid
        # Another name: terms are put only if all records are put again.
        kind = "pinecone+terms" if hybrid else "pinecone"
        self.name = name or f"{kind}/{where.rpartition('//')[2]}"
        self._own_client = client is None
        self._client, self._key = _client_of(client, api_key)
        self._hooks = tuple(hooks)
        self._read_seconds, self._write_seconds = read_seconds, write_seconds
        self._clock, self._sleep = clock, sleep
        self._place = Place("", "")
        self._dimension = 0
        self._index: Any = None
        self._opening = asyncio.Lock()
        self._closed = False
        # Requests that were written and not yet seen: to wait again, they are not written again.
        self._written: OrderedDict[bytes, int | None] = OrderedDict()
        self._acknowledged: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def portal(self) -> Portal:
        return get_portal()

    @on_portal
    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Begin to serve a log; an index that cannot be reached now is checked when it can.

        Raises `InvalidInput` for an index of another dimension or metric, or when the store serves
        another log; `StoreError` when Pinecone refuses.
        """
        before, place = self._place, Place(log, fingerprint)
        if before not in (Place("", ""), place):
            remedy = "it serves a memory already; make a store for each memory"
            raise InvalidInput("index", self.name, remedy)
        self._place, self._dimension = place, dimension
        try:
            await self._aready(self._deadline(self._read_seconds))
        except Unreachable as error:
            self._tell("unreachable", "", f"{error}; its dimension is checked later")
        except BaseException:
            self._place = before
            raise

    @on_portal
    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points, and return when a search sees them; one that is put again takes its place.

        Raises `StoreError`, also when they are written and not seen in time.
        """
        requests = await self.portal.acompute(
            partial(requests_of, self._place, points, hybrid=self._hybrid)
        )
        deadline = self._deadline(self._write_seconds)
        index = await self._aready(deadline)
        await agathered(partial(self._awrite, index, each, deadline) for each in requests)
        await agathered(partial(self._aseen, index, each, deadline) for each in requests)

    @on_portal
    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first. Raises `StoreError`."""
        deadline = self._deadline(self._read_seconds)
        index = await self._aready(deadline)
        namespace = self._place.namespace(scope.tenant)
        asked: dict[str, Any] = {
            "namespace": namespace,
            "vector": values_of(vector),
            "top_k": max(1, min(limit, MOST_FOUND)),
            "filter": condition(self._place.log, scope, session),
        }
        if asked["vector"] is None:  # nothing is near to it
            return []
        sparse = sparse_of(text) if self._hybrid else None
        if sparse is not None:
            asked["sparse_vector"] = sparse
        query = partial(index.query, **asked)
        answer: Any = await self._afrom(index, namespace, query, deadline)
        if answer is None:
            return []
        if self._is_behind(namespace, answer):  # another replica may be further
            answer = await self._ask("query", query, deadline)
            if self._is_behind(namespace, answer):
                del self._acknowledged[namespace]
                reason = f"{self.name} answered from before a write that it had acknowledged"
                self._tell("behind", scope.key, reason)
        ids = [match.id for match in answer.matches]
        seqs, foreign = seqs_of(ids, self._place.log, scope)
        if foreign:
            reason = f"{foreign} of {len(ids)} records that {self.name} found were not the user's"
            self._tell("foreign", scope.key, f"{reason} and were left out")
        return seqs

    @on_portal
    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points, and return when a fetch brings none of them back.

        Raises `StoreError`. What Pinecone itself keeps of deleted records is not seen from here.
        """
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for point in points:
            ids[self._place.namespace(point.scope.tenant)] += [
                point_id(self._place.log, point.scope, point.seq, piece)
                for piece in range(point.pieces)
            ]
        deadline = self._deadline(self._write_seconds)
        index = await self._aready(deadline)
        self._written.clear()
        for one, most in ((self._adelete, MOST_DELETED), (self._agone, MOST_FETCHED)):
            await agathered(
                partial(one, index, namespace, part, deadline)
                for namespace, names in ids.items()
                for part in in_parts(names, most)
            )

    @on_portal
    async def adrop_tenant(self, tenant: str) -> None:
        """Delete all that this log keeps of a tenant, and return when its namespace is gone.

        Only once the log itself has let go of the tenant. Raises `StoreError`.
        """
        namespace = self._place.namespace(Scope(tenant, SHARED).tenant)
        deadline = self._deadline(self._write_seconds)
        index = await self._aready(deadline)
        self._written.clear()
        delete = partial(index.delete_namespace, name=namespace)
        await self._afrom(index, namespace, delete, deadline)

        async def gone() -> bool:
            stats = await self._ask("describe", index.describe_index_stats, deadline)
            return namespace not in stats.namespaces

        await self._auntil(gone, deadline, "a tenant was deleted and its namespace is still there")
        self._acknowledged.pop(namespace, None)

    @on_portal
    async def aclose(self) -> None:
        """Free the connections; a client that was passed in stays open."""
        self._closed = True
        index, self._index = self._index, None
        if index is not None:
            await index.close()
        if self._own_client:
            await self._client.close()

    close = blocking(aclose)
    drop_tenant = blocking(adrop_tenant)

    async def _aready(self, deadline: Deadline) -> Any:
        """The index, found and checked."""
        if self._closed:
            raise StoreClosed(f"{self.name} is closed; make another PineconeStore")
        if not self._place.log:
            raise StoreError(f"{self.name} serves no log; pass it to open_memory as index=")
        if self._index is None:
            await self._ask("open", partial(self._afind, deadline), deadline)
        return self._index

    async def _afind(self, deadline: Deadline) -> None:
        async with self._opening:
            if self._index is not None:
                return
            find = partial(self._client.index, **self._where)
            index = await self._ask("find the index", find, deadline)
            try:
                self._check(await self._ask("describe", index.describe_index_stats, deadline))
            except BaseException:
                await index.close()
                raise
            self._index = index

    def _check(self, stats: Any) -> None:
        if stats.dimension != self._dimension:
            raise InvalidInput(
                "index",
                f"{self.name} of dimension {stats.dimension}",
                f"the embedder's vectors have dimension {self._dimension}; "
                "name an index of that dimension, or open the memory with its embedder",
            )
        if self._hybrid and stats.metric not in (None, "dotproduct"):
            remedy = 'name an index of metric "dotproduct", or leave out hybrid=True'
            raise InvalidInput("hybrid", f"an index of metric {stats.metric}", remedy)

    async def _awrite(self, index: Any, request: Request, deadline: Deadline) -> None:
        if request.digest in self._written:
            return
        work = partial(index.upsert, vectors=request.records, namespace=request.namespace)
        answer = await self._ask("upsert", work, deadline)
        self._written[request.digest] = written_of(answer)
        if len(self._written) > KNOWN:
            self._written.popitem(last=False)

    async def _aseen(self, index: Any, request: Request, deadline: Deadline) -> None:
        """Wait until a search sees a request, by its LSN, or where there is none by finding it."""
        lsn = self._written.get(request.digest)
        ask = partial(
            index.query,
            namespace=request.namespace,
            vector=request.probe_values,
            filter=request.probe,
            top_k=1,
        )

        async def seen() -> bool:
            answer = await self._ask("query", ask, deadline)
            indexed = indexed_of(answer)
            if lsn is None or indexed is None:
                return bool(answer.matches)
            return indexed >= lsn

        count = len(request.records)
        await self._auntil(seen, deadline, f"{count} records are written and no search sees them")
        self._written.pop(request.digest, None)
        if lsn is not None:
            newest = max(lsn, self._acknowledged.pop(request.namespace, 0))
            self._acknowledged[request.namespace] = newest
            if len(self._acknowledged) > KNOWN:
                self._acknowledged.popitem(last=False)

    def _is_behind(self, namespace: str, answer: Any) -> bool:
        indexed = indexed_of(answer)
        return indexed is not None and indexed < self._acknowledged.get(namespace, 0)

    async def _adelete(
        self, index: Any, namespace: str, ids: Sequence[str], deadline: Deadline
    ) -> None:
        delete = partial(index.delete, ids=ids, namespace=namespace)
        await self._afrom(index, namespace, delete, deadline)

    async def _agone(
        self, index: Any, namespace: str, ids: Sequence[str], deadline: Deadline
    ) -> None:
        async def gone() -> bool:
            fetch = partial(index.fetch, ids=ids, namespace=namespace)
            found = await self._afrom(index, namespace, fetch, deadline)
            return found is None or not found.vectors

        await self._auntil(gone, deadline, "records were deleted and are still there")

    async def _afrom(
        self, index: Any, namespace: str, work: partial[Awaitable[T]], deadline: Deadline
    ) -> T | None:
        """What a request gets; None where it is the namespace that is missing, not the index."""
        try:
            return await self._ask(work.func.__name__, work, deadline)
        except Missing:
            stats = await self._ask("describe", index.describe_index_stats, deadline)
            if namespace in stats.namespaces:
                raise
            return None

    async def _auntil(
        self, done: Callable[[], Awaitable[bool]], deadline: Deadline, otherwise: str
    ) -> None:
        if not await auntil(done, deadline, self._sleep):
            raise StoreError(
                f"{self.name}: {otherwise} after {deadline.seconds:g} s; Pinecone is eventually "
                "consistent, and this is tried again: if it stays so, look at its status page"
            )

    async def _ask(self, doing: str, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        """What one request gets, within what is left of the deadline. Raises `StoreError`."""
        with told(self.name, doing, deadline, self._key):
            return await asyncio.wait_for(work(), deadline.left)

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self._clock)

    def _tell(self, what: str, scope: str, reason: str) -> None:
        _log.warning("%s", reason)
        emit(self._hooks, Event(f"pinecone.{what}", scope, data={"reason": reason}))


def _client_of(client: Any, api_key: str | None) -> tuple[Any, str]:
    """(Pinecone's client, the key that it sends). Raises `MissingExtra` or `InvalidInput`."""
    try:
        from pinecone import AsyncPinecone
        from pinecone.errors import PineconeError
    except ImportError as error:
        raise MissingExtra("pinecone", "PineconeStore") from error
    if client is not None:
        if not isinstance(client, AsyncPinecone):
            raise InvalidInput("client", type(client), "pass a pinecone.AsyncPinecone")
        return client, client.config.api_key
    key = api_key or os.environ.get("PINECONE_API_KEY", "")
    remedy = "pass a key as one line of ASCII, or set PINECONE_API_KEY"
    if not isinstance(key, str) or not key:
        raise InvalidInput("api_key", type(api_key), remedy)
    try:
        return AsyncPinecone(api_key=key), key
    except PineconeError as error:
        raise InvalidInput("api_key", "a key that cannot be sent", remedy) from error
