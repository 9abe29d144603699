"""Other memories beside ours in one run: the same turns, vectors, questions and token counts.

A peer stores each turn as the line "Name: text". Its hits are packed in its own order, whole lines
while they fit. Vectors are made before anything is timed, and what a peer has embedded on top of
them is taken out of its times; so times are of storing and searching alone.
"""

from __future__ import annotations

import argparse
import traceback
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import peers
from benchmarks.intervals import by_row
from benchmarks.report import BadData, Report
from benchmarks.scores import DEPTHS, KEYS, Lines, Scores, among, first_sessions, line
from benchmarks.talk_files import Question, Talk
from benchmarks.vectors import AtHand

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, TokenCounter

__all__ = ["Stage", "arguments", "chosen", "measure"]

DEEP: Final = 1_000
"""Hits of the search that fills the largest budget and names ten sessions."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The option that names the peers."""
    parser.add_argument(
        "--peers",
        nargs="?",
        const=",".join(peers.NAMES),
        default="",
        metavar="NAMES",
        help=f"run these beside ours (all, or some with commas between: {', '.join(peers.NAMES)})",
    )


def chosen(names: str) -> list[str]:
    """The peers that `--peers` names. Raises `BadData` for one that there is not."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in peers.NAMES:
            raise BadData(f"--peers: there is no {name!r}; there are {', '.join(peers.NAMES)}")
    return list(dict.fromkeys(wanted))


@dataclass(frozen=True)
class Stage:
    """What every peer is given."""

    talks: list[Talk]
    counter: TokenCounter
    folder: Path
    embedder: Embedder | None
    progress: Progress


def measure(report: Report, names: list[str], stage: Stage) -> None:
    """Figures `KEY/NAME` of each peer; one that cannot run is left out, and a note says why."""
    vectors = None
    if stage.embedder is not None:
        vectors = AtHand(stage.embedder)
        for talk in stage.progress.track(stage.talks, description="vectors of turns"):
            texts = [line(turn) for turn in talk.turns.values()]
            vectors.foresee(texts, [question.text for question in talk.questions])
    lines = {talk.name: Lines(talk, stage.counter.count) for talk in stage.talks}
    for name in names:
        module = peers.load(name)
        reason = peers.missing(module)
        if module.EMBEDS and vectors is None:
            reason = "it needs an embedder"
        if reason:
            report.notes.append(f"{name} left out: {reason}")
            continue
        try:
            _measure(report, name, module, stage, lines, vectors)
        except BadData:
            raise
        except Exception as error:  # whatever a peer raises must not cost the other figures
            where = traceback.extract_tb(error.__traceback__)[-1]
            report.notes.append(
                f"{name} left out: {type(error).__name__}: {error} "
                f"({Path(where.filename).name}:{where.lineno})"
            )


def _measure(
    report: Report,
    name: str,
    module: peers.PeerModule,
    stage: Stage,
    lines: dict[str, Lines],
    vectors: AtHand | None,
) -> None:
    rows: list[Scores] = []
    notes: dict[str, None] = {}
    written, turns = 0.0, 0
    for talk in stage.talks:
        with closing(module.opened(talk, stage.folder, vectors)) as peer:
            clock = _Clock(vectors)
            for session, messages in talk.sessions.items():
                for message in messages:
                    peer.add(session, message)
            peer.finish()
            written += clock.seconds()
            turns += len(talk.turns)
            asked = stage.progress.track(talk.questions, description=f"{name}, {talk.name}")
            rows += [_scores(q, peer, talk, lines[talk.name], vectors) for q in asked]
            notes |= dict.fromkeys(peer.notes)
    _put(report, name, rows, module.RANKS)
    if module.RANKS:
        report.put(f"write_ms/{name}", 1000 * written / turns)
        report.put_times("search", [scores["search_s"] for scores in rows], name)
    else:
        tokens = [sum(lines[talk.name].tokens.values()) for talk in stage.talks]
        report.put(f"tokens/{name}", sum(tokens) / len(tokens))
    if parts := peers.versions(module):
        report.notes.append(f"{name}: {parts}")
    report.notes.extend(f"{name}: {note}" for note in notes)


def _scores(
    question: Question, peer: peers.Peer, talk: Talk, lines: Lines, vectors: AtHand | None
) -> Scores:
    clock = _Clock(vectors)
    found = peer.search(question.text, max(DEPTHS))
    scores: Scores = {"search_s": clock.seconds()}
    deep = peer.search(question.text, min(len(talk.turns), DEEP))
    scores |= among(question, found)
    scores |= first_sessions(question, deep, talk.session_of)
    return scores | lines.within(question, deep)


def _put(report: Report, name: str, rows: list[Scores], ranks: bool) -> None:
    keys = [key for key in KEYS if ranks or key.startswith("T@")]
    values = [[scores[key] for key in keys] for scores in rows]
    low, high = by_row(values).tolist()
    for at, key in enumerate(keys):
        report.put(f"{key}/{name}", sum(row[at] for row in values) / len(values))
        report.put(f"{key}/{name}/low", low[at])
        report.put(f"{key}/{name}/high", high[at])


class _Clock:
    """Seconds since it was made, without those in which something was embedded."""

    def __init__(self, vectors: AtHand | None) -> None:
        self._vectors = vectors
        self._start = perf_counter()
        self._before = self._embedding()

    def _embedding(self) -> float:
        return self._vectors.seconds if self._vectors is not None else 0.0

    def seconds(self) -> float:
        return perf_counter() - self._start - (self._embedding() - self._before)
