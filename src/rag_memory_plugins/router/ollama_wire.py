"""A `ChatRequest` as the body of Ollama's `/api/chat`, and the lines that come back as pieces."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from rag_memory_plugins.chat import ChatRequest, Delta, ToolPiece, ToolSpec, Usage
from rag_memory_plugins.errors import (
    AnswerRejected,
    BadRequest,
    OutOfMemory,
    ProviderError,
    ProviderUnavailable,
    shorten,
)
from rag_memory_plugins.router.faults import response_error
from rag_memory_plugins.router.models import options_of
from rag_memory_plugins.types import Image, Message

__all__ = ["Lines", "at_least", "body_of", "bucket", "must_call", "refusal", "tokens_of"]

SMALLEST: Final = 4_096
REPLY: Final = 2_048
"""Tokens kept for an answer, and its thoughts, that nobody limited."""
IMAGE: Final = 1_600  # what llama3.2-vision takes for one; others take less
FRAME: Final = 16
_PAYLOAD: Final = frozenset({"think", "keep_alive", "logprobs", "top_logprobs"})
"""Options that stand beside Ollama's own `options`."""
_OTHER_REASONS: Final = ("unknown model architecture", "error loading model", "unsupported")


def tokens_of(request: ChatRequest) -> int:
    """About how many tokens prompt and answer take: rather too many than too few.

    Three UTF-8 bytes a token: a quarter above English prose, about right for code and Chinese.
    """
    messages = request.messages
    size = sum(len(message.content.encode()) + 3 * FRAME for message in messages)
    for message in messages:
        size += sum(len(call.name) + len(call.arguments.encode()) for call in message.tool_calls)
        size += 3 * IMAGE * len(message.images)
    size += sum(len(json.dumps(_tool(tool))) for tool in _offered(request))
    return size // 3 + (request.max_tokens or REPLY)


def at_least(request: ChatRequest) -> int:
    """Tokens that the prompt has for certain: no tokenizer takes more than eight letters for one."""
    return sum(len("".join(message.content.split())) for message in request.messages) // 8


def bucket(tokens: int) -> int:
    """A context for so many tokens: a power of two, because each other size loads the model anew.

    >>> bucket(10), bucket(4_097)
    (4096, 8192)
    """
    return max(SMALLEST, 1 << (max(tokens, 1) - 1).bit_length())


def must_call(request: ChatRequest) -> bool:
    """Whether an answer without a tool call is of no use."""
    return bool(request.tools) and request.tool_choice not in ("", "auto", "none")


def _offered(request: ChatRequest) -> Sequence[ToolSpec]:
    """Ollama knows no tool_choice: what may not be called is not offered."""
    if request.tool_choice == "none":
        return ()
    named = [tool for tool in request.tools if tool.name == request.tool_choice]
    return named or request.tools


