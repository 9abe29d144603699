"""Why a request went where it went: one `Decision` a request, the last thousand kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput

if TYPE_CHECKING:
    from rag_memory_plugins.router.policy import Ask, Ranked

__all__ = ["Attempted", "Decision", "Decisions"]

KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Attempted:
    """One model asked once. `outcome` is "ok", "failed", "rejected", "interrupted" or "cancelled".

    Times are in seconds, `first` to the first piece (None: there was none); `cost` in US dollars.
    """

    model: str
    outcome: str
    seconds: float
    first: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Decision:
    """What became of a request: what was known, who was asked in what order, and who answered.

    `rounds` has an order for each time that everybody was looked at; more than one where all had
    failed and the router waited. `str()` is a text for people.
    """

    request_id: str
    asks: list[Ask] = field(default_factory=list)
    rounds: list[Ranked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    attempts: list[Attempted] = field(default_factory=list)
    model: str = ""
    cached: str = ""
    outcome: str = "running"

    def __str__(self) -> str:
        lines = [f"request {self.request_id}: {self.outcome}"]
        if self.cached:
            lines.append(f"  answered from the {self.cached} cache")
        # Not strict: a round may be under way in another thread.
        for ask, ranked in zip(self.asks, self.rounds, strict=False):
            order = " > ".join(model.name for model in ranked.order) or "nobody"
            hard = "" if ask.hardness is None else f", hardness {ask.hardness:.2f}"
            budget = "" if ask.budget == "free" else f", budget {ask.budget}"
            lines.append(f"  {ask.mode}, about {ask.tokens} tokens{hard}{budget}: {order}")
            lines += [f"    not {item.model}: {item.reason}" for item in ranked.skipped]
        lines += [f"    {reason}" for reason in self.refused]
        for tried in self.attempts:
            tokens = f"{tried.input_tokens} + {tried.output_tokens} tokens"
            first = "" if tried.first is None else f", first piece {tried.first:.3f} s"
            why = f": {tried.error}" if tried.error else ""
            lines.append(
                f"  {tried.model} {tried.outcome} in {tried.seconds:.3f} s{first}, {tokens}, "
                f"${tried.cost:.6f}{why}"
            )
        return "\n".join(lines)


class Decisions:
    """The latest decisions by request id, from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._all: OrderedDict[str, Decision] = OrderedDict()
        self._lock = Lock()

    def begin(self, request_id: str) -> Decision:
        decision = Decision(request_id)
        with self._lock:
            self._all[request_id] = decision
            self._all.move_to_end(request_id)  # an id may be used again
            if len(self._all) > self._kept:
                self._all.popitem(last=False)
        return decision

    def forked(self) -> None:
        """In a child of fork(): whoever held the lock is in the parent."""
        self._lock = Lock()

    def of(self, request_id: str) -> Decision:
        with self._lock:
            decision = self._all.get(request_id)
        if decision is None:
            remedy = f"it is not among the last {self._kept} requests of this router"
            raise InvalidInput("request_id", request_id, remedy)
        return decision
