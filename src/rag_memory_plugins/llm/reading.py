"""What a language model wrote, read tolerantly: JSON inside prose, and JSON that is almost JSON.

Not json-repair: its 0.64 took 457 s for 60,000 characters of bracketed prose, and what a model
writes can be steered by the texts it was shown. Here tries and repairs are counted.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["DOUBLED", "MAX_CHARACTERS", "json_values"]

MAX_CHARACTERS: Final = 50_000
TRIES: Final = 1_000
REPAIRS: Final = 16
"""A span that is no JSON costs passes over it, and spans stand inside each other."""

DOUBLED: Final = object()
"""The value of a key that an object has several times, with different values."""


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        same = key not in values or repr(values[key]) == repr(value)  # 1 and true are equal
        values[key] = value if same else DOUBLED
    return values


_DECODER: Final = json.JSONDecoder(strict=False)
_MARKING: Final = json.JSONDecoder(strict=False, object_pairs_hook=_marked)
_MARK: Final = re.compile(r'\\.|["\[\]{}\n]')
_SLOPPY: Final = re.compile(
    r"""
      "(?:[^"\\]|\\.)*(?:"|\Z)              # as it should be; first, so nothing inside is touched
    | '(?P<single>(?:[^'\\]|\\.)*)(?:'|\Z)  # a Python string
    | (?P<drop>//[^\n]*|,(?=\s*[\]}]))      # a comment, a comma before a bracket
    | (?P<bare>(?<!\w)[A-Za-z_]\w*|(?<![\d.])\d[\d.]*(?:/\d+|(?=\s*:)))  # a key; 8/10
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMES: Final = {"True": "true", "False": "false", "None": "null"}
_KEPT: Final = frozenset({"true", "false", "null", "NaN", "Infinity"})


def json_values(text: str, *, mark: bool = False) -> list[Any]:
    """Every JSON object and list in `text`, outermost, in order; none if there is none.

    Prose and code fences around them are skipped. Trailing commas, single quotes, unquoted keys,
    Python's constants, comments and a value like 8/10 are read as they were meant; a bracket that
    is never closed is not. Of a longer text the last 50,000 characters are read. A key's last value
    counts; with `mark`, `DOUBLED` stands for values that differ.

    >>> json_values("Sure! {'scores': {1: 8, 2: 3,}} Anything else?")
    [{'scores': {'1': 8, '2': 3}}]
    """
    decoder = _MARKING if mark else _DECODER
    text = text[-MAX_CHARACTERS:]
    ends = _ends(text)
    values: list[Any] = []
    read_to = tries = repairs = 0
    for bracket in re.finditer(r"[\[{]", text):
        start = bracket.start()
        if start < read_to or tries >= TRIES:
            continue
        tries += 1
        try:
            value, read_to = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            if start not in ends or repairs >= REPAIRS:
                continue
            repairs += 1
            try:
                value = decoder.decode(_repaired(text[start : ends[start]]))
            except (ValueError, RecursionError):
                continue
            read_to = ends[start]
        values.append(value)
    return values


def _ends(text: str) -> dict[int, int]:
    """Where each bracket's span ends, if it does; brackets inside strings do not count."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    quoted = False
    for mark in _MARK.finditer(text):
        sign = mark.group()
        if sign == '"':
            quoted = bool(opened) and not quoted
        elif sign == "\n":
            quoted = False  # an inch sign in prose must not hide all that follows
        elif quoted or len(sign) == 2:
            continue
        elif sign in "[{":
            opened.append(mark.start())
        elif opened and text[opened[-1]] + sign in ("{}", "[]"):
            ends[opened.pop()] = mark.end()
    return ends


def _repaired(span: str) -> str:
    # Twice: a comma may stand before a bracket only once the comment between them is gone.
    return _SLOPPY.sub(_as_json, _SLOPPY.sub(_as_json, span))


def _as_json(found: re.Match[str]) -> str:
    if found["single"] is not None:
        inner = found["single"].replace("\\'", "'")
        quoted = re.sub(r'(?<!\\)"', r"\"", inner)
        return f'"{quoted}"'
    if found["drop"] is not None:
        return ""
    bare: str | None = found["bare"]
    if bare is None or bare in _KEPT:
        return found[0]
    return _NAMES.get(bare, f'"{bare}"')
