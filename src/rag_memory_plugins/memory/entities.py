"""`Entities`: whom and what facts are about: names, states with their transitions, relations.

An entity is what several names mean; its states are its facts, by predicate; a fact whose object is
an entity too is an edge between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.facts.naming import APART, SAME
from rag_memory_plugins.memory.arguments import check_limit
from rag_memory_plugins.memory.facts import FactHistory, FactResult, Facts
from rag_memory_plugins.memory.graph import Graph
from rag_memory_plugins.memory.shelf import utc_now
from rag_memory_plugins.memory.timeline import Timeline
from rag_memory_plugins.portal import blocking, on_portal
from rag_memory_plugins.ports import Claim, FactQuery

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import Entity, FactDecision

__all__ = ["Entities"]

DEEPEST = 5


class Entities:
    """The entities of one user's facts, as a conversation reads them: `conversation.entities`.

    Names that mean one entity are found by rules: case, titles, initials, nicknames, spelling. A
    name that fits two stays by itself. `clock` tells the present.

    >>> from rag_memory_plugins import open_memory
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.facts.insert("Robert Lee", "works at", "Acme")
    ...     _ = ann.facts.insert("Bob", "lives in", "Porto")
    ...     print(ann.entities.find("Bob").names)
    ...     print([fact.object for fact in ann.entities.states("Robert")])
    ('Robert Lee', 'Bob')
    ['Porto', 'Acme']
    >>> folder.cleanup()
    """

    def __init__(self, conversation: Conversation, clock: Callable[[], datetime] = utc_now) -> None:
        self.conversation = conversation
        self.facts = Facts(conversation, clock)

    @property
    def portal(self) -> Portal:
        """Where the work is done."""
        return self.conversation.portal

    @on_portal
    async def aall(self, limit: int = 1_000) -> list[Entity]:
        """Entities that something was stated of, those with most facts first."""
        check_limit(limit)
        store, scope = self.conversation.memory.fact_store, self.conversation.namespace.scope
        return await store.aentities(scope, None, limit)

    @on_portal
    async def afind(self, name: str) -> Entity | None:
        """The entity that a name means; None for a name that fits none, or several."""
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput("name", name, "pass the name of an entity, as a str")
        store, scope = self.conversation.memory.fact_store, self.conversation.namespace.scope
        found = await store.aentities(scope, name, 1)
        return found[0] if found else None

    @on_portal
    async def astates(self, name: str, as_of: datetime | None = None) -> FactResult:
        """What holds of an entity now, or held at a time: one fact a key, several of rivals."""
        return await self.facts.aquery(subject=name, as_of=as_of, min_confidence=0.0, limit=1_000)

    @on_portal
    async def atransitions(self, name: str, key: str | None = None) -> FactHistory:
        """How the states of an entity, or one of them, came to be: old, new, why, when, by what."""
        return await self.facts.ahistory(name, key)

    @on_portal
    async def atimeline(self, name: str, key: str | None = None) -> Timeline:
        """What held of an entity from when to when, of all its keys or one; to be looked at."""
        entity = await self.afind(name)
        store, scope = self.conversation.memory.fact_store, self.conversation.namespace.scope
        now = self.facts.clock()
        asked = FactQuery(now, name, key, min_confidence=0.0, limit=1_000, past=True)
        found = sorted(await store.aheld(scope, asked), key=lambda fact: fact.valid_from)
        return Timeline(name if entity is None else entity.name, tuple(found), now)

    @on_portal
    async def amerge(self, one: str, other: str) -> FactDecision:
        """Say that two names mean one entity; `facts.undo` of what this gives parts them again."""
        return await self._pair(one, SAME, other)

    @on_portal
    async def adistinguish(self, one: str, other: str) -> FactDecision:
        """Say that two names mean two entities, whatever the rules find; `facts.undo` takes it back."""
        return await self._pair(one, APART, other)

    async def _pair(self, one: str, predicate: str, other: str) -> FactDecision:
        decided = await self.facts.astate([Claim(one, predicate, other, many=True)])
        return decided[0]

    @on_portal
    async def aneighbours(self, name: str, depth: int = 1, as_of: datetime | None = None) -> Graph:
        """The entities that are up to `depth` facts (1 to 5) away, with the facts between them.

        As they hold now, or held at a time. Empty for a name that means no entity.
        """
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= DEEPEST:
            raise InvalidInput("depth", depth, f"pass a whole number from 1 to {DEEPEST}")
        return await self._graph(name, depth, as_of)

    @on_portal
    async def agraph(self, as_of: datetime | None = None) -> Graph:
        """Every entity that stands in a relation, with the facts between them."""
        return await self._graph(None, 1, as_of)

    async def _graph(self, name: str | None, depth: int, as_of: datetime | None) -> Graph:
        moment = as_of or self.facts.clock()
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise InvalidInput("as_of", moment, "pass a datetime with a time zone")
        store, scope = self.conversation.memory.fact_store, self.conversation.namespace.scope
        edges = await store.arelations(scope, name, depth, moment)
        return Graph(tuple(edges))

    all = blocking(aall)
    find = blocking(afind)
    states = blocking(astates)
    transitions = blocking(atransitions)
    timeline = blocking(atimeline)
    merge = blocking(amerge)
    distinguish = blocking(adistinguish)
    neighbours = blocking(aneighbours)
    graph = blocking(agraph)

    def __repr__(self) -> str:
        space = self.conversation.namespace
        return f"Entities(tenant={space.tenant!r}, user={space.user!r})"
