"""One whole request made to fit: system messages, history, the question, and the running turn.

A framework's agent puts its tool calls and results of the running turn behind what the memory gave,
and trims nothing of it. Pure; each message is counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput
from rag_memory_plugins.memory.units import LEAST, SHORTENED, cut
from rag_memory_plugins.tokens import REPLY_TOKENS
from rag_memory_plugins.types import Message, Messages

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["Fitted", "fitted"]

LATEST: Final = 4
"""Older rounds go before the latest one's results have less than one part in this of the room."""


@dataclass(frozen=True)
class Fitted:
    """A request within its tokens. What is not in `shortened` is the object that was given.

    `places` says where each message stood among those given; `dropped` and `shortened` are places
    too. `degraded` says what the running turn lost.
    """

    messages: Messages
    tokens: int
    places: tuple[int, ...]
    dropped: tuple[int, ...] = ()
    shortened: tuple[int, ...] = ()
    degraded: tuple[str, ...] = ()


def fitted(
    messages: Sequence[Message], room: int, counter: TokenCounter, *, question: int | None = None
) -> Fitted:
    """`messages` in at most `room` tokens, counted as one request.

    System messages and the question stay whole: the last user message, or the one at place
    `question` where a framework sends results of tools as user messages. History goes first, the
    oldest first. Then the turn's results are shortened, the oldest first, then its oldest rounds
    (an answer and the results of its calls) are left out; of the latest round only results are
    shortened, as long as that is enough. A call is never parted from its results. After a cut
    history begins with a user message. A request that fits comes back as it is.

    Raises `BudgetTooSmall` when what must stay does not fit.

    >>> from rag_memory_plugins.tokens import make_counter
    >>> said = [Message("user", "hello"), Message("assistant", "hi"), Message("user", "a joke?")]
    >>> fitted(said, 12, make_counter("words")).places
    (2,)
    """
    given = Messages(messages)
    tokens = counter.count_messages(given)
    if tokens <= room:
        return Fitted(given, tokens, tuple(range(len(given))))
    if question is not None and not 0 <= question < len(given):
        raise InvalidInput("question", question, f"pass a place among {len(given)} messages")
    request = _Request(given, room, counter, question)
    needed = counter.count_messages([given[at] for at in request.must])
    if needed > room:
        what = "the system messages and the user's last message take"
        raise BudgetTooSmall("budget", room, f"{what} {needed} tokens; raise it")
    target = room
    while True:
        kept = request.within(target)
        tokens = counter.count_messages(list(kept.values()))
        if tokens <= room:
            return request.result(kept, tokens)
        target -= tokens - room  # a counter by which messages cost more together than alone


