"""One connection of a `FaultServer`: reads HTTP/1.1 requests and plays the steps of their answers."""

from __future__ import annotations

import json
import selectors
import socket
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.testing.fault_sockets import reset_on_close
from rag_memory_plugins.testing.wire import End, Head, Held, Steps

if TYPE_CHECKING:
    from rag_memory_plugins.testing.fault_server import FaultServer

__all__ = ["Connection"]


class _Woken(Enum):
    RELEASED = auto()
    GONE = auto()
    LATE = auto()


class _ClientGone(Exception):
    """The client closed its connection before the answer was whole."""


class Connection(BaseHTTPRequestHandler):
    """Serves `connection` until either side closes it; made and run in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultServer  # type: ignore[assignment] # no socketserver: see FaultServer

    def __init__(self, connection: socket.socket, server: FaultServer) -> None:
        super().__init__(connection, connection.getpeername(), server)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        if "Content-Length" not in self.headers:
            self.send_error(411)
            return
        length = int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if len(data) < length:  # the client is gone, and the request never arrived
            self.close_connection = True
            return
        try:
            body = json.loads(data or b"{}")
        except ValueError:
            body = None
        self._serve(body if isinstance(body, dict) else None)

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""

    def _serve(self, body: dict[str, Any] | None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        request = self.server.arrived(self.command, path, headers, body or {})
        whole = False
        try:
            whole = self._play(request, self.server.answer(request, readable=body is not None))
        except (_ClientGone, OSError):
            self.close_connection = True
            self.server.lost(request)
        finally:
            self.server.ended(request, whole=whole)

    def _play(self, request: Request, steps: Steps) -> bool:
        """Whether the answer is whole, as far as its reply goes; raises when the client is gone."""
        chunked = False
        for _, step in steps:
            if self._gone(0):
                raise _ClientGone
            if isinstance(step, Head):
                chunked = step.length is None
                self._send_head(step)
            elif isinstance(step, bytes):
                self._send(step, chunked=chunked)
            elif isinstance(step, Held):
                self._hold(request, step, chunked=chunked)
            else:
                self._end(step)
                return False
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return True

    def _send_head(self, head: Head) -> None:
        self.send_response_only(head.status)
        for name, value in head.headers.items():
            self.send_header(name, value)
        if head.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        elif head.status not in {204, 304}:
            self.send_header("Content-Length", str(head.length))
        self.end_headers()

    def _send(self, data: bytes, *, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    def _end(self, end: End) -> None:
        self.close_connection = True
        if end is End.RESET:
            reset_on_close(self.connection)

    def _hold(self, request: Request, held: Held, *, chunked: bool) -> None:
        bell = None if held.forever else request.bell()
        while (woken := self._wait(bell, held.seconds)) is not _Woken.RELEASED:
            if woken is _Woken.GONE:
                raise _ClientGone
            if chunked and held.ping:
                self._send(held.ping, chunked=True)

    def _wait(self, bell: socket.socket | None, seconds: float | None) -> _Woken:
        """What comes first: the client goes, a release, or so many seconds pass."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            if bell is not None:
                selector.register(bell, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(seconds)}
        if self.connection in ready:
            if self._gone(None):
                return _Woken.GONE
            # Its bytes would hide the end of the connection, which is what is waited for.
            raise RuntimeError("a client sent a request before the last was answered")
        if bell is None or bell not in ready:
            return _Woken.LATE
        bell.recv(1)
        return _Woken.RELEASED

    def _gone(self, timeout: float | None) -> bool:
        """Whether the client has closed its side; `timeout=0` looks without waiting."""
        self.connection.settimeout(timeout)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(None)
