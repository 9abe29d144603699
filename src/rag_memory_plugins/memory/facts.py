"""`Facts`: what holds for one user, what held, what was known, and where it was said.

```text
insert    claim checked -> store: statement, its slot folded -> decision
query     text -> search of the statements -> their slots, as they stand at a moment
history   the statements themselves, with what became of each
undo      a statement left out; the slot folded without it
```
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, overload

from rag_memory_plugins.errors import InvalidInput, InvalidMessage, InvalidQuery
from rag_memory_plugins.events import Event
from rag_memory_plugins.memory.arguments import check_limit
from rag_memory_plugins.memory.shelf import of_items, utc_now
from rag_memory_plugins.portal import blocking, on_portal
from rag_memory_plugins.ports import Claim, Fact, FactQuery, NewFact, Query, Said
from rag_memory_plugins.types import Message, html_table

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import FactChange, FactDecision
    from rag_memory_plugins.ports.facts import Stater

__all__ = ["FactHistory", "FactResult", "Facts", "checked_claim"]

Source: TypeAlias = "str | Message | Said"

MOST: Final = 1_000
"""Characters of a subject, a predicate or an object; longer ones are texts, not facts."""
MOST_SOURCES: Final = 64
_SEARCHED: Final = 4
"""Statements that are looked for, for each fact that is asked for: a slot has several."""
_MOST_SEARCHED: Final = 400


@dataclass(frozen=True)
class FactResult(Sequence[Fact]):
    """Facts, those that matter most first; `degraded` says what of the search did not run."""

    facts: tuple[Fact, ...] = ()
    degraded: tuple[str, ...] = ()

    @overload
    def __getitem__(self, place: int) -> Fact: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Fact, ...]: ...
    def __getitem__(self, place: int | slice) -> Fact | tuple[Fact, ...]:
        """The fact at a place."""
        return self.facts[place]

    def __len__(self) -> int:
        return len(self.facts)

    def __repr__(self) -> str:
        shown = "; ".join(fact.text for fact in self[:3])
        return (
            f"FactResult({len(self)}{': ' if self else ''}{shown}{' ...' if len(self) > 3 else ''})"
        )

    def _repr_html_(self) -> str:
        columns = ("subject", "predicate", "object", "from", "to", "confidence", "said in")
        return html_table(columns, [_shown(fact) for fact in self])


class FactHistory(tuple["FactChange", ...]):
    """Statements in the order they were recorded; a table in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"FactHistory({len(self)})"

    def _repr_html_(self) -> str:
        columns = ("recorded", "subject", "predicate", "old", "new", "from", "decision", "reason")
        return html_table(columns, [_changed(change) for change in self])


