"""Draws docs/context.svg from the demo's conversation: `python docs/pictures.py`."""

from __future__ import annotations

import json
import tempfile
from html import escape
from importlib.resources import files
from pathlib import Path

from rag_memory_plugins import Context, open_memory

QUESTION = "Which accent colour does the app use now?"
COLOURS = {"pins": "#d97706", "recent": "#2563eb", "retrieved": "#059669", "out": "#9ca3af"}
WIDTH, BAR, ROW = 860, 26, 22


def make() -> tuple[Context, int]:
    """The context for the question in a new session, and the tokens of the whole history."""
    lines = files("rag_memory_plugins.cli").joinpath("data", "demo.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    with tempfile.TemporaryDirectory() as folder, open_memory(f"{folder}/memory.db") as memory:
        for row in rows:
            session = row.pop("session")
            memory.conversation("acme", "ann", session).add(row)
        memory.settle()
        first = rows[0]["id"]
        memory.conversation("acme", "ann", "kickoff").pin(first, level="user")
        conversation = memory.conversation("acme", "ann", session)
        whole = memory.counter.count_messages(
            [m for space in memory.namespaces() for m in memory.conversation(space).messages()]
        )
        return conversation.context(QUESTION, 1_000), whole


def draw(context: Context, whole: int) -> str:
    """The picture: the budget as a bar, then the pieces with the reason for each."""
    out: list[str] = []

    def text(x: float, y: float, words: str, style: str = "") -> None:
        out.append(f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>')

    text(12, 24, f"“{QUESTION}”", 'font-weight="bold"')
    saved = 100 * (1 - context.tokens / whole)
    summary = f"{context.tokens} of {context.budget.total} tokens; the history has {whole:,}"
    text(12, 46, f"{summary}: {saved:.0f} % saved")
    x = 12.0
    for part in context.parts:
        width = (WIDTH - 24) * part.tokens / context.budget.total
        fill = COLOURS[part.name]
        out.append(f'<rect x="{x:.1f}" y="58" width="{width:.1f}" height="{BAR}" fill="{fill}"/>')
        text(x + 6, 76, f"{part.name} {part.tokens}", 'fill="white"')
        x += width
    out.append(
        f'<rect x="12" y="58" width="{WIDTH - 24}" height="{BAR}" fill="none" stroke="#999"/>'
    )
    y = 110
    best = sorted(
        context.pieces, key=lambda piece: (not piece.included, -(piece.score or 0), piece.part)
    )
    shown = [p for p in best if p.included][:9] + [p for p in best if not p.included][:3]
    for piece in shown:
        kind = piece.part if piece.included else "out"
        out.append(f'<rect x="12" y="{y - 11}" width="10" height="10" fill="{COLOURS[kind]}"/>')
        said = f"{piece.message.time:%d %b} {piece.message.speaker}: {piece.message.content}"
        text(30, y, said if len(said) < 78 else f"{said[:77]}…")
        text(WIDTH - 250, y, piece.reason, f'fill="{COLOURS[kind]}"')
        y += ROW
    hidden = len(context.pieces) - len(shown)
    text(30, y, f"… and {hidden} more, each with its reason: context.explain()", 'fill="#666"')
    body = "\n".join(out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 16}" '
        f'font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{y + 16}" fill="white"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_name("context.svg").write_text(draw(*make()), encoding="utf-8")
