"""A `Filter` as SQL: which messages of a scope match it, exactly as `Filter.matches` says.

Every expression becomes two conditions: what surely matches, and what may. For columns they are
one. They part where a database reads JSON otherwise than Python does (SQLite keeps integers beyond
64 bits as floats, may miss a float's last digit, and reads keys with quotes by version; Postgres has
exact numbers where Python has floats, and refuses a text with a NUL); what lies between is decided
by `Filter.matches`, in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from operator import eq, ge, gt, le, lt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    not_,
    or_,
    select,
    true,
)

from rag_memory_plugins.filters import AllOf, AnyOf, Comparison, Expression, Filter, Not
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.stores.dialects import (
    MetadataField,
    Numbers,
    Texts,
    contains,
    metadata_field,
    metadata_was_read,
    one_of,
)
from rag_memory_plugins.stores.rows import in_batches, message_of, stored_columns
from rag_memory_plugins.stores.schema import SYSTEM, messages, paths, sessions, text_hash

__all__ = ["last", "seqs", "sessions_under"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)

MAX_VALUES: Final = 200
MAX_DEPTH: Final = 20
"""A larger filter is decided in Python: SQLite's oldest limits are 999 parameters in a statement
and a parser's stack of 100."""

FEW_VALUES: Final = 50
"""More ids, names or sessions than these go to the database as one parameter, a JSON list."""

_WHOLE: Final = 2**53
_NEAR: Final = 1e-9
_TINY: Final = 1e-300
"""A number this near to another, relatively and absolutely, is compared in Python."""

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": eq,
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
}
_TEXT_COLUMNS: Final = {
    "role": messages.c.role,
    "name": messages.c.name,
    "id": messages.c.id,
    "session": sessions.c.name,
}


def seqs(
    connection: Connection,
    scope_id: int,
    where: Filter | None,
    session: str | None = None,
    under: str = "",
) -> NDArray[np.int64]:
    """Ascending seqs of the scope's messages that match, of one session, of those under a path."""
    fields = _Fields(connection.dialect.name)
    surely, maybe = _EVERYTHING if where is None else _translated(where, fields)
    exact = where is None or maybe is surely
    # One row for all: fetching 5,000 rows took four times as long.
    columns = [_listed(true() if exact else surely), _listed(false() if exact else not_(surely))]
    query = fields.joined(_of(scope_id, session, under, columns)).where(maybe)
    found, between = map(_numbers, connection.execute(query).one())
    if where is None or not len(between):
        return np.sort(found)
    rows = connection.execute(_BETWEEN, {"seqs": between.tolist()})
    decided = [row.seq for row in rows if where.matches(_said(row), row.session)]
    return np.sort(np.concatenate([found, np.array(decided, np.int64)]))


def last(
    connection: Connection, scope_id: int, where: Filter | None, session: str | None, limit: int
) -> list[StoredMessage]:
    """The last `limit` messages that match, oldest first."""
    found = seqs(connection, scope_id, where, session)[-limit:].tolist()
    return [
        message_of(row)
        for some in in_batches(found)
        for row in connection.execute(_BY_SEQ, {"seqs": some})
    ]


class _Condition(NamedTuple):
    """What surely matches, and what may; one object where the two are one. Neither is ever NULL."""

    surely: ColumnElement[bool]
    maybe: ColumnElement[bool]


class _Said(NamedTuple):
    """What `Filter.matches` reads of a row."""

    id: str
    role: str
    name: str | None
    time: datetime
    metadata: dict[str, Any]


def _said(row: Row[Any]) -> _Said:
    time = _EPOCH + timedelta(microseconds=row.time_us)
    metadata = json.loads(row.extra).get("metadata", {}) if row.extra else {}
    return _Said(row.id, row.role, row.name, time, metadata)


def sessions_under(scope_id: int, path: str) -> Select[Any]:
    """Ids of the scope's sessions that have this path or a longer one."""
    of = (paths.c.scope_id == scope_id) & (paths.c.path_hash == text_hash(path))
    return select(paths.c.session_id).where(of)


