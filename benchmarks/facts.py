"""Facts of users: what holds, what held, what is merged, what is stale, what they cost.

Time lines made from a seed (240 users, 20 states each) are stated through `conversation.facts`, in
other wordings, late, corrected, ended, begun again, amid those of other users; a model of the truth
that paints days says what holds. `current@1`, `as_of@1`, `known_at@1`: share of questions whose
first answer holds, and is none where nothing does. `false_merge`: of statements of another value
than was known, share decided NOOP; `duplicates_kept`: of the same value in other words, share not.

--only selects parts: lines, rules (an extractor over the statements of benchmarks/data), stale
(outdated values in contexts), calls (of a scripted model over loopback), speed, hostile. --quick
takes a twentieth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from rich.progress import Progress

from benchmarks import (
    facts_calls,
    facts_changes,
    facts_hostile,
    facts_rules,
    facts_speed,
    facts_stale,
    facts_talk,
)
from benchmarks.encodings import default_encodings
from benchmarks.facts_files import Story, read, story_of
from benchmarks.facts_judge import (
    FactsOf,
    Tally,
    facts_after,
    judge,
    judge_texts,
    our_facts,
    put,
    state,
)
from benchmarks.facts_lines import lines
from benchmarks.report import Goal, Report
from benchmarks.volume import settle, workplace
from rag_memory_plugins import open_memory
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason

GOALS: Final = {
    "current@1": Goal(">=", 0.98),
    "as_of@1": Goal(">=", 0.97),
    "known_at@1": Goal(">=", 0.97),
    "false_merge": Goal("<=", 0.001),
    "duplicates_kept": Goal("<=", 0.02),
    "rules_precision_kept": Goal(">=", 0.9),
    "stale/keywords/500": Goal("<=", 0.02),
    "stale/keywords/1000": Goal("<=", 0.02),
    "stale/keywords/2000": Goal("<=", 0.02),
    "stale/local/500": Goal("<=", 0.02),
    "stale/local/1000": Goal("<=", 0.02),
    "stale/local/2000": Goal("<=", 0.02),
    "llm_calls_per_100/compare": Goal("<=", 5),
    "llm_calls_repeat/compare": Goal("<=", 0),
    "llm_calls_per_100/extract": Goal("<=", 5),
    "llm_calls_repeat/extract": Goal("<=", 0),
    "insert_ms_p50": Goal("<=", 2),
    "query_ms_p50": Goal("<=", 3),
    "talk_seconds": Goal("<=", 60),
    "talk_new_again": Goal("<=", 0),
    "changed_elsewhere": Goal("<=", 0),
    "rendered_outside_fence": Goal("<=", 0),
}
PARTS: Final = ("lines", "rules", "stale", "calls", "speed", "talk", "hostile")
SLOTS: Final = 20
SHOWN: Final = 5
"""Statements decided wrongly that the notes show."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--seed", type=int, default=1, help="of all that is made up (1)")
    parser.add_argument("--data", metavar="PATH", help="time lines of this file, not made ones")
    parser.add_argument("--locomo", metavar="PATH", help="stale contexts between its turns too")
    parser.add_argument(
        "--extractor",
        default=facts_rules.EXTRACTOR,
        metavar="MODULE:NAME",
        help=f"what reads the statements ({facts_rules.EXTRACTOR})",
    )
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="this part; may be given several times"
    )
    parser.add_argument("--keywords", action="store_true", help="leave the local model out")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every part, or those asked for."""
    report = Report("facts", GOALS)
    local = not options.keywords and _local(report)
    with workplace(options.dir) as folder:
        bench = Bench(report, options, folder, progress, local)
        for name in PARTS:
            if not options.only or name in options.only:
                wall, cpu = perf_counter(), process_time()
                getattr(bench, name)()
                report.put(f"seconds/{name}", perf_counter() - wall)
                report.put(f"cpu_seconds/{name}", process_time() - cpu)
    return report


@dataclass(frozen=True)
class Bench:
    """One run: each part is a method of its name. `local`: whether the local model is here."""

    report: Report
    options: argparse.Namespace
    folder: Path
    progress: Progress
    local: bool

    def lines(self) -> None:
        """Decisions on time lines, and answers about them."""
        stories, asked, facts_of = self._stories()
        tally = Tally()
        with open_memory(self.folder / "lines.db", embedder=None, background=False) as memory:
            state(memory, stories, tally, self.progress, facts_of)
            judge(memory, stories, tally, self.progress, facts_of)
            judge_texts(memory, asked, tally, self.progress, "keywords", facts_of)
        if self.local:
            self._local_texts(asked, tally, facts_of)
        put(self.report, tally)
        self.report.put("statements", sum(len(story.stated) for story in stories))
        self.report.notes += [f"decided wrongly: {text}" for text in tally.wrong[:SHOWN]]

    def rules(self) -> None:
        """What the extractor reads in statements, if it is here."""
        extractor = facts_rules.load(self.options.extractor)
        if extractor is None:
            self.report.notes.append(f"rules left out: {self.options.extractor} is not here")
            return
        try:
            facts_rules.measure(self.report, extractor, facts_rules.statements())
            facts_changes.measure(self.report, self.folder, extractor, facts_changes.changes())
        finally:
            get_portal().call(extractor.aclose())

    def stale(self) -> None:
        """Outdated values in contexts."""
        quick, seed = self.options.quick, self.options.seed
        made = facts_stale.lives(seed, 2 if quick else 40)
        facts_stale.measure(self.report, self.folder, made, self.progress, local=self.local)
        if self.options.locomo:
            talks = facts_stale.with_turns(self.options.locomo, seed)[: 1 if quick else None]
            place = (self.report, self.folder, talks, self.progress)
            facts_stale.measure(*place, local=self.local, of="_locomo")

    def calls(self) -> None:
        """Calls of a model over loopback."""
        facts_calls.measure(self.report)

    def speed(self) -> None:
        """Single facts and questions in a full file."""
        count = 50 if self.options.quick else 1_000
        place = (self.report, self.folder, self.options.seed, count, self.progress)
        facts_speed.measure(*place, local=self.local)

    def talk(self) -> None:
        """A meeting of three hours with its facts."""
        turns = 300 if self.options.quick else 2_500
        facts_talk.measure(self.report, self.folder, turns, self.options.seed)

    def hostile(self) -> None:
        """Facts of somebody who wants out."""
        count = 500 if self.options.quick else 10_000
        with open_memory(self.folder / "hostile.db", embedder=None, background=False) as memory:
            facts_hostile.measure(self.report, memory, count, self.options.seed)

    def _stories(self) -> tuple[list[Story], list[Story], FactsOf]:
        """(all time lines, those that are asked about in words, the facts that are judged)."""
        if self.options.data:
            stories = read(self.options.data)
            return stories, stories, facts_after(stories)
        users, texts = (12, 3) if self.options.quick else (240, 40)
        seed = self.options.seed
        made = self.progress.track(list(lines(seed, users, SLOTS)), description="time lines")
        stories = [story_of(line, seed) for line in made]
        return stories, stories[: texts * SLOTS], our_facts

    def _local_texts(self, asked: Sequence[Story], tally: Tally, facts_of: FactsOf) -> None:
        path = self.folder / "lines-local.db"
        with (
            default_encodings(str(self.folder / "lines-vectors.db")) as embedder,
            open_memory(path, embedder=embedder, background=False) as memory,
        ):
            state(memory, asked, Tally(), self.progress, facts_of)  # decided as before
            settle(memory, self.progress, "facts embedded")
            judge_texts(memory, asked, tally, self.progress, "local", facts_of)


def _local(report: Report) -> bool:
    """Whether the local model is here; a note says why not."""
    embedder = default_embedder()
    if embedder is None:
        report.notes.append(f"without the local model: {missing_local_reason()}")
        return False
    get_portal().call(embedder.aclose())
    return True