class Facts:
    """The facts of one user, as a conversation reads and writes them: `conversation.facts`.

    A fact is a subject, a predicate and an object, such as "Ann", "lives in", "Porto". Nothing is
    overwritten: a value that gives way is kept with the time until which it held and the messages
    it was said in. `clock` tells the present.

    >>> from rag_memory_plugins import open_memory
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     facts = memory.conversation("acme", "ann", "monday").facts
    ...     print(facts.insert("Ann", "lives in", "Lisbon").decision)
    ...     print(facts.insert("Ann", "lives in", "Porto").decision)
    ...     print([fact.object for fact in facts.query("where does Ann live?")])
    ...     print([(change.new, change.decision) for change in facts.history("Ann")])
    ADD
    UPDATE
    ['Porto']
    [('Lisbon', 'ADD'), ('Porto', 'UPDATE')]
    >>> folder.cleanup()
    """

    def __init__(self, conversation: Conversation, clock: Callable[[], datetime] = utc_now) -> None:
        self.conversation = conversation
        self.clock = clock

    @property
    def portal(self) -> Portal:
        """Where the work is done."""
        return self.conversation.portal

    @on_portal
    async def ainsert(
        self,
        subject: str,
        predicate: str,
        object: str,  # noqa: A002  # the third part of a triple, as the field calls it
        *,
        confidence: float = 1.0,
        sources: Source | Sequence[Source] = (),
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        negated: bool = False,
        corrects: bool = False,
        many: bool = False,
        id: str = "",  # noqa: A002
        recorded_at: datetime | None = None,
    ) -> FactDecision:
        """State that `object` holds of `subject`; what was decided on it, and why.

        It holds from `valid_from` (its first source's time, else now) until `valid_to`, or until
        another value is stated. `sources` are messages of this session, by id, or any of the user's
        as `Said(session, id)`. `negated`: it holds no longer. `corrects`: what was stated for that
        time was never so. `many`: a subject may have several at once. `recorded_at` is when it was
        learned, now if left out. Under the same `id` the same fact is stored once.

        Raises `InvalidInput`, naming the field, and `MessageConflict` for another fact of that id.
        """
        claim = Claim(
            subject,
            predicate,
            object,
            confidence,
            valid_from,
            valid_to,
            negated,
            corrects,
            many,
        )
        decided = await self.astate(
            [claim], sources=sources, by="user", ids=[id], recorded_at=recorded_at
        )
        return decided[0]

    async def astate(
        self,
        claims: Sequence[Claim],
        *,
        sources: Source | Sequence[Source] = (),
        by: Stater = "user",
        ids: Sequence[str] | None = None,
        recorded_at: datetime | None = None,
    ) -> list[FactDecision]:
        """State several at once, all or none; on the portal."""
        started = time.perf_counter()
        memory, namespace = self.conversation.memory, self.conversation.namespace
        recorded = _time("recorded_at", recorded_at) or self.clock()
        said = self._sources(sources)
        names = [""] * len(claims) if ids is None else ids
        new = [
            NewFact(_id(name), checked_claim(claim), recorded, by, said)
            for claim, name in zip(claims, names, strict=True)
        ]
        decided = await memory.fact_store.astate(namespace, new)
        if any(each.new for each in decided):
            memory.wake()
        counts: dict[str, int] = {}
        for each in decided:
            counts[each.decision] = counts.get(each.decision, 0) + 1
        seconds = time.perf_counter() - started
        memory.emit(Event("facts.insert", namespace.scope.key, seconds, counts))
        return decided

    @on_portal
    async def aquery(
        self,
        text: str | None = None,
        *,
        subject: str | None = None,
        predicate: str | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        min_confidence: float = 0.8,
        limit: int = 100,
    ) -> FactResult:
        """What holds now, or held `as_of` a time, or was `known_at` one to hold.

        With `text` the facts that matter for it, best first: a statement that is found by an old
        value leads to the value that holds. Without it the latest first. Raises `InvalidInput`,
        `InvalidQuery`.
        """
        started = time.perf_counter()
        check_limit(limit)
        moment = _time("as_of", as_of) or self.clock()
        asked = FactQuery(
            moment,
            subject=None if subject is None else _text("subject", subject),
            predicate=None if predicate is None else _text("predicate", predicate),
            known_at=_time("known_at", known_at),
            min_confidence=_confidence("min_confidence", min_confidence),
            limit=limit,
        )
        memory, scope = self.conversation.memory, self.conversation.namespace.scope
        degraded: tuple[str, ...] = ()
        scores: dict[int, float] = {}
        if text is not None:
            if not isinstance(text, str) or not text.strip():
                raise InvalidQuery("text", text, "pass the words to look for, as a str, or None")
            scores, degraded = await self.afound(text, limit)
            asked = replace(asked, found=list(scores))
        found = await memory.fact_store.aheld(scope, asked)
        seconds = time.perf_counter() - started
        data = {"facts": len(found), "degraded": len(degraded)}
        memory.emit(Event("facts.query", scope.key, seconds, data))
        return FactResult(tuple(found), degraded)

    @on_portal
    async def ahistory(
        self, subject: str | None = None, predicate: str | None = None, limit: int = 1_000
    ) -> FactHistory:
        """The last `limit` statements, in the order they were recorded, with what became of each."""
        check_limit(limit)
        found = await self.conversation.memory.fact_store.ahistory(
            self.conversation.namespace.scope,
            None if subject is None else _text("subject", subject),
            None if predicate is None else _text("predicate", predicate),
            limit,
        )
        return FactHistory(found)

    @on_portal
    async def apin(self, fact: Fact | str) -> None:
        """Show what holds in place of a fact in every context. Raises `InvalidInput`."""
        await self._pinned(fact, pinned=True)

    @on_portal
    async def aunpin(self, fact: Fact | str) -> None:
        """Let go of a pin; nothing happens if there is none."""
        await self._pinned(fact, pinned=False)

    async def _pinned(self, fact: Fact | str, *, pinned: bool) -> None:
        key = fact.id if isinstance(fact, Fact) else _text("fact", fact)
        memory, scope = self.conversation.memory, self.conversation.namespace.scope
        place = scope.of_facts
        if not pinned:
            await memory.log.aunpin(place, key)
            return
        try:
            await memory.log.apin(place, key, "user")
        except InvalidMessage as error:
            raise InvalidInput("fact", key, "no fact of this user has that id") from error

    @on_portal
    async def aretract(self, fact: Fact | str) -> str:
        """Leave out all that was stated of a fact's value, as if it never was; an act to `undo`.

        What it had taken the place of holds again. Raises `InvalidInput` for an unknown id.
        """
        key = fact.id if isinstance(fact, Fact) else _text("fact", fact)
        memory, scope = self.conversation.memory, self.conversation.namespace.scope
        act, count = await memory.fact_store.aretract(scope, key, self.clock())
        memory.emit(Event("facts.retract", scope.key, data={"statements": count}))
        return act

    @on_portal
    async def aundo(self, act: FactDecision | str) -> int:
        """Undo one decision, or what `retract` gave; how many statements that concerned.

        The statement is left out and what it changed is as it was before. Raises `InvalidInput` for
        what is unknown or was undone.
        """
        key = act if isinstance(act, str) else act.id
        memory, scope = self.conversation.memory, self.conversation.namespace.scope
        count = await memory.fact_store.aundo(scope, _text("act", key), self.clock())
        memory.emit(Event("facts.undo", scope.key, data={"statements": count}))
        return count

    async def afound(self, text: str, limit: int) -> tuple[dict[int, float], tuple[str, ...]]:
        """(score of each statement that a search finds, best first, what was degraded); on the portal."""
        memory, scope = self.conversation.memory, self.conversation.namespace.scope
        asked = Query(
            text,
            None,
            min(_MOST_SEARCHED, _SEARCHED * limit),
            "user",
            self.clock(),
            neighbours=0,
            recall=of_items(memory.recall),
        )
        found = await memory.asearch(scope.of_facts, asked)
        return {hit.seq: hit.score for hit in found.hits}, found.degraded

    def _sources(self, given: Source | Sequence[Source]) -> tuple[Said, ...]:
        if isinstance(given, (str, Message, Said)):
            given = [given]
        said: list[Said] = []
        for each in given:
            if isinstance(each, Said):
                said.append(each)
            elif isinstance(each, (str, Message)):
                key = each if isinstance(each, str) else each.id
                said.append(Said(self.conversation.namespace.session, key))
            else:
                remedy = "pass ids of messages, messages, or Said(session, id)"
                raise InvalidInput("sources", each, remedy)
        if len(said) > MOST_SOURCES:
            raise InvalidInput("sources", len(said), f"pass at most {MOST_SOURCES}")
        return tuple(dict.fromkeys(said))

    insert = blocking(ainsert)
    query = blocking(aquery)
    history = blocking(ahistory)
    pin = blocking(apin)
    unpin = blocking(aunpin)
    retract = blocking(aretract)
    undo = blocking(aundo)

    def __repr__(self) -> str:
        space = self.conversation.namespace
        return f"Facts(tenant={space.tenant!r}, user={space.user!r})"


