"""Nodes of any source packed into a number of tokens: the best kept, repeats out, in order.

What LlamaIndex calls node postprocessing and LangChain compression, as one pure function of plain
values. Text is only ever left out: whole nodes, or whole sentences of a node by `trimming`.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numpy.typing import ArrayLike

from rag_memory_plugins.retrieval.nodes import (
    Change,
    Floats,
    Node,
    Order,
    Packed,
    checked,
    moment,
    rank,
    units,
)
from rag_memory_plugins.retrieval.repeats import Kept, Reading
from rag_memory_plugins.retrieval.sentences import LONGEST
from rag_memory_plugins.retrieval.trimming import trim

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["Change", "Node", "Order", "Packed", "pack"]

MOST_COMPACT: Final = 10
"""Nodes above which one prompt with all of them answers worse than a tree of summaries."""
CUT: Final = " …"
OVER: Final = "over the budget"


def pack(
    nodes: Iterable[Node],
    budget: int,
    counter: TokenCounter,
    *,
    query: str = "",
    min_nodes: int = 3,
    order: Order = "relevance",
    repeats: bool = False,
    vectors: Sequence[ArrayLike | None] | None = None,
    separator: str = "\n\n",
    window: int | None = None,
) -> Packed:
    """The best of `nodes` by score in at most `budget` tokens, counted as they are joined.

    Nodes come in whole, best first; the first that does not fit is shortened to the sentences that
    answer `query`, or its first ones. At least `min_nodes` are kept, the weakest of them shortened
    most where they are too long. `repeats=True` keeps nodes that repeat a better one (`repeats.py`);
    `vectors`, one for each node, find more repeats. `order` is "relevance", "chronological" (nodes
    without a time last), or "ends": the best first and last, the weakest in the middle, where models
    overlook most (Liu et al. 2023, arXiv 2307.03172). `window` is the model's, in tokens.
    Raises `InvalidBudget`, `InvalidInput`.

    >>> from rag_memory_plugins.tokens import make_counter
    >>> boat = Node("a", "The boat is green. It is old.", 0.9)
    >>> packed = pack([Node("b", "It rained.", 0.1), boat], 10, make_counter("words"), min_nodes=1)
    >>> packed.text, packed.tokens, packed.changes[0].why
    ('The boat is green. It is old.', 10, 'over the budget')
    """
    given = checked(nodes, budget, min_nodes, order, separator, window)
    packing = _Packing(given, budget, counter, query, order, separator)
    readings = _Readings(given, units(vectors, len(given)), on=not repeats)
    waiting = deque(packing.written())
    best: list[int] = []
    while waiting and len(best) < min_nodes:
        at = waiting.popleft()
        if why := readings.why(at):
            packing.why[at] = why
        else:
            readings.keep(at)
            best.append(at)
    packing.begin(best)
    for at in waiting:
        if not packing.could_hold(at):
            packing.why[at] = OVER
        elif why := readings.why(at):
            packing.why[at] = why
        elif packing.offer(at):
            readings.keep(at)
    return packing.done(window)


class _Readings:
    """Which node repeats which of those that are kept; with `on` False, none does.

    Only of those with the same `before` and `after`: what another said, or at another time, is news.
    """

    def __init__(
        self, nodes: Sequence[Node], vectors: Sequence[Floats | None] | None, *, on: bool
    ) -> None:
        self._nodes, self._vectors, self._on = nodes, vectors, on
        self._kept: defaultdict[tuple[str, str], tuple[Kept, list[int]]] = defaultdict(
            lambda: (Kept(), [])
        )
        self._last = Reading.of("")

    def why(self, at: int) -> str | None:
        """How the node repeats a kept one ("equal to a"), or None."""
        if not self._on:
            return None
        vector = self._vectors[at] if self._vectors is not None else None
        self._last = Reading.of(self._nodes[at].text, vector)
        kept, places = self._alike(at)
        found = kept.repeated(self._last)
        return found and f"{found[1]} {self._nodes[places[found[0]]].id}"

    def keep(self, at: int) -> None:
        """Keep the node that was asked about last."""
        kept, places = self._alike(at)
        kept.add(self._last)
        places.append(at)

    def _alike(self, at: int) -> tuple[Kept, list[int]]:
        return self._kept[self._nodes[at].before, self._nodes[at].after]


class _Packing:
    """What is kept so far: nodes as they are kept, by place, in the order of relevance."""

    def __init__(
        self,
        nodes: Sequence[Node],
        budget: int,
        counter: TokenCounter,
        query: str,
        order: Order,
        separator: str,
    ) -> None:
        self.nodes, self.budget, self.counter = nodes, budget, counter
        self.query, self.order, self.separator = query, order, separator
        self.tokens = counter.count_batch([node.shown for node in nodes])
        self.gap = counter.count(separator)
        self.ranked = sorted(range(len(nodes)), key=lambda at: rank(nodes[at].score))
        self.kept: dict[int, Node] = {}
        self.why: dict[int, str] = {}
        self.room = budget
        self.counted = self.cut = self.full = False

    def written(self) -> list[int]:
        """Places of nodes with a text, best first; the others are dropped."""
        self.why = {at: "empty" for at in self.ranked if not self.nodes[at].text.strip()}
        return [at for at in self.ranked if at not in self.why]

    def begin(self, best: Sequence[int]) -> None:
        """Keep the first nodes, as they are or in shares."""
        self.kept = {at: self.nodes[at] for at in best}
        self.room = self.budget - self.counter.count(self._joined())
        if self.room < 0:
            self.full = True
            self._share(best)

    def could_hold(self, at: int) -> bool:
        """Whether the node fits whole, or is the one to be shortened."""
        return not self.full and (not self.cut or self._cost(at) <= self.room)

    def offer(self, at: int) -> bool:
        """Keep the node if it fits; the first that does not is shortened, and then the last."""
        if self._cost(at) > self.room and not self.counted:
            # Tokens of parts are not those of the whole: what joining saved is filled again.
            self.room = self.budget - self.counter.count(self._joined())
            self.counted = True
        if self._cost(at) <= self.room:
            self.room -= self._cost(at)
            self.kept[at] = self.nodes[at]
            return True
        room = self.room - self._cost(at) + self.tokens[at]
        node = None if self.cut else self._within(self.nodes[at], room, self._sentences)
        self.cut = True
        if node is not None:
            self.kept[at] = node
            self.full = True
        else:
            self.why[at] = OVER
        return node is not None

    def done(self, window: int | None) -> Packed:
        self._settle()
        places = self._arranged()
        nodes = tuple(self.kept[at] for at in places)
        text = self.separator.join(node.shown for node in nodes)
        tokens = self.counter.count(text)
        whole = self.counter.count(self.separator.join(node.shown for node in self.nodes))
        many = len(places) > MOST_COMPACT or (window is not None and whole > window)
        return Packed(
            nodes=nodes,
            places=tuple(places),
            text=text,
            tokens=tokens,
            available=self.budget,
            removed=max(whole - tokens, 0),
            original=len(self.nodes),
            kept=len(places),
            changes=tuple(self._changes()),
            recommended_response_mode="tree_summarize" if many else "compact",
        )

    def _cost(self, at: int) -> int:
        return self.tokens[at] + (self.gap if self.kept else 0)

    def _share(self, best: Sequence[int]) -> None:
        """Shorten the weakest of `best` first, each to no less than half an equal share."""
        left = self.budget - self.gap * (len(best) - 1)
        waiting = sorted(best, key=lambda at: self.tokens[at])
        while waiting and self.tokens[waiting[0]] * len(waiting) <= left:
            left -= self.tokens[waiting.pop(0)]
        long = [at for at in best if at in waiting]
        while long:
            at = long[-1]
            missing = sum(self.tokens[other] for other in long) - left
            room = max(left // len(long) // 2, self.tokens[at] - missing) if long[1:] else left
            long.pop()
            node = self.nodes[at] if self.tokens[at] <= room else self._cut(at, room)
            if node is not None:
                self.kept[at] = node
                left -= self.counter.count(node.shown)
            else:
                self._drop(at)
                left += self.gap

    def _settle(self) -> None:
        """Take from the weakest what joining cost more than the parts."""
        while self.kept and (over := self.counter.count(self._joined()) - self.budget) > 0:
            at = next(reversed(self.kept))
            node = self._cut(at, self.counter.count(self.kept[at].shown) - over)
            if node is not None and node.shown != self.kept[at].shown:
                self.kept[at] = node
            else:
                self._drop(at)

    def _drop(self, at: int) -> None:
        del self.kept[at]
        self.why[at] = OVER

    def _cut(self, at: int, room: int) -> Node | None:
        """What of the node fits into `room` tokens: sentences, or else its first words."""
        node = self.nodes[at]
        bare = replace(node, before="", after="")
        forms = (node, bare) if node.before or node.after else (node,)
        for shorten in (self._sentences, self._words):
            for form in forms:
                if (found := self._within(form, room, shorten)) is not None:
                    return found
        return None

    def _within(self, node: Node, room: int, shorten: Callable[[str, int], str]) -> Node | None:
        """The node with what `shorten` keeps of its text, in `room` tokens with all around it."""
        left = room
        if node.before or node.after:
            left -= self.counter.count(node.shown) - self.counter.count(node.text)
        while left > 0 and (text := shorten(node.text, left)):
            made = replace(node, text=text)
            over = self.counter.count(made.shown) - room
            if over <= 0:
                return made
            left -= over  # tokens of parts are not those of the whole
        return None

    def _sentences(self, text: str, room: int) -> str:
        """The sentences that fit into `room` tokens, "" if none does."""
        return trim(self.query, [text], room, self.counter).text

    def _words(self, text: str, room: int) -> str:
        """The first words that fit into `room` tokens, where no sentence does."""
        text = text.strip()[:LONGEST]
        words = [word.end() for word in re.finditer(r"\S+", text)]
        for ends in (words, range(1, words[0])):  # a long first word: its first characters
            low, high = 0, len(ends)
            while low < high:
                middle = (low + high + 1) // 2
                if self.counter.count(text[: ends[middle - 1]] + CUT) <= room:
                    low = middle
                else:
                    high = middle - 1
            if low:
                return text[: ends[low - 1]] + CUT
        return ""

    def _joined(self) -> str:
        return self.separator.join(self.kept[at].shown for at in self._arranged())

    def _arranged(self) -> list[int]:
        """Places of what is kept, in the order for the model."""
        ranked = list(self.kept)
        if self.order == "ends":
            return ranked[::2] + ranked[1::2][::-1]
        if self.order == "chronological":
            return sorted(ranked, key=lambda at: moment(self.nodes[at].time))
        return ranked

    def _changes(self) -> Iterator[Change]:
        for at in self.ranked:
            node, kept = self.nodes[at], self.kept.get(at)
            if kept is None:
                yield Change(node.id, at, "dropped", self.why[at], self.tokens[at])
            elif kept is not node:
                saved = self.tokens[at] - self.counter.count(kept.shown)
                yield Change(node.id, at, "shortened", OVER, saved)
