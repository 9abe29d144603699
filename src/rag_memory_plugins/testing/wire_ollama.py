"""Ollama's own chat on the wire: JSON, and a JSON object a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from rag_memory_plugins.testing.fault_replies import Answer, ErrorEvent, Refusal
from rag_memory_plugins.testing.installed import MADE_AT
from rag_memory_plugins.testing.wire import LAST, ROLE, encoded
from rag_memory_plugins.types import ToolCall

__all__ = ["Ollama"]


@dataclass(frozen=True)
class Ollama:
    """The dialect of one request.

    Ollama reads a model's tool call before it sends it on. One whose arguments are no JSON is an
    error there; of an answer without a finish reason it is a line that breaks off.
    """

    stream_type: ClassVar[str] = "application/x-ndjson"
    model: str
    stream: bool
    page: tuple[int, dict[str, Any]] | None = None

    def frames(self, answer: Answer) -> list[tuple[int, bytes]]:
        frames = [(ROLE, self._line(answer, {"content": ""}))]
        rank = count(ROLE + 1)
        frames += [
            (next(rank), self._line(answer, {"content": "", "thinking": piece}))
            for piece in answer.thoughts
        ]
        frames += [(next(rank), self._line(answer, {"content": text})) for text in answer.pieces]
        for call in answer.tool_calls:
            if not _is_json(call.arguments):
                return [*frames, (next(rank), self._unreadable(answer, call))]
            message = {"content": "", "tool_calls": [_call(call)]}
            frames.append((next(rank), self._line(answer, message)))
        if answer.reason is not None:
            last = {**self._message(answer, {"content": ""}), **_ending(answer)}
            frames.append((LAST, encoded(last) + b"\n"))
        return frames

    def body(self, answer: Answer) -> tuple[int, dict[str, Any]]:
        if unreadable := [call for call in answer.tool_calls if not _is_json(call.arguments)]:
            return 500, {"error": _parse_error(unreadable[0])}
        message: dict[str, Any] = {"content": "".join(answer.pieces)}
        if answer.thoughts:
            message["thinking"] = "".join(answer.thoughts)
        if answer.tool_calls:
            message["tool_calls"] = [_call(call) for call in answer.tool_calls]
        return 200, {**self._message(answer, message), **_ending(answer)}

    def refused(self, refusal: Refusal) -> dict[str, Any]:
        return {"error": refusal.message}

    def failed(self, event: ErrorEvent) -> dict[str, Any]:
        return {"error": event.message}

    def framed(self, text: str) -> bytes:
        return f"{text}\n".encode()

    def nothing(self) -> tuple[bytes, dict[str, Any]]:
        body = self.body(Answer(text=""))[1]
        return encoded(body) + b"\n", body

    def _message(self, answer: Answer, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": answer.model or self.model,
            "created_at": MADE_AT,
            "message": {"role": "assistant", **message},
            "done": False,
        }

    def _line(self, answer: Answer, message: dict[str, Any]) -> bytes:
        return encoded(self._message(answer, message)) + b"\n"

    def _unreadable(self, answer: Answer, call: ToolCall) -> bytes:
        if answer.reason is not None:
            return encoded({"error": _parse_error(call)}) + b"\n"
        empty = ToolCall(call.id, call.name, "{}")
        line = self._line(answer, {"content": "", "tool_calls": [_call(empty)]})
        return line[: line.rindex(b'"arguments":')] + f'"arguments":{call.arguments}'.encode()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _parse_error(call: ToolCall) -> str:
    return f"error parsing tool call: raw='{call.arguments}', err=unexpected end of JSON input"


def _call(call: ToolCall) -> dict[str, Any]:
    named = {"id": call.id} if call.id else {}
    function = {"name": call.name, "arguments": json.loads(call.arguments)}
    return {**named, "function": function}


def _ending(answer: Answer) -> dict[str, Any]:
    """Ollama has no reason of its own for tool calls, and says "stop"."""
    reason = answer.reason if answer.reason == "length" else "stop"
    ending: dict[str, Any] = {"done": True, "done_reason": reason, "total_duration": 5_000_000}
    if answer.usage is not None:
        ending["prompt_eval_count"], ending["eval_count"] = answer.usage
    return ending
