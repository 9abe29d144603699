"""What our LangChain and LangGraph parts take, beside the parts of those that they replace.

`store`: `TenantStore.search` and LangGraph's `InMemoryStore.search` over the same items, of 1,000,
10,000 and 100,000, in turns in one process, so that what else the machine does falls on both. Ours
is a file, searched by words and vectors; the other is in RAM and knows vectors alone. Vectors are
made up, those of the questions before the clock starts: no model is timed. `_cpu_` is the time of
all the process's threads.

`middleware`: milliseconds that `MemoryMiddleware` adds to a turn of `create_agent`, sync and async,
over histories of 100, 1,000 and 10,000 messages: each turn runs with it and without it, one after
the other, on a scripted model and made-up vectors, and the difference counts.

`kept_old_turns`: of the facts that stand before the last messages of a conversation of 170,000
tokens, the share that stands in the request for the question about each, asked at its end: with
ours (4,000 tokens, the local embedder), with SummarizationMiddleware and a summariser that writes
down every fact it is shown, the same with nothing trimmed before it summarises (`_untrimmed`), and
with `trim_messages` in 4,000 tokens. `/far`: questions that share no word's stem with the fact.

--quick leaves out 100,000 items, of which InMemoryStore's lists alone take 1.3 GB, and three
quarters of the conversation.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks import agent_turns, kept_turns, langgraph_store
from benchmarks.report import Report
from benchmarks.volume import put_scale, sizing, workplace

if TYPE_CHECKING:
    from rich.progress import Progress

TOPICS = (langgraph_store, agent_turns, kept_turns)
"""Each has GOALS and a `measure` that puts its own figures."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    sizing(parser)
    parser.add_argument(
        "--cache", metavar="PATH", help="keep the old turns' vectors in this file for later runs"
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every topic."""
    goals = {key: goal for topic in TOPICS for key, goal in topic.GOALS.items()}
    report = Report("langchain", goals)
    put_scale(report, options.scale)
    with workplace(options.dir) as folder:
        for topic in TOPICS:
            topic.measure(report, progress, folder, options)
    return report
