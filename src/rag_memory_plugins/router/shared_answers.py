"""Answers to equal requests, shared by processes: `ExactCache` over a `SharedCache`.

```text
alook    rules allow it -> key of all that is asked -> the shared cache: the answer, or a mark
akeep    rules allow the answer -> kept under the key, unless the user was forgotten since the mark
forget   the shared cache drops all of the user; until it has, nothing is looked up or kept
```
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rag_memory_plugins.chat import Answer, Usage
from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.router.caching import (
    Cached,
    Underway,
    accepted,
    belongs_to,
    fresh,
    positive,
)
from rag_memory_plugins.router.outage import Outage
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.chat import ChatRequest
    from rag_memory_plugins.forgetting import Erased
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import SharedCache
    from rag_memory_plugins.router.cache_rules import CacheRules

__all__ = ["SharedExactCache"]

R = TypeVar("R")
_DOWN: Final = "the shared cache does not answer"


class SharedExactCache:
    """As `ExactCache`, for all processes that share `shared` and state the same `rules`.

    Give the rules of all processes one `secret`: with another one, requests have other keys. An
    answer stays for `ttl` seconds; one of more than `max_bytes` is not kept. A shared cache that
    fails, or takes longer than `timeout` seconds, is left alone for a second: misses, and events
    "cache.store_down", "cache.store_back", "cache.skipped". An erase it did not hear of is told again before
    anything else is asked of it, and a memory's receipt is pending until then. May be used from any
    thread and any loop; the caller closes `shared`. Raises `InvalidInput`.

    >>> import asyncio
    >>> from rag_memory_plugins.chat import ChatRequest
    >>> from rag_memory_plugins.namespace import Scope
    >>> from rag_memory_plugins.router import CacheRules
    >>> from rag_memory_plugins.stores.local_cache import LocalCache
    >>> cache = SharedExactCache(CacheRules(["small"], secret=bytes(32)), LocalCache())
    >>> ask = lambda: ChatRequest([Message("user", "What is HTTP?")], scope=Scope("acme", "ann"))
    >>> async def twice():
    ...     first = ask()
    ...     assert await cache.alook(first) is None
    ...     await cache.akeep(first, Answer(Message("assistant", "A protocol."), "stop", model="small"))
    ...     return await cache.alook(ask())
    >>> asyncio.run(twice()).answer.message.content
    'A protocol.'
    """

    def __init__(
        self,
        rules: CacheRules,
        shared: SharedCache,
        *,
        ttl: float = 3_600.0,
        max_bytes: int = 256_000,
        timeout: float = 0.25,
        hooks: Sequence[Hook] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        positive("ttl", ttl)
        positive("timeout", timeout)
        positive("max_bytes", max_bytes)
        self._rules = rules
        self._shared = shared
        self._ttl, self._max_bytes = ttl, max_bytes
        self._hooks = tuple(hooks)
        self._outage = Outage("cache", "local", clock, self._hooks, timeout)
        self._lock = Lock()
        self._underway: Underway[tuple[bytes, str]] = Underway()
        self._owed: dict[Scope | str, object] = {}  # who is to be forgotten there

    def __repr__(self) -> str:
        return f"SharedExactCache({self._shared!r}, per={self._rules.per!r})"

    async def alook(self, request: ChatRequest) -> Cached | None:
        """The answer to an equal request; None to ask a model."""
        scope, reason = self._rules.refused(request)
        key = self._rules.key(scope, request) if scope is not None else None
        if scope is None or key is None:
            reason = reason or "it holds what cannot be compared"
            self._skipped(request.scope, reason)
            return None
        got = await self._ask(lambda: self._shared.alook(scope, key))
        if got is None:
            self._skipped(scope, _DOWN)
            return None
        value, mark = got[0]
        answer = None if value is None else _read(value)
        if answer is None or not accepted(request, answer):
            with self._lock:
                self._underway.begin(request.id, scope, (key, mark))
            return None
        self._emit("cache.hit", scope, kind="exact")
        return Cached(fresh(answer, request), "exact")

    async def akeep(self, request: ChatRequest, answer: Answer) -> None:
        """Keep the answer, if the rules allow it and nothing of its user was erased meanwhile."""
        with self._lock:
            found = self._underway.end(request.id)
        scope = request.scope
        if found is None or scope is None or found[0] != self._rules.key(scope, request):
            return
        value = _written(answer)
        reason = self._rules.unfit(answer)
        if not reason and len(value) > self._max_bytes:
            reason = f"it takes {len(value)} bytes of max_bytes {self._max_bytes}"
        if not reason:
            key, mark = found
            got = await self._ask(lambda: self._shared.akeep(scope, key, value, self._ttl, mark))
            if got is None:
                reason = _DOWN
            elif not got[0]:
                reason = "its user was forgotten meanwhile"
        if reason:
            self._skipped(scope, reason)
        else:
            self._emit("cache.kept", scope, kind="exact")

    async def acompare(self, request: ChatRequest, found: Cached, answer: Answer) -> None:
        """Nothing: equal requests are never sampled."""

    async def aforget(self, who: Scope | str) -> int:
        """Drop everything of a user, or of a tenant (a str), for all processes.

        Raises `StoreError`; it is then told again before anything else is asked.
        """
        self._owe(who)
        return await self._pay()

    def forget(self, erased: Erased) -> None:
        """As a `Keeper` of a memory: an erase drops everything of its user; `aclean` says when."""
        who = erased.namespace
        self._owe(who.tenant if erased.level == "tenant" else who.scope)

    async def aclean(self) -> str:
        """Tell the shared cache what was erased; why that has to wait, "" if it need not."""
        try:
            await self._pay()
        except StoreError as error:
            return f"cached answers: {error}"
        return ""

    async def aclose(self) -> None:
        """Let go of what is under way; what others share stays."""
        with self._lock:
            self._underway.clear()

    def _owe(self, who: Scope | str) -> None:
        theirs = belongs_to(who)
        with self._lock:
            self._underway.forget(theirs)
            self._owed[who] = object()  # another one than before

    async def _pay(self) -> int:
        gone = 0
        for who, erase in list(self._owed.items()):
            gone += await self._shared.aforget(who)
            with self._lock:
                if self._owed.get(who) is erase:
                    del self._owed[who]
        return gone

    async def _ask(self, work: Callable[[], Coroutine[Any, Any, R]]) -> tuple[R] | None:
        """What the shared cache says, in a tuple; None while it is down."""

        async def asked() -> R:
            await self._pay()
            return await work()

        return await self._outage.ask(asked, _nothing) if self._outage.asks() else None

    def _skipped(self, scope: Scope | None, reason: str) -> None:
        self._emit("cache.skipped", scope, reason=reason)

    def _emit(self, name: str, scope: Scope | None, **data: object) -> None:
        if self._hooks:
            emit(self._hooks, Event(name, scope.key if scope else "", data=data))


def _written(answer: Answer) -> bytes:
    """The text and what it cost: a framework's own message may be changed by whoever gets it."""
    message = answer.message
    values = [message.content, message.name, answer.finish, answer.model, answer.reasoning]
    usage = None if answer.usage is None else asdict(answer.usage)
    return json.dumps([1, *values, usage], ensure_ascii=False).encode(errors="surrogatepass")


def _read(value: bytes) -> Answer | None:
    """None for what another version wrote."""
    held: list[Any] = json.loads(value.decode(errors="surrogatepass"))
    if held[0] != 1:
        return None
    content, name, finish, model, reasoning, usage = held[1:]
    return Answer(
        Message("assistant", content, name=name),
        finish,
        usage=None if usage is None else Usage(**usage),
        model=model,
        reasoning=reasoning,
    )


async def _nothing(_: object) -> None:
    """There is nothing to undo."""
