"""One search: embed the question, ask the index, embed what is pending, rerank, say what ran."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidQuery, shorten
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.calibrating import relevance_of
from rag_memory_plugins.memory.outbox import check_vectors
from rag_memory_plugins.memory.reranking import RERANK_DEPTH, arerank
from rag_memory_plugins.ports import Query
from rag_memory_plugins.results import Hit, SearchResult
from rag_memory_plugins.retrieval.encoding import aencode_query
from rag_memory_plugins.types import Messages

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.ports import (
        Embedder,
        Encoded,
        Found,
        Pending,
        Reranker,
        VectorIndex,
    )

__all__ = ["INLINE", "Search"]

INLINE: Final = 8
"""Messages that a search embeds itself, so that what was just said is found by meaning too."""


@dataclass(frozen=True)
class Search:
    """The parts that a search goes through, in order; each step emits an Event with its seconds.

    `no_embedder` says why there is none; `embed` makes and stores vectors of a few messages.
    """

    index: VectorIndex
    embedder: Embedder | None
    no_embedder: str
    reranker: Reranker | None
    hooks: tuple[Hook, ...]
    embed: Callable[[Sequence[Pending]], Awaitable[None]]

    async def arun(self, namespace: Namespace, asked: Query) -> SearchResult:
        """Search every lane that can run, and say what of each."""
        degraded: list[str] = []
        encoded, dense = await self._encode(namespace, asked.text, degraded)
        depth = asked.limit if self.reranker is None else max(asked.limit, RERANK_DEPTH)
        query = replace(asked, encoded=encoded, limit=depth)
        waiting: Sequence[Pending] = ()
        if encoded is not None and asked.focus:
            # What a context is asked for has mostly just been said: embedded first, one search is enough.
            waiting = await self.index.apending(namespace.scope, INLINE + 1)
            await self._embed(waiting, degraded)
        found = await self.index.asearch(namespace, query)
        if encoded is not None and not waiting and 0 < found.pending <= INLINE:
            late = await self.index.apending(namespace.scope, INLINE)
            # Without any left, somebody else has embedded them since.
            if not late or await self._embed(late, degraded):
                found = await self.index.asearch(namespace, query)
        if self.hooks:  # nobody hears what nobody listens to
            for step, seconds in found.seconds.items():
                emit(self.hooks, Event(f"search.{step}", namespace.scope.key, seconds))
        if encoded is not None and found.pending:
            dense = f"ok, {found.pending} pending"
        lanes = {"keywords": "ok", "dense": dense, **found.off}
        degraded += found.degraded
        relevance = self._relevance(asked, found, encoded is not None, degraded)
        hits: tuple[Hit, ...] = ()
        if relevance is None or relevance >= asked.min_relevance:
            hits = await self._rerank(namespace, asked, found, lanes, degraded)
        if asked.neighbours > 1:
            hits = _merged(hits)
        return SearchResult(asked.text, hits, lanes, tuple(degraded), relevance)

    async def _embed(self, waiting: Sequence[Pending], degraded: list[str]) -> bool:
        """Embed what waits, if it is little; whether it was."""
        if not 0 < len(waiting) <= INLINE:
            return False
        try:
            await self.embed(waiting)
        except Exception as error:  # a user's embedder; the outbox tries these messages again
            degraded.append(f"dense: {len(waiting)} pending ({shorten(error)})")
            return False
        return True

    def _relevance(
        self, asked: Query, found: Found, dense: bool, degraded: list[str]
    ) -> float | None:
        """How likely the question is answered. Raises `InvalidQuery` when nobody can tell."""
        missing = "a lane failed" if degraded else ""
        if found.pending:
            missing = missing or f"{found.pending} messages have no vector yet"
        if self.embedder is not None and not dense:
            missing = missing or "this file holds no vectors of the embedder"
        if missing:
            # Signals of a lane that did not run are missing: better no judgement than a wrong one.
            if asked.min_relevance:
                degraded.append(f"relevance: not judged, {missing}")
            return None
        # What is shipped was fitted with late interaction; without it nothing would seem relevant.
        whole = bool(asked.recall.late and asked.recall.candidates)
        relevance = relevance_of(found, self.fingerprint if whole else "")
        if relevance is None and asked.min_relevance and found.total:
            raise InvalidQuery(
                "min_relevance",
                asked.min_relevance,
                f"{self.fingerprint or 'a search without an embedder'} has no calibration; "
                "run calibrate() on this user's questions first",
            )
        return relevance

    async def asignals(self, namespace: Namespace, asked: Query) -> tuple[float, ...]:
        """The signals of one search, to calibrate by. Raises what the embedder raises."""
        encoded = None
        if self.embedder is not None and self.index.ready:
            encoded = await aencode_query(self.embedder, asked.text)
        found = await self.index.asearch(namespace, replace(asked, encoded=encoded))
        return found.signals

    @property
    def fingerprint(self) -> str:
        """The embedder that scores are of; "" for keywords alone."""
        return self.embedder.fingerprint if self.embedder is not None else ""

    async def _encode(
        self, namespace: Namespace, text: str, degraded: list[str]
    ) -> tuple[Encoded | None, str]:
        """(what the embedder made of the question, what to say of the dense lane)."""
        if self.embedder is None or not self.index.ready:
            return None, f"off: {self.no_embedder}"
        started = time.perf_counter()
        try:
            encoded = await aencode_query(self.embedder, text)
            check_vectors(self.embedder, encoded.vectors)
        except Exception as error:  # a user's embedder may raise anything; keywords still answer
            degraded.append(f"dense: {shorten(error)}")
            return None, f"failed: {shorten(error)}"
        seconds = time.perf_counter() - started
        emit(self.hooks, Event("search.embed", namespace.scope.key, seconds))
        return encoded, "ok"

    async def _rerank(
        self,
        namespace: Namespace,
        asked: Query,
        found: Found,
        lanes: dict[str, str],
        degraded: list[str],
    ) -> tuple[Hit, ...]:
        if self.reranker is None:
            return found.hits
        started = time.perf_counter()
        hits, failed = await arerank(self.reranker, asked.text, found.hits, asked.limit)
        reason = (failed or "").removeprefix("rerank: ")
        lanes["rerank"] = f"failed: {reason}" if failed else "ok"
        if failed:
            degraded.append(failed)
        seconds = time.perf_counter() - started
        data = {"reranker": self.reranker.name, "failed": bool(failed)}
        emit(self.hooks, Event("search.rerank", namespace.scope.key, seconds, data))
        return hits


def _merged(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """The hits with every message once: beside the best hit that reaches it, and never a hit's own.

    After the rerank: a hit that was cut off must not take its message out of another's window.
    """
    shown = {(hit.session, hit.message.id) for hit in hits}
    result = []
    for hit in hits:
        near = [m for m in hit.neighbours if (hit.session, m.id) not in shown]
        shown.update((hit.session, m.id) for m in near)
        result.append(replace(hit, neighbours=Messages(near)))
    return tuple(result)
