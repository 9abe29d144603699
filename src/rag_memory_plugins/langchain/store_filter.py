"""The filters of LangGraph's stores as a `Filter`, so that they run in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rag_memory_plugins.errors import InvalidFilter, nearest
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.filters.expression import (
    Comparison,
    Expression,
    all_of,
    any_of,
    opposite,
    plain,
)
from rag_memory_plugins.filters.stating import MAX_DEPTH, compared

__all__ = ["filter_of"]

_ORDER: Final = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_JOINTS: Final = ("$and", "$or", "$not")
_OPERATORS: Final = ("$eq", "$ne", *_ORDER, "$in", "$nin", "$exists", "$not")


def filter_of(given: Mapping[str, Any] | None) -> Filter | None:
    """The filter, or None when it states nothing. Raises `InvalidFilter`.

    As in LangGraph's in-memory store a missing field equals None and an object matches when it
    holds all that is asked. A value that cannot be compared with what is asked does not match;
    numbers compare as numbers, texts as texts. $in, $nin, $exists, $and, $or and $not come on top.

    >>> filter_of({"$or": [{"age": {"$gte": 18}}, {"kind": "fact"}]})
    Filter(metadata['age'] gte 18 | metadata['kind'] eq 'fact')
    """
    if not given:
        return None
    return Filter.of(_whole(given, 0))


def _whole(given: object, level: int) -> Expression:
    if not isinstance(given, Mapping):
        raise InvalidFilter("filter", given, 'pass a mapping such as {"kind": "fact"}')
    if level > MAX_DEPTH:
        raise InvalidFilter("filter", "...", f"it nests more than {MAX_DEPTH} deep; flatten it")
    return all_of([_part(name, value, level) for name, value in given.items()])


def _part(name: object, value: Any, level: int) -> Expression:
    if not isinstance(name, str):
        raise InvalidFilter("filter", name, "a field is a str, the name of a top-level key")
    if not name.startswith("$"):
        return _field((name,), value, level)
    if name == "$not":
        return opposite(_whole(value, level + 1))
    if name not in _JOINTS:
        raise InvalidFilter("filter", name, nearest(name, _JOINTS))
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidFilter(name, value, "pass a list of at least one filter")
    join: Callable[[list[Expression]], Expression] = all_of if name == "$and" else any_of
    return join([_whole(item, level + 1) for item in value])


def _field(path: tuple[str, ...], wanted: Any, level: int) -> Expression:
    if level > MAX_DEPTH:
        raise InvalidFilter("filter", "...", f"it nests more than {MAX_DEPTH} deep; flatten it")
    if not isinstance(wanted, Mapping):
        return _equal(path, wanted)
    if any(isinstance(key, str) and key.startswith("$") for key in wanted):
        return all_of([_operation(path, key, item, level) for key, item in wanted.items()])
    for key in wanted:
        if not isinstance(key, str):
            raise InvalidFilter(_named(path), key, "a field is a str")
    inside = [_field((*path, key), item, level + 1) for key, item in wanted.items()]
    return all_of([Comparison("metadata", "object", True, path[0], path[1:]), *inside])


def _operation(path: tuple[str, ...], operator: Any, value: Any, level: int) -> Expression:
    if operator == "$eq":
        return _equal(path, value)
    if operator == "$ne":
        return opposite(_equal(path, value))
    if operator in _ORDER:
        return _stated(path, _ORDER[operator], value)
    if operator == "$exists":
        return _stated(path, "exists", value)
    if operator == "$not":
        return opposite(_field(path, value, level + 1))
    if operator not in {"$in", "$nin"}:
        raise InvalidFilter(
            f"{_named(path)} operator", operator, nearest(str(operator), _OPERATORS)
        )
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise InvalidFilter(f"{_named(path)} {operator}", value, "pass a list of values")
    found = _one_of(path, list(value))
    return found if operator == "$in" else opposite(found)


def _one_of(path: tuple[str, ...], values: list[Any]) -> Expression:
    scalars = [item for item in values if not isinstance(item, (Mapping, list, tuple))]
    parts = [_stated(path, "in", scalars)]
    parts += [_same(path, item) for item in values if isinstance(item, (Mapping, list, tuple))]
    if any(item is None for item in scalars):
        parts.append(_stated(path, "exists", False))
    return any_of(parts)


def _equal(path: tuple[str, ...], value: Any) -> Expression:
    if isinstance(value, (Mapping, list, tuple)):
        return _same(path, value)
    equal = _stated(path, "eq", value)
    return equal if value is not None else any_of([equal, _stated(path, "exists", False)])


def _same(path: tuple[str, ...], value: Any) -> Expression:
    try:
        text = plain(value)
    except (TypeError, ValueError) as error:
        raise InvalidFilter(_named(path), value, f"it is not JSON ({error})") from error
    return Comparison("metadata", "same", text, path[0], path[1:])


def _stated(path: tuple[str, ...], operator: str, value: object) -> Expression:
    return compared(f"{_named(path)} {operator}", path[0], operator, value, path[1:])


def _named(path: tuple[str, ...]) -> str:
    return f"filter[{'.'.join(path)!r}]"
