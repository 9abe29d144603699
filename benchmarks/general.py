"""Whether the default ranking holds on other talk: no worse than plain dense + BM25.

ours: `search` of a memory as `open_memory` makes it. plain: the cosine of a message's best piece
and BM25 over single messages (k1 0.9, b 0.4, the memory's own stems), each divided by its maximum
and summed, over the same messages. R@k is the share of a question's evidence among the first k,
as a mean over questions: `R@k/ours`, `R@k/plain`, and by kind of question and by conversation
`R@k/ours/NAME`. `R@k/gain` is ours less plain, with 95 % of a bootstrap over questions.
--data is a file as `talks.py` describes. --chunking adds a folder of documents, each cut into turns
of one session; its keys begin with "chunking ". --quick takes every third conversation, and 40
questions of each document.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks.encodings import default_encodings
from benchmarks.intervals import by_row
from benchmarks.plain import Plain
from benchmarks.report import BadData, Goal, Report
from benchmarks.talks import Asked, Chat, documents, talks
from benchmarks.volume import complete, settle, workplace
from rag_memory_plugins import open_memory
from rag_memory_plugins.portal import get_portal

if TYPE_CHECKING:
    from rag_memory_plugins import Message
    from rag_memory_plugins.ports import Embedder

DATA: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "talks.jsonl"
DEPTHS: Final = (5, 10)
WAYS: Final = ("ours", "plain")
CHUNKING: Final = "chunking "
GOALS: Final = {f"{of}R@{depth}/gain": Goal(">=", 0) for of in ("", CHUNKING) for depth in DEPTHS}
QUICK_EVERY: Final = 3
QUICK_QUESTIONS: Final = 40
SHOWN: Final = 160


@dataclass(frozen=True)
class Row:
    """One question and the first ids that each way ranked for it."""

    chat: Chat
    asked: Asked
    ours: list[str]
    plain: list[str]

    def share(self, way: str, depth: int) -> float:
        """Part of the evidence among the first `depth` of "ours" or "plain"."""
        ids: list[str] = getattr(self, way)[:depth]
        return len(self.asked.evidence & set(ids)) / len(self.asked.evidence)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--data", metavar="PATH", default=str(DATA), help="talks (tests/data/talks.jsonl)"
    )
    parser.add_argument(
        "--chunking", metavar="PATH", help="a folder of corpora/*.md and questions.csv as well"
    )
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help="keep the texts' vectors in this file and take them from it in later runs",
    )
    parser.add_argument(
        "--misses", metavar="PATH", help="write questions whose evidence was missed to this file"
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every conversation in a database of its own."""
    report = Report("general", GOALS)
    chats = talks(options.data)
    papers = documents(options.chunking) if options.chunking else []
    if options.quick:
        chats = chats[::QUICK_EVERY]
        papers = [replace(paper, questions=paper.questions[:QUICK_QUESTIONS]) for paper in papers]
    missed: list[str] = []
    start = perf_counter()
    with (
        workplace(options.dir) as folder,
        default_encodings(options.cache or str(folder / "vectors.db")) as embedder,
    ):
        for prefix, some in (("", chats), (CHUNKING, papers)):
            rows = [row for chat in some for row in measured(chat, folder, embedder, progress)]
            if not rows:
                continue
            put(report, prefix, rows)
            report.put(f"{prefix}messages", sum(len(chat.messages) for chat in some))
            missed += [text for row in rows for text in misses(row)]
    if not report.figures:
        raise BadData(f"--data: {options.data} has no question with evidence")
    report.put("seconds", perf_counter() - start)
    if options.misses:
        Path(options.misses).write_text("\n".join(missed), encoding="utf-8")
    return report


def measured(chat: Chat, folder: Path, embedder: Embedder, progress: Progress) -> list[Row]:
    """Every question of a conversation, ranked both ways."""
    if not chat.questions:
        return []
    plain = Plain(chat.messages, embedder)
    rows = []
    with open_memory(str(folder / f"{chat.name}.db"), embedder=embedder) as memory:
        for session, messages in chat.sessions.items():
            memory.conversation(chat.name, "reader", session).add(messages)
        settle(memory, progress, chat.name)
        # Asked from a session that has no turns of its own.
        reader = memory.conversation(chat.name, "reader", "questions")
        for asked in progress.track(chat.questions, description=f"{chat.name} questions"):
            found = reader.search(asked.text, limit=max(DEPTHS))
            complete(found)
            ranked = get_portal().call(plain.arank(asked.text))[: max(DEPTHS)]
            rows.append(Row(chat, asked, [hit.message.id for hit in found], ranked))
    return rows


def put(report: Report, prefix: str, rows: Sequence[Row]) -> None:
    """Means and their difference, over all questions, then by kind and by conversation."""
    put_means(report, prefix, "", rows)
    gains = [
        [row.share("ours", depth) - row.share("plain", depth) for depth in DEPTHS] for row in rows
    ]
    bounds = by_row(gains).tolist()
    for at, depth in enumerate(DEPTHS):
        report.put(f"{prefix}R@{depth}/gain", sum(gain[at] for gain in gains) / len(gains))
        for side, figures in zip(("low", "high"), bounds, strict=True):
            report.put(f"{prefix}R@{depth}/gain/{side}", figures[at])
    for name in dict.fromkeys(row.asked.kind for row in rows):
        put_means(report, prefix, f"/{name}", [row for row in rows if row.asked.kind == name])
    for name in dict.fromkeys(row.chat.name for row in rows):
        put_means(report, prefix, f"/{name}", [row for row in rows if row.chat.name == name])
    report.put(f"{prefix}questions", len(rows))
    report.put(f"{prefix}evidence", sum(len(row.asked.evidence) for row in rows))


def put_means(report: Report, prefix: str, suffix: str, rows: Sequence[Row]) -> None:
    """`R@5/ours`, `R@5/plain` and so on of these rows."""
    for depth in DEPTHS:
        for way in WAYS:
            mean = sum(row.share(way, depth) for row in rows) / len(rows)
            report.put(f"{prefix}R@{depth}/{way}{suffix}", mean)


def misses(row: Row) -> Iterator[str]:
    """For reading: a question whose evidence is not all among our first, what was, and what not."""
    deepest = max(DEPTHS)
    if row.share("ours", deepest) == 1:
        return
    said: dict[str, Message] = {message.id: message for message in row.chat.messages}
    places = {key: row.plain.index(key) + 1 for key in row.asked.evidence & set(row.plain)}
    yield f"{row.chat.name} [{row.asked.kind}] {row.asked.text}"
    for key in sorted(row.asked.evidence - set(row.ours)):
        yield f"    missed {key} (plain: {places.get(key, 'missed')}) {_short(said[key])}"
    for key in row.ours[:3]:
        yield f"    found  {key} {_short(said[key])}"


def _short(message: Message) -> str:
    return f"{message.speaker}: {message.content}".replace("\n", " ")[:SHOWN]
