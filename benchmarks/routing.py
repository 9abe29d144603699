"""Whether prompts that need the strong model are told from those that do not.

APGR and CPT (RouteLLM, arXiv 2406.18665; whole curves) on its labels of GSM8K and MMLU, of two
models, without the prompts it names as contaminated. `random` is a coin, `length` sends the longest
prompts to the strong model. `ours` is the shipped router with a history: kNN over the outcomes of
one half, asked for the other, both ways round, where its own report finds it better than the prior;
else the prior. Beside it `ours_no_history`, the prior alone, and `ours_transfer`, the outcomes of
one set with the questions of the other. Of a large set 6,000 prompts are drawn; --quick draws 1,000.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.progress import Progress

from benchmarks.report import BadData, Report, progress_bar
from rag_memory_plugins import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason
from rag_memory_plugins.router.apgr import apgr, bounds, cpt
from rag_memory_plugins.router.outcomes import Outcomes
from rag_memory_plugins.router.quality import prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import Embedder

    Numbers = NDArray[np.float64]

__all__ = ["NOTES", "Questions", "quality", "read", "table"]

SETS: Final = ("gsm8k", "mmlu")
WEAK: Final = "mistralai/Mixtral-8x7B-Instruct-v0.1"
STRONG: Final = "gpt-4-1106-preview"
WAYS: Final = ("random", "length", "ours", "ours_no_history", "ours_transfer")
SAMPLE: Final = 6_000
QUICK: Final = 1_000
SPLITS: Final = 5
SEED: Final = 1
BATCH: Final = 256
PIECES: Final = 8  # of a long prompt, as `MiniLM.aembed_query` takes
TENANT: Final = Scope("acme", "ann")
NOTES: Final = (
    f"apgr/SET/ours is the headline: with the outcomes of the other half, mean of {SPLITS} splits.",
    "ours_no_history is the prior alone, which orders by length.",
    "ours_transfer has the outcomes of the other set: the more it abstains the better.",
    "abstained: the share of prompts for which the value is the prior all the same.",
    "low, high: 95 %, prompts drawn anew with replacement; means over the splits.",
)


@dataclass(frozen=True)
class Questions:
    """Prompts of one set, and of each whether the weak and the strong model were right."""

    texts: Sequence[str]
    weak: Numbers
    strong: Numbers

    def drawn(self, most: int) -> Questions:
        """At most so many, from a fixed seed."""
        if len(self.texts) <= most:
            return self
        at = np.sort(np.random.default_rng(SEED).permutation(len(self.texts))[:most])
        texts = [self.texts[row] for row in at]
        return Questions(texts, self.weak[at], self.strong[at])


@dataclass(frozen=True)
class Embedded:
    """Questions as the router sees them."""

    questions: Questions
    vectors: NDArray[np.float32]
    priors: list[float]


@dataclass(frozen=True)
class Scored:
    """Scores of all questions by one router, and the share in which it abstained."""

    scores: Numbers
    abstained: float = 0.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="a folder of gsm8k/ and mmlu/, each with .csv files and contaminated_prompts.jsonl",
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Score every prompt of both sets by every router."""
    report = Report("routing")
    most = QUICK if options.quick else SAMPLE
    for key, figure in quality(Path(options.data), most=most, progress=progress).items():
        report.put(key, figure)
    report.notes += [*table(report.figures).splitlines(), *NOTES]
    return report


