"""Chat completions: a request as its body, and what comes back as `Delta`s. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rag_memory_plugins.chat import CHOICES, ChatRequest, Delta, ToolPiece, ToolSpec, Usage
from rag_memory_plugins.errors import ProviderUnavailable
from rag_memory_plugins.router.faults import response_error
from rag_memory_plugins.router.finishing import finish_word
from rag_memory_plugins.types import Message

__all__ = ["Reading", "body_of"]

_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]+")


def body_of(
    request: ChatRequest, model: str, *, stream: bool, usage: bool, limit: str, strict: bool
) -> dict[str, Any]:
    """The request as JSON values.

    `usage` asks a stream for it; `limit` is what the server calls `max_tokens`; `strict` holds a
    schema that is closed to the letter. `options` give way to what the request says itself.
    """
    body: dict[str, Any] = {**request.options, "model": model}
    body["messages"] = [_message(message) for message in request.messages]
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice:
            body["tool_choice"] = _choice(request.tool_choice)
    if request.schema is not None:
        body["response_format"] = _format(request.schema, strict=strict)
    if request.max_tokens is not None:
        body[limit] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    body["stream"] = stream
    if stream and usage:
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    return body


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        parts = [{"type": "text", "text": message.content}] if message.content else []
        said["content"] = [*parts, *[_image(image.url, image.detail) for image in message.images]]
    if message.tool_calls:
        said["content"] = said["content"] or None
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    elif message.name:
        # OpenAI refuses a name with other signs, and a whole request with it.
        name = _NO_NAME.sub("_", message.name)[:64].strip("_")
        said |= {"name": name} if name else {}
    return said


def _image(url: str, detail: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _choice(choice: str) -> str | dict[str, Any]:
    return choice if choice in CHOICES else {"type": "function", "function": {"name": choice}}


def _format(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    name = _NO_NAME.sub("_", str(schema.get("title") or "answer"))[:64]
    held: dict[str, Any] = {"name": name, "schema": dict(schema)}
    if strict and _closed(schema):
        held["strict"] = True
    return {"type": "json_schema", "json_schema": held}


def _closed(schema: object) -> bool:
    """Whether every object in a schema says all it may hold, which strict mode asks for."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" or "properties" in schema:
            properties = schema.get("properties")
            names = set(properties) if isinstance(properties, Mapping) else set()
            if schema.get("additionalProperties") is not False:
                return False
            if names != set(schema.get("required") or ()):
                return False
        return all(_closed(value) for value in schema.values())
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return all(_closed(value) for value in schema)
    return True


