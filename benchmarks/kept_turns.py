"""What a conversation of 170,000 tokens keeps of its old turns when it is summarised, and with us."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from benchmarks.encodings import default_encodings
from benchmarks.histories import WHOSE
from benchmarks.recall import exact_counter
from benchmarks.report import BadData, Goal, Report
from benchmarks.scenarios import HISTORY, Probe, dialogue
from benchmarks.scenarios.dialogue import holds, plain
from benchmarks.volume import scaled, settle
from benchmarks.walks import settled
from rag_memory_plugins import Message, open_memory

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from rich.progress import Progress

    from rag_memory_plugins.ports import TokenCounter

__all__ = ["GOALS", "measure"]

GOALS: Final[dict[str, Goal]] = {}
TURNS: Final = 510
"""Of about 340 tokens each, the user's message and the answer to it."""
QUICK: Final = 0.25
KEPT: Final = 20
"""Messages that SummarizationMiddleware keeps by default: what was said in them is not old."""
BUDGET: Final = 4_000
"""Of ours by default, and what trimming alone is given."""
OPENING: Final = "Shall we go on?"
ANSWER: Final = "Very well."


def measure(report: Report, progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    """Every question of the same conversation, in the four ways."""
    counter = exact_counter()
    turns = scaled(TURNS, options.scale * (QUICK if options.quick else 1))
    talk = dialogue(HISTORY, turns, options.seed, counter)
    recent = {message.id for message in talk.messages[-KEPT:]}
    old = [probe for probe in talk.probes if not probe.evidence & recent]
    if not old:
        raise BadData(f"no fact was said before the last {KEPT} of {len(talk.messages)} messages")
    kept = Kept(talk.messages, old, counter)
    report.put("conversation_tokens", sum(counter.count_batch([m.content for m in talk.messages])))
    report.put("old_facts", len(old))
    report.put("old_facts_far", fmean(not probe.lexical for probe in old))
    with default_encodings(options.cache or str(folder / "kept-vectors.db")) as embedder:
        path = folder / "kept.db"
        with open_memory(path, embedder=embedder, counter=counter, background=False) as memory:
            conversation = memory.conversation(*WHOSE)
            conversation.add(talk.messages)
            settle(memory, progress, "kept turns")
            put(report, "ours", kept, kept.ours(conversation, progress))
    put(report, "summarization", kept, kept.summarized(report, "summarization"))
    whole = "summarization_untrimmed"
    put(report, whole, kept, kept.summarized(report, whole, trim_tokens_to_summarize=None))
    put(report, "trim", kept, kept.trimmed())


def put(report: Report, who: str, kept: Kept, requests: Iterable[Sequence[BaseMessage]]) -> None:
    """The share of the questions whose answer stands in what was sent, and the tokens of that."""
    found: list[tuple[Probe, bool]] = []
    tokens: list[int] = []
    for probe, request in zip(kept.old, requests, strict=True):
        found.append((probe, holds(plain(text_of(request)), probe.answer)))
        tokens.append(kept.tokens(request))
    report.put(f"kept_old_turns/{who}", fmean(there for _, there in found))
    far = [there for probe, there in found if not probe.lexical]
    if far:
        report.put(f"kept_old_turns/{who}/far", fmean(far))
    report.put(f"request_tokens/{who}", fmean(tokens))


@dataclass(frozen=True)
class Kept:
    """A conversation and the questions about its old turns; each way gives a request a question."""

    messages: Sequence[Message]
    old: Sequence[Probe]
    counter: TokenCounter

    def state(self) -> list[BaseMessage]:
        """The conversation as an agent's state holds it."""
        from langchain_core.messages import AIMessage, HumanMessage

        kinds = {"user": HumanMessage, "assistant": AIMessage}
        return [kinds[m.role](m.content, id=m.id) for m in self.messages]

    def tokens(self, request: Sequence[BaseMessage]) -> int:
        """Tokens of what was sent."""
        # By its id a message that was counted before is known.
        plain = [Message("user", str(message.text), id=message.id or "") for message in request]
        return self.counter.count_messages(plain)

    def ours(self, conversation: Any, progress: Progress) -> Iterable[Sequence[BaseMessage]]:
        """By `MemoryMiddleware`. What one question left in the log is gone before the next."""
        from langchain.agents import create_agent

        from benchmarks.scripted_model import ScriptedModel
        from rag_memory_plugins.langchain import MemoryMiddleware

        model = ScriptedModel(lambda _: ANSWER)
        memory = MemoryMiddleware(conversation=conversation, budget=BUDGET)
        agent = create_agent(model, middleware=[memory])
        state, known = self.state(), {message.id for message in self.messages}
        for probe in progress.track(self.old, description="kept turns"):
            result = agent.invoke({"messages": [*state, asked(probe)]})
            yield model.asked
            conversation.forget([m.id for m in result["messages"] if m.id not in known])
            settled(conversation.memory)

    def summarized(
        self, report: Report, who: str, **options: Any
    ) -> Iterable[Sequence[BaseMessage]]:
        """By SummarizationMiddleware, which summarises once, as the conversation gets too long.

        Its summariser is perfect: it writes down every fact that it is shown.
        """
        from langchain.agents import create_agent
        from langchain.agents.middleware import SummarizationMiddleware
        from langchain_core.messages import HumanMessage
        from langchain_core.messages.utils import count_tokens_approximately

        from benchmarks.scripted_model import ScriptedModel

        state = self.state()
        writer = ScriptedModel(partial(summary, self.old))
        trigger = ("tokens", count_tokens_approximately(state))
        summarizing = SummarizationMiddleware(writer, trigger=trigger, **options)
        model = ScriptedModel(lambda _: ANSWER)
        agent = create_agent(model, middleware=[summarizing])
        left = agent.invoke({"messages": [*state, HumanMessage(OPENING)]})["messages"]
        if not writer.asked or len(left) >= len(state):
            raise BadData(f"{who}: nothing was summarised")
        report.put(f"summariser_tokens/{who}", self.tokens(writer.asked))
        for probe in self.old:
            agent.invoke({"messages": [*left, asked(probe)]})
            yield model.asked

    def trimmed(self) -> Iterable[Sequence[BaseMessage]]:
        """By `trim_messages`, in as many tokens as ours has."""
        from langchain_core.messages import trim_messages

        count: Callable[[list[BaseMessage]], int] = self.tokens
        state = self.state()[-2 * KEPT :]  # more than could fit: counting all takes long
        for probe in self.old:
            yield trim_messages([*state, asked(probe)], max_tokens=BUDGET, token_counter=count)


def asked(probe: Probe) -> BaseMessage:
    """A question as its user's message."""
    from langchain_core.messages import HumanMessage

    return HumanMessage(probe.question)


def summary(facts: Sequence[Probe], shown: Sequence[BaseMessage]) -> str:
    """Every fact that stands in what is to be summarised, by its question."""
    text = plain(text_of(shown))
    return "\n".join(
        f"- {fact.question} {fact.answer}" for fact in facts if holds(text, fact.answer)
    )


def text_of(messages: Sequence[BaseMessage]) -> str:
    """All that stands in messages."""
    return "\n".join(str(message.text) for message in messages)
