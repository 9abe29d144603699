"""What SQLite and Postgres say in other words, so that every statement above is written once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Dialect,
    Float,
    FromClause,
    Integer,
    Numeric,
    Text,
    bindparam,
    func,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite takes the same clauses
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "MetadataField",
    "Number",
    "Numbers",
    "Texts",
    "contains",
    "larger",
    "metadata_field",
    "metadata_was_read",
    "one_of",
    "tenant_of",
    "upsert",
]

Number: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits; SQLite counts up only what is called INTEGER."""


class Numbers(TypeDecorator[Sequence[int]]):
    """A list of numbers as one parameter, for `one_of`: binding each of 500 takes 1 ms more."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A list as JSON, or an array."""
        return Text() if dialect.name == "sqlite" else ARRAY(BigInteger)

    def process_bind_param(self, value: Sequence[int] | None, dialect: Dialect) -> Any:
        """The list as the database takes it."""
        return json.dumps(value) if dialect.name == "sqlite" else value


class Texts(TypeDecorator[Sequence[str]]):
    """A list of texts as one parameter, for `one_of`."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A list as JSON, or an array."""
        return Text() if dialect.name == "sqlite" else ARRAY(Text)

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        """The list as the database takes it."""
        return json.dumps(value) if dialect.name == "sqlite" else value


class _JsonNumber(TypeDecorator[Any]):
    """A number in JSON, and what it is compared with: digits as many as it has in Postgres."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A float, or a numeric."""
        return Float() if dialect.name == "sqlite" else Numeric()

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        """The number as the database takes it."""
        return value if dialect.name == "sqlite" or value is None else Decimal(value)


class _Condition(FunctionElement[bool]):
    """A condition by itself: never `... = 1`, which SQLite answers without any index."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """The condition as it is, in whatever it stands."""
        return self


class one_of(_Condition):  # noqa: N801  # reads as a function in a statement
    """Whether a column is one of a list: `one_of(messages.c.seq, bindparam("seqs", type_=Numbers))`."""

    inherit_cache = True


class larger(FunctionElement[int]):  # noqa: N801
    """The larger of two numbers."""

    type = BigInteger()
    inherit_cache = True


class contains(_Condition):  # noqa: N801
    """Whether a text holds another, by characters."""

    inherit_cache = True


class tenant_of(FunctionElement[str]):  # noqa: N801
    """The tenant's part of a scope's key, in the order of its bytes."""

    type = Text()
    inherit_cache = True


@compiles(tenant_of, "sqlite")
def _before_slash(element: tenant_of, compiler: Any, **options: Any) -> str:
    (key,) = element.clauses
    text = compiler.process(key, **options)
    return f"substr({text}, 1, instr({text}, '/') - 1)"


@compiles(tenant_of)
def _split_part(element: tenant_of, compiler: Any, **options: Any) -> str:
    (key,) = element.clauses
    return f"(split_part({compiler.process(key, **options)}, '/', 1) COLLATE \"C\")"


def _two(element: FunctionElement[Any], compiler: Any, **options: Any) -> tuple[str, str]:
    first, second = element.clauses
    return compiler.process(first, **options), compiler.process(second, **options)


@compiles(one_of, "sqlite")
def _one_of_json(element: one_of, compiler: Any, **options: Any) -> str:
    column, listed = _two(element, compiler, **options)
    return f"({column} IN (SELECT value FROM json_each({listed})))"  # noqa: S608  # compiled parts


@compiles(one_of)
def _one_of_array(element: one_of, compiler: Any, **options: Any) -> str:
    column, listed = _two(element, compiler, **options)
    return f"({column} = ANY ({listed}))"


@compiles(larger, "sqlite")
def _max(element: larger, compiler: Any, **options: Any) -> str:
    return f"max({', '.join(_two(element, compiler, **options))})"


@compiles(larger)
def _greatest(element: larger, compiler: Any, **options: Any) -> str:
    return f"greatest({', '.join(_two(element, compiler, **options))})"


@compiles(contains, "sqlite")
def _instr(element: contains, compiler: Any, **options: Any) -> str:
    return f"(instr({', '.join(_two(element, compiler, **options))}) > 0)"


@compiles(contains)
def _strpos(element: contains, compiler: Any, **options: Any) -> str:
    return f"(strpos({', '.join(_two(element, compiler, **options))}) > 0)"


class MetadataField(NamedTuple):
    """A field of a message's metadata in SQL.

    `kind` is a word of SQLite's `json_type`, "" where the field is missing; `text` and `number` mean
    something for these kinds alone. `source` is joined to `messages`, if there is one.
    """

    kind: ColumnElement[str]
    text: ColumnElement[str]
    number: ColumnElement[Any]
    source: FromClause | None


# OFFSET 0 keeps Postgres from writing the inner parts out wherever they are named: JSON is parsed
# once a row. Texts are ordered by code point, as Python does. The CASE keeps from jsonb what it refuses.
_FIELD: Final = r"""
SELECT coalesce(CASE jsonb_typeof(v) WHEN 'string' THEN 'text' WHEN 'boolean' THEN v #>> '{}'
       WHEN 'number' THEN CASE scale(CAST(v AS numeric)) WHEN 0 THEN 'integer' ELSE 'real' END
       ELSE jsonb_typeof(v) END, '') AS kind,
       (v #>> '{}') COLLATE "C" AS text,
       CASE jsonb_typeof(v) WHEN 'number' THEN CAST(v AS numeric) END AS number
FROM (SELECT CASE WHEN strpos(messages.extra, '\u0000') = 0 THEN CAST(messages.extra AS jsonb) END
      -> 'metadata' -> CAST(:key AS text) AS v OFFSET 0) AS field OFFSET 0
"""


def metadata_field(dialect: str, extra: ColumnElement[Any], key: str) -> MetadataField:
    """The field, whose name needs no escapes, of the JSON in the column `messages.extra`."""
    if dialect == "sqlite":
        path = f'$.metadata."{key}"'
        kind = func.coalesce(func.json_type(extra, path), "")
        value = func.json_extract(extra, path)
        return MetadataField(kind, type_coerce(value, Text), type_coerce(value, _JsonNumber), None)
    columns = {"kind": Text, "text": Text, "number": _JsonNumber}
    source = (
        text(_FIELD).bindparams(bindparam("key", key, unique=True)).columns(**columns).lateral()
    )
    return MetadataField(source.c.kind, source.c.text, source.c.number, source)


def metadata_was_read(dialect: str, extra: ColumnElement[Any]) -> ColumnElement[bool] | None:
    """Whether fields of this JSON are known; None: always. jsonb refuses what may hold a NUL."""
    if dialect == "sqlite":
        return None
    return func.strpos(func.coalesce(extra, ""), "\\u0000") == 0
