"""Vectors in a Qdrant server or cluster, as the vector store of a memory.

```
name     prefix + hash of the embedder's fingerprint: embedders never share a collection
open     collection read, or made with a random mark in its metadata -> the store's name
put      the mark read again -> batches bounded in points and bytes, wait=True
search   must = [owner, log (, session)] around everything, in each lane's prefetch too
erase    delete must = [owner, log, ids] -> counted again by the same filter
```

Every call passes one place, `_ask`, which bounds its time and words its errors.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidURL,
    MissingExtra,
    StoreClosed,
    StoreError,
)
from rag_memory_plugins.stores import qdrant_errors
from rag_memory_plugins.stores.mirroring import MARK
from rag_memory_plugins.stores.points import point_id, seqs_of
from rag_memory_plugins.stores.qdrant_requests import Requests, mark_of, problem_with

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models

    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["QdrantStore"]

R = TypeVar("R")

OPEN_SECONDS: Final = 5.0
"""How long a memory that is being opened waits for a server."""
MOST_IDS: Final = 1_000


class QdrantStore:
    """A Qdrant server, cluster or cloud as the `index=` of `open_memory`.

    `url_or_client` is "http://host:6333" (or "https://", "qdrant://", ":memory:" for a try without
    a server), or a built `AsyncQdrantClient`, which the memory's loop then uses and its maker
    closes. `timeout` is in seconds, for each call. A graph is built for each user (`m` edges a
    point, `ef_construct` candidates while it is built; both when the collection is made), and
    `ef_search` candidates are looked at by a search. `hybrid` searches the words too, as sparse
    vectors beside the dense ones, fused by rank; they are made from each text alone, without
    statistics that users would share. `collection_options` go to `create_collection` as they are:
    `{"replication_factor": 2}`, or quantization. Needs a server of version 1.16 or newer.

    Each embedder has a collection of its own and the log knows which embedder is in use, so another
    embedder is filled beside the one that answers and no alias is needed. A collection that was
    dropped is made anew and gets everything again; another server with a collection of the same
    name counts as that. After a snapshot of Qdrant's was restored run `rag-memory rebuild`, because
    it may be older than what the log has noted. An erased point leaves the disk of a server when
    its segment is next optimized, and snapshots keep it.

    Qdrant can keep a tenant that is much larger than the others on shards of its own (custom
    sharding, by shard key). This store sends no shard keys: open such a tenant's memory with a
    `collection` of its own, whose `shard_number` and `replication_factor` are then its own too.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> folder, store = tempfile.TemporaryDirectory(), QdrantStore(":memory:")
    >>> file = pathlib.Path(folder.name) / "memory.db"
    >>> with open_memory(file, embedder=WordEmbedder(), index=store) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     memory.settle()
    0
    >>> folder.cleanup()
    """

    def __init__(
        self,
        url_or_client: str | AsyncQdrantClient,
        *,
        api_key: str | None = None,
        collection: str = "rag_memory",
        m: int = 16,
        ef_construct: int = 100,
        ef_search: int = 128,
        hybrid: bool = False,
        timeout: float = 20.0,
        collection_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise InvalidInput("timeout", timeout, "pass seconds, more than 0")
        if not isinstance(collection, str) or not collection or {*"/#"} & {*collection}:
            raise InvalidInput("collection", collection, "pass a name without '/' and '#'")
        self._owned = isinstance(url_or_client, str)
        self._client, models = _client_of(url_or_client, api_key, timeout)
        requests = Requests(models, m, ef_construct, ef_search, hybrid, collection_options or {})
        self._secrets = qdrant_errors.secrets_of(self._client)
        options = self._client.init_options
        self._local = bool(options["path"]) or options["location"] == ":memory:"
        # Exact search, which has nothing to set, and would warn of it.
        self._requests = replace(requests, ef_search=None) if self._local else requests
        self._prefix = self._collection = collection
        self._timeout = timeout
        self._fingerprint, self._dimension, self._mark = "", 0, ""
        self._closed = False
        # The client's own mode without a server loses points when it is used twice at once.
        self._one = asyncio.Lock()
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"QdrantStore({self.name!r})"

    @property
    def name(self) -> str:
        """Its collection, and behind "#" the mark it was made with, once a server has told."""
        return f"qdrant/{self._collection}{MARK if self._mark else ''}{self._mark}"

    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Begin to serve a log; a server that is down now is asked again by later calls.

        Raises `InvalidInput` when it serves another, `StoreError` when the collection is not ours
        or the server refuses.
        """
        if self._requests.log not in ("", log):
            remedy = "it serves a memory already; make one for each memory"
            raise InvalidInput("index", self.name, remedy)
        self._requests = replace(self._requests, log=log)
        self._fingerprint, self._dimension = fingerprint, dimension
        kind = "-hybrid" if self._requests.hybrid else ""
        short = hashlib.blake2b(fingerprint.encode(), digest_size=6).hexdigest()
        self._collection = f"{self._prefix}-{short}{kind}"
        try:
            await asyncio.wait_for(self._aready(), OPEN_SECONDS)
        except (qdrant_errors.Unavailable, asyncio.TimeoutError, TimeoutError):
            return  # the log serves without it; each search of a large user and each put says so

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        self._check_open()
        if not points:
            return
        await self._aready()
        for batch in self._requests.batches(points):
            work = self._client.upsert(self._collection, points=batch, wait=True)
            self._applied(await self._ask(work, "upsert"), "upsert")

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first."""
        self._check_open()
        wall = self._requests.wall(scope, session)
        question = self._requests.question(text, vector, limit, wall)
        try:
            work = self._client.query_points(self._collection, **question)
            found = await self._ask(work, "query")
        except qdrant_errors.Missing as error:
            await self._aready()
            raise StoreError(f"{error}; it was made anew and gets everything again") from error
        ids = [str(point.id) for point in found.points]
        seqs, foreign = seqs_of(ids, self._requests.log, scope)
        if foreign:
            raise StoreError(
                f"qdrant: {foreign} of {len(ids)} points that {self.name} found were not the "
                "user's, so none is used; somebody else writes to this collection, or the server "
                "does not filter"
            )
        return seqs

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points, and count that they are gone. Raises `StoreError` when they are not."""
        self._check_open()
        scopes: dict[Scope, list[str]] = {}
        for point in points:
            for piece in range(point.pieces):
                key = point_id(self._requests.log, point.scope, point.seq, piece)
                scopes.setdefault(point.scope, []).append(key)
        try:
            for scope, ids in scopes.items():
                for start in range(0, len(ids), MOST_IDS):
                    await self._aremove(scope, ids[start : start + MOST_IDS])
        except qdrant_errors.Missing:
            await self._aready()  # makes it, so what was in it is gone; or says that it cannot

    async def aclose(self) -> None:
        """Close the client, unless it was passed in."""
        self._closed = True
        if self._owned:
            await self._client.close()

    async def _aremove(self, scope: Scope, ids: list[str]) -> None:
        wall = self._requests.wall(scope, ids=ids)
        work = self._client.delete(self._collection, points_selector=wall, wait=True)
        self._applied(await self._ask(work, "delete"), "delete")
        counting = self._client.count(self._collection, count_filter=wall, exact=True)
        left = (await self._ask(counting, "count")).count
        if left:
            raise StoreError(
                f"qdrant: {left} of {len(ids)} points are still in {self.name} after they were "
                "deleted; this is tried again"
            )

    async def _aready(self) -> None:
        """See that the collection is there and ours, make it if it is not; learn its mark."""
        async with self._making:
            try:
                info = await self._ask(self._client.get_collection(self._collection), "read")
            except qdrant_errors.Missing:
                await self._amake()
                info = await self._ask(self._client.get_collection(self._collection), "read")
            problem = problem_with(info, self._fingerprint, self._dimension)
            if problem:
                raise StoreError(
                    f"qdrant: collection {self._collection} {problem}; pass another collection="
                )
            if not self._local:  # where indexes do nothing but warn
                await self._aindex(set(info.payload_schema or ()))
            self._mark = mark_of(info)

    async def _amake(self) -> None:
        collection = self._requests.collection(self._fingerprint, self._dimension)
        work = self._client.create_collection(self._collection, **collection)
        try:
            await self._ask(work, "create")
        except qdrant_errors.Taken:
            return  # another process made it meanwhile, with its own mark

    async def _aindex(self, there: set[str]) -> None:
        """Make the indexes that filters need, those too that a crash left out."""
        for name in self._requests.indexed:
            if name not in there:
                schema: Any = self._requests.index(name)
                work = self._client.create_payload_index(
                    self._collection, field_name=name, field_schema=schema, wait=True
                )
                self._applied(await self._ask(work, "index"), "index")

    def _applied(self, result: models.UpdateResult, what: str) -> None:
        if result.status != "completed":
            raise StoreError(
                f"qdrant: {what} in {self.name} was only {result.status.value}; "
                "it is not taken for done and is tried again"
            )

    async def _ask(self, work: Awaitable[R], what: str) -> R:
        """Await a call of the client, in time. Raises `StoreError` for whatever goes wrong."""
        try:
            if self._local:
                async with self._one:
                    return await work
            return await asyncio.wait_for(work, self._timeout)
        except Exception as error:  # the client lets through what its transports raise
            raised = qdrant_errors.worded(error, f"{what} of {self._collection}", self._secrets)
            cause = None if qdrant_errors.tells(error, self._secrets) else error
            raise raised from cause

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.name} was closed; make another QdrantStore")


