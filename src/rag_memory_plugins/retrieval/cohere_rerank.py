"""Cohere's rerank API as a `Reranker`, through Cohere's own library, imported at first use."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from rag_memory_plugins.errors import InvalidInput, MissingExtra, RerankerError, shorten
from rag_memory_plugins.portal import Threads

__all__ = ["CohereReranker"]

KEYS: Final = ("CO_API_KEY", "COHERE_API_KEY")
BATCH: Final = 1_000  # what Cohere recommends as the most documents of one request
CONNECT_SECONDS: Final = 2.0
TRIES: Final = 3
BACKOFF_SECONDS: Final = 0.25  # doubled with each try, unless the answer says how long


class CohereReranker:
    """Cohere's rerank as a `Reranker`; needs the extra `cohere` and CO_API_KEY.

    Scores are Cohere's relevance, from 0 to 1; a text without words is not sent and has 0. Of each
    text the model reads `max_tokens_per_doc` (Cohere's default: 4096). `timeout` bounds a call in
    all, retries too: 408, 429, 5xx and broken connections are tried three times; a Retry-After
    is kept to, or ends the call at once if it is longer than what is left. Over 1,000 texts
    become several requests. `client` is a built `cohere.AsyncClientV2`, which is never closed
    here and is bound to the loop that first uses it. `sleep` waits between tries.

    Raises `MissingExtra`, `InvalidInput`; `RerankerError` without a key, and when it ranks.

    >>> CohereReranker(timeout=0)
    Traceback (most recent call last):
    rag_memory_plugins.errors.InvalidInput: timeout: got 0; pass seconds, a number above 0
    """

    def __init__(
        self,
        model: str = "rerank-v3.5",
        client: Any = None,
        *,
        max_tokens_per_doc: int | None = None,
        timeout: float = 10.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise InvalidInput("model", model, "pass the name of a model, as 'rerank-v3.5'")
        if max_tokens_per_doc is not None and (
            not isinstance(max_tokens_per_doc, int) or max_tokens_per_doc < 1
        ):
            raise InvalidInput("max_tokens_per_doc", max_tokens_per_doc, "pass a number of tokens")
        # Written so that NaN is refused too.
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise InvalidInput("timeout", timeout, "pass seconds, a number above 0")
        self.model = model
        self.timeout = timeout
        self.max_tokens_per_doc = max_tokens_per_doc
        self.name = f"Cohere {model}"
        self._client = client
        self._close: Callable[[], Awaitable[None]] | None = None
        self._sleep = sleep
        self._connecting = threading.Lock()
        if client is None:
            self._check_installed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, timeout={self.timeout:g})"

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score a text, from 0 to 1. Raises `RerankerError`, at the latest after `timeout`."""
        scores = [0.0] * len(texts)
        sent = [at for at, text in enumerate(texts) if text.strip()]
        try:
            found = await asyncio.wait_for(
                self._rank(query, [texts[at] for at in sent]), self.timeout
            )
        except asyncio.TimeoutError as error:
            raise RerankerError(
                f"{self.name} gave no scores in {self.timeout:g} s; "
                "look at the network and the provider's status, or pass a longer timeout="
            ) from error
        for at, score in zip(sent, found, strict=True):
            scores[at] = score
        return scores

    async def aclose(self) -> None:
        """Close the client, unless it was passed in; a later call begins anew."""
        close, self._close = self._close, None
        if close is not None:
            self._client = None
            await close()

    async def _rank(self, query: str, texts: list[str]) -> list[float]:
        until = time.monotonic() + self.timeout
        scores: list[float] = []
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            answer = await self._ask(query, batch, until)
            # Relevance does not depend on the other texts, so requests can be put together.
            scores += self._in_order(answer, len(batch))
        return scores

    async def _ask(self, query: str, texts: list[str], until: float) -> Any:
        more: dict[str, Any] = {}
        if self.max_tokens_per_doc is not None:
            more["max_tokens_per_doc"] = self.max_tokens_per_doc
        for attempt in range(TRIES):
            try:
                if self._client is None:  # importing the library takes a second, or ten
                    await self._connect()
                return await self._client.rerank(
                    model=self.model,
                    query=query,
                    documents=texts,
                    # The library would keep to a Retry-After of a minute, whatever our limit.
                    request_options={"max_retries": 0},
                    **more,
                )
            except ImportError as error:
                raise MissingExtra("cohere", f"{type(self).__name__} ({error})") from error
            except Exception as error:  # the library's and its HTTP library's share no base class
                pause = _pause(error, attempt)
                if pause is None or attempt == TRIES - 1 or time.monotonic() + pause > until:
                    raise self._failure(error, pause) from _without_key(error)
            await self._sleep(pause)
        raise AssertionError  # the last try returned or raised

    def _failure(self, error: Exception, pause: float | None) -> RerankerError:
        status: int | None = getattr(error, "status_code", None)
        kind = f"{self.name} failed: {type(error).__name__}"
        if _without_key(error) is None:
            return RerankerError(f"{kind} {status or ''}; check {KEYS[0]}, and that it is one line")
        if status is None:
            return RerankerError(f"{kind}: {shorten(str(error), 200)}")
        told = shorten(getattr(error, "body", None), 200)
        if status < 400:
            return RerankerError(f"{self.name} gave an answer that is not JSON: {told}")
        wait = f"; it asks to wait {pause:g} s" if pause and status == 429 else ""
        return RerankerError(f"{kind} {status}: {told}{wait}")

    def _in_order(self, answer: Any, count: int) -> list[float]:
        """Scores in the order of the texts; the answer has them by relevance, with an index."""
        results = getattr(answer, "results", None)
        scores: dict[int, float] = {}
        for item in results if isinstance(results, list) else ():
            index, score = getattr(item, "index", None), getattr(item, "relevance_score", None)
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
                raise RerankerError(f"{self.name} gave the index {shorten(index)} of {count} texts")
            if index in scores:
                raise RerankerError(f"{self.name} gave two scores for text {index}")
            if isinstance(score, bool) or not isinstance(score, (int, float)):
                raise RerankerError(f"{self.name} gave text {index} the score {shorten(score)}")
            if not math.isfinite(score):
                raise RerankerError(f"{self.name} gave text {index} a score of NaN or infinity")
            scores[index] = float(score)
        if len(scores) != count:
            raise RerankerError(f"{self.name} gave {len(scores)} scores for {count} texts")
        return [scores[index] for index in range(count)]

    def _check_installed(self) -> None:
        if importlib.util.find_spec("cohere") is None:
            raise MissingExtra("cohere", type(self).__name__)
        if not any(map(os.environ.get, KEYS)):
            raise RerankerError(
                f"{type(self).__name__} needs a key: set the environment variable {KEYS[0]}, "
                "or pass a built client"
            )

    async def _connect(self) -> None:
        worker = Threads(1, "rag-memory-cohere")
        try:
            await worker.run(self._make)
        finally:
            worker.close()

    def _make(self) -> None:
        with self._connecting:
            if self._client is not None:  # of two first calls one gets here first
                return
            cohere, httpx = map(importlib.import_module, ("cohere", "httpx"))
            timeout = httpx.Timeout(self.timeout, connect=CONNECT_SECONDS)
            http = httpx.AsyncClient(timeout=timeout, follow_redirects=True)
            self._client, self._close = cohere.AsyncClientV2(httpx_client=http), http.aclose


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds until another try is worth it; None if it is not."""
    status = getattr(error, "status_code", None)
    if status is None:
        broken = any(kind.__name__ == "NetworkError" for kind in type(error).__mro__)
        dropped = type(error).__name__ == "RemoteProtocolError"  # a kept connection that ended
        return BACKOFF_SECONDS * 2**attempt if broken or dropped else None
    if status not in {408, 429} and status < 500:
        return None
    headers: Iterable[tuple[str, str]] = (getattr(error, "headers", None) or {}).items()
    told = next((value for name, value in headers if name.lower() == "retry-after"), None)
    asked = None if told is None else _seconds(told)
    return BACKOFF_SECONDS * 2**attempt if asked is None else asked


def _seconds(told: str) -> float | None:
    """A Retry-After, which is a number of seconds or a date; None for neither."""
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _without_key(error: Exception) -> Exception | None:
    """`error` as a cause, unless it may quote the key: a header, or an answer about the key."""
    refused = getattr(error, "status_code", None) in {401, 403}
    return None if refused or type(error).__name__ == "LocalProtocolError" else error
