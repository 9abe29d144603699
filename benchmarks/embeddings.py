"""How well and how fast an embedder finds turns by itself: cosine alone, no keywords, no ranking.

P@5: share of the first five turns that are evidence of the question; most questions have one
evidence turn, so 0.2 is near the top. R@5: share of the evidence among them. A turn is embedded as
"Name: text", batches of 32 as the background worker makes them; its score is that of its best
piece. Measured are MiniLM int8 and those named with --embedder; one that cannot run is left out
with the reason. Without --data only speed and size are measured, on made-up texts. --quick takes
the first conversation only.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.progress import Progress

from benchmarks import plots
from benchmarks.report import BadData, Report
from benchmarks.scores import line, share
from benchmarks.talk_files import Question, Talk, read
from benchmarks.volume import Texts
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Embedder
from rag_memory_plugins.retrieval.embedding import TOKENIZER, MiniLM
from rag_memory_plugins.retrieval.remote_embedding import (
    CohereEmbedder,
    HuggingFaceEmbedder,
    OpenAIEmbedder,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

GRID: Final = ("P@5", "R@5", "texts_per_s", "query_ms_p50", "dimension", "disk_mb")
DEPTH: Final = 5
BATCH: Final = 32
MADE_UP: Final = (500, 100)
"""Texts and questions without --data."""
OURS: Final = "minilm-int8"
PROVIDERS: Final[Mapping[str, Callable[[str], Embedder]]] = {
    "openai": OpenAIEmbedder,
    "cohere": CohereEmbedder,
    "huggingface": HuggingFaceEmbedder,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--data", metavar="PATH", help="a file of LoCoMo's shape, for P@5 and R@5")
    parser.add_argument(
        "--embedder",
        nargs="+",
        default=[],
        metavar="NAME",
        help="others: openai:MODEL, cohere:MODEL, huggingface:MODEL, or package.module:object, an "
        "Embedder, a LangChain Embeddings, a LlamaIndex BaseEmbedding, or what makes one",
    )


@dataclass(frozen=True)
class Asked:
    """Texts of one conversation and the questions about them; no talk when they are made up."""

    texts: list[str]
    questions: list[str]
    talk: Talk | None = None


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure each embedder on the same texts."""
    report = Report("embeddings", grid=GRID)
    names = list(dict.fromkeys([OURS, *options.embedder]))
    for name in names:
        if name != OURS and not all(name.partition(":")[::2]):
            raise BadData(f"--embedder: {name!r} is neither provider:model nor module:object")
    asked = material(options)
    for name in names:
        try:
            embedder = make(name)
            try:
                measure(report, label(name), embedder, asked, progress)
            finally:
                get_portal().call(embedder.aclose())
        except BadData:
            raise
        except Exception as error:  # what was named may raise anything; the others still count
            reason = " ".join(str(error).split())
            report.notes.append(f"{name} left out: {type(error).__name__}: {reason}")
    if not report.figures:
        raise BadData("; ".join(report.notes))
    report.put("texts", sum(len(some.texts) for some in asked))
    report.put("questions", sum(len(some.questions) for some in asked))
    return report


def material(options: argparse.Namespace) -> list[Asked]:
    """The conversations of --data, or made-up texts in the place of one."""
    if options.data is None:
        source = Texts(seed=7)
        texts = source.messages(MADE_UP[0])
        return [Asked(texts, source.questions(texts, MADE_UP[1]))]
    talks = [talk for talk in read(options.data) if talk.questions][: 1 if options.quick else None]
    if not talks:
        raise BadData(f"--data: {options.data} has no question with evidence")
    return [
        Asked(
            [line(turn) for turn in talk.turns.values()],
            [question.text for question in talk.questions],
            talk,
        )
        for talk in talks
    ]


def label(name: str) -> str:
    """A name for keys: no slash, which parts a key, and of an import path the object alone."""
    before, _, after = name.partition(":")
    return name.replace("/", "_") if before in PROVIDERS or not after else after


