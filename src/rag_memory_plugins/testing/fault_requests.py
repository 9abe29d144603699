"""A request as a `FaultServer` saw it, and how its answer went."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["Request"]


class Request:
    """One request. `number` counts from 1 in the order of arrival; header names are lower case.

    `finished` is set once nothing more will be sent; `whole` says whether all was. `closed_by_client`
    is set as soon as the client closed its connection before that, at `closed_at` (seconds of
    `time.monotonic`).

    >>> request = Request(1, "POST", "/api/chat", {}, {"model": "llama3.2"})
    >>> request.protocol, request.model, request.stream
    ('ollama', 'llama3.2', True)
    """

    def __init__(
        self,
        number: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
    ) -> None:
        self.number = number
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.finished = threading.Event()
        self.whole = False
        self.closed_by_client = threading.Event()
        self.closed_at: float | None = None
        self._lock = threading.Lock()
        # One byte in it is one release that no wait has taken yet.
        self._bell: tuple[socket.socket, socket.socket] | None = None

    def __repr__(self) -> str:
        return f"Request({self.number}, {self.method} {self.path}, model={self.model!r})"

    @property
    def protocol(self) -> Literal["openai", "ollama"]:
        return "ollama" if "/api/" in self.path and "/v1/" not in self.path else "openai"

    @property
    def chat(self) -> bool:
        """Whether it asks for an answer of a model."""
        return self.method == "POST" and self.path.endswith(("/chat/completions", "/api/chat"))

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed: Ollama's default, but not OpenAI's."""
        return bool(self.body.get("stream", self.protocol == "ollama"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages", ()))

    @property
    def tools(self) -> list[dict[str, Any]]:
        return list(self.body.get("tools") or ())

    def release(self, times: int = 1) -> None:
        """Let its answer pass the wait it stands at, or the next; of a finished one, nothing."""
        with self._lock:
            if not self.finished.is_set():
                self._pair()[1].sendall(b"." * times)

    def bell(self) -> socket.socket:
        """Readable when there is a release to take, a byte each."""
        with self._lock:
            return self._pair()[0]

    def finish(self, *, whole: bool) -> None:
        """Nothing more will be sent."""
        with self._lock:
            self.whole = whole
            self.finished.set()
            for end in self._bell or ():
                end.close()

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        if self._bell is None:
            self._bell = socket.socketpair()
        return self._bell
