"""A model server on loopback that fails as it is told to, for tests through real HTTP.

```
script   replies wait in queues, of all chats or of a path or a model
request  read in its connection's thread, noted, wakes who waits for it
reply    of the queue that fits it best, else `reply`, else a good answer
wire     the reply as steps in the protocol that was asked
play     step by step; a wait ends by release(), by the client's end, or with the server
```
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias, get_args

from typing_extensions import Self

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.testing import installed, refusals
from rag_memory_plugins.testing.fault_http import Connection
from rag_memory_plugins.testing.fault_replies import Answer, Refusal, Reply
from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.testing.fault_sockets import Sockets
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.testing.wire import Dialect, Steps, steps
from rag_memory_plugins.testing.wire_ollama import Ollama
from rag_memory_plugins.testing.wire_openai import OpenAI

__all__ = ["FaultServer"]

ReplyTo: TypeAlias = Reply | Callable[[Request], Reply]


class FaultServer:
    """Speaks OpenAI's chat completions and Ollama's API on 127.0.0.1, while its block runs.

    `reply` answers every chat that no script is left for: a reply, or a function of the request
    (called in the connection's thread). `models` are what Ollama has installed, may be changed at
    any time, and when given are all that answers there. What a reply function raises is raised at
    the end of the block.

    >>> import http.client, json
    >>> from rag_memory_plugins.testing import refusals
    >>> with FaultServer() as server:
    ...     server.script(refusals.overloaded())
    ...     client = http.client.HTTPConnection(*server.address)
    ...     for _ in range(2):
    ...         client.request("POST", "/v1/chat/completions", json.dumps({"model": "small"}))
    ...         response = client.getresponse()
    ...         answer = json.loads(response.read())
    ...         print(response.status, answer.get("choices", answer.get("error")))
    ...     client.close()
    ...     print([request.model for request in server.requests])
    503 {'message': 'The model is overloaded', 'type': 'overloaded_error', 'param': None, 'code': None}
    200 [{'index': 0, 'message': {'role': 'assistant', 'content': 'Hello there.'}, 'finish_reason': 'stop'}]
    ['small', 'small']
    """

    def __init__(
        self,
        *,
        models: Sequence[Installed] | None = None,
        reply: ReplyTo | None = None,
        version: str = "0.12.6",
    ) -> None:
        self.models = models
        self.reply: ReplyTo = reply or Answer()
        self.version = version
        self.address = ("127.0.0.1", 0)
        self._changed = threading.Condition()
        self._scripts: dict[tuple[str, str], deque[Reply]] = {}
        self._requests: list[Request] = []
        self._errors: list[Exception] = []
        self._sockets: Sockets | None = None

    def __repr__(self) -> str:
        return f"FaultServer({self.url}, {len(self.requests)} requests)"

    def __enter__(self) -> Self:
        def serve(connection: socket.socket) -> None:
            Connection(connection, self)

        self._sockets = Sockets(serve, self._changed, self._errors.append)
        self.address = self._sockets.address
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = self.close()
        if error is None and self._errors:
            raise self._errors[0]
        if error is None and running:
            raise TimeoutError(f"{running} still run: a reply function does not return")

    def close(self) -> list[str]:
        """Drop every connection and refuse new ones; threads that a reply function holds up."""
        return self._sockets.close() if self._sockets else []

    @property
    def url(self) -> str:
        """Where Ollama's API begins: "http://127.0.0.1:PORT"."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def openai_url(self) -> str:
        """What an OpenAI client takes as `base_url`; a prefix before "/v1" is served too."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[Request]:
        """All that arrived so far, in order."""
        with self._changed:
            return list(self._requests)

    @property
    def chats(self) -> list[Request]:
        """Those of `requests` that ask for an answer of a model."""
        return [request for request in self.requests if request.chat]

    @property
    def open_connections(self) -> int:
        """Connections that are not closed, idle ones too."""
        with self._changed:
            return self._count()

    def script(self, *replies: Reply, path: str = "", model: str = "") -> None:
        """Queue one reply for each coming chat, or for those under `path` or of `model` alone.

        The closest fit answers: by model, then by the longest path. Other requests than chats take
        what was scripted for exactly their path, where an `Answer` is the good one.
        """
        for reply in replies:
            if not isinstance(reply, get_args(Reply)):
                raise InvalidInput("replies", reply, "pass Answer, Refusal, Raw, Cut, Stall ...")
        with self._changed:
            self._scripts.setdefault((path, model), deque()).extend(replies)

    def forget(self) -> None:
        """Begin anew: no request was seen, and nothing is scripted."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()

    def release(self, times: int = 1) -> None:
        """Let every answer that is under way pass the wait it stands at, or its next one.

        For one of several call `release` of its request.
        """
        for request in self.requests:
            request.release(times)

    def wait_for(self, count: int, timeout: float = 5.0, *, path: str = "") -> list[Request]:
        """The requests under `path`, once there are `count`; raises `TimeoutError`."""

        def found() -> list[Request]:
            return [request for request in self._requests if request.path.startswith(path)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                raise TimeoutError(f"{len(found())} of {count} requests in {timeout} s: {found()}")
            return found()

    def wait_for_connections(self, count: int = 0, timeout: float = 5.0) -> None:
        """Return once exactly `count` connections are open; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count() == count, timeout):
                raise TimeoutError(f"{self._count()} connections after {timeout} s, not {count}")

    async def await_for(self, count: int, timeout: float = 5.0, *, path: str = "") -> list[Request]:
        """`wait_for` beside a running loop."""
        return await asyncio.to_thread(self.wait_for, count, timeout, path=path)

    async def await_for_connections(self, count: int = 0, timeout: float = 5.0) -> None:
        """`wait_for_connections` beside a running loop."""
        await asyncio.to_thread(self.wait_for_connections, count, timeout)

    # What a connection's thread calls, in this order.

    def arrived(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> Request:
        """Note a request."""
        with self._changed:
            request = Request(len(self._requests) + 1, method, path, headers, body)
            self._requests.append(request)
            self._changed.notify_all()
        return request

    def answer(self, request: Request, *, readable: bool) -> Steps:
        """What to send."""
        try:
            page = None if request.chat else self._page(request)
            dialect = _dialect(request, page)
            if not readable:
                return steps(refusals.bad_request("the body is not a JSON object"), dialect)
            reply = self._scripted(request) or (Answer() if page else self._reply(request))
            return steps(reply, dialect)
        except Exception as error:  # raised again where the server's block ends
            self._errors.append(error)
            text = f"the reply function raised {error!r}"
            return steps(Refusal(500, text), _dialect(request, None))

    def lost(self, request: Request) -> None:
        """The connection was closed before the answer was whole: by the client, or by us."""
        if self._sockets and not self._sockets.closing:
            request.closed_at = time.monotonic()
            request.closed_by_client.set()

    def ended(self, request: Request, *, whole: bool) -> None:
        """Nothing more will be sent."""
        request.finish(whole=whole)
        with self._changed:
            self._changed.notify_all()

    def _count(self) -> int:
        return len(self._sockets.open) if self._sockets else 0

    def _scripted(self, request: Request) -> Reply | None:
        def fits(path: str, model: str) -> bool:
            here = request.path.startswith(path) if request.chat else request.path == path
            return here and model in {"", request.model}

        with self._changed:
            keys = [key for key, queue in self._scripts.items() if queue and fits(*key)]
            if not keys:
                return None
            return self._scripts[max(keys, key=lambda key: (bool(key[1]), len(key[0])))].popleft()

    def _reply(self, request: Request) -> Reply:
        known = request.protocol == "openai" or self.models is None
        if not known and installed.find(self.models or (), request.model) is None:
            return refusals.model_missing(request.model)
        return self.reply(request) if callable(self.reply) else self.reply

    def _page(self, request: Request) -> tuple[int, dict[str, Any]]:
        """Status and body of what is no chat."""
        models = self.models or ()
        asked = (request.method, request.path)
        if asked == ("GET", "/api/tags"):
            return 200, installed.tags(models)
        if asked == ("GET", "/api/ps"):
            return 200, installed.running(models)
        if asked == ("GET", "/api/version"):
            return 200, {"version": self.version}
        if asked == ("POST", "/api/show"):
            model = installed.find(models, request.model)
            missing = {"error": f"model '{request.model}' not found"}
            return (200, installed.shown(model)) if model else (404, missing)
        if request.method == "GET" and request.path.endswith("/v1/models"):
            return 200, installed.listed(models)
        return 404, {"error": f"no such path: {request.method} {request.path}"}


def _dialect(request: Request, page: tuple[int, dict[str, Any]] | None) -> Dialect:
    stream = request.stream and page is None
    if request.protocol == "ollama":
        return Ollama(request.model, stream, page)
    options = request.body.get("stream_options") or {}
    usage = bool(options.get("include_usage"))
    return OpenAI(request.number, request.model, stream, usage, page)
