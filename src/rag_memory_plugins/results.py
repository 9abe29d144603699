"""What a memory answers with: `Hit`, `SearchResult`, `Context`, `Summary`, receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import shorten
from rag_memory_plugins.types import Level, Message, Messages, html_table

if TYPE_CHECKING:
    from rag_memory_plugins.explaining import Explanation

__all__ = [
    "Context",
    "ContextPart",
    "EraseReceipt",
    "Hit",
    "Piece",
    "SearchResult",
    "Stats",
    "Summary",
    "SummaryLine",
]


@dataclass(frozen=True, repr=False)
class Hit:
    """A remembered message with its score (higher is better) and the score's parts.

    `parts` add up to `score`. `session` is where it was said, `neighbours` the messages just
    before and after it in that session. `seq` is its place in the log, `group` its tool group's,
    `tokens` what it was counted as when it was stored, `passages` the score of each of its passages
    (`retrieval.sentences.passages`) beside all others, when a context asked for them, and `spans`
    where each stands in what is searched of the message, if that was kept.
    """

    message: Message
    session: str
    score: float
    parts: Mapping[str, float]
    neighbours: Messages = Messages()
    seq: int = field(default=0, compare=False)
    group: int | None = field(default=None, compare=False)
    tokens: int = field(default=0, compare=False)
    passages: tuple[float, ...] = field(default=(), compare=False)
    spans: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return f"Hit({self.score:.2f}, {self.message.speaker}: {shorten(self.message.content, 60)})"

    def _repr_html_(self) -> str:
        return html_table(_HIT_COLUMNS, [_hit_row(self)])


_HIT_COLUMNS: Final = ("score", "time", "who", "content", "session", "id")


@dataclass(frozen=True, repr=False)
class SearchResult(Sequence[Hit]):
    """Hits, best first, and how they were found.

    `lanes` says of every search lane whether it ran: "ok", or the reason it did not. `degraded`
    holds what failed during this search; it is empty when all that should run ran. `relevance` is
    how likely anything stored answers the query, from 0 to 1; None without a calibration.
    """

    query: str
    hits: tuple[Hit, ...]
    lanes: Mapping[str, str]
    degraded: tuple[str, ...] = ()
    relevance: float | None = None

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __repr__(self) -> str:
        lanes = ", ".join(f"{name}: {state}" for name, state in self.lanes.items())
        best = f", best {self.hits[0]!r}" if self.hits else ""
        return f"SearchResult({len(self.hits)} hits{best}; {lanes})"

    def _repr_html_(self) -> str:
        lanes = "; ".join(f"{name}: {state}" for name, state in self.lanes.items())
        note = "".join(f"<p>degraded: {escape(reason)}</p>" for reason in self.degraded)
        table = html_table(_HIT_COLUMNS, [_hit_row(hit) for hit in self.hits])
        return f"<p><b>{escape(self.query)}</b> ({escape(lanes)})</p>{note}{table}"


@dataclass(frozen=True)
class SummaryLine:
    """One statement of a summary: its text, when it was said, ids of the messages it rests on."""

    text: str
    time: datetime
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A session's rolling summary. `version` grows with every fold.

    `upto` is the `seq` of the last message it covers, `by` the summarizer that made it.
    """

    lines: tuple[SummaryLine, ...]
    version: int
    upto: int
    by: str
    degraded: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True)
class Piece:
    """One message that was considered for a context: in or out, where, and why."""

    message: Message
    part: str
    included: bool
    reason: str
    tokens: int
    score: float | None = None
    session: str | None = None


@dataclass(frozen=True)
class ContextPart:
    """One part of a context: its name, the messages it holds, and its tokens when rendered."""

    name: str
    messages: Messages
    tokens: int


@dataclass(frozen=True, repr=False)
class Context:
    """What goes to the model.

    `messages` are ready to send: the system message if one was given, anchors, facts and summary,
    then recent turns as they were said, then what was recalled; what was not said just now stands
    inside fences that it cannot close. `text` is the same as one string. `tokens` counts all
    `messages`; it never exceeds what the budget leaves. `tokens_exact` is False when an estimate
    counted. `mode` is "full", "balanced" or "safe", `mode_reason` why; `history_tokens` is what
    the session's whole history would cost.
    """

    query: str
    budget: TokenBudget
    messages: Messages
    text: str
    tokens: int
    tokens_exact: bool
    parts: tuple[ContextPart, ...]
    pieces: tuple[Piece, ...]
    lanes: Mapping[str, str]
    degraded: tuple[str, ...] = ()
    mode: str = "full"
    mode_reason: str = ""
    history_tokens: int = 0

    def explain(self) -> Explanation[Piece]:
        """Every message that was considered, in or out, with the reason; as text, data or HTML."""
        from rag_memory_plugins.explaining import Explanation

        return Explanation(self)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.name} {part.tokens}" for part in self.parts)
        return f"Context({self.tokens} of {self.budget.total} tokens: {parts or 'empty'})"

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()


@dataclass(frozen=True)
class EraseReceipt:
    """What an erase removed. `complete` once no file holds the bytes any more.

    While another process reads an old state of the file the bytes cannot be overwritten:
    then `complete` is False and `pending` says why; the erase is retried in the background.

    `removed` says how much of what went from where: messages, keywords, vectors, token vectors,
    summaries, pins, items, calibrations, sessions, a vector store by its name, counters, caches.
    `left` is what a second look found, by table or store; it is empty unless something is wrong, and
    `complete` is False then. `note` says what a database server keeps that no client can reach; for
    a file it is empty. `scope` of a tenant's erase is the tenant's key.
    """

    scope: str
    level: Level | Literal["tenant"]
    messages: int
    vectors: int
    pins: int
    complete: bool
    pending: str = ""
    removed: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Stats:
    """What one scope holds: messages, sessions, pins, messages without a vector yet."""

    scope: str
    messages: int
    sessions: int
    pins: int
    pending: int
    first: datetime | None
    last: datetime | None


def _hit_row(hit: Hit) -> tuple[object, ...]:
    message = hit.message
    date = f"{message.time:%Y-%m-%d %H:%M}"
    return (f"{hit.score:.2f}", date, message.speaker, message.content, hit.session, message.id)
