"""A conversation with questions asked at its end, and what can be told about it without a memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from rag_memory_plugins import Message
from rag_memory_plugins.retrieval.lexical import terms_of

__all__ = ["Dialogue", "Outdated", "Probe", "holds", "plain", "shared_stems", "wrong"]


@dataclass(frozen=True)
class Outdated:
    """A value that was changed later, and the messages that hold it."""

    answer: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Probe:
    """A question, its answer as it is written, and the messages that hold it: any one is enough.

    `lexical`: whether the question shares a content word's stem with one of them. `support` is
    what makes a proposal a decision: the "yes" that followed. `kind` is how the answer was said.
    """

    question: str
    answer: str
    evidence: frozenset[str]
    outdated: tuple[Outdated, ...] = ()
    support: frozenset[str] = frozenset()
    lexical: bool = True
    kind: str = ""


@dataclass(frozen=True)
class Dialogue:
    """Messages in order, user and assistant in turn, and what is asked after the last one."""

    name: str
    scenario: str
    messages: Sequence[Message]
    probes: Sequence[Probe]

    @property
    def turns(self) -> int:
        """How often the user spoke."""
        return sum(message.role == "user" for message in self.messages)


def plain(text: str) -> str:
    """Text to compare: one space for any white space, small letters."""
    return " ".join(text.split()).casefold()


@cache
def _pattern(answer: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(plain(answer))}(?!\w|\.\w)")


def holds(text: str, answer: str) -> bool:
    """Whether the answer stands in `text`, which is `plain`, as words of its own."""
    return plain(answer) in text and _pattern(answer).search(text) is not None


def shared_stems(question: str, texts: Iterable[str]) -> int:
    """How many stems of content words the question shares with any of the texts."""
    return len(set(terms_of(question)) & {term for text in texts for term in terms_of(text)})


def wrong(dialogue: Dialogue) -> list[str]:
    """What a conversation must not have: one line each, naming the question.

    An answer stands in each message of its evidence and in no other; an outdated one too; and
    `lexical` is as the package's own stemmer says.
    """
    texts = {message.id: plain(message.content) for message in dialogue.messages}
    found = []
    for probe in dialogue.probes:
        versions = [(probe.answer, probe.evidence)]
        versions += [(old.answer, old.evidence) for old in probe.outdated]
        for answer, evidence in versions:
            holding = {key for key, text in texts.items() if holds(text, answer)}
            if holding != evidence:
                found.append(f"{probe.question}: {answer!r} in {sorted(holding ^ evidence)}")
        about = [m.content for m in dialogue.messages if m.id in probe.evidence]
        if probe.lexical != (shared_stems(probe.question, about) > 0):
            found.append(f"{probe.question}: lexical is {probe.lexical}")
    return found
