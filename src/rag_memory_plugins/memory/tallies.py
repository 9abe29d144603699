"""What is counted of contexts: `Tally` and `Usage`, and the names their numbers are kept under."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from urllib.parse import quote, unquote

from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.types import html_table

__all__ = ["TALLY", "Tally", "Usage", "last_day", "number_name", "tally_names", "usage_of"]

TALLY: Final = ("contexts", "sent", "history")
"""The numbers of a `Tally`."""
_LONGEST: Final = 200
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Tally:
    """Contexts, the tokens they `sent`, and the tokens of the `history` they stand for.

    `history` is what the whole sessions would have cost at each of these contexts. What contexts
    add to a history (system message, fences, other sessions' turns) counts against the saving.

    >>> Tally(contexts=2, sent=300, history=1200).share_saved
    0.75
    """

    contexts: int = 0
    sent: int = 0
    history: int = 0

    @property
    def saved(self) -> int:
        """Tokens not sent: history less sent, never below 0."""
        return max(0, self.history - self.sent)

    @property
    def share_saved(self) -> float:
        """Saved by history, from 0 to 1; 0 without a history."""
        return self.saved / self.history if self.history > 0 else 0.0


@dataclass(frozen=True)
class Usage(Tally):
    """What was counted for a conversation, a tenant, or all.

    `by_part` is tokens of each part when rendered; `by_model` knows the contexts that were made
    for a named model. `last_day` is the last day, in UTC, on which a context was counted.
    """

    by_mode: Mapping[str, Tally] = field(default_factory=dict)
    by_part: Mapping[str, int] = field(default_factory=dict)
    by_model: Mapping[str, Tally] = field(default_factory=dict)
    last_day: date | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **_plain(self),
            "by_mode": {name: _plain(tally) for name, tally in self.by_mode.items()},
            "by_part": dict(self.by_part),
            "by_model": {name: _plain(tally) for name, tally in self.by_model.items()},
            "last_day": self.last_day.isoformat() if self.last_day is not None else None,
        }

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = [("all", *_cells(self))]
        rows += [(f"mode {name}", *_cells(tally)) for name, tally in self.by_mode.items()]
        rows += [(f"model {name}", *_cells(tally)) for name, tally in self.by_model.items()]
        rows += [(f"part {name}", "", f"{sent:,}", "", "") for name, sent in self.by_part.items()]
        return html_table(("", "contexts", "sent", "history", "saved"), rows)


@keeps_texts
@functools.lru_cache(4096)
def number_name(kind: str, value: str) -> str:
    """A number's name, in which no value can stand for another or end early."""
    if len(value) > _LONGEST:
        digest = hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        value = f"{value[:_LONGEST]}~{digest}"
    return f"{kind}/{quote(value, safe='', errors='surrogatepass')}"


@keeps_texts
@functools.lru_cache(4096)
def tally_names(kind: str, value: str) -> tuple[str, ...]:
    """Names of a value's own `TALLY`, in its order."""
    return tuple(f"{number_name(kind, value)}/{number}" for number in TALLY)


def usage_of(numbers: Mapping[str, int]) -> Usage:
    """The numbers of a key, their names read back."""
    tallies: dict[str, dict[str, dict[str, int]]] = {"mode": {}, "model": {}}
    parts: dict[str, int] = {}
    for name, number in sorted(numbers.items()):
        kind, _, rest = name.partition("/")
        value, _, what = rest.partition("/")
        value = unquote(value, errors="surrogatepass")
        if kind in tallies and what in TALLY:
            tallies[kind].setdefault(value, {})[what] = number
        elif kind == "part":
            parts[value] = number
    last = last_day(numbers)
    return Usage(
        **{name: numbers.get(name, 0) for name in TALLY},
        by_mode={name: Tally(**values) for name, values in tallies["mode"].items()},
        by_part=parts,
        by_model={name: Tally(**values) for name, values in tallies["model"].items()},
        last_day=date.fromordinal(_EPOCH + last) if last >= 0 else None,
    )


def last_day(numbers: Mapping[str, int]) -> int:
    """The last day counted, in days since 1970; -1 if none is."""
    days = (int(name[4:]) for name in numbers if name.startswith("day/"))
    return max(days, default=-1)


def _plain(tally: Tally) -> dict[str, Any]:
    names = (*TALLY, "saved", "share_saved")
    return {name: getattr(tally, name) for name in names}


def _cells(tally: Tally) -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (tally.contexts, tally.sent, tally.history))
    return (*numbers, f"{tally.saved:,} ({tally.share_saved:.0%})")
