"""What a `FaultServer` answers: a good answer, a refusal, or either with something going wrong.

```
Answer      text, reasoning and tool calls in pieces, usage, finish reason
Refusal     a status and an error body in the form of the protocol that was asked
Raw         any status, headers and bytes
NoChoices   200, and nothing in it
Slow        waits for release()            ┐
Stall       sends no more                  │
Cut         closes or resets the connection├ around one of the above, at a point of its answer
ErrorEvent  200, then an error in the body │
Garbage     200, then no JSON              ┘
```

A point is how far the answer has come: "request" (it was read, nothing was sent), "headers",
"role" (the chunk before any content), or that many deltas. An answer that is not streamed has one
delta, the first half of its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.types import ToolCall

__all__ = [
    "OPENROUTER_COMMENT",
    "PING_COMMENT",
    "PING_EVENT",
    "Answer",
    "Cut",
    "ErrorEvent",
    "Garbage",
    "NoChoices",
    "Point",
    "Raw",
    "Refusal",
    "Reply",
    "Slow",
    "Stall",
    "half_tool_call",
    "hang",
    "html_page",
    "redirect",
    "slow_first_byte",
    "unfinished",
]

Point: TypeAlias = int | Literal["request", "headers", "role"]

OPENROUTER_COMMENT: Final = ": OPENROUTER PROCESSING"
PING_COMMENT: Final = ": ping"
PING_EVENT: Final = "event: ping\ndata: {}"

_EARLY: Final = {"request": 0, "headers": 1, "role": 2}


def rank(point: Point) -> int:
    """Points in the order in which an answer passes them; raises `InvalidInput` for no point."""
    if isinstance(point, str) and point in _EARLY:
        return _EARLY[point]
    if isinstance(point, int) and not isinstance(point, bool) and point >= 0:
        return _EARLY["role"] + point
    raise InvalidInput("after", point, "pass 'request', 'headers', 'role' or a number of deltas")


@dataclass(frozen=True)
class Answer:
    """A good answer, in the pieces in which it is streamed.

    Without text and tool calls it says "Hello there."; `text=""` says nothing. `finish` is by
    default what the content calls for, None for an answer that just ends; `done` says whether
    `data: [DONE]` follows. `usage` is (prompt, completion) tokens, sent where the protocol asks for
    it. `model` is who answered, by default who was asked. A `ToolCall` with the id "" has none on
    the wire; arguments that are no JSON are sent as they are. `keepalives` are lines of SSE before
    every chunk. `write_bytes` sends the stream in writes of so many bytes, wherever that cuts.

    >>> Answer(("Yes", "."), finish="length").pieces
    ('Yes', '.')
    """

    text: str | tuple[str, ...] | None = None
    reasoning: str | tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "tool_calls", "content_filter", "error", ""] | None = ""
    done: bool = True
    usage: tuple[int, int] | None = (12, 3)
    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    keepalives: tuple[str, ...] = ()
    reasoning_field: Literal["reasoning", "reasoning_content"] = "reasoning"
    write_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.write_bytes is not None and self.write_bytes < 1:
            raise InvalidInput("write_bytes", self.write_bytes, "pass at least 1, or None")

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text as it is streamed."""
        if self.text is None:
            return () if self.tool_calls else ("Hello", " there", ".")
        return _pieces(self.text)

    @property
    def thoughts(self) -> tuple[str, ...]:
        """The reasoning as it is streamed, before the text."""
        return _pieces(self.reasoning)

    @property
    def reason(self) -> str | None:
        """The finish reason that is sent."""
        return self.finish or (None if self.finish is None else self._natural)

    @property
    def _natural(self) -> str:
        return "tool_calls" if self.tool_calls else "stop"


def _pieces(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,) if text else ()


@dataclass(frozen=True)
class Refusal:
    """An HTTP error: `message` alone as Ollama sends it, with `kind`, `code` and all as OpenAI does.

    The forms that are worth a name stand in `refusals`.

    >>> Refusal(503, "The server is overloaded", kind="overloaded_error").status
    503
    """

    status: int
    message: str
    kind: str = "api_error"
    code: str | int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the error, as OpenRouter's `metadata`."""


