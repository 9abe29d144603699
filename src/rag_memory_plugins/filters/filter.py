"""`Filter`: what users state, as one immutable value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rag_memory_plugins.errors import InvalidFilter, nearest
from rag_memory_plugins.filters.expression import (
    EVERYTHING,
    Expression,
    Said,
    all_of,
    any_of,
    depth,
    holds,
    opposite,
    shown,
)
from rag_memory_plugins.filters.stating import FIELDS, MAX_DEPTH, When, from_plain, stated

__all__ = ["Filter", "combined"]


@dataclass(frozen=True, init=False, repr=False)
class Filter:
    """Which messages: all that is given holds. Combine filters by `a & b`, `a | b` and `~a`.

    - `since`, `until`: a datetime with a timezone, a `date` (in UTC), or either as an ISO 8601
      string. `since` counts in; a datetime `until` does not, a date `until` counts its whole day.
    - `roles`, `names`, `sessions`, `ids`: a str or several, of which the message has one.
    - `metadata`: for each field its value, or `{operator: value}` with eq, ne, gt, gte, lt, lte,
      in, not_in, exists. A field is a top-level key, whatever characters are in it.

    What is compared how: see `rag_memory_plugins.filters`. Raises `InvalidFilter` for an unknown
    field or operator, or a value that cannot be compared.

    >>> Filter(since="2026-05-01", roles="user") & ~Filter(metadata={"topic": "work"})
    Filter(time gte 2026-05-01 00:00:00+00:00 & role in ('user',) & ~(metadata['topic'] eq 'work'))
    >>> Filter.from_dict({"roles": "user"}) == Filter(roles=["user"])
    True
    """

    expression: Expression

    def __init__(
        self,
        *,
        since: When | None = None,
        until: When | None = None,
        roles: str | Collection[str] | None = None,
        names: str | Collection[str] | None = None,
        sessions: str | Collection[str] | None = None,
        ids: str | Collection[str] | None = None,
        metadata: Mapping[str, object] | None = None,
        **unknown: NoReturn,
    ) -> None:
        for name in unknown:
            raise InvalidFilter("filter", name, nearest(name, FIELDS))
        values = (since, until, roles, names, sessions, ids, metadata)
        given = {
            name: value for name, value in zip(FIELDS, values, strict=True) if value is not None
        }
        object.__setattr__(self, "expression", stated(given))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Filter:
        """A filter from plain values: the fields of `Filter`, "and", "or" and "not"; all hold.

        `{"roles": ["user"], "or": [{"since": "2026-05-01"}, {"not": {"names": "Ann"}}]}`. Null is
        refused, so that a value which got lost on its way cannot widen a filter.
        """
        return cls.of(from_plain(data))

    @classmethod
    def of(cls, expression: Expression) -> Filter:
        """A filter of an expression that was put together elsewhere."""
        if depth(expression) > MAX_DEPTH:
            raise InvalidFilter("filter", "...", f"it nests more than {MAX_DEPTH} deep; flatten it")
        made = object.__new__(cls)
        object.__setattr__(made, "expression", expression)
        return made

    @property
    def states_nothing(self) -> bool:
        """Whether it is true of every message because nothing was asked."""
        return self.expression == EVERYTHING

    def matches(self, message: Said, session: str) -> bool:
        """Whether the message, said in `session`, is one of those; the reference for engines."""
        return holds(self.expression, message, session)

    def __and__(self, other: object) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        return self.of(all_of([self.expression, other.expression]))

    def __or__(self, other: object) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        return self.of(any_of([self.expression, other.expression]))

    def __invert__(self) -> Filter:
        return self.of(opposite(self.expression))

    def __bool__(self) -> NoReturn:
        # `a and b` would be b alone, silently.
        raise InvalidFilter("filter", self, "combine filters by &, | and ~, not by and, or, not")

    def __repr__(self) -> str:
        text = "" if self.states_nothing else shown(self.expression)
        return f"Filter({text[1:-1] if text.startswith('(') else text})"


def combined(
    *wheres: Filter | None,
    since: When | None = None,
    until: When | None = None,
    roles: str | Collection[str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Filter | None:
    """All of it as one filter, or None when it states nothing. Raises `InvalidFilter`."""
    told = Filter(since=since, until=until, roles=roles, metadata=metadata)
    whole = Filter()
    for where in (*wheres, told):
        if where is not None:
            if not isinstance(where, Filter):
                raise InvalidFilter("where", where, "pass a Filter; of plain values: from_dict")
            whole &= where
    return None if whole.states_nothing else whole
