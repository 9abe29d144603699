"""What a memory answers with: `Hit`, `SearchResult`, `TokenBudget`, `Context`, receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any, ClassVar, Final

from rag_memory_plugins.errors import InvalidBudget, shorten
from rag_memory_plugins.types import Level, Message, Messages, html_table

__all__ = [
    "Context",
    "ContextPart",
    "EraseReceipt",
    "Hit",
    "Piece",
    "SearchResult",
    "Stats",
    "TokenBudget",
]


@dataclass(frozen=True, repr=False)
class Hit:
    """A remembered message with its score (higher is better) and the score's parts.

    `parts` add up to `score`. `session` is where it was said, `neighbours` the messages just
    before and after it in that session. `seq` is its place in the log, `group` its tool group's.
    """

    message: Message
    session: str
    score: float
    parts: Mapping[str, float]
    neighbours: Messages = Messages()
    seq: int = field(default=0, compare=False)
    group: int | None = field(default=None, compare=False)

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
class TokenBudget:
    """Hard limits in tokens for a `Context`.

    `total` is never exceeded. `recent` and `retrieved` cap those parts; 0 leaves a part out. Left
    at None, recent turns may take 30 % of what the pins leave, and recalled turns the rest; what
    one part does not use the next may. Raises `InvalidBudget`.

    >>> TokenBudget(2000, recent=0)
    TokenBudget(total=2000, recent=0, retrieved=None)
    """

    total: int
    recent: int | None = None
    retrieved: int | None = None

    RECENT_SHARE: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        _tokens("total", self.total, least=1)
        for name in ("recent", "retrieved"):
            if getattr(self, name) is not None:
                _tokens(name, getattr(self, name), least=0)

    @classmethod
    def of(cls, budget: int | TokenBudget) -> TokenBudget:
        """A budget as it is, or made of a total."""
        return budget if isinstance(budget, TokenBudget) else cls(budget)


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

    `messages` are ready to send: pins first, then recent turns as they were said, then what was
    recalled, inside a fence that the recalled text cannot close. `text` is the same as one
    string. `tokens` counts all `messages`; it never exceeds `budget.total`. `tokens_exact` is
    False when an estimate counted.
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

    def explain(self) -> tuple[Piece, ...]:
        """Every message that was considered, in or out, with the reason."""
        return self.pieces

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.name} {part.tokens}" for part in self.parts)
        return f"Context({self.tokens} of {self.budget.total} tokens: {parts or 'empty'})"

    def _repr_html_(self) -> str:
        total = self.budget.total
        bar = "".join(
            f'<div title="{escape(part.name)}: {part.tokens} tokens" style="background:'
            f'{_COLOURS.get(part.name, "#999")};width:{100 * part.tokens / total:.1f}%"></div>'
            for part in self.parts
        )
        legend = " · ".join(
            f'<span style="color:{_COLOURS.get(part.name, "#999")}">■</span> '
            f"{escape(part.name)} {part.tokens}"
            for part in self.parts
        )
        rows = [
            (
                "in" if piece.included else "out",
                piece.part,
                "" if piece.score is None else f"{piece.score:.2f}",
                piece.tokens,
                piece.reason,
                f"{piece.message.time:%Y-%m-%d}",
                piece.message.speaker,
                piece.message.content,
                piece.message.id,
            )
            for piece in self.pieces
        ]
        columns = ("", "part", "score", "tokens", "why", "date", "who", "content", "id")
        return (
            f"<p><b>{self.tokens}</b> of {total} tokens: {legend}</p>"
            '<div style="display:flex;height:12px;background:#eee;width:100%">'
            f"{bar}</div>{html_table(columns, rows)}"
        )


_COLOURS: Final = {"pins": "#d97706", "recent": "#2563eb", "retrieved": "#059669"}


@dataclass(frozen=True)
class EraseReceipt:
    """What an erase removed. `complete` once no file holds the bytes any more.

    While another process reads an old state of the file the bytes cannot be overwritten:
    then `complete` is False and `pending` says why; the erase is retried in the background.
    """

    scope: str
    level: Level
    messages: int
    vectors: int
    pins: int
    complete: bool
    pending: str = ""


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


def _tokens(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidBudget(name, value, f"pass a number of tokens, an int >= {least}")
