"""What Pinecone's client raises, as `StoreError`s with a remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rag_memory_plugins.errors import InvalidInput, StoreError, shorten
from rag_memory_plugins.stores.pinecone_waiting import Deadline

__all__ = ["Missing", "Unreachable", "remedy_of", "told"]

_KEY: Final = "check the API key and its project (api_key= or PINECONE_API_KEY)"
_LATER: Final = "this is tried again; if it stays so, look at Pinecone's status page"

_STATUSES: Final = {
    400: "check that the index holds dense vectors of the embedder's dimension",
    401: _KEY,
    402: "look at the organization's billing",
    403: f"{_KEY}, its role, and the project's quotas",
    404: "check the index's name or host, and that the key is of its project",
    408: _LATER,
    409: "something else changes the index now; look at it in Pinecone's console",
    412: "the index is not in a state for this; look at it in Pinecone's console",
    413: "a proxy on the way takes less than the 2 MB that Pinecone takes; raise its limit",
    422: "check that the index holds dense vectors of the embedder's dimension",
    429: "this is tried again; if it stays so, ask Pinecone for a higher rate limit",
}
# By name, as the releases of the client do not have the same ones.
_NAMES: Final = {
    "RateLimitError": _STATUSES[429],
    "ServiceError": _LATER,
    "PineconeTimeoutError": _LATER,
    "PineconeConnectionError": "check the index's host, the network and any proxy on the way",
    "ResponseParsingError": "check that the host is Pinecone's, or upgrade the pinecone package",
    "IndexInitFailedError": "delete the index in Pinecone's console and create it again",
    "IndexTerminatedError": "name an index that is not being deleted",
    "PineconeValueError": "check the index's name or host, and the pinecone package's release",
    "PineconeTypeError": "check the index's name or host, and the pinecone package's release",
    "ApiError": "look at the index in Pinecone's console",
    "PineconeError": "look at the index in Pinecone's console, and upgrade the pinecone package",
}
_OTHER: Final = "check the index's host, and upgrade the pinecone package"
_PASSING: Final = frozenset({408, 429})


class Unreachable(StoreError):
    """Nobody answered, or somebody who cannot now: what passes by waiting."""


class Missing(StoreError):
    """There is no such index or namespace."""


def remedy_of(error: BaseException) -> str | None:
    """What to do about an error of the client; None for one that it does not know.

    >>> remedy_of(ValueError("no error of Pinecone's")) is None
    True
    """
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        if status in _STATUSES:
            return _STATUSES[status]
        if status >= 500:
            return _LATER
    return next(
        (_NAMES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _NAMES), None
    )


@contextmanager
def told(name: str, doing: str, deadline: Deadline, key: str) -> Iterator[None]:
    """Raise whatever the client raises as a `StoreError`, without the `key`."""
    try:
        yield
    except (StoreError, InvalidInput):
        raise
    except Exception as error:  # its transport's and its decoder's errors share no base class
        raised = _translated(error, f"{name}: {doing}", deadline, key)
        # A cause is printed with its error: one that says the key is left out.
        hidden = key and any(
            key in text for text in (str(error), repr(error), repr(error.__dict__))
        )
        raise raised from (None if hidden else error)


def _translated(error: Exception, what: str, deadline: Deadline, key: str) -> StoreError:
    status = getattr(error, "status_code", None)
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)) and not deadline.left:
        return Unreachable(f"{what}: no answer in {deadline.seconds:g} s, tries included; {_LATER}")
    said = f"{type(error).__name__}: {error}"
    if key:
        said = said.replace(key, "***")
    text = f"{what} failed ({shorten(said, 300)}); {remedy_of(error) or _OTHER}"
    if status == 404:
        return Missing(text)
    names = {kind.__name__ for kind in type(error).__mro__}
    passing = isinstance(status, int) and (status in _PASSING or status >= 500)
    if passing or names & {"PineconeTimeoutError", "PineconeConnectionError", "TimeoutError"}:
        return Unreachable(text)
    return StoreError(text)
