"""Dates that a text speaks of, resolved against the time it was said, and those a question asks for.

A date is a number: 20230508 a day, 20230500 a month, 20230000 a year; a month without a year, as
only a question has it, 500. Comparing is arithmetic, so dates are matched as columns, never as text.

What expressions mean is dateparser's business. Ours is to find them: its own search takes 10 ms a
text and reads "we" as Wednesday. The expressions are English; numeric dates are anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from rag_memory_plugins.forgetting import keeps_texts

__all__ = ["TIME", "asked_days", "day_of", "days_of", "may_tell_time"]

_DAYS: Final = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_COUNT: Final = r"(?:a few|a couple(?: of)?|couple(?: of)?|few|an?|\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten)"
_UNIT: Final = r"(?:day|week|weekend|month|year)s?"
_NTH: Final = r"\d{1,2}(?:st|nd|rd|th)?"

# Numeric dates; a month with a day or a year; a month; what is told from today.
_ISO: Final = re.compile(r"\b((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?\b")
_NAMED: Final = re.compile(
    rf"\b(?:({_NTH}) (?:of )?)?({_MONTHS})\b(?: ({_NTH})\b)?(?:,? (?:of )?((?:19|20)\d\d)\b)?",
    re.IGNORECASE,
)
_RELATIVE: Final = re.compile(
    rf"\b(?:yesterday|today|tonight|tomorrow|the day before yesterday|last night"
    rf"|this (?:morning|afternoon|evening)"
    rf"|(?:last|this|next|this past) (?:week|weekend|month|year)"
    rf"|(?:last|next|this|this past|on) (?:{_DAYS})"
    rf"|{_COUNT} {_UNIT} (?:ago|back)|in {_COUNT} {_UNIT})\b",
    re.IGNORECASE,
)
_YEAR: Final = re.compile(r"\b(?:in|since|of|during) ((?:19|20)\d\d)\b(?!-\d)", re.IGNORECASE)
_MAY_WHO: Final = re.compile(r"(?:^|[.!?]\s+)May (?:I|we|you|he|she|it|they)\b")

TIME: Final = re.compile(
    rf"{_RELATIVE.pattern}|\b(?:{_DAYS}|{_MONTHS.replace('may|', '')}|(?:19|20)\d\d|{_NTH[:-1]}"
    rf"|(?:for|since|in) (?:\w+ ){{0,2}}(?:days|weeks|months|years)"
    rf"|(?:next|last) (?:{_MONTHS}|spring|summer|autumn|fall|winter)"
    rf"|(?:\d+|two|three|four|five|six|seven|eight|nine|ten) (?:days|weeks|months|years))\b",
    re.IGNORECASE,
)
"""An English text that tells a time."""

# One of these, or a digit, stands in whatever the expressions above find.
_HINTS: Final = (
    *("day", "week", "month", "year", "night", "morning", "noon", "evening", "tomorrow"),
    *("spring", "summer", "autumn", "fall", "winter"),
    *_MONTHS.split("|"),
)
_DIGIT: Final = re.compile("[0-9]")

# dateparser's English knows neither counts in words like these nor weekends.
_PLAIN: Final = (
    (re.compile(r"\b(?:a )?few\b"), "3"),
    (re.compile(r"\b(?:a )?couple(?: of)?\b"), "2"),
    (re.compile(r"\bweekend"), "week"),
    (re.compile(r"\bthis past\b"), "last"),
    (re.compile(r"^on "), "last "),
    (re.compile(r"\bback$"), "ago"),
)


def day_of(moment: datetime) -> int:
    """The day of a moment."""
    return moment.year * 10_000 + moment.month * 100 + moment.day


def may_tell_time(text: str) -> bool:
    """Whether it is worth looking for a time in `text`: 2 us, and the expressions take 60."""
    # Beyond ASCII there are letters that expressions take for others in another case.
    if not text.isascii() or _DIGIT.search(text):
        return True
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def days_of(text: str, said: datetime) -> list[int]:
    """Days, months and years that `text` speaks of, said at the moment `said`; sorted, no repeats.

    >>> from datetime import datetime
    >>> days_of("We met last Friday, and in March 2022", datetime(2023, 5, 10))
    [20220300, 20230505]
    """
    if not may_tell_time(text):
        return []
    return _days(text, said, lambda month: _year_of(month, said))


def asked_days(question: str, now: datetime) -> list[int]:
    """Days, months and years that a question asks for; a month without a year is a number below 1300.

    >>> from datetime import datetime
    >>> asked_days("What did we plan on 8 May, and in June 2022?", datetime(2023, 5, 10))
    [508, 20220600]
    """
    return _days(question, now, lambda _: 0)


def _days(text: str, moment: datetime, year_of: Callable[[str], int]) -> list[int]:
    """The dates in `text`, seen from `moment`; `year_of` a month that stands without a year."""
    noon = moment.replace(hour=12, minute=0, second=0, microsecond=0, tzinfo=None)
    found = set(_numeric(text))
    for match in _NAMED.finditer(text):
        if not _is_verb(match):
            found.add(_named(match, int(match[4] or year_of(match[2]))))
    found |= {_relative(match.group().lower(), noon) for match in _RELATIVE.finditer(text)}
    found |= {int(match.group(1)) * 10_000 for match in _YEAR.finditer(_NAMED.sub(" ", text))}
    return sorted(found - {0})


def _numeric(text: str) -> list[int]:
    found = []
    for year, month, day in _ISO.findall(text):
        if 1 <= int(month) <= 12 and int(day or 1) in range(1, 32):
            found.append(int(year) * 10_000 + int(month) * 100 + int(day or 0))
    return found


def _is_verb(match: re.Match[str]) -> bool:
    """Whether a "may" is no month: in small letters, or a sentence begins with "May I"."""
    if match[1] or match[3] or match[4]:
        return False
    begins = (verb.end() for verb in _MAY_WHO.finditer(match.string))
    return match[2] == "may" or any(match.end() < end <= match.end() + 5 for end in begins)


def _named(match: re.Match[str], year: int) -> int:
    day, month, late_day, _ = match.groups()
    number = int(re.sub(r"\D", "", day or late_day or "0"))
    return year * 10_000 + _month(month) * 100 + (number if number <= 31 else 0)


def _month(name: str) -> int:
    # Not by equality: ignoring case, a dotless i or a long s match too.
    months = _MONTHS.split("|")
    return next(
        at for at, month in enumerate(months, 1) if re.fullmatch(month, name, re.IGNORECASE)
    )


def _year_of(month: str, said: datetime) -> int:
    """A month by its name alone is this year's, or last year's if it is still to come."""
    return said.year if _month(month) <= said.month else said.year - 1


@keeps_texts
@lru_cache(maxsize=4_096)
def _relative(expression: str, said: datetime) -> int:
    """What an expression means, 0 if dateparser cannot tell."""
    from dateparser.date import DateDataParser

    if not 2 <= said.year <= 9998:
        return 0  # a week more or less would leave the calendar
    for pattern, plain in _PLAIN:
        expression = pattern.sub(plain, expression)
    today = day_of(said)
    if expression in ("this week", "this month"):
        return today // 100 * 100
    if expression == "this year":
        return today // 10_000 * 10_000
    if expression == "next week":
        return day_of(said + timedelta(7)) // 100 * 100
    settings = {"RELATIVE_BASE": said, "PREFER_DATES_FROM": "past"}
    found = DateDataParser(languages=["en"], settings=settings).get_date_data(expression)
    if found.date_obj is None:
        return 0
    day = day_of(found.date_obj)
    # A week is told by its month: which of its days is meant nobody says.
    return {"day": day, "year": day // 10_000 * 10_000}.get(found.period, day // 100 * 100)
