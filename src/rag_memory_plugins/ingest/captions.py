"""Captions: WebVTT and SRT, cue by cue."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rag_memory_plugins.errors import InvalidFile
from rag_memory_plugins.ingest.clock import seconds_of
from rag_memory_plugins.ingest.lines import numbered
from rag_memory_plugins.ingest.speakers import Labels, clean_name
from rag_memory_plugins.ingest.turns import Cue

__all__ = ["read_srt", "read_vtt"]

MOST_LINES: Final = 1_000
_ARROW: Final = "-->"
_BLOCKS: Final = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
_VOICE: Final = re.compile(r"<(/?)v(?:\.[^\s<>]*)?(?:[ \t]([^<>]*))?>", re.IGNORECASE)
# Those that there are, and no others: "a < b and c > d" is speech.
_TAG: Final = re.compile(
    r"</?(?:b|i|u|s|c|lang|ruby|rt|font|span|v)(?:[.\s][^<>]*)?/?>|<\d[\d:.]*>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_NUMBERS: Final = re.compile(r"[\d:.,]+(?:\s+-{0,2})?")
_DASH: Final = re.compile(r"[-\u2013\u2014]\s+(?=\S)")


def read_vtt(lines: Iterable[str], name: str) -> Iterator[Cue]:
    r"""The cues of a WebVTT file. Raises `InvalidFile` for a time that cannot be read.

    >>> text = "WEBVTT\n\n1\n00:01.000 --> 00:02.500\n<v Ann>Tea &amp; cake</v>\n"
    >>> list(read_vtt(text.splitlines(), "x"))
    [Cue(speaker='Ann', text='Tea & cake', start=1.0, end=2.5, place=4, new=False)]
    """
    return _spoken(_blocks(lines, name, header=True))


def read_srt(lines: Iterable[str], name: str) -> Iterator[Cue]:
    r"""The cues of an SRT file, numbered or not. Raises `InvalidFile` for a time that is none.

    >>> text = "1\n00:00:01,000 --> 00:00:02,500\nAnn: Tea <i>now</i>\n"
    >>> [(cue.speaker, cue.text) for cue in read_srt(text.splitlines(), "x")]
    [('Ann', 'Tea now')]
    """
    return _spoken(_blocks(lines, name, header=False))


@dataclass
class _Block:
    place: int
    start: float
    end: float
    lines: list[str] = field(default_factory=list)


def _blocks(lines: Iterable[str], name: str, *, header: bool) -> Iterator[_Block]:
    """Blocks of a time and the lines below it; text behind a blank line still belongs to it."""
    block: _Block | None = None
    blank, skipping = True, header
    held: list[str] = []
    for (number, line), behind in numbered(lines):
        text = line.strip()
        begins, blank = blank, not text
        if _ARROW in text:
            if block is not None:
                block.lines += held
                yield block
            block, skipping, held = _timed(text, number, name), False, []
        elif not text:
            skipping = False
        elif header and begins and _BLOCKS.match(text):
            skipping = True
        elif skipping or (behind is not None and _ARROW in behind and _is_id(text, begins)):
            continue
        elif block is None:
            if not text.startswith("WEBVTT"):
                remedy = "a cue begins with its times, as 00:00:01.000 --> 00:00:02.500"
                raise InvalidFile(f"{name}, line {number}", text, remedy)
        elif (begins or held) and _NUMBERS.fullmatch(text):
            held.append(text)
        elif len(block.lines) >= MOST_LINES:
            got = f"a cue of more than {MOST_LINES} lines"
            raise InvalidFile(f"{name}, line {number}", got, "it is no caption; pass kind='text'")
        else:
            block.lines += [*held, text]
            held = []
    # What is held at the end is the number or half of the time of a cue that the file was cut off
    # before: nobody said it.
    if block is not None:
        yield block


def _is_id(text: str, begins: bool) -> bool:
    # Without the blank line between two cues a text may stand above a time, a number never is one.
    return begins or text.isdigit()


def _timed(text: str, number: int, name: str) -> _Block:
    left, _, right = text.partition(_ARROW)
    start, end = seconds_of(left), seconds_of((right.split() or [""])[0])
    if start is None or end is None:
        remedy = "write it as 00:00:01.000 --> 00:00:02.500"
        raise InvalidFile(f"{name}, line {number}", text, remedy)
    return _Block(number, start, end)


def _spoken(blocks: Iterable[_Block]) -> Iterator[Cue]:
    """Who says what in each block. A label holds until the next one: many tools write one a change."""
    labels = Labels()
    speaker: str | None = None
    for block in blocks:
        for voice, text in _voices("\n".join(block.lines)):
            for new, who, said in _parts(text, labels, voice):
                if voice is None:
                    speaker = who if new else speaker
                by = voice if voice is not None else speaker
                yield Cue(by, said, block.start, block.end, block.place, new and who is None)


def _voices(text: str) -> Iterator[tuple[str | None, str]]:
    """(the voice of a span or None, its text) of a cue, tags and entities still in it."""
    voice: str | None = None
    at = 0
    for tag in _VOICE.finditer(text):
        if text[at : tag.start()].strip():
            yield voice, text[at : tag.start()]
        voice, at = None if tag[1] else clean_name(_plain(tag[2] or "")) or None, tag.end()
    if text[at:].strip():
        yield voice, text[at:]


def _parts(text: str, labels: Labels, voice: str | None) -> Iterator[tuple[bool, str | None, str]]:
    """(somebody else than before, who, what) of a text: a line with a dash is another speaker's."""
    lines = [plain for line in text.split("\n") if (plain := _plain(line))]
    if voice is not None:
        yield False, None, " ".join(lines)
        return
    dashes = [bool(_DASH.match(line)) for line in lines]
    said: list[str] = []
    new, who = False, None
    for line, dash in zip(lines, dashes, strict=True):
        other, name, rest = labels.of_cue(_DASH.sub("", line, count=1) if dash else line)
        if said and (dash or other):
            yield new, who, " ".join(said)
            said = []
        if not said:
            new, who = other or dash, name
        said.append(rest)
    if said:
        yield new, who, " ".join(said).strip()


def _plain(text: str) -> str:
    """A caption's text without tags, on one line."""
    without = _TAG.sub("", text)
    return " ".join(_ENTITY.sub(lambda found: html.unescape(found.group()), without).split())
