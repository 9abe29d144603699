"""How long to leave a provider alone: what its headers say, its text, or a minute."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["DEFAULT_WAIT", "retry_after"]

DEFAULT_WAIT: Final = 60.0
_LONGEST: Final = 86_400.0  # beyond a day somebody must look at it anyway
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_TEXT: Final = re.compile(
    r"(?:try again|retry|wait)\D{0,24}?((?:\d+(?:\.\d+)?\s*(?:ms|[smhd])[a-z]*\s*)+)", re.IGNORECASE
)
_SPOKEN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhd])[a-z]*", re.IGNORECASE)


def retry_after(headers: Mapping[str, str], text: str, now: Callable[[], float]) -> float | None:
    """Seconds until a provider may be asked again; None if it says nothing.

    In this order: `retry-after-ms`; `Retry-After` in seconds, fractions too, or as a date, told
    from `now` (seconds of the Unix epoch); `x-ratelimit-reset-*` of what is used up, as a duration
    ("6m0s", as OpenAI and Groq write it) or plain seconds; "try again in 5.289s" in the text. Names
    of headers are in lower case.

    >>> retry_after({"retry-after": "2.5"}, "", lambda: 0.0)
    2.5
    >>> retry_after({}, "Please try again in 1m2.5s.", lambda: 0.0)
    62.5
    """
    found = _number(headers.get("retry-after-ms", ""), 0.001)
    if found is None:
        found = _number(headers.get("retry-after", ""), 1.0)
    if found is None:
        found = _date(headers.get("retry-after", ""), now)
    if found is None:
        found = _reset(headers, now)
    if found is None:
        spoken = _TEXT.search(text[:4_000])
        found = _sum(_SPOKEN, spoken[1]) if spoken else None
    return None if found is None else min(max(found, 0.0), _LONGEST)


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value * unit if value == value and value >= 0 else None  # noqa: PLR0124  # not NaN


def _date(text: str, now: Callable[[], float]) -> float | None:
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return when.timestamp() - now()


def _reset(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """The later end of what has nothing remaining; of what is not used up nobody must wait."""
    ends = []
    for name, value in headers.items():
        kind = name.removeprefix("x-ratelimit-reset")
        if kind == name:
            continue
        left = headers.get(f"x-ratelimit-remaining{kind}")
        if left is not None and _number(left, 1.0) != 0:
            continue
        end = _number(value, 1.0)
        end = _sum(_DURATION, value) if end is None else end
        if end is not None:
            # OpenRouter gives a moment, in milliseconds since 1970.
            ends.append(end / 1_000 - now() if end > 1e12 else end)
    return max(ends, default=None)


def _sum(pattern: re.Pattern[str], text: str) -> float | None:
    parts = pattern.findall(text)
    return sum(float(value) * _UNITS[unit.lower()] for value, unit in parts) if parts else None
