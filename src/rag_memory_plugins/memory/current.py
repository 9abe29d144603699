"""What holds, where turns are looked for and contexts made: lines of facts, and outdated turns last."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.memory.evidence_text import is_past, state_of
from rag_memory_plugins.memory.rendering import day_line
from rag_memory_plugins.ports import FactQuery
from rag_memory_plugins.results import SearchResult, SummaryLine

if TYPE_CHECKING:
    from datetime import datetime

    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.ports import Fact

__all__ = ["about_the_past", "acurrent", "aoutdated", "demoted"]

RELEVANT: Final = 16
"""Facts of a context beside the pinned ones: about what an eighth of 2,000 tokens has room for."""
_PAST: Final = re.compile(
    r"\b(?:was|were|did|had|used\s+to|before|previous(?:ly)?|former(?:ly)?|earlier|original(?:ly)?"
    r"|initial(?:ly)?|back\s+then|ago|until|no\s+longer|any\s?more|chang(?:ed?|es)|histor(?:y|ical)"
    r"|last\s+(?:week|month|year|spring|summer|autumn|fall|winter|time)|(?:19|20)\d\d|past"
    r"|at\s+(?:that|the)\s+time|switched|moved)\b",
    re.IGNORECASE,
)


def about_the_past(query: str) -> bool:
    """Whether a question may ask for what held before.

    >>> about_the_past("Where did Ann live before?"), about_the_past("Where does Ann live?")
    (True, False)
    """
    return _PAST.search(query) is not None


async def acurrent(
    conversation: Conversation, query: str, limit: int, outdated: Sequence[int] = ()
) -> list[SummaryLine]:
    """Lines for a context: pinned facts, then what matters for the query; on the portal.

    What holds in place of what the `outdated` messages say comes before all that. Of a question
    about the past, what held before too, marked as past.
    """
    memory, namespace = conversation.memory, conversation.namespace
    if memory.fact_source is not None:
        return list(await memory.fact_source.acurrent(namespace, query, limit))
    store, scope, facts = memory.fact_store, namespace.scope, conversation.facts
    if not await store.aany(scope):
        return []
    now = facts.clock()
    pinned = [item.seq for item in await memory.log.apins(scope.of_facts)]
    lines: dict[str, SummaryLine] = {}
    if pinned or outdated:
        asked = FactQuery(now, found=pinned, said=outdated, limit=limit, min_confidence=0.0)
        lines |= {fact.id: _line(fact, now) for fact in await store.aheld(scope, asked)}
    if query.strip():
        found, _ = await facts.afound(query, RELEVANT)
        past = about_the_past(query)
        asked = FactQuery(now, found=list(found), limit=RELEVANT, past=past)
        lines |= {fact.id: _line(fact, now) for fact in await store.aheld(scope, asked)}
    return [*lines.values()][:limit]


async def aoutdated(conversation: Conversation, seqs: Sequence[int]) -> list[int]:
    """Those of these messages whose every value has given way, in the order given; on the portal."""
    memory, scope = conversation.memory, conversation.namespace.scope
    found = await memory.fact_store.aoutdated(scope, seqs, conversation.facts.clock())
    return [seq for seq in dict.fromkeys(seqs) if seq in found]


def _line(fact: Fact, now: datetime) -> SummaryLine:
    """The fact as one line."""
    state = state_of(fact, now)
    if fact.valid_to is not None and is_past(fact, now):
        state += f", until {day_line(fact.valid_to.date(), with_year=True)}"
    ids = tuple(source.id for source in fact.sources)
    return SummaryLine(f"{state}: {fact.text}", fact.valid_from, ids)


def demoted(result: SearchResult, outdated: Collection[int]) -> SearchResult:
    """The result with turns behind the others whose every value has given way.

    Not of a question about the past. Scores stay what they are: they say how well a turn matches.
    """
    if not outdated or about_the_past(result.query):
        return result
    ordered = sorted(result.hits, key=lambda hit: hit.seq in outdated)  # a stable sort
    return replace(result, hits=tuple(ordered))
