"""How long a LlamaIndex agent waits for its history: `ScopedMemory.aget`, and core's `Memory.aget`.

A turn puts a question and then asks for the history, as an agent does; the asking is timed, and the
next turn asks something else. Ours after 100 messages, ours after 10,000 and core's `Memory` after
10,000 take turns, so that what else the machine does falls on all. Both get the same messages, of
about 40 tokens; rows of `long` are of ten times that.

Ours is as `open_memory` makes it (one file, budget of 4,000 tokens, workers on), but with vectors
that are made up, those of the questions beforehand: no model is timed. The question's own message
has no vector yet when it is asked about, as in an agent's turn. `context_ms` is the part of it that
`Conversation.context` takes, without the question in the log.

Core's is `Memory.from_defaults` with its own store in memory, and no blocks: it embeds and recalls
nothing. Its limit is raised, so that it holds all 10,000 messages; by default, `default_limit`, it
shows the last 20,000 tokens or so and nothing of the rest. --quick leaves out the long messages.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

from benchmarks.histories import WHOSE, write
from benchmarks.random_vectors import Foreseen
from benchmarks.report import BadData, Goal, Report, percentile
from benchmarks.volume import Texts, complete, put_scale, scaled, sizing, workplace
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from llama_index.core.memory import BaseMemory
    from llama_index.core.memory import Memory as CoreMemory
    from rich.progress import Progress

    from rag_memory_plugins import Memory

R = TypeVar("R")

GOALS: Final = {
    "aget_ms_ratio": Goal("<=", 1.3),
    "faster": Goal(">=", 20.0),
}
SIZES: Final = (("100", 100), ("10k", 10_000))
TURNS: Final = 60
WARM_UP: Final = 10
CORE_EVERY: Final = 5
"""Core's turns are few: one takes seconds."""
SHOWN: Final = 1_000
"""Messages put into core's default memory: more than it shows, and it archives one by one."""
ROOMY: Final = 10**9
TIMES_LONGER: Final = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    sizing(parser)


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure short messages, and long ones unless --quick."""
    report = Report("llama_index", GOALS)
    put_scale(report, options.scale)
    with workplace(options.dir) as folder:
        for name, times in (("", 1), ("long", TIMES_LONGER)):
            if times == 1 or not options.quick:
                place = folder / (name or "short")
                place.mkdir()
                measure(report, progress, place, options, name, times)
    return report


def measure(
    report: Report,
    progress: Progress,
    folder: Path,
    options: argparse.Namespace,
    name: str,
    times: int,
) -> None:
    """One length of messages: write the histories, then take turns."""
    source = Texts(options.seed)
    count = scaled(SIZES[-1][1], options.scale)
    parts = source.messages(count * times)
    texts = [" ".join(parts[at * times : (at + 1) * times]) for at in range(count)]
    questions = list(dict.fromkeys(source.questions(texts, 4 * TURNS)))[: 2 * TURNS]
    sizes = {of: texts[: scaled(size, options.scale)] for of, size in SIZES}
    for of, history in sizes.items():
        write(folder / f"{of}.db", history, progress, f"{of} {name}")
    with ExitStack() as open_ones:
        memories = {
            of: open_ones.enter_context(
                open_memory(folder / f"{of}.db", embedder=Foreseen(questions))
            )
            for of in sizes
        }
        turns = Turns(memories, texts, questions)
        taken = asyncio.run(turns.taken(progress, name))
        tokens = fmean(memories["100"].counter.count_batch(sizes["100"]))
    fill(report, taken, tokens, name)


class Turns:
    """The memories that take turns, and the seconds of each by name."""

    def __init__(
        self, memories: dict[str, Memory], texts: Sequence[str], questions: Sequence[str]
    ) -> None:
        from rag_memory_plugins.llama_index import ScopedMemory

        self._ours = {
            of: ScopedMemory(memory.conversation(*WHOSE)) for of, memory in memories.items()
        }
        self._texts = texts
        self._questions = questions
        self._seconds: dict[str, list[float]] = {}

    async def taken(self, progress: Progress, what: str) -> dict[str, list[float]]:
        """Seconds by name, without those of the warm-up."""
        roomy = await _core(self._texts, token_limit=ROOMY)
        usual = await _core(self._texts[-SHOWN:])
        # What a context alone is asked must be as new to its caches as a turn's question.
        half = len(self._questions) // 2
        turns = list(zip(self._questions[:half], self._questions[half:], strict=False))
        for at, (question, other) in progress.track(
            list(enumerate(turns)), description=f"turns {what}".strip()
        ):
            if at == WARM_UP:
                self._seconds.clear()
            for of, chat in self._ours.items():
                await self._turn(f"aget/{of}", chat, question)
                complete(chat._turn.context)
                await chat.conversation.memory.asettle()
                asked = chat.conversation.acontext(other, chat.budget)
                complete(await self._timed(f"context/{of}", asked))
            await self._turn("core_aget/10k_default_limit", usual, question)
            if at % CORE_EVERY == 0:
                await self._turn("core_aget/10k", roomy, question)
        for memory in (roomy, usual):
            await memory.sql_store._async_engine.dispose()
        return self._seconds

    async def _turn(self, name: str, memory: BaseMemory, question: str) -> None:
        from llama_index.core.base.llms.types import ChatMessage

        await memory.aput(ChatMessage(question))
        shown = await self._timed(name, memory.aget())
        if question not in (shown[-1].content or ""):
            raise BadData(f"{name}: the question is not in what was shown")

    async def _timed(self, name: str, work: Awaitable[R]) -> R:
        start = perf_counter()
        result = await work
        self._seconds.setdefault(name, []).append(perf_counter() - start)
        return result


async def _core(texts: Sequence[str], **options: int) -> CoreMemory:
    """Core's memory with a history of both speakers."""
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.memory import Memory as CoreMemory

    memory = CoreMemory.from_defaults(**options)
    roles = ("user", "assistant")
    await memory.aset([ChatMessage(text, role=roles[at % 2]) for at, text in enumerate(texts)])
    return memory


def fill(report: Report, taken: dict[str, list[float]], tokens: float, name: str) -> None:
    """The figures; those of long messages have their name behind."""
    behind = f"_{name}" if name else ""
    report.put(f"message_tokens{behind and f'/{name}'}", tokens)
    for key, seconds in taken.items():
        what, _, of = key.partition("/")
        report.put_times(what, seconds, f"{of}{behind}")
    middle = {key: percentile(seconds, 50) for key, seconds in taken.items()}
    last = f"/{name}" if name else ""
    report.put(f"aget_ms_ratio{last}", middle["aget/10k"] / middle["aget/100"])
    report.put(f"context_ms_ratio{last}", middle["context/10k"] / middle["context/100"])
    report.put(f"faster{last}", middle["core_aget/10k"] / middle["aget/10k"])
