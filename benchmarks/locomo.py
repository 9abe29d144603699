"""LoCoMo's conversations at the default budget: what is sent, and the evidence that stands in it."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.scenarios import Dialogue
from benchmarks.talk_files import Talk, read
from benchmarks.walks import AUTO, context_of, walked
from rag_memory_plugins import open_memory

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Conversation
    from rag_memory_plugins.ports import Embedder, TokenCounter

__all__ = ["measure"]


def measure(
    report: Report,
    path: str,
    folder: Path,
    embedder: Embedder | None,
    counter: TokenCounter,
    progress: Progress,
) -> None:
    """Play each conversation as one session, the first speaker as the user, then ask about it.

    `answers/locomo` is the share of a question's evidence turns that stand whole in its context,
    mean over the questions.
    """
    saved, shares = [], []
    for talk in read(path):
        place = folder / f"locomo-{talk.name}.db"
        with open_memory(place, embedder=embedder, counter=counter, background=False) as memory:
            messages = list(talk.turns.values())
            walk = walked(Dialogue(talk.name, "locomo", messages, []), memory, progress)
            saved.append(walk.saved(AUTO))
            conversation = memory.conversation("benchmark", "ann", talk.name)
            some = progress.track(talk.questions, description=f"{talk.name} questions")
            shares += [_share(talk, item.evidence, conversation, item.text) for item in some]
    report.put("saved/locomo", fmean(saved))
    report.put("answers/locomo", fmean(shares))
    report.put("questions/locomo", len(shares))


def _share(
    talk: Talk, evidence: frozenset[str], conversation: Conversation, question: str
) -> float:
    sent = context_of(conversation, question).text
    return fmean(talk.turns[key].content.strip() in sent for key in evidence)
