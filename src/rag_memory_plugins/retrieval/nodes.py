"""What `packing` takes and gives: nodes of any source, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from numbers import Real
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_memory_plugins.errors import InvalidBudget, InvalidInput, nearest

__all__ = [
    "Change",
    "Floats",
    "Mode",
    "Node",
    "Order",
    "Packed",
    "checked",
    "moment",
    "rank",
    "units",
]

Floats = NDArray[np.float64]
Order: TypeAlias = Literal["relevance", "chronological", "ends"]
Mode: TypeAlias = Literal["compact", "tree_summarize"]


@dataclass(frozen=True)
class Node:
    r"""A text of any source. `score`: higher is better; None or NaN ranks last. A naive time is UTC.

    `before` and `after` are what a model is shown around the text, such as metadata: they count,
    are never shortened, and are left out where there is no room for them beside any of the text.

    >>> Node("a", "The boat is green.", 0.8, before="page: 3\n\n").shown
    'page: 3\n\nThe boat is green.'
    """

    id: str
    text: str
    score: float | None = None
    time: datetime | None = None
    before: str = ""
    after: str = ""

    @property
    def shown(self) -> str:
        """What a model is shown of it."""
        return f"{self.before}{self.text}{self.after}"


@dataclass(frozen=True)
class Change:
    """What happened to a node that is not kept as it was; `place` is its place among those given.

    `why` for a dropped one: "empty", "over the budget", or how it repeats which ("equal to a").
    `tokens` were saved.
    """

    id: str
    place: int
    what: Literal["dropped", "shortened"]
    why: str
    tokens: int


@dataclass(frozen=True)
class Packed:
    """What was kept, in the order for the model, and what was not.

    `text` is what the nodes show, joined; `tokens` its count, never above `available`, the budget.
    `removed` is how many tokens all nodes, joined, had more. `original` and `kept` count nodes;
    `places[i]` is where `nodes[i]` stood among those given. `recommended_response_mode` is one of
    LlamaIndex's: "tree_summarize" for more than 10 kept nodes, or where all nodes together were
    over the model's window, else "compact".
    """

    nodes: tuple[Node, ...]
    places: tuple[int, ...]
    text: str
    tokens: int
    available: int
    removed: int
    original: int
    kept: int
    changes: tuple[Change, ...]
    recommended_response_mode: Mode


def rank(score: float | None) -> tuple[bool, float]:
    """What sorts best first; None and NaN come last."""
    unknown = score is None or score != score  # noqa: PLR0124 -- NaN alone is not itself
    return unknown, 0 if unknown or score is None else -score


def moment(time: datetime | None) -> tuple[bool, datetime]:
    """What sorts oldest first; None comes last."""
    if time is None:
        return True, datetime.max.replace(tzinfo=timezone.utc)
    return False, time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def units(vectors: Sequence[ArrayLike | None] | None, count: int) -> list[Floats | None] | None:
    """The vectors at length 1, so that their product is their cosine."""
    if vectors is None:
        return None
    if len(vectors) != count:
        raise InvalidInput("vectors", len(vectors), f"pass one, or None, for each of {count} nodes")
    made: list[Floats | None] = []
    for vector in vectors:
        array = np.asarray(vector if vector is not None else [0.0], np.float64)
        length = float(np.linalg.norm(array))
        made.append(array / length if vector is not None and 0 < length < math.inf else None)
    if len({vector.shape for vector in made if vector is not None}) > 1:
        raise InvalidInput("vectors", "several lengths", "pass vectors of one embedder")
    return made


def checked(
    nodes: Iterable[Node],
    budget: object,
    min_nodes: object,
    order: str,
    separator: object,
    window: object,
) -> list[Node]:
    """The nodes as a list, if all that `pack` was given can be used."""
    if not _whole(budget):
        raise InvalidBudget("budget", budget, "pass a number of tokens, an int >= 0")
    if not _whole(min_nodes):
        raise InvalidInput("min_nodes", min_nodes, "pass a number of nodes, an int >= 0")
    if window is not None and not _whole(window):
        raise InvalidInput("window", window, "pass a number of tokens, or None")
    if order not in get_args(Order):
        raise InvalidInput("order", order, nearest(str(order), get_args(Order)))
    if not isinstance(separator, str):
        raise InvalidInput("separator", separator, "pass a str")
    given = list(nodes)
    for node in given:
        if not isinstance(node, Node):
            raise InvalidInput("nodes", node, "pass Node objects")
        if not all(isinstance(v, str) for v in (node.id, node.text, node.before, node.after)):
            raise InvalidInput("nodes", node, "id, text, before and after are each a str")
        if node.score is not None and not isinstance(node.score, Real):
            raise InvalidInput("nodes.score", node.score, "pass a number, or None")
        if node.time is not None and not isinstance(node.time, datetime):
            raise InvalidInput("nodes.time", node.time, "pass a datetime, or None")
    return given


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
