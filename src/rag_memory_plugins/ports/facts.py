"""What reads facts out of messages, and what holds beside what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.results import SummaryLine
    from rag_memory_plugins.types import Message

__all__ = [
    "Claim",
    "Entity",
    "Fact",
    "FactChange",
    "FactDecision",
    "FactExtractor",
    "FactQuery",
    "FactSource",
    "FactStore",
    "NewFact",
    "ReadingQueue",
    "Relation",
    "Said",
    "StateComparer",
    "Unread",
]

Decision = Literal["ADD", "UPDATE", "NOOP", "CONFLICT"]
Stater = Literal["user", "tool", "extracted"]
"""Who stated a fact: whoever holds the memory, a model by a tool, or what reads messages."""


@dataclass(frozen=True)
class Claim:
    """That `object` holds of `subject` by `predicate`, as one message says it.

    Holds from `valid_from` (None: from when it was said) until `valid_to` (None: until something
    else is said). `negated` says that it holds no longer, or does not hold; then an empty `object`
    ends whatever held. `corrects` says that what was said before was never so. `many` says that a
    subject may have several of these at once: what somebody likes, but not where somebody lives.
    `confidence` is from 0 to 1. A speaker without a name is the subject "user".

    >>> Claim("user", "lives in", "Porto", confidence=0.9).many
    False
    """

    subject: str
    predicate: str
    object: str
    confidence: float = 1.0
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    negated: bool = False
    corrects: bool = False
    many: bool = False


class Said(NamedTuple):
    """A message that a fact rests on."""

    session: str
    id: str


@dataclass(frozen=True)
class NewFact:
    """A claim as it is stated to a store, under an id of its own.

    `sources` are messages of the user; `by` is never read out of what was said.
    """

    id: str
    claim: Claim
    recorded_at: datetime
    by: Stater
    sources: tuple[Said, ...] = ()


@dataclass(frozen=True)
class FactDecision:
    """What became of a stated fact, and why.

    ADD: it is new. UPDATE: another value gives way; both are kept. NOOP: it was known, by one more
    source now. CONFLICT: another value is stated for the same time; both are kept, flagged.

    `over` are ids of the facts that gave way, or that had said it before. `new` is False for a fact
    of an id that was stated before.
    """

    id: str
    decision: Decision
    reason: str
    over: tuple[str, ...] = ()
    new: bool = True


@dataclass(frozen=True)
class Fact:
    """What held of `subject` from `valid_from` until `valid_to` (None: it still does).

    `recorded_at` is when that was learned, `superseded_at` when its end was; `sources` are the
    messages it rests on, the first 64. `by` is who stated it; whoever stated what was also read in
    messages comes before the reader. `conflict` says that another value is stated for the same
    time and nothing decides between them. `score` is of the query that found it, higher is better.
    """

    id: str
    subject: str
    predicate: str
    object: str
    confidence: float
    valid_from: datetime
    valid_to: datetime | None
    recorded_at: datetime
    superseded_at: datetime | None
    sources: tuple[Said, ...]
    by: Stater
    conflict: bool = False
    many: bool = False
    score: float = 0.0

    @property
    def text(self) -> str:
        """As one line: "Ann lives in Porto"."""
        return f"{self.subject} {self.predicate} {self.object}"


@dataclass(frozen=True)
class FactChange:
    """One statement of a history: what was stated, when, by whose word, and what became of it.

    `old` are the values that gave way. With `negated` `new` is what holds no longer. `undone` says
    that it is left out of what holds.
    """

    id: str
    subject: str
    predicate: str
    old: tuple[str, ...]
    new: str
    negated: bool
    decision: Decision
    reason: str
    confidence: float
    valid_from: datetime
    valid_to: datetime | None
    recorded_at: datetime
    sources: tuple[Said, ...]
    by: Stater
    undone: bool = False


@dataclass(frozen=True)
class Entity:
    """What several names mean: the fullest name, all of them, and how many facts hold of it."""

    name: str
    names: tuple[str, ...]
    facts: int


@dataclass(frozen=True)
class Relation:
    """A fact from the entity that it is about to the one that is its object."""

    source: str
    target: str
    fact: Fact


@dataclass(frozen=True)
class FactQuery:
    """What is asked of a store of facts: those that hold at a moment.

    `subject` is a name of an entity, `predicate` in any wording; None for any. `found` are numbers of
    statements, best first: only their slots are looked at, in that order; those of what the messages
    `said` stated come before them. With `past`, what held
    before of these slots, or of the subject, too. With `known_at`, as it was known then.
    """

    at: datetime
    subject: str | None = None
    predicate: str | None = None
    found: Sequence[int] | None = None
    said: Sequence[int] = ()
    known_at: datetime | None = None
    min_confidence: float = 0.8
    limit: int = 100
    past: bool = False


@dataclass(frozen=True)
class Unread:
    """A message that waits to be read, and where it stands in its store."""

    namespace: Namespace
    scope_id: int
    seq: int
    message: Message


class ReadingQueue(Protocol):
    """Messages that one reader has still to read facts out of, of all users."""

    async def alease(self, limit: int, seconds: float) -> list[Unread]:
        """Take up to `limit` messages, scopes in turn, for `seconds`."""

    async def asettle(self, read: Sequence[Unread]) -> None:
        """Take messages off the queue."""

    async def arelease(self, unread: Sequence[Unread], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""

    async def abacklog(self) -> int:
        """Messages of all users that wait to be read."""

    async def arebuild(self) -> int:
        """Erase what was read, and queue every message again; how many facts that were."""


class FactStore(Protocol):
    """Statements and what they come to, beside the log. Every method is about one user's alone."""

    async def astate(self, namespace: Namespace, facts: Sequence[NewFact]) -> list[FactDecision]:
        """Store all or none, durably, and decide on each, in order.

        The same id with the same content is a retry and stores nothing. Raises `MessageConflict`
        for other content under an id, and `InvalidInput` for a source that the user has not said.
        """

    async def aany(self, scope: Scope) -> bool:
        """Whether anything was ever stated for the user."""

    async def aheld(self, scope: Scope, asked: FactQuery) -> list[Fact]:
        """What held: in the order of `found`, else the latest first."""

    async def ahistory(
        self, scope: Scope, subject: str | None, predicate: str | None, limit: int
    ) -> list[FactChange]:
        """The last statements about an entity, in the order they were recorded."""

    async def aentities(self, scope: Scope, name: str | None, limit: int) -> list[Entity]:
        """The entity that a name means, or with None all that facts hold of, most facts first."""

    async def arelations(
        self, scope: Scope, name: str | None, depth: int, at: datetime
    ) -> list[Relation]:
        """Facts between entities at a moment: up to `depth` steps from a name, or with None all."""

    async def aretract(self, scope: Scope, fact_id: str, now: datetime) -> tuple[str, int]:
        """Leave out every statement of a value; (id of the act, how many they were).

        Raises `InvalidInput` for an id that is no fact of the user.
        """

    async def aundo(self, scope: Scope, act: str, now: datetime) -> int:
        """Leave out a statement by its id, or count in again what an act left out; how many.

        Raises `InvalidInput` for an id that is neither, or was undone before.
        """

    async def aoutdated(self, scope: Scope, seqs: Sequence[int], at: datetime) -> set[int]:
        """Those of these messages whose every value has given way to another one."""

    async def arefold(self, scope: Scope) -> int:
        """Make what holds anew from the statements; how many slots there are."""


@runtime_checkable
class FactExtractor(Protocol):
    """Reads claims out of messages, behind the user's turns."""

    @property
    def name(self) -> str:
        """What reads, with its version: claims of another name are made anew by a rebuild."""

    async def aextract(self, scope: Scope, messages: Sequence[Message]) -> list[list[Claim]]:
        """The claims of each message, in order; none for what says nothing that lasts.

        Equal messages give equal claims. Text that a context put into a message (`Fence`) is not
        read. Raises `ChatModelError` when it has nothing to fall back on.
        """

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class StateComparer(Protocol):
    """An extractor that can also tell a change from another wording of the same."""

    async def asame(self, scope: Scope, states: Sequence[tuple[str, str, str, str]]) -> list[bool]:
        """Whether the old and the new value of each (entity, key, old, new) say the same, in order.

        False for what it cannot tell.
        """


@runtime_checkable
class FactSource(Protocol):
    """What holds now, beside what was said."""

    async def acurrent(self, namespace: Namespace, query: str, limit: int) -> Sequence[SummaryLine]:
        """Up to `limit` statements that hold for the namespace's user, the first matter most."""
