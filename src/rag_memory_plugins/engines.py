"""From a URL's scheme to an engine: the one table of them, and what each is told by its URL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from rag_memory_plugins.errors import InvalidURL, nearest
from rag_memory_plugins.events import Hook
from rag_memory_plugins.options import INDEX_SCHEMES, POSTGRES, SHARED_SCHEMES, parse_url

if TYPE_CHECKING:
    from rag_memory_plugins.ports import SharedState, VectorStore
    from rag_memory_plugins.stores.database import Database

__all__ = ["make_database", "make_state", "make_store"]


def make_database(url: str | os.PathLike[str], busy_timeout: float, **options: Any) -> Database:
    """The database of a log, or with its `migrate` of something else; not open yet.

    Raises `InvalidURL`, `MissingExtra`.
    """
    text = os.fspath(url)
    if isinstance(text, str) and text.startswith(POSTGRES):
        from rag_memory_plugins.stores.postgres import PostgresDatabase

        return PostgresDatabase(text, busy_timeout=busy_timeout, **options)
    from rag_memory_plugins.stores.sqlite import SqliteDatabase

    options.pop("schema", None)
    path, stated = parse_url(url)
    readonly = options.pop("readonly", False) or stated.get("mode") == "ro"
    return SqliteDatabase(path, busy_timeout=busy_timeout, readonly=readonly, **options)


def make_store(url: str, log_url: str | os.PathLike[str]) -> VectorStore:
    """The vector store at a URL; `pgvector` alone stands in the log's own Postgres.

    Raises `InvalidURL`, `InvalidInput`, `MissingExtra`.
    """
    log = os.fspath(log_url)
    if url == "pgvector":
        if not str(log).startswith(POSTGRES):
            raise InvalidURL("index", url, "the log is not in Postgres; write pgvector://host/name")
        # Where the log stands, with all that its URL says of connecting there.
        parts = urlsplit(str(log))
        said = parse_qsl(parts.query, keep_blank_values=True)
        query = urlencode([pair for pair in said if pair[0] not in ("mode", "schema")])
        url = parts._replace(scheme="pgvector", query=query).geturl()
    scheme = url.partition("://")[0]
    if scheme not in _STORES:
        known = ", ".join(f"{name}://" for name in INDEX_SCHEMES)
        remedy = (
            f"{nearest(scheme, INDEX_SCHEMES)}; known: {known}, or pgvector beside a Postgres log"
        )
        raise InvalidURL("index", _shown(url), remedy)
    return _STORES[scheme].make(url)


def make_state(url: str, hooks: Iterable[Hook]) -> SharedState:
    """Numbers that processes share at a URL, and go on without while it is down.

    Raises `InvalidURL`, `MissingExtra`.
    """
    scheme = url.partition("://")[0]
    if scheme not in SHARED_SCHEMES:
        known = ", ".join(f"{name}://" for name in SHARED_SCHEMES)
        raise InvalidURL(
            "shared", _shown(url), f"{nearest(scheme, SHARED_SCHEMES)}; known: {known}"
        )
    from rag_memory_plugins.stores.redis import RedisState
    from rag_memory_plugins.stores.resilient import ResilientState

    return ResilientState(RedisState(url), hooks=hooks)


def _yes(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError(text)
    return text.lower() in ("1", "true", "yes")


_GRAPH: Final[Mapping[str, Callable[[str], Any]]] = {
    "m": int,
    "ef_construct": int,
    "ef_search": int,
}


@dataclass(frozen=True)
class _Store:
    """An engine of vectors: what its URL may say, and how it is made of that."""

    stated: Mapping[str, Callable[[str], Any]]
    build: Callable[[Any, dict[str, Any]], VectorStore]

    def make(self, url: str) -> VectorStore:
        parts = urlsplit(url)
        options: dict[str, Any] = {}
        rest: list[tuple[str, str]] = []
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name in self.stated:
                try:
                    options[name] = self.stated[name](value)
                except ValueError:
                    raise InvalidURL(
                        "index", _shown(url), f"{name}={value!r} is no value"
                    ) from None
            elif parts.scheme == "pgvector":
                rest.append((name, value))
            else:
                remedy = f"unknown option {name!r}; {nearest(name, tuple(self.stated))}"
                raise InvalidURL("index", _shown(url), remedy)
        return self.build(parts._replace(query=urlencode(rest)), options)


def _qdrant(parts: Any, options: dict[str, Any]) -> VectorStore:
    from rag_memory_plugins.stores.qdrant import QdrantStore

    plain = "https" if parts.scheme.endswith("https") else "http"
    if not parts.netloc:
        raise InvalidURL("index", _shown(parts.geturl()), "write qdrant://host:6333")
    host = parts.netloc.rpartition("@")[2]
    key = unquote(parts.password or "") or os.environ.get("QDRANT_API_KEY")
    return QdrantStore(f"{plain}://{host}{parts.path}", api_key=key, **options)


def _edge(parts: Any, options: dict[str, Any]) -> VectorStore:
    from rag_memory_plugins.stores.edge import EdgeStore

    # As with sqlite: three slashes before a relative path, four before an absolute one.
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise InvalidURL("index", parts.geturl(), "write edge:///relative or edge:////absolute")
    return EdgeStore(Path(path), **options)


def _pinecone(parts: Any, options: dict[str, Any]) -> VectorStore:
    from rag_memory_plugins.stores.pinecone import PineconeStore

    if not parts.netloc:
        raise InvalidURL("index", _shown(parts.geturl()), "write pinecone://host-or-index-name")
    where = parts.netloc.rpartition("@")[2]
    key = unquote(parts.password or "") or os.environ.get("PINECONE_API_KEY")
    if "." in where:
        where = f"https://{where}"
    return PineconeStore(where, api_key=key, **options)


def _pgvector(parts: Any, options: dict[str, Any]) -> VectorStore:
    from rag_memory_plugins.stores.pgvector import PgvectorStore

    return PgvectorStore(parts._replace(scheme="postgresql").geturl(), **options)


_QDRANT: Final = _Store({**_GRAPH, "collection": str, "hybrid": _yes}, _qdrant)
_STORES: Final[Mapping[str, _Store]] = {
    "qdrant": _QDRANT,
    "qdrant+https": _QDRANT,
    "edge": _Store({**_GRAPH, "exact_up_to": int, "name": str}, _edge),
    "pinecone": _Store({"hybrid": _yes, "name": str}, _pinecone),
    "pgvector": _Store(_GRAPH, _pgvector),
}


def _shown(url: str) -> str:
    """A URL without what stands before the host."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
