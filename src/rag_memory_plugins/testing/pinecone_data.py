"""The records of a `PineconeServer`: namespaces that lag behind their writes, filters, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Records", "Refused", "Space", "matches", "scored"]

Records: TypeAlias = dict[str, dict[str, Any]]
"""By id, each in the form of an upsert: id, values, sparseValues, metadata."""
Write: TypeAlias = Callable[[Records], None]


class Refused(Exception):
    """What Pinecone refuses: the status, its own code, and what it says."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class View:
    """What reads of one kind see: the writes up to the `upto`th."""

    records: Records = field(default_factory=dict)
    upto: int = 0
    waited: dict[int, int] = field(default_factory=dict)
    """How many reads have not seen a write, by its LSN."""


class Space:
    """One namespace: its writes in order, and what queries and fetches see of them.

    >>> space = Space()
    >>> space.write(lambda records: records.update(a={"id": "a", "values": [1.0]}))
    1
    >>> [list(space.read("query", lag=1)) for _ in range(2)]
    [[], ['a']]
    """

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self._views = {"query": View(), "fetch": View()}

    def write(self, write: Write) -> int:
        """Note a change; its LSN, which counts from 1."""
        self._writes.append(write)
        return len(self._writes)

    def read(self, kind: str, lag: int | None) -> Records:
        """What a read sees: of each write nothing until `lag` reads of its kind came before.

        None: nothing new. In order: no write is seen before those that it follows.
        """
        view = self._views[kind]
        waited = {lsn: view.waited.get(lsn, 0) for lsn in range(view.upto + 1, self.newest + 1)}
        for lsn, reads in waited.items():
            if lag is None or reads < lag:
                break
            self._apply(view, lsn)
        view.waited = {lsn: reads + 1 for lsn, reads in waited.items() if lsn > view.upto}
        return view.records

    def catch_up(self) -> None:
        """Let every read see all writes."""
        for view in self._views.values():
            for lsn in range(view.upto + 1, self.newest + 1):
                self._apply(view, lsn)

    def records(self) -> Records:
        """What all writes amount to, seen or not."""
        held: Records = {}
        for write in self._writes:
            write(held)
        return held

    @property
    def newest(self) -> int:
        """The LSN of the last write."""
        return len(self._writes)

    @property
    def indexed(self) -> int:
        """The LSN up to which queries see it."""
        return self._views["query"].upto

    def _apply(self, view: View, lsn: int) -> None:
        self._writes[lsn - 1](view.records)
        view.upto = lsn


def _compare(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def works(got: Any, wanted: Any) -> bool:
        return isinstance(got, (int, float)) and not isinstance(got, bool) and compare(got, wanted)

    return works


def _equal(got: Any, wanted: Any) -> bool:
    if isinstance(got, list):
        return any(_equal(each, wanted) for each in got)
    return isinstance(got, bool) == isinstance(wanted, bool) and got == wanted


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$eq": _equal,
    "$ne": lambda got, wanted: not _equal(got, wanted),
    "$in": lambda got, wanted: any(_equal(got, each) for each in wanted),
    "$nin": lambda got, wanted: not any(_equal(got, each) for each in wanted),
    "$exists": lambda got, wanted: (got is not None) == wanted,
    "$gt": _compare(lambda got, wanted: got > wanted),
    "$gte": _compare(lambda got, wanted: got >= wanted),
    "$lt": _compare(lambda got, wanted: got < wanted),
    "$lte": _compare(lambda got, wanted: got <= wanted),
}


def matches(metadata: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether metadata meet a filter. Raises `Refused` for an operator that there is none of.

    >>> matches({"user": "ann", "seq": 7}, {"$and": [{"user": {"$eq": "ann"}}, {"seq": 7}]})
    True
    """
    return all(_meets(metadata, key, wanted) for key, wanted in where.items())


def _meets(metadata: Mapping[str, Any], key: str, wanted: Any) -> bool:
    if key in {"$and", "$or"}:
        each = [matches(metadata, part) for part in wanted]
        return all(each) if key == "$and" else any(each)
    conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    if key.startswith("$") or not conditions.keys() <= _OPERATORS.keys():
        raise Refused(400, 3, f"invalid filter: {key}: {wanted}")
    return all(_OPERATORS[name](metadata.get(key), value) for name, value in conditions.items())


def scored(
    records: Iterable[Mapping[str, Any]],
    metric: str,
    vector: list[float] | None,
    sparse: Mapping[str, Any] | None,
) -> list[tuple[float, Mapping[str, Any]]]:
    """(score, record), best first; of equal ones in the order in which they were put."""
    import numpy as np

    held = list(records)
    totals = np.zeros(len(held))
    if vector is not None and held:
        values = np.array([record["values"] for record in held], np.float32).astype(np.float64)
        totals += _dense(values, np.array(vector, np.float64), metric)
    if sparse is not None:
        wanted = dict(zip(sparse["indices"], sparse["values"], strict=True))
        for row, record in enumerate(held):
            own = record.get("sparseValues") or {"indices": [], "values": []}
            terms = zip(own["indices"], own["values"], strict=True)
            totals[row] += sum(wanted.get(term, 0.0) * value for term, value in terms)
    # Of distances the smallest is the best.
    order = np.argsort(totals if metric == "euclidean" else -totals, kind="stable")
    return [(float(totals[row]), held[row]) for row in order]


def _dense(
    values: NDArray[np.float64], vector: NDArray[np.float64], metric: str
) -> NDArray[np.float64]:
    import numpy as np

    found: NDArray[np.float64]
    if metric == "euclidean":
        found = ((values - vector) ** 2).sum(axis=1)
        return found
    found = values @ vector
    if metric == "cosine":
        found = found / (np.linalg.norm(values, axis=1) * np.linalg.norm(vector))
    return found
