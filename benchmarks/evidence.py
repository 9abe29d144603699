"""Whether what a question needs stands in the context it gets, and which of two values is above.

An answer counts when it stands in the text that is sent and comes from its evidence: what is
written just before or behind it (`AROUND` characters) is as in one of those messages, or the line
it stands in cites one by its id. So a message in full counts, and so do one that was shortened
around the answer and a summary that took the sentence over; the same word from elsewhere does not.

An outdated value outranks the current one when it is in the context and the current one is not, or
both are and the outdated one's best piece is above: by score when both have one, else by the order
of the context's pieces. A value that only a summary holds is below every piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.plain import Plain
from benchmarks.scenarios.dialogue import Probe, holds, plain
from rag_memory_plugins.retrieval.lexical import terms_of

if TYPE_CHECKING:
    from rag_memory_plugins import Context, Message

__all__ = ["AROUND", "Given", "answered", "bm25", "keywords", "of_context", "recent", "stale"]

AROUND: Final = 16


@dataclass(frozen=True)
class Given:
    """What a model gets for a question: lines of text, and its messages, the weightiest first."""

    text: str
    order: Sequence[str]
    scores: Mapping[str, float] = field(default_factory=dict)


def of_context(context: Context) -> Given:
    """What a context sends."""
    taken = [piece for piece in context.pieces if piece.included]
    scores: dict[str, float] = {}
    for piece in taken:
        if piece.score is not None:
            key = piece.message.id
            scores[key] = max(scores.get(key, -math.inf), piece.score)
    text = "\n".join(message.content for message in context.messages)
    return Given(text, list(dict.fromkeys(piece.message.id for piece in taken)), scores)


def recent(
    messages: Sequence[Message], tokens: int, count: Callable[[Sequence[Message]], int]
) -> Given:
    """The last messages that fit, without a gap."""
    taken: list[Message] = []
    for message in reversed(messages):
        if count([*taken, message]) > tokens:
            break
        taken.append(message)
    return _of_messages(taken)


def bm25(
    ranked: Callable[[str], Mapping[str, float]],
    messages: Mapping[str, Message],
    question: str,
    tokens: int,
    count: Callable[[Sequence[Message]], int],
) -> Given:
    """Messages in the order of BM25 alone, each that still fits; none without a common word."""
    scores = ranked(question)
    taken: list[Message] = []
    used = 0
    for key in sorted(scores, key=lambda key: -scores[key]):
        size = count([messages[key]])
        if scores[key] > 0 and used + size <= tokens:
            used += size
            taken.append(messages[key])
    return _of_messages(taken)


def keywords(messages: Sequence[Message]) -> Callable[[str], dict[str, float]]:
    """Scores of all messages by BM25 alone, with the constants of `plain`."""
    ranking = Plain(messages, None)  # type: ignore[arg-type]  # no vector is asked for

    def scores(question: str) -> dict[str, float]:
        found = ranking._bm25(set(terms_of(question))).tolist()
        return dict(zip(ranking._ids, found, strict=True))

    return scores


def _of_messages(messages: Sequence[Message]) -> Given:
    return Given("\n".join(m.content for m in messages), [m.id for m in messages])


def answered(given: Given, answer: str, evidence: Iterable[str], texts: Mapping[str, str]) -> bool:
    """Whether the answer stands in the text and comes from its evidence; `texts` are all, by id."""
    sent = plain(given.text)
    if not holds(sent, answer):
        return False
    low = plain(answer)
    sides = [side for key in evidence for side in _sides(plain(texts[key]), low)]
    at = sent.find(low)
    while at >= 0:
        before, behind = sent[:at], sent[at + len(low) :]
        if any(_meets(before, behind, left, right) for left, right in sides):
            return True
        at = sent.find(low, at + 1)
    lines = given.text.splitlines()
    return any(key in line and holds(plain(line), answer) for line in lines for key in evidence)


def _sides(text: str, answer: str) -> Iterable[tuple[str, str]]:
    """What stands before and behind each place of the answer in its own message."""
    at = text.find(answer)
    while at >= 0:
        end = at + len(answer)
        yield text[max(0, at - AROUND) : at], text[end : end + AROUND]
        at = text.find(answer, end)


def _meets(before: str, behind: str, left: str, right: str) -> bool:
    if not left and not right:
        return True
    return bool((left and before.endswith(left)) or (right and behind.startswith(right)))


def stale(given: Given, probe: Probe, texts: Mapping[str, str]) -> bool:
    """Whether a value that was changed outranks the one that holds."""
    current = answered(given, probe.answer, probe.evidence, texts)
    for old in probe.outdated:
        if answered(given, old.answer, old.evidence, texts) and (
            not current or _above(given, old.evidence, probe.evidence)
        ):
            return True
    return False


def _above(given: Given, some: AbstractSet[str], others: AbstractSet[str]) -> bool:
    scores = [[given.scores[key] for key in keys & given.scores.keys()] for keys in (some, others)]
    if scores[0] and scores[1]:
        return max(scores[0]) > max(scores[1])
    places = [
        min((at for at, key in enumerate(given.order) if key in keys), default=len(given.order))
        for keys in (some, others)
    ]
    return places[0] < places[1]
