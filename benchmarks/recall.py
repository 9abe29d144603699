"""Whether the turns that answer a question are found, and stand in the context it gets.

R@k: share of a question's evidence turns among the first k hits of `search`, neighbours not
counted. T@b: share of them that stand whole in the text of a `context` of b cl100k tokens with no
recent part; a context above its budget scores nothing. Both are means over questions; `/cN` is the
mean over category N. Questions without evidence, and those whose citation an audit found wrong
(`bad_citation`), are left out. --quick measures the first conversation only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from rich.progress import Progress

from benchmarks.conversations import Question, Talk, read
from benchmarks.report import BadData, Goal, Report
from benchmarks.vectors import CachedVectors
from benchmarks.volume import complete, settle
from rag_memory_plugins import Message, Namespace, TokenBudget, open_memory

if TYPE_CHECKING:
    from rag_memory_plugins import Conversation, Memory
    from rag_memory_plugins.ports import Embedder

DEPTHS: Final = (5, 10)
BUDGETS: Final = (500, 1000, 2000, 4000)
KEYS: Final = (*(f"R@{depth}" for depth in DEPTHS), *(f"T@{budget}" for budget in BUDGETS))
COUNTER: Final = "cl100k_base"
GOALS: Final = {"R@10": Goal(">=", 0.78), "T@2000": Goal(">=", 0.92)}

Scores = dict[str, float]
"""One question's figures by key."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--data", required=True, metavar="PATH", help="a file of LoCoMo's shape")
    parser.add_argument(
        "--keywords", action="store_true", help="without an embedder: the keyword lane alone"
    )
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help="keep the texts' vectors in this file and take them from it in later runs",
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every conversation in a database of its own."""
    report = Report("recall", GOALS, grid=KEYS)
    talks = read(options.data)[: 1 if options.quick else None]
    if not any(talk.questions for talk in talks):
        raise BadData(f"--data: {options.data} has no question with evidence")
    rows: list[tuple[Question, Scores]] = []
    tokens = 0
    start = perf_counter()
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.dir) as folder:
        for talk in talks:
            with remembered(talk, Path(folder), options, progress) as memory:
                rows += measured(talk, memory, progress)
                tokens += said(talk, memory.counter.count)
    put_means(report, rows)
    report.put("questions", len(rows))
    report.put("evidence_turns", sum(len(question.evidence) for question, _ in rows))
    report.put("conversations", len(talks))
    report.put("turns", sum(len(talk.turns) for talk in talks))
    report.put("tokens_per_conversation", tokens / len(talks))
    report.put_times("embed_and_search", [scores["search_s"] for _, scores in rows])
    report.put_times("context", [scores["context_s"] for _, scores in rows], f"{BUDGETS[-1]}")
    report.put("over_budget", sum(scores["over_budget"] for _, scores in rows))
    report.put("seconds", perf_counter() - start)
    return report


@contextmanager
def remembered(
    talk: Talk, folder: Path, options: argparse.Namespace, progress: Progress
) -> Iterator[Memory]:
    """A fresh memory that holds the whole conversation, every message with its vector."""
    with ExitStack() as stack:
        embedder: Embedder | Literal["default"] | None = None if options.keywords else "default"
        if options.cache and embedder:
            embedder = stack.enter_context(cached(options.cache, folder))
        path = str(folder / f"{talk.name}.db")
        memory = stack.enter_context(open_memory(path, embedder=embedder, counter=COUNTER))
        if not memory.counter.exact:
            raise BadData(f"{COUNTER} is not here: install the extra `llama-index`")
        for session, messages in talk.sessions.items():
            memory.conversation(talk.name, "reader", session).add(messages)
        if not options.keywords:
            settle(memory, progress, talk.name)
        yield memory


def measured(talk: Talk, memory: Memory, progress: Progress) -> list[tuple[Question, Scores]]:
    """Every question with its scores, asked from a session that has no turns of its own."""
    conversation = memory.conversation(Namespace(talk.name, "reader", "questions"))
    asked = progress.track(talk.questions, description=f"{talk.name} questions")
    return [(question, scored(question, talk.turns, conversation)) for question in asked]


def scored(question: Question, turns: Mapping[str, Message], conversation: Conversation) -> Scores:
    """One question's R@k and T@b, and the seconds of its search and of a context."""
    start = perf_counter()
    found = conversation.search(question.text, limit=max(DEPTHS))
    scores: Scores = {"search_s": perf_counter() - start, "over_budget": 0}
    if conversation.memory.embedder is not None:
        complete(found)
    for depth in DEPTHS:
        first = {hit.message.id for hit in found[:depth]}
        scores[f"R@{depth}"] = share(question, first)
    count = conversation.memory.counter.count
    for budget in BUDGETS:
        start = perf_counter()
        context = conversation.context(question.text, TokenBudget(budget, recent=0))
        scores["context_s"] = perf_counter() - start
        # Counted again from the text: what the context says of itself is what is being measured.
        within = max(context.tokens, count(context.text)) <= budget
        scores["over_budget"] += not within
        packed = {piece.message.id for piece in context.pieces if piece.included}
        whole = standing(context.text, [turns[key] for key in question.evidence & packed])
        scores[f"T@{budget}"] = share(question, whole if within else set())
    return scores


def standing(text: str, messages: Sequence[Message]) -> set[str]:
    """Ids of the messages whose whole content is in `text`."""
    return {message.id for message in messages if message.content.strip() in text}


def share(question: Question, ids: set[str]) -> float:
    """Part of the question's evidence that is among `ids`."""
    return len(question.evidence & ids) / len(question.evidence)


def put_means(report: Report, rows: Sequence[tuple[Question, Scores]]) -> None:
    """Means over all questions, then over those of each category."""
    categories = sorted({question.category for question, _ in rows})
    for key in KEYS:
        report.put(key, sum(scores[key] for _, scores in rows) / len(rows))
    for category in categories:
        some = [scores for question, scores in rows if question.category == category]
        for key in KEYS:
            report.put(f"{key}/c{category}", sum(scores[key] for scores in some) / len(some))


def said(talk: Talk, count: Callable[[str], int]) -> int:
    """Tokens of the whole conversation, a line "name: content" a turn."""
    return sum(count(f"{turn.speaker}: {turn.content}") for turn in talk.turns.values())


@contextmanager
def cached(path: str, folder: Path) -> Iterator[CachedVectors]:
    """The default embedder behind a cache in `path`."""
    # A memory closes the embedder that it opened, so this one stays open as long as ours is used.
    with open_memory(str(folder / "embedder.db"), background=False) as memory:
        if memory.embedder is None:
            raise BadData("--cache: there is no embedder; install the extra `local`")
        with closing(CachedVectors(memory.embedder, path)) as embedder:
            yield embedder
