"""One context of a conversation, from what is read to what is packed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.memory.arguments import MAX_HITS
from rag_memory_plugins.memory.context import Material, Settings, assemble
from rag_memory_plugins.memory.current import acurrent, aoutdated, demoted
from rag_memory_plugins.memory.draft import checked_line
from rag_memory_plugins.memory.recalling import LONG
from rag_memory_plugins.results import Context, SearchResult, SummaryLine

if TYPE_CHECKING:
    from rag_memory_plugins.budget import TokenBudget
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.ports import SessionView

__all__ = ["amade"]

FACTS: Final = 100
PASSAGE: Final = 20
"""Tokens of a short passage with its line: as many passages are looked for as have room, and their
messages with them."""
MOST_PASSAGES: Final = 256
SHORT: Final = 40
MORE: Final = 40
"""Messages that are looked for beyond what has room: short ones come before long ones."""
MAX_TOKENS: Final = 10**9
OPEN_SHARE: Final = 0.7
"""Of a budget that states no share of recent turns, so much is read of them at most."""


def _looked_at(budget: TokenBudget) -> int:
    """Tokens of recent turns that are read: what their part may ever take."""
    if budget.recent is None:
        return int(budget.total * OPEN_SHARE)
    flow = (budget.facts or 0) + (budget.summary or 0)
    return budget.recent + flow + budget.question if budget.recent else 0


def _usual(view: SessionView) -> int:
    """Tokens of a message of the session, by its last ones; short where there are none."""
    sizes = [item.tokens for item in view.recent]
    return max(SHORT, sum(sizes) // len(sizes) if sizes else 0)


def _wanted(room: int, usual: int) -> tuple[int, int]:
    """(messages, passages) to look for: as many as have room, and of messages some more.

    Where messages are short, a passage is mostly a whole one. Looking for twice as many of either
    finds no more of LoCoMo's evidence (`python -m benchmarks tokens --locomo`).
    """
    passage = PASSAGE if usual > LONG else SHORT
    return min(MAX_HITS, MORE + room // usual), min(MOST_PASSAGES, max(1, room // passage))


async def amade(
    conversation: Conversation,
    query: str,
    settings: Settings,
    search: Callable[..., Awaitable[SearchResult]],
) -> Context:
    """Read the session, search for `query`, and pack both; nothing grows with the history."""
    memory, namespace = conversation.memory, conversation.namespace
    budget = settings.budget
    whole = MAX_TOKENS if settings.mode == "full" else settings.modes.full_up_to
    view = await memory.log.aview(namespace, _looked_at(budget), settings.strategy.goal, whole)
    found = SearchResult(query, (), {})
    if budget.retrieved != 0 and query.strip():
        room = budget.available if budget.retrieved is None else budget.retrieved
        hits, focus = _wanted(room, _usual(view))
        window = settings.strategy.window
        found = await search(hits, recall=settings.strategy.recall, focus=focus, neighbours=window)
    facts: list[SummaryLine] = []
    degraded: list[str] = list(found.degraded)
    anchors = [item.seq for item in (*view.pins, *view.goal)]
    recent = [item.seq for item in view.recent[::-1]]
    outdated = await aoutdated(conversation, [*anchors, *(h.seq for h in found.hits), *recent])
    found = demoted(found, set(outdated))
    if budget.facts != 0:
        try:
            found_facts = await acurrent(conversation, query, FACTS, outdated)
            facts = [checked_line(line) for line in found_facts]
        except Exception as error:  # a source of a user's may do anything; the turn goes on
            degraded.append(f"facts: {error!r}")
    items = (*view.pins, *view.recent)
    groups = {item.group for item in items if item.group is not None}
    groups |= {hit.group for hit in found.hits if hit.group is not None}
    members = await memory.log.agroups(namespace.scope, sorted(groups)) if groups else []
    material = Material(view, found.hits, members, facts, frozenset(outdated))
    pack = partial(assemble, query, material, settings, memory.counter, conversation.fence)
    context = await memory.portal.acompute(pack)
    if view.summary is not None and any(part.name == "summary" for part in context.parts):
        degraded += view.summary.degraded
    if (failed := memory.summary_failed(namespace)) and context.mode != "full":
        degraded.append(failed)
    degraded += context.degraded
    return replace(context, lanes=found.lanes, degraded=tuple(dict.fromkeys(degraded)))
