"""What the suite of chat models asks, what its scripted models say, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from rag_memory_plugins.chat import ChatRequest, Delta, ToolPiece, ToolSpec
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message, ToolCall

__all__ = [
    "CITY",
    "CLOCK",
    "HELLO",
    "LISBON",
    "WEATHER",
    "Filling",
    "Reply",
    "Said",
    "Subject",
    "called",
    "given",
    "spoken",
]

Reply: TypeAlias = "list[Delta | BaseException]"
WEATHER: Final = ToolSpec(
    "weather",
    "The weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK: Final = ToolSpec("clock", "The time of day.", {"type": "object", "properties": {}})
CITY: Final[Mapping[str, Any]] = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
LISBON: Final = {"name": "Lisbon", "people": 545_000}
HELLO: Final = (Message("user", "Hello?"),)


@dataclass(frozen=True)
class Said:
    """What came of asking: the text and its pieces, tool calls, and the object if one was wanted.

    >>> Said("Yes.").text
    'Yes.'
    """

    text: str = ""
    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    value: Any = None


class Subject(Protocol):
    """Something that is asked, over models that it was given."""

    async def aask(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        tool_choice: str = "",
        schema: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Said:
        """Ask once. What the subject raises is raised, whatever came before in `Said`'s place.

        With `schema` (always `CITY`) the framework's own way to an object is gone, and `value` is a
        dict of it.
        """


class Filling(ScriptedModel):
    """Fills a schema in with the next of its texts, or calls the tool that stands for it.

    >>> Filling('{"name": "Faro"}').name
    'scripted'
    """

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        async for delta in super().astream(request):
            if request.tools and request.schema is None:
                piece = ToolPiece(0, "call_1", request.tools[0].name, delta.text)
                yield Delta(tools=(piece,), finish="tool_calls", usage=delta.usage)
            else:
                yield delta


def spoken(*pieces: str, finish: str = "stop") -> Reply:
    """A text in pieces, with an end."""
    return [*[Delta(piece) for piece in pieces], Delta(finish=finish)]


def called(*calls: tuple[str, str, str], parts: int = 1, finish: str = "tool_calls") -> Reply:
    """(id, tool, arguments) of calls, the arguments in so many parts."""
    said: Reply = []
    for index, (call_id, name, arguments) in enumerate(calls):
        said.append(Delta(tools=(ToolPiece(index, call_id, name),)))
        size = -(-len(arguments) // parts) or 1
        said += [
            Delta(tools=(ToolPiece(index, arguments=arguments[at : at + size]),))
            for at in range(0, len(arguments), size)
        ]
    return [*said, Delta(finish=finish)] if finish else said


def given(said: Said) -> list[tuple[str, Any]]:
    """(tool, arguments) of the calls."""
    return [(call.name, json.loads(call.arguments)) for call in said.calls]