def make(name: str) -> Embedder:
    """The embedder of that name, a framework's wrapped. Raises what its parts raise."""
    if name == OURS:
        return MiniLM()
    before, _, after = name.partition(":")
    if before in PROVIDERS:
        return PROVIDERS[before](after)
    found: Any = getattr(importlib.import_module(before), after)
    if isinstance(found, type) or not hasattr(found, "aembed_documents"):
        found = found() if callable(found) else found
    if isinstance(found, Embedder):
        return found
    if hasattr(found, "get_text_embedding"):
        from rag_memory_plugins.llama_index import as_embedder as of_llama_index

        return of_llama_index(found)
    if hasattr(found, "embed_documents"):
        from rag_memory_plugins.langchain import as_embedder as of_langchain

        return of_langchain(found)
    raise BadData(f"--embedder: {name} is a {type(found).__name__}, which embeds nothing")


def measure(
    report: Report, name: str, embedder: Embedder, asked: Sequence[Asked], progress: Progress
) -> None:
    """Figures `KEY/NAME`; the first text and question are not timed, because they load the model."""
    call = get_portal().call
    call(embedder.aembed_documents(asked[0].texts[:1]))
    call(embedder.aembed_query(asked[0].questions[0]))
    writing, asking = 0.0, []
    scores: list[tuple[float, float]] = []
    for some in asked:
        pieces: list[Vectors] = []
        for start in progress.track(range(0, len(some.texts), BATCH), description=f"{name} texts"):
            began = perf_counter()
            pieces += call(embedder.aembed_documents(some.texts[start : start + BATCH]))
            writing += perf_counter() - began
        for at, text in enumerate(progress.track(some.questions, description=f"{name} questions")):
            began = perf_counter()
            vector = call(embedder.aembed_query(text))
            asking.append(perf_counter() - began)
            if some.talk is not None:
                scores.append(shares(some.talk.questions[at], some.talk, pieces, vector))
    if scores:
        for key, column in zip(("P@5", "R@5"), zip(*scores, strict=True), strict=True):
            report.put(f"{key}/{name}", sum(column) / len(column))
    report.put(f"texts_per_s/{name}", sum(len(some.texts) for some in asked) / writing)
    report.put_times("query", asking, name)
    report.put(f"dimension/{name}", embedder.dimension)
    if size := disk_bytes(embedder):
        report.put(f"disk_mb/{name}", size / 1e6)


def shares(
    question: Question, talk: Talk, pieces: Sequence[Vectors], vector: Vectors
) -> tuple[float, float]:
    """P@5 and R@5 of one question; a turn without a vector comes last."""
    best = np.array([(rows @ vector).max() if len(rows) else -1.0 for rows in pieces])
    ids = list(talk.turns)
    first = [ids[at] for at in np.argsort(-best, kind="stable")[:DEPTH].tolist()]
    return len(question.evidence & set(first)) / DEPTH, share(question.evidence, first)


def disk_bytes(embedder: Embedder) -> int:
    """Bytes of the model's weights and vocabulary; 0 for a model that is somewhere else."""
    if isinstance(embedder, MiniLM):
        return embedder._file.stat().st_size + TOKENIZER.stat().st_size
    if isinstance(embedder, HuggingFaceEmbedder) and embedder._client is not None:
        return sum(part.numel() * part.element_size() for part in embedder._client.parameters())
    return 0


def picture(report: Report, figure: Figure) -> None:
    """A panel of bars for each kind of figure, a bar an embedder."""
    names = [key.partition("/")[2] for key in report.figures if key.startswith("texts_per_s/")]
    titles = {
        "P@5": "precision of the first 5 (P@5)",
        "R@5": "evidence in the first 5 (R@5)",
        "texts_per_s": "texts a second",
        "query_ms_p50": "ms a query (p50)",
    }
    kinds = [key for key in titles if f"{key}/{names[0]}" in report.figures]
    figure.set_size_inches(9, 1 + len(kinds) * (0.5 + plots.ROW * len(names)))
    for axes, kind in zip(np.atleast_1d(figure.subplots(len(kinds), 1)), kinds, strict=True):
        axes.set_title(titles[kind], fontsize=10, loc="left")
        values = [report.figures[f"{kind}/{name}"] for name in names]
        notes = [f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in values]
        plots.level_bars(axes, names, values, notes, [plots.BLUE] * len(names))
        plots.tidy(axes)