class _Request:
    """A request's messages, what each costs, and which stand or fall together."""

    def __init__(
        self, given: Messages, room: int, counter: TokenCounter, question: int | None
    ) -> None:
        self.given, self.room, self.counter = given, room, counter
        asked = [at for at, message in enumerate(given) if message.role == "user"]
        self.question = question if question is not None else (asked[-1] if asked else -1)
        self.must = [
            at
            for at, message in enumerate(given)
            if message.role == "system" or at == self.question
        ]
        self.costs = [self.cost(message) for message in given]
        groups = self._groups()
        self.history = [group for group in groups if group[-1] < self.question]
        self.rounds = [group for group in groups if group[-1] > self.question]

    def within(self, target: int) -> dict[int, Message]:
        """What stays of the request in about `target` tokens: messages by place, in order."""
        left = target - REPLY_TOKENS - self.total(self.must)
        turn = sum(map(self.total, self.rounds))
        history = self._newest(left - turn)
        if history is not None:
            kept = {at: self.given[at] for group in (*history, *self.rounds) for at in group}
        else:
            kept = self._turn(left)
        kept |= {at: self.given[at] for at in self.must}
        return dict(sorted(kept.items()))

    def result(self, kept: dict[int, Message], tokens: int) -> Fitted:
        dropped = tuple(at for at in range(len(self.given)) if at not in kept)
        shortened = tuple(at for at, message in kept.items() if message is not self.given[at])
        rounds = sum(1 for group in self.rounds if group[0] not in kept)
        notes = {
            "results of tools shortened": len(shortened),
            "rounds of tools left out": rounds,
        }
        return Fitted(
            Messages(kept.values()),
            tokens,
            tuple(kept),
            dropped,
            shortened,
            tuple(f"{note}: {count}" for note, count in notes.items() if count),
        )

    def cost(self, message: Message) -> int:
        return max(0, self.counter.count_messages([message]) - REPLY_TOKENS)

    def total(self, places: Sequence[int]) -> int:
        return sum(self.costs[at] for at in places)

    def _groups(self) -> list[list[int]]:
        """Places that stand or fall together, in order: an answer with the results of its calls.

        A result whose call nobody made belongs to the answer before it. So does, in the running
        turn, a user message: it tells what a tool gave.
        """
        groups: list[list[int]] = []
        calls: dict[str, list[int]] = {}
        answer: list[int] | None = None
        for at, message in enumerate(self.given):
            if at == self.question:
                answer = None
            elif message.role != "system" and not self.given_back(at):
                answer = [at] if message.role == "assistant" else None
                groups.append(answer or [at])
                calls |= dict.fromkeys((call.id for call in message.tool_calls), groups[-1])
            elif message.role != "system":
                group = calls.get(message.tool_call_id or "", answer)
                if group is None:
                    groups.append([at])
                else:
                    group.append(at)
        return groups

    def given_back(self, at: int) -> bool:
        """Whether the message is the result of a tool."""
        role = self.given[at].role
        return role == "tool" or (role == "user" and at > self.question >= 0)

    def _newest(self, left: int) -> list[list[int]] | None:
        """The newest groups of the history that fit; None if not even none of them would."""
        if left < 0:
            return None
        kept = list(self.history)
        over = sum(map(self.total, kept)) - left
        while kept and (over > 0 or self.given[kept[0][0]].role != "user"):
            over -= self.total(kept.pop(0))
        return kept

    def _turn(self, left: int) -> dict[int, Message]:
        """The rounds that fit, the newest as whole as can be, results of the others shortened."""
        if not self.rounds:
            return {}
        *older, latest = [_Round(self, group) for group in self.rounds]
        generous = max(LEAST, self.room // LATEST // max(1, len(latest.sizes)))
        waiting = [(some, some.needs(LEAST)) for some in older]
        waiting.append((latest, latest.needs(generous)))
        needed = sum(least for _, least in waiting)
        while needed > left and len(waiting) > 1:
            needed -= waiting.pop(0)[1]
        if needed > left:
            waiting = [(latest, needed := latest.needs(LEAST))]
        kept: dict[int, Message] = {}
        spare = left - needed
        # What the least leaves goes to the newest first, so that the oldest are the shortest.
        while spare >= 0 and waiting:
            some, least = waiting.pop()
            made, cost = some.within(least + spare)
            spare += least - cost
            kept |= made
        return kept


class _Round:
    """An answer of the model and what its calls gave: only the latter can be shortened."""

    def __init__(self, request: _Request, group: list[int]) -> None:
        self.request, self.group = request, group
        costs = request.costs
        given = [(at, request.given[at]) for at in group if request.given_back(at)]
        bare = {at: request.cost(message.shown_as("", message.metadata)) for at, message in given}
        self.sizes = {at: max(0, costs[at] - cost) for at, cost in bare.items()}
        self.fixed = request.total(group) - sum(self.sizes.values())

    def needs(self, least: int) -> int:
        """Tokens with every result shortened to `least`."""
        return self.fixed + sum(min(size, least) for size in self.sizes.values())

    def within(self, room: int) -> tuple[dict[int, Message], int]:
        """(messages by place, their tokens): the longest results are shortened to one length."""
        request = self.request
        made = {at: request.given[at] for at in self.group}
        most = _level(list(self.sizes.values()), room - self.fixed)
        for at, size in self.sizes.items():
            if size > most:
                message = made[at]
                text = cut(message, most, size, request.counter)
                made[at] = message.shown_as(text, {**message.metadata, SHORTENED: size})
        cost = sum(
            request.costs[at] if message is request.given[at] else request.cost(message)
            for at, message in made.items()
        )
        return made, cost


def _level(sizes: list[int], room: int) -> int:
    """The length to which the longest of `sizes` must be cut, so that all are at most `room`."""
    left = room
    for count, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - count)
        if size > share:
            return share
        left -= size
    return max(sizes, default=0)
