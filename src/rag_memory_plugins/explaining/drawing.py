"""A context explained in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.explaining.rows import (
    COLOURS,
    COLUMNS,
    OTHER,
    cells_of,
    figures_of,
    visible,
)
from rag_memory_plugins.explaining.shapes import ExplainedContext, ExplainedPiece

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["as_text", "drawn"]

_BAR: Final = 30  # characters that stand for the whole budget
_NARROWEST: Final = 40


def as_text(context: ExplainedContext[Any], width: int, *, pieces: bool) -> str:
    """What `drawn` draws, without colours, in lines of at most `width` columns, 40 at least."""
    from rich.console import Console

    # Said outright, because rich looks at the environment for colours and for a notebook.
    console = Console(
        file=StringIO(),
        width=max(_NARROWEST, width),
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(drawn(context, pieces=pieces))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def drawn(context: ExplainedContext[Any], *, pieces: bool) -> Group:
    """For a rich console: figures, a bar for each part, and with `pieces` each of them."""
    from rich.console import Group
    from rich.text import Text

    first, *rest = figures_of(context)
    figures: list[RenderableType] = [Text(line) for line in rest]
    lanes = "; ".join(f"{name}: {state}" for name, state in context.lanes.items())
    if lanes:
        figures.append(Text(visible(lanes), style="dim"))
    figures += [Text(f"degraded: {visible(why)}", style="red") for why in context.degraded]
    listed: list[RenderableType] = (
        [Text(), *_listed(context.pieces)] if pieces and context.pieces else []
    )
    return Group(Text(first, style="bold"), _bars(context), *figures, *listed)


def _bars(context: ExplainedContext[Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    bars = Table.grid(padding=(0, 2, 0, 0))
    for part in context.parts:
        share = part.tokens / context.budget.total
        full = min(_BAR, max(1, round(_BAR * share)))
        bar = Text("━" * full, style=COLOURS.get(part.name, OTHER)[1])
        bar.append("─" * (_BAR - full), style="dim")
        tokens = Text(f"{part.tokens:,}", justify="right")
        bars.add_row(Text(visible(part.name)), tokens, Text(f"{share:.0%}", justify="right"), bar)
    return bars


def _listed(pieces: Sequence[ExplainedPiece]) -> Iterator[RenderableType]:
    """Two lines for each piece: what became of it, and what it is. Ids stay whole, to be copied."""
    from rich.padding import Padding
    from rich.text import Text

    rows = [
        (piece, cells_of(piece)) for piece in sorted(pieces, key=lambda piece: not piece.included)
    ]
    widest = [
        max(map(len, column)) for column in zip(*(row for _, row in rows), COLUMNS, strict=True)
    ]
    yield _line(COLUMNS, widest, "dim")
    for piece, cells in rows:
        colour = COLOURS.get(piece.part, OTHER)[1] if piece.included else "dim"
        yield _line(cells, widest, colour)
        *_, date, who, said, source = cells
        style = "" if piece.included else "dim"
        told = Text(f"{date} {who}: {said} ({source})", style=style, overflow="fold")
        yield Padding(told, (0, 0, 0, 5))


def _line(cells: Sequence[str], widest: Sequence[int], style: str) -> Text:
    from rich.text import Text

    state, part, score, tokens, why, *_ = cells
    aligned = f"{state:<3}  {part:<{widest[1]}}  {score:>{widest[2]}}  {tokens:>{widest[3]}}  "
    return Text(aligned + why, style=style)
