"""One request's way through the models: rounds over an order, until one answers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from rag_memory_plugins.chat import ChatRequest, Usage
from rag_memory_plugins.errors import (
    AllModelsFailed,
    AnswerRejected,
    ChatModelError,
    ContextOverflow,
    ModelMissing,
    NoModelFits,
    ProviderError,
)
from rag_memory_plugins.router.attempt import Attempt
from rag_memory_plugins.router.breaker import Refused
from rag_memory_plugins.router.decisions import Decision
from rag_memory_plugins.router.faults import fault_of, provider_error
from rag_memory_plugins.router.ledger import NANO
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.policy import Ask, Candidate, Ranked
from rag_memory_plugins.router.seen import Seen, aplace

if TYPE_CHECKING:
    from rag_memory_plugins.router.budgets import Budgets
    from rag_memory_plugins.router.money import Reservation, Spent
    from rag_memory_plugins.router.parts import Parts
    from rag_memory_plugins.router.rates import Refused as Limited

__all__ = ["Route"]

T = TypeVar("T")
VARIANTS: Final = 8
"""Times that one model may be asked again at once, with a smaller variant of itself."""


class _NobodyNow(ChatModelError):
    """A round without an answer. `wait`: seconds until the next may do better, None for never."""

    def __init__(self, wait: float | None) -> None:
        super().__init__("nobody answered")
        self.wait = wait


class Route:
    """One request's way. `arun(ask)` asks one model after another until `ask` returns.

    `ask` gets an `Attempt` and may return before all has come: then whoever reads on settles it.
    """

    def __init__(self, parts: Parts, request: ChatRequest, decision: Decision) -> None:
        self._parts = parts
        self._request = request
        self._decision = decision
        self._end = parts.clock() + (request.timeout or parts.timeout)
        self._tokens = parts.count_request(request)
        self._hardness: float | None = None
        self._larger_than = 0
        self._errors: list[ProviderError] = []
        self._busy: list[Model] = []
        self._rejected: set[str] = set()  # whose answers were of no use: they will be again
        self._place: Seen | None = None  # where a place was waited for, and not used yet
        self._recovers: float | None = None
        self._waited = 0.0
        self._idle = 0
        self._spent: Spent | None = None
        self._limited: Limited | None = None

    @property
    def remaining(self) -> float:
        """Seconds until the whole request ends."""
        return self._end - self._parts.clock()

    async def arun(self, ask: Callable[[Attempt], Awaitable[T]]) -> T:
        """What `ask` returned. Raises what does not pass by waiting, or `AllModelsFailed`."""
        try:
            return await self._round(ask)
        except _NobodyNow as nobody:
            first: _NobodyNow | None = nobody
        # Not before it is needed: a good call pays nothing for what happens to a bad one.
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

        def wait(state: RetryCallState) -> float:
            return max(0.0, _wait_of(state) or 0.0)

        def stop(state: RetryCallState) -> bool:
            seconds = _wait_of(state)
            if seconds is None or state.attempt_number - self._idle >= self._parts.rounds:
                return True
            return seconds > min(self.remaining, self._parts.patience - self._waited)

        async def once_more() -> T:
            nonlocal first
            if first is not None:  # the round before was the first try
                failed, first = first, None
                raise failed
            return await self._round(ask)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_NobodyNow),
            wait=wait,
            stop=stop,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(once_more)
        except _NobodyNow as nobody:
            error = self._failure(nobody.wait)
        raise error from (self._errors[-1] if self._errors else None)

    async def _round(self, ask: Callable[[Attempt], Awaitable[T]]) -> T:
        """Ask everybody who may be asked now, once."""
        self._busy = []
        self._rejected = set()
        asked = False
        try:
            ranked = await self._rank()
            for number, model in enumerate(ranked.order, 1):
                others = any(not self._too_small(each) for each in ranked.order[number:])
                for _ in range(VARIANTS):
                    if self._too_small(model) or self.remaining <= 0:
                        break
                    attempt = await self._take(model)
                    if attempt is None:
                        break
                    asked = True
                    if others:  # one that hangs must leave them time
                        attempt.share = self.remaining / 2
                    self._free()
                    try:
                        return await ask(attempt)
                    except Exception as error:  # any client's; what does not pass is raised again
                        if not await self._failed(attempt, error):
                            break
                    except BaseException as error:  # cancelled, or the process ends; raised again
                        await attempt.asettle("cancelled", error)
                        raise
        finally:
            self._free()
        self._idle += not asked
        raise _NobodyNow(self._wait(ranked))

    def _free(self) -> None:
        """Give back a place that was waited for and is not needed."""
        if self._place is not None:
            place, self._place = self._place, None
            place.give_back()

    async def _failed(self, attempt: Attempt, error: Exception) -> bool:
        """Whether the same model is asked again; raises what another cannot do better."""
        model = attempt.model
        failure = provider_error(error, model.name)
        failure.model = failure.model or model.name
        fault = fault_of(failure)
        outcome = "failed"
        if isinstance(failure, AnswerRejected):
            outcome = "rejected"
            self._rejected.add(model.name)
        await attempt.asettle(outcome, failure)
        if not fault.moves_on:
            if failure is error:
                raise error
            raise failure from error
        self._errors.append(failure)
        if fault.larger:
            self._larger_than = max(self._larger_than, model.window or self._tokens)
        return fault.again

    def _too_small(self, model: Model) -> bool:
        return self._larger_than > 0 and (model.window or 0) <= self._larger_than

    async def _rank(self) -> Ranked:
        parts, request = self._parts, self._request
        if parts.policy.estimates and self._hardness is None:
            self._hardness = await parts.quality.ahardness(request)
        candidates = []
        for model in parts.models:
            health = parts.health.get(model.name)
            unwell = "" if health is None else await health()
            if not unwell and model.name in parts.fits:
                unwell = parts.fits[model.name](request)
            seen = parts.seen[model.name]
            left = getattr(model.chat, "tokens_left", None)
            candidates.append(
                Candidate(
                    model,
                    unwell,
                    parts.breakers.open_for(model.key),
                    seen.busy and seen is not self._place,
                    seen.seconds,
                    left,
                    None if left is None else getattr(model.chat, "tokens_back", None),
                )
            )
        ask = Ask(
            parts.mode,
            self._tokens,
            bool(request.tools),
            request.schema is not None,
            request.images,
            request.stream,
            request.max_tokens,
            self._hardness,
            await self._level(),
            self._larger_than,
        )
        ranked = parts.policy.rank(ask, candidates)
        if request.first:
            order = sorted(ranked.order, key=lambda model: model.name != request.first)
            ranked = Ranked(tuple(order), ranked.skipped)
        self._decision.asks.append(ask)
        self._decision.rounds.append(ranked)
        if ranked.skipped:  # a place is waited for where nothing else is in the way
            passing = {item.model for item in ranked.skipped if item.wait is not None}
            self._busy = [
                c.model for c in candidates if c.busy and not c.open_for and c.model.name in passing
            ]
        return ranked

    async def _level(self) -> str:
        budgets, scope = self._parts.budgets, self._request.scope
        if budgets is None:
            return "free"
        level = await budgets.alevel(scope)
        if level == "spent":
            from rag_memory_plugins.router.money import Reservation

            probe = await budgets.areserve(scope, 1)
            if isinstance(probe, Reservation):  # there is a little left after all
                await budgets.arelease(probe)
            else:
                self._spent = probe
        return level

    async def _take(self, model: Model) -> Attempt | None:
        """All that an attempt needs, or nothing and the reason in the decision."""
        parts = self._parts
        seen = parts.seen[model.name]
        if seen is self._place:
            self._place = None
        elif not seen.take():
            self._busy.append(model)
            self._refuse(model, "all its places are taken")
            return None
        attempt: Attempt | None = None
        try:
            attempt = await self._hold(model)
        finally:
            if attempt is None:
                seen.give_back()
        return attempt

    async def _hold(self, model: Model) -> Attempt | None:
        parts, request = self._parts, self._request
        permit = await parts.breakers.aallow(model.key, model.timeouts.total)
        if isinstance(permit, Refused):
            self._refuse(model, f"its breaker is {permit.why}")
            return None
        attempt: Attempt | None = None
        try:
            attempt = await self._count(model, request)
        finally:
            if attempt is None:
                parts.breakers.cancelled(permit)
        if attempt is not None:
            attempt.held.permit = permit
        return attempt

    async def _count(self, model: Model, request: ChatRequest) -> Attempt | None:
        """The attempt, counted by the limits and with its money held; None if this model's refuse.

        Raises `TooManyRequests` where every model would be refused.
        """
        parts, taken = self._parts, None
        reserved: Reservation | None = None
        if parts.rates is not None:
            # It is loaded then; a router without limits is imported without it.
            from rag_memory_plugins.router.rates import Refused as Limited

            got = await parts.rates.aacquire(request.scope, model.name, self._tokens)
            if isinstance(got, Limited):
                if "model" not in got.rule.apart and not got.rule.models:
                    raise got.error()
                self._limited = got
                self._refuse(model, str(got.error()))
                return None
            taken = got
        if parts.budgets is not None:
            if request.max_tokens is None:  # nobody knows what an answer without an end may cost
                request = replace(request, max_tokens=parts.answer_tokens)
            try:
                reserved = await self._reserve(parts.budgets, model, request)
            finally:
                if reserved is None and parts.rates is not None and taken is not None:
                    await parts.rates.arelease(taken)
            if reserved is None:
                return None
        attempt = Attempt(parts, self._decision, model, request, self._tokens)
        attempt.held.taken, attempt.held.reserved = taken, reserved
        return attempt

    async def _reserve(
        self, budgets: Budgets, model: Model, request: ChatRequest
    ) -> Reservation | None:
        from rag_memory_plugins.router.money import Reservation

        held = await budgets.areserve(request.scope, self._most(model, request))
        if isinstance(held, Reservation):
            return held
        self._spent = held
        self._refuse(model, str(held.error()))
        return None

    def _most(self, model: Model, request: ChatRequest) -> int:
        """Nano-dollars that a call may cost; its prompt was estimated within a fifth."""
        usage = Usage(self._tokens * 5 // 4 + 16, request.max_tokens or 0)
        return math.ceil(model.cost(usage) * NANO)

    def _refuse(self, model: Model, reason: str) -> None:
        self._decision.refused.append(f"not {model.name}: {reason}")

    def _wait(self, ranked: Ranked) -> float | None:
        """Seconds until another round may do better; None if it never will."""
        if self._spent is not None and not self._errors:
            return None  # money comes with the next window, and that is hours away
        busy = {model.name for model in self._busy}
        waits = [
            item.wait for item in ranked.skipped if item.wait is not None and item.model not in busy
        ]
        hopeless = busy | self._rejected
        tried = [m for m in ranked.order if m.name not in hopeless and not self._too_small(m)]
        if self._limited is not None:
            waits.append(self._limited.retry_after)
        waits += [self._parts.breakers.open_for(model.key) for model in tried]
        self._recovers = max(min(waits), self._backoff()) if waits else None
        return 0.0 if busy else self._recovers  # `_sleep` waits for a place

    def _backoff(self) -> float:
        return float(min(8.0, 0.25 * 2 ** len(self._decision.rounds)))

    async def _sleep(self, seconds: float) -> None:
        """Until somebody may be asked: `seconds`, or until one of the busy ones has a place."""
        if not self._busy:
            self._waited += seconds
            await self._parts.sleep(seconds)
            return
        most = self.remaining if self._recovers is None else min(self.remaining, self._recovers)
        self._place = await aplace([self._parts.seen[m.name] for m in self._busy], max(0.0, most))

    def _failure(self, wait: float | None) -> ChatModelError:
        skipped = "; ".join(f"{s.model}: {s.reason}" for s in self._decision.rounds[-1].skipped)
        if not self._errors:
            if self._spent is not None:
                return self._spent.error()
            if self._limited is not None:
                return self._limited.error()
            if wait is None:
                return NoModelFits(f"no model can answer this: {skipped or 'there is none'}")
            return AllModelsFailed(f"no model can be asked now: {skipped}", retry_after=wait)
        overflow = [e for e in self._errors if isinstance(e, (ContextOverflow, ModelMissing))]
        if len(overflow) == len(self._errors):
            return overflow[-1]
        said = "; ".join(str(error) for error in self._errors[-4:])
        remedy = "" if wait is None else f"; ask again in {wait:.1f} s"
        message = f"all models failed: {said}{'; ' if skipped else ''}{skipped}{remedy}"
        return AllModelsFailed(message, errors=self._errors, retry_after=wait)


def _wait_of(state: object) -> float | None:
    outcome = getattr(state, "outcome", None)
    error = None if outcome is None else outcome.exception()
    return error.wait if isinstance(error, _NobodyNow) else None
