"""Precision and recall of an extractor over the statements of `data/statements.jsonl`.

A claim that was read is right when one that was expected has its subject, object and polarity, and
its predicate or one with the same word of content; each is matched once. Compared are texts without
case, articles and signs, which is written here: what is judged has no say in it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import BadData
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Claim, FactExtractor
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from benchmarks.report import Report

__all__ = ["EXTRACTOR", "Statement", "load", "matches", "measure", "read"]

DATA: Final = Path(__file__).with_name("data") / "statements.jsonl"
EXTRACTOR: Final = "rag_memory_plugins.facts.rules:RuleExtractor"
SCOPE: Final = Scope("benchmark", "ann")
SURE: Final = 0.8
_WORD: Final = re.compile(r"[^\W_]+(?:['.,][^\W_]+)*")
_ARTICLES: Final = frozenset({"a", "an", "the"})
_EMPTY: Final = _ARTICLES | frozenset(
    "am are as at be by does for from has have in is my of on our their to with".split()
)


@dataclass(frozen=True)
class Statement:
    """Something that was said, the claims that should be read in it, and the half it is of."""

    message: Message
    claims: tuple[Claim, ...]
    half: str


@dataclass
class _Found:
    """Counts of one half."""

    right: int = 0
    read: int = 0
    expected: int = 0
    sure_right: int = 0
    sure: int = 0
    silent: list[bool] = field(default_factory=list)


def read(path: Path = DATA) -> list[Statement]:
    """The statements of a file. Raises `BadData`, naming the line."""
    found = []
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            item = json.loads(row)
            claims = tuple(_claim(claim) for claim in item["claims"])
            found.append(Statement(_message(item, number), claims, item["half"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path.name} line {number}: {error!r}") from error
    return found


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


def measure(report: Report, extractor: FactExtractor, statements: Sequence[Statement]) -> None:
    """Have every statement read, and put the figures of each half."""
    messages = [statement.message for statement in statements]
    claims = get_portal().call(extractor.aextract(SCOPE, messages))
    halves: dict[str, _Found] = {}
    for statement, read_in in zip(statements, claims, strict=True):
        _count(halves.setdefault(statement.half, _Found()), statement, read_in)
    for half, found in sorted(halves.items()):
        report.put(f"rules_precision_{half}", _share(found.right, found.read))
        report.put(f"rules_recall_{half}", _share(found.right, found.expected))
        report.put(f"rules_precision_sure_{half}", _share(found.sure_right, found.sure))
        report.put(f"rules_silent_{half}", _share(sum(found.silent), len(found.silent)))
        report.put(f"rules_claims_{half}", found.expected)
        report.put(f"rules_read_{half}", found.read)


def _count(found: _Found, statement: Statement, read_in: Sequence[Claim]) -> None:
    left = list(statement.claims)
    found.expected += len(left)
    found.read += len(read_in)
    if not left:
        found.silent.append(not read_in)
    for claim in read_in:
        same = next((each for each in left if matches(each, claim)), None)
        sure = claim.confidence >= SURE
        found.sure += sure
        if same is not None:
            left.remove(same)
            found.right += 1
            found.sure_right += sure


def matches(expected: Claim, claim: Claim) -> bool:
    """Whether two claims say the same."""
    if expected.negated != claim.negated:
        return False
    for one, other in ((expected.subject, claim.subject), (expected.object, claim.object)):
        if _words(one, _ARTICLES) != _words(other, _ARTICLES):
            return False
    left, right = _words(expected.predicate, _ARTICLES), _words(claim.predicate, _ARTICLES)
    if left == right:
        return True
    return bool(set(_stems(left)) & set(_stems(right)))


def _words(text: str, without: frozenset[str]) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in without]


def _stems(words: Iterable[str]) -> list[str]:
    """Words of content, without an ending: "likes" and "like" are one."""
    return [word.removesuffix("s") for word in words if word not in _EMPTY]


def _share(part: int, of: int) -> float:
    """Of nothing 0: who reads nothing is right in nothing."""
    return part / of if of else 0.0


def _message(item: Mapping[str, Any], number: int) -> Message:
    return Message(
        item.get("role", "user"),
        item["text"],
        id=f"statement-{number}",
        name=item.get("name"),
        time=datetime.fromisoformat(item["said"]),
    )


def _claim(item: Mapping[str, Any]) -> Claim:
    said = (item["subject"], item["predicate"], item["object"])
    return Claim(*said, negated=bool(item.get("negated")), many=bool(item.get("many")))
