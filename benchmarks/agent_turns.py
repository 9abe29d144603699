"""What `MemoryMiddleware` adds to a turn of an agent, beside the same agent without it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.histories import WHOSE, write
from benchmarks.random_vectors import Foreseen
from benchmarks.report import BadData, Goal, Report
from benchmarks.timed import Clock
from benchmarks.volume import Texts, scaled
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from rich.progress import Progress

    from rag_memory_plugins import Memory

__all__ = ["GOALS", "measure"]

GOALS: Final = {
    "middleware_ms_p50/10k": Goal("<=", 5.0),
    "middleware_async_ms_p50/10k": Goal("<=", 5.0),
}
SIZES: Final = (("100", 100), ("1k", 1_000), ("10k", 10_000))
TURNS: Final = 150
WARM_UP: Final = 20
ANSWER: Final = "It was noted."
LEAST: Final = 3
"""Messages of a request that memory put something into: what was said, and the question."""


def measure(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """Every size in turn, so that what else the machine does falls on all; sync, then async."""
    source = Texts(options.seed)
    texts = source.messages(scaled(SIZES[-1][1], options.scale))
    turns = TURNS + WARM_UP
    questions = list(dict.fromkeys(source.questions(texts, 4 * 2 * turns)))[: 2 * turns]
    sizes = {of: texts[: scaled(size, options.scale)] for of, size in SIZES}
    pairs: list[Pair] = []
    memories: list[Memory] = []
    try:
        for of, history in sizes.items():
            path = folder / f"turns-{of}.db"
            write(path, history, progress, f"history {of}")
            memories.append(open_memory(path, embedder=Foreseen(questions), background=False))
            pairs.append(Pair(memories[-1], of))
        middle = len(questions) // 2
        sync(pairs, questions[:middle], progress)
        asyncio.run(later(pairs, questions[middle:], progress))
    finally:
        for memory in memories:
            memory.close()
    for pair in pairs:
        pair.put(report)


def sync(pairs: Sequence[Pair], questions: Sequence[str], progress: Progress) -> None:
    """A turn of each by `invoke`."""
    for at, question in enumerate(progress.track(questions, description="agent turns")):
        for pair in pairs:
            for name, agent in pair.order(at):
                with pair.clock(name, at):
                    result = agent.invoke(pair.said(question))
                pair.check(name, result, question)
            pair.memory.settle()


async def later(pairs: Sequence[Pair], questions: Sequence[str], progress: Progress) -> None:
    """A turn of each by `ainvoke`."""
    for at, question in enumerate(progress.track(questions, description="async turns")):
        for pair in pairs:
            for name, agent in pair.order(at):
                with pair.clock(f"{name}_async", at):
                    result = await agent.ainvoke(pair.said(question))
                pair.check(name, result, question)
            await pair.memory.asettle()


@dataclass
class Pair:
    """An agent with the memory of one history and the same without, and the time of each turn."""

    memory: Memory
    of: str
    clocks: dict[str, Clock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from langchain.agents import create_agent

        from benchmarks.scripted_model import ScriptedModel
        from rag_memory_plugins.langchain import MemoryMiddleware

        self._model = ScriptedModel(lambda _: ANSWER)
        ours = MemoryMiddleware(conversation=self.memory.conversation(*WHOSE))
        self._agents: dict[str, Any] = {
            "middleware": create_agent(self._model, middleware=[ours]),
            "agent": create_agent(self._model),
        }

    def order(self, at: int) -> list[tuple[str, Any]]:
        """Both agents by name; each begins every second turn."""
        return list(self._agents.items())[:: -1 if at % 2 else 1]

    def clock(self, name: str, at: int) -> Clock:
        """The clock of an agent; a turn of the warm-up has one that is thrown away."""
        return Clock() if at < WARM_UP else self.clocks.setdefault(name, Clock())

    def said(self, question: str) -> dict[str, list[BaseMessage]]:
        """What an agent is given."""
        from langchain_core.messages import HumanMessage

        return {"messages": [HumanMessage(question)]}

    def check(self, name: str, result: dict[str, Any], question: str) -> None:
        """Raise `BadData` for a turn that did less, or more, than it should."""
        asked, answer = self._model.asked, result["messages"][-1]
        remembered = name == "middleware"
        if question not in str(asked[-1].text) or (len(asked) >= LEAST) != remembered:
            raise BadData(f"{name}/{self.of}: the model got {len(asked)} messages")
        if "context_adjustment" in answer.response_metadata:
            raise BadData(f"{name}/{self.of}: {answer.response_metadata['context_adjustment']}")

    def put(self, report: Report) -> None:
        """What is added, as the median of the differences turn by turn."""
        for form in ("", "_async"):
            ours, bare = self.clocks[f"middleware{form}"], self.clocks[f"agent{form}"]
            added = [a - b for a, b in zip(ours.wall, bare.wall, strict=True)]
            cpu = [a - b for a, b in zip(ours.cpu, bare.cpu, strict=True)]
            report.put_times(f"middleware{form}", added, self.of)
            report.put(f"middleware{form}_cpu_ms_p50/{self.of}", 1000 * median(cpu))
            report.put(f"agent{form}_ms_p50/{self.of}", 1000 * median(bare.wall))
