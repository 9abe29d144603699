"""What went wrong at a provider, from any client's exception, and what follows from it.

| error | another model is asked | the breaker |
|---|---|---|
| `ProviderLimited` (429) | yes | opens, for as long as the provider says, else 60 s |
| `ProviderTimeout` to connect or to the first piece; nobody there | yes | opens |
| `ProviderTimeout` because the request had little time | yes | says nothing of the provider |
| other `ProviderTimeout`, `ProviderUnavailable` (5xx, cut off) | yes | counts |
| `OutOfMemory` | yes, or the same with a smaller variant | says nothing of the host |
| `AnswerRejected` | yes: a matter of quality | the provider is well |
| `ContextOverflow` | one with a larger window | the provider is well |
| `ModelMissing` (404) | yes | opens |
| `ContentFiltered`, `ProviderAuth`, `BadRequest`, unknown | no | the provider is well |
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rag_memory_plugins.errors import (
    AnswerRejected,
    BadRequest,
    ChatModelError,
    ContentFiltered,
    ContextOverflow,
    ModelMissing,
    OutOfMemory,
    ProviderAuth,
    ProviderError,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
    shorten,
)
from rag_memory_plugins.router.raised import (
    as_status,
    body_of_error,
    causes,
    headers_of,
    status_of,
)
from rag_memory_plugins.router.waiting import DEFAULT_WAIT, retry_after

__all__ = ["Fault", "fault_of", "provider_error", "response_error"]

_MEMORY: Final = re.compile(
    r"requires more system memory|out of memory|cudaMalloc failed|insufficient memory",
    re.IGNORECASE,
)
# Groq and OpenAI say so under the code of a rate limit: this model will never take it.
_TOO_LARGE: Final = re.compile(r"request too large", re.IGNORECASE)
_LIMITED: Final = re.compile(
    r"rate[_ ]?limit|throttl|too[_ ]many[_ ]requests|resource[_ ]?exhausted|insufficient_quota",
    re.IGNORECASE,
)
_OVERFLOW: Final = re.compile(
    r"context[_ ](?:length|window|size|overflow)|maximum context|prompt is too long"
    r"|too many (?:input )?tokens|reduce the length|input is too long"
    r"|exceeds? the (?:available )?context|maximum number of (?:input )?tokens",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"content[_ ](?:filter|management|policy)|moderation|flagged|\bsafety\b", re.IGNORECASE
)
_OVERLOADED: Final = re.compile(
    r"overloaded|temporarily unavailable|over capacity|server_error|service_unavailable",
    re.IGNORECASE,
)
# Of a class's name and its bases'. The first table is looked for in all causes, then the second:
# a client wraps "nobody listens" and "broken in the midst" in one class.
_NAMES: Final = (
    (re.compile(r"^(?:Connect|Pool|Connection)Timeout"), "connect"),
    (re.compile(r"^(?:Read|Write|Server)Timeout"), "first"),
    (re.compile(r"RateLimit|Throttl|TooManyRequests|ResourceExhausted"), "limited"),
    (re.compile(r"ContentFilter"), "filtered"),
    (re.compile(r"LengthFinishReason"), "rejected"),
    (re.compile(r"AuthenticationError|PermissionDenied|TokenProvider"), "auth"),
    (re.compile(r"^(?:Connect|ClientConnector\w*|ConnectionRefused|gai)[Ee]rror$"), "gone"),
    (
        re.compile(
            r"ReadError|WriteError|ProtocolError|ServiceUnavailable|InternalServer|Overloaded"
            r"|BadGateway|JSONDecodeError|UnicodeDecodeError|DecodingError|ConnectionReset"
            r"|ServerDisconnected|BrokenPipe|ResponseValidation"
        ),
        "broken",
    ),
)
_VAGUE: Final = (
    (re.compile(r"Timeout|DeadlineExceeded"), "first"),
    (re.compile(r"Connect(?:ion)?Error"), "gone"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What follows from an error. `cool_down` is in seconds, None for the breaker's own.

    `trips` is "at once", "counts", "well" (the provider answered) or "unknown" (it tells nothing).
    With `larger` only a model with a larger window may be asked instead; with `again` the same one
    may, at once.
    """

    moves_on: bool
    trips: str
    cool_down: float | None = None
    larger: bool = False
    again: bool = False


_STOP: Final = Fault(moves_on=False, trips="well")
_COUNTS: Final = Fault(moves_on=True, trips="counts")
_AT_ONCE: Final = Fault(moves_on=True, trips="at once")


def fault_of(error: ProviderError) -> Fault:
    """What follows from `error`; the table above."""
    match error:
        case ProviderLimited():
            wait = DEFAULT_WAIT if error.retry_after is None else error.retry_after
            return Fault(moves_on=True, trips="at once", cool_down=wait)
        case ProviderTimeout():
            if error.stage == "deadline":  # it had less time than its provider may take
                return Fault(moves_on=True, trips="unknown")
            return _AT_ONCE if error.stage in ("connect", "first") else _COUNTS
        case ProviderUnavailable():
            if error.retry_after is not None:
                return Fault(moves_on=True, trips="at once", cool_down=error.retry_after)
            return _COUNTS if error.connected else _AT_ONCE
        case OutOfMemory():
            return Fault(moves_on=True, trips="unknown", again=error.smaller)
        case AnswerRejected():
            return Fault(moves_on=True, trips="well")
        case ContextOverflow():
            return Fault(moves_on=True, trips="well", larger=True)
        case ModelMissing():
            return _AT_ONCE
        case BadRequest() | ContentFiltered() | ProviderAuth():
            return _STOP
        case _:
            return Fault(moves_on=False, trips="unknown")


