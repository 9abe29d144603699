"""One chat with a language model: what is asked (`ChatRequest`), and what comes back in pieces."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeAlias, cast, overload

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.types import Message, Messages, ToolCall

__all__ = [
    "Answer",
    "ChatRequest",
    "Delta",
    "Gathered",
    "NativeMessages",
    "ToolPiece",
    "ToolSpec",
    "Usage",
    "Wanted",
    "tool_pieces",
]

CHOICES: Final = ("auto", "none", "required")

_numbers = itertools.count(1)
_prefix = ""
_prefix_pid = 0


def _request_id() -> str:
    """As telling as a UUID and a tenth of its price: a random start for a process, then numbers."""
    global _prefix, _prefix_pid
    if _prefix_pid != os.getpid():  # a fork must not go on with its parent's
        _prefix, _prefix_pid = os.urandom(8).hex(), os.getpid()
    return f"{_prefix}-{next(_numbers)}"


@dataclass(frozen=True)
class ToolSpec:
    """A tool that a model may call. `parameters` is the JSON Schema of its arguments.

    >>> ToolSpec("weather", "Of a city", {"type": "object", "properties": {"city": {}}}).name
    'weather'
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput("tools.name", self.name, "pass a str")
        if not isinstance(self.parameters, Mapping):
            raise InvalidInput("tools.parameters", self.parameters, "pass a JSON Schema, a mapping")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `cached` are of the input, `reasoning` of the output."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    exact: bool = True
    """False when we counted, because the provider did not say."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
            self.exact and other.exact,
        )


@dataclass(frozen=True, slots=True)
class ToolPiece:
    """A piece of a tool call: pieces of one `index` belong together, `arguments` are joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


