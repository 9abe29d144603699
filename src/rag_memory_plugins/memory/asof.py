"""The time that a question asks about: one day, month or year that it names, and the moment in it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.current import about_the_past
from rag_memory_plugins.retrieval.dates import asked_days

__all__ = ["Interval", "asked_interval", "moment_of", "start_of"]

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
# In small letters "may" is taken for the verb, unless a word before it says otherwise.
_SMALL_MAY: Final = re.compile(r"\b(in|last|during|of) may\b", re.IGNORECASE)
_LAST: Final = re.compile(rf"\blast ({'|'.join(_MONTHS)})\b(?! \d)", re.IGNORECASE)
# "May" and "April" are names of people too: by itself a month is one only behind such a word.
_BARE: Final = re.compile(
    rf"(?:\b([\w-]+) )?\b(?:{'|'.join(_MONTHS)})\b(?!,? (?:of )?\d)", re.IGNORECASE
)
_BEFORE_MONTH: Final = re.compile(
    r"in|during|of|this|early|late|mid|\d{1,2}(?:st|nd|rd|th)?", re.IGNORECASE
)
# Beside one of these a date is where a time begins or ends, not the time that is asked about.
_BOUND: Final = re.compile(r"\b(?:since|before|after|until|till|from|between)\b", re.IGNORECASE)


class Interval(NamedTuple):
    """A day, a month or a year, from its first moment to its last."""

    start: datetime
    end: datetime

    def moment(self, now: datetime) -> datetime:
        """The moment in it whose states are meant: its last, or now while it lasts.

        >>> from datetime import timezone
        >>> now = datetime(2026, 6, 10, 8, tzinfo=timezone.utc)
        >>> asked_interval("Where did Ann live in 2024?", now).moment(now).date().isoformat()
        '2024-12-31'
        """
        return now if self.start <= now < self.end else self.end


def asked_interval(question: str, now: datetime) -> Interval | None:
    """The one day, month or year that a question asks about; None for none, or several.

    A question that asks since when, or what was before, asks about no such time. `now` has a time
    zone, which is the interval's too.

    >>> from datetime import timezone
    >>> found = asked_interval("Who led the team last May?", datetime(2026, 5, 3, tzinfo=timezone.utc))
    >>> found.start.date().isoformat(), found.end.date().isoformat()
    ('2025-05-01', '2025-05-31')
    """
    if _BOUND.search(question):
        return None
    text = _SMALL_MAY.sub(lambda found: f"{found[1]} May", question)
    # The month of that name that is over: while it lasts, that of the year before.
    found = {_last(match[1], now) for match in _LAST.finditer(text)}
    past = about_the_past(question)
    days = asked_days(_BARE.sub(_month_or_name, _LAST.sub(" ", text)), now)
    found |= {day if day >= 10_000 else _in_year(day, now, past=past) for day in days}
    return _interval(found.pop(), now) if len(found) == 1 else None


def _month_or_name(found: re.Match[str]) -> str:
    return found.group() if found[1] and _BEFORE_MONTH.fullmatch(found[1]) else f"{found[1] or ''} "


def moment_of(text: str) -> datetime:
    """A moment from its ISO 8601 form: of a day without a time its end, in UTC unless it says else.

    Raises `InvalidInput`.

    >>> moment_of("2024-05-31").isoformat(timespec="seconds")
    '2024-05-31T23:59:59+00:00'
    """
    found = _written("as_of", text)
    if len(text.strip()) == len("2024-05-31"):
        found = found.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return found


def start_of(text: str) -> datetime:
    """The same for the time that something holds from: of a day its beginning.

    >>> start_of("2024-05-31").isoformat()
    '2024-05-31T00:00:00+00:00'
    """
    return _written("valid_from", text)


def _written(field: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        remedy = "pass a day such as 2024-05-31, or a time such as 2024-05-31T09:00:00+00:00"
        raise InvalidInput(field, text, remedy) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def _in_year(number: int, now: datetime, *, past: bool) -> int:
    """A day or month without a year: this year's, unless what is past is asked of one to come."""
    return (now.year - (past and number // 100 > now.month)) * 10_000 + number


def _last(name: str, now: datetime) -> int:
    month = _MONTHS.index(name.lower()) + 1
    return (now.year - (month >= now.month)) * 10_000 + month * 100


def _interval(number: int, now: datetime) -> Interval | None:
    """From the number of a day, month or year; None for one that the calendar does not have."""
    year, month, day = number // 10_000, number // 100 % 100, number % 100
    try:
        start = datetime(year, month or 1, day or 1, tzinfo=now.tzinfo)
        if day:
            after = start + timedelta(1)
        else:
            over = not month or month == 12
            after = start.replace(year=year + over, month=1 if over else month + 1)
    except (OverflowError, ValueError):
        return None
    return Interval(start, after - timedelta(microseconds=1))
