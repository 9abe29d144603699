"""The truth: what was said, in order, and what a context or a fold reads of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.results import EraseReceipt, Stats, Summary, SummaryLine
    from rag_memory_plugins.types import Level, Message, Messages

__all__ = ["Fold", "Folded", "MessageLog", "SessionView", "StoredMessage"]


@dataclass(frozen=True)
class StoredMessage:
    """A message as the log holds it. `seq` grows with every message of the log."""

    seq: int
    session: str
    message: Message
    group: int | None
    """`seq` of the assistant message that began this message's tool group, if it is in one."""
    tokens: int = 0
    """What it was counted as when it was stored."""
    said: int = 0
    """Tokens said in its session before it; what is forgotten since still counts."""


@dataclass(frozen=True)
class SessionView:
    """What a context needs of a session, read at once.

    `tokens` is what it holds, `said` all that was ever said in it. `peak` follows `tokens` up, and
    down only when they fall by a fifth, so that what is chosen by size does not flap. `goal` are
    the user's first messages, `recent` the last ones, both oldest first.
    """

    tokens: int = 0
    said: int = 0
    peak: int = 0
    goal: Sequence[StoredMessage] = ()
    pins: Sequence[StoredMessage] = ()
    recent: Sequence[StoredMessage] = ()
    summary: Summary | None = None


@dataclass(frozen=True)
class Fold:
    """A session whose turns wait to be summarised: who took it, and what it has by now."""

    namespace: Namespace
    generation: int
    summary: Summary | None
    messages: Sequence[StoredMessage]
    """Those after the summary, oldest first, as far as they have left the recent turns."""


@dataclass(frozen=True)
class Folded:
    """A summary after a fold. `degraded` says what failed on the way; empty when nothing did."""

    lines: tuple[SummaryLine, ...]
    degraded: tuple[str, ...] = ()


class MessageLog(Protocol):
    """The truth: every message, durable before `aappend` returns, in order within its session."""

    async def aappend(
        self, namespace: Namespace, messages: Sequence[Message], tokens: Sequence[int]
    ) -> int:
        """Store all of `messages` or none, each of so many tokens; return how many were new.

        A message whose (namespace, id) is stored with the same content is a retry and stores
        nothing; with other content it raises `MessageConflict`.
        """

    async def arecent(self, namespace: Namespace, limit: int) -> list[StoredMessage]:
        """The last `limit` messages of the session, oldest first."""

    async def alisted(
        self,
        namespace: Namespace,
        archived: bool | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredMessage]:
        """Messages of the session in order: the archived ones, the others (False) or all (None).

        `limit` of them after the first `offset`. The others are read without a look at the archived
        messages before them.
        """

    async def acounted(self, namespace: Namespace, archived: bool | None = None) -> int:
        """How many `alisted` gives."""

    async def aarchive(
        self, namespace: Namespace, ids: Sequence[str], *, archived: bool = True
    ) -> list[StoredMessage]:
        """Archive messages of the session, or bring them back; return those that there are.

        Being archived changes nothing but `alisted` and `acounted`, and goes when the message is
        erased.
        """

    async def asessions(self, scope: Scope) -> list[str]:
        """Names of the user's sessions that hold a message, in the order they began."""

    async def aview(
        self, namespace: Namespace, recent: int, goal: int, whole: int = 0
    ) -> SessionView:
        """The session's sizes, pins, summary, first `goal` user messages and the last messages.

        Those of the last `recent` tokens, a few at least and 1,000 at most; all of a session whose
        peak is at most `whole` tokens; none for 0.
        """

    async def atake_fold(self, every: int, keep: int, least: int, seconds: float) -> Fold | None:
        """A session that has said `least` tokens, with `every` to fold before its last `keep`.

        It is taken for `seconds`: nobody else gets it until then.
        """

    async def aput_summary(self, fold: Fold, summary: Summary) -> bool:
        """Keep the summary, unless the session's has changed since; False then."""

    async def arelease_fold(self, fold: Fold, seconds: float) -> None:
        """Give a fold back, to be taken again after `seconds`."""

    async def asummary(self, namespace: Namespace) -> Summary | None:
        """The session's summary, if there is one."""

    async def adrop_summary(self, namespace: Namespace | None = None) -> None:
        """Forget the session's summary, or everybody's, so that it is made anew from the log."""

    async def agroups(self, scope: Scope, groups: Sequence[int]) -> list[StoredMessage]:
        """Every message of these tool groups, oldest first."""

    async def apin(self, namespace: Namespace, message_id: str, level: Level) -> None:
        """Keep a stored message in every context. Raises `InvalidMessage` for an unknown id."""

    async def aunpin(self, namespace: Namespace, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""

    async def apins(self, namespace: Namespace) -> list[StoredMessage]:
        """Pinned messages of the session and of the user, oldest first."""

    async def afind(
        self, namespace: Namespace, where: Filter | None, limit: int, level: Level
    ) -> list[StoredMessage]:
        """The last `limit` messages of the session, or of the user, that match; oldest first."""

    async def aforget(
        self,
        namespace: Namespace,
        ids: Sequence[str] | None,
        where: Filter | None,
        level: Level,
    ) -> EraseReceipt:
        """Erase messages of the session, or of the user: those of these ids that match."""

    async def aerase(self, namespace: Namespace, level: Level) -> EraseReceipt:
        """Erase the session, or all the user's sessions, from every file."""

    async def astats(self, scope: Scope) -> Stats:
        """Counts of one scope."""

    def aexport(self, namespace: Namespace, level: Level) -> AsyncIterator[tuple[str, Message]]:
        """(session, message) of everything stored, in order."""

    async def amessages(self, namespace: Namespace) -> Messages:
        """Every message of the session, in order."""

    async def aaround(
        self, namespace: Namespace, ids: Sequence[str], before: int, after: int
    ) -> list[Messages]:
        """The session's messages of these ids with so many before and after each, in order.

        Windows that overlap or touch are one. An id that is not stored here has none.
        """

    async def anamespaces(self) -> list[Namespace]:
        """Every session of every tenant: for the owner of the store only."""

    async def ahealth(self) -> dict[str, object]:
        """Facts about the store for `doctor`; "problems" is a list, empty when all is well."""

    async def atidy(self) -> bool:
        """Finish an erase that had to wait; True when none waits."""

    async def aclose(self) -> None:
        """Release the file or the connections."""
