"""Answers that were given before: the port `AnswerCache`, and the cache of equal requests.

```text
alook   rules allow it -> key of all that is asked, on whose behalf -> the answer, or None
akeep   asked here before, nothing erased since -> rules allow the answer -> kept under the key
```
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

from rag_memory_plugins.chat import Answer
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.cache_rules import CacheRules
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from cachetools import TTLCache

    from rag_memory_plugins.chat import ChatRequest
    from rag_memory_plugins.forgetting import Erased

__all__ = ["AnswerCache", "Cached", "ExactCache"]

_UNDERWAY: Final = 4_096
"""Requests between their look-up and their answer; of more, the longest ago is not kept."""
_OVERHEAD: Final = 1_000
"""Bytes that an entry takes beside its text, about."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cached:
    """An answer that was given before.

    With `sampled` the model is asked all the same, the user gets what it says now, and both go to
    `acompare`. `similarity` is a cosine, 1.0 for an equal request. `mark` is the cache's own.
    """

    answer: Answer
    kind: Literal["exact", "semantic"]
    sampled: bool = False
    similarity: float = 1.0
    mark: Any = None


@runtime_checkable
class AnswerCache(Protocol):
    """Keeps answers, each for its own tenant or user. May be used from any thread and any loop."""

    async def alook(self, request: ChatRequest) -> Cached | None:
        """An answer to this request, with an id and a time of its own; None to ask a model."""

    async def akeep(self, request: ChatRequest, answer: Answer) -> None:
        """Keep a whole, good answer to a request that was looked up before it was sent."""

    async def acompare(self, request: ChatRequest, found: Cached, answer: Answer) -> None:
        """Take note of what a model says now to a request that `found` was sampled for."""

    async def aforget(self, who: Scope | str) -> int:
        """Drop everything of a user, or of a tenant (its id as a str); returns how many answers.

        What is being answered meanwhile is not kept either.
        """

    async def aclose(self) -> None:
        """Drop everything."""