@dataclass(frozen=True)
class Raw:
    """Any response, the same for both protocols.

    >>> Raw(204).body
    b''
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NoChoices:
    """Status 200 and no answer in it: no choices, or Ollama's last line alone.

    >>> NoChoices()
    NoChoices()
    """


@dataclass(frozen=True)
class Slow:
    """Waits at each point until the test calls `release()`, or the client is gone.

    >>> Slow(after=("request", 1)).after
    ('request', 1)
    """

    after: tuple[Point, ...] = ("request",)
    reply: Reply = field(default_factory=Answer)

    def __post_init__(self) -> None:
        for point in self.after:
            rank(point)


@dataclass(frozen=True)
class Stall:
    """Sends nothing beyond the point, until the client is gone or the server stops.

    With `ping_seconds` a keep-alive comment is sent that often: bytes, but no content.

    >>> Stall(after="request") == hang()
    True
    """

    after: Point = 1
    reply: Reply = field(default_factory=Answer)
    ping_seconds: float | None = None

    def __post_init__(self) -> None:
        rank(self.after)
        if self.ping_seconds is not None and self.ping_seconds <= 0:
            raise InvalidInput("ping_seconds", self.ping_seconds, "pass seconds above 0, or None")


@dataclass(frozen=True)
class Cut:
    """Closes the connection at the point: by FIN in the midst of a body, or with `reset` by RST.

    >>> Cut("headers", reset=True).reset
    True
    """

    after: Point = 1
    reset: bool = False
    reply: Reply = field(default_factory=Answer)

    def __post_init__(self) -> None:
        rank(self.after)


@dataclass(frozen=True)
class ErrorEvent:
    """Status 200, and at the point an error in place of the rest; then the body ends well.

    `form` is of the OpenAI protocol: "plain" `{"error": {...}}`, "openrouter" with choices that
    finish by "error" beside it, "vllm" `{"object": "error", "message": ...}`. Ollama has one form.

    >>> ErrorEvent(form="openrouter").code
    502
    """

    after: Point = 1
    message: str = "Provider disconnected unexpectedly"
    code: str | int | None = 502
    form: Literal["plain", "openrouter", "vllm"] = "plain"
    reply: Reply = field(default_factory=Answer)

    def __post_init__(self) -> None:
        _in_body(self.after)


@dataclass(frozen=True)
class Garbage:
    """Status 200, and at the point an event or a line that is not JSON; the rest follows.

    >>> Garbage().text
    '{"choices": [{"delta": {'
    """

    after: Point = 1
    text: str = '{"choices": [{"delta": {'
    reply: Reply = field(default_factory=Answer)

    def __post_init__(self) -> None:
        _in_body(self.after)


def _in_body(point: Point) -> None:
    if rank(point) == _EARLY["request"]:
        raise InvalidInput("after", point, "it stands in a body: 'headers' is the earliest point")


Reply: TypeAlias = Answer | Refusal | Raw | NoChoices | Slow | Stall | Cut | ErrorEvent | Garbage


def slow_first_byte(reply: Reply | None = None) -> Slow:
    """Headers at once, and not a byte of the body until `release()`."""
    return Slow(("headers",), reply or Answer())


def hang() -> Stall:
    """The request is read and never answered."""
    return Stall("request")


def unfinished(*text: str) -> Answer:
    """A stream that ends well as HTTP, without a finish reason and without `[DONE]`."""
    return Answer(text or None, finish=None, done=False)


def half_tool_call(*, finished: bool = False) -> Answer:
    """A tool call whose arguments break off; then a finish reason, or the end of the stream."""
    call = ToolCall("call_1", "weather", '{"city": "Lis')
    return Answer(tool_calls=(call,), finish="" if finished else None, done=finished)


def html_page(status: int = 200) -> Raw:
    """What a proxy shows in place of an answer."""
    return Raw(status, b"<!doctype html><title>Sign in</title><p>Please sign in to the proxy.</p>")


def redirect(location: str, status: int = 307) -> Raw:
    """A redirect to `location`."""
    return Raw(status, headers={"Location": location})
