"""How much of what answers a question is kept in few tokens: trimmed sentences, or whole chunks.

gold@b: the share of the gold characters kept in b cl100k tokens, as a mean over questions. Every
document is cut by a recursive splitter without overlap and remembered, a chunk a message, in one
session. ours: sentences by `atrim` of the first 40 chunks of 100 tokens as `search` ranks them,
those that adjoin given as one text. chunks: whole chunks that still fit, in the same rank order.
plain_chunks, dense_chunks: the same, ranked by cosine and BM25 in equal parts, and by cosine alone
as a plain vector store does. Chunks are of 100, 200 or 400 tokens, whichever size keeps most at that
budget. --quick takes 40 questions of each document.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.progress import Progress

from benchmarks.encodings import default_encodings
from benchmarks.golds import Document, Gold, Span, merged, overlap, read, size, split
from benchmarks.intervals import by_row
from benchmarks.plain import Plain
from benchmarks.ratios import ratio, ratio_bounds
from benchmarks.report import BadData, Goal, Report
from benchmarks.volume import complete, settle, workplace
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.trimming import atrim
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    from benchmarks.encodings import CachedEncodings
    from rag_memory_plugins.ports import TokenCounter

BUDGETS: Final = (400, 800, 1600)
SIZES: Final = (100, 200, 400)
TRIMMED_SIZE: Final = 100
TRIMMED_FIRST: Final = 40
LIMIT: Final = 100
WHOLE: Final = ("chunks", "plain_chunks", "dense_chunks")
COUNTER: Final = "cl100k_base"
GOALS: Final = {"ratio@800": Goal(">=", 1.25)}
QUICK_QUESTIONS: Final = 40


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--data", required=True, metavar="PATH", help="a folder of corpora/*.md and questions.csv"
    )
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help="keep the texts' vectors in this file and take them from it in later runs",
    )


@dataclass(frozen=True)
class Kept:
    """What one way kept for one question: shares by budget, and how much of it was gold."""

    shares: dict[int, float] = field(default_factory=dict)
    precision: dict[int, float] = field(default_factory=dict)

    def put(self, budget: int, gold: Gold, spans: Iterable[Span]) -> None:
        """Take in the spans of a document that were kept."""
        kept = merged(spans)
        both = overlap(kept, gold.spans)
        self.shares[budget] = both / size(gold.spans)
        self.precision[budget] = both / max(1, size(kept))


@dataclass(frozen=True)
class Row:
    """One question: what was kept of the document by each way."""

    document: str
    ways: dict[str, Kept]
    seconds: float
    over_budget: int


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    folder: Path
    embedder: CachedEncodings
    counter: TokenCounter
    progress: Progress


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every document in databases of its own."""
    report = Report("trim", GOALS, grid=[f"gold@{budget}" for budget in BUDGETS])
    documents = read(options.data)
    counter = make_counter(COUNTER)
    if not counter.exact:
        raise BadData(f"{COUNTER} is not here: install the extra `llama-index`")
    rows: list[Row] = []
    start = perf_counter()
    with (
        workplace(options.dir) as folder,
        default_encodings(options.cache or str(folder / "vectors.db")) as embedder,
    ):
        bench = Bench(folder, embedder, counter, progress)
        for document in documents:
            questions = document.questions[: QUICK_QUESTIONS if options.quick else None]
            rows += measured(document, questions, bench)
    put(report, rows)
    report.put("documents", len(documents))
    report.put("seconds", perf_counter() - start)
    return report


def measured(document: Document, questions: Sequence[Gold], bench: Bench) -> list[Row]:
    """Every question of a document, with what each way kept."""
    ways: list[dict[str, Kept]] = [{} for _ in questions]
    trimmed: list[tuple[float, int]] = []
    for most in SIZES:
        chunks = Chunks(document, most, bench)
        ranked = chunks.ranked([question.text for question in questions], bench)
        for way, question, order in zip(ways, questions, ranked, strict=True):
            way[f"chunks_{most}"] = chunks.whole(question, order)
            way[f"plain_chunks_{most}"] = chunks.whole(question, chunks.plainly(question))
            way[f"dense_chunks_{most}"] = chunks.whole(question, chunks.by_cosine(question, bench))
        if most == TRIMMED_SIZE:
            for way, question, order in zip(ways, questions, ranked, strict=True):
                way["ours"], seconds, over = chunks.trimmed(question, order, bench)
                trimmed.append((seconds, over))
    return [
        Row(document.name, way, seconds, over)
        for way, (seconds, over) in zip(ways, trimmed, strict=True)
    ]


