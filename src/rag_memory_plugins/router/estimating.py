"""How much a stronger model is worth for a request: by its length, or by what was seen of answers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.portal import blocking, get_portal, on_portal
from rag_memory_plugins.router.quality import prior

if TYPE_CHECKING:
    from rag_memory_plugins.chat import ChatRequest
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import Embedder
    from rag_memory_plugins.router.examining import QualityReport
    from rag_memory_plugins.router.outcomes import Outcomes

__all__ = ["Estimator", "LengthEstimator", "OutcomeEstimator", "question_of"]


class Estimator(Protocol):
    """Says how hard a request is, from 0 to 1. Asked only by a policy that wants to know."""

    async def ahardness(self, request: ChatRequest) -> float:
        """0 for what any model answers, 1 for what only the strongest does."""


def question_of(request: ChatRequest) -> str:
    """The last thing the user said, which is what the answer must be good for."""
    for message in reversed(request.messages):
        if message.role == "user":
            return message.content
    return request.messages[-1].content


class LengthEstimator:
    """Longer questions are harder: the one signal that held on every data set tried.

    >>> import asyncio
    >>> from rag_memory_plugins.chat import ChatRequest
    >>> from rag_memory_plugins.types import Message
    >>> asyncio.run(LengthEstimator().ahardness(ChatRequest((Message("user", "x" * 1_000),))))
    0.5
    """

    async def ahardness(self, request: ChatRequest) -> float:
        """0.5 for a question of 1,000 characters."""
        return prior(question_of(request))


class OutcomeEstimator:
    """Hardness by the tenant's own answers to like questions, where those have proved to tell it.

    `arecord` tells what answers to a request were worth, from 0 (asked again, of no use) to 1
    (accepted), by the weaker and the stronger model, or a judge's score; requests that both
    answered are what it learns from, and below 200 of them, or where the tenant's questions are
    unlike those, it goes by length. `report` says how well it tells, with an interval. Nothing is
    embedded before that. Erases must reach it: `forget`.

    >>> from rag_memory_plugins.namespace import Scope
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> OutcomeEstimator(WordEmbedder()).report(Scope("acme", "ann")).n
    0
    """

    def __init__(self, embedder: Embedder, *, outcomes: Outcomes | None = None) -> None:
        from rag_memory_plugins.router.outcomes import Outcomes

        self._embedder = embedder
        self._outcomes = outcomes or Outcomes(embedder.dimension)

    @property
    def portal(self) -> Portal:
        return get_portal()

    async def ahardness(self, request: ChatRequest) -> float:
        """By the tenant's outcomes if they have proved themselves, else by length."""
        question = question_of(request)
        value, scope = prior(question), request.scope
        if scope is None or not self._outcomes.is_on(scope):
            return value
        vector = await self.portal.acall(self._embedder.aembed_query(question))
        return self._outcomes.estimate(scope, vector, value).value

    @on_portal
    async def arecord(
        self, request: ChatRequest, *, weak: float | None = None, strong: float | None = None
    ) -> None:
        """What the answers to a request were worth; None for a model that did not answer.

        Raises `InvalidInput` for a request without a scope, `EmbedderError`.
        """
        scope = request.scope
        if scope is None:
            raise InvalidInput("request.scope", None, "outcomes belong to a tenant; pass scope=")
        question = question_of(request)
        vector = await self._embedder.aembed_query(question)
        due = self._outcomes.record(scope, vector, prior(question), weak=weak, strong=strong)
        if due:
            await self.portal.acompute(functools.partial(self._outcomes.report, scope))

    @on_portal
    async def areport(self, scope: Scope) -> QualityReport:
        """Measure how well the tenant's outcomes tell, and use them or not from now on."""
        return await self.portal.acompute(functools.partial(self._outcomes.report, scope))

    def forget(self, scope: Scope) -> int:
        """Drop what is kept of a user; return of how many requests."""
        return self._outcomes.forget(scope)

    record = blocking(arecord)
    report = blocking(areport)
