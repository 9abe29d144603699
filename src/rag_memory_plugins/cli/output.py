"""What the commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rag_memory_plugins.explaining import Explanation

if TYPE_CHECKING:
    from rich.progress import Progress

    from rag_memory_plugins.results import Context, EraseReceipt, Hit, SearchResult, Stats
    from rag_memory_plugins.types import Message

__all__ = [
    "as_json",
    "console",
    "context_json",
    "facts",
    "hit_json",
    "hits_table",
    "lanes_line",
    "plain_table",
    "print_json",
    "printable",
    "progress_bar",
    "search_json",
    "source",
    "stats_json",
]

_PLAIN_WIDTH = 110  # of a pipe or a log file, which has none of its own


def console(*, stderr: bool = False) -> Console:
    """A console on today's stdout or stderr: coloured on a terminal, plain elsewhere."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def print_json(value: object) -> None:
    """One JSON value on one line of stdout."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not utf8) + "\n")


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Progress]:
    """A progress bar on stderr, there only when `shown` and stderr is a terminal."""
    from rich.progress import Progress

    on = console(stderr=True)
    with Progress(console=on, transient=True, disable=not shown or not on.is_terminal) as progress:
        yield progress


def printable(text: str) -> str:
    """Stored text for a terminal: no markup, and no control character that could steer it."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in text))


def as_json(message: Message, session: str | None) -> dict[str, Any]:
    """A message with its session, as `export` writes it."""
    return {**message.to_dict(), "session": session}


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit: its message, score, parts and the ids beside it."""
    return {
        **as_json(hit.message, hit.session),
        "score": hit.score,
        "parts": dict(hit.parts),
        "neighbours": [message.id for message in hit.neighbours],
    }


def search_json(result: SearchResult) -> dict[str, Any]:
    """A search: hits, and which lanes ran."""
    return {
        "query": result.query,
        "hits": [hit_json(hit) for hit in result.hits],
        "lanes": dict(result.lanes),
        "degraded": list(result.degraded),
    }


def context_json(context: Context) -> dict[str, Any]:
    """A context: what the model gets, its tokens, and why each piece is in or out."""
    messages = [message.to_dict() for message in context.messages]
    return {**Explanation(context).to_dict(), "text": context.text, "messages": messages}


def stats_json(value: Stats | EraseReceipt) -> dict[str, Any]:
    """The fields of a small value; times as ISO text."""
    return {
        name: item.isoformat() if hasattr(item, "isoformat") else item
        for name, item in asdict(value).items()
    }


def source(session: str | None, message: Message) -> str:
    """Where it was said: `session #id`."""
    return f"{session or ''} #{message.id}"


def hits_table(hits: Sequence[Hit]) -> Table:
    """Hits as a table, best first."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("score", justify="right", style="green")
    table.add_column("date", no_wrap=True, style="cyan")
    table.add_column("who", no_wrap=True)
    table.add_column("said", ratio=1)
    table.add_column("source", style="dim", overflow="fold", max_width=28)
    for hit in hits:
        said = " ".join(hit.message.content.split())
        table.add_row(
            f"{hit.score:.2f}",
            f"{hit.message.time:%Y-%m-%d}",
            printable(hit.message.speaker),
            printable(said[:400]),
            printable(source(hit.session, hit.message)),
        )
    return table


def lanes_line(found: SearchResult | Context) -> str:
    """Which searches ran, and what failed."""
    lanes = "; ".join(f"{name}: {state}" for name, state in found.lanes.items())
    wrong = "".join(f"\n[red]degraded: {printable(reason)}[/]" for reason in found.degraded)
    return f"[dim]{printable(lanes)}[/]{wrong}"


def facts(values: Mapping[str, object]) -> Table:
    """Names and values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(printable(name), printable("-" if value is None else str(value)))
    return table


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Texts as a table, each on one line unless it is too long."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[printable(" ".join(cell.split())) for cell in row])
    return table
