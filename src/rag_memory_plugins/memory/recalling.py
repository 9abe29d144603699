"""The recalled part of a context: messages by their rank, and single passages of long ones.

Two orders take turns. By rank, a message is taken for what it is as a whole; by passage, for its
one sentence that is nearest to the question. Where messages are short the first decides alone;
where they are long, the second gets most of the room. Of a long message only the passages that were
taken are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rag_memory_plugins.memory.days import Days
from rag_memory_plugins.memory.draft import Draft
from rag_memory_plugins.memory.units import SHORTENED, Unit, by_group, shortened
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.results import Hit
from rag_memory_plugins.retrieval.sentences import passages
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.types import Message

__all__ = ["retrieved"]

LENGTH_PENALTY: Final = 0.2
"""What length costs: hits are taken by score - 0.2 ln(tokens), more of them instead of longer."""
LONG: Final = 128
"""Tokens above which a message is shown by its passages: about what one vector takes in."""
BY_PASSAGE: Final = 0.8
"""What the order by passage gets of the room where all messages are long."""
GROUP: Final = 160
"""Tokens of a recalled tool group: its longest texts are shortened to that."""
BESIDE: Final = 0.5
"""Standard deviations that a neighbour of a hit stands below it."""
GAP: Final = " \u2026 "
GAP_TOKENS, LINE_TOKENS = 2, 4
"""What a passage costs beside its text, and the first of a message on top: who said it."""
SMALLEST: Final = 8
"""Tokens of the shortest thing that is worth looking for."""


@dataclass
class _Candidate:
    """A hit that may be taken: whole, or passage by passage.

    `size` are the tokens of what would be taken first, about; `cost` is that with what stands
    beside it. `best` is the passage to take first.
    """

    unit: Unit
    scores: tuple[float, ...]
    long: bool
    whole: StoredMessage
    score: float
    known: tuple[tuple[int, int], ...] = ()
    spans: Sequence[tuple[int, int]] = ()
    taken: set[int] = field(default_factory=set)
    showing: set[int] = field(default_factory=set)
    size: int = 0
    cost: int = 0
    best: int = 0

    def __post_init__(self) -> None:
        tokens = self.unit.tokens
        self.size = max(6, tokens // len(self.scores) if self.long and self.scores else tokens)
        self.cost = self.size + (GAP_TOKENS if self.long else 0)
        self.best = self.scores.index(max(self.scores)) if self.scores else 0

    def text(self, at: int) -> str:
        """A passage of a long message; "" where its passages are not those that were scored."""
        self.find()
        if not self.long or len(self.spans) != len(self.scores):
            return ""
        start, end = self.spans[at]
        return self.whole.message.content[start:end]

    def find(self) -> None:
        """Where its passages stand."""
        if self.long and not self.spans:
            self.spans = _spans(self.whole.message, self.known)

    def show(self) -> None:
        """Give the unit the messages with only the passages that were taken."""
        if self.long and self.taken != self.showing:
            self.showing = set(self.taken)
            self.unit.items = self._shown(self.showing)

    def _shown(self, taken: set[int]) -> list[StoredMessage]:
        message = self.whole.message
        self.find()
        if len(taken) == len(self.spans) or len(self.spans) != len(self.scores):
            return [self.whole]
        text, last = "", -1
        for at in sorted(taken):
            start, end = self.spans[at]
            text += GAP if at > last + 1 else " "
            text += message.content[start:end]
            last = at
        text += GAP if last < len(self.spans) - 1 else ""
        metadata = {**message.metadata, SHORTENED: self.whole.tokens}
        return [replace(self.whole, message=message.shown_as(text.strip(), metadata))]


def retrieved(
    draft: Draft, hits: Sequence[Hit], groups: Sequence[StoredMessage], room: int
) -> None:
    """What was recalled, in at most `room` tokens."""
    candidates = _candidates(draft, hits, groups)
    if candidates and room > draft.frame("retrieved"):
        _Filling(draft, room).fill(candidates)
    for item in candidates:
        unit = item.unit
        if item.taken:
            unit.tokens = draft.lines(unit)
            note = f"recalled, rank {unit.rank}"
            if item.long:
                note += f", {len(item.taken)} of {len(item.spans)} passages"
            draft.note(unit, "retrieved", note + unit.note, included=True)
        else:
            draft.note(unit, "retrieved", "out: over budget", included=False)


class _Filling:
    """The room of the recalled part, and what has taken it.

    What a piece costs is told by its share of what its message was counted as when it was stored;
    in the end all is counted as it is rendered, and what came in last goes or more comes in.
    """

    def __init__(self, draft: Draft, room: int) -> None:
        self.draft, self.room = draft, room
        self.days = Days(draft.counter)
        self.before = draft.tokens()
        self.used = draft.frame("retrieved")
        self.order: list[tuple[_Candidate, int]] = []
        self.said: set[str] = set()

    def fill(self, candidates: Sequence[_Candidate]) -> None:
        """The first, by rank up to its share, by passage up to the rest, by rank to the end."""
        ranked = [(item, item.best) for item in sorted(candidates, key=_worth, reverse=True)]
        nearest = sorted(_each(candidates), key=lambda one: one[0].scores[one[1]], reverse=True)
        tokens = sum(item.unit.tokens for item in candidates)
        long = sum(item.unit.tokens for item in candidates if item.long) / max(1, tokens)
        first = self.used + int((self.room - self.used) * (1 - BY_PASSAGE * long))
        self.take(ranked[:1], self.room)  # whatever its size: a small room holds nothing better
        self.take(ranked, first)
        self.take(nearest, self.room)
        self.take(ranked, self.room)
        self.fit()
        if self.draft.retrieved:
            self.take(ranked, self.room)  # what counting saved is filled once more
            self.fit()

    def take(self, order: Sequence[tuple[_Candidate, int]], limit: int) -> None:
        """Take candidates' passages, or all of short ones, while they fit into `limit`."""
        for item, at in order:
            left = limit - self.used
            if left < SMALLEST:
                return
            cost = item.cost
            if cost > left or at in item.taken or (item.taken and not item.long):
                continue
            text = item.text(at)
            if text and text in self.said:
                continue  # a long message says it again; one that says only this is shown
            if not item.taken:
                cost += LINE_TOKENS if item.long else 0
                days = {entry.message.time.date() for entry in item.unit.items}
                cost += self.days.cost(days)
                if cost > left:
                    continue
                self.days.days |= days
            self.used += cost
            self.said.add(text)
            item.taken.add(at)
            self.order.append((item, at))

    def fit(self) -> None:
        """Count what was taken as it is rendered; over the room, what came in last goes."""
        while True:
            chosen = list(dict.fromkeys(id(item) for item, _ in self.order))
            by_id = {id(item): item for item, _ in self.order}
            for item in by_id.values():
                item.show()
            self.draft.retrieved = [by_id[key].unit for key in chosen]
            self.used = self.draft.tokens() - self.before if chosen else self.used
            over = self.used - self.room
            if over <= 0 or not self.order:
                return
            while over > 0 and self.order:
                item, at = self.order.pop()
                item.taken.discard(at)
                self.said.discard(item.text(at))
                over -= item.size


