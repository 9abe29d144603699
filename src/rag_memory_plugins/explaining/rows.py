"""What a terminal and a notebook both show: figures, the cells of a piece, where it is from."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from rag_memory_plugins.explaining.shapes import ExplainedContext, ExplainedPiece
from rag_memory_plugins.types import Message

__all__ = ["COLOURS", "COLUMNS", "OTHER", "cells_of", "figures_of", "source_link", "visible"]

# Part: (colour in a notebook, in a terminal).
COLOURS: Final = {
    "system": ("#64748b", "white"),
    "pins": ("#d97706", "yellow"),
    "anchors": ("#d97706", "yellow"),
    "facts": ("#db2777", "magenta"),
    "summary": ("#7c3aed", "cyan"),
    "recent": ("#2563eb", "blue"),
    "retrieved": ("#059669", "green"),
}
OTHER: Final = ("#999", "white")
COLUMNS: Final = ("", "part", "score", "tokens", "why", "date", "who", "said", "source")
_CUT: Final = 120  # characters of a text in a table
_LINKS: Final = ("url", "source")


def figures_of(context: ExplainedContext[Any]) -> list[str]:
    """How much of the budget is used; the mode and why; what was saved."""
    exact = "" if context.tokens_exact else " (an upper estimate)"
    lines = [f"{context.tokens:,} of {context.budget.total:,} tokens{exact}"]
    why = f": {visible(context.mode_reason)}" if context.mode_reason else ""
    lines += [f"mode {visible(context.mode)}{why}"] if context.mode else []
    if context.history_tokens > 0:
        saved = max(0.0, 1 - context.tokens / context.history_tokens)
        lines.append(f"{context.history_tokens:,} tokens of history: {saved:.1%} saved")
    return lines


def cells_of(piece: ExplainedPiece) -> tuple[str, ...]:
    """A piece's cells, in the order of `COLUMNS`; visible characters alone."""
    message = piece.message
    calls = "".join(f" [called {call.name}]" for call in message.tool_calls)
    said = visible(message.content[: 10 * _CUT] + calls)
    return (
        "in" if piece.included else "out",
        visible(piece.part),
        "" if piece.score is None else f"{piece.score:.2f}",
        f"{piece.tokens:,}",
        visible(piece.reason.removeprefix("out: ")),  # the first cell says it
        f"{message.time:%Y-%m-%d}",
        visible(message.speaker),
        said if len(said) <= _CUT else f"{said[: _CUT - 1]}…",
        visible(f"{piece.session or ''} #{message.id}"),
    )


def visible(text: str) -> str:
    """Stored text in one line of a terminal: no control character that could steer it."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def source_link(message: Message) -> tuple[str, str] | None:
    """(address, host) of where a message says it comes from: its metadata's "url" or "source".

    Only http and https; None for anything that a browser could read in another way.
    """
    for name in _LINKS:
        address = message.metadata.get(name)
        if (
            not isinstance(address, str)
            or not address.isprintable()
            or set(address) & set(' \\"<>')
        ):
            continue
        try:
            parts = urlsplit(address)
            host = parts.hostname
        except ValueError:  # brackets that are no IPv6 address
            continue
        if parts.scheme in {"http", "https"} and host:
            return address, host
    return None
