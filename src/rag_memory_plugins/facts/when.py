"""When a statement holds: the times it names, found, resolved, and taken out of its words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rag_memory_plugins.retrieval.dates import days_of, may_tell_time

__all__ = ["Period", "period_of", "starts_with_time"]

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY: Final = "|".join(_DAYS)
_MONTH: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_NTH: Final = r"\d{1,2}(?:st|nd|rd|th)?"
_COUNT: Final = (
    r"(?:\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|a few|a couple of)"
)
_DATE: Final = (
    rf"(?:the )?{_NTH} (?:of )?(?:{_MONTH})\b(?:,? (?:19|20)\d\d\b)?"
    rf"|(?:{_MONTH}) {_NTH}\b(?:,? (?:19|20)\d\d\b)?"
    rf"|(?:{_MONTH})(?:,? (?:of )?(?:19|20)\d\d)?\b"
    r"|(?:19|20)\d\d-\d\d(?:-\d\d)?\b"
    rf"|(?:next|last|this) (?:week|weekend|month|year|{_DAY})\b"
    rf"|(?:{_DAY})(?: (?:morning|afternoon|evening|night))?\b"
    r"|the \d{1,2}(?:st|nd|rd|th)\b(?! (?:floor|time|edition|street|century|birthday|anniversary|grade|of)\b)"
    r"|today\b|tonight\b|tomorrow\b|yesterday\b|(?:19|20)\d\d\b"
)
_FOUND: Final = re.compile(
    rf"(?:^|,? )(?P<until>until|till|through)(?P<last> the end of)? "
    rf"(?P<end>{_DATE}|the year\b|the month\b)"
    rf"|(?:^|,? )(?P<word>on|in|since|from|by|starting(?: from| on)?|as of|effective|for|at|back in|of"
    rf"|beginning(?: of)?)? ?"
    rf"(?P<date>{_DATE})"
    rf"|(?:^|,? )(?P<ago>{_COUNT} (?:day|week|month|year)s? ago|in {_COUNT} (?:day|week|month|year)s?\b)",
    re.IGNORECASE,
)
_BARE: Final = re.compile(r"today|tonight|tomorrow|yesterday|next|last|this", re.IGNORECASE)
_YEAR: Final = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class Period:
    """What is left of a text without its times, and from when until when they let it hold.

    `day` says that `start` names a day, not a month or a year.
    """

    text: str
    start: datetime | None = None
    end: datetime | None = None
    day: bool = False


def period_of(text: str, said: datetime, *, ahead: bool) -> Period:
    """The times that `text`, said at a moment, names; `ahead`: what has not been yet is meant.

    >>> said = datetime(2026, 3, 2)
    >>> found = period_of("Rome on May 4 for work", said, ahead=True)
    >>> found.text, found.start.isoformat()
    ('Rome', '2026-05-04T00:00:00')
    """
    if not may_tell_time(text):
        return Period(text)
    start = end = None
    day, cut = False, len(text)
    for found in _FOUND.finditer(text):
        if found["end"]:
            number = _number(found["end"], said, ahead=True)
            end = _moment(number, said, last=bool(found["last"]))
        else:
            when = found["date"] or found["ago"]
            if found["date"] and not found["word"] and not _BARE.match(when) and found.start():
                continue  # a year or a month that belongs to a name
            number = _number(when, said, ahead=ahead and found["word"] != "since")
            if start is None:
                start, day = _moment(number, said, last=False), number % 100 > 0
        if start is not None or end is not None:
            cut = min(cut, found.start())
    kept = text[:cut] if cut else text[_end_of_first(text) :]
    return Period(kept.strip(" ,"), start, end, day)


def starts_with_time(text: str) -> int:
    """Where what follows a time at the beginning of `text` starts; 0 if there is none there.

    >>> starts_with_time("From Monday I'm in Oslo")
    12
    """
    found = _FOUND.match(text)
    if not found or found["word"] in ("at", "for", "of"):
        return 0
    follows = text[found.end() :].lstrip(" ")
    if not found["word"] and not follows.startswith((",", "I ", "I'", "i ", "we ", "my ", "the ")):
        return 0  # "Friday is the demo day"
    return found.end() + len(text[found.end() :]) - len(text[found.end() :].lstrip(" ,"))


def _end_of_first(text: str) -> int:
    found = _FOUND.match(text)
    return found.end() if found else 0


def _number(when: str, said: datetime, *, ahead: bool) -> int:
    """The day, month or year as a number, as `retrieval.dates` has them; 0 for none."""
    words = when.lower().removeprefix("the ")
    if words in ("year", "month"):
        return said.year * 10_000 + (said.month * 100 if words == "month" else 0)
    named = next((at for at, name in enumerate(_DAYS) if name in words), None)
    if named is not None:
        return _weekday(named, said, ahead=ahead and not words.startswith("last"))
    if _YEAR.fullmatch(words):
        return int(words) * 10_000
    if words[-2:] in ("st", "nd", "rd", "th") and words[:-2].isdigit():
        return _day_of_month(int(words[:-2]), said, ahead=ahead)
    days = days_of(when[0].upper() + when[1:], said)
    if len(days) != 1:
        return 0
    number = days[0]
    if ahead and not _YEAR.search(words) and number < _today(said) and not _BARE.match(words):
        # Without a year, dates are read as past; a plan means the one to come.
        whole = number if number % 100 else number + 99
        number += 10_000 if whole < _today(said) else 0
    return number


def _today(said: datetime) -> int:
    return said.year * 10_000 + said.month * 100 + said.day


def _weekday(day: int, said: datetime, *, ahead: bool) -> int:
    away = (day - said.weekday()) % 7 or 7 if ahead else -((said.weekday() - day) % 7)
    try:
        return _today(said + timedelta(away))
    except OverflowError:
        return 0  # the calendar ends before that day


def _day_of_month(day: int, said: datetime, *, ahead: bool) -> int:
    """The next or the last day of that number; 0 for no such day."""
    month = said.year * 12 + said.month - 1
    if ahead and day < said.day:
        month += 1
    elif not ahead and day > said.day:
        month -= 1
    return month // 12 * 10_000 + (month % 12 + 1) * 100 + day if 0 < day < 32 else 0


def _moment(number: int, said: datetime, *, last: bool) -> datetime | None:
    """The beginning of a day, month or year, or the last day of it; None for no such day."""
    year, month, day = number // 10_000, number // 100 % 100, number % 100
    try:
        first = datetime(year, month or 1, day or 1, tzinfo=said.tzinfo)
        if not last or day:
            return first
        after = datetime(
            year + (month in (0, 12)), month % 12 + 1 if month else 1, 1, tzinfo=said.tzinfo
        )
        return after - timedelta(1)
    except (OverflowError, ValueError):
        return None  # 31 June, or a year that the calendar does not have
