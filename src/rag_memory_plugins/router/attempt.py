"""One model asked once: what it holds while it runs, and what is written when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from rag_memory_plugins.chat import ChatRequest, Gathered, Usage
from rag_memory_plugins.errors import ProviderError, shorten
from rag_memory_plugins.events import Event, emit
from rag_memory_plugins.namespace import SHARED
from rag_memory_plugins.router.decisions import Attempted, Decision
from rag_memory_plugins.router.faults import Fault, fault_of
from rag_memory_plugins.router.ledger import NANO, Entry, Ledger
from rag_memory_plugins.router.models import Model

if TYPE_CHECKING:
    from rag_memory_plugins.router.breaker import Permit
    from rag_memory_plugins.router.caching import Cached
    from rag_memory_plugins.router.money import Reservation
    from rag_memory_plugins.router.parts import Parts
    from rag_memory_plugins.router.rates import Taken

__all__ = ["Attempt"]


@dataclass(slots=True)
class _Held:
    """What an attempt must give back: a breaker's permit, a counted rate, reserved money."""

    permit: Permit | None = None
    taken: Taken | None = None
    reserved: Reservation | None = None


class Attempt:
    """One model asked once. Made by a `Route`; `request` is what this model is sent.

    Within `share` seconds its first content must come, because others are there to be asked.
    `gathered` fills while pieces come, so that a cancelled attempt knows what it has used.
    """

    __slots__ = (
        "_decision", "_parts", "_settled", "first", "gathered", "held", "model", "number",
        "request", "share", "started", "tokens",
    )  # fmt: skip

    def __init__(
        self, parts: Parts, decision: Decision, model: Model, request: ChatRequest, tokens: int
    ) -> None:
        self._parts = parts
        self._decision = decision
        self._settled = False
        self.model = model
        self.request = request
        self.tokens = tokens
        self.number = len(decision.attempts)
        self.held = _Held()
        self.gathered = Gathered()
        self.first: float | None = None
        self.share = inf
        self.started = parts.clock()

    def has_begun(self) -> None:
        """The first content has come, and nobody else can take over.

        It tells that who failed is back. Failures of who is not are forgotten when all has come:
        one that always breaks off would never have two in a row.
        """
        self.first = self._parts.clock() - self.started
        permit = self.held.permit
        if permit is not None and permit.probe:
            self._parts.breakers.succeeded(permit)

    @property
    def usage(self) -> Usage:
        """The provider's figures, else ours: the prompt as estimated, the text as counted."""
        known = self.gathered.usage
        if known is not None:
            return known
        calls = self.gathered.tool_calls
        text = self.gathered.text + self.gathered.reasoning
        text += "".join(call.name + call.arguments for call in calls)
        return Usage(self.tokens, self._parts.count(text) if text else 0, exact=False)

    async def asettle(self, outcome: str, error: BaseException | None = None) -> Fault | None:
        """Give back what was held, and write down how it ended. Only the first call counts."""
        if self._settled:
            return None
        self._settled = True
        parts, model = self._parts, self.model
        parts.seen[model.name].give_back()
        fault = fault_of(error) if isinstance(error, ProviderError) else None
        self._tell_breaker(outcome, fault)
        seconds = parts.clock() - self.started
        spent = outcome != "failed" or self.first is not None
        tokens, cost = self.tokens, 0.0
        try:
            usage = self.usage
            if not spent:
                usage = Usage(exact=usage.exact)  # a request that was refused costs nothing
            tokens, cost = usage.input + usage.output, model.cost(usage)
            if outcome == "ok":
                parts.seen[model.name].took(seconds)
            self._write(outcome, error, usage, cost, seconds)
        finally:
            await self._pay(spent, tokens, cost)
        return fault

    async def _pay(self, spent: bool, tokens: int, cost: float) -> None:
        rates, budgets, held = self._parts.rates, self._parts.budgets, self.held
        try:
            if rates is not None and held.taken is not None:
                if spent:
                    await rates.asettle(held.taken, tokens)
                else:  # that a provider is down is not the asker's doing
                    await rates.arelease(held.taken)
        finally:  # also when it is cancelled here
            if budgets is not None and held.reserved is not None:
                await budgets.asettle(held.reserved, round(cost * NANO))

    def _tell_breaker(self, outcome: str, fault: Fault | None) -> None:
        permit, breakers = self.held.permit, self._parts.breakers
        if permit is None:
            return
        if outcome in ("ok", "rejected"):
            breakers.succeeded(permit)
        elif fault is None or fault.trips == "unknown":
            breakers.cancelled(permit)
        elif fault.trips == "well":
            breakers.succeeded(permit)
        else:
            at_once = fault.trips == "at once"
            breakers.failed(permit, at_once=at_once, cool_down=fault.cool_down)

    def _write(
        self, outcome: str, error: BaseException | None, usage: Usage, cost: float, seconds: float
    ) -> None:
        parts, model, request = self._parts, self.model, self.request
        said = "" if error is None else shorten(str(error), 300)
        self._decision.attempts.append(
            Attempted(
                model.name, outcome, seconds, self.first, usage.input, usage.output, cost, said
            )
        )
        scope = request.scope
        if parts.ledger is not None:
            record(
                parts,
                parts.ledger,
                Entry(
                    request.id,
                    self.number,
                    parts.now() - seconds,
                    *_who(request),
                    model.provider,
                    model.name,
                    self.gathered.model or model.model,
                    usage.input,
                    usage.output,
                    usage.cached,
                    usage.exact,
                    round(cost * NANO),
                    self.first,
                    seconds,
                    outcome,
                    "" if error is None else type(error).__name__,
                ),
            )
        if parts.hooks:
            data = {
                "model": model.name,
                "outcome": outcome,
                "input": usage.input,
                "output": usage.output,
                "cost": cost,
                "first": self.first,
            }
            if error is not None:
                data["error"] = type(error).__name__
            key = "" if scope is None else scope.key
            emit(parts.hooks, Event("router.attempt", key, seconds, data))


def _who(request: ChatRequest) -> tuple[str, str]:
    """(tenant, user) for the ledger; the part of a scope's key that names the user."""
    scope = request.scope
    if scope is None:
        return "", ""
    return scope.tenant, "*" if scope.user is SHARED else str(scope.user)


def record(parts: Parts, ledger: Ledger, entry: Entry) -> None:
    """Write it down; an answer that is there is not lost because it could not be."""
    try:
        ledger.record(entry)
    except Exception as error:  # a user's ledger may raise anything; the event tells of it
        data = {"model": entry.model, "outcome": entry.outcome, "error": repr(error)}
        emit(parts.hooks, Event("router.not_recorded", entry.tenant, data=data))


def record_cached(parts: Parts, request: ChatRequest, found: Cached) -> None:
    """Write down an answer that cost nothing."""
    if parts.ledger is None:
        return
    name = found.answer.model
    model = next((model for model in parts.models if model.name == name), None)
    provider = "" if model is None else model.provider
    entry = Entry(
        request.id, 0, parts.now(), *_who(request), provider, name, "", 0, 0, 0, True, 0, None, 0.0,
        "cached", found.kind,
    )  # fmt: skip
    record(parts, parts.ledger, entry)
