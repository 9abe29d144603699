"""A TCP proxy on loopback that fails as it is told to, before any server: Postgres, Redis, HTTP.

```
accept   a thread for each connection, which connects to the server when anything may pass
fault    a rule for open connections, for new ones, or for both; may be changed at any time
pass     what the rule lets through, both ways, byte for byte
count    connections, bytes each way, strikes; wakes who waits
```
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Literal, TypeAlias, get_args

from typing_extensions import Self

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.testing.fault_sockets import Sockets
from rag_memory_plugins.testing.proxy_link import Direction, Fault, Link, Rule

__all__ = ["Counts", "FaultProxy"]

Which: TypeAlias = Literal["all", "new", "open"]

CONNECT_SECONDS: Final = 5.0
STRIKING: Final = ("reset", "close", "stall", "swallow")


@dataclass(frozen=True)
class Counts:
    """What went through a proxy so far; `strikes` are connections that a fault has struck."""

    connections: int = 0
    open: int = 0
    request_bytes: int = 0
    answer_bytes: int = 0
    strikes: int = 0


class FaultProxy:
    """Stands before a server on `host` and `port`, on a port of its own, while its block runs.

    A `host` that begins with "/" is the path of a unix socket. Without a fault everything passes.
    A client whose server is not there is reset. What goes wrong inside is raised at the block's end.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with FaultProxy(*server.getsockname()) as proxy:
    ...         client = socket.create_connection(proxy.address)
    ...         _ = client.send(b"PING")
    ...         connection, _ = server.accept()
    ...         print(connection.recv(4))
    ...         proxy.fault("reset", after_bytes=2)
    ...         _ = connection.send(b"PONG")
    ...         print(client.recv(4))
    ...         try:
    ...             client.recv(4)
    ...         except ConnectionResetError:
    ...             print("reset", proxy.counts.strikes)
    ...         client.close(), connection.close()
    b'PING'
    b'PO'
    reset 1
    (None, None)
    """

    def __init__(self, host: str, port: int = 0) -> None:
        self._server = (host, port)
        self.address = ("127.0.0.1", 0)
        self._changed = threading.Condition()
        self._rule = Rule()
        self._links: set[Link] = set()
        self._counts = Counts()
        self._errors: list[Exception] = []
        self._sockets: Sockets | None = None

    def __repr__(self) -> str:
        host, port = self._server
        return f"FaultProxy({host}{f':{port}' if port else ''} at {self.address[1]})"

    def __enter__(self) -> Self:
        self._sockets = Sockets(self._serve, self._changed, self._errors.append)
        self.address = self._sockets.address
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if error is None and self._errors:
            raise self._errors[0]

    def close(self) -> None:
        """Drop every connection and refuse new ones; again is no error."""
        with self._changed:
            self._rule = Rule("reset")
            for link in self._links:
                link.end()
        if self._sockets and not self._sockets.closing:
            self._sockets.close()

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        return self.address[1]

    @property
    def counts(self) -> Counts:
        """What went through so far."""
        with self._changed:
            return self._now()

    def fault(
        self,
        fault: Fault,
        *,
        after_bytes: int | None = None,
        direction: Direction = "answer",
        connections: Which = "all",
        times: int | None = None,
        bytes_per_second: float | None = None,
    ) -> None:
        """Let connections fail from now on, in place of what was told before.

        "reset" ends a connection by RST, "close" as a server that goes; "stall" forwards nothing
        and keeps both sides open, until `heal` lets through what waits; "swallow" throws away what
        is sent and never answers, a connection struck so stays dead. With `after_bytes` these
        strike once so many bytes of `direction` have passed and another would: `after_bytes=0` of
        the answer is a request that was done and not acknowledged. They strike `times` connections.

        "slow" passes `bytes_per_second` each way. "refuse" (connection refused) and "ignore"
        (connecting never ends) are for new connections; open ones go on as they were.

        `connections` says whose: those open now, those that come, or all. Raises `InvalidInput`.
        """
        _check(fault, after_bytes, direction, connections, times, bytes_per_second)
        rule = Rule(fault, after_bytes, direction, bytes_per_second or 0.0, times)
        shut = fault in {"refuse", "ignore"}
        with self._changed:
            if connections != "open" and not shut:
                self._rule = rule
            if connections != "new" and not shut:
                self._obey(rule)
        if connections != "open":
            self._answer_at_door(fault)

    def heal(self) -> None:
        """Let everything pass again, and new connections in."""
        with self._changed:
            self._rule = Rule()
            self._obey(self._rule)
        self._answer_at_door(None)

    def wait_for(self, met: Callable[[Counts], bool], timeout: float = 5.0) -> Counts:
        """The counts, once they are as `met` says; raises `TimeoutError`.

        `proxy.wait_for(lambda counts: counts.strikes == 1)`
        """
        with self._changed:
            if not self._changed.wait_for(lambda: met(self._now()), timeout):
                raise TimeoutError(f"{self._now()} after {timeout} s")
            return self._now()

    async def await_for(self, met: Callable[[Counts], bool], timeout: float = 5.0) -> Counts:
        """`wait_for` beside a running loop."""
        return await asyncio.to_thread(self.wait_for, met, timeout)

    # What a connection's thread calls.

    def passed(self, direction: Direction, count: int) -> None:
        """Count bytes that the other side has got."""
        with self._changed:
            name = f"{direction}_bytes"
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + count})
            self._changed.notify_all()

    def may_strike(self, rule: Rule) -> bool:
        """Whether there are strikes left; counts this one."""
        with self._changed:
            if rule.left is not None:
                if rule.left == 0:
                    return False
                rule.left -= 1
            self._counts = replace(self._counts, strikes=self._counts.strikes + 1)
            self._changed.notify_all()
            return True

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            link = Link(client, self._connect, self._rule, self)
            self._links.add(link)
            self._counts = replace(self._counts, connections=self._counts.connections + 1)
            self._changed.notify_all()
        try:
            link.run()
        finally:
            with self._changed:
                self._links.remove(link)
                self._changed.notify_all()
            link.close()

    def _connect(self) -> socket.socket:
        host, port = self._server
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(host)
            return server
        server = socket.create_connection((host, port), CONNECT_SECONDS)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _obey(self, rule: Rule) -> None:
        for link in self._links:
            link.obey(rule)

    def _answer_at_door(self, fault: Fault | None) -> None:
        if self._sockets is None or self._sockets.closing:
            raise RuntimeError("the proxy's block has not begun, or has ended")
        if fault == "refuse":
            self._sockets.refuse()
        elif fault == "ignore":
            self._sockets.ignore()
        else:
            self._sockets.accept()

    def _now(self) -> Counts:
        return replace(self._counts, open=len(self._links))


def _check(
    fault: str, after: int | None, direction: str, which: str, times: int | None, rate: float | None
) -> None:
    for name, given, known in (
        ("fault", fault, get_args(Fault)),
        ("direction", direction, get_args(Direction)),
        ("connections", which, get_args(Which)),
    ):
        if given not in known:
            raise InvalidInput(name, given, f"pass one of {', '.join(known)}")
    if fault not in STRIKING and (after is not None or times is not None):
        remedy = f"after_bytes and times are for {', '.join(STRIKING)}"
        raise InvalidInput("fault", fault, remedy)
    if fault in {"refuse", "ignore"} and which == "open":
        raise InvalidInput("connections", which, f"{fault!r} is for new connections")
    if after is not None and after < 0:
        raise InvalidInput("after_bytes", after, "pass 0 or more")
    if times is not None and times < 1:
        raise InvalidInput("times", times, "pass 1 or more")
    if (fault == "slow") != (rate is not None) or (rate is not None and not rate > 0):
        raise InvalidInput("bytes_per_second", rate, "pass more than 0 with 'slow', and only there")
