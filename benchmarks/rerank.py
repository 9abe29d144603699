"""Whether the documents that a claim cites are found among thousands of abstracts.

ndcg@10 and recall@100, means over claims, of: bm25 (title and abstract, English stems, with and
without the package's stop words, k1 0.9 b 0.4 and k1 1.2 b 0.75: whichever is best by ndcg@10),
dense (cosine of the document's best piece) and ours (`search` of a memory that holds each document
as a message in a session of its own). A claim's relevant documents are those it cites; all count
the same. `ratio` is ours by the better of the other two. --quick takes 100 claims.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
import Stemmer
from rich.progress import Progress

from benchmarks.claims import Abstract, Claim, read
from benchmarks.encodings import default_encodings
from benchmarks.intervals import by_row
from benchmarks.ratios import ratio, ratio_bounds
from benchmarks.report import Goal, Report
from benchmarks.volume import complete, settle, workplace
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.lexical import terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.encodings import CachedEncodings

    Numbers = NDArray[np.float64]

WAYS: Final = ("bm25", "dense", "ours")
FIRST: Final = 10
DEEP: Final = 100
KEYS: Final = (f"ndcg@{FIRST}", f"recall@{DEEP}")
PARAMETERS: Final = ((0.9, 0.4), (1.2, 0.75))
GOALS: Final = {"ndcg@10/ours": Goal(">=", 0.70), "ratio": Goal(">=", 1.03)}
QUICK_CLAIMS: Final = 100
WORD: Final = re.compile(r"[^\W_]+")
BATCH: Final = 256

Rankings = list[list[str]]
"""For each claim the ids of the first `DEEP` documents, best first."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--data", required=True, metavar="PATH", help="a folder of corpus.csv and claims.csv"
    )
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help="keep the texts' vectors in this file and take them from it in later runs",
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Rank every document for every claim three ways."""
    report = Report("rerank", GOALS, grid=KEYS)
    documents, claims = read(options.data)
    claims = claims[: QUICK_CLAIMS if options.quick else None]
    start = perf_counter()
    with (
        workplace(options.dir) as folder,
        default_encodings(options.cache or str(folder / "vectors.db")) as embedder,
    ):
        ours, seconds = remembered(documents, claims, folder, embedder, progress)
        found = {
            "bm25": by_keywords(documents, claims, progress),
            "dense": by_cosine(documents, claims, embedder, progress),
            "ours": ours,
        }
    put(report, claims, found)
    report.put("documents", len(documents))
    report.put("claims", len(claims))
    report.put_times("search", seconds)
    report.put("seconds", perf_counter() - start)
    return report


def remembered(
    documents: Sequence[Abstract],
    claims: Sequence[Claim],
    folder: Path,
    embedder: CachedEncodings,
    progress: Progress,
) -> tuple[Rankings, list[float]]:
    """(what `search` finds, seconds of each search with the claim's vector at hand)."""
    rankings, seconds = [], []
    with open_memory(str(folder / "documents.db"), embedder=embedder) as memory:
        for document in progress.track(documents, description="documents"):
            session = memory.conversation("papers", "reader", document.id)
            session.add(Message("user", document.text, id=document.id))
        settle(memory, progress)
        # Asked from a session that has no turns of its own.
        reader = memory.conversation("papers", "reader", "claims")
        for claim in progress.track(claims, description="claims"):
            get_portal().call(embedder.aencode_query(claim.text))
            begun = perf_counter()
            found = reader.search(claim.text, limit=DEEP, window=0)
            seconds.append(perf_counter() - begun)
            complete(found)
            rankings.append([hit.message.id for hit in found])
    return rankings, seconds


def by_keywords(
    documents: Sequence[Abstract], claims: Sequence[Claim], progress: Progress
) -> Rankings:
    """BM25 by the best of the usual choices."""
    tried = []
    for words in (terms_of, stems_of):
        keywords = Keywords([document.text for document in documents], words)
        for k1, b in PARAMETERS:
            asked = progress.track(claims, description=f"bm25 {k1} {b}")
            scores = (keywords.scores(claim.text, k1, b) for claim in asked)
            tried.append([_first(documents, row) for row in scores])
    return max(
        tried,
        key=lambda found: sum(ndcg(c.cited, ids) for c, ids in zip(claims, found, strict=True)),
    )


def stems_of(text: str) -> list[str]:
    """English stems of all words, stop words too."""
    stems: list[str] = Stemmer.Stemmer("english").stemWords(WORD.findall(text.casefold()))
    return stems


class Keywords:
    """BM25 over texts, each on its own (Robertson and Zaragoza 2009)."""

    def __init__(self, texts: Sequence[str], words: Callable[[str], Sequence[object]]) -> None:
        self._words = words
        postings: dict[object, list[tuple[int, int]]] = {}
        lengths = []
        for row, text in enumerate(texts):
            counts = Counter(words(text))
            lengths.append(sum(counts.values()))
            for term, count in counts.items():
                postings.setdefault(term, []).append((row, count))
        self._lengths = np.array(lengths, np.float64)
        self._postings = {term: np.array(pairs).T for term, pairs in postings.items()}

    def scores(self, question: str, k1: float, b: float) -> Numbers:
        """Of every text, higher is better; shape (texts,)."""
        total = np.zeros(len(self._lengths))
        norms = k1 * (1 - b + b * self._lengths / (self._lengths.mean() or 1.0))
        for term in set(self._words(question)):
            if term in self._postings:
                rows, counts = self._postings[term]
                idf = math.log1p((len(total) - len(rows) + 0.5) / (len(rows) + 0.5))
                total[rows] += idf * counts * (k1 + 1) / (counts + norms[rows])
        return total


def by_cosine(
    documents: Sequence[Abstract],
    claims: Sequence[Claim],
    embedder: CachedEncodings,
    progress: Progress,
) -> Rankings:
    """The cosine of the best piece; a document without any comes last."""
    pieces: list[NDArray[np.float32]] = []
    for start in progress.track(range(0, len(documents), BATCH), description="dense"):
        texts = [document.text for document in documents[start : start + BATCH]]
        encoded = get_portal().call(embedder.aencode_documents(texts))
        pieces += [item.vectors for item in encoded]
    owner = np.repeat(np.arange(len(documents)), [len(some) for some in pieces])
    vectors = np.concatenate(pieces)
    rankings = []
    for claim in claims:
        vector = get_portal().call(embedder.aencode_query(claim.text)).vectors[0]
        best = np.full(len(documents), -1.0)
        np.maximum.at(best, owner, vectors @ vector)
        rankings.append(_first(documents, best))
    return rankings


def _first(documents: Sequence[Abstract], scores: Numbers) -> list[str]:
    return [documents[at].id for at in np.argsort(-scores, kind="stable")[:DEEP]]


def ndcg(relevant: frozenset[str], ids: Sequence[str]) -> float:
    """Normalised discounted cumulative gain of the first ten; relevant or not."""
    gains = [1 / math.log2(place + 2) for place in range(FIRST)]
    got = sum(gain for gain, key in zip(gains, ids, strict=False) if key in relevant)
    return got / sum(gains[: len(relevant)])


def recall(relevant: frozenset[str], ids: Sequence[str]) -> float:
    """The share of the relevant among the first hundred."""
    return len(relevant & set(ids[:DEEP])) / len(relevant)


def put(report: Report, claims: Sequence[Claim], found: dict[str, Rankings]) -> None:
    """Means with their intervals, and ours by the better of the others."""
    firsts: dict[str, list[float]] = {}
    measures: list[tuple[str, Callable[[frozenset[str], Sequence[str]], float]]] = [
        (KEYS[0], ndcg),
        (KEYS[1], recall),
    ]
    for key, measure in measures:
        columns = [
            [measure(claim.cited, ids) for claim, ids in zip(claims, found[way], strict=True)]
            for way in WAYS
        ]
        bounds = by_row(list(zip(*columns, strict=True))).tolist()
        for at, (way, column) in enumerate(zip(WAYS, columns, strict=True)):
            report.put(f"{key}/{way}", sum(column) / len(claims))
            for side, row in zip(("low", "high"), bounds, strict=True):
                report.put(f"{key}/{way}/{side}", row[at])
        firsts = firsts or dict(zip(WAYS, columns, strict=True))
    better = max((firsts["bm25"], firsts["dense"]), key=sum)
    report.put("ratio", ratio(firsts["ours"], better))
    for side, bound in zip(("low", "high"), ratio_bounds(firsts["ours"], better), strict=True):
        report.put(f"ratio/{side}", bound)
