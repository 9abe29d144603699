"""`Router`: one chat model made of many."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from rag_memory_plugins.chat import Answer, ChatRequest, Delta, Wanted
from rag_memory_plugins.errors import (
    InvalidInput,
    ProviderError,
    nearest,
)
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import Portal, blocking, get_portal, strict
from rag_memory_plugins.router.answers import (
    Opened,
    as_piece,
    check_end,
    check_use,
    interrupted,
    open_stream,
)
from rag_memory_plugins.router.attempt import Attempt, record_cached
from rag_memory_plugins.router.breaker import BreakerRules
from rag_memory_plugins.router.breakers import Breakers
from rag_memory_plugins.router.decisions import Decision, Decisions
from rag_memory_plugins.router.entries import cache_of, entries_of, in_mode
from rag_memory_plugins.router.estimating import Estimator, LengthEstimator
from rag_memory_plugins.router.ledger import Ledger
from rag_memory_plugins.router.models import Capabilities, HealthChecked, Model, Sized
from rag_memory_plugins.router.parts import Parts, check_parts
from rag_memory_plugins.router.pieces import pieces_of
from rag_memory_plugins.router.policy import MODES, Mode, Policy, RoutePolicy
from rag_memory_plugins.router.route import Route
from rag_memory_plugins.router.running import Run, Running
from rag_memory_plugins.router.seen import Seen
from rag_memory_plugins.router.sizing import request_counter
from rag_memory_plugins.tokens import make_counter
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from typing_extensions import Self  # a fifth of the router's import

    from rag_memory_plugins.ports import ChatModel, SharedState, TokenCounter
    from rag_memory_plugins.router.bound import BoundRouter
    from rag_memory_plugins.router.budgets import Budgets
    from rag_memory_plugins.router.caching import AnswerCache, Cached
    from rag_memory_plugins.router.rates import RateLimits

__all__ = ["Router"]

T = TypeVar("T")
_END: Final = object()
_routers: Final[weakref.WeakSet[Router]] = weakref.WeakSet()


class Router:
    """One chat model made of many: it asks the next when one fails, and says what it did.

    `models` are `Model`s, or chat models as they are. `mode`: "local-first" asks local models first
    when the prompt is short enough, "local-only" never asks another, "cloud-only" no local one.
    `policy` orders those that can answer. `timeout` (seconds) is for a whole request, all attempts
    included; when all have failed the router waits up to `patience` seconds for one to recover, and
    looks at everybody up to `rounds` times. `shared` lets processes share what they know of
    failures. With `budgets` an answer without `max_tokens` has at most `answer_tokens`.

    Any loop and any thread may ask; `answer`, `chat` and `stream` are the sync faces. Raises
    `AllModelsFailed`, `NoModelFits`, `StreamInterrupted` after the first piece, and what no other
    model could do better: `BadRequest`, `ProviderAuth`, `ContentFiltered`, `ContextOverflow`.

    >>> from rag_memory_plugins.errors import ProviderLimited
    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> limited = Model(ScriptedModel(ProviderLimited("429"), name="first"), "first")
    >>> router = Router([limited, ScriptedModel("Hello!", name="second")], mode="cloud-only")
    >>> router.chat([Message("user", "Hi")]).content
    'Hello!'
    """

    @strict
    def __init__(
        self,
        models: Sequence[Model | ChatModel],
        *,
        mode: Mode = "local-first",
        policy: Policy | None = None,
        timeout: float = 120.0,
        patience: float = 20.0,
        rounds: int = 4,
        answer_tokens: int = 4_096,
        counter: str | TokenCounter | None = None,
        shared: SharedState | None = None,
        breaker: BreakerRules | None = None,
        rates: RateLimits | None = None,
        budgets: Budgets | None = None,
        ledger: Ledger | None = None,
        cache: AnswerCache | Literal["exact"] | None = None,
        quality: Estimator | None = None,
        hooks: Sequence[Hook] = (),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        entries = entries_of(models)
        if mode not in MODES:
            raise InvalidInput("mode", mode, nearest(str(mode), MODES))
        for field, value in (("timeout", timeout), ("patience", patience)):
            if not isinstance(value, (int, float)) or not value >= 0:
                raise InvalidInput(field, value, "pass seconds, a number >= 0")
        allowed = tuple([model for model in entries if in_mode(model, mode)])
        if not allowed:
            raise InvalidInput("models", entries, f"none of them may be asked in mode {mode!r}")
        check_parts(policy=policy, budgets=budgets, rates=rates, ledger=ledger, quality=quality)
        answers = cache_of(cache, allowed, tuple(hooks))
        unpriced = [model for model in allowed if model.price is None]
        if budgets is not None and unpriced:
            remedy = (
                "there are budgets and its price is not known; pass price=Price(...), or "
                "pip install 'rag-memory-plugins[prices]'"
            )
            raise InvalidInput("models", unpriced[0].name, remedy)
        tokens = make_counter(counter)
        self.models = entries
        self.mode: Mode = mode
        self._running = Running()
        self._parts = Parts(
            models=allowed,
            mode=mode,
            policy=policy or RoutePolicy(),
            breakers=Breakers(shared, rules=breaker, clock=now, hooks=tuple(hooks)),
            rates=rates,
            budgets=budgets,
            ledger=ledger,
            decisions=Decisions(),
            cache=answers,
            health={
                model.name: model.chat.ahealth
                for model in allowed
                if isinstance(model.chat, HealthChecked)
            },
            fits={
                model.name: model.chat.fits for model in allowed if isinstance(model.chat, Sized)
            },
            seen={model.name: Seen(model.concurrency) for model in allowed},
            quality=quality or LengthEstimator(),
            count=tokens.count,
            count_request=request_counter(tokens, getattr(policy, "local_tokens", 3_000)),
            timeout=timeout,
            patience=patience,
            rounds=rounds,
            answer_tokens=answer_tokens,
            hooks=tuple(hooks),
            clock=clock,
            now=now,
            sleep=sleep,
        )
        _routers.add(self)

    def __repr__(self) -> str:
        return f"Router({[model.name for model in self.models]}, mode={self.mode!r})"

    @property
    def name(self) -> str:
        return f"router({', '.join(model.name for model in self._parts.models)})"

    @property
    def portal(self) -> Portal:
        return get_portal()

    @property
    def candidates(self) -> tuple[Model, ...]:
        """The models that may be asked in this mode."""
        return self._parts.models

    @property
    def timeout(self) -> float:
        """Seconds that a whole request may take, all attempts included."""
        return self._parts.timeout

    @property
    def window(self) -> int | None:
        """Tokens that every candidate holds; None if nobody says."""
        windows = [model.window for model in self._parts.models if model.window is not None]
        return min(windows, default=None)

    @property
    def capabilities(self) -> Capabilities:
        """What at least one candidate can do: a request goes to those that can do all it needs."""
        can = [model.capabilities for model in self._parts.models]
        return Capabilities(
            tools=any(each.tools for each in can),
            schema=any(each.schema for each in can),
            vision=any(each.vision for each in can),
            streaming=any(each.streaming for each in can),
        )

    async def achat(
        self, messages: Sequence[Message] | str, *, max_tokens: int | None = None
    ) -> Message:
        """The answer to some messages, on nobody's behalf."""
        return (await self.aanswer(ChatRequest.of(messages, max_tokens=max_tokens))).message

    async def aanswer(self, request: Wanted) -> Answer:
        """The whole answer. Nothing of it is seen before it is whole, so any fault may move on.

        A text, or messages, is a request with nothing else in it.
        """
        if not isinstance(request, ChatRequest):
            request = ChatRequest.of(request)
        with self._asked(request) as (run, decision):
            with run.awaiting():
                found = await self._look(request, decision)
                if found is not None and not found.sampled:
                    return replace(found.answer, request_id=request.id)
                route = Route(self._parts, request, decision)
                answer = await route.arun(lambda attempt: self._whole(route, attempt))
                await self._keep(request, found, answer)
            decision.model = answer.model
            return answer

    async def aroute(
        self, request: ChatRequest, ask: Callable[[Attempt, float], Awaitable[T]]
    ) -> T:
        """What `ask` returned, which asks the model of one attempt after another in its own way.

        It is given an attempt and the seconds that are left. It settles the attempt that succeeds;
        what it raises is judged as any model's error, and the caches are passed by.
        """
        with self._asked(request) as (run, decision):
            with run.awaiting():
                route = Route(self._parts, request, decision)
                result = await route.arun(lambda attempt: ask(attempt, route.remaining))
            decision.model = decision.attempts[-1].model
            return result

    @contextmanager
    def _asked(self, request: ChatRequest) -> Iterator[tuple[Run, Decision]]:
        """A request while it runs: it can be cancelled by its id, and ends in its decision.

        An id that runs is refused before anything is written about the new request.
        """
        run = self._running.begin(request.id)
        decision = self._parts.decisions.begin(request.id)
        try:
            yield run, decision
        except BaseException as error:
            decision.outcome = type(error).__name__
            raise
        else:
            decision.outcome = "answered"
        finally:
            self._running.end(run)

    async def _look(self, request: ChatRequest, decision: Decision) -> Cached | None:
        """What the cache has; a sampled hit is only compared with what a model says."""
        if self._parts.cache is None:
            return None
        found = await self._parts.cache.alook(request)
        if found is not None and not found.sampled:
            decision.cached, decision.model = found.kind, found.answer.model
            record_cached(self._parts, request, found)
        return found

    async def _keep(self, request: ChatRequest, found: Cached | None, answer: Answer) -> None:
        cache = self._parts.cache
        if cache is None:
            return
        try:
            if found is not None:
                await cache.acompare(request, found, answer)
            await cache.akeep(request, answer)
        except Exception as error:  # whatever a cache raises: the answer is there, and paid for
            scope = "" if request.scope is None else request.scope.key
            emit(self._parts.hooks, Event("router.not_kept", scope, data={"error": repr(error)}))

    async def _whole(self, route: Route, attempt: Attempt) -> Answer:
        gathered = attempt.gathered
        pieces = pieces_of(attempt.model, attempt.request, route.remaining, attempt.share)
        async with aclosing(pieces):
            async for delta in pieces:
                if attempt.first is None and delta.has_content:
                    attempt.has_begun()
                gathered.add(delta)
        check_end(attempt)
        answer = gathered.answer(
            model=attempt.model.name, native=gathered.native, request_id=attempt.request.id
        )
        check_use(attempt, answer)
        await attempt.asettle("ok")
        return answer

    async def astream(self, request: Wanted) -> AsyncGenerator[Delta, None]:
        """The answer in pieces. Before the first content another model may take over, then not.

        Closing the iterator closes the provider's connection. Raises `StreamInterrupted` when the
        answer breaks off.
        """
        if not isinstance(request, ChatRequest):
            request = ChatRequest.of(request)
        if not request.stream:
            request = replace(request, stream=True)
        with self._asked(request) as (run, decision):
            with run.awaiting():
                found = await self._look(request, decision)
            if found is not None and not found.sampled:
                yield as_piece(found.answer)
                return
            with run.awaiting():
                route = Route(self._parts, request, decision)
                opened = await route.arun(lambda attempt: open_stream(route.remaining, attempt))
            run.close = opened.astop
            decision.model = opened.attempt.model.name
            # An abandoned `async for` leaves its generator open; the provider would go on.
            async with aclosing(self._read(run, opened)) as pieces:
                async for delta in pieces:
                    yield delta
            if self._parts.cache is not None:
                answer = opened.attempt.gathered.answer(model=decision.model)
                await self._keep(request, found, answer)

    async def _read(self, run: Run, opened: Opened) -> AsyncGenerator[Delta, None]:
        attempt, rest = opened.attempt, opened.rest
        try:
            for delta in opened.begun:
                yield delta
            while True:
                with run.awaiting():
                    delta = await anext(rest, _END)  # type: ignore[arg-type]
                if delta is _END:
                    break
                attempt.gathered.add(delta)
                yield delta
            if run.stopped:  # its stream was closed under it
                raise run.error()
            check_end(attempt)
            await attempt.asettle("ok")
        except ProviderError as error:
            await attempt.asettle("interrupted", error)
            raise interrupted(attempt, error) from error
        except BaseException as error:
            await attempt.asettle("cancelled", error)
            raise
        finally:
            await run.aclose()

    def stream(self, request: Wanted) -> Iterator[Delta]:
        """Sync form of `astream`."""
        pieces = self.astream(request)
        reading: asyncio.Task[object] | None = None

        async def step() -> object:
            nonlocal reading
            reading = asyncio.current_task()
            return await anext(pieces, _END)

        async def close() -> None:
            if reading is not None and not reading.done():  # Ctrl-C came: it must unwind first
                if not getattr(reading, "cancelling", int)():  # 3.10 does not say; again, then
                    reading.cancel()
                await asyncio.wait([reading])
            await pieces.aclose()

        try:
            while (delta := self.portal.call(step(), "stream()")) is not _END:
                yield delta  # type: ignore[misc]
        finally:
            if self.portal.is_current_thread:  # it was dropped there, by the collector
                asyncio.run_coroutine_threadsafe(close(), self.portal.loop)
            else:
                self.portal.call(close(), "stream()")

    def cancel(self, request_id: str) -> bool:
        """Cancel a running request, from any thread; False if there is none of this id.

        Whoever waits for it gets `RequestCancelled`; the provider's connection is closed at once.
        """
        return self._running.cancel(request_id)

    def explain(self, request_id: str) -> Decision:
        """Why a request went where it went: `print` it. The last 1,000 are kept."""
        return self._parts.decisions.of(request_id)

    def bound(self, scope: Scope) -> BoundRouter:
        """This router on behalf of a scope, as a `ChatModel`."""
        from rag_memory_plugins.router.bound import BoundRouter

        return BoundRouter(self, scope)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def aclose(self) -> None:
        """Close the models. What runs is not waited for; a ledger is its maker's to close."""
        async with AsyncExitStack() as closing:  # each, whatever another raises
            closing.push_async_callback(self._parts.breakers.adrain)
            for model in reversed(self.models):
                closing.push_async_callback(model.chat.aclose)

    def _forked(self) -> None:
        self._running.forked()
        self._parts.decisions.forked()
        self._parts.breakers.forked()
        for seen in self._parts.seen.values():
            seen.forked()

    answer = blocking(aanswer)
    chat = blocking(achat)
    close = blocking(aclose)


def _after_fork() -> None:
    """A child may go on with its parent's routers; what runs in the parent is not its own."""
    for router in list(_routers):
        router._forked()  # noqa: SLF001 # its own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
