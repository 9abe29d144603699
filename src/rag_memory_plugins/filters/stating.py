"""What users write, checked and made into expressions: dates, names, metadata, plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final, TypeAlias, get_args

from rag_memory_plugins.errors import InvalidFilter, nearest
from rag_memory_plugins.filters.expression import (
    Comparison,
    Expression,
    Field,
    Stated,
    all_of,
    any_of,
    opposite,
    typed,
)
from rag_memory_plugins.types import ROLES

__all__ = ["FIELDS", "MAX_DEPTH", "Scalar", "When", "compared", "from_plain", "stated"]

Scalar: TypeAlias = str | int | float | bool | None
When: TypeAlias = datetime | date | str

MAX_DEPTH: Final = 50
"""How deep filters nest: far beyond what anybody writes, far below what Python's stack holds."""

_OPERATORS: Final[tuple[Stated, ...]] = get_args(Stated)
_TEXTS: Final[dict[str, Field]] = {
    "roles": "role",
    "names": "name",
    "sessions": "session",
    "ids": "id",
}
FIELDS: Final = ("since", "until", *_TEXTS, "metadata")
_JOINTS: Final = ("and", "or", "not")
_SCALARS: Final = "a str, a finite number, True, False or None"


def stated(given: Mapping[str, Any]) -> Expression:
    """The expression of some of `FIELDS`, all of which hold. Raises `InvalidFilter`."""
    return all_of([part for name, value in given.items() for part in _field(name, value)])


def from_plain(data: object, level: int = 0) -> Expression:
    """The expression of JSON-like values; see `Filter.from_dict`."""
    if level > MAX_DEPTH:
        raise InvalidFilter("filter", "...", f"it nests more than {MAX_DEPTH} deep; flatten it")
    if not isinstance(data, Mapping):
        raise InvalidFilter("filter", data, 'pass an object such as {"roles": ["user"]}')
    parts = []
    for name, value in data.items():
        if value is None:
            raise InvalidFilter(str(name), value, "give it a value, or leave it out")
        if name == "not":
            parts.append(opposite(from_plain(value, level + 1)))
        elif name in _JOINTS:
            if not isinstance(value, (list, tuple)) or not value:
                raise InvalidFilter(name, value, "pass a list of at least one filter")
            join: Callable[[list[Expression]], Expression] = all_of if name == "and" else any_of
            parts.append(join([from_plain(item, level + 1) for item in value]))
        elif name in FIELDS:
            parts += _field(name, value)
        else:
            raise InvalidFilter("filter", name, nearest(str(name), (*FIELDS, *_JOINTS)))
    return all_of(parts)


def _field(name: str, value: Any) -> list[Expression]:
    if name == "since":
        return [Comparison("time", "gte", _moment(name, value)[0])]
    if name == "until":
        moment, day = _moment(name, value)
        if not day:
            return [Comparison("time", "lt", moment)]
        # Its last microsecond, and not the next day's first: 9999-12-31 has no next day.
        last = timedelta(days=1) - timedelta(microseconds=1)
        return [Comparison("time", "lte", moment + last)]
    if name in _TEXTS:
        texts = [value] if isinstance(value, str) else _several(name, value, "a str or several")
        for text in texts:
            if not isinstance(text, str):
                raise InvalidFilter(name, text, "pass a str or several")
            if name == "roles" and text not in ROLES:
                raise InvalidFilter(name, text, nearest(text, ROLES))
        return [Comparison(_TEXTS[name], "in", _values(name, texts))]
    if not isinstance(value, Mapping):
        raise InvalidFilter(name, value, "pass a mapping of field to value or {operator: value}")
    return [part for key, wanted in value.items() for part in _metadata(key, wanted)]


def _moment(name: str, value: object) -> tuple[datetime, bool]:
    """(moment in UTC, whether it stands for a whole day)."""
    given = _parsed(name, value) if isinstance(value, str) else value
    if not isinstance(given, date):
        raise InvalidFilter(name, value, "pass a datetime with a timezone, a date or an ISO string")
    if not isinstance(given, datetime):
        return datetime(given.year, given.month, given.day, tzinfo=timezone.utc), True
    if given.tzinfo is None or given.utcoffset() is None:
        remedy = "it has no timezone; add one, as in 2026-05-08T14:30:00+00:00, or pass a date"
        raise InvalidFilter(name, value, remedy)
    try:
        return given.astimezone(timezone.utc), False
    except OverflowError as error:
        raise InvalidFilter(name, value, "it is out of range in UTC") from error


def _parsed(name: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        pass
    try:
        # Python 3.10 does not read the Z.
        return datetime.fromisoformat(f"{value[:-1]}+00:00" if value.endswith("Z") else value)
    except ValueError as error:
        remedy = "write 2026-05-08 or 2026-05-08T14:30:00+00:00"
        raise InvalidFilter(name, value, remedy) from error


def _metadata(key: object, wanted: object) -> list[Expression]:
    if not isinstance(key, str):
        remedy = "a field is a str, the name of a top-level key; nested keys cannot be compared"
        raise InvalidFilter("metadata", key, remedy)
    where = f"metadata[{key!r}]"
    if not isinstance(wanted, Mapping):
        if isinstance(wanted, Collection) and not isinstance(wanted, (str, bytes)):
            raise InvalidFilter(where, wanted, 'for any of several write {"in": [...]}')
        return [Comparison("metadata", "eq", _scalar(where, wanted), key)]
    if not wanted:
        raise InvalidFilter(where, wanted, f"name an operator: {', '.join(_OPERATORS)}")
    return [compared(where, key, name, value) for name, value in wanted.items()]


def compared(
    where: str, key: str, operator: Any, value: object, path: tuple[str, ...] = ()
) -> Expression:
    """One statement about a metadata field, checked; `where` names it in an error."""
    if operator not in _OPERATORS:
        raise InvalidFilter(f"{where} operator", operator, nearest(str(operator), _OPERATORS))
    where = f"{where} {operator}"
    if operator in {"in", "not_in"}:
        several = _several(where, value, "a list of values")
        return Comparison("metadata", operator, _values(where, several), key, path)
    if operator == "exists":
        if not isinstance(value, bool):
            raise InvalidFilter(where, value, "pass True or False")
        return Comparison("metadata", operator, value, key, path)
    checked = _scalar(where, value)
    if operator not in {"eq", "ne"} and typed(checked)[0] not in {"number", "string"}:
        raise InvalidFilter(where, value, "only numbers and strings have an order")
    return Comparison("metadata", operator, checked, key, path)


def _several(where: str, value: object, remedy: str) -> Collection[object]:
    single = isinstance(value, (str, bytes, Mapping))
    if single or not isinstance(value, Collection):
        raise InvalidFilter(where, value, f"pass {remedy}")
    return value


def _values(where: str, values: Collection[object]) -> tuple[Scalar, ...]:
    """Checked, each once, in one order, so that equal filters are equal."""
    distinct = {typed(checked): checked for checked in (_scalar(where, item) for item in values)}
    order = sorted(distinct, key=lambda item: (item[0], 0 if item[1] is None else item[1]))
    return tuple(distinct[item] for item in order)


def _scalar(where: str, value: object) -> Scalar:
    """The value as its plain type: a subclass may compare by rules of its own."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if not isinstance(value, str):
        raise InvalidFilter(where, value, f"pass {_SCALARS}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidFilter(where, value, "it holds a lone surrogate; remove it") from error
    if "\x00" in value:
        raise InvalidFilter(where, value, "remove the NUL character; no message holds one")
    return str.__str__(value)
