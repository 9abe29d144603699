"""The cache of requests that ask the same in other words; off unless you make one.

```text
alook   inner cache -> rules -> same frame (all but the last user's wording) -> same normalised text
        -> nearest by cosine whose guards hold -> near enough by that entry's own evidence?
        -> answered, or sampled; else a model is asked
akeep   its answer is compared with the nearest entry's (evidence), and kept as an entry
```
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from rag_memory_plugins.errors import EmbedderError, InvalidInput
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.router.cache_rules import CacheRules, last_user
from rag_memory_plugins.router.caching import (
    Cached,
    Underway,
    accepted,
    belongs_to,
    fresh,
    positive,
    size_of,
    stripped,
)
from rag_memory_plugins.router.comparing import SameAnswer
from rag_memory_plugins.router.evidence import Evidence, SemanticReport, bounds, share
from rag_memory_plugins.router.guards import read
from rag_memory_plugins.router.near import Asked, Entry, Partition, Partitions, wording_of

if TYPE_CHECKING:
    from rag_memory_plugins.chat import Answer, ChatRequest
    from rag_memory_plugins.forgetting import Erased
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Embedder
    from rag_memory_plugins.ports.models import Vectors
    from rag_memory_plugins.router.caching import AnswerCache

__all__ = ["SemanticCache", "SemanticReport"]


class SemanticCache:
    """Answers to requests that ask the same in other words, around a cache of equal ones.

    All but the wording of the last user's message must be equal; of that the guards compare numbers,
    units, names, negations and more (`guards.differ`). They read English; a prompt in another
    language is answered only if it differs in case, spaces or the end sign, one over 2,000
    characters only if it does not differ.

    Nothing else is answered without evidence. When a request is near an entry (cosine of at least
    `floor`), the model's answer is compared with the entry's: from the `confirmations`-th that was
    the same on, requests no farther away may be answered, unless a nearer one's differed. Of those
    as many are answered as keep the expected share of wrong ones under `max_error`, by what was
    sampled in the partition (`evidence.share`); the others, and always a share `sample`, are samples.
    When the 95 % interval of the measured rate lies above `max_error` the partition is off, with an
    event `cache.off`, until it is forgotten.

    `same(a, b)` compares two answers' texts. By default they are equal but for case and end sign,
    or agree in numbers and names and have a cosine of 0.9: right for short answers, too strict for
    long ones. Over `rows` in a partition, `max_entries` or `max_bytes` in all, the oldest go. An
    embedder that fails costs the hit, with an event `cache.degraded`. Raises `InvalidInput`.

    >>> from rag_memory_plugins.router.caching import ExactCache
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> from rag_memory_plugins.namespace import Scope
    >>> rules = CacheRules(["small"])
    >>> cache = SemanticCache(ExactCache(rules), WordEmbedder(), rules)
    >>> cache.report(Scope("acme", "ann")).on
    True
    """

    def __init__(
        self,
        inner: AnswerCache,
        embedder: Embedder,
        rules: CacheRules,
        *,
        max_error: float = 0.01,
        sample: float = 0.05,
        floor: float = 0.8,
        confirmations: int = 2,
        ttl: float = 3_600.0,
        rows: int = 500,
        max_entries: int = 20_000,
        max_bytes: int = 64_000_000,
        same: Callable[[str, str], bool] | None = None,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        hooks: Sequence[Hook] = (),
    ) -> None:
        for name, value in (("max_error", max_error), ("sample", sample), ("floor", floor)):
            if not 0 < value < 1:
                raise InvalidInput(name, value, "pass a number between 0 and 1")
        for name, value in (
            ("confirmations", confirmations),
            ("ttl", ttl),
            ("rows", rows),
            ("max_entries", max_entries),
            ("max_bytes", max_bytes),
        ):
            positive(name, value)
        self._inner, self._embedder, self._rules = inner, embedder, rules
        self._max_error, self._sample, self._floor = max_error, sample, floor
        self._confirmations, self._ttl = confirmations, ttl
        self._comparison = SameAnswer(embedder, same)
        self._chance, self._clock = chance, clock
        self._hooks = tuple(hooks)
        self._partitions = Partitions(rows, max_entries, max_bytes)
        self._underway: Underway[Asked] = Underway()
        self._lock = Lock()

    async def alook(self, request: ChatRequest) -> Cached | None:
        """The inner cache's answer, else one to the same in other words; None to ask a model."""
        scope, _ = self._rules.refused(request)
        if scope is None or last_user(request.messages) < 0:
            return await self._inner.alook(request)
        text = request.messages[-1].content
        begun = Asked(scope)
        with self._lock:  # before anything is read, so that an erase finds it
            self._underway.begin(request.id, scope, begun)
        found = await self._inner.alook(request)
        frame = None if found else self._rules.key(scope, request, wording=False)
        if frame is None:
            with self._lock:
                self._underway.end(request.id)
            return found
        asked = Asked(scope, frame, wording_of(text), read(text))
        with self._lock:
            partition = self._partition(scope)
            entry = partition.worded(frame, asked.wording, asked.guarded, self._clock())
        if entry is not None and accepted(request, entry.answer):
            with self._lock:
                self._underway.end(request.id)
            self._emit("cache.hit", scope, kind="semantic", similarity=1.0)
            return Cached(fresh(entry.answer, request), "semantic")
        if asked.guarded.known:
            asked = replace(asked, vector=await self._embedded(scope, text))
        return self._near(request, begun, asked)

    def _near(self, request: ChatRequest, begun: Asked, asked: Asked) -> Cached | None:
        """What the nearest entry gives, and a note of what is being asked."""
        sampled = False
        with self._lock:
            entry, similarity, hit = self._nearest(request, asked)
            if hit:
                seen = self._partition(asked.scope).evidence
                answered = share(seen.errors, seen.trials, self._max_error)
                sampled = self._chance() >= min(answered, 1 - self._sample)
                seen.served += not sampled
            noted = self._underway.end(request.id)
            if noted is begun and (sampled or not hit):
                # A sample's entry is told by `acompare`, any other's when the answer comes.
                told = None if hit else entry
                note = replace(asked, near=told, similarity=similarity)
                self._underway.begin(request.id, asked.scope, note)
        if entry is None or not hit:
            return None
        step = "cache.sampled" if sampled else "cache.hit"
        self._emit(step, asked.scope, kind="semantic", similarity=similarity)
        return Cached(fresh(entry.answer, request), "semantic", sampled, similarity, entry)

    def _nearest(self, request: ChatRequest, asked: Asked) -> tuple[Entry | None, float, bool]:
        partition = self._partition(asked.scope)
        if asked.vector is None or partition.evidence.off:
            return None, 0.0, False
        entry, similarity, hit = partition.nearest(
            asked.frame,
            asked.vector,
            asked.guarded,
            self._clock(),
            self._floor,
            self._confirmations,
        )
        if entry is not None and not accepted(request, entry.answer):
            return None, 0.0, False
        return entry, similarity, hit

    async def akeep(self, request: ChatRequest, answer: Answer) -> None:
        """Keep the answer here and in the inner cache, and learn from it about the nearest entry."""
        await self._inner.akeep(request, answer)
        with self._lock:
            asked = self._underway.get(request.id)
        scope = request.scope
        if asked is None or scope is None or self._rules.unfit(answer):
            return
        if asked.frame != self._rules.key(
            scope, request, wording=False
        ) or asked.wording != wording_of(request.messages[-1].content):
            return
        same = None
        if asked.near is not None:
            same = await self._same(scope, asked.near.answer, answer)
        size = size_of(answer) + 10 * len(asked.wording)
        size += 0 if asked.vector is None else 4 * len(asked.vector)
        entry = Entry(
            scope, asked.frame, asked.wording, asked.guarded, stripped(answer),
            self._clock() + self._ttl, size,
        )  # fmt: skip
        with self._lock:
            if self._underway.end(request.id) is not asked:  # erased, or asked again, meanwhile
                return
            if asked.near is not None and same is not None:
                asked.near.learned.add(asked.similarity, same=same)
            self._partitions.add(self._partition(scope), entry, asked.vector, self._clock())

    async def acompare(self, request: ChatRequest, found: Cached, answer: Answer) -> None:
        """Learn from a sample whether the hit would have been right."""
        if found.kind != "semantic" or not isinstance(found.mark, Entry):
            await self._inner.acompare(request, found, answer)
            return
        entry, scope = found.mark, request.scope
        if scope is None or self._rules.unfit(answer):
            return
        same = await self._same(scope, entry.answer, answer)
        if same is None:
            return
        with self._lock:
            entry.learned.add(found.similarity, same=same)
            seen = self._partition(scope).evidence
            seen.trials += 1
            seen.errors += not same
            low, _ = bounds(seen.errors, seen.trials)
            goes_off = not seen.off and low > self._max_error
            seen.off = seen.off or goes_off
            trials, errors = seen.trials, seen.errors
        self._emit("cache.compared", scope, same=same, similarity=found.similarity)
        if goes_off:
            self._emit("cache.off", scope, sampled=trials, different=errors, low=low)

    def report(self, scope: Scope) -> SemanticReport:
        """What is known of the partition that `scope` belongs to."""
        with self._lock:
            partition = self._partitions.known(self._rules.partition(scope))
            if partition is None:
                return Evidence().report(0)
            return partition.evidence.report(len(partition))

    async def aforget(self, who: Scope | str) -> int:
        """Drop everything of a user, or of a tenant (a str), here and in the inner cache."""
        return await self._inner.aforget(who) + self._forget(who)

    def forget(self, erased: Erased) -> None:
        """As a `Keeper` of a memory: an erase drops everything of its user, in the inner cache too."""
        inner = getattr(self._inner, "forget", None)
        if inner is not None:
            inner(erased)
        self._forget(erased.namespace.scope)

    def _forget(self, who: Scope | str) -> int:
        theirs = belongs_to(who)
        whole = self._rules.per == "user" or isinstance(who, str)
        with self._lock:
            self._underway.forget(theirs)
            return self._partitions.forget(theirs, whole=whole)

    async def aclose(self) -> None:
        """Drop everything, in the inner cache too; the embedder is its owner's to close."""
        await self._inner.aclose()
        with self._lock:
            self._underway.clear()
            self._partitions.clear()

    def __len__(self) -> int:
        return self._partitions.count

    def _partition(self, scope: Scope) -> Partition:
        return self._partitions.of(self._rules.partition(scope), scope)

    async def _embedded(self, scope: Scope, text: str) -> Vectors | None:
        try:
            return await self._embedder.aembed_query(text)
        except EmbedderError as error:
            self._emit("cache.degraded", scope, error=type(error).__name__)
            return None

    async def _same(self, scope: Scope, kept: Answer, said: Answer) -> bool | None:
        """Whether two answers say the same; None when nobody can tell."""
        try:
            return await self._comparison.asame(kept.message.content, said.message.content)
        except (
            Exception
        ) as error:  # the user's `same` may raise anything; it must not cost the answer
            self._emit("cache.degraded", scope, error=type(error).__name__)
            return None

    def _emit(self, name: str, scope: Scope, **data: object) -> None:
        if self._hooks:
            emit(self._hooks, Event(name, scope.key, data=data))
