"""A LlamaIndex answer as `Delta`s: what is new in each `ChatResponse`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from rag_memory_plugins.chat import Delta, ToolPiece
from rag_memory_plugins.llama_index.blocks import calls
from rag_memory_plugins.llama_index.reporting import finish_of, model_of, usage_of

__all__ = ["Reading"]


@dataclass
class _Call:
    """One tool call: `text` is what is known of its arguments, `sent` what was handed on."""

    id: str
    name: str
    text: str = ""
    sent: str = ""


class Reading:
    """Reads the responses of one answer, in order.

    Each response of a stream holds all that came before, and some integrations say nothing but
    that. Others give a tool call's arguments as a dict that grows: those are handed on at the end,
    because what was handed on cannot be taken back.

    >>> reading = Reading()
    >>> said = [ChatMessage(text, role="assistant") for text in ("Hel", "Hello")]
    >>> [reading.read(ChatResponse(message=message)).text for message in said]
    ['Hel', 'lo']
    >>> reading.end().finish
    'stop'
    """

    def __init__(self) -> None:
        self._text = ""
        self._thought = ""
        self._calls: list[_Call] = []
        self._finish: str | None = None

    def read(self, response: ChatResponse, *, whole: bool = False) -> Delta:
        """What is new; of a `whole` answer all of it, so `delta` does not count."""
        finish = finish_of(response)
        if finish is not None:
            self._finish = finish or self._finish or ""
        return Delta(
            self._said(response, whole=whole),
            self._reasoned(response),
            tuple(self._called(response.message, whole=whole)),
            usage=usage_of(response),
            model=model_of(response),
            native=response,
        )

    def end(self) -> Delta:
        """What was held back, and why the answer ended."""
        pieces = []
        for index, call in enumerate(self._calls):
            rest = _rest(call)
            if rest:
                pieces.append(ToolPiece(index, arguments=rest))
        # LlamaIndex has no common finish reason. An integration that tells it for some pieces and
        # not for the last was cut off; of one that never does, an end in good order is an end.
        natural = "tool_calls" if self._calls else "stop"
        return Delta(tools=tuple(pieces), finish=natural if self._finish is None else self._finish)

    def _said(self, response: ChatResponse, *, whole: bool) -> str:
        if response.delta is not None and not whole:
            self._text += response.delta
            return response.delta
        new = _grown(self._text, response.message.content or "")
        self._text += new
        return new

    def _reasoned(self, response: ChatResponse) -> str:
        given = response.additional_kwargs.get("thinking_delta")
        thought = "".join(
            getattr(block, "content", None) or ""
            for block in response.message.blocks
            if getattr(block, "block_type", "") == "thinking"
        )
        new = given if isinstance(given, str) else _grown(self._thought, thought)
        self._thought += new
        return new

    def _called(self, message: ChatMessage, *, whole: bool) -> list[ToolPiece]:
        pieces = []
        for position, made in enumerate(calls(message)):
            # A call without an id goes by its tool's name, which two calls may share.
            call_id = "" if made.id == made.name else made.id
            index = self._index(call_id, position)
            first = index == len(self._calls)
            if first:
                self._calls.append(_Call(call_id, made.name))
            call = self._calls[index]
            fresh = call_id if first or not call.id else ""
            call.id = call.id or call_id
            call.text = _joined(call.text, made.arguments)
            held = not whole and _object(call.text) is not None
            new = "" if held else _rest(call)
            if first or fresh or new:
                name = made.name if first else ""
                pieces.append(ToolPiece(index, fresh, name, new))
        return pieces

    def _index(self, call_id: str, position: int) -> int:
        """Which call this is: integrations give all so far, or the new ones alone."""
        if call_id:
            for index, call in enumerate(self._calls):
                if call.id == call_id:
                    return index
            if position < len(self._calls) and self._calls[position].id:
                return len(self._calls)
        return min(position, len(self._calls))


def _grown(before: str, now: str) -> str:
    """The end of `now`; nothing where it does not go on from `before`."""
    return now[len(before) :] if now.startswith(before) else ""


def _joined(before: str, now: str) -> str:
    """All that is known of arguments: `now` may be all of it, or the next part of it."""
    if now.startswith(before) or _object(now) is not None or _object(before) is not None:
        return now
    return before + now


def _rest(call: _Call) -> str:
    """What is to be handed on of a call's arguments; notes that it was."""
    text = call.text
    value = _object(text)
    if not text.startswith(call.sent) and value is not None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    new = _grown(call.sent, text)
    call.sent += new
    return new


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
