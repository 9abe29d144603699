"""Times as transcripts write them: stamps counted from the beginning, and dates of a meeting."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final

__all__ = ["STAMP", "date_line", "date_of", "seconds_of"]

STAMP: Final = r"(?:\d{1,3}:)?\d{1,3}:\d{2}(?:[.,]\d{1,6})?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
"""Of a regular expression: hours are optional, and behind a time of the day may stand am or pm."""

_STAMP: Final = re.compile(
    r"(?:(\d{1,5}):)?(\d{1,3}):(\d{2})(?:[.,](\d{1,6}))?(?:\s?([AaPp])\.?[Mm]\.?)?"
)
_DATE_LINE: Final = re.compile(
    r"\W*(?:(?:meeting|recording|creation|event)\s+)?"
    r"(?:date(?:\s*(?:and|/|&)\s*time)?|time|recorded(?:\s+(?:on|at))?|start(?:ed)?(?:\s+(?:on|at|time))?)"
    r"\W{0,2}\s*[:\uff1a]\W{0,3}(?P<date>\S.*)",
    re.IGNORECASE,
)
_ZONE: Final = re.compile(r"\s*\(?(?:UTC|GMT|Z)\)?$")
_WEEKDAY: Final = re.compile(r"^(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+", re.IGNORECASE)
_DAYS: Final = ("%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y", "%Y/%m/%d", "%d.%m.%Y")
_HOURS: Final = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


def seconds_of(stamp: str) -> float | None:
    """Seconds of a stamp like 01:02:03.5, 02:03 or 10:15 am; None for what is none.

    Two numbers are minutes and seconds, with am or pm behind them hours and minutes.

    >>> seconds_of("01:00:02,250"), seconds_of("2:03"), seconds_of("1:30 PM"), seconds_of("1:75")
    (3602.25, 123.0, 48600.0, None)
    """
    found = _STAMP.fullmatch(stamp.strip())
    if found is None:
        return None
    hours, minutes, seconds = int(found[1] or 0), int(found[2]), int(found[3])
    if found[5] and not found[1]:
        hours, minutes, seconds = minutes, seconds, 0
    # A recorder without hours counts its minutes on: 75:10.
    if seconds > 59 or (found[1] and minutes > 59) or (found[5] and not 1 <= hours <= 12):
        return None
    if found[5]:
        hours = hours % 12 + (12 if found[5] in "Pp" else 0)
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{found[4] or 0}")


def date_of(text: str) -> datetime | None:
    """The date a text states, in UTC where it names no zone; None for what is none.

    ISO 8601, and days with the month's English name, with or without a time. 05/08/2026 is none: it
    is the 5th of August to some and the 8th of May to others.

    >>> date_of("Friday, 8 May 2026, 14:30").isoformat(), date_of("05/08/2026")
    ('2026-05-08T14:30:00+00:00', None)
    """
    text = text.strip()
    found: datetime | None
    try:
        found = datetime.fromisoformat(re.sub(r"\s?Z$", "+00:00", text))
    except ValueError:
        plain = _WEEKDAY.sub("", _ZONE.sub("", text))
        plain = " ".join(re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|,|\bat\b", " ", plain).split())
        found = next(filter(None, (_parsed(plain, d + h) for d in _DAYS for h in _HOURS)), None)
    if found is None:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def date_line(line: str) -> datetime | None:
    """The date of a line that states a meeting's, as "Date: 2026-05-08 14:30" does; else None.

    >>> date_line("Recorded on: May 8, 2026").isoformat()
    '2026-05-08T00:00:00+00:00'
    """
    found = _DATE_LINE.fullmatch(line.removeprefix("NOTE").strip())
    return date_of(found["date"]) if found else None


def _parsed(text: str, shape: str) -> datetime | None:
    try:
        return datetime.strptime(text, shape).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
