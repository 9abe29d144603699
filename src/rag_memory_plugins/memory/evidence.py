"""`Evidence`: what a memory knows about a question, of turns, facts and states, each with its source.

```text
question  -> the time it asks about, if it names one
          -> turns that match | facts that matter, with what they replaced
          -> entities that it names, or that these are about -> their states at that time
all       -> lines with marks, in a fence, within a budget; what failed stands in `degraded`
```
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from rag_memory_plugins.errors import InvalidBudget, InvalidInput, InvalidQuery, shorten
from rag_memory_plugins.events import Event
from rag_memory_plugins.llm.asking import sendable
from rag_memory_plugins.memory.arguments import (
    MAX_HITS,
    check_limit,
    checked_conversation,
    checked_level,
)
from rag_memory_plugins.memory.asof import Interval, asked_interval
from rag_memory_plugins.memory.candidates import candidate_names
from rag_memory_plugins.memory.citing import Source
from rag_memory_plugins.memory.current import about_the_past
from rag_memory_plugins.memory.evidence_text import is_past, written
from rag_memory_plugins.portal import blocking_function, strict
from rag_memory_plugins.ports import Fact, FactQuery
from rag_memory_plugins.results import Hit
from rag_memory_plugins.retrieval.lexical import terms_of

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.types import Level

__all__ = ["TOKENS", "Evidence", "agathered", "gathered"]

T = TypeVar("T")

TOKENS: Final = 1_500
"""Tokens of the text, unless another budget is given."""
_PAST: Final = 4
_NAMES: Final = 12
"""Names that are looked up: each costs a read."""
_ENTITIES: Final = 5
_STATES: Final = 20
"""States of one entity, those that share words with the question first."""


@dataclass(frozen=True, repr=False)
class Evidence:
    """What was found for a question.

    `as_of` is the moment that facts and states are of, None for now. `memories` are turns, best
    first; `facts` those that matter for the question, also values that held before where it asks
    for the past; `states` what holds of each entity that it is about, by the entity's name.
    `degraded` says what could not be read, and why.

    `text` shows as much as fits: what holds, what is past, what was said, a line each behind its
    mark, inside the conversation's fence; "" for nothing. `citations` gives the message or fact of
    every mark in it, and of no other; `tokens` counts it.
    """

    question: str
    as_of: datetime | None
    memories: tuple[Hit, ...]
    facts: tuple[Fact, ...]
    states: Mapping[str, tuple[Fact, ...]]
    degraded: tuple[str, ...]
    text: str
    tokens: int
    citations: Mapping[str, Source]

    def __repr__(self) -> str:
        found = (
            f"{len(self.memories)} memories, {len(self.facts)} facts, {len(self.states)} entities"
        )
        return f"Evidence({found}; {self.tokens} tokens)"


@strict
async def agathered(
    conversation: Conversation,
    question: str,
    *,
    as_of: datetime | None = None,
    limit: int = 10,
    level: Level = "user",
    budget: int = TOKENS,
) -> Evidence:
    """What the memory knows about `question`, with a mark a source.

    Facts and states are those of `as_of`, else of the day, month or year that the question names
    (its end, or now while it lasts), else those of now. Turns are searched whatever their time:
    what held then may have been told later. `limit` is of turns, and of facts. `level="session"`
    keeps the turns to this session; facts are the user's. The text has at most `budget` tokens.

    A part that fails costs itself: `degraded` names it. Raises `InvalidInput` (`InvalidQuery`,
    `InvalidBudget`) for arguments that are wrong.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add("My desk is beside the window", id="m1")
    ...     _ = ann.facts.insert("Ann", "lives in", "Porto", id="f1")
    ...     list(gathered(ann, "Where does Ann live, and where is her desk?").citations)
    ['[f:f1]', '[m:monday/m1]']
    >>> folder.cleanup()
    """
    conversation = checked_conversation(conversation)
    if not isinstance(question, str) or not question.strip():
        raise InvalidQuery("question", question, "pass the question, as a str")
    check_limit(limit)
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InvalidBudget("budget", budget, "pass tokens, as an int above 0")
    if as_of is not None and (not isinstance(as_of, datetime) or as_of.tzinfo is None):
        raise InvalidInput("as_of", as_of, "pass a datetime with a time zone")
    asked = _Asked(conversation, sendable(question), limit, checked_level(level), budget)
    return await conversation.portal.acall(asked.agathered(as_of))


gathered = blocking_function(agathered)


@dataclass(frozen=True)
class _Asked:
    """One question, and how much may be found for it."""

    conversation: Conversation
    question: str
    limit: int
    level: Level
    budget: int

    async def agathered(self, as_of: datetime | None) -> Evidence:
        started = time.perf_counter()
        now = self.conversation.facts.clock()
        interval = None if as_of is not None else asked_interval(self.question, now)
        if interval is not None:
            as_of = interval.moment(now)
        of_turns: list[str] = []
        of_facts: list[str] = []
        hits, facts = await asyncio.gather(
            _part("memories", self._amemories(of_turns), [], of_turns),
            _part("facts", self._afacts(as_of or now, interval, of_facts), [], of_facts),
        )
        degraded = [*of_turns, *of_facts]
        states: dict[str, tuple[Fact, ...]] = {}
        await _part("states", self._astates(states, facts, hits, as_of), None, degraded)
        known = {fact.id: fact for fact in (*facts, *(f for some in states.values() for f in some))}
        memory = self.conversation.memory
        text = written(
            self.conversation.fence,
            list(known.values()),
            hits,
            now=now,
            as_of=as_of,
            counter=memory.counter,
            budget=self.budget,
        )
        if (known or hits) and not text.text:
            degraded.append(f"budget: {self.budget} tokens have no room for any line")
        counts = {"memories": len(hits), "facts": len(known), "degraded": len(degraded)}
        seconds = time.perf_counter() - started
        scope = self.conversation.namespace.scope.key
        memory.emit(Event("evidence", scope, seconds, counts))
        found = (tuple(hits), tuple(facts), states, tuple(degraded))
        return Evidence(self.question, as_of, *found, *text)

    async def _amemories(self, degraded: list[str]) -> list[Hit]:
        """Turns that match; not the question itself, which its own turn may have stored before."""
        found = await self.conversation.asearch(
            self.question, self.limit, level=self.level, window=0
        )
        degraded += [f"memories: {reason}" for reason in found.degraded]
        asked = self.question.strip()
        texts = ((hit, hit.message.content.strip()) for hit in found.hits)
        return [hit for hit, text in texts if text and text != asked]

    async def _afacts(
        self, at: datetime, interval: Interval | None, degraded: list[str]
    ) -> list[Fact]:
        """What holds of what the question is about; of the past, what held before it too.

        Of an interval that is asked about, what held within it.
        """
        facts, scope = self.conversation.facts, self.conversation.namespace.scope
        store = self.conversation.memory.fact_store
        if not await store.aany(scope):
            return []
        # As `Facts.aquery` does, which gives no past values.
        found, reasons = await facts.afound(self.question, self.limit)
        degraded += [f"facts: {reason}" for reason in reasons]
        past = interval is not None or about_the_past(self.question)
        # Past values come with those that hold, and must not take their places.
        most = min(_PAST * self.limit, MAX_HITS) if past else self.limit
        held = await store.aheld(scope, FactQuery(at, found=list(found), limit=most, past=past))
        over = [fact for fact in held if is_past(fact, at)]
        if interval is not None:
            over = [f for f in over if f.valid_to is not None and f.valid_to > interval.start]
        return [f for f in held if not is_past(f, at)][: self.limit] + over[: self.limit]

    async def _astates(
        self,
        states: dict[str, tuple[Fact, ...]],
        facts: Sequence[Fact],
        hits: Sequence[Hit],
        as_of: datetime | None,
    ) -> None:
        """Fill in the states of the entities; those that were read stay when a later one fails."""
        if not await self.conversation.memory.fact_store.aany(self.conversation.namespace.scope):
            return
        entities, known = self.conversation.entities, set[str]()
        words = set(terms_of(self.question))
        for name in candidate_names(self.question, facts, hits)[:_NAMES]:
            if name.casefold() in known or len(states) == _ENTITIES:
                continue
            entity = await entities.afind(name)
            if entity is None:
                continue
            known |= {each.casefold() for each in entity.names}
            if held := await entities.astates(entity.name, as_of):
                states[entity.name] = _nearest(held, words)


def _nearest(held: Sequence[Fact], words: set[int]) -> tuple[Fact, ...]:
    def far(fact: Fact) -> int:
        return -len(words & set(terms_of(fact.text)))

    return tuple(sorted(held, key=far)[:_STATES])  # a stable sort: else the latest first


async def _part(name: str, work: Awaitable[T], empty: T, degraded: list[str]) -> T:
    """What the work gives, or `empty` where it fails."""
    try:
        return await work
    except Exception as error:  # a store, index or embedder of the caller's; the other parts stand
        degraded.append(f"{name}: {shorten(error)}")
        return empty