def tool_pieces(calls: Sequence[ToolCall]) -> tuple[ToolPiece, ...]:
    """Whole calls as one piece each."""
    return tuple(
        ToolPiece(number, call.id, call.name, call.arguments) for number, call in enumerate(calls)
    )


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last one has `finish`: "stop", "length", "tool_calls" or such.

    `model` is what the provider says it was. `native` is the framework's own piece, if there is
    one, for an adapter of the same framework.
    """

    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolPiece, ...] = ()
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    native: Any = None

    @property
    def has_content(self) -> bool:
        """Whether a reader has seen something: after that no other model can take over."""
        return bool(self.text or self.reasoning or self.tools)


@dataclass(frozen=True)
class Answer:
    """A whole answer. `request_id` is the request's, `model` the entry's name that gave it.

    `native` is the framework's own message, if the model is of a framework.
    """

    message: Message
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    reasoning: str = ""
    native: Any = None
    request_id: str = ""


class NativeMessages(Sequence[Message]):
    """Messages of a framework as ours: translated only when somebody reads them.

    A model of the same framework gets `native` as it was, with what our words have no place for.
    `characters` is about how long they are, `images` whether there are any.
    """

    def __init__(
        self,
        native: Sequence[Any],
        convert: Callable[[Sequence[Any]], Sequence[Message]],
        *,
        characters: int,
        images: bool = False,
    ) -> None:
        self.native = native
        self.characters = characters
        self.images = images
        self._convert = convert

    @cached_property
    def _messages(self) -> Messages:
        return Messages(self._convert(self.native))

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self._messages[index]

    def __len__(self) -> int:
        return len(self.native)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)


@dataclass(frozen=True)
class ChatRequest:
    """What a model is asked.

    `schema` is a JSON Schema that the answer's text must match. `tool_choice` is "auto", "none",
    "required" or a tool's name. `scope` says on whose behalf: ledgers, limits, budgets and caches
    belong to it. `options` go to the provider as they are ("seed", "top_p"). With `stream` the
    pieces come as they are made. `timeout` is in seconds, for everything. `accept` is given a whole
    answer and raises `ValueError` for one that is of no use: another model is asked. `native` is
    how an adapter's own model is asked; nobody else looks into it. `first` names the entry of a
    router that is asked before the others, if it can answer. Raises `InvalidInput`.

    >>> request = ChatRequest((Message("user", "Hello"),), max_tokens=50)
    >>> request.characters, request.max_tokens
    (5, 50)
    """

    messages: Sequence[Message]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = ""
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    scope: Scope | None = None
    id: str = field(default_factory=_request_id)
    native: Any = None
    timeout: float | None = None
    accept: Callable[[Answer], None] | None = None
    first: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.messages, (str, bytes)) or not isinstance(self.messages, Sequence):
            remedy = "pass a sequence of Message, or use ChatRequest.of, which takes a text"
            raise InvalidInput("messages", self.messages, remedy)
        if not self.messages:
            raise InvalidInput("messages", self.messages, "pass at least one message")
        if not isinstance(self.messages, NativeMessages):
            for number, message in enumerate(self.messages):
                if not isinstance(message, Message):
                    remedy = "pass a Message, or use ChatRequest.of, which takes texts and dicts"
                    raise InvalidInput(f"messages[{number}]", message, remedy)
        self._check_kinds()
        if self.tool_choice and self.tool_choice not in CHOICES:
            names = [tool.name for tool in self.tools]
            if self.tool_choice not in names:
                remedy = f"pass one of {', '.join((*CHOICES, *names))}"
                raise InvalidInput("tool_choice", self.tool_choice, remedy)

    def _check_kinds(self) -> None:
        most, seconds = self.max_tokens, self.timeout
        if most is not None and (not isinstance(most, int) or most < 1):
            raise InvalidInput("max_tokens", most, "pass tokens, an int >= 1")
        if seconds is not None and (not isinstance(seconds, (int, float)) or not seconds > 0):
            raise InvalidInput("timeout", seconds, "pass seconds, a number > 0")
        if self.scope is not None and not isinstance(self.scope, Scope):
            raise InvalidInput("scope", self.scope, "pass Scope(tenant, user)")
        if isinstance(self.stop, str):  # each of its letters would end the answer
            raise InvalidInput("stop", self.stop, "pass a tuple of texts")
        if self.schema is not None and not isinstance(self.schema, Mapping):
            raise InvalidInput("schema", self.schema, "pass a JSON Schema, a mapping")
        for number, tool in enumerate(self.tools):
            if not isinstance(tool, ToolSpec):
                remedy = "pass ToolSpec(name, description, parameters)"
                raise InvalidInput(f"tools[{number}]", tool, remedy)

    @classmethod
    def of(cls, wanted: Wanted, **values: Any) -> ChatRequest:
        """A request from a text (one user's message), messages, or dicts with "role" and "content".

        `values` are its other fields. A request is given back, with these if there are any.

        >>> ChatRequest.of("Hello", max_tokens=50).messages[0].content
        'Hello'
        """
        if isinstance(wanted, ChatRequest):
            return replace(wanted, **values) if values else wanted
        if isinstance(wanted, str):
            return cls((Message("user", wanted),), **values)
        messages = cast("Sequence[Message]", wanted)  # what is none, `__post_init__` refuses
        if isinstance(messages, (list, tuple)):
            messages = [Message.from_dict(m) if isinstance(m, Mapping) else m for m in messages]
        return cls(messages, **values)

    @cached_property
    def characters(self) -> int:
        """About how long the prompt is, with the schemas of its tools."""
        messages = self.messages
        total = sum(len(tool.name) + len(tool.description) for tool in self.tools)
        total += sum(len(json.dumps(dict(tool.parameters), default=str)) for tool in self.tools)
        if isinstance(messages, NativeMessages):
            return total + messages.characters
        for message in messages:
            total += len(message.content)
            for call in message.tool_calls:
                total += len(call.name) + len(call.arguments)
        return total

    @property
    def images(self) -> bool:
        """Whether a model must be able to see."""
        if isinstance(self.messages, NativeMessages):
            return self.messages.images
        return any(message.images for message in self.messages)


Wanted: TypeAlias = "ChatRequest | str | Sequence[Message] | Sequence[Mapping[str, Any]]"
"""What a router may be asked: a request, a text, or messages."""


class _Call:
    """A tool call, as far as it has come."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []


class Gathered:
    """Pieces of an answer, joined as they come.

    >>> gathered = Gathered()
    >>> for piece in (Delta("Hel"), Delta("lo"), Delta(finish="stop")):
    ...     gathered.add(piece)
    >>> gathered.text, gathered.finish
    ('Hello', 'stop')
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, _Call] = {}
        self.finish = ""
        self.model = ""
        self.usage: Usage | None = None
        self.native: Any = None

    def add(self, delta: Delta) -> None:
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for piece in delta.tools:
            call = self._tools.get(piece.index)
            if call is None:
                call = self._tools[piece.index] = _Call()
            call.id = call.id or piece.id
            call.name = call.name or piece.name
            call.arguments.append(piece.arguments)
        if delta.native is not None:
            self.native = delta.native  # the last alone: some frameworks' pieces hold all before
        self.finish = delta.finish or self.finish
        self.model = delta.model or self.model
        self.usage = delta.usage or self.usage

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls, in order; one without an id gets one, because its result must name it."""
        calls = [self._tools[index] for index in sorted(self._tools)]
        return tuple(
            ToolCall(call.id or f"call_{_request_id()}", call.name, "".join(call.arguments) or "{}")
            for call in calls
        )

    @property
    def broken_call(self) -> str:
        """The name of a call whose arguments are no JSON object, "" if there is none."""
        for call in self._tools.values():
            try:
                if not isinstance(json.loads("".join(call.arguments) or "{}"), dict):
                    return call.name or "?"
            except (ValueError, RecursionError):  # what a model says may nest without end
                return call.name or "?"
        return ""

    def answer(self, **values: Any) -> Answer:
        """The whole answer; `values` are fields of `Answer`."""
        message = Message("assistant", self.text, tool_calls=self.tool_calls)
        return Answer(
            message,
            **{
                "finish": self.finish,
                "usage": self.usage,
                "model": self.model,
                "reasoning": self.reasoning,
                **values,
            },
        )