def quality(
    data: Path,
    *,
    most: int = SAMPLE,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """`apgr/SET/WAY` with `/low` and `/high`, `cpt50/SET/WAY`, `cpt80/SET/WAY` and what else is told.

    At most `most` prompts a set, drawn from a fixed seed. Raises `BadData`.
    """
    start = perf_counter()
    embedder = embedder or default_embedder()
    if embedder is None:
        raise BadData(f"routing: {missing_local_reason()}")
    figures: dict[str, float] = {}
    sets: dict[str, Embedded] = {}
    for name in SETS:
        all_of_it = read(data / name)
        figures[f"prompts/{name}"] = len(all_of_it.texts)
        sets[name] = embedded(all_of_it.drawn(most), embedder, progress or progress_bar(), name)
        figures[f"n/{name}"] = len(sets[name].priors)
    for name, other in zip(SETS, reversed(SETS), strict=True):
        for way, runs in scored(sets[name], sets[other]).items():
            figures |= judged(sets[name].questions, runs, f"{name}/{way}")
    figures["seconds"] = perf_counter() - start
    return figures


def read(folder: Path) -> Questions:
    """All prompts of a set's .csv files but the contaminated ones. Raises `BadData`."""
    bad = set(_contaminated(folder / "contaminated_prompts.jsonl"))
    rows = [row for path in sorted(folder.glob("*.csv")) for row in _rows(path)]
    rows = [row for row in rows if row[0] not in bad]
    if len(rows) < 2:
        raise BadData(f"--data: {folder} has no prompts in .csv files")
    weak, strong = (np.array([row[at] for row in rows], np.float64) for at in (1, 2))
    if strong.sum() <= weak.sum():
        raise BadData(f"--data: in {folder} {STRONG} is not the better model: there is no gap")
    return Questions([row[0] for row in rows], weak, strong)


def _rows(path: Path) -> Iterator[tuple[str, bool, bool]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                right = [
                    {"True": True, "False": False}.get(row.get(m) or "") for m in (WEAK, STRONG)
                ]
                text = row.get("prompt")
                if text is None or right[0] is None or right[1] is None:
                    raise BadData(
                        f"--data: {path} row {number} has no prompt, or no True or False for "
                        f"{WEAK} and {STRONG}"
                    )
                yield text, right[0], right[1]
    except OSError as error:
        raise BadData(f"--data: {path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadData(f"--data: {path} is no csv: {error}") from error


def _contaminated(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["eval_prompt"] for line in lines if line.strip()]
    except OSError as error:
        raise BadData(f"--data: {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"--data: {path} has not an eval_prompt in every line: {error}") from error


def embedded(questions: Questions, embedder: Embedder, progress: Progress, name: str) -> Embedded:
    """Vectors and priors; a long prompt's vector is the mean of its first pieces."""
    vectors = np.zeros((len(questions.texts), embedder.dimension), np.float32)
    starts = range(0, len(questions.texts), BATCH)
    for start in progress.track(starts, description=f"embedding {name}"):
        texts = questions.texts[start : start + BATCH]
        made = get_portal().call(embedder.aembed_documents(texts))
        for at, pieces in enumerate(made, start):
            mean = pieces[:PIECES].mean(axis=0)
            vectors[at] = mean / np.linalg.norm(mean)
    return Embedded(questions, vectors, [prior(text) for text in questions.texts])


def scored(here: Embedded, other: Embedded) -> dict[str, list[Scored]]:
    """The scores of each way, once or once a split."""
    count = len(here.priors)
    chance = [np.random.default_rng(SEED + split).random(count) for split in range(SPLITS)]
    length = np.array([len(text) for text in here.questions.texts], np.float64)
    return {
        "random": [Scored(scores) for scores in chance],
        "length": [Scored(length)],
        "ours": [with_history(here, SEED + split) for split in range(SPLITS)],
        "ours_no_history": [Scored(np.array(here.priors), 1.0)],
        "ours_transfer": [estimated(other, range(len(other.priors)), here, range(count))],
    }


def with_history(here: Embedded, seed: int) -> Scored:
    """Each half by the outcomes of the other."""
    order = np.random.default_rng(seed).permutation(len(here.priors))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    scores, abstained = np.zeros(len(order)), 0.0
    for known, asked in (halves, halves[::-1]):
        part = estimated(here, known, here, asked)
        scores[asked] = part.scores
        abstained += part.abstained * len(asked) / len(order)
    return Scored(scores, abstained)


def estimated(
    known: Embedded, rows: Sequence[int], asked: Embedded, asked_rows: Sequence[int]
) -> Scored:
    """What the shipped `Outcomes` say of `asked`, both models' outcomes of `known` recorded."""
    outcomes = Outcomes(known.vectors.shape[1])
    right = known.questions
    for at in rows:
        vector, value = known.vectors[at], known.priors[at]
        outcomes.record(TENANT, vector, value, weak=right.weak[at], strong=right.strong[at])
    outcomes.report(TENANT)
    made = [outcomes.estimate(TENANT, asked.vectors[at], asked.priors[at]) for at in asked_rows]
    abstained = sum(estimate.abstained for estimate in made) / len(made)
    return Scored(np.array([estimate.value for estimate in made]), abstained)


def judged(questions: Questions, runs: Sequence[Scored], name: str) -> dict[str, float]:
    """APGR with bounds and CPT: means over the runs."""
    weak, strong = questions.weak, questions.strong
    rows = []
    for one in runs:
        low, high = bounds(weak, strong, one.scores)
        if not np.isfinite([low, high]).all():
            raise BadData(f"routing: {name} has too few prompts, or too small a gap, for bounds")
        cpts = [cpt(weak, strong, one.scores, percent) for percent in (50, 80)]
        rows.append([apgr(weak, strong, one.scores), low, high, *cpts, one.abstained])
    keys = (f"apgr/{name}", f"apgr/{name}/low", f"apgr/{name}/high", f"cpt50/{name}")
    means = np.mean(rows, axis=0).tolist()
    figures = dict(zip([*keys, f"cpt80/{name}"], means[:-1], strict=True))
    return figures | ({f"abstained/{name}": means[-1]} if "ours" in name else {})


def table(figures: dict[str, float]) -> str:
    """The figures of `quality` as lines of text, a router a line."""
    lines = [f"{'':<23}{'APGR':>6}  {'low to high':^16}{'CPT50':>6}{'CPT80':>7}{'abstained':>11}"]
    for name in SETS:
        lines.append(
            f"{name}: {figures[f'n/{name}']:,.0f} of {figures[f'prompts/{name}']:,.0f} prompts"
        )
        for way in WAYS:
            key = f"{name}/{way}"
            low, high = (figures[f"apgr/{key}/{side}"] for side in ("low", "high"))
            share = figures.get(f"abstained/{key}")
            lines.append(
                f"  {way:<21}{figures[f'apgr/{key}']:>6.3f}  {low:.3f} to {high:.3f}"
                f"{figures[f'cpt50/{key}']:>8.1f}{figures[f'cpt80/{key}']:>7.1f}"
                + (f"{share:>10.0%}" if share is not None else "")
            )
    return "\n".join(lines)
