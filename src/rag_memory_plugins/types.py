"""What was said: `Message` and its parts."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from rag_memory_plugins.errors import (
    InvalidMessage,
    UnknownArgument,
    nearest,
    shorten,
)

__all__ = [
    "Image",
    "Level",
    "Message",
    "Messages",
    "Role",
    "ToolCall",
    "html_table",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Level: TypeAlias = Literal["session", "user"]
ROLES: Final = get_args(Role)
LEVELS: Final = get_args(Level)
MAX_MESSAGE_ID_LENGTH: Final = 256


@dataclass(frozen=True)
class ToolCall:
    """A call that an assistant message asks for. `arguments` is the JSON text as the model gave it.

    >>> ToolCall("call_1", "weather", '{"city": "Lisbon"}')
    ToolCall(id='call_1', name='weather', arguments='{"city": "Lisbon"}')
    """

    id: str
    name: str
    arguments: str = "{}"

    def __post_init__(self) -> None:
        for item in fields(self):
            _text(f"tool_calls.{item.name}", getattr(self, item.name))


@dataclass(frozen=True)
class Image:
    """An image beside a message's text. `url` may be a data: URI; sizes are pixels, 0 if unknown.

    Only the size and `detail` count tokens, by the provider's rule (see `tokens.image_tokens`).
    """

    url: str
    width: int = 0
    height: int = 0
    detail: Literal["auto", "low", "high"] = "auto"

    def __post_init__(self) -> None:
        _text("images.url", self.url)
        for name in ("width", "height"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise InvalidMessage(f"images.{name}", value, "pass pixels as an int >= 0")
        if self.detail not in ("auto", "low", "high"):
            raise InvalidMessage("images.detail", self.detail, "pass 'auto', 'low' or 'high'")


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, repr=False)
class Message:
    """One turn of a conversation.

    `id` is the caller's, else minted once when the message is made, so that storing the same
    object again stores nothing twice. `time` is timezone-aware; now, in UTC, when left out.
    An assistant message may hold `tool_calls`; a `tool` message names its call in `tool_call_id`.
    `metadata` is any JSON object. Raises `InvalidMessage`, naming the field.

    >>> Message("user", "I moved to Lisbon", id="m1").content
    'I moved to Lisbon'
    """

    role: Role
    content: str
    id: str = ""
    name: str | None = None
    time: datetime = None  # type: ignore[assignment]  # filled in __post_init__; never None after
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    images: tuple[Image, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.role not in ROLES:
            raise InvalidMessage("role", self.role, nearest(str(self.role), ROLES))
        _text("content", self.content)
        if self.id:
            _text("id", self.id)
            if len(self.id) > MAX_MESSAGE_ID_LENGTH:
                raise InvalidMessage("id", self.id, "256 characters is the limit")
        elif self.id == "":
            put(self, "id", uuid.uuid4().hex)
        else:
            raise InvalidMessage("id", self.id, "pass a str, or leave it out to have one minted")
        if self.name is not None:
            _text("name", self.name)
        put(self, "time", _time(self.time))
        put(self, "tool_calls", _items("tool_calls", self.tool_calls, ToolCall))
        put(self, "images", _items("images", self.images, Image))
        self._check_tools()
        metadata = _json_object(self.metadata)
        put(self, "metadata", MappingProxyType(json.loads(metadata)))

    def _check_tools(self) -> None:
        if self.tool_call_id is not None:
            _text("tool_call_id", self.tool_call_id)
        if self.tool_calls and self.role != "assistant":
            raise InvalidMessage(
                "tool_calls", self.role, "only an assistant message can call tools"
            )
        if self.role == "tool" and not self.tool_call_id:
            raise InvalidMessage(
                "tool_call_id", self.tool_call_id, "a tool message must name the call it answers"
            )
        if self.role != "tool" and self.tool_call_id is not None:
            raise InvalidMessage("tool_call_id", self.role, "only a tool message answers a call")

    @cached_property
    def digest(self) -> str:
        """A hash of all that was said; time is left out: a retry that builds it again stamps it anew."""
        metadata = _json_object(self.metadata)
        calls = [[call.id, call.name, call.arguments] for call in self.tool_calls]
        images = [[image.url, image.width, image.height, image.detail] for image in self.images]
        parts = [self.role, self.content, self.name, calls, self.tool_call_id, images, metadata]
        blob = _JSON.encode(parts).encode()
        return hashlib.blake2b(blob, digest_size=16).hexdigest()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """A message from plain values, as `to_dict` gives them; an unknown key is refused."""
        if not isinstance(data, Mapping):
            raise InvalidMessage("message", data, "pass a Message, a str or a mapping")
        names = [item.name for item in fields(cls) if item.init]
        for key, value in data.items():
            if key not in names:
                raise UnknownArgument(f"message field {key!r}", value, nearest(str(key), names))
        for name in ("role", "content"):
            if name not in data:
                raise InvalidMessage(name, None, "it is required")
        values = dict(data)
        if isinstance(values.get("time"), str):
            values["time"] = _parse_time(values["time"])
        values["tool_calls"] = _built("tool_calls", values.get("tool_calls"), ToolCall)
        values["images"] = _built("images", values.get("images"), Image)
        if values.get("id") is None:
            values.pop("id", None)
        if values.get("metadata") is None:
            values.pop("metadata", None)
        return cls(**values)

    @classmethod
    def restored(cls, more: Mapping[str, Any] | None, **values: Any) -> Message:
        """A message from a store: its fields were checked and its digest made when it was said.

        `more` are its tools, images and metadata, as `to_dict` has them. A search reads hundreds of
        messages; checking each again would take longer than ranking.
        """
        message = object.__new__(cls)
        message.__dict__.update(values, tool_calls=(), tool_call_id=None, images=(), metadata=_NONE)
        if more:
            message.__dict__.update(
                tool_call_id=more.get("tool_call_id"),
                tool_calls=tuple([ToolCall(**call) for call in more.get("tool_calls", ())]),
                images=tuple([Image(**image) for image in more.get("images", ())]),
                metadata=MappingProxyType(more.get("metadata", {})),
            )
        return message

    def shown_as(self, content: str, metadata: Mapping[str, Any]) -> Message:
        """This message with a part of its text, and what is said of that; neither is checked.

        >>> Message("user", "Yes. I moved.", id="m1").shown_as("I moved.", {}).content
        'I moved.'
        """
        message = object.__new__(type(self))
        shown = {"content": content, "metadata": MappingProxyType(dict(metadata))}
        message.__dict__.update(self.__dict__, **shown)
        message.__dict__.pop("digest", None)
        return message

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; empty fields are left out. `from_dict` reads them back."""
        data: dict[str, Any] = {
            "id": self.id,
            "role": self.role,
            "content": self.content,
            "time": self.time.isoformat(),
        }
        if self.name is not None:
            data["name"] = self.name
        if self.tool_calls:
            data["tool_calls"] = [vars(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        if self.images:
            data["images"] = [vars(image) for image in self.images]
        if self.metadata:
            data["metadata"] = dict(self.metadata)
        return data

    @property
    def speaker(self) -> str:
        """Who said it, for people and for the model: the name, else the role."""
        return self.name or self.role

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_dict, (self.to_dict(),))

    def __repr__(self) -> str:
        return f"Message({self.role}, {shorten(self.content, 60)}, id={self.id!r})"

    def _repr_html_(self) -> str:
        return html_table(("time", "who", "content", "id"), [_message_row(self)])


class Messages(tuple[Message, ...]):
    """Messages in the order they were said; an HTML table in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self:
            return "Messages(none)"
        return f"Messages({len(self)}, last {shorten(self[-1].content, 60)})"

    def _repr_html_(self) -> str:
        return html_table(("time", "who", "content", "id"), [_message_row(m) for m in self])


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose every cell is escaped: stored text must not become markup in a notebook."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _message_row(message: Message) -> tuple[object, ...]:
    return (f"{message.time:%Y-%m-%d %H:%M}", message.speaker, message.content, message.id)


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidMessage(name, value, "pass a str")
    if "\x00" in value:
        raise InvalidMessage(name, value, "remove the NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidMessage(name, value, "it holds a lone surrogate; remove it") from error


def _items(name: str, values: object, kind: type[Any]) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)) or any(not isinstance(v, kind) for v in values):
        raise InvalidMessage(name, values, f"pass a tuple of {kind.__name__}")
    return tuple(values)


def _built(name: str, values: object, kind: type[Any]) -> tuple[Any, ...]:
    """Instances of `kind` from mappings or instances."""
    if values is None:
        return ()
    if not isinstance(values, (list, tuple)):
        raise InvalidMessage(name, values, f"pass a list of {kind.__name__} or mappings")
    built = []
    for value in values:
        if isinstance(value, kind):
            built.append(value)
            continue
        try:
            built.append(kind(**value))
        except TypeError as error:
            names = [item.name for item in fields(kind)]
            raise InvalidMessage(name, value, f"fields are {', '.join(names)}") from error
    return tuple(built)


def _time(value: object) -> datetime:
    if value is None:
        return datetime.now(timezone.utc)
    if not isinstance(value, datetime):
        raise InvalidMessage("time", value, "pass a datetime with a timezone")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidMessage("time", value, "it has no timezone; pass for example tzinfo=UTC")
    try:
        return value.astimezone(timezone.utc)
    except OverflowError as error:
        raise InvalidMessage("time", value, "it is out of range in UTC") from error


def _parse_time(value: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidMessage("time", value, "write it as 2026-05-08T14:30:00+00:00") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


_JSON: Final = json.JSONEncoder(ensure_ascii=False)
_SORTED: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False)
# As JSON writes it; behind a written backslash the same six characters are a text like any other.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _json_object(value: object) -> str:
    if not isinstance(value, Mapping):
        raise InvalidMessage("metadata", value, "pass a mapping of JSON values")
    if not value:
        return "{}"
    try:
        text = _SORTED.encode(dict(value))
        _text("metadata", text)
        if _NUL.search(text):
            raise InvalidMessage("metadata", value, "remove the NUL character")
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidMessage):
            raise
        raise InvalidMessage("metadata", value, f"it is not JSON ({error})") from error
    return text