class Chunks:
    """A document in chunks of one size."""

    def __init__(self, document: Document, most: int, bench: Bench) -> None:
        self.name = f"{document.name}-{most}"
        self.document = document.text
        spans = split(document.text, most, bench.counter.count)
        self.spans = [(start, end) for start, end in spans if document.text[start:end].strip()]
        self.texts = [document.text[start:end].strip() for start, end in self.spans]
        # One more for the blank line between two.
        self.tokens = [tokens + 1 for tokens in bench.counter.count_batch(self.texts)]
        self.messages = [Message("user", text, id=str(at)) for at, text in enumerate(self.texts)]
        self.vectors = get_portal().call(bench.embedder.aembed_documents(self.texts))
        self.plain = Plain(self.messages, bench.embedder)

    def ranked(self, questions: Sequence[str], bench: Bench) -> list[list[int]]:
        """For each question the places of chunks, best first, as `search` ranks them."""
        path = str(bench.folder / f"{self.name}.db")
        with open_memory(path, embedder=bench.embedder, counter=bench.counter) as memory:
            reading = memory.conversation(self.name, "reader", "document")
            reading.add(self.messages)
            settle(memory, bench.progress, self.name)
            reader = memory.conversation(self.name, "reader", "questions")
            ranked = []
            for question in bench.progress.track(questions, description=f"{self.name} questions"):
                found = reader.search(question, limit=LIMIT, window=0)
                complete(found)
                ranked.append([int(hit.message.id) for hit in found])
        return ranked

    def plainly(self, question: Gold) -> list[int]:
        """Places of chunks by cosine and BM25, each on its own, in equal parts."""
        return [int(key) for key in get_portal().call(self.plain.arank(question.text))]

    def by_cosine(self, question: Gold, bench: Bench) -> list[int]:
        """Places of chunks by the cosine of their best piece."""
        vector = get_portal().call(bench.embedder.aembed_query(question.text))
        cosines = [float((pieces @ vector).max(initial=-1)) for pieces in self.vectors]
        return np.argsort(-np.array(cosines), kind="stable").tolist()

    def whole(self, question: Gold, order: Sequence[int]) -> Kept:
        """Whole chunks in this order, each that still fits."""
        kept = Kept()
        for budget in BUDGETS:
            spans, left = [], budget + 1  # nothing follows the last
            for at in order:
                if self.tokens[at] <= left:
                    left -= self.tokens[at]
                    spans.append(self.spans[at])
            kept.put(budget, question, spans)
        return kept

    def trimmed(
        self, question: Gold, order: Sequence[int], bench: Bench
    ) -> tuple[Kept, float, int]:
        """(sentences of the first chunks, mean seconds of a trim, budgets not kept)."""
        passages = joined([self.spans[at] for at in order[:TRIMMED_FIRST]])
        texts = [self.document[start:end] for start, end in passages]
        kept, seconds, over = Kept(), 0.0, 0
        for budget in BUDGETS:
            start = perf_counter()
            found = get_portal().call(
                atrim(question.text, texts, budget, bench.counter, bench.embedder)
            )
            seconds += perf_counter() - start
            if found.degraded:
                raise BadData(f"a trim was not complete: {found.degraded}")
            # Counted again from the text: what it says of itself is what is being measured.
            within = bench.counter.count(found.text) <= budget
            over += not within
            spans = (
                (first + low, first + high)
                for (first, _), some in zip(passages, found.spans, strict=True)
                for low, high in some
            )
            kept.put(budget, question, spans if within else ())
        return kept, seconds / len(BUDGETS), over


def joined(spans: Sequence[Span]) -> list[Span]:
    """Spans best first, those that adjoin as one, in the place of the better."""
    rank = {start: at for at, (start, _) in enumerate(spans)}
    whole = merged(spans)
    best = {
        (start, end): min(rank[first] for first, _ in spans if start <= first < end)
        for start, end in whole
    }
    return sorted(whole, key=best.__getitem__)


def put(report: Report, rows: Sequence[Row]) -> None:
    """Means by budget, the best chunk size of each, their quotient and its interval."""
    for budget in BUDGETS:
        shares = {way: [row.ways[way].shares[budget] for row in rows] for way in rows[0].ways}
        for way in WHOLE:
            sizes = (f"{way}_{most}" for most in SIZES)
            shares[way] = max((shares[name] for name in sizes), key=sum)
        for way in dict.fromkeys(("ours", *WHOLE, *rows[0].ways)):
            report.put(f"gold@{budget}/{way}", sum(shares[way]) / len(rows))
        bounds = by_row(list(zip(shares["ours"], shares["chunks"], strict=True))).tolist()
        for side, (ours, chunks) in zip(("low", "high"), bounds, strict=True):
            report.put(f"gold@{budget}/ours/{side}", ours)
            report.put(f"gold@{budget}/chunks/{side}", chunks)
        report.put(f"ratio@{budget}", ratio(shares["ours"], shares["chunks"]))
        low, high = ratio_bounds(shares["ours"], shares["chunks"])
        report.put(f"ratio@{budget}/low", low)
        report.put(f"ratio@{budget}/high", high)
        for way in WHOLE[1:]:
            name = way.partition("_")[0]
            report.put(f"ratio_{name}@{budget}", ratio(shares["ours"], shares[way]))
    put_more(report, rows)


def put_more(report: Report, rows: Sequence[Row]) -> None:
    """What is told beside: how much of what was kept is gold, figures by document, times."""
    for budget in BUDGETS:
        for way in ("ours", f"chunks_{TRIMMED_SIZE}"):
            mean = sum(row.ways[way].precision[budget] for row in rows) / len(rows)
            report.put(f"precision@{budget}/{way}", mean)
    for name in dict.fromkeys(row.document for row in rows):
        some = [row for row in rows if row.document == name]
        for way in ("ours", *(f"chunks_{most}" for most in SIZES)):
            mean = sum(row.ways[way].shares[800] for row in some) / len(some)
            report.put(f"gold@800/{way}/{name}", mean)
    report.put("questions", len(rows))
    report.put("over_budget", sum(row.over_budget for row in rows))
    report.put_times("trim", [row.seconds for row in rows])