class ExactCache:
    """Answers to requests that are equal in all that a model sees, and on the same behalf.

    Ids and times of messages do not count, their order and text do, and so do the models that may
    answer, tools, schema and sampling. An answer stays for `ttl` seconds; over `max_entries` or
    `max_bytes`, of all tenants together, the one that was used longest ago goes. `clock` gives
    seconds that never go back. `rules` say what is kept. Raises `InvalidInput`.

    >>> import asyncio
    >>> from rag_memory_plugins.chat import ChatRequest
    >>> cache = ExactCache(CacheRules(["small"]))
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
        *,
        ttl: float = 3_600.0,
        max_entries: int = 10_000,
        max_bytes: int = 64_000_000,
        clock: Callable[[], float] = time.monotonic,
        hooks: Sequence[Hook] = (),
    ) -> None:
        from cachetools import TTLCache

        positive("ttl", ttl)
        positive("max_entries", max_entries)
        positive("max_bytes", max_bytes)
        self._rules = rules
        self._hooks = tuple(hooks)
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: TTLCache[bytes, _Entry] = TTLCache(
            max_bytes, ttl, timer=clock, getsizeof=lambda entry: entry.size
        )
        self._lock = Lock()
        self._underway: Underway[bytes] = Underway()

    def __repr__(self) -> str:
        return f"ExactCache({len(self)} answers, per={self._rules.per!r})"

    async def alook(self, request: ChatRequest) -> Cached | None:
        """The answer to an equal request; None to ask a model."""
        scope, reason = self._rules.refused(request)
        if scope is None:
            self._emit("cache.skipped", request.scope, reason=reason)
            return None
        key = self._rules.key(scope, request)
        if key is None:
            self._emit("cache.skipped", scope, reason="it holds what cannot be compared")
            return None
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._underway.begin(request.id, scope, key)
        if entry is None:
            return None
        if not accepted(request, entry.answer):
            with self._lock:
                self._underway.begin(request.id, scope, key)
            return None
        self._emit("cache.hit", scope, kind="exact")
        return Cached(fresh(entry.answer, request), "exact")

    async def akeep(self, request: ChatRequest, answer: Answer) -> None:
        """Keep the answer, if the rules allow it and nothing of its user was erased meanwhile."""
        with self._lock:
            key = self._underway.end(request.id)
        scope = request.scope
        if key is None or scope is None or key != self._rules.key(scope, request):
            return
        reason = self._rules.unfit(answer)
        entry = _Entry(scope, stripped(answer), size_of(answer))
        if not reason and entry.size > self._max_bytes:
            reason = f"it takes {entry.size} bytes of max_bytes {self._max_bytes}"
        if reason:
            self._emit("cache.skipped", scope, reason=reason)
            return
        with self._lock:
            self._entries[key] = entry
            while len(self._entries) > self._max_entries:
                self._entries.popitem()
        self._emit("cache.kept", scope, kind="exact")

    async def acompare(self, request: ChatRequest, found: Cached, answer: Answer) -> None:
        """Nothing: equal requests are never sampled."""

    async def aforget(self, who: Scope | str) -> int:
        """Drop everything of a user, or of a tenant (a str)."""
        return self._forget(who)

    def forget(self, erased: Erased) -> None:
        """As a `Keeper` of a memory: an erase drops everything of its user."""
        who = erased.namespace
        self._forget(who.tenant if erased.level == "tenant" else who.scope)

    def _forget(self, who: Scope | str) -> int:
        theirs = belongs_to(who)
        with self._lock:
            self._underway.forget(theirs)
            self._entries.expire()  # what ended is in memory until then
            keys = [key for key, entry in self._entries.items() if theirs(entry.scope)]
            for key in keys:
                del self._entries[key]
        return len(keys)

    async def aclose(self) -> None:
        """Drop everything."""
        with self._lock:
            self._underway.clear()
            self._entries.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _emit(self, name: str, scope: Scope | None, **data: object) -> None:
        if self._hooks:
            emit(self._hooks, Event(name, scope.key if scope else "", data=data))


@dataclass(frozen=True, slots=True)
class _Entry:
    scope: Scope
    answer: Answer
    size: int


class Underway(Generic[T]):
    """What was looked up and is being answered: an erase meanwhile takes it away.

    Under its owner's lock. Two requests of one id are one; its owner compares what it gets.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[str, tuple[Scope, T]] = OrderedDict()

    def begin(self, request_id: str, scope: Scope, value: T) -> None:
        self._all[request_id] = (scope, value)
        if len(self._all) > _UNDERWAY:
            self._all.popitem(last=False)

    def get(self, request_id: str) -> T | None:
        found = self._all.get(request_id)
        return None if found is None else found[1]

    def end(self, request_id: str) -> T | None:
        found = self._all.pop(request_id, None)
        return None if found is None else found[1]

    def forget(self, theirs: Callable[[Scope], bool]) -> None:
        for request_id in [name for name, (scope, _) in self._all.items() if theirs(scope)]:
            del self._all[request_id]

    def clear(self) -> None:
        self._all.clear()


def belongs_to(who: Scope | str) -> Callable[[Scope], bool]:
    """Whether a scope is of this tenant, or of this user (with what stands beside the chats)."""
    if isinstance(who, Scope):
        return lambda scope: (scope.tenant, scope.user) == (who.tenant, who.user)
    if not isinstance(who, str) or not who:
        raise InvalidInput("who", who, "pass a Scope, or a tenant's id")
    return lambda scope: scope.tenant == who


def accepted(request: ChatRequest, answer: Answer) -> bool:
    """Whether the caller takes this answer: what one accepted, another may refuse."""
    if request.accept is None:
        return True
    try:
        request.accept(answer)
    except ValueError:
        return False
    return True


def stripped(answer: Answer) -> Answer:
    """What is kept: the text. A framework's own message may be changed by whoever got it."""
    return replace(answer, native=None)


def fresh(answer: Answer, request: ChatRequest) -> Answer:
    """A kept answer as one to `request`: a message said twice needs two ids to be stored twice."""
    message = Message("assistant", answer.message.content, name=answer.message.name)
    return replace(answer, message=message, request_id=request.id)


def size_of(answer: Answer) -> int:
    """Bytes that an answer takes, about."""
    text = answer.message.content + answer.reasoning
    return _OVERHEAD + (len(text) if text.isascii() else len(text.encode()))


def positive(name: str, value: object) -> None:
    """Raises `InvalidInput` for what is no number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidInput(name, value, "pass a number > 0")