def _worth(item: _Candidate) -> float:
    # Not by what raises a newer message above an older one: that is for two that are both in.
    return item.score - LENGTH_PENALTY * math.log(item.size)


def _each(candidates: Sequence[_Candidate]) -> Iterator[tuple[_Candidate, int]]:
    """(candidate, passage) of every passage; a short message is one."""
    for item in candidates:
        if item.long:
            for at in range(len(item.scores)):
                yield item, at
        elif item.scores:
            yield item, item.best


def _candidates(
    draft: Draft, hits: Sequence[Hit], groups: Sequence[StoredMessage]
) -> list[_Candidate]:
    shown = [*draft.anchors, *draft.recent]
    if draft.question is not None:
        shown.append(draft.question)
    seen = {seq for unit in shown for seq in unit.seqs}
    told = {line.text for line in draft.summary}
    wholes = by_group(groups)
    candidates = []
    scores: dict[str, float] = {}
    for rank, hit in enumerate(hits, 1):
        if hit.seq in seen:
            scores.setdefault(hit.message.id, hit.score)
            continue
        own = StoredMessage(hit.seq, hit.session, hit.message, hit.group, hit.tokens)
        unit = Unit(list(wholes.get(hit.group or 0, [own])), hit.score, rank)
        if (seqs := unit.seqs) & seen:
            continue
        seen |= seqs
        unit.tokens = sum(item.tokens for item in unit.items)
        if len(unit.items) == 1 and f"{hit.message.speaker}: {hit.message.content}" in told:
            unit.tokens = 0
            draft.note(unit, "summary", f"recalled, rank {rank}: stands there", included=True)
            continue
        if len(unit.items) > 1 and unit.tokens > GROUP:
            unit = shortened(unit, GROUP, draft.counter, draft.lines) or unit
        score = hit.score - hit.parts.get("newer", 0.0)
        long = len(unit.items) == 1 and unit.tokens > LONG and len(hit.passages) > 1
        candidates.append(_Candidate(unit, hit.passages, long, own, score, hit.spans))
    draft.score(scores)
    return [*candidates, *_neighbours(hits, candidates, shown)]


def _neighbours(
    hits: Sequence[Hit], candidates: Sequence[_Candidate], shown: Sequence[Unit]
) -> Iterator[_Candidate]:
    """What was said beside the hits, where a strategy asks for it; each a little below its hit."""
    if not any(hit.neighbours for hit in hits):
        return
    units = [*shown, *(item.unit for item in candidates)]
    seen = {(item.session, item.message.id) for unit in units for item in unit.items}
    for hit in hits:
        for message in hit.neighbours:
            key = (hit.session, message.id)
            if key in seen or message.tool_calls or message.role == "tool":
                continue
            seen.add(key)
            score = hit.score - hit.parts.get("newer", 0.0) - BESIDE
            own = StoredMessage(
                hit.seq, hit.session, message, None, max(8, len(message.content) // 4)
            )
            unit = Unit([own], score, tokens=own.tokens, note=", beside a hit")
            yield _Candidate(unit, (), False, own, score)


def _spans(message: Message, known: tuple[tuple[int, int], ...]) -> Sequence[tuple[int, int]]:
    """The passages of a message's text: those of what is searched of it, without the name."""
    spans = known or passages(index_text(message))
    before = len(message.name) + 2 if message.name and message.content else 0
    size = len(message.content)
    if not before and all(end <= size for _, end in spans[-1:]):
        return spans
    return [
        (min(size, max(0, start - before)), min(size, max(0, end - before))) for start, end in spans
    ]
