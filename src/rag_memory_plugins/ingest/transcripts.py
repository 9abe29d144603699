"""Transcripts of talk: which kind a file is, when it was said, and its turns one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from rag_memory_plugins.errors import InvalidFile, InvalidInput, nearest
from rag_memory_plugins.ingest.captions import read_srt, read_vtt
from rag_memory_plugins.ingest.clock import date_line
from rag_memory_plugins.ingest.json_lines import moment_of, read_jsonl
from rag_memory_plugins.ingest.lines import TextLines
from rag_memory_plugins.ingest.plain import read_text
from rag_memory_plugins.ingest.turns import Cue, Turn, joined

__all__ = [
    "KINDS",
    "Kind",
    "Turn",
    "checked_kind",
    "detect_transcript",
    "read_transcript",
    "told_start",
]

Kind: TypeAlias = Literal["text", "vtt", "srt", "jsonl"]
KINDS: Final = get_args(Kind)
_HEAD: Final = 60
"""Lines in which a file says what it is and when it was."""
_TIMES: Final = re.compile(r"\s*(?:\d{1,3}:)?\d{1,3}:\d{2}[.,]\d{1,6}\s*-->\s*[\d:.,]+(?:\s.*)?")


def read_transcript(lines: Iterable[str], kind: Kind, name: str = "transcript") -> Iterator[Turn]:
    """The turns of a transcript, in its order; `lines` may be an open text file.

    Reads no further than a turn needs. `name` is what errors call it. Raises `InvalidInput` for an
    unknown kind, and `InvalidFile` with the line for what cannot be read: what came before it is
    good.

    >>> [(turn.speaker, turn.text) for turn in read_transcript(["Ann: Hello", "Bob: Hi"], "text")]
    [('Ann', 'Hello'), ('Bob', 'Hi')]
    """
    return joined(_READERS[checked_kind(kind)](lines, name))


def detect_transcript(path: Path) -> Kind:
    r"""The kind of a file, by its content. Raises `InvalidFile` for what is no transcript.

    Any other text is read as plain text: whether somebody speaks in it only people can tell.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "talk.txt")
    ...     _ = path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello")
    ...     detect_transcript(path)
    'srt'
    """
    head = [line.strip() for line in _head(path)]
    first = next(filter(None, head), None)
    if first is None:
        raise InvalidFile(str(path), "an empty file", "pass a transcript with something said in it")
    if first == "WEBVTT" or first.startswith(("WEBVTT ", "WEBVTT\t")):
        return "vtt"
    if first.startswith("{") or re.match(r"\[\s*(?:\{|$)", first):
        if not first.startswith("{") or len(first) == 1:
            got = "JSON that is not one object a line"
            raise InvalidFile(str(path), got, "write one turn a line (JSON Lines)")
        return "jsonl"
    # WebVTT without its first line, too: the two differ in little else. In brackets a line of a
    # plain text has its times.
    return "srt" if any(map(_TIMES.fullmatch, head[:10])) else "text"


def told_start(path: Path, kind: Kind) -> datetime | None:
    """When the talk began, by a line of the file's head as "Date: 8 May 2026"; None if none says.

    Of JSON Lines: the first date that a turn has. Raises `InvalidFile`.
    """
    of = moment_of if kind == "jsonl" else date_line
    return next(filter(None, map(of, _head(path))), None)


def checked_kind(kind: object) -> Kind:
    """A kind of transcript. Raises `InvalidInput`."""
    if kind not in KINDS:
        raise InvalidInput("kind", kind, nearest(str(kind), KINDS))
    return kind  # type: ignore[return-value]  # it is one of them


def _head(path: Path) -> list[str]:
    with TextLines(path) as lines:
        return list(islice(lines, _HEAD))


_READERS: Final[Mapping[Kind, Callable[[Iterable[str], str], Iterator[Cue]]]] = {
    "text": read_text,
    "vtt": read_vtt,
    "srt": read_srt,
    "jsonl": read_jsonl,
}
