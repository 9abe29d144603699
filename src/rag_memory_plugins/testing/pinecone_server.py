"""A Pinecone index on loopback, as its client talks to one, for tests through real HTTP.

```text
request  read by `fault_http`, noted; a key is asked for
reply    scripted for its path, else `reply`: a good answer, or one that goes wrong
good     the method's own: the namespace is changed or read -> status, body, LSN header
lag      a write is seen by queries, and by fetches, after so many of them, or when told
```
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import Self

from rag_memory_plugins.testing.fault_http import Connection
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    Refusal,
    Reply,
    Slow,
    Stall,
)
from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.testing.fault_server import FaultServer, ReplyTo
from rag_memory_plugins.testing.fault_sockets import Sockets
from rag_memory_plugins.testing.pinecone_data import Refused
from rag_memory_plugins.testing.pinecone_index import Body, Page, PineconeIndex
from rag_memory_plugins.testing.wire import Head, Steps, steps

__all__ = ["PineconeServer"]

MOST_BYTES: Final = 2 * 2**20
GRPC_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14}


class PineconeServer(FaultServer):
    """One Pinecone index on 127.0.0.1, while its block runs: exact, in memory.

    It serves upsert, query, fetch, update, delete, list, stats, namespaces and describe_index, and
    refuses what Pinecone refuses. `lag` is how many queries of a namespace do not see a write yet,
    None for all of them until `index.catch_up()`; `fetch_lag` the same of fetches and lists. With
    `lsn=False` no header tells how far reads and writes are. They stand in `index` and may be
    changed at any time; `index.records()` is what was written.

    `script` and `reply` make it fail, as they do a `FaultServer`; an `Answer` is the good answer. A
    fault around an `Answer` comes after the request was carried out, one around a `Refusal` is in
    its stead.

    >>> import asyncio
    >>> from pinecone import AsyncPinecone
    >>> async def story(url):
    ...     async with AsyncPinecone("test-key") as client, await client.index(host=url) as index:
    ...         records = [("a", [1.0, 0.0]), ("b", [0.6, 0.8])]
    ...         await index.upsert(vectors=records, namespace="acme")
    ...         found = await index.query(vector=[0.0, 1.0], top_k=1, namespace="acme")
    ...         return [(match.id, round(match.score, 3)) for match in found.matches]
    >>> with PineconeServer(dimension=2) as server:
    ...     asyncio.run(story(server.url))
    [('b', 0.8)]
    """

    def __init__(
        self,
        *,
        dimension: int,
        metric: Literal["cosine", "dotproduct", "euclidean"] = "cosine",
        name: str = "memory",
        api_key: str = "test-key",
        lag: int | None = 0,
        fetch_lag: int | None = 0,
        lsn: bool = True,
        reply: ReplyTo | None = None,
    ) -> None:
        super().__init__(reply=reply)
        self.index = PineconeIndex(dimension, metric, lag=lag, fetch_lag=fetch_lag, lsn=lsn)
        self.name = name
        self.api_key = api_key

    def __repr__(self) -> str:
        return f"PineconeServer({self.url}, {len(self.requests)} requests)"

    def __enter__(self) -> Self:
        def serve(connection: socket.socket) -> None:
            _Connection(connection, self)

        self._sockets = Sockets(serve, self._changed, self._errors.append)
        self.address = self._sockets.address
        return self

    def answer(self, request: Request, *, readable: bool) -> Steps:
        """What to send; the request is carried out first, unless it is refused."""
        try:
            reply = self._scripted(request) or (
                self.reply(request) if callable(self.reply) else self.reply
            )
            page: Page = 200, {}, {}
            if isinstance(_core(reply), Answer):
                page = self._carried_out(request, readable=readable)
            status, body, headers = page
            return [
                (at, replace(step, headers={**headers, **step.headers}))
                if isinstance(step, Head)
                else (at, step)
                for at, step in steps(reply, _Words((status, body)))
            ]
        except Exception as error:  # raised again where the server's block ends
            self._errors.append(error)
            return steps(Refusal(500, f"the server raised {error!r}"), _Words((500, {})))

    def _scripted(self, request: Request) -> Reply | None:
        with self._changed:
            for path in (request.path, ""):
                if queue := self._scripts.get((path, "")):
                    return queue.popleft()
        return None

    def _carried_out(self, request: Request, *, readable: bool) -> Page:
        try:
            return self._carry_out(request, readable=readable)
        except Refused as refused:
            body = {"code": refused.code, "message": str(refused), "details": []}
            return refused.status, body, {}

    def _carry_out(self, request: Request, *, readable: bool) -> Page:
        if request.headers.get("api-key") != self.api_key:
            raise Refused(401, 16, "Invalid API Key")
        if not readable:
            raise Refused(400, 3, "the body is not a JSON object")
        room, _, name = request.path.removeprefix("/").partition("/")
        body = dict(request.body)
        if room in {"namespaces", "indexes"}:
            body["name"] = unquote(name)
            asked = request.method, f"/{room}/" if name else f"/{room}"
        else:
            asked = request.method, request.path
        if asked == ("GET", "/indexes/"):
            return self._described(body)
        work = _WORK.get(asked)
        if work is None:
            raise Refused(404, 5, f"no such path: {request.method} {request.path}")
        if int(request.headers.get("content-length", 0)) > MOST_BYTES:
            raise Refused(413, 11, f"the request is over {MOST_BYTES} bytes")
        with self.index.lock:
            return work(self.index, body)

    def _described(self, body: Body) -> Page:
        if body["name"] != self.name:
            raise Refused(404, 5, f"Resource {body['name']} not found")
        vectors = {"dimension": self.index.dimension, "metric": self.index.metric}
        place = {"cloud": "aws", "region": "us-east-1"}
        page = {
            "name": self.name,
            "host": self.url,
            "status": {"ready": True, "state": "Ready"},
            "deletion_protection": "disabled",
            "vector_type": "dense",
            **vectors,
            "spec": {"serverless": place},
            # Releases from 10 read these two, older ones what stands above.
            "schema": {"fields": {"vector": {"type": "dense_vector", **vectors}}},
            "deployment": {"deployment_type": "managed", **place},
        }
        return 200, page, {}


_WORK: Final[dict[tuple[str, str], Callable[[PineconeIndex, Body], Page]]] = {
    ("POST", "/vectors/upsert"): PineconeIndex.upsert,
    ("POST", "/vectors/update"): PineconeIndex.update,
    ("POST", "/vectors/delete"): PineconeIndex.delete,
    ("POST", "/query"): PineconeIndex.query,
    ("GET", "/vectors/fetch"): PineconeIndex.fetch,
    ("GET", "/vectors/list"): PineconeIndex.page,
    ("POST", "/describe_index_stats"): PineconeIndex.stats,
    ("GET", "/namespaces"): PineconeIndex.namespaces,
    ("GET", "/namespaces/"): PineconeIndex.namespace,
    ("DELETE", "/namespaces/"): PineconeIndex.drop,
}


class _Connection(Connection):
    """What a URL asks for stands in the body, as the rest does."""

    def do_GET(self) -> None:  # noqa: N802  # the standard library's name
        asked = parse_qs(urlsplit(self.path).query)
        self._serve({key: many if key == "ids" else many[0] for key, many in asked.items()})

    def do_DELETE(self) -> None:  # noqa: N802
        self._serve({})


class _Words:
    """How Pinecone words a reply; nothing is streamed. Implements `wire.Dialect`."""

    stream_type: ClassVar[str] = "application/json"
    stream = False

    def __init__(self, page: tuple[int, dict[str, Any]]) -> None:
        self.page = page

    def refused(self, refusal: Refusal) -> dict[str, Any]:
        code = GRPC_CODES.get(refusal.status, 2)
        return {"code": code, "message": refusal.message, "details": []}

    def failed(self, event: ErrorEvent) -> dict[str, Any]:
        return {"code": 13, "message": event.message, "details": []}

    def nothing(self) -> tuple[bytes, dict[str, Any]]:
        return b"", {}

    def frames(self, answer: Answer) -> list[tuple[int, bytes]]:
        return []

    def body(self, answer: Answer) -> tuple[int, dict[str, Any]]:
        return self.page

    def framed(self, text: str) -> bytes:
        return text.encode()


def _core(reply: Reply) -> Reply:
    """What a fault stands around."""
    while isinstance(reply, (Slow, Stall, Cut, ErrorEvent, Garbage)):
        reply = reply.reply
    return reply