def response_error(
    status: int,
    headers: Mapping[str, str],
    body: str,
    what: str,
    now: Callable[[], float] = time.time,
) -> ProviderError:
    """The error that an HTTP answer stands for; `what` names model and provider in its message.

    `body` may be JSON or any text. An error event under a 200 has its status in the body's `code`.
    """
    said = _said(body)
    if status < 400 and said.status is not None:
        status = said.status  # an error event under a 200
    code, text = said.code, said.text
    wait = retry_after({**said.headers, **_lowered(headers)}, text, now)
    message = f"{what}: HTTP {status}{f', {shorten(text, 300)}' if text else ''}"
    both = f"{code} {text}"
    if status >= 500 and _MEMORY.search(text):
        return OutOfMemory(message, status=status)
    if status == 413 or (status < 500 and _TOO_LARGE.search(text)):
        return ContextOverflow(f"{message}; shorten the prompt", status=status)
    if status in (402, 429) or (status < 500 and _LIMITED.search(code)):
        return ProviderLimited(message, status=status, retry_after=wait)  # 402: out of credit
    if status < 500 and _OVERFLOW.search(both):
        return ContextOverflow(f"{message}; shorten the prompt", status=status)
    if status < 500 and _FILTERED.search(both):
        return ContentFiltered(message, status=status)
    if status in (401, 403):
        return ProviderAuth(f"{message}; check the key", status=status)
    if status == 408:
        return ProviderTimeout(message, status=status, retry_after=wait)
    if status >= 500 or status in (409, 425) or _OVERLOADED.search(both):
        return ProviderUnavailable(message, status=status, retry_after=wait)
    if status < 400:
        return ProviderUnavailable(f"{message}; it is not an answer of a chat model", status=status)
    if status == 404:
        return ModelMissing(f"{message}; check the model's name", status=status)
    return BadRequest(message, status=status)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a body says of an error, as OpenAI, OpenRouter, vLLM and Ollama write it."""

    code: str = ""
    text: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _said(body: str) -> _Said:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return _Said(text=body.strip())
    error = (data.get("error") or data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return _Said(text=str(error))
    more = error.get("metadata")
    more = more if isinstance(more, dict) else {}
    # OpenRouter's own message is "Provider returned error"; what that one said is the raw text.
    parts = (error.get("message") or error.get("detail"), more.get("raw"))
    headers = more.get("headers")
    return _Said(
        f"{error.get('code') or ''} {error.get('type') or ''}".strip(),
        ": ".join(str(part) for part in parts if part),
        as_status(error.get("code")) or as_status(error.get("status")),
        _lowered(headers) if isinstance(headers, dict) else {},
    )


def _lowered(headers: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


def provider_error(
    error: BaseException, what: str, now: Callable[[], float] = time.time
) -> ProviderError:
    """`error` of any client as ours, by its status, its response, or the name of its class.

    The causes are looked through too, as frameworks wrap what clients raise. What nobody knows is a
    plain `ProviderError`, which is not taken for a passing fault.
    """
    if isinstance(error, ProviderError):
        return error
    for each in causes(error):
        if isinstance(each, ProviderError):
            return each
        status = status_of(each)
        if status is None and isinstance(getattr(each, "body", None), Mapping):
            status = 200  # an error event in a stream, with a code in words
        if status is not None:
            return response_error(status, headers_of(each), body_of_error(each), what, now)
    *_, first = causes(error)
    said, cause = (f"{type(e).__name__}: {shorten(str(e), 300)}" for e in (error, first))
    message = f"{what}: {said}"
    if cause != said:  # a client's own words may be no more than "Connection error."
        message += f", from {cause}"
    for names in (_NAMES, _VAGUE):
        for each in causes(error):
            kind = _kind(each, names)
            if kind:
                return _of_kind(kind, message)
    if any(isinstance(each, OSError) for each in causes(error)):
        return ProviderUnavailable(message, connected=False)
    if _MEMORY.search(str(error)):
        return OutOfMemory(message)
    if isinstance(error, ChatModelError):  # one of ours, wrapped: its text is all there is
        return ProviderUnavailable(message)
    return ProviderError(message)


def _kind(error: BaseException, table: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for base in type(error).__mro__:
        for names, kind in table:
            if names.search(base.__name__):
                return kind
    return ""


def _of_kind(kind: str, message: str) -> ProviderError:
    match kind:
        case "connect" | "first":
            return ProviderTimeout(message, stage=kind)
        case "limited":
            return ProviderLimited(message)
        case "filtered":
            return ContentFiltered(message)
        case "rejected":
            return AnswerRejected(message)
        case "auth":
            return ProviderAuth(message)
        case _:
            return ProviderUnavailable(message, connected=kind != "gone")
