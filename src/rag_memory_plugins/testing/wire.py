"""A reply as steps on a connection: pure values, which `fault_http` plays.

```
reply    -> steps of what it wraps, each placed at the rank of the point it brings the answer to
fault    -> cuts those steps at its point, or puts a step between them
played   -> Head, bytes of a body, Held (wait), End (close); without an End the answer is whole
```
"""

from __future__ import annotations

import json
import sys
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from rag_memory_plugins.testing.fault_replies import (
    PING_COMMENT,
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Raw,
    Refusal,
    Reply,
    Slow,
    Stall,
    rank,
)

__all__ = ["Dialect", "End", "Head", "Held", "Step", "Steps", "steps"]

HEADERS: Final = rank("headers")
ROLE: Final = rank("role")
LAST: Final = sys.maxsize
"""The rank of what follows all deltas."""


@dataclass(frozen=True)
class Head:
    """Status line and headers; a body without a length is sent in chunks."""

    status: int
    headers: Mapping[str, str]
    length: int | None = None


@dataclass(frozen=True)
class Held:
    """Waits for the client to go away or, unless `forever`, for a release.

    `ping` is sent every `seconds` while it waits.
    """

    forever: bool = False
    ping: bytes = b""
    seconds: float | None = None


class End(Enum):
    """How a connection ends before its answer does."""

    FIN = auto()
    RESET = auto()


Step: TypeAlias = Head | bytes | Held | End
Steps: TypeAlias = list[tuple[int, Step]]


class Dialect(Protocol):
    """How a protocol words what a reply means, for one request."""

    stream_type: ClassVar[str]

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed."""

    @property
    def page(self) -> tuple[int, dict[str, Any]] | None:
        """Status and body of the good answer to what is no chat."""

    @abstractmethod
    def frames(self, answer: Answer) -> list[tuple[int, bytes]]:
        """A streamed answer, each piece with its rank."""

    @abstractmethod
    def body(self, answer: Answer) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer that is not streamed."""

    @abstractmethod
    def refused(self, refusal: Refusal) -> dict[str, Any]:
        """The body of an error."""

    @abstractmethod
    def failed(self, event: ErrorEvent) -> dict[str, Any]:
        """The error that stands in a body of status 200."""

    @abstractmethod
    def framed(self, text: str) -> bytes:
        """One event or line of a stream."""

    @abstractmethod
    def nothing(self) -> tuple[bytes, dict[str, Any]]:
        """A whole stream, and a whole body, without an answer."""


def steps(reply: Reply, dialect: Dialect) -> Steps:
    """What is sent for `reply`, in order."""
    if isinstance(reply, Answer):
        return _answered(reply, dialect)
    if isinstance(reply, Refusal):
        return _json(reply.status, dialect.refused(reply), reply.headers)
    if isinstance(reply, Raw):
        headers = {"Content-Type": reply.content_type, **reply.headers}
        return _whole(reply.status, reply.body, headers)
    if isinstance(reply, NoChoices):
        stream, body = dialect.nothing()
        return _streamed([(LAST, stream)], dialect, {}) if dialect.stream else _json(200, body, {})
    inner = steps(reply.reply, dialect)
    if isinstance(reply, (ErrorEvent, Garbage)):
        return _spoilt(reply, inner, dialect)
    if isinstance(reply, Slow):
        for point in reply.after:
            _insert(inner, rank(point), Held())
        return inner
    step: Step = End.RESET if isinstance(reply, Cut) and reply.reset else End.FIN
    if isinstance(reply, Stall):
        ping = f"{PING_COMMENT}\n\n".encode() if "event" in dialect.stream_type else b""
        step = Held(forever=True, ping=ping, seconds=reply.ping_seconds)
    at = rank(reply.after)
    return [*inner[: _place(inner, at)], (at, step)]


def _answered(answer: Answer, dialect: Dialect) -> Steps:
    if not dialect.stream:
        status, body = dialect.page or dialect.body(answer)
        return _json(status, body, answer.headers)
    frames = dialect.frames(answer)
    size = answer.write_bytes
    if size is not None:
        frames = [
            (at, data[start : start + size])
            for at, data in frames
            for start in range(0, len(data), size)
        ]
    return _streamed(frames, dialect, answer.headers)


def _streamed(
    frames: list[tuple[int, bytes]], dialect: Dialect, headers: Mapping[str, str]
) -> Steps:
    head = Head(200, {"Content-Type": dialect.stream_type, **headers})
    return [(HEADERS, head), *frames]


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Steps:
    return _whole(status, encoded(body), {"Content-Type": "application/json", **headers})


def _whole(status: int, body: bytes, headers: Mapping[str, str]) -> Steps:
    half = (len(body) + 1) // 2
    halves = [(ROLE + 1, body[:half]), (LAST, body[half:])]
    return [(HEADERS, Head(status, headers, len(body))), *[item for item in halves if item[1]]]


def _spoilt(reply: ErrorEvent | Garbage, inner: Steps, dialect: Dialect) -> Steps:
    """An error or no JSON in the midst of a stream; of what is not streamed, all of it."""
    error = isinstance(reply, ErrorEvent)
    text = encoded(dialect.failed(reply)).decode() if isinstance(reply, ErrorEvent) else reply.text
    if not any(isinstance(step, Head) and step.length is None for _, step in inner):
        return _whole(200, text.encode(), {"Content-Type": "application/json"})
    at = rank(reply.after)
    place = _place(inner, at)
    return [*inner[:place], (at, dialect.framed(text)), *([] if error else inner[place:])]


def _insert(inner: Steps, at: int, step: Step) -> None:
    inner.insert(_place(inner, at), (at, step))


def _place(inner: Steps, at: int) -> int:
    return next((index for index, (place, _) in enumerate(inner) if place > at), len(inner))


def encoded(value: object) -> bytes:
    """JSON in UTF-8 without escapes, so a write may end in the midst of a character."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
