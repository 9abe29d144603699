"""The rerank step of a search: whatever a reranker does, there is an order."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput, RerankerError, shorten
from rag_memory_plugins.retrieval.traits import index_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag_memory_plugins.ports import Reranker
    from rag_memory_plugins.results import Hit

__all__ = ["RERANK_DEPTH", "RERANK_SECONDS", "aordered", "arerank", "ascores", "check_ranking"]

RERANK_DEPTH: Final = 50
RERANK_SECONDS: Final = 10.0


async def arerank(
    reranker: Reranker,
    query: str,
    hits: tuple[Hit, ...],
    limit: int,
    *,
    depth: int = RERANK_DEPTH,
    timeout: float = RERANK_SECONDS,
) -> tuple[tuple[Hit, ...], str | None]:
    """The first `limit` hits after the first `depth` were reranked, and None.

    If the reranker raises, takes longer than `timeout` seconds, or gives scores that cannot be
    used: the first `limit` in the order they came, and the reason, for `degraded`. Equal scores
    keep that order. Hits beyond `depth` follow as they came.

    A reranker moves hits and does not measure them: its scores have a scale of their own, and a
    context weighs scores against length. So the k-th best keeps the k-th best of the scores there
    were, and the part "rerank" says how much that lifted or lowered it: `parts` still add up to
    `score`, and without "rerank" to the score that the lanes gave.
    """
    ranked = hits[:depth]
    if len(ranked) < 2:
        return hits[:limit], None
    texts = [index_text(hit.message) for hit in ranked]
    scores, reason = await ascores(reranker, query, texts, timeout)
    if reason:
        return hits[:limit], f"rerank: {reason}"
    return (*_reordered(ranked, scores), *hits[depth:])[:limit], None


def check_ranking(top_n: object, timeout: object, kind: str) -> None:
    """Raise `InvalidInput` for limits that no ranking can keep; `kind` is what is ranked."""
    if not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 1:
        raise InvalidInput("top_n", top_n, f"pass a number of {kind}, an int from 1")
    # Written so that NaN is refused too.
    if not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidInput("timeout", timeout, "pass seconds, a number above 0")


async def aordered(
    reranker: Reranker, query: str, texts: Sequence[str], timeout: float = RERANK_SECONDS
) -> tuple[list[tuple[int, float]], str]:
    """((place, score) of each text, best first; ""), or ([], why there is no order).

    Equal scores keep the order the texts came in.
    """
    if not query.strip():
        return [], "there is no query to rank by"
    scores, reason = await ascores(reranker, query, texts, timeout)
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    return [(at, scores[at]) for at in order], reason


async def ascores(
    reranker: Reranker, query: str, texts: Sequence[str], timeout: float = RERANK_SECONDS
) -> tuple[list[float], str]:
    """(one finite score a text, ""), or ([], why there are none), within `timeout` seconds."""
    task = asyncio.ensure_future(_asked(reranker, query, texts))
    # What was given up on may still fail; asking for the error keeps asyncio from reporting it.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        # Not wait_for: that waits for a reranker which swallows its cancellation.
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            return [], f"no scores in {timeout:g} s"
        if task.cancelled():
            return [], "cancelled by the reranker"
        if (error := task.exception()) is not None:
            return [], shorten(error)
        return task.result(), ""
    finally:
        task.cancel()


async def _asked(reranker: Reranker, query: str, texts: Sequence[str]) -> list[float]:
    """What the reranker gives, if it can be used. Raises what it raises, and `RerankerError`."""
    scores = [float(score) for score in await reranker.arerank(query, texts)]
    if len(scores) != len(texts):
        raise RerankerError(f"{reranker.name} gave {len(scores)} scores for {len(texts)} texts")
    if not all(map(math.isfinite, scores)):
        raise RerankerError(f"{reranker.name} gave a score of NaN or infinity")
    return scores


def _reordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    order = sorted(range(len(hits)), key=lambda at: scores[at], reverse=True)
    places = sorted((hit.score for hit in hits), reverse=True)
    return [_moved(hits[at], place) for at, place in zip(order, places, strict=True)]


def _moved(hit: Hit, score: float) -> Hit:
    return replace(hit, score=score, parts={**hit.parts, "rerank": score - hit.score})
