"""What a long conversation costs, and whether what was decided in it is still at hand.

Every turn takes a context for the user's message, in mode "auto" at the default budget, and its
tokens are added up beside those of the whole history. After the last turn questions are asked.
`saved/N`: share of input tokens saved over conversations of N turns; `answers/N`: share of
questions whose answer stands in the context and comes from its evidence; `stale/N`: among those
whose answer was changed, share where an outdated value outranks the current one (`evidence.py` says
how both are told). `/recent` and `/bm25` have as many tokens for a question as ours took: the last
messages, and messages by BM25 alone; `/full`, `/balanced`, `/safe` are the modes, `/far` questions
that share no content word's stem with their evidence. `prefix_share`: how much of what is sent at
one turn is sent again, from the first character on, at the next. Conversations are made up from a
seed (`scenarios/`) or read from --data (`docs/tokens-data.md`). --quick plays one scenario.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import growth, locomo
from benchmarks.encodings import default_encodings
from benchmarks.recall import exact_counter
from benchmarks.report import BadData, Goal, Report
from benchmarks.scenario_files import read
from benchmarks.scenarios import HISTORY, SCENARIOS, Dialogue, dialogue
from benchmarks.volume import workplace
from benchmarks.walks import AUTO, MODES, Asked, Walk, walked
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, TokenCounter

GOALS: Final = {
    "saved/100": Goal(">=", 0.70),
    "answers/100": Goal(">=", 0.95),
    "saved/1000": Goal(">=", 0.95),
    "answers/1000": Goal(">=", 0.90),
    "stale/100": Goal("<=", 0.05),
    "context_ms_ratio": Goal("<=", 1.5),
    "context_ms_p50/10k": Goal("<=", 15.0),
}
SIZES: Final = (50, 100, 1_000)
BASELINES: Final = ("recent", "bm25")
MODES_UP_TO: Final = 100
"""Turns up to which every mode is measured: each is a context more a turn."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--seed", type=int, default=1, help="of the made-up conversations (1)")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="K", help="take K seeds, from --seed on (1)"
    )
    parser.add_argument(
        "--data", metavar="FILE", help="conversations and questions instead of made-up ones"
    )
    parser.add_argument("--locomo", metavar="PATH", help="measure a file of LoCoMo's shape too")
    parser.add_argument(
        "--cache", metavar="PATH", help="keep the texts' vectors in this file for later runs"
    )
    parser.add_argument(
        "--keywords", action="store_true", help="without an embedder: the keyword lane alone"
    )
    parser.add_argument(
        "--misses", metavar="PATH", help="write what was not answered there, one JSON a line"
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Play every conversation, then time contexts over long histories."""
    if options.seeds < 1:
        raise BadData(f"--seeds: got {options.seeds}; pass at least 1")
    report = Report("tokens", GOALS)
    counter = exact_counter()
    start = perf_counter()
    with ExitStack() as stack:
        folder = stack.enter_context(workplace(options.dir))
        embedder = stack.enter_context(chosen(options, folder))
        walks = [
            played(talk, folder, embedder, counter, progress, modes_of(talk, options))
            for talk in conversations(options, counter)
        ]
        put_walks(report, walks)
        if options.locomo:
            locomo.measure(report, options.locomo, folder, embedder, counter, progress)
        if not (options.quick or options.data):
            growth.measure(report, folder, options.seed, counter, progress)
    report.put("seconds", perf_counter() - start)
    if options.misses:
        write_misses(options.misses, walks)
    return report


@contextmanager
def chosen(options: argparse.Namespace, folder: Path) -> Iterator[Embedder | None]:
    """The default embedder behind a file of its vectors, so that modes embed a text once."""
    if options.keywords:
        yield None
        return
    with default_encodings(options.cache or str(folder / "vectors.db")) as embedder:
        yield embedder


def conversations(options: argparse.Namespace, counter: TokenCounter) -> Iterator[Dialogue]:
    """Those of the file, or made up."""
    if options.data:
        yield from read(options.data)
        return
    names = SCENARIOS[: 1 if options.quick else None]
    for seed in range(options.seed, options.seed + options.seeds):
        for turns in SIZES[:2]:
            for name in names:
                yield dialogue(name, turns, seed, counter)
        if not options.quick:
            yield dialogue(HISTORY, SIZES[2], seed, counter)


def modes_of(talk: Dialogue, options: argparse.Namespace) -> Sequence[str]:
    """Modes to measure beside "auto"."""
    return () if options.quick or talk.turns > MODES_UP_TO else MODES


def played(
    talk: Dialogue,
    folder: Path,
    embedder: Embedder | None,
    counter: TokenCounter,
    progress: Progress,
    modes: Sequence[str],
) -> Walk:
    """One conversation in a database of its own."""
    path = folder / f"{len(list(folder.iterdir()))}.db"
    with open_memory(path, embedder=embedder, counter=counter, background=False) as memory:
        return walked(talk, memory, progress, modes)


def bucket(talk: Dialogue) -> int:
    """The size whose figures a conversation counts for: the nearest by ratio."""
    return min(SIZES, key=lambda size: max(size / talk.turns, talk.turns / size))


def put_walks(report: Report, walks: Sequence[Walk]) -> None:
    """Figures of each size, and the share of what is sent that the turn before had sent."""
    for size in SIZES:
        some = [walk for walk in walks if bucket(walk.dialogue) == size]
        if some:
            put_size(report, some, size)
    sizes = [bucket(walk.dialogue) for walk in walks]
    size = 100 if 100 in sizes else max(sizes)
    shares = [share for walk in walks if bucket(walk.dialogue) == size for share in walk.prefixes]
    if shares:
        report.put("prefix_share", fmean(shares))
    report.put("over_budget", sum(walk.over_budget for walk in walks))


def put_size(report: Report, walks: Sequence[Walk], size: int) -> None:
    """Tokens, answers and outdated values of the conversations of one size."""
    report.put(f"conversations/{size}", len(walks))
    turns = sum(walk.dialogue.turns for walk in walks)
    report.put(f"turn_tokens/{size}", sum(walk.said for walk in walks) / turns)
    report.put(f"tokens/{size}/full_history", fmean(walk.full for walk in walks))
    for mode in (AUTO, *MODES):
        some = [walk for walk in walks if mode in walk.sent]
        if some:
            report.put(f"tokens/{size}/{mode}", fmean(walk.sent[mode] for walk in some))
            report.put(_key("saved", size, mode), fmean(walk.saved(mode) for walk in some))
    asked = [asked for walk in walks for asked in walk.asked]
    if not asked:
        return
    report.put(f"questions/{size}", len(asked))
    report.put(f"tokens_a_question/{size}", fmean(item.tokens for item in asked))
    for who in (AUTO, *BASELINES, *MODES):
        put_answers(report, [item for item in asked if who in item.answered], size, who)
    put_kinds(report, asked, size)


def put_answers(report: Report, asked: Sequence[Asked], size: int, who: str) -> None:
    """Shares over the questions for one way to choose what is sent."""
    if not asked:
        return
    report.put(_key("answers", size, who), fmean(item.answered[who] for item in asked))
    changed = [item for item in asked if item.probe.outdated]
    if changed:
        report.put(_key("stale", size, who), fmean(item.stale[who] for item in changed))


def put_kinds(report: Report, asked: Sequence[Asked], size: int) -> None:
    """Answers in mode auto by scenario, by how they were said, and by the words in common."""
    groups: dict[str, list[Asked]] = defaultdict(list)
    for item in asked:
        names = ["near" if item.probe.lexical else "far", item.dialogue.scenario]
        names += ["changed"] * bool(item.probe.outdated)
        names += [f"as_{item.probe.kind}"] * bool(item.probe.kind)
        for name in names:
            groups[name].append(item)
    for name, some in sorted(groups.items()):
        report.put(f"answers/{size}/{name}", fmean(item.answered[AUTO] for item in some))
        changed = [item.stale[AUTO] for item in some if item.probe.outdated]
        if changed:
            report.put(f"stale/{size}/{name}", fmean(changed))
    for who in BASELINES:
        far = [item.answered[who] for item in asked if not item.probe.lexical]
        if far:
            report.put(f"answers/{size}/{who}/far", fmean(far))
    report.put(f"far_share/{size}", fmean(not item.probe.lexical for item in asked))
    proposed = [item for item in asked if item.probe.support and item.answered[AUTO]]
    if proposed:
        report.put(f"accepted/{size}", fmean(item.accepted for item in proposed))


def _key(name: str, size: int, who: str) -> str:
    return f"{name}/{size}" if who == AUTO else f"{name}/{size}/{who}"


def write_misses(path: str, walks: Sequence[Walk]) -> None:
    """Questions that were not answered, or by an outdated value, with their evidence."""
    lines = []
    for walk in walks:
        texts = {message.id: message.content for message in walk.dialogue.messages}
        for item in walk.asked:
            if item.answered[AUTO] and not item.stale[AUTO]:
                continue
            probe = item.probe
            lines.append(
                {
                    "conversation": walk.dialogue.name,
                    "question": probe.question,
                    "answer": probe.answer,
                    "answered": item.answered[AUTO],
                    "stale": item.stale[AUTO],
                    "lexical": probe.lexical,
                    "kind": probe.kind,
                    "evidence": {key: texts[key] for key in sorted(probe.evidence)},
                    "outdated": [[old.answer, sorted(old.evidence)] for old in probe.outdated],
                }
            )
    try:
        Path(path).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise BadData(f"--misses: {path} cannot be written: {error.strerror}") from error
