"""One connection through a `FaultProxy`, in a thread of its own.

```
read     what a side sent waits in a flow until the other side may have it
fault    the rule of the connection strikes, at once or at a byte
send     what the rule lets pass; counted
bell     a new rule, or the proxy's end, wakes whoever waits
```
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from rag_memory_plugins.testing.fault_sockets import reset_on_close

__all__ = ["Direction", "Fault", "Link", "Rule", "Told"]

Fault: TypeAlias = Literal["reset", "close", "stall", "swallow", "slow", "refuse", "ignore"]
Direction: TypeAlias = Literal["request", "answer"]

CHUNK: Final = 1 << 16
HELD: Final = 1 << 20
"""Bytes that are read of a side while nothing passes: its end is behind what it sent."""
TICKS: Final = 50
"""Pieces a second that a slow connection is cut into."""


@dataclass(eq=False)
class Rule:
    """What happens to a connection; None as `fault` lets everything pass.

    It strikes when byte number `after` of `direction` has passed and another would, or at once
    without `after`. `left` is how many connections it may strike, None for all.
    """

    fault: Fault | None = None
    after: int | None = None
    direction: Direction = "answer"
    rate: float = 0.0
    left: int | None = None


class Told(Protocol):
    """What a link asks of its proxy, and tells it; called in the link's thread."""

    def passed(self, direction: Direction, count: int) -> None: ...

    def may_strike(self, rule: Rule) -> bool: ...


class _Ended(Exception):
    """The connection is over."""


@dataclass
class _Flow:
    """What one side has sent and the other has not got yet."""

    direction: Direction
    source: socket.socket | None = None
    sink: socket.socket | None = None
    pending: bytearray = field(default_factory=bytearray)
    ended: bool = False
    told: bool = False
    """Whether the sink knows that the source has ended."""
    passed: int = 0
    since: int = 0
    """`passed` when the rule began."""

    def read(self) -> None:
        assert self.source is not None  # who selects has seen to it
        data = self.source.recv(CHUNK)
        self.pending += data
        self.ended = not data

    def send(self, most: int) -> int:
        assert self.sink is not None
        sent = self.sink.send(self.pending[:most])
        del self.pending[:sent]
        self.passed += sent
        return sent


