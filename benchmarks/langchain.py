"""What our LangChain and LangGraph parts take, beside the parts of those that they replace.

`store`: `TenantStore.search` and LangGraph's `InMemoryStore.search` over the same items, of 1,000,
10,000 and 100,000, in turns in one process, so that what else the machine does falls on both. Ours
is a file, searched by words and vectors; the other is in RAM and knows vectors alone. Vectors are
made up, those of the questions before the clock starts: no model is timed. `_cpu_` is the time of
all the process's threads.

--quick leaves out 100,000 items, of which InMemoryStore's lists alone take 1.3 GB.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks import langgraph_store
from benchmarks.report import Report
from benchmarks.volume import put_scale, sizing, workplace

if TYPE_CHECKING:
    from rich.progress import Progress

TOPICS = (langgraph_store,)
"""Each has GOALS and a `measure` that puts its own figures."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    sizing(parser)


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every topic."""
    goals = {key: goal for topic in TOPICS for key, goal in topic.GOALS.items()}
    report = Report("langchain", goals)
    put_scale(report, options.scale)
    with workplace(options.dir) as folder:
        for topic in TOPICS:
            topic.measure(report, progress, folder, options)
    return report