def body_of(
    request: ChatRequest, model: str, num_ctx: int, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The body for `model`; raises `BadRequest` for what Ollama cannot be sent.

    `truncate` and `shift` are off: a prompt or an answer that is too long is then an error or ends
    with "length", where Ollama would forget the beginning without a word (ollama #3839). An older
    server knows neither. Options win over `defaults`.
    """
    given = {**defaults, **request.options}
    ours = {
        "num_ctx": num_ctx,
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "stop": list(request.stop) or None,
    }
    options = options_of(ours)
    options.update({name: value for name, value in given.items() if name not in _PAYLOAD})
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request.messages),
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": options,
        **{name: value for name, value in given.items() if name in _PAYLOAD},
    }
    if tools := [_tool(tool) for tool in _offered(request)]:
        body["tools"] = tools
    if request.schema is not None:
        body["format"] = dict(request.schema)
    return body


def _tool(tool: ToolSpec) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    sent = []
    for message in messages:
        each: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            names.update((call.id, call.name) for call in message.tool_calls)
            each["tool_calls"] = [
                {
                    "id": call.id,
                    "function": {
                        "name": call.name,
                        "arguments": _object(call.name, call.arguments),
                    },
                }
                for call in message.tool_calls
            ]
        if message.role == "tool":
            each["tool_call_id"] = message.tool_call_id
            each["tool_name"] = message.name or names.get(message.tool_call_id or "", "")
        if message.images:
            each["images"] = [_image(image) for image in message.images]
        sent.append(each)
    return sent


def _object(name: str, arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadRequest(
            f"messages: the call of {name!r} has arguments {shorten(arguments)}; "
            "Ollama takes a JSON object only"
        )
    return value


def _image(image: Image) -> str:
    """The bytes of a data: URI in base64; nothing is ever fetched."""
    head, _, data = image.url.partition(",")
    if not head.startswith("data:") or not data:
        raise BadRequest(
            f"messages.images: got {shorten(image.url)}; Ollama is given images as they are: "
            "pass a data: URI"
        )
    if not head.endswith(";base64"):
        return base64.b64encode(unquote_to_bytes(data)).decode()
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"messages.images: {shorten(image.url)} is no base64 ({error})") from error
    return data


class Lines:
    """The lines of one answer as pieces. Raises `ProviderError` for an error among them."""

    def __init__(self, request: ChatRequest, model: str, what: str) -> None:
        self.calls = 0
        self.usage: Usage | None = None
        self._request = request
        self.model = model
        self.what = what

    def read(self, line: bytes) -> Delta | None:
        """The piece that a line is; None for an empty one."""
        if not line.strip():
            return None
        try:
            data = json.loads(line)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            text = line.decode(errors="replace")
            raise ProviderUnavailable(f"{self.what}: a line that is no JSON, {shorten(text)}")
        if data.get("error"):
            raise refusal(200, {}, line.decode(), self.what)
        message = data.get("message") or {}
        delta = Delta(
            text=message.get("content") or "",
            reasoning=message.get("thinking") or "",
            tools=tuple([self._call(call) for call in message.get("tool_calls") or ()]),
            finish=self._finish(data),
            usage=self._usage(data),
            model=self.model,
        )
        self.usage = delta.usage
        return delta

    def _call(self, call: Mapping[str, Any]) -> ToolPiece:
        """Ollama sends calls whole; older ones have no id, and a result must name its call."""
        function = call.get("function") or {}
        arguments = function.get("arguments") or {}
        piece = ToolPiece(
            self.calls,
            str(call.get("id") or f"call_{uuid.uuid4().hex}"),
            str(function.get("name") or ""),
            arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
        )
        self.calls += 1
        return piece

    def _finish(self, data: Mapping[str, Any]) -> str:
        if not data.get("done"):
            return ""
        reason = str(data.get("done_reason") or "stop")
        return "tool_calls" if self.calls and reason == "stop" else reason

    def _usage(self, data: Mapping[str, Any]) -> Usage | None:
        """A prompt that Ollama still had in its cache is left out of the count by older ones."""
        if not data.get("done"):
            return None
        read, written = data.get("prompt_eval_count"), data.get("eval_count")
        known = isinstance(read, int) and isinstance(written, int)
        about = at_least(self._request) * 2
        return Usage(read if read is not None else about, written or 0, exact=known)


def refusal(status: int, headers: Mapping[str, str], body: str, what: str) -> ProviderError:
    """What an answer other than 200 means, or an error within one."""
    lowered = body.lower()
    if "parsing tool call" in lowered:
        return AnswerRejected(f"{what}: a tool call that cannot be read, {shorten(body, 300)}")
    if status == 200:  # headers were gone by then; the text alone can tell
        status = 400 if "exceeds the context" in lowered or "context length" in lowered else 500
    error = response_error(status, headers, body, what)
    gone = "runner process" in lowered or "model runner has unexpectedly stopped" in lowered
    if gone and not any(reason in lowered for reason in _OTHER_REASONS):
        # Killed for want of memory, most of the time: Ollama says as much in newer versions.
        return OutOfMemory(str(error), status=status)
    return error
