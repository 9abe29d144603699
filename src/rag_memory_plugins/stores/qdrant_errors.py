"""What goes wrong with a Qdrant server, as errors of our tree.

Told by the names of classes and by what errors carry, so that neither the client nor its
transports (httpx, grpc) are imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rag_memory_plugins.errors import StoreError, shorten

__all__ = ["Missing", "Taken", "Unavailable", "secrets_of", "tells", "worded"]


class Unavailable(StoreError):
    """Nobody answers, or not now: asking again may do."""


class Missing(StoreError):
    """The collection is not there."""


class Taken(StoreError):
    """The collection is there already."""


_LOAD: Final = "lower the load, or give the server more room; this is tried again"
_OTHER: Final = "is this the URL of a Qdrant server, and of a version near the client's?"
_STATUS: Final[Mapping[int, tuple[type[StoreError], str]]] = {
    400: (StoreError, _OTHER),
    401: (StoreError, "check api_key"),
    403: (StoreError, "check what api_key may do: it needs to read and write"),
    404: (Missing, "was it dropped?"),
    408: (Unavailable, _LOAD),
    409: (Taken, "another process is making it; this is tried again"),
    413: (StoreError, "raise max_request_size_mb of the server"),
    422: (StoreError, _OTHER),
    429: (Unavailable, _LOAD),
}
_BY_CLASS: Final[Mapping[str, tuple[type[StoreError], str, str]]] = {
    "TimeoutException": (Unavailable, "no answer in time", "raise timeout, or look at its load"),
    "TimeoutError": (Unavailable, "no answer in time", "raise timeout, or look at its load"),
    "ConnectError": (Unavailable, "no connection", "is it up, and is the URL right?"),
    "TransportError": (Unavailable, "the connection broke off", "this is tried again"),
    "RpcError": (Unavailable, "the call failed", "is it up, and is the gRPC port right?"),
    "ValidationError": (StoreError, "an answer of another kind", _OTHER),
    "AssertionError": (StoreError, "an answer of another kind", _OTHER),
    "JSONDecodeError": (StoreError, "an answer that is no JSON", _OTHER),
    "QdrantException": (Unavailable, "it is limited", _LOAD),
    "ApiException": (StoreError, "the request failed", _OTHER),
}
_NO_SUCH: Final = ("doesn't exist", "not found")


def worded(error: Exception, what: str, hidden: Iterable[str]) -> StoreError:
    """The error to raise: what was asked, what came, and what to do; nothing `hidden` is in it."""
    kind, came, remedy = _told(error)
    for secret in hidden:
        came = came.replace(secret, "***")
    return kind(f"qdrant: {what}: {came}; {remedy}")


def tells(error: BaseException, hidden: Iterable[str]) -> bool:
    """Whether the client's own error says something that is hidden."""
    said = f"{error!r} {error} {getattr(error, 'content', '')!r}"
    return any(secret in said for secret in hidden)


def secrets_of(client: Any) -> tuple[str, ...]:
    """What a client was given that nobody else may read."""
    options = client.init_options
    headers = [*(options.get("headers") or {}).values(), *(options.get("metadata") or {}).values()]
    return tuple(str(value) for value in (options.get("api_key"), *headers) if value)


def _told(error: Exception) -> tuple[type[StoreError], str, str]:
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        kind, remedy = _STATUS.get(status, (StoreError, _OTHER))
        if status >= 500:
            kind, remedy = Unavailable, "look at its log; this is tried again"
        if status == 404 and not _no_such(error):
            kind, remedy = StoreError, _OTHER  # some other server's 404
        if status == 400 and "already exists" in _reason(error):
            kind, remedy = _STATUS[409]
        return kind, f"status {status} {_reason(error)}".strip(), remedy
    wait = getattr(error, "retry_after_s", None)
    if wait is not None:
        return Unavailable, f"status 429, it asks to wait {wait} s", _LOAD
    source = getattr(error, "source", None) or error
    for base in type(source).__mro__:
        if base.__name__ in _BY_CLASS:
            kind, came, remedy = _BY_CLASS[base.__name__]
            return kind, f"{came} ({_plain(source)})", remedy
    return _local(source)


def _local(error: Exception) -> tuple[type[StoreError], str, str]:
    """The client's mode without a server raises plain errors."""
    text = str(error)
    if isinstance(error, ValueError) and text.startswith("Collection "):
        if text.endswith("not found"):
            return Missing, text, "was it dropped?"
        if text.endswith("already exists"):
            return Taken, text, "another process is making it; this is tried again"
    return StoreError, _plain(error), "look at the error that this one was raised from"


def _reason(error: Exception) -> str:
    """What the server says itself, in one line."""
    content = getattr(error, "content", b"") or b""
    try:
        said = str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):  # no answer of Qdrant's own
        said = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
    return shorten(said, 160)


def _no_such(error: Exception) -> bool:
    reason = _reason(error).casefold()
    return "collection" in reason and any(words in reason for words in _NO_SUCH)


def _plain(error: BaseException) -> str:
    code = getattr(error, "code", None)  # of gRPC, whose text is a page
    said = code() if callable(code) else str(error)
    name = type(error).__name__
    return f"{name}: {shorten(str(said), 120)}" if str(said) else name