class Link:
    """A client's connection and, as soon as anything may pass, one to the server."""

    def __init__(
        self, client: socket.socket, connect: Callable[[], socket.socket], rule: Rule, told: Told
    ) -> None:
        self._client = client
        self._connect = connect
        self._told = told
        self._server: socket.socket | None = None
        self._flows = (_Flow("request", source=client), _Flow("answer", sink=client))
        self._given: Rule | None = rule
        self._rule = rule
        self._struck = self._dead = self._ending = False
        self._paced = 0.0
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)

    def obey(self, rule: Rule) -> None:
        """Follow another rule from now on; from any thread."""
        self._given = rule
        self._ring()

    def end(self) -> None:
        """Drop both connections; from any thread."""
        self._ending = True
        self._ring()

    def run(self) -> None:
        """Serve the connection until either side ends it, a fault does, or `end` is called."""
        try:
            while not self._ending:
                self._take_rule()
                self._strike_if_due()
                self._meet_server()
                self._pass_ends()
                self._step()
        except _Ended:
            pass
        except OSError:  # a side was reset, or is not there: the other is told the same
            reset_on_close(self._client)
            if self._server is not None:
                reset_on_close(self._server)
        finally:
            self._client.close()
            if self._server is not None:
                self._server.close()

    def close(self) -> None:
        """Free the bell, when nobody can ring it any more."""
        self._bell.close()
        self._rung.close()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it was rung often, and not heard yet
            self._bell.send(b"!")

    def _take_rule(self) -> None:
        rule, self._given = self._given, None
        if rule is None:
            return
        self._rule, self._struck, self._paced = rule, False, time.monotonic()
        for flow in self._flows:
            flow.since = flow.passed

    def _room(self, flow: _Flow) -> int:
        """How many bytes may pass before the rule strikes."""
        rule = self._rule
        if rule.after is None or flow.direction != rule.direction:
            return CHUNK
        return max(rule.after - flow.passed + flow.since, 0)

    def _strike_if_due(self) -> None:
        rule = self._rule
        if self._struck or self._dead or rule.fault in {None, "slow", "refuse", "ignore"}:
            return
        watched = self._flows[rule.direction == "answer"]
        if rule.after is not None and not (watched.pending and not self._room(watched)):
            return
        if not self._told.may_strike(rule):
            self._rule = Rule()
            return
        self._struck = True
        if rule.fault == "reset":
            reset_on_close(self._client)
            raise _Ended
        if rule.fault == "close":
            # An end without a reset: that would come if anything unread were left.
            self._client.shutdown(socket.SHUT_WR)
            if self._server is not None:
                self._server.shutdown(socket.SHUT_WR)
        if rule.fault != "stall":
            self._dead = True

    def _meet_server(self) -> None:
        if self._server is None and not (self._struck or self._dead):
            self._server = self._connect()
            self._flows[0].sink = self._flows[1].source = self._server

    def _step(self) -> None:
        """Wait for what is next, and do it."""
        pause = self._pause()
        with selectors.DefaultSelector() as selector:
            selector.register(self._rung, selectors.EVENT_READ)
            for side in (self._client, self._server):
                if side is not None and (wanted := self._wanted(side, pause)):
                    side.setblocking(False)
                    selector.register(side, wanted)
            ready = {key.fileobj: events for key, events in selector.select(pause)}
        if ready.pop(self._rung, 0):
            self._rung.recv(CHUNK)
            return
        # Before anything is read: that may be a reset, behind what waits to be sent.
        for flow in self._flows:
            if flow.sink is not None and ready.get(flow.sink, 0) & selectors.EVENT_WRITE:
                self._send(flow)
        for flow in self._flows:
            if flow.source is not None and ready.get(flow.source, 0) & selectors.EVENT_READ:
                self._read(flow)

    def _wanted(self, side: socket.socket, pause: float | None) -> int:
        wanted = 0
        most = HELD if self._struck else CHUNK
        for flow in self._flows:
            if flow.source is side and not flow.ended and len(flow.pending) < most:
                wanted |= selectors.EVENT_READ
            if flow.sink is side and pause is None and self._may_send(flow):
                wanted |= selectors.EVENT_WRITE
        return wanted

    def _may_send(self, flow: _Flow) -> bool:
        return bool(flow.pending) and not (self._struck or self._dead) and self._room(flow) > 0

    def _pause(self) -> float | None:
        """Seconds until a slow connection may go on; None for none to wait."""
        if self._rule.fault != "slow" or not any(flow.pending for flow in self._flows):
            return None
        left = self._paced - time.monotonic()
        return left if left > 0 else None

    def _read(self, flow: _Flow) -> None:
        flow.read()
        if self._dead:
            flow.pending.clear()
        if flow.ended and flow.source is self._client and (self._struck or self._dead):
            raise _Ended

    def _send(self, flow: _Flow) -> None:
        if not self._may_send(flow):
            return
        most = self._room(flow)
        slow = self._rule.fault == "slow"
        if slow:
            most = max(1, round(self._rule.rate / TICKS))
        sent = flow.send(most)
        if slow:
            self._paced = max(self._paced, time.monotonic() - 1 / TICKS) + sent / self._rule.rate
        self._told.passed(flow.direction, sent)

    def _pass_ends(self) -> None:
        """Tell a side that the other has ended, behind all that it sent."""
        if self._struck or self._dead:
            return
        for flow in self._flows:
            if flow.ended and not flow.pending and not flow.told and flow.sink is not None:
                flow.told = True
                flow.sink.shutdown(socket.SHUT_WR)
        if all(flow.told for flow in self._flows):
            raise _Ended
