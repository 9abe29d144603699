"""LangGraph's store operations, checked and in our words; and our items in LangGraph's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, cast

from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
)

from rag_memory_plugins.errors import InvalidInput, InvalidMessage, InvalidQuery, nearest
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.langchain.labels import (
    InvalidStoreNamespace,
    labels_of,
    listed,
    path_of,
    shared_path,
)
from rag_memory_plugins.langchain.store_filter import filter_of
from rag_memory_plugins.ports import ItemChange, StoredItem
from rag_memory_plugins.types import Message

__all__ = [
    "Asked",
    "Get",
    "Names",
    "Search",
    "asked_of",
    "checked_fields",
    "checked_ttl",
    "found_of",
    "item_of",
]

_TTL: Final = ("refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes")
_RESERVED: Final = "langgraph"
_OF_MESSAGE: Final = {"metadata": "value", "content": "value", "id": "key"}
"""What a field of a message is called by who puts an item."""


@dataclass(frozen=True)
class Get:
    """The item at a (path, key)."""

    place: tuple[str, str]
    refresh: bool


@dataclass(frozen=True)
class Search:
    """Items under a path that match, for a query or the last written."""

    under: str
    where: Filter | None
    query: str
    limit: int
    offset: int
    refresh: bool


@dataclass(frozen=True)
class Names:
    """Namespaces that meet conditions."""

    op: ListNamespacesOp
    under: str

    def of(self, paths: Sequence[str]) -> list[tuple[str, ...]]:
        """Those of these paths, a page of them."""
        found = listed(paths, self.op.match_conditions or (), self.op.max_depth)
        return found[self.op.offset : self.op.offset + self.op.limit]


Asked: TypeAlias = Get | Search | Names | ItemChange


def asked_of(op: Op, fields: Sequence[str], now: datetime) -> Asked:
    """The operation, checked. Raises `InvalidInput`."""
    if isinstance(op, GetOp):
        return Get((path_of("namespace", op.namespace, least=1), _key(op.key)), op.refresh_ttl)
    if isinstance(op, SearchOp):
        _check_page(op.limit, op.offset)
        if op.query is not None and not isinstance(op.query, str):
            raise InvalidQuery("query", op.query, "pass the words to look for, or None")
        path = path_of("namespace_prefix", op.namespace_prefix)
        query = (op.query or "").strip()
        return Search(path, filter_of(op.filter), query, op.limit, op.offset, op.refresh_ttl)
    if isinstance(op, ListNamespacesOp):
        _check_page(op.limit, op.offset)
        if op.max_depth is not None and (not isinstance(op.max_depth, int) or op.max_depth < 1):
            raise InvalidInput("max_depth", op.max_depth, "pass an int of at least 1, or None")
        return Names(op, shared_path(op.match_conditions or ()))
    if isinstance(op, PutOp):
        return _change(op, fields, now)
    raise InvalidInput("op", op, "pass a GetOp, PutOp, SearchOp or ListNamespacesOp")


def _change(op: PutOp, fields: Sequence[str], now: datetime) -> ItemChange:
    path = path_of("namespace", op.namespace, least=1)
    key = _key(op.key)
    if op.value is None:
        return ItemChange(path, key)
    if op.namespace[0] == _RESERVED:
        raise InvalidStoreNamespace("namespace", op.namespace, f"{_RESERVED!r} is LangGraph's own")
    if not isinstance(op.value, Mapping):
        raise InvalidInput("value", op.value, "pass a mapping of JSON values")
    _check_keys(op.value)
    chosen = [] if op.index is False else fields
    if op.index not in (None, False):
        chosen = checked_fields("index", op.index)
    try:
        message = Message("user", "", key, time=now, metadata=op.value)
        texts = [text for name in chosen for text in get_text_at_path(dict(op.value), name)]
        if texts:
            message = Message("user", "\n".join(texts), key, time=now, metadata=op.value)
    except InvalidMessage as error:
        name = _OF_MESSAGE.get(error.field, error.field)
        raise InvalidInput(name, error.got, error.remedy) from error
    return ItemChange(path, key, message, _stay("ttl", op.ttl))


def _check_keys(value: object) -> None:
    """Raise for a key that JSON would turn into another."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput("value", key, "every key is a str, in nested objects too")
            _check_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_keys(item)


def _key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise InvalidInput("key", key, "pass a str of 1 to 256 characters")
    return key


def _check_page(limit: object, offset: object) -> None:
    for name, value in (("limit", limit), ("offset", offset)):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**31:
            raise InvalidQuery(name, value, "pass an int of at least 0")


def _stay(name: str, minutes: float | None) -> timedelta | None:
    if minutes is None:
        return None
    number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
    # A century is for ever, and fits into a database's integers.
    if not number or not math.isfinite(minutes) or not 0 < minutes <= 60 * 24 * 36_525:
        raise InvalidInput(name, minutes, "pass minutes, a number above 0, or None to keep it")
    return timedelta(minutes=minutes)


def checked_fields(name: str, fields: object) -> tuple[str, ...]:
    """Paths of what is searched of a value. Raises `InvalidInput`."""
    several = isinstance(fields, Sequence) and not isinstance(fields, (str, bytes))
    if not several or not all(isinstance(field, str) for field in fields):  # type: ignore[attr-defined]
        raise InvalidInput(name, fields, 'pass a list of paths, such as ["text"]; ["$"] for all')
    return tuple(fields)  # type: ignore[arg-type]


def checked_ttl(ttl: Any) -> TTLConfig:
    """LangGraph's settings of how long items stay. Raises `InvalidInput`."""
    if not isinstance(ttl, Mapping):
        raise InvalidInput("ttl", ttl, 'pass a mapping such as {"default_ttl": 60}')
    for name in ttl:
        if name not in _TTL:
            raise InvalidInput("ttl", name, nearest(str(name), _TTL))
    _stay("ttl['default_ttl']", ttl.get("default_ttl"))
    return cast("TTLConfig", dict(ttl))


def item_of(item: StoredItem) -> Item:
    """The item as LangGraph has it; its value is nobody else's."""
    return Item(**_fields(item))


def found_of(item: StoredItem, score: float | None = None) -> SearchItem:
    """A hit as LangGraph has it."""
    return SearchItem(**_fields(item), score=score)


def _fields(item: StoredItem) -> dict[str, Any]:
    return {
        "namespace": labels_of(item.path),
        "key": item.message.id,
        "value": dict(item.message.metadata),
        "created_at": item.created,
        "updated_at": item.updated,
    }
