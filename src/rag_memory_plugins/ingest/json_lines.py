"""Transcripts as JSON Lines: one object a turn, under the names that speech services use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from rag_memory_plugins.errors import InvalidFile
from rag_memory_plugins.ingest.clock import date_of, seconds_of
from rag_memory_plugins.ingest.lines import numbered
from rag_memory_plugins.ingest.speakers import clean_name
from rag_memory_plugins.ingest.turns import Cue

__all__ = ["moment_of", "read_jsonl"]

SPEAKER: Final = (
    *("speaker", "speaker_name", "speakerName", "name", "participant", "author", "user"),
    *("speaker_label", "speaker_id", "role"),
)
TEXT: Final = ("text", "content", "transcript", "message", "utterance", "sentence")
START: Final = ("start", "start_time", "startTime", "offset", "begin", "timestamp", "time")
END: Final = ("end", "end_time", "endTime")
_EPOCH: Final = 1e8  # seconds: no meeting lasts three years, so a larger number counts from 1970
_MILLISECONDS: Final = 1e11


def read_jsonl(lines: Iterable[str], name: str) -> Iterator[Cue]:
    """A cue a line. Dates become seconds since the first one. Raises `InvalidFile` with the line.

    >>> line = '{"speaker": "Ann", "text": "Hello", "start": 1.5}'
    >>> [(cue.speaker, cue.text, cue.start) for cue in read_jsonl([line], "x")]
    [('Ann', 'Hello', 1.5)]
    """
    first: float | None = None
    for (number, line), _ in numbered(lines):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        data = _object(line, place)
        start, since = _time(data, START, place)
        end, ends = _time(data, END, place)
        if since and start is not None:
            first = start if first is None else first
        start, end = _offset(start, first if since else 0), _offset(end, first if ends else 0)
        yield Cue(_speaker(data, place), _text(data, place), start, end, number)


def moment_of(line: str) -> datetime | None:
    """The date that a line of JSON says it was spoken at; None where it tells none.

    >>> moment_of('{"text": "x", "time": "2026-05-08T10:00:00Z"}').hour
    10
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None  # the reader says what is wrong with it
    value = _first(data, START)[1] if isinstance(data, dict) else None
    seconds, since = _seconds(value)
    if not since or seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc)


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        remedy = f"write one JSON object a line ({' '.join(str(error).split())})"
        raise InvalidFile(place, line[:80], remedy) from error
    if not isinstance(data, dict):
        raise InvalidFile(place, data, "a line is an object with speaker and text")
    return data


def _first(data: Mapping[str, Any], names: Iterable[str]) -> tuple[str, Any]:
    return next(((key, data[key]) for key in names if data.get(key) is not None), ("", None))


def _text(data: Mapping[str, Any], place: str) -> str:
    key, value = _first(data, TEXT)
    if not isinstance(value, str):
        got = f"keys {', '.join(data)}" if value is None else value
        remedy = f"a line has its text, a string, under one of {', '.join(TEXT)}"
        raise InvalidFile(f"{place}, {key}" if key else place, got, remedy)
    return value.strip()


def _speaker(data: Mapping[str, Any], place: str) -> str | None:
    key, value = _first(data, SPEAKER)
    if isinstance(value, dict):
        value = value.get("name", value.get("displayName"))
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"Speaker {value}"  # services that do not know people count them
    if value is not None and not isinstance(value, str):
        raise InvalidFile(f"{place}, {key}", value, "a speaker is a string or a number")
    return clean_name(value) or None if value else None


def _time(data: Mapping[str, Any], names: Iterable[str], place: str) -> tuple[float | None, bool]:
    key, value = _first(data, names)
    seconds, since = _seconds(value)
    if value is not None and seconds is None:
        remedy = "write seconds, 00:01:02.5, or a date as 2026-05-08T14:30:00+00:00"
        raise InvalidFile(f"{place}, {key}", value, remedy)
    return seconds, since


def _seconds(value: object) -> tuple[float | None, bool]:
    """(seconds, whether they count from 1970) of what a line has as its time; None for no time."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None, False
    if isinstance(value, str):
        stamp = seconds_of(value)
        date = date_of(value) if stamp is None else None
        if date is not None:
            return date.timestamp(), True
        try:
            value = float(value) if stamp is None else stamp
        except ValueError:
            return None, False
    # Compared as it is: an int may be too large for a float.
    if not -_EPOCH < value < 1e14 or not math.isfinite(value):
        return None, False
    if value >= _MILLISECONDS:
        return value / 1000, True
    return float(value), value >= _EPOCH


def _offset(seconds: float | None, first: float | None) -> float | None:
    return None if seconds is None or first is None else round(seconds - first, 6)
