"""Grades out of what a language model wrote, in whichever of the usual forms it wrote them."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from rag_memory_plugins.llm.reading import MAX_CHARACTERS, json_values

__all__ = ["HIGHEST", "grades_of"]

HIGHEST: Final = 10.0
_DEPTH: Final = 4  # of what a model wraps its answer in

_GRADE: Final = re.compile(r"\s*(-?\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?")
_NUMBERED: Final = re.compile(r"\D*(\d{1,6})\D*")
_LINE: Final = re.compile(
    r"""
    (?:^[^\w\[(\n]*|[,;{][ ]*"?)(?:passage|document|text)?[ ]*
    [\[(\#]?(?P<number>\d{1,6})
    (?:[\])]"?[ ]*[:=-]*|"?[ ]*[:=]|\.?[ ]+-?)[ ]*"?     # [3] 8   3: 8   3. 8   3 - 8
    (?P<grade>-?\d+(?:\.\d+)?(?:[ ]*/[ ]*\d+)?)
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


def grades_of(answer: str, count: int) -> dict[int, float]:
    """Grades from 0 to 10 by passage number, 1 to `count`; empty if the answer holds none.

    Read are objects by number, alone or inside another; lists of objects with a number and a
    score; lines like "[3] 8"; lists of as many numbers as there are passages. Of several the last
    counts: a model that thinks aloud answers last. What is out of range is brought into it.

    >>> grades_of('1: 8/10, [2] 11', 3)
    {1: 8.0, 2: 10.0}
    """
    answer = answer[-MAX_CHARACTERS:]
    values = json_values(answer)
    for value in reversed(values):
        keyed = isinstance(value, dict) or _records(value)
        if keyed and (found := _known(_graded(value, count), count)):
            return found
    lines = {int(m["number"]): _grade(m["grade"]) for m in _LINE.finditer(answer)}
    if found := _known(lines, count):
        return found
    for value in reversed(values):
        if found := _known(_graded(value, count), count):
            return found
    return {}


def _known(grades: dict[int, float | None], count: int) -> dict[int, float]:
    return {
        number: min(max(grade, 0.0), HIGHEST)
        for number, grade in grades.items()
        if grade is not None and 1 <= number <= count
    }


def _records(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _graded(value: Any, count: int, depth: int = 0) -> dict[int, float | None]:
    """Numbers and grades found in a value, however it wraps them."""
    found: dict[int, float | None] = {}
    if depth > _DEPTH:
        return found
    if _records(value):
        for item in value:
            found |= _graded(item, count, depth + 1)
    elif isinstance(value, list):
        grades = [_grade(item) for item in value]
        # A list of another length cannot say which passage is left out.
        found = dict(enumerate(grades, 1)) if len(grades) == count else {}
    elif isinstance(value, dict):
        fields = {key.lower(): item for key, item in value.items()}
        number = _first(fields, "passage", "number", "id", "index")
        grade = _first(fields, "score", "grade", "relevance", "rating")
        if number is not None and grade is not None:
            return {int(number): grade}
        for key, item in value.items():
            numbered = _NUMBERED.fullmatch(key)
            if numbered is not None and (grade := _own_grade(item)) is not None:
                found[int(numbered[1])] = grade
            else:
                found |= _graded(item, count, depth + 1)
    return found


def _own_grade(item: Any) -> float | None:
    return _first(item, "score", "grade", "relevance") if isinstance(item, dict) else _grade(item)


def _first(fields: dict[str, Any], *names: str) -> float | None:
    return next((_grade(fields[name]) for name in names if name in fields), None)


def _grade(value: Any) -> float | None:
    """A grade of 10 from 8, "8", "8.0 (good)" or "4/5"; None for what is no number."""
    if isinstance(value, str) and (match := _GRADE.match(value)):
        top = float(match[2] or HIGHEST)
        value = float(match[1]) * HIGHEST / top if top else math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of more digits than a float can hold
        return None
