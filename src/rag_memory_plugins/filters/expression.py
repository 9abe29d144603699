"""The tree behind a `Filter`: four kinds of frozen nodes, and what they mean."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any, Final, Literal, Protocol, TypeAlias

from rag_memory_plugins.errors import shorten

__all__ = [
    "EVERYTHING",
    "AllOf",
    "AnyOf",
    "Comparison",
    "Expression",
    "Field",
    "Not",
    "Operator",
    "Said",
    "Stated",
    "all_of",
    "any_of",
    "depth",
    "holds",
    "opposite",
    "plain",
    "shown",
    "typed",
]

Field: TypeAlias = Literal["time", "role", "name", "session", "id", "metadata"]
Stated: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "exists"]
Operator: TypeAlias = Stated | Literal["same", "object"]

_ORDER: Final = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_MISSING: Final = object()


class Said(Protocol):
    """What a filter reads of a message."""

    @property
    def id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def time(self) -> datetime: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


def typed(value: object) -> tuple[str, Any]:
    """(kind, value): equal for what a filter calls equal, so not for True and 1."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, str):
        return "string", value
    if isinstance(value, datetime):
        return "time", value
    return ("null", None) if value is None else ("other", None)


@dataclass(frozen=True)
class Comparison:
    """One statement about one field; `key` is the name of a metadata field, compared whole.

    `value` is a sorted tuple for `in` and `not_in`, a bool for `exists`, else a scalar. Time has
    gte, lt and lte with a datetime in UTC; role, name, session and id have `in`; metadata all.
    `path` leads on from `key` into nested objects; the value of `same` is `plain` of any JSON value,
    and `object` asks whether it is an object.

    >>> Comparison("metadata", "eq", 1, key="n") == Comparison("metadata", "eq", True, key="n")
    False
    """

    field: Field
    operator: Operator
    value: Any = dataclasses.field(compare=False)
    key: str = ""
    path: tuple[str, ...] = ()
    wanted: frozenset[tuple[str, Any]] = dataclasses.field(init=False, repr=False)
    """The value, or each of the values, by kind: what equality of two comparisons looks at."""

    def __post_init__(self) -> None:
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        object.__setattr__(self, "wanted", frozenset(typed(value) for value in values))


@dataclass(frozen=True)
class AllOf:
    """True when every part is; without parts, of every message.

    >>> AllOf(()) == EVERYTHING
    True
    """

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class AnyOf:
    """True when at least one part is.

    >>> shown(AnyOf((Comparison("role", "in", ("user",)), Comparison("id", "in", ("m1",)))))
    "(role in ('user',) | id in ('m1',))"
    """

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Not:
    """True when its part is not.

    >>> shown(Not(Comparison("role", "in", ("user",))))
    "~(role in ('user',))"
    """

    part: Expression


Expression: TypeAlias = Comparison | AllOf | AnyOf | Not

EVERYTHING: Final = AllOf(())


def holds(node: Expression, said: Said, session: str) -> bool:
    """Whether the expression is true of a message that was said in `session`."""
    if isinstance(node, AllOf):
        return all(holds(part, said, session) for part in node.parts)
    if isinstance(node, AnyOf):
        return any(holds(part, said, session) for part in node.parts)
    if isinstance(node, Not):
        return not holds(node.part, said, session)
    stored = _read(node, said, session)
    if node.operator == "exists":
        return (stored is not _MISSING) is node.value
    if stored is _MISSING:
        return False
    if node.operator == "object":
        return isinstance(stored, Mapping) is node.value
    if node.operator == "same":
        return bool(plain(stored) == node.value)
    if node.operator in {"eq", "in"}:
        return typed(stored) in node.wanted
    if node.operator in {"ne", "not_in"}:
        return typed(stored) not in node.wanted
    same_kind = typed(stored)[0] == typed(node.value)[0]
    return same_kind and bool(_ORDER[node.operator](stored, node.value))


def _read(node: Comparison, said: Said, session: str) -> Any:
    if node.field == "metadata":
        found = said.metadata.get(node.key, _MISSING)
        for key in node.path:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        return found
    if node.field == "session":
        return session
    value = getattr(said, node.field)
    return _MISSING if value is None else value


def plain(value: object) -> str:
    """A JSON value as text, the same for equal values: key order is nothing, and 1.0 is 1."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def all_of(parts: Iterable[Expression]) -> Expression:
    """One expression that holds when all parts do."""
    flat: list[Expression] = []
    for part in parts:
        flat += part.parts if isinstance(part, AllOf) else [part]
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def any_of(parts: Iterable[Expression]) -> Expression:
    """One expression that holds when at least one part does; there must be one."""
    flat: list[Expression] = []
    for part in parts:
        flat += part.parts if isinstance(part, AnyOf) else [part]
    if EVERYTHING in flat:
        return EVERYTHING
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def opposite(node: Expression) -> Expression:
    """The expression that holds when `node` does not."""
    return node.part if isinstance(node, Not) else Not(node)


def depth(node: Expression) -> int:
    """How many nodes stand one inside the other."""
    if isinstance(node, Not):
        return 1 + depth(node.part)
    if isinstance(node, Comparison):
        return 1
    return 1 + max(map(depth, node.parts), default=0)


def shown(node: Expression) -> str:
    """The expression for people: `(time gte 2026-05-01 00:00:00+00:00 & role in ('user',))`."""
    if isinstance(node, Not):
        inner = shown(node.part)
        return f"~{inner}" if inner.startswith("(") else f"~({inner})"
    if isinstance(node, Comparison):
        keys = "".join(f"[{key!r}]" for key in (node.key, *node.path))
        name = f"metadata{keys}" if node.field == "metadata" else node.field
        value = str(node.value) if isinstance(node.value, datetime) else shorten(node.value)
        return f"{name} {node.operator} {value}"
    if node == EVERYTHING:
        return "anything"
    return f"({(' & ' if isinstance(node, AllOf) else ' | ').join(map(shown, node.parts))})"
