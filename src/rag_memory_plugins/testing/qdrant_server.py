"""A Qdrant server on loopback: the calls that `QdrantStore` makes, over qdrant-edge, and faults."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from typing_extensions import Self

from rag_memory_plugins.testing.fault_http import Connection
from rag_memory_plugins.testing.fault_replies import Raw, Reply
from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.fault_sockets import Sockets
from rag_memory_plugins.testing.qdrant_shard import Collections, Refused

__all__ = ["QdrantServer", "refusal"]

JSON: Final = "application/json"


def refusal(status: int, reason: str, *, retry_after: str | None = None) -> Raw:
    """An error in the form that Qdrant has.

    >>> refusal(500, "Service internal error").body
    b'{"status":{"error":"Service internal error"},"time":0.0}'
    """
    body = {"status": {"error": reason}, "time": 0.0}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Raw(status, json.dumps(body, separators=(",", ":")).encode(), JSON, headers)


class QdrantServer(FaultServer):
    """Speaks Qdrant's REST API on 127.0.0.1, as far as `QdrantStore` does, while its block runs.

    Filters and searches are those of qdrant-edge, the same code as the server's. While `fault` is
    set every request gets it as its answer, or with `fault_at` the one of that number; `script` queues replies for whole paths. With
    `applies` such a request is carried out all the same, and only its answer is lost. With an
    `api_key` requests without it are refused. `stop` refuses connections until `start`, on the
    same port and with everything that was held.

    >>> import http.client
    >>> with QdrantServer() as server:
    ...     client = http.client.HTTPConnection(*server.address)
    ...     client.request("GET", "/collections/none")
    ...     print(client.getresponse().status, server.collections.names())
    ...     client.close()
    404 []
    """

    def __init__(self, *, api_key: str | None = None) -> None:
        super().__init__()
        self.fault: Reply | None = None
        self.fault_at: int | None = None
        self.applies = False
        self._due: dict[int, Reply] = {}
        self._api_key = api_key
        self._folder = tempfile.TemporaryDirectory(prefix="rag-memory-qdrant-")
        self.collections = Collections(Path(self._folder.name))

    def __repr__(self) -> str:
        return f"QdrantServer({self.url}, {len(self.requests)} requests)"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.collections.close()
            self._folder.cleanup()

    def start(self) -> None:
        """Listen, on the port of the time before if there was one."""

        def serve(connection: socket.socket) -> None:
            Connection(connection, self)

        self._sockets = Sockets(serve, self._changed, self._errors.append, port=self.address[1])
        self.address = self._sockets.address

    def stop(self) -> None:
        """Drop every connection and refuse new ones."""
        self.close()
        self._sockets = None

    def _scripted(self, request: Request) -> Reply | None:
        return self._due.pop(request.number, None)

    def _fault(self, request: Request) -> Reply | None:
        if self._api_key is not None and request.headers.get("api-key") != self._api_key:
            reason = b"Must provide an API key or an Authorization bearer token"
            return Raw(401, reason, "text/plain")
        if self.fault is not None and self.fault_at in {None, request.number}:
            return self.fault
        return super()._scripted(request)

    def _page(self, request: Request) -> tuple[int, dict[str, Any]]:
        reply = self._fault(request)
        if reply is not None:
            self._due[request.number] = reply
            if not self.applies:
                return 200, {}
        root, _, rest = request.path.lstrip("/").partition("/")
        name, _, what = rest.partition("/")
        if root != "collections" or not name:
            return 404, {}
        try:
            result = self.collections.answer(request.method, name, what, request.body)
        except Refused as error:
            return error.status, {"status": {"error": str(error)}, "time": 0.0}
        return 200, {"result": result, "status": "ok", "time": 0.0}