def _of(
    scope_id: int, session: str | None, under: str, columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    query = (
        select(*columns)
        .select_from(messages)
        .join(sessions, sessions.c.id == messages.c.session_id)
        .where(sessions.c.scope_id == scope_id)
    )
    if under:
        query = query.where(messages.c.session_id.in_(sessions_under(scope_id, under)))
    return query if session is None else query.where(sessions.c.name == session)


def _listed(which: ColumnElement[bool]) -> ColumnElement[str]:
    """The numbers of those rows, as a list."""
    return func.aggregate_strings(case((which, cast(messages.c.seq, String))), ",")


def _numbers(listed: str | None) -> NDArray[np.int64]:
    return np.fromstring(listed or "", np.int64, sep=",")


def _translated(where: Filter, fields: _Fields) -> _Condition:
    values, depth = _size(where.expression)
    if values > MAX_VALUES or depth > MAX_DEPTH:
        return _UNDECIDED
    condition = _condition(where.expression, fields)
    read = metadata_was_read(fields.dialect, messages.c.extra) if fields.held else None
    if read is None:
        return condition
    return _Condition(and_(read, condition.surely), or_(not_(read), condition.maybe))


def _size(node: Expression) -> tuple[int, int]:
    """(values, depth) of an expression."""
    if isinstance(node, Comparison):
        one = node.field in _TEXT_COLUMNS and len(node.wanted) > FEW_VALUES
        return 1 if one else len(node.wanted), 1
    parts = [_size(part) for part in ([node.part] if isinstance(node, Not) else node.parts)]
    return sum(values for values, _ in parts), 1 + max((depth for _, depth in parts), default=0)


def _condition(node: Expression, fields: _Fields) -> _Condition:
    if isinstance(node, AllOf):
        return _all(_condition(part, fields) for part in node.parts)
    if isinstance(node, AnyOf):
        return _any(_condition(part, fields) for part in node.parts)
    if isinstance(node, Not):
        return _not(_condition(node.part, fields))
    if node.field == "metadata":
        return _metadata(node, fields)
    if node.field == "time":
        moment = (node.value - _EPOCH) // _MICROSECOND
        return _exactly(_COMPARE[node.operator](messages.c.time_us, moment))
    column = _TEXT_COLUMNS[node.field]
    # What is stored holds no NUL, and Postgres refuses to be asked for one.
    wanted: Any = [value for value in node.value if "\x00" not in value]
    if node.field == "role" and tuple(wanted) == ("system",):
        return _exactly(SYSTEM)
    if len(wanted) > FEW_VALUES:
        return _exactly(and_(column.is_not(None), one_of(column, bindparam(None, wanted, Texts))))
    return _exactly(and_(column.is_not(None), column.in_(wanted)))


def _metadata(node: Comparison, fields: _Fields) -> _Condition:
    if node.path or node.operator in {"same", "object"}:
        named = _mentioned(node.key)
        return _not(named) if node.operator == "exists" and not node.value else named
    if node.operator in {"ne", "not_in"}:
        same = Comparison("metadata", "in", tuple(value for _, value in node.wanted), node.key)
        there = Comparison("metadata", "exists", True, node.key)
        return _all([_metadata(there, fields), _not(_metadata(same, fields))])
    field = fields.of(node.key)
    if node.operator == "exists":
        has = _exactly(field.kind != "") if field is not None else _mentioned(node.key)
        return has if node.value else _not(has)
    if field is None:
        return _mentioned(node.key)
    if node.operator in {"eq", "in"}:
        return field.is_one_of(node.wanted)
    (kind, wanted) = next(iter(node.wanted))
    if kind == "string":
        return _exactly(and_(field.kind == "text", _COMPARE[node.operator](field.text, wanted)))
    return field.number(node.operator, wanted)


class _Fields:
    """The metadata fields that a filter is about, each read once."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.held: dict[str, MetadataField] = {}

    def of(self, key: str) -> _Field | None:
        """The field, or None for a key that cannot be named in a path without escapes."""
        if not key or any(character in '"\\' or character < " " for character in key):
            return None
        if key not in self.held:
            self.held[key] = metadata_field(self.dialect, messages.c.extra, key)
        held = self.held[key]
        return _Field(held.kind, held.text, held.number)

    def joined(self, query: Select[Any]) -> Select[Any]:
        """The query with what the fields are read from."""
        for held in self.held.values():
            if held.source is not None:
                query = query.join(held.source, true())
        return query


class _Field(NamedTuple):
    """A metadata field in SQL: its JSON type, "" where it is missing, and its value."""

    kind: ColumnElement[Any]
    text: ColumnElement[Any]
    value: ColumnElement[Any]

    def is_one_of(self, wanted: Iterable[tuple[str, Any]]) -> _Condition:
        """Equal to one of the values, given as (kind, value)."""
        texts, names, either = [], [], []
        for kind, value in wanted:
            if kind == "string":
                texts.append(value)
            elif kind == "number":
                either.append(self.number("eq", value))
            else:
                names.append("null" if value is None else str(value).lower())
        if texts:
            either.append(_exactly(and_(self.kind == "text", self.text.in_(texts))))
        if names:
            either.append(_exactly(self.kind.in_(names)))
        return _any(either)

    def number(self, operator: str, wanted: float) -> _Condition:
        """Compared with a number: sure for whole ones, and for those not near."""
        is_number = self.kind.in_(("integer", "real"))
        try:
            middle = float(wanted)
        except OverflowError:
            return _Condition(false(), is_number)
        near = abs(middle) * _NEAR + _TINY
        low, high = middle - near, middle + near
        surely: ColumnElement[bool] = false()
        if operator == "eq":
            maybe = and_(is_number, self.value >= low, self.value <= high)
        elif operator in {"gt", "gte"}:
            surely, maybe = and_(is_number, self.value > high), and_(is_number, self.value >= low)
        else:
            surely, maybe = and_(is_number, self.value < low), and_(is_number, self.value <= high)
        if abs(middle) <= _WHOLE and wanted == int(middle):
            whole = and_(self.kind == "integer", _COMPARE[operator](self.value, int(middle)))
            surely = or_(surely, whole)
        return _Condition(surely, maybe)


def _mentioned(key: str) -> _Condition:
    """May have the key: the JSON text holds it as `rows.message_row` writes it."""
    text = f"{json.dumps(key, ensure_ascii=False)}: "
    return _Condition(false(), contains(func.coalesce(messages.c.extra, ""), text))


def _exactly(condition: ColumnElement[bool]) -> _Condition:
    return _Condition(condition, condition)


def _all(parts: Iterable[_Condition]) -> _Condition:
    return _joined(and_, true(), list(parts))


def _any(parts: Iterable[_Condition]) -> _Condition:
    return _joined(or_, false(), list(parts))


def _joined(
    join: Callable[..., ColumnElement[bool]],
    none: ColumnElement[bool],
    parts: Sequence[_Condition],
) -> _Condition:
    surely = join(none, *(part.surely for part in parts))
    if all(part.surely is part.maybe for part in parts):
        return _exactly(surely)
    return _Condition(surely, join(none, *(part.maybe for part in parts)))


def _not(part: _Condition) -> _Condition:
    surely = not_(part.maybe)
    return _exactly(surely) if part.surely is part.maybe else _Condition(surely, not_(part.surely))


_EVERYTHING: Final = _exactly(true())
_UNDECIDED: Final = _Condition(false(), true())
_BY_SEQ: Final = (
    stored_columns()
    .where(messages.c.seq.in_(bindparam("seqs", expanding=True)))
    .order_by(messages.c.seq)
)
_BETWEEN: Final[Select[Any]] = (
    select(
        messages.c.seq,
        messages.c.time_us,
        messages.c.role,
        messages.c.name,
        messages.c.id,
        messages.c.extra,
        sessions.c.name.label("session"),
    )
    .select_from(messages)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .where(one_of(messages.c.seq, bindparam("seqs", type_=Numbers)))
)
