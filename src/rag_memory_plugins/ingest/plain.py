"""Plain text with speakers, as people and meeting tools write it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rag_memory_plugins.ingest.clock import STAMP, date_line, seconds_of
from rag_memory_plugins.ingest.lines import numbered
from rag_memory_plugins.ingest.speakers import Labels, clean_name, is_name
from rag_memory_plugins.ingest.turns import LONGEST, Cue, ends_sentence

__all__ = ["read_text"]

_LEAD: Final = re.compile(
    rf"(?P<open>[\[(])?\s*(?P<start>{STAMP})"
    rf"(?:\s*(?:-->|-|\u2013|to)\s*(?P<end>{STAMP}))?\s*(?P<close>[\])])?"
    r"(?:\s*[-\u2013\u2014|]\s+|\s*:\s+|\s+|$)(?P<rest>.*)"
)
_TAIL: Final = re.compile(
    rf"(?P<name>[^\W\d][^\n:\[\]]{{0,60}}?|\[[^\W\d][^\n:\[\]]{{0,60}}\])(?P<gap>\s{{1,9}})(?P<open>[\[(])?(?P<start>{STAMP})[\])]?"
)
_BRACKETED: Final = re.compile(
    rf"(?P<name>[^\W\d][^\n:\[\]()]{{0,60}}?)\s{{0,9}}[\[(](?P<start>{STAMP})[\])]\s*(?P<text>.*)"
)
_CHAT: Final = re.compile(
    r"From\s{1,9}(?P<name>.{1,60}?)(?:\s{1,9}to\s{1,9}[^:]{1,90}?)?\s{0,9}:\s*(?P<text>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Head:
    """How a turn begins. `speaker` None: whoever spoke before, if anybody did."""

    speaker: str | None
    start: float | None
    end: float | None
    text: str


@dataclass
class _Open:
    """The turn that lines are added to, `parts` its paragraphs and `size` their characters."""

    speaker: str | None
    start: float | None
    end: float | None
    place: int
    parts: list[list[str]] = field(default_factory=list)
    size: int = 0
    blank: bool = False

    def add(self, text: str) -> None:
        if text:
            if self.blank or not self.parts:
                self.parts.append([])
            self.parts[-1].append(text)
            self.size += len(text) + 1
            self.blank = False

    def full(self, text: str) -> bool:
        """Whether the next line is a turn of its own: after a paragraph, a sentence, or at last."""
        after = self.size + len(text)
        if not self.parts or after <= LONGEST:
            return False
        return self.blank or ends_sentence(self.parts[-1][-1]) or after > 2 * LONGEST

    def cue(self) -> Cue:
        text = "\n\n".join(" ".join(lines) for lines in self.parts)
        return Cue(self.speaker, text, self.start, self.end, self.place)


def read_text(lines: Iterable[str], _name: str) -> Iterator[Cue]:
    r"""The turns of a text: a label begins one, other lines go on; without labels a paragraph is one.

    >>> text = "Date: 2026-05-08\n[00:00:05] Ann: Hello\nall.\n\nBob Lee  0:09\nHi."
    >>> [(cue.speaker, cue.start, cue.text) for cue in read_text(text.splitlines(), "x")]
    [('Ann', 5.0, 'Hello all.'), ('Bob Lee', 9.0, 'Hi.')]
    """
    heads = _Heads()
    turn: _Open | None = None
    for (number, line), behind in numbered(lines):
        text = " ".join(line.split())
        if not text:
            heads.blank = True
            if turn is not None:
                turn.blank = True
            continue
        # Whoever says a date in the middle says it.
        if heads.speaker is None and not heads.named and date_line(text) is not None:
            continue
        head = heads.of(line.strip(), (behind or "").strip())
        heads.blank = False
        if head is not None:
            if turn is not None:
                yield turn.cue()
            turn = _Open(heads.speaker, head.start, head.end, number)
            turn.add(head.text)
        else:
            loose = turn is not None and turn.speaker is None and turn.blank and turn.parts
            if turn is None or loose or turn.full(text):
                start = None if turn is None else turn.start
                if turn is not None:
                    yield turn.cue()
                turn = _Open(heads.speaker, start, None, number)
            turn.add(text)
    if turn is not None:
        yield turn.cue()


class _Heads:
    """Recognises the lines that begin a turn; `speaker` is who speaks as of the last one."""

    def __init__(self) -> None:
        self.speaker: str | None = None
        self.named = False
        self.blank = True
        self._labels = Labels()
        self._bare: bool | None = None

    def of(self, line: str, behind: str) -> _Head | None:
        """The head that a line is, else None. `behind` is the line after it."""
        head = self._stamped(line, behind) or self._labelled(line) or self._trailing(line, behind)
        if head is not None and head.speaker is not None:
            self.speaker, self.named = head.speaker or None, True
        return head

    def _labelled(self, line: str) -> _Head | None:
        found = self._labels.split(line)
        if found is None:
            return None
        name, stamp, text = found
        return _Head(name, seconds_of(stamp) if stamp else None, None, text)

    def _stamped(self, line: str, behind: str) -> _Head | None:
        """[00:01:02] Ann: hello; 00:01:02 Ann, with the text below; 00:01:02 alone."""
        found = _LEAD.fullmatch(line)
        start = seconds_of(found["start"]) if found else None
        sure = found is not None and (
            bool(found["open"] and found["close"])
            or found["end"] is not None
            or found["start"].count(":") > 1
            or not found["rest"]
        )
        if self._bare is None:
            # As the first line has it: elsewhere "10:30 works for me" is no time of the recording.
            self._bare = start is not None
        if found is None or start is None:
            return None
        rest = found["rest"]
        end = seconds_of(found["end"]) if found["end"] else None
        chat = _CHAT.fullmatch(rest)
        if chat is not None and is_name(chat["name"], small=True):
            return _Head(clean_name(chat["name"]), start, end, chat["text"].strip())
        labelled = self._labels.split(rest) if rest else None
        if labelled is not None:
            return _Head(labelled[0], start, end, labelled[2])
        if not sure and not self._bare:
            return None
        if behind and is_name(rest) and not ends_sentence(rest) and not self._begins(behind):
            return _Head(clean_name(rest), start, end, "")
        return _Head(None, start, end, rest)

    def _trailing(self, line: str, behind: str) -> _Head | None:
        """Ann Lee  0:05, with the text below; Ann (00:01:02) hello; Ann above a time alone."""
        found = _TAIL.fullmatch(line)
        name = found["name"].strip("[]") if found is not None else ""
        if found is not None and is_name(name) and behind:
            start = seconds_of(found["start"])
            # "Room 10:30" within a speech has neither.
            apart = self.blank or bool(found["open"]) or found["gap"] != " " or line[0] == "["
            if start is not None and apart and not self._begins(behind):
                return _Head(clean_name(name), start, None, "")
        found = _BRACKETED.fullmatch(line)
        if found is not None and is_name(found["name"]):
            start = seconds_of(found["start"])
            if start is not None:
                return _Head(clean_name(found["name"]), start, None, found["text"])
        if self.blank and is_name(line) and seconds_of(behind.strip("[]()")) is not None:
            return _Head(clean_name(line), None, None, "")
        return None

    @staticmethod
    def _begins(line: str) -> bool:
        """Whether a line has a time of its own in front, so that it is nobody's text below a name."""
        found = _LEAD.fullmatch(line)
        return found is not None and seconds_of(found["start"]) is not None
