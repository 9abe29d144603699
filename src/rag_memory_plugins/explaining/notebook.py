"""A context explained in a notebook: whatever was stored, none of it becomes markup."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from rag_memory_plugins.explaining.rows import (
    COLOURS,
    COLUMNS,
    OTHER,
    cells_of,
    figures_of,
    source_link,
)
from rag_memory_plugins.explaining.shapes import ExplainedContext, ExplainedPiece

__all__ = ["as_html"]

_LONGEST: Final = 2_000  # characters of a message below the table
_ROOM: Final = '<div style="max-height:20em;overflow:auto">'

Anchors = Mapping[tuple[str | None, str], str]


def as_html(context: ExplainedContext[Any]) -> str:
    """A bar of the parts, a table of the pieces, and the messages that the table links to."""
    first, *lines = figures_of(context)
    lines += [f"degraded: {reason}" for reason in context.degraded]
    lines += ["; ".join(f"{name}: {state}" for name, state in context.lanes.items())]
    anchors = _anchors(context)
    return (
        f"<p><b>{escape(first)}</b></p>{_bar(context)}"
        f"<p>{'<br>'.join(escape(line) for line in lines if line)}</p>"
        f"{_table(context, anchors)}{_messages(context, anchors)}"
    )


def _bar(context: ExplainedContext[Any]) -> str:
    total = max(context.budget.total, sum(part.tokens for part in context.parts))
    bar, legend = [], []
    for part in context.parts:
        name, colour = escape(part.name), COLOURS.get(part.name, OTHER)[0]
        style = f"background:{colour};width:{100 * part.tokens / total:.1f}%"
        bar.append(f'<div title="{name}: {part.tokens:,} tokens" style="{style}"></div>')
        legend.append(f'<span style="color:{colour}">■</span> {name} {part.tokens:,}')
    return (
        f'<div style="display:flex;height:12px;background:#eee;width:100%">{"".join(bar)}</div>'
        f"<p>{' · '.join(legend) or 'nothing'}</p>"
    )


def _anchors(context: ExplainedContext[Any]) -> Anchors:
    """An id in the page for each message, by session and id; another context's is another one."""
    told = "\0".join([context.query, *(piece.message.id for piece in context.pieces)])
    salt = hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    keys = dict.fromkeys(map(_key, context.pieces))
    return {key: f"rag-memory-{salt}-{number}" for number, key in enumerate(keys)}


def _key(piece: ExplainedPiece) -> tuple[str | None, str]:
    return piece.session, piece.message.id


def _table(context: ExplainedContext[Any], anchors: Anchors) -> str:
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = []
    for piece in sorted(context.pieces, key=lambda piece: not piece.included):
        *cells, place = map(escape, cells_of(piece))
        source = f'<a href="#{anchors[_key(piece)]}">{place}</a>'
        if (link := source_link(piece.message)) is not None:
            address, host = map(escape, link)
            source += f' <a href="{address}" target="_blank" rel="noopener noreferrer">{host}</a>'
        rows.append("".join(f"<td>{cell}</td>" for cell in (*cells, source)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _messages(context: ExplainedContext[Any], anchors: Anchors) -> str:
    """Each message once."""
    blocks = []
    for key, piece in {_key(piece): piece for piece in context.pieces}.items():
        message = piece.message
        more = len(message.content) - _LONGEST
        rest = f" … and {more:,} more characters" if more > 0 else ""
        who = (
            f"{message.time:%Y-%m-%d %H:%M} {message.speaker}, {piece.session or ''} #{message.id}"
        )
        blocks.append(
            f'<div id="{anchors[key]}"><small>{escape(who)}</small>'
            '<div style="white-space:pre-wrap">'
            f"{escape(message.content[:_LONGEST])}{rest}</div></div>"
        )
    return f"{_ROOM}{''.join(blocks)}</div>" if blocks else ""
