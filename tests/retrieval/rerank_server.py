"""A loopback server that speaks Cohere's v2 rerank API, and fails as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "secret-key-4711"


@dataclass(frozen=True)
class Reply:
    """One answer: JSON of `body`, or `body` as it is if it is bytes."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


HANG = "no answer before the server stops"
DROP = "the connection is closed instead"


class RerankServer(ThreadingHTTPServer):
    """Ranks documents by the words that they share with the query, as long as `script` is empty.

    `script` holds replies for the next requests, `asked` the body of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Reply | str] = []
        self.asked: list[dict[str, Any]] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reply(self, path: str, authorization: str | None, asked: dict[str, Any]) -> Reply | str:
        if self.script:
            return self.script.pop(0)
        if path != "/v2/rerank":
            return Reply(404, {"message": f"no such path: {path}"})
        if authorization != f"Bearer {KEY}":
            return Reply(401, {"message": f"invalid api token: {authorization}"})
        documents = asked["documents"]
        if not documents or not all(text.strip() for text in documents):
            return Reply(400, {"message": "documents must not be empty"})
        if len(documents) > 1000:
            return Reply(400, {"message": "too many documents"})
        scores = [relevance(asked["query"], text) for text in documents]
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        results = [{"index": at, "relevance_score": scores[at]} for at in order]
        return Reply(
            200, {"id": "1", "results": results, "meta": {"api_version": {"version": "2"}}}
        )


def relevance(query: str, text: str) -> float:
    """The share of the query's words that stand in the text."""
    words = query.lower().split()
    return sum(word in text.lower().split() for word in words) / len(words)


class _Handler(BaseHTTPRequestHandler):
    server: RerankServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        reply = self.server.reply(self.path, self.headers["Authorization"], asked)
        if reply == HANG:
            self.server.stopped.wait(20)
        if isinstance(reply, str):
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


@contextmanager
def serving() -> Iterator[RerankServer]:
    """A server that runs in a thread until the block ends."""
    with RerankServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
