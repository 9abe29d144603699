"""Precision and recall of an extractor over labelled statements: `data/statements*.jsonl`.

What is right is judged by `facts_labels`. Statements of the half "kept" had no part in the making of
the rules; those of "made" had.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.facts_labels import Row, message, read, score
from benchmarks.report import BadData
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import FactExtractor

if TYPE_CHECKING:
    from benchmarks.report import Report
    from rag_memory_plugins.ports import Claim
    from rag_memory_plugins.types import Message

__all__ = ["EXTRACTOR", "load", "measure", "statements"]

DATA: Final = Path(__file__).with_name("data")
FILES: Final = ("statements.jsonl", "statements_2.jsonl")
EXTRACTOR: Final = "rag_memory_plugins.facts.rules:RuleExtractor"
SCOPE: Final = Scope("benchmark", "ann")


def statements() -> list[Row]:
    """Every labelled statement. Raises `BadData`, naming the line."""
    return [row for name in FILES for row in read(DATA / name)]


def load(name: str) -> FactExtractor | None:
    """The extractor `package.module:Name`, made without arguments; None where it is not there.

    Raises `BadData` for what is no name, or no extractor.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise BadData(f"--extractor: {name!r} is not package.module:Name")
    try:
        found = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(f"{error.name}."):
            return None
        raise
    except AttributeError as error:
        raise BadData(f"--extractor: {error}") from error
    if not isinstance(found, FactExtractor):
        raise BadData(f"--extractor: {name} makes no ports.FactExtractor")
    return found


def measure(report: Report, extractor: FactExtractor, rows: Sequence[Row]) -> None:
    """Have every statement read, and put the figures of each half.

    `sure` counts claims of a confidence of 0.8 and more, which a query shows; `bare` takes the one
    wording of each label and no other reading.
    """
    messages = [message(row) for row in rows]
    claims = get_portal().call(extractor.aextract(SCOPE, messages))
    for half in sorted({row["half"] for row in rows}):
        every = zip(rows, claims, strict=True)
        some = [(row, read_in) for row, read_in in every if row["half"] == half]
        labelled = [row for row, _ in some]
        # One after the other, as `score` asks for them.
        whole = score(_in_turn([read_in for _, read_in in some]), labelled)
        bare = score(_in_turn([read_in for _, read_in in some]), [_bare(row) for row in labelled])
        report.put(f"rules_precision_{half}", whole.total.precision)
        report.put(f"rules_recall_{half}", whole.total.recall)
        report.put(f"rules_precision_sure_{half}", whole.sure.precision)
        report.put(f"rules_precision_bare_{half}", bare.total.precision)
        report.put(f"rules_recall_bare_{half}", bare.total.recall)
        report.put(f"rules_claims_{half}", whole.total.right + whole.total.missed)
        report.put(f"rules_read_{half}", sum(len(read_in) for _, read_in in some))
        silent = [not read_in for row, read_in in some if not row["claims"]]
        report.put(f"rules_silent_{half}", sum(silent) / len(silent) if silent else 1.0)


def _in_turn(claims: Sequence[Sequence[Claim]]) -> Callable[[Message], Sequence[Claim]]:
    given = iter(claims)
    return lambda _message: next(given)


def _bare(row: Row) -> Row:
    labels = [{name: label[name] for name in label if name != "also"} for label in row["claims"]]
    return {**row, "claims": labels, "accepts": []}
