"""One context of a conversation, from what is read to what is packed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.memory.arguments import MAX_HITS
from rag_memory_plugins.memory.context import Material, Settings, assemble
from rag_memory_plugins.results import Context, SearchResult, SummaryLine

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["amade"]

FACTS: Final = 100
_SHORTEST: Final = 8
"""Tokens of a short message: how many recent ones are read follows from the budget alone."""


async def amade(
    conversation: Conversation,
    query: str,
    settings: Settings,
    search: Callable[..., Awaitable[SearchResult]],
) -> Context:
    """Read the session, search for `query`, and pack both; nothing grows with the history."""
    memory, namespace = conversation.memory, conversation.namespace
    budget = settings.budget
    most = min(MAX_HITS, 32 + budget.total // _SHORTEST) if budget.recent != 0 else 0
    view = await memory.log.aview(namespace, most, settings.strategy.goal)
    found = SearchResult(query, (), {})
    if budget.retrieved != 0 and query.strip():
        # Twice as many as fit of the usual length: short ones are taken before long ones.
        room = budget.available if budget.retrieved is None else budget.retrieved
        hits = min(MAX_HITS, 40 + room // 20)
        found = await search(hits, recall=settings.strategy.recall)
    facts: list[SummaryLine] = []
    degraded: list[str] = list(found.degraded)
    if memory.facts is not None and budget.facts != 0:
        try:
            facts = list(await memory.facts.acurrent(namespace, query, FACTS))
        except Exception as error:  # a source of a user's may raise anything; the turn goes on
            degraded.append(f"facts: {error!r}")
    items = (*view.pins, *view.recent)
    groups = {item.group for item in items if item.group is not None}
    groups |= {hit.group for hit in found.hits if hit.group is not None}
    whole = await memory.log.agroups(namespace.scope, sorted(groups)) if groups else []
    material = Material(view, found.hits, whole, facts)
    pack = partial(assemble, query, material, settings, memory.counter, conversation.fence)
    context = await memory.portal.acompute(pack)
    if view.summary is not None and any(part.name == "summary" for part in context.parts):
        degraded += view.summary.degraded
    degraded += context.degraded
    return replace(context, lanes=found.lanes, degraded=tuple(dict.fromkeys(degraded)))