class Reading:
    """Reads the chunks of one answer, or all of it in one.

    What finishes it is kept back until the end, because usage comes after it.
    """

    def __init__(self, what: str, *, stream: bool) -> None:
        self.late = "first" if stream else "total"
        """The stage of a time-out now."""
        self._what = what
        self._choices = False
        self._finish = ""
        self._usage: Usage | None = None
        self._model = ""
        self._calls: list[str] = []

    @property
    def finished(self) -> bool:
        return bool(self._finish)

    def read(self, data: Any) -> Iterator[Delta]:
        """What a chunk holds. Raises `ProviderError` for one that tells of a failure."""
        if not isinstance(data, dict):
            raise self._broken(f"no JSON object but {type(data).__name__}: {str(data)[:200]!r}")
        if data.get("error") or data.get("object") == "error":
            raise response_error(200, {}, json.dumps(data, default=str), self._what)
        self._model = _text(data.get("model")) or self._model
        groq = data.get("x_groq")
        said = data.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)
        self._usage = _usage(said) or self._usage
        choice = _first(data.get("choices"))
        if choice is None:
            return
        self._choices = True
        delta = choice.get("delta") or choice.get("message") or {}
        found = self._delta(delta if isinstance(delta, dict) else {})
        if found.has_content:
            if self.late == "first":
                self.late = "between"
            yield found
        self._finished(choice)

    def end(self) -> Iterator[Delta]:
        """The last piece. Raises `ProviderUnavailable` where there was no answer at all."""
        if not self._choices:
            raise self._broken("no choices")
        finish = self._finish
        if finish == "stop" and self._calls:
            finish = "tool_calls"  # some servers say so of everything
        if finish or self._usage is not None:
            yield Delta(finish=finish, usage=self._usage, model=self._model)

    def _broken(self, why: str) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self._what}: its answer holds {why}; check base_url, or ask another", status=200
        )

    def _finished(self, choice: Mapping[str, Any]) -> None:
        finish = finish_word(_text(choice.get("finish_reason")))
        if finish == "error":
            said = choice.get("error") or "its provider broke off"
            raise response_error(200, {}, json.dumps({"error": said}, default=str), self._what)
        self._finish = finish or self._finish

    def _delta(self, delta: Mapping[str, Any]) -> Delta:
        text, thought = _content(delta.get("content"))
        return Delta(
            text + _text(delta.get("refusal")),
            _reasoning(delta) or thought,
            tuple(self._pieces(delta.get("tool_calls"))),
            model=self._model,
        )

    def _pieces(self, calls: object) -> Iterator[ToolPiece]:
        for call in calls if isinstance(calls, list) else ():
            if not isinstance(call, dict):
                continue
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            call_id, name = _text(call.get("id")), _text(function.get("name"))
            arguments = function.get("arguments")
            if arguments is not None and not isinstance(arguments, str):
                arguments = json.dumps(arguments)  # some servers give the object itself
            at = self._place(call.get("index"), call_id, name)
            yield ToolPiece(at, call_id, name, arguments or "")

    def _place(self, index: object, call_id: str, name: str) -> int:
        """Which call a piece belongs to. Some servers leave the index out, or give all the same.

        An id that is not the call's begins another; without an index or an id a name does.
        """
        known = self._calls
        if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
            while len(known) <= index:
                known.append(call_id if len(known) == index else "")
            if not call_id or known[index] in ("", call_id):
                known[index] = known[index] or call_id
                return index
        if call_id in known and call_id:
            return known.index(call_id)
        if call_id or name or not known:
            known.append(call_id)
        return len(known) - 1


def _first(choices: object) -> Mapping[str, Any] | None:
    """The first choice; others, of `n` greater than 1, are not read."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def _content(content: object) -> tuple[str, str]:
    """(text, reasoning) of a content: a text, or parts as Mistral's models give them."""
    if not isinstance(content, list):
        return _text(content), ""
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, dict):
            texts.append(_text(part.get("text")))
            thinking = part.get("thinking")
            thoughts.append(_content(thinking)[0])
    return "".join(texts), "".join(thoughts)


def _reasoning(delta: Mapping[str, Any]) -> str:
    """OpenRouter gives it twice: as a text, and in detail."""
    plain = _text(delta.get("reasoning")) or _text(delta.get("reasoning_content"))
    details = delta.get("reasoning_details")
    if plain or not isinstance(details, list):
        return plain
    parts = [part for part in details if isinstance(part, dict)]
    return "".join(_text(part.get("text")) or _text(part.get("summary")) for part in parts)


def _usage(said: object) -> Usage | None:
    if not isinstance(said, dict):
        return None
    if said.get("prompt_tokens") is None and said.get("completion_tokens") is None:
        return None
    prompt = said.get("prompt_tokens_details")
    completion = said.get("completion_tokens_details")
    cached = _number(prompt, "cached_tokens") or _number(said, "prompt_cache_hit_tokens")
    return Usage(
        _number(said, "prompt_tokens"),
        _number(said, "completion_tokens"),
        cached,
        _number(completion, "reasoning_tokens"),
    )


def _number(values: object, name: str) -> int:
    value = values.get(name) if isinstance(values, dict) else None
    return max(0, int(value)) if isinstance(value, (int, float)) and value == value else 0  # noqa: PLR0124  # not NaN


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
