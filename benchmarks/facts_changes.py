"""Whether an extractor follows what changes: `data/changes.jsonl`, a value and how its change was told.

A value that is read and whose change is not stays, and a context goes on showing it as what was told
last; so this share says what facts read out of talk are worth where talk changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.report import BadData
from rag_memory_plugins import Message, open_memory

if TYPE_CHECKING:
    from benchmarks.report import Report
    from rag_memory_plugins.memory.facts import Facts
    from rag_memory_plugins.ports import Fact, FactChange, FactExtractor

__all__ = ["Change", "changes", "measure"]

DATA: Final = Path(__file__).with_name("data") / "changes.jsonl"
START: Final = datetime(2026, 1, 5, 8, tzinfo=timezone.utc)
LATER: Final = timedelta(days=30)


@dataclass(frozen=True)
class Change:
    """A value as it was told, and the next one a month later: (text, value) each."""

    id: str
    kind: str
    half: str
    first: tuple[str, str]
    then: tuple[str, str]


def changes(path: Path = DATA) -> list[Change]:
    """The changes of a file. Raises `BadData`, naming the line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            told = [(row[part]["text"], row[part]["value"]) for part in ("first", "then")]
            found.append(Change(row["id"], row["kind"], row["half"], *told))
        except (ValueError, KeyError, TypeError) as error:
            raise BadData(f"{path.name}, line {number}: {error!r}") from error
        if any(value not in text for text, value in told):
            raise BadData(f"{path.name}, line {number}: a value does not stand in its text")
    return found


def measure(report: Report, folder: Path, extractor: FactExtractor, some: Sequence[Change]) -> None:
    """`changes_read_HALF`, `changes_told_HALF` and `changes_followed_HALF`."""
    path = folder / "changes.db"
    with open_memory(path, embedder=None, background=False, facts=extractor) as memory:
        for change in some:
            conversation = memory.conversation("benchmark", change.id, "talk")
            for at, (text, _) in enumerate((change.first, change.then)):
                said = Message("user", text, id=f"m{at}", time=START + at * LATER)
                conversation.add(said)
        memory.read_facts()
        for half in dict.fromkeys(change.half for change in some):
            read = told = followed = 0
            own = [change for change in some if change.half == half]
            for change in own:
                facts = memory.conversation("benchmark", change.id, "talk").facts
                first, then, holds = _states(facts, change)
                read += first
                told += first and then
                followed += first and not holds
            report.put(f"changes_read_{half}", read / len(own))
            if read:
                report.put(f"changes_told_{half}", told / read)
                report.put(f"changes_followed_{half}", followed / read)


def _states(facts: Facts, change: Change) -> tuple[bool, bool, bool]:
    """(the first value was read, the next one was, the first one holds still)."""
    told, held = facts.history(), facts.query(min_confidence=0.0)
    first = any(_is(each, each.new, "m0", change.first[1]) for each in told)
    then = any(_is(each, each.object, "m1", change.then[1]) for each in held)
    return first, then, any(_is(each, each.object, "m0", change.first[1]) for each in held)


def _is(each: Fact | FactChange, said: str, source: str, value: str) -> bool:
    """Whether a fact was read in a message and has a value, more of it or a part."""
    read, wanted = said.casefold(), value.casefold()
    inside = bool(read) and (read in wanted or wanted in read)
    return inside and any(place.id == source for place in each.sources)
