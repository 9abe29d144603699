"""What an exception of any client holds: its causes, an HTTP status, headers, a body."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["as_status", "body_of_error", "causes", "headers_of", "status_of"]

_DEEP: Final = 8  # causes of causes; a chain may be a ring


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself, then what caused it, and so on; eight at most."""
    each: BaseException | None = error
    for _ in range(_DEEP):
        if each is None:
            return
        yield each
        # What was being handled when it was raised "from None" is not why.
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def status_of(error: BaseException) -> int | None:
    """The HTTP status: `status_code` (OpenAI, Anthropic, Ollama), `code` (Google), a response's."""
    response: Any = getattr(error, "response", None)
    found = [
        getattr(error, name, None) for name in ("status_code", "http_status", "status", "code")
    ]
    found += [getattr(response, name, None) for name in ("status_code", "status")]
    if isinstance(response, Mapping):  # botocore
        found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):  # of an error event: the client keeps no status of its own
        found += [body.get("code"), body.get("status")]
    return next((status for value in found if (status := as_status(value)) is not None), None)


def as_status(value: object) -> int | None:
    """An HTTP status, as a number or in digits; nothing else that may stand under such a name."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
        return int(value)
    return None


def headers_of(error: BaseException) -> Mapping[str, str]:
    """Headers of the response, none where there was none."""
    response: Any = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    if headers is None or not hasattr(headers, "items"):
        return {}
    return {str(name): str(value) for name, value in headers.items()}


def body_of_error(error: BaseException) -> str:
    """What the response said, as JSON with an `error` if it was JSON."""
    body = getattr(error, "body", None)
    if isinstance(body, (dict, list)):
        # OpenAI's client hands over what stands under "error".
        return json.dumps(body if "error" in body else {"error": body}, default=str)
    return str(getattr(error, "message", None) or getattr(error, "error", None) or error)
