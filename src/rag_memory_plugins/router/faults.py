"""What went wrong at a provider, from any client's exception, and what follows from it.

| error | another model is asked | the breaker |
|---|---|---|
| `ProviderLimited` (429) | yes | opens, for as long as the provider says, else 60 s |
| `ProviderTimeout` to connect or to the first piece; nobody there | yes | opens |
| other `ProviderTimeout`, `ProviderUnavailable` (5xx, cut off) | yes | counts |
| `OutOfMemory` | yes, or the same with a smaller variant | says nothing of the host |
| `AnswerRejected` | yes: a matter of quality | the provider is well |
| `ContextOverflow` | one with a larger window | the provider is well |
| `ContentFiltered`, `ProviderAuth`, `BadRequest`, unknown | no | the provider is well |
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rag_memory_plugins.errors import (
    AnswerRejected,
    BadRequest,
    ChatModelError,
    ContentFiltered,
    ContextOverflow,
    OutOfMemory,
    ProviderAuth,
    ProviderError,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
    shorten,
)
from rag_memory_plugins.router.waiting import DEFAULT_WAIT, retry_after

__all__ = ["Fault", "fault_of", "provider_error", "response_error"]

_MEMORY: Final = re.compile(
    r"requires more system memory|out of memory|cudaMalloc failed|insufficient memory",
    re.IGNORECASE,
)
_OVERFLOW: Final = re.compile(
    r"context[_ ](?:length|window)|maximum context|prompt is too long|too many tokens"
    r"|request too large|reduce the length|input is too long|exceeds? the (?:available )?context",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"content[_ ](?:filter|management|policy)|moderation|flagged|safety", re.IGNORECASE
)
_OVERLOADED: Final = re.compile(r"overloaded|temporarily unavailable|over capacity", re.IGNORECASE)
_NAMES: Final = (
    (re.compile(r"Connect\w*Timeout"), "connect"),
    (re.compile(r"Timeout|DeadlineExceeded"), "total"),
    (re.compile(r"RateLimit|Throttl|TooManyRequests|ResourceExhausted"), "limited"),
    (re.compile(r"Connect(?:ion)?Error|ConnectionRefused|ConnectionReset"), "gone"),
    (
        re.compile(r"ReadError|WriteError|RemoteProtocol|ServiceUnavailable|InternalServer"),
        "broken",
    ),
    (re.compile(r"Overloaded|BadGateway|JSONDecodeError"), "broken"),
)
_DEEP: Final = 8  # causes of causes; a chain may be a ring


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

    `body` may be JSON or any text. `status` may be the `code` of an error event under a 200.
    """
    code, text = _said(body)
    lowered = {name.lower(): value for name, value in headers.items()}
    wait = retry_after(lowered, text, now)
    message = f"{what}: HTTP {status}{f', {shorten(text, 300)}' if text else ''}"
    both = f"{code} {text}"
    if status >= 500 and _MEMORY.search(text):
        return OutOfMemory(message, status=status)
    if status == 429 and not re.search(r"request too large", text, re.IGNORECASE):
        return ProviderLimited(message, status=status, retry_after=wait)
    if status == 413 or (status < 500 and _OVERFLOW.search(both)):
        return ContextOverflow(f"{message}; shorten the prompt", status=status)
    if status < 500 and _FILTERED.search(both):
        return ContentFiltered(message, status=status)
    if status in (401, 403):
        return ProviderAuth(f"{message}; check the key", status=status)
    if status == 402:  # out of credit: as good as a limit
        return ProviderLimited(message, status=status, retry_after=wait)
    if status == 408:
        return ProviderTimeout(message, status=status, stage="total")
    if status >= 500 or _OVERLOADED.search(both):
        return ProviderUnavailable(message, status=status, retry_after=wait)
    if status < 400:
        return ProviderUnavailable(f"{message}; it is not an answer of a chat model", status=status)
    return BadRequest(message, status=status)


def _said(body: str) -> tuple[str, str]:
    """(code, message) of the error in a body, as OpenAI, OpenRouter and Ollama write it."""
    try:
        data = json.loads(body)
    except ValueError:
        return "", body.strip()
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return "", str(error)
    said = error.get("message") or error.get("detail") or ""
    return f"{error.get('code') or ''} {error.get('type') or ''}".strip(), str(said)


def provider_error(
    error: BaseException, what: str, now: Callable[[], float] = time.time
) -> ProviderError:
    """`error` of any client as ours, by its status, its response, or the name of its class.

    The causes are looked through too, as frameworks wrap what clients raise. What nobody knows is a
    plain `ProviderError`, which is not taken for a passing fault.
    """
    if isinstance(error, ProviderError):
        return error
    for each in _causes(error):
        if isinstance(each, ProviderError):
            return each
        status = _status(each)
        if status is not None:
            return response_error(status, _headers(each), _body(each), what, now)
    message = f"{what}: {type(error).__name__}: {shorten(str(error), 300)}"
    for each in _causes(error):
        known = _by_name(each, message)
        if known is not None:
            return known
    if _MEMORY.search(str(error)):
        return OutOfMemory(message)
    if isinstance(error, ChatModelError):  # one of ours, wrapped: its text is all there is
        return ProviderUnavailable(message)
    return ProviderError(message)


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(_DEEP):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _by_name(error: BaseException, message: str) -> ProviderError | None:
    kind = ""
    for base in type(error).__mro__:
        kind = next((kind for names, kind in _NAMES if names.search(base.__name__)), "")
        if kind:
            break
    match kind:
        case "connect":
            return ProviderTimeout(message, stage="connect")
        case "total":
            return ProviderTimeout(message, stage="first")
        case "limited":
            return ProviderLimited(message)
        case "gone":
            return ProviderUnavailable(message, connected=False)
        case "broken":
            return ProviderUnavailable(message)
        case _ if isinstance(error, OSError):
            return ProviderUnavailable(message, connected=False)
    return None


def _status(error: BaseException) -> int | None:
    """The HTTP status: `status_code` (OpenAI, Anthropic, Ollama), `code` (Google), a response's."""
    response: Any = getattr(error, "response", None)
    found = [
        getattr(error, name, None) for name in ("status_code", "http_status", "status", "code")
    ]
    found += [getattr(response, name, None) for name in ("status_code", "status")]
    if isinstance(response, Mapping):  # botocore
        found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    for value in found:
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
            return int(value)
    return None


def _headers(error: BaseException) -> Mapping[str, str]:
    response: Any = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    if headers is None or not hasattr(headers, "items"):
        return {}
    return {str(name): str(value) for name, value in headers.items()}


def _body(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, (dict, list)):
        # OpenAI's client hands over what stands under "error".
        return json.dumps(body if "error" in body else {"error": body}, default=str)
    return str(getattr(error, "message", None) or getattr(error, "error", None) or error)
