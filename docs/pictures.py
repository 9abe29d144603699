"""Draws context.svg, from the demo's conversation, parts.svg and deployment.svg: `python docs/pictures.py`."""

from __future__ import annotations

import json
import tempfile
from html import escape
from importlib.resources import files
from pathlib import Path

from rag_memory_plugins import Context, TokenBudget, open_memory
from rag_memory_plugins.explaining import rows

QUESTION = "Which accent colour does the app use now?"
COLOURS = {part: colours[0] for part, colours in rows.COLOURS.items()}
COLOURS |= {"out": "#9ca3af", "completion": "#94a3b8"}
WIDTH, BAR, ROW = 860, 26, 22
PARTS = {
    "system": "the caller's own message and tools; comes first, is never shortened",
    "anchors": "pins and the first goal; shortened, with a mark, where they must be",
    "facts": "what holds now, from a FactSource; the first matter most",
    "summary": "what left the recent turns, in a few lines; the newest lines stay",
    "recent": "the last turns as they were said; the user's message is always among them",
    "retrieved": "turns that answer the question, by date, from all the user's sessions",
    "completion": "kept free for the answer",
}


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
    return svg(out, y + 16)


def draw_parts(budget: TokenBudget) -> str:
    """The parts of a context in their order: shares, where what is left flows, what stays."""
    out: list[str] = []
    scale = (WIDTH - 24) / budget.total
    stated = {name: getattr(budget, name) or 0 for name in PARTS}
    # One box for the two parts that take what they need of what is not stated.
    stated["anchors"] = budget.total - sum(stated.values())
    left: dict[str, float] = {}

    def text(x: float, y: float, words: str, style: str = "") -> None:
        out.append(f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>')

    def line(points: str, style: str) -> None:
        out.append(f'<polyline points="{points}" fill="none" {style}/>')

    text(12, 24, f"TokenBudget.default(): one request of {budget.total:,} tokens", BOLD)
    x = 12.0
    for name, share in stated.items():
        if not share:
            continue
        left[name], width = x, share * scale
        style = f'fill="{COLOURS[name]}"' + (' fill-opacity="0.55"' if name == "anchors" else "")
        out.append(f'<rect x="{x:.1f}" y="58" width="{width - 1:.1f}" height="{BAR}" {style}/>')
        words = "anchors, facts" if name == "anchors" else name
        text(x + 4, 76, words, 'fill="white" font-size="12"')
        text(x + 4, 52, f"{share:,}", 'fill="#666" font-size="12"')
        x += width
    for name in ("anchors", "summary", "recent"):
        end = left[name] + stated[name] * scale
        line(f"{end - 14:.0f},92 {end + 14:.0f},92", 'stroke="#444" marker-end="url(#head)"')
    text(left["summary"], 110, "what a part does not use, the next may", GREY)
    back = (left["retrieved"] + 200, left["retrieved"] + 60)
    line(f"{back[0]:.0f},92 {back[1]:.0f},92", 'stroke="#444" marker-end="url(#head)"')
    text(back[0] + 8, 96, "and the recent ones what recall left,", GREY)
    text(back[0] + 8, 110, "where they have no number", GREY)
    for start, end, words in (
        ("system", "recent", "begins the same, turn after turn"),
        ("retrieved", "completion", "the question's own"),
    ):
        edges = left[start] + 2, left[end] - 4
        line(
            f"{edges[0]:.0f},122 {edges[0]:.0f},130 {edges[1]:.0f},130 {edges[1]:.0f},122",
            'stroke="#999"',
        )
        text(edges[0] + 4, 146, words, GREY)
    y = 178
    for name, words in PARTS.items():
        out.append(f'<rect x="12" y="{y - 11}" width="10" height="10" fill="{COLOURS[name]}"/>')
        text(30, y, name, BOLD)
        text(120, y, words)
        y += ROW
    return svg(out, y)


def draw_deployment() -> str:
    """The same flow on one machine and on many: what is true, what is derived, what is shared."""
    out: list[str] = []

    def text(x: float, y: float, words: str, style: str = "") -> None:
        out.append(f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>')

    def box(x: float, y: float, width: float, lines: tuple[str, ...], colour: str) -> None:
        height = 14 + 18 * len(lines)
        place = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height}" rx="4"'
        out.append(f'<rect {place} fill="{colour}" fill-opacity="0.14" stroke="{colour}"/>')
        for number, words in enumerate(lines):
            text(x + 10, y + 20 + 18 * number, words, GREY if number else BOLD)

    def arrow(points: str, words: str, x: float, y: float, dashes: str = "") -> None:
        style = f'fill="none" stroke="#444" marker-end="url(#head)" {dashes}'
        out.append(f'<polyline points="{points}" {style}/>')
        text(x, y, words, GREY)

    x = 320
    text(12, 24, "One machine", BOLD)
    text(12, 44, 'open_memory("memory.db")', GREY)
    text(x, 24, "Many", BOLD)
    text(x, 44, 'open_memory("postgresql://…", index="qdrant://…", shared="redis://…")', GREY)
    out.append('<g transform="translate(0 20)">')
    box(12, 40, 250, ("your processes", "adapters, search, contexts, embedder"), PROCESS)
    box(
        12,
        150,
        250,
        ("memory.db", "the log: the truth", "its vectors; numbers stay in a process"),
        LOG,
    )
    arrow("106,90 106,148", "add: on disk", 22, 124)
    arrow("180,148 180,92", "snapshot, all vectors", 136, 124)
    text(12, 236, "one writer at a time", GREY)

    out.append(f'<line x1="{x - 28}" y1="-8" x2="{x - 28}" y2="330" stroke="#ccc"/>')
    for number in range(3):
        box(x + 180 * number, 40, 168, ("a process", "on any machine"), PROCESS)
    box(x, 190, 168, ("Postgres", "the log: the truth", "vectors, queues, leases"), LOG)
    box(x + 180, 190, 168, ("Qdrant", "proposes numbers of", "messages; no text"), INDEX)
    box(x + 360, 190, 168, ("Redis", "counts, with an end", "may be lost"), SHARED)
    arrow(f"{x + 40},90 {x + 40},188", "add, snapshot", x + 46, 112)
    arrow(f"{x + 310},90 {x + 310},188", "large users: near?", x + 196, 112)
    arrow(f"{x + 400},90 {x + 400},188", "tokens, rates, money", x + 406, 112)
    way = f"{x + 220},188 {x + 220},158 {x + 120},158 {x + 120},188"
    arrow(way, "looked up and scored in the log", x + 84, 150)
    arrow(
        f"{x + 80},258 {x + 80},290 {x + 264},290 {x + 264},260",
        "vectors follow in the background, removals before the receipt is complete",
        x + 60,
        306,
        'stroke-dasharray="4 3"',
    )
    text(x, 328, "Qdrant or any other index can be emptied and filled again from the log", GREY)
    out.append("</g>")
    return svg(out, 364)


PROCESS, LOG, INDEX, SHARED = "#64748b", "#2563eb", "#059669", "#d97706"
BOLD, GREY = 'font-weight="bold"', 'fill="#666" font-size="12"'
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>'
)


def svg(out: list[str], height: float) -> str:
    """A picture of these elements."""
    body = "\n".join(out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>{HEAD}\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "context.svg").write_text(draw(*make()), encoding="utf-8")
    (folder / "parts.svg").write_text(draw_parts(TokenBudget.default()), encoding="utf-8")
    (folder / "deployment.svg").write_text(draw_deployment(), encoding="utf-8")
