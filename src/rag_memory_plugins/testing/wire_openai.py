"""OpenAI's chat completions on the wire: JSON, and server-sent events."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from rag_memory_plugins.testing.fault_replies import Answer, ErrorEvent, Refusal
from rag_memory_plugins.testing.installed import MADE
from rag_memory_plugins.testing.wire import LAST, ROLE, encoded
from rag_memory_plugins.types import ToolCall

__all__ = ["OpenAI"]


@dataclass(frozen=True)
class OpenAI:
    """The dialect of one request."""

    stream_type: ClassVar[str] = "text/event-stream"
    number: int
    model: str
    stream: bool
    include_usage: bool = False
    page: tuple[int, dict[str, Any]] | None = None

    def frames(self, answer: Answer) -> list[tuple[int, bytes]]:
        frames = [(ROLE, self._chunk(answer, {"role": "assistant", "content": ""}))]
        rank = count(ROLE + 1)
        frames += [
            (next(rank), self._chunk(answer, {answer.reasoning_field: piece}))
            for piece in answer.thoughts
        ]
        frames += [(next(rank), self._chunk(answer, {"content": text})) for text in answer.pieces]
        frames += [(next(rank), self._chunk(answer, delta)) for delta in _call_deltas(answer)]
        if answer.reason is not None:
            frames.append((LAST, self._chunk(answer, {}, answer.reason)))
            if self.include_usage and answer.usage is not None:
                usage = {**self._base(answer, "chat.completion.chunk"), "choices": []}
                frames.append((LAST, _event({**usage, "usage": _usage(*answer.usage)})))
        if answer.done:
            frames.append((LAST, self.framed("[DONE]")))
        noise = "".join(f"{line}\n\n" for line in answer.keepalives).encode()
        return [(at, noise + data) for at, data in frames]

    def body(self, answer: Answer) -> tuple[int, dict[str, Any]]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.pieces) or None}
        if answer.thoughts:
            message[answer.reasoning_field] = "".join(answer.thoughts)
        if answer.tool_calls:
            message["tool_calls"] = [_call(call) for call in answer.tool_calls]
        choice = {"index": 0, "message": message, "finish_reason": answer.reason}
        body = {**self._base(answer, "chat.completion"), "choices": [choice]}
        return 200, body if answer.usage is None else {**body, "usage": _usage(*answer.usage)}

    def refused(self, refusal: Refusal) -> dict[str, Any]:
        error = {
            "message": refusal.message,
            "type": refusal.kind,
            "param": None,
            "code": refusal.code,
        }
        return {"error": {**error, **refusal.more}}

    def failed(self, event: ErrorEvent) -> dict[str, Any]:
        if event.form == "vllm":
            return {"object": "error", "message": event.message, "code": event.code}
        error = {"error": {"code": event.code, "message": event.message}}
        if event.form == "plain":
            return error
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return {**self._base(Answer(), "chat.completion.chunk"), **error, "choices": [choice]}

    def framed(self, text: str) -> bytes:
        return f"data: {text}\n\n".encode()

    def nothing(self) -> tuple[bytes, dict[str, Any]]:
        return self.framed("[DONE]"), {**self._base(Answer(), "chat.completion"), "choices": []}

    def _base(self, answer: Answer, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            "created": MADE,
            "model": answer.model or self.model,
        }

    def _chunk(self, answer: Answer, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {**self._base(answer, "chat.completion.chunk"), "choices": [choice]}
        return _event({**chunk, "usage": None} if self.include_usage else chunk)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + encoded(value) + b"\n\n"


def _call(call: ToolCall) -> dict[str, Any]:
    named = {"id": call.id} if call.id else {}
    function = {"name": call.name, "arguments": call.arguments}
    return {**named, "type": "function", "function": function}


def _call_deltas(answer: Answer) -> list[dict[str, Any]]:
    """Of each call its name, then its arguments in two pieces."""
    deltas = []
    for index, call in enumerate(answer.tool_calls):
        first = _call(ToolCall(call.id, call.name, ""))
        half = (len(call.arguments) + 1) // 2
        rest = [part for part in (call.arguments[:half], call.arguments[half:]) if part]
        parts = [first, *[{"function": {"arguments": part}} for part in rest]]
        deltas += [{"tool_calls": [{"index": index, **part}]} for part in parts]
    return deltas


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
