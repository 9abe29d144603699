"""How long to leave a provider alone: what its headers say, its text, or a minute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Final

__all__ = ["DEFAULT_WAIT", "retry_after", "tokens_left"]

DEFAULT_WAIT: Final = 60.0
_LONGEST: Final = 86_400.0  # beyond a day somebody must look at it anyway
_UNITS: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "\u00b5": 1e-6,  # Go writes the micro sign; a font may turn it into the Greek letter
    "\u03bc": 1e-6,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
_ONE: Final = r"\d{1,15}(?:\.\d{0,15})?"
_UNIT: Final = (
    "ns|us|\u00b5s|\u03bcs|milliseconds?|millis|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h"
    "|days?|d"
)
_PART: Final = re.compile(rf"({_ONE})\s*({_UNIT})", re.IGNORECASE)
_DURATION: Final = re.compile(rf"(?:{_ONE}(?:{_UNIT}))+", re.IGNORECASE)
_TEXT: Final = re.compile(
    rf"(?:try again|retry|wait)\D{{0,24}}?((?:(?<![.\d]){_ONE}\s*(?:{_UNIT})(?![a-z_])[\s,]*"
    rf"|{_ONE}(?:{_UNIT})(?=\d))+)",
    re.IGNORECASE,
)
_SINCE_1970: Final = 1e9  # in seconds; a wait is never that long
_IN_MILLISECONDS: Final = 1e11


def retry_after(headers: Mapping[str, str], text: str, now: Callable[[], float]) -> float | None:
    """Seconds until a provider may be asked again, 0 to a day; None if it says nothing.

    In this order: `retry-after-ms`; `Retry-After` in seconds, fractions too, or as a date, told
    from `now` (seconds of the Unix epoch); `x-ratelimit-reset*` of what is used up, as a duration
    ("6m0s", as OpenAI and Groq write it), plain seconds, or a moment; "try again in 5.289s" in the
    text. Names of headers are in lower case. What makes no sense is as good as not said.

    >>> retry_after({"retry-after": "2.5"}, "", lambda: 0.0)
    2.5
    >>> retry_after({}, "Please try again in 1m2.5s.", lambda: 0.0)
    62.5
    """
    said = headers.get("retry-after", "")
    found = _number(headers.get("retry-after-ms", ""), 0.001)
    if found is None:
        found = _number(said, 1.0)
    if found is None:
        found = _duration(said)
    if found is None:
        found = _date(said, now)
    if found is None:
        found = max(_resets(headers, now), default=None)
    if found is None:
        spoken = _TEXT.search(text[:4_000])
        found = _sum(spoken[1]) if spoken else None
    return None if found is None else min(max(found, 0.0), _LONGEST)


def tokens_left(headers: Mapping[str, str], now: Callable[[], float]) -> tuple[int, float] | None:
    """(tokens that a limit has left, seconds until it is whole again); None if nobody says.

    >>> tokens_left({"x-ratelimit-remaining-tokens": "90", "x-ratelimit-reset-tokens": "7.5s"}, float)
    (90, 7.5)
    """
    left = _number(headers.get("x-ratelimit-remaining-tokens", ""), 1.0)
    if left is None:
        return None
    reset = _moment(headers.get("x-ratelimit-reset-tokens", ""), now)
    wait = DEFAULT_WAIT if reset is None else min(max(reset, 0.0), _LONGEST)
    return int(left), wait


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value * unit if math.isfinite(value) and value >= 0 else None


def _date(text: str, now: Callable[[], float]) -> float | None:
    """From now to a moment, as HTTP writes it ("Wed, 21 Oct 2026 07:28:00 GMT") or as ISO 8601."""
    if len(text) > 64:  # no date; and digits without end take time
        return None
    from email.utils import parsedate_to_datetime  # few providers write dates; all are imported

    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            # Python 3.10 does not know the Z.
            when = read(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
            return when.timestamp() - now()
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
    return None


def _resets(headers: Mapping[str, str], now: Callable[[], float]) -> Iterator[float]:
    """The ends of what has nothing remaining; of what is not used up nobody must wait."""
    for name, value in headers.items():
        kind = name.removeprefix("x-ratelimit-reset")
        if kind == name:
            continue
        left = headers.get(f"x-ratelimit-remaining{kind}")
        if left is not None and _number(left, 1.0) != 0:
            continue
        end = _moment(value, now)
        if end is not None:
            yield end


def _moment(value: str, now: Callable[[], float]) -> float | None:
    """Seconds from now to a reset."""
    end = _number(value, 1.0)
    if end is None:
        end = _duration(value)
    if end is None:
        return _date(value, now)
    if end > _IN_MILLISECONDS:  # OpenRouter gives a moment, in milliseconds since 1970
        return end / 1_000 - now()
    return end - now() if end > _SINCE_1970 else end


def _duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it: "1m2.5s", "500ms"."""
    text = text.strip()
    return _sum(text) if len(text) <= 64 and _DURATION.fullmatch(text) else None


def _sum(text: str) -> float | None:
    parts = _PART.findall(text)
    return sum(float(value) * _scale(unit.lower()) for value, unit in parts) if parts else None


def _scale(unit: str) -> float:
    if unit.startswith(("ms", "mill")):
        return _UNITS["ms"]
    return _UNITS[unit[:1]]