def _client_of(
    url_or_client: str | AsyncQdrantClient, api_key: str | None, timeout: float
) -> tuple[AsyncQdrantClient, Any]:
    """The client, and its `models`."""
    try:
        from qdrant_client import AsyncQdrantClient, models
    except ImportError as error:
        raise MissingExtra("qdrant", "QdrantStore") from error
    if isinstance(url_or_client, AsyncQdrantClient):
        if api_key is not None:
            raise InvalidInput("api_key", "***", "give it to the client that you pass")
        return url_or_client, models
    if not isinstance(url_or_client, str):
        remedy = "pass a URL or a built qdrant_client.AsyncQdrantClient"
        raise InvalidInput("url_or_client", type(url_or_client).__name__, remedy)
    if url_or_client == ":memory:":
        return AsyncQdrantClient(location=":memory:"), models
    url = urlsplit(url_or_client)
    if url.username is not None or url.password is not None or url.query:
        raise InvalidURL("url_or_client", f"{url.scheme}://***", "pass the key as api_key=")
    if url.scheme not in {"http", "https", "qdrant"} or not url.hostname:
        raise InvalidURL("url_or_client", url_or_client, "write it as https://host:6333")
    client = AsyncQdrantClient(
        url=url._replace(scheme="http" if url.scheme == "qdrant" else url.scheme).geturl(),
        api_key=api_key,
        timeout=max(1, int(timeout + 0.999)),
        check_compatibility=False,  # asks from a thread of its own; the mark tells old servers
    )
    return client, models
