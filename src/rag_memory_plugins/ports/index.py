"""The search index, derived from the log, and a vector store that may stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rag_memory_plugins.config import Recall

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.ports.models import Encoded, Vectors
    from rag_memory_plugins.results import Hit
    from rag_memory_plugins.types import Level

__all__ = ["Found", "Pending", "Point", "Query", "RemovedPoint", "VectorIndex", "VectorStore"]


@dataclass(frozen=True)
class Pending:
    """A message that has no vector yet."""

    seq: int
    scope_id: int
    text: str


@dataclass(frozen=True)
class Query:
    """What an index is asked: a question, what the embedder made of it (None: keywords alone).

    `neighbours` is how many messages to either side come with a hit; 0 for none. With `where` only
    messages that match it, by `Filter.matches`, are among the hits and their neighbours; the
    lanes score over the whole scope all the same. `now` is when it
    is asked, which "last week" is told from. Below `min_relevance` there are no hits. With `focus`
    the hits tell how near each of their passages is, and so many messages more are among them for
    their best passage alone; of two that say much the same the newer is above. `under` keeps only
    sessions of items with this path or a longer one; with `paged` the first hits are the same
    whatever `limit` is, so that pages fit together.
    """

    text: str
    encoded: Encoded | None
    limit: int
    level: Level
    now: datetime
    neighbours: int = 1
    where: Filter | None = None
    recall: Recall = field(default_factory=Recall)
    min_relevance: float = 0.0
    focus: int = 0
    under: str = ""
    paged: bool = False


@dataclass(frozen=True)
class Found:
    """What an index found: hits best first, of how many messages, how many without a vector.

    `seconds` is what each step took; `off` says of steps that did not run why. `signals` tell
    whether the hits mean anything; `calibration` is what the user's own questions made of them.
    `degraded` says what failed on the way.
    """

    hits: tuple[Hit, ...]
    total: int
    pending: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    off: Mapping[str, str] = field(default_factory=dict)
    signals: tuple[float, ...] = ()
    calibration: str | None = None
    degraded: tuple[str, ...] = ()


class VectorIndex(Protocol):
    """The search index, derived from the log: it can be dropped and rebuilt."""

    async def asearch(self, namespace: Namespace, query: Query) -> Found:
        """The best messages of the namespace's user, or of its session alone.

        Without vectors only the keyword lane runs.
        """

    async def acalibrate(self, scope: Scope, calibration: str) -> None:
        """Keep a scope's calibration of this index; a scope that holds nothing keeps none."""

    async def apending(self, scope: Scope, limit: int) -> list[Pending]:
        """Up to `limit` messages of the scope that have no vector, oldest first."""

    async def alease(self, limit: int, seconds: float) -> list[Pending]:
        """Take up to `limit` messages of any scope to embed, scopes in turn, for `seconds`."""

    async def astore(self, pending: Sequence[Pending], encoded: Sequence[Encoded]) -> int:
        """Write vectors of messages that still exist and settle them; return how many."""

    async def arelease(self, pending: Sequence[Pending], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""

    async def abacklog(self) -> int:
        """Messages of all scopes that wait for a vector."""

    @property
    def ready(self) -> bool:
        """Whether there is a dense lane; False for keywords alone."""

    async def arebuild(self, scope: Scope | None = None) -> int:
        """Drop what is derived and queue every message again; return how many."""

    async def amirror(self) -> int:
        """Bring a vector store outside up to date by one batch; return what that was, 0 for nothing.

        Raises `StoreError` when the store does not answer.
        """

    async def aclean(self) -> str:
        """Remove from stores outside what was erased; why something must wait, "" if nothing."""


@dataclass(frozen=True)
class Point:
    """A message as a vector store keeps it: `vectors` of shape (pieces, dimension), one or more.

    `text` is what was embedded, for a store that embeds by itself; others need not keep it.
    """

    scope: Scope
    session: str
    seq: int
    text: str
    vectors: Vectors


@dataclass(frozen=True)
class RemovedPoint:
    """A message whose `pieces` vectors a vector store must let go of."""

    scope: Scope
    seq: int
    pieces: int


@runtime_checkable
class VectorStore(Protocol):
    """Vectors outside the log, for users with more messages than one process compares.

    It proposes messages for a question. What each scores follows from the log's own vectors, and
    what the log does not hold is never a hit: a store that is behind, inexact or wrong can leave
    hits out, and do nothing else. Methods are awaited on the portal's loop and raise `StoreError`.
    """

    @property
    def name(self) -> str:
        """Which store, for people, and to know it again when the log is opened with it.

        What follows a "#", known from `aopen` or later, is another one whenever the store was lost
        and made anew: it then gets everything again.
        """

    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Begin to serve a log: its points are kept apart from those of any other log.

        `log` names it with its embedder, `fingerprint` the embedder alone: a store that keeps
        vectors of one embedder together goes by that.
        """

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; a point put again (same scope and seq) takes its own place."""

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` points of the scope, or of one session, best first, each once."""

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points; those it does not hold are no error."""

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""