def checked_claim(claim: Claim) -> Claim:
    """The claim with its texts in order. Raises `InvalidInput`, naming the field."""
    subject, predicate = _text("subject", claim.subject), _text("predicate", claim.predicate)
    # "No longer", of whatever it was; of many values it must say which.
    says = claim.object or claim.many or not claim.negated
    value = _text("object", claim.object) if says else ""
    start, end = _time("valid_from", claim.valid_from), _time("valid_to", claim.valid_to)
    if start is not None and end is not None and end <= start:
        raise InvalidInput("valid_to", end, "pass a time after valid_from")
    confidence = _confidence("confidence", claim.confidence)
    return replace(
        claim,
        subject=subject,
        predicate=predicate,
        object=value,
        confidence=confidence,
        valid_from=start,
        valid_to=end,
    )


def _text(field: str, value: object) -> str:
    """The text on one line: a fact that ended a line would begin another one in a prompt."""
    if not isinstance(value, str):
        raise InvalidInput(field, value, "pass a str")
    line = " ".join(value.replace("\x00", " ").split())
    if not line:
        raise InvalidInput(field, value, "pass a text that says something")
    if len(line) > MOST:
        raise InvalidInput(field, value, f"{MOST} characters is the limit")
    return line


def _confidence(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidInput(field, value, "pass a number from 0 to 1")
    return float(value)


def _time(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(field, value, "pass a datetime with a time zone")
    return value


def _id(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidInput("id", name, "pass a str, or leave it out to have one minted")
    return name or uuid.uuid4().hex


def _shown(fact: Fact) -> tuple[object, ...]:
    end = "" if fact.valid_to is None else f"{fact.valid_to:%Y-%m-%d}"
    said = ", ".join(f"{source.session}/{source.id}" for source in fact.sources)
    times = (f"{fact.valid_from:%Y-%m-%d}", end)
    return (fact.subject, fact.predicate, fact.object, *times, f"{fact.confidence:.2f}", said)


def _changed(change: FactChange) -> tuple[Any, ...]:
    return (
        f"{change.recorded_at:%Y-%m-%d %H:%M}",
        change.subject,
        change.predicate,
        ", ".join(change.old),
        f"not {change.new}" if change.negated else change.new,
        f"{change.valid_from:%Y-%m-%d}",
        f"{change.decision}{', undone' if change.undone else ''}",
        change.reason,
    )
