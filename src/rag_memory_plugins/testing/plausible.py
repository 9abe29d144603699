"""Answers that fit what was asked, for tests of tools and structured output without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rag_memory_plugins.testing.fault_replies import Answer
from rag_memory_plugins.testing.fault_requests import Request
from rag_memory_plugins.types import ToolCall

__all__ = ["plausible"]

Schema = dict[str, Any]


def plausible(request: Request) -> Answer:
    """Calls the tools that are asked for, fills the schema that is asked for, or says something.

    A tool is asked for when the request's `tool_choice` says so, or a word of its name stands in
    the last message, a user's. Numbers and quoted texts of that message are arguments, in order;
    what else a schema requires is made up by its type. After a tool's result the answer repeats it.

    >>> body = {"model": "m", "messages": [{"role": "user", "content": "Add 3 and 4"}], "tools": [
    ...     {"type": "function", "function": {"name": "add", "parameters": {"properties": {
    ...         "a": {"type": "integer"}, "b": {"type": "integer"}}}}}]}
    >>> plausible(Request(1, "POST", "/v1/chat/completions", {}, body)).tool_calls
    (ToolCall(id='call_1_0', name='add', arguments='{"a": 3, "b": 4}'),)
    """
    last = request.messages[-1] if request.messages else {}
    text = _text(last)
    if last.get("role") == "tool":
        return Answer(f"The tool says: {text}")
    calls = tuple(
        ToolCall(
            f"call_{request.number}_{index}",
            function["name"],
            json.dumps(_Filler(function.get("parameters") or {}, text).value()),
        )
        for index, function in enumerate(_wanted(request, text))
    )
    if calls:
        return Answer(tool_calls=calls)
    schema = _output_schema(request.body)
    if schema is None:
        return Answer()
    filled = json.dumps(_Filler(schema, text).value())
    return Answer((filled[: len(filled) // 2], filled[len(filled) // 2 :]))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if "text" in part)


def _wanted(request: Request, text: str) -> list[dict[str, Any]]:
    functions = [tool["function"] for tool in request.tools]
    choice = request.body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return [item for item in functions if item["name"] == choice["function"]["name"]]
    if choice == "none":
        return []
    words = set(re.findall(r"\w+", text.lower()))
    words |= {part for word in words for part in word.split("_")}
    called = [item for item in functions if words & set(item["name"].lower().split("_"))]
    return called[:1] or (functions[:1] if choice in {"required", "any"} else [])


def _output_schema(body: Any) -> Schema | None:
    """The schema of OpenAI's `response_format` or Ollama's `format`; any object for "json"."""
    wanted = body.get("response_format") or body.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema: Schema = wanted["json_schema"]["schema"]
        return schema
    if isinstance(wanted, dict) and wanted.get("type") == "text":
        return None
    if wanted == "json" or (isinstance(wanted, dict) and wanted.get("type") == "json_object"):
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return wanted if isinstance(wanted, dict) else None


class _Filler:
    """Values for a JSON schema: what the text holds first, then what the type allows."""

    def __init__(self, schema: Schema, text: str) -> None:
        self._schema = schema
        self._numbers: Iterator[str] = iter(re.findall(r"-?\d+(?:\.\d+)?", text))
        self._quoted: Iterator[str] = iter(re.findall(r"[\"'“](.+?)[\"'”]", text))

    def value(self) -> Any:
        """One value of the whole schema."""
        return self._of(self._schema)

    def _of(self, schema: Schema) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = next(item for item in kind if item != "null")
        if kind == "object":
            return {name: self._of(item) for name, item in schema.get("properties", {}).items()}
        if kind == "array":
            return [self._of(schema["items"])] if "items" in schema else []
        if kind in {"integer", "number"}:
            number = float(next(self._numbers, schema.get("minimum", 1)))
            return int(number) if kind == "integer" else number
        simple = {"boolean": True, "null": None}
        return simple[kind] if kind in simple else next(self._quoted, "something")

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind a `$ref` or the first choice that is not null."""
        if "$ref" in schema:
            found: Any = self._schema
            for step in schema["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            return self._resolved(found)
        for name in ("anyOf", "oneOf", "allOf"):
            for choice in schema.get(name, ()):
                if choice.get("type") != "null":
                    return self._resolved(choice)
        return schema
