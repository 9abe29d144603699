"""JSON for a prompt in the form that costs the fewest tokens, and back again.

Three forms, and the counter decides: JSON as it was given (`json.dumps` of a value), compact JSON,
and JSON whose uniform rows stand as tables. A table has a line with its number, its count of rows
and its columns, then a row a line; each cell is a JSON value, and a key that a row does not have
leaves its cell empty:

```
{"shop":"North","items":@1}
@1[2] id,name,price
1,"tea",3.5
2,"jam",
```

A line that begins with `@1[` is never part of JSON, so that a text says itself which form it has.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from rag_memory_plugins.errors import InvalidInput

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["Form", "Minified", "minify", "restore"]

Form: TypeAlias = Literal["given", "compact", "table"]

SPARSE: Final = 4  # cells for each value, above which rows are no table: mostly empty commas
_TABLES: Final = re.compile(r"(?:\A|\n)@1\[")
_HEADER: Final = re.compile(r"@(\d+)\[(\d+)\] ")
_PLAIN_KEY: Final = re.compile(r"[^\W\d]\w*(?:[ .-]\w+)*")
_REFERENCE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|@(\d+)|NaN|Infinity')
_HALF: Final = re.compile("[\ud800-\udfff]")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NOTHING: Final = object()
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Minified:
    """A JSON value as text: which form was the smallest, its tokens, and what it saved of `before`.

    >>> from rag_memory_plugins.tokens import make_counter
    >>> small = minify([{"id": 1, "name": "tea"}, {"id": 2, "name": "jam"}], make_counter("characters"))
    >>> print(small.text)
    @1[2] id,name
    1,"tea"
    2,"jam"
    >>> small.form, small.before, small.saved, small.value()[1]
    ('table', 13, 5, {'id': 2, 'name': 'jam'})
    """

    text: str
    form: Form
    tokens: int
    before: int
    saved: int

    def value(self) -> Any:
        """The value again, equal in types and order."""
        return restore(self.text)


def minify(value: Any, counter: TokenCounter) -> Minified:
    """The smallest of the forms by `counter`; never larger than what was given.

    `value` is a JSON text (any str), or a value of dicts with str keys, lists, str, int, float,
    bool and None; `before` counts the text, or `json.dumps(value)`. A text with a number that a
    float would round stays as it is. Raises `InvalidInput` for a text that is no JSON, a key that
    comes twice, NaN and Infinity, and a value of another type.
    """
    given, exact = value, True
    with _refusing("value"):
        if isinstance(value, str):
            decoder = _Strict()
            value, exact = decoder.decode(given), decoder.exact
        else:
            _check(value, "value")
            given = json.dumps(value)
        before = counter.count(given)
        best = Minified(given, "given", before, before, 0)
        if not exact:
            return best
        original = repr(value)
        outer, tables = _tabled(value, counter, 1)
        table = "\n".join(tables if outer == "@1" else [outer, *tables])
        forms: tuple[tuple[Form, str], ...] = (("compact", _compact(value)), ("table", table))
        for form, text in forms:
            tokens = counter.count(text)
            # Read back before it is offered: what a form cannot carry it must not change.
            if tokens < best.tokens and repr(restore(text)) == original:
                best = Minified(text, form, tokens, before, before - tokens)
        return best


def restore(text: str) -> Any:
    """The value of a text that `minify` made, or of any JSON text. Raises `InvalidInput`."""
    if not isinstance(text, str):
        raise InvalidInput("text", text, "pass a str that minify() made, or JSON")
    with _refusing("text"):
        found = _TABLES.search(text)
        if found is None:
            return _Strict().decode(text)
        lines = text[found.start() :].removeprefix("\n").split("\n")
        return _filled(text[: found.start()] or "@1", _tables(lines))


def _tabled(value: Any, counter: TokenCounter, first: int) -> tuple[str, list[str]]:
    """(compact JSON with `@n` for a list that stands as a table, the tables from `first` on)."""
    tables: list[str] = []
    parts: list[str] = []
    if not isinstance(value, dict | list):
        return _compact(value), tables
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        text, more = _tabled(item, counter, first + len(tables))
        parts.append(f"{_compact(key)}:{text}" if isinstance(value, dict) else text)
        tables += more
    if isinstance(value, dict):
        return f"{{{','.join(parts)}}}", tables
    outer = f"[{','.join(parts)}]"
    columns = _columns(value)
    if columns:
        table = _table(value, columns, first)
        # A table of these rows, or tables inside them: whichever is smaller.
        if counter.count(f"@{first}\n{table}") < counter.count("\n".join([outer, *tables])):
            return f"@{first}", [table]
    return outer, tables


def _columns(rows: list[Any]) -> list[str]:
    """The keys of all rows, where those of each stand in the same order; else none."""
    if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
        return []
    columns: dict[str, int] = {}
    for row in rows:
        for key in row:
            columns.setdefault(key, len(columns))
    if len(columns) * len(rows) > SPARSE * sum(map(len, rows)):
        return []
    for row in rows:
        places = [columns[key] for key in row]
        if places != sorted(places):
            return []
    return list(columns)


def _table(rows: list[dict[str, Any]], columns: list[str], number: int) -> str:
    names = (key if _PLAIN_KEY.fullmatch(key) else _compact(key) for key in columns)
    cells = ([_compact(row[key]) if key in row else "" for key in columns] for row in rows)
    return "\n".join([f"@{number}[{len(rows)}] {','.join(names)}", *map(",".join, cells)])


def _compact(value: Any) -> str:
    # Half a surrogate pair cannot be sent as UTF-8; as an escape it can.
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", _ENCODER.encode(value))


def _tables(lines: list[str]) -> list[list[dict[str, Any]]]:
    tables: list[list[dict[str, Any]]] = []
    at = 0
    while at < len(lines):
        header = _HEADER.match(lines[at])
        if header is None or int(header[1]) != len(tables) + 1:
            remedy = f"the first line of table {len(tables) + 1} belongs here"
            raise InvalidInput("text", lines[at], remedy)
        columns = _cells(lines[at], header.end(), names=True)
        if len(set(columns)) != len(columns):
            raise InvalidInput("text", lines[at], "give each column once")
        rows = lines[at + 1 : at + 1 + int(header[2])]
        if len(rows) != int(header[2]):
            raise InvalidInput("text", f"{len(rows)} rows", f"its first line says {header[2]}")
        tables.append([_row(columns, line) for line in rows])
        at += 1 + len(rows)
    return tables


def _row(columns: list[Any], line: str) -> dict[str, Any]:
    cells = _cells(line, 0)
    if len(cells) != len(columns):
        raise InvalidInput("text", line, f"a row has {len(columns)} cells: {columns}")
    return {key: cell for key, cell in zip(columns, cells, strict=True) if cell is not _NOTHING}


def _cells(line: str, at: int, *, names: bool = False) -> list[Any]:
    """The JSON values of a row, or the names of a header, between commas."""
    decoder = _Strict()
    cells: list[Any] = []
    while True:
        cell: Any = _NOTHING
        if names and not line.startswith('"', at):
            end = (line + ",").index(",", at)
            cell, at = line[at:end], end
        elif at < len(line) and line[at] != ",":
            cell, at = decoder.raw_decode(line, at)
        cells.append(cell)
        if at == len(line):
            return cells
        if line[at] != ",":
            raise InvalidInput("text", line, "cells are JSON values between commas")
        at += 1


def _filled(outer: str, tables: list[list[dict[str, Any]]]) -> Any:
    """The JSON value of `outer`, with the tables where it has `@n`."""
    named: list[int] = []

    def marked(found: re.Match[str]) -> str:
        if found[1] is None:
            if found[0] in ("NaN", "Infinity"):
                _constant(found[0])
            return found[0]
        named.append(int(found[1]))
        return "NaN"  # no JSON, but the decoder hands each one over, in order

    text = _REFERENCE.sub(marked, outer)
    if named != list(range(1, len(tables) + 1)):
        raise InvalidInput(
            "text", outer, f"it has to name the tables 1 to {len(tables)}, each once"
        )
    waiting = iter(tables)
    return _Strict(lambda _: next(waiting)).decode(text)


class _Strict(json.JSONDecoder):
    """A decoder that refuses what would not come back: keys twice, NaN, numbers out of range."""

    def __init__(self, constant: Callable[[str], Any] | None = None) -> None:
        self.exact = True
        super().__init__(
            object_pairs_hook=_object,
            parse_constant=constant or _constant,
            parse_float=self._float,
        )

    def _float(self, digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise InvalidInput("number", digits, "it is out of range; pass it as a str")
        with suppress(ArithmeticError):  # an exponent beyond all bounds
            self.exact = self.exact and Decimal(digits) == Decimal(repr(number))
            return number
        self.exact = False
        return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InvalidInput("key", twice, "it stands twice in one object; give each key once")
    return made


def _constant(name: str) -> NoReturn:
    raise InvalidInput("number", name, "JSON has no such number; pass null or a str")


def _check(value: Any, path: str) -> None:
    """Refuse what would not come back as it was; `path` says where it stands."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidInput(path, key, "pass keys that are str")
            _check(key, path)
            _check(item, f"{path}[{key!r}]")
    elif kind is list:
        for place, item in enumerate(value):
            _check(item, f"{path}[{place}]")
    elif kind is float and not math.isfinite(value):
        raise InvalidInput(path, value, "JSON has no such number; pass None or a str")
    elif kind is str and _PAIR.search(value):
        raise InvalidInput(path, value, "a character stands as two halves; pass it as one")
    elif value is not None and kind not in (str, int, float, bool):
        raise InvalidInput(path, value, "pass dict, list, str, int, float, bool or None")


@contextmanager
def _refusing(field: str) -> Iterator[None]:
    """What json raises, as an error that names the field."""
    try:
        yield
    except InvalidInput:
        raise
    except RecursionError as error:
        raise InvalidInput(field, "...", "it is nested too deeply, or holds itself") from error
    except ValueError as error:
        raise InvalidInput(field, str(error), "pass JSON, a str as json.dumps(str)") from error
