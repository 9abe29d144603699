"""Claims judged against labelled statements: which are right, which are wrong, what was missed.

The labels are those of data/statements.md. Judging reads no text and knows no extractor: two claims
are equal when subject, predicate and object are by `rag_memory_plugins.facts.values`, and both or
neither are negated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.report import BadData
from rag_memory_plugins import Message
from rag_memory_plugins.facts.values import predicate_key, same_value, subject_key
from rag_memory_plugins.ports.facts import Claim

__all__ = ["SURE", "Counts", "Judged", "Row", "Score", "judged", "message", "read", "score"]

SURE: Final = 0.8
"""The least confidence of the claims that `Score.sure` counts."""
_PARTS: Final = ("subject", "predicate", "object")

Row = Mapping[str, Any]
"""One labelled statement, with the fields of data/statements.md."""


class Judged(NamedTuple):
    """What became of a statement's claims and labels.

    `right` and `wrong` are claims, in the order they were given; a claim that the row `accepts` is
    in neither. `missed` are the labels that no claim met, as the row has them.
    """

    right: tuple[Claim, ...]
    wrong: tuple[Claim, ...]
    missed: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Counts:
    """Numbers of claims that are right and wrong, and of labels that were missed.

    >>> both = Counts(right=3, wrong=1, missed=3)
    >>> both.precision, both.recall
    (0.75, 0.5)
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Share of the claims that are right; 1 when nothing was claimed."""
        claimed = self.right + self.wrong
        return self.right / claimed if claimed else 1.0

    @property
    def recall(self) -> float:
        """Share of the labels that were met; 1 when there are none."""
        wanted = self.right + self.missed
        return self.right / wanted if wanted else 1.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.right + other.right, self.wrong + other.wrong, self.missed + other.missed
        )


@dataclass(frozen=True)
class Score:
    """Counts over all rows and over each half; `sure`: of claims of confidence `SURE` and more."""

    total: Counts
    sure: Counts
    halves: Mapping[str, Counts]
    sure_halves: Mapping[str, Counts]


class _Reading(NamedTuple):
    """One way to word a label, as the keys that claims are compared by."""

    subject: str
    predicate: str
    object: str
    negated: bool

    def says(self, claim: Claim) -> bool:
        return (
            self.negated == claim.negated
            and self.subject == subject_key(claim.subject)
            and self.predicate == predicate_key(claim.predicate)
            and same_value(self.object, claim.object)
        )


def judged(claims: Sequence[Claim], row: Row) -> Judged:
    """The claims of one statement beside its labels.

    A label is met by one claim and a claim meets one label: as many as can be are, the label as it
    is worded before its other readings (`also`), and of two claims that say one thing the more
    confident. The other one is wrong, unless the row `accepts` it.

    >>> row = {"claims": [{"subject": "user", "predicate": "lives in", "object": "Porto"}]}
    >>> said = [Claim("user", "lives in", "porto"), Claim("user", "lives in", "Braga")]
    >>> [claim.object for claim in judged(said, row).wrong], judged(said, row).missed
    (['Braga'], ())
    """
    met = _met(claims, row["claims"])
    takes = [reading for label in row.get("accepts", ()) for reading in _readings(label)]
    rest = [at for at in range(len(claims)) if at not in met]
    wrong = [at for at in rest if not any(reading.says(claims[at]) for reading in takes)]
    labels = enumerate(row["claims"])
    return Judged(
        tuple(claims[at] for at in sorted(met)),
        tuple(claims[at] for at in wrong),
        tuple(label for at, label in labels if at not in met.values()),
    )


def score(extract: Callable[[Message], Sequence[Claim]], rows: Iterable[Row]) -> Score:
    """What `extract` makes of each row's message; called once a row, in order.

    >>> row = {"text": "I live in Porto.", "said": "2025-03-01T10:00:00+00:00", "half": "made"}
    >>> row["claims"] = [{"subject": "user", "predicate": "lives in", "object": "Porto"}]
    >>> score(lambda message: [Claim("user", "lives in", "Porto", 0.5)], [row]).total.recall
    1.0
    """
    every: dict[str, Counts] = {}
    sure: dict[str, Counts] = {}
    for row in rows:
        claims, half = extract(message(row)), row["half"]
        every[half] = every.get(half, Counts()) + _counted(claims, row)
        firm = [claim for claim in claims if claim.confidence >= SURE]
        sure[half] = sure.get(half, Counts()) + _counted(firm, row)
    none = Counts()
    return Score(sum(every.values(), none), sum(sure.values(), none), every, sure)


def message(row: Row) -> Message:
    """What was said, without its labels."""
    said = datetime.fromisoformat(row["said"])
    return Message(row.get("role", "user"), row["text"], name=row.get("name"), time=said)


def read(path: str | Path) -> list[Row]:
    """The rows of a file of statements. Raises `BadData`, naming the file and the line."""
    rows: list[Row] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            row: Row = json.loads(line)
            labels = chain(row["claims"], row.get("accepts", ()))
            complete = all(list(_readings(label)) for label in labels)
            if not (complete and row["half"] in {"made", "kept"} and message(row).content):
                raise BadData(f"{path} line {number}: an empty field, or a half of another name")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path} line {number}: {error!r}") from error
        rows.append(row)
    return rows


def _counted(claims: Sequence[Claim], row: Row) -> Counts:
    found = judged(claims, row)
    return Counts(len(found.right), len(found.wrong), len(found.missed))


def _readings(label: Mapping[str, Any]) -> Iterator[_Reading]:
    """As the label is worded, then its variants; a list in a field is any of its values."""
    for variant in ({}, *label.get("also", ())):
        one = {**label, **variant}
        fields = [[one[part]] if isinstance(one[part], str) else one[part] for part in _PARTS]
        for subject, predicate, value in product(*fields):
            negated = bool(one.get("negated"))
            yield _Reading(subject_key(subject), predicate_key(predicate), value, negated)


def _met(claims: Sequence[Claim], labels: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The label that each claim meets, by their places; as many pairs as can be."""
    ways = [list(_readings(label)) for label in labels]
    plain = [ways_of[0] for ways_of in ways]
    fits: list[list[int]] = []
    for claim in claims:
        close = [at for at, reading in enumerate(plain) if reading.says(claim)]
        loose = [at for at, some in enumerate(ways) if any(way.says(claim) for way in some)]
        fits.append([*close, *(at for at in loose if at not in close)])

    def first(at: int) -> tuple[bool, float]:
        return not any(plain[label].says(claims[at]) for label in fits[at]), -claims[at].confidence

    taken: dict[int, int] = {}
    for at in sorted(range(len(claims)), key=first):
        _place(at, fits, taken, set())
    return {claim: label for label, claim in taken.items()}


def _place(at: int, fits: Sequence[Sequence[int]], taken: dict[int, int], seen: set[int]) -> bool:
    """Whether claim `at` finds a label, moving to others those claims that can also meet them."""
    for label in fits[at]:
        if label in seen:
            continue
        seen.add(label)
        if label not in taken or _place(taken[label], fits, taken, seen):
            taken[label] = at
            return True
    return False
