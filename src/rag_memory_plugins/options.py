"""What `open_memory` is given, checked before anything is opened."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.config import Modes, Recall
from rag_memory_plugins.errors import InvalidInput, InvalidURL, nearest
from rag_memory_plugins.events import Hook

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Reranker, SharedState, VectorStore

__all__ = ["INDEX_SCHEMES", "POSTGRES", "SHARED_SCHEMES", "Options", "parse_url"]

SCHEMES: Final = ("sqlite", "postgresql")
POSTGRES: Final = "postgresql://"
INDEX_SCHEMES: Final = ("qdrant", "qdrant+https", "edge", "pinecone", "pgvector")
SHARED_SCHEMES: Final = (
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "unix",
)
_OPTIONS: Final = ("mode",)


@dataclass(frozen=True)
class Options:
    """The options of `open_memory`."""

    embedder: Any
    counter: Any
    hooks: tuple[Hook, ...]
    busy_timeout: float
    cache_bytes: int
    drain_seconds: float
    recall: Recall
    reranker: Reranker | None
    budget: TokenBudget
    modes: Modes
    summarizer: Any
    facts: Any
    index: VectorStore | str | None
    shared: SharedState | str | None

    def check(self) -> None:
        """Raise `InvalidInput` for the first that cannot be used."""
        from rag_memory_plugins import ports

        for name in ("busy_timeout", "drain_seconds"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
                raise InvalidInput(name, value, "pass seconds, a number >= 0")
        size = self.cache_bytes
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidInput("cache_bytes", size, "pass bytes, an int >= 0")
        for hook in self.hooks:
            if not callable(hook):
                raise InvalidInput("hooks", hook, "pass functions that take an Event")
        for name, kind in (("recall", Recall), ("modes", Modes), ("budget", TokenBudget)):
            if not isinstance(getattr(self, name), kind):
                remedy = f"pass a rag_memory_plugins.{kind.__name__}"
                raise InvalidInput(name, getattr(self, name), remedy)
        if self.reranker is not None and not isinstance(self.reranker, ports.Reranker):
            raise InvalidInput("reranker", self.reranker, "pass None or a ports.Reranker")
        reads = (ports.FactExtractor, ports.FactSource)
        if self.facts not in ("rules", None) and not isinstance(self.facts, reads):
            remedy = "pass 'rules', None, a ports.FactExtractor or a ports.FactSource"
            raise InvalidInput("facts", self.facts, remedy)
        known = self.summarizer in ("default", None)
        if not known and not isinstance(self.summarizer, ports.Summarizer):
            remedy = "pass 'default', None or a ports.Summarizer"
            raise InvalidInput("summarizer", self.summarizer, remedy)
        shared: Any = self.shared
        if shared is not None and not isinstance(shared, (ports.SharedState, str)):
            raise InvalidInput("shared", shared, "pass None, a URL or a ports.SharedState")
        _check_embedder(self.embedder)
        self._check_index()

    def _check_index(self) -> None:
        from rag_memory_plugins import ports

        index: Any = self.index
        if index is None:
            return
        if not isinstance(index, (ports.VectorStore, str)):
            remedy = "pass None, a URL or a ports.VectorStore"
            if hasattr(index, "similarity_search"):
                remedy = "wrap it: rag_memory_plugins.langchain.as_index(store)"
            elif hasattr(index, "query"):
                remedy = "wrap it: rag_memory_plugins.llama_index.as_index(store)"
            raise InvalidInput("index", index, remedy)
        if self.embedder is None:
            shown = "a URL" if isinstance(index, str) else index
            raise InvalidInput("index", shown, "it needs an embedder; leave embedder= out")


def _check_embedder(embedder: Any) -> None:
    from rag_memory_plugins.ports import Embedder

    if embedder is None or embedder == "default" or isinstance(embedder, Embedder):
        return
    module = type(embedder).__module__
    if hasattr(embedder, "get_text_embedding"):
        remedy = "wrap it: rag_memory_plugins.llama_index.as_embedder(embedder)"
    elif hasattr(embedder, "embed_documents"):
        remedy = "wrap it: rag_memory_plugins.langchain.as_embedder(embedder)"
    else:
        remedy = "pass 'default', None or a ports.Embedder"
    raise InvalidInput("embedder", f"{module}.{type(embedder).__name__}", remedy)


def parse_url(url: str | os.PathLike[str]) -> tuple[Path, dict[str, str]]:
    """(path, options) of a path or a sqlite URL. Raises `InvalidURL`."""
    text = os.fspath(url)
    if not isinstance(text, str) or not text or "\x00" in text:
        raise InvalidURL("url", url, "pass a path or sqlite:///memory.db")
    if text == ":memory:":
        raise InvalidURL("url", url, "a memory is durable; pass a path, in a temporary folder")
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text), {}
    if scheme not in SCHEMES:
        close = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}://? " if close else ""
        raise InvalidURL("url", url, f"{hint}schemes: {', '.join(SCHEMES)}, or a plain path")
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise InvalidURL("url", url, f"unknown option {name!r}; {nearest(name, _OPTIONS)}")
        if value not in ("ro", "rw"):
            raise InvalidURL("url", url, "mode is ro or rw")
    # As in SQLAlchemy: three slashes before a relative path, four before an absolute one.
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise InvalidURL("url", url, "write sqlite:///relative.db or sqlite:////absolute.db")
    return Path(path), options
