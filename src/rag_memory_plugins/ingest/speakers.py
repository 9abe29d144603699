"""Who speaks: the label before what is said, and what only looks like one."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rag_memory_plugins.ingest.clock import STAMP

__all__ = ["Labels", "clean_name", "is_name"]

LONGEST_NAME: Final = 60
_WORDS: Final = 6
_PARTICLES: Final = frozenset(
    "al and ap bin bint da de del della den der di dos du e el ibn la le ter van von y zu".split()
)
_NO_NAMES: Final = frozenset(
    "action agenda attendees attention author caution created date description duration example"
    " host http https important language link location meeting note notes participants present ps"
    " recorded reminder start started subject summary time title todo topic topics transcript"
    " update url warning"
    " also and because but finally first however no now ok okay second so then third well yes"
    " monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()
)
"""What stands before a colon in headers, minutes and speech, and is nobody."""
_LABEL: Final = re.compile(
    rf"\[?(?P<name>[^\W_][^:\uff1a\[\]\n]{{0,{LONGEST_NAME}}}?)\]?"
    rf"\s{{0,9}}(?:[(\[]\s?(?P<stamp>{STAMP})\s?[)\]]\s?)?(?::(?=\s|$)|\uff1a)\s*(?P<text>.*)",
    re.DOTALL,
)
_NAME: Final = re.compile(r"[\w .,'\u2019\u00b7&/()@#+\"-]+")
_CHANGE: Final = re.compile(r">>+\s*")


class Labels:
    """Splits labels from lines of one file; what the first line is like says how names are written.

    A name in small letters counts only where the first line of the file has one before its colon:
    elsewhere "so: we leave" would be said by "so".

    >>> Labels().split("ANN LEE: it is 10:30: go")
    ('ANN LEE', None, 'it is 10:30: go')
    >>> Labels().split("Ann (00:01:02): hello")
    ('Ann', '00:01:02', 'hello')
    >>> Labels().split("as follows: first") is None
    True
    """

    def __init__(self) -> None:
        self._small: bool | None = None

    def split(self, line: str) -> tuple[str, str | None, str] | None:
        """(name, stamp in brackets behind it, the rest) of a line with a label, else None."""
        found = _LABEL.fullmatch(line)
        first = self._small is None
        if first:
            self._small = found is not None and is_name(found["name"], small=True)
        if found is None or not is_name(found["name"], small=bool(self._small)):
            return None
        return clean_name(found["name"]), found["stamp"], found["text"].strip()

    def of_cue(self, line: str) -> tuple[bool, str | None, str]:
        """(whether somebody else speaks here, who if it is said, the rest) of a caption's line."""
        rest, changes = _CHANGE.subn("", line, count=1) if line.startswith(">>") else (line, 0)
        found = self.split(rest)
        if found is None:
            return bool(changes), None, rest
        return True, found[0], found[2]


def is_name(text: str, *, small: bool = False) -> bool:
    """Whether a text may name a speaker; `small` lets one word in small letters pass.

    >>> [is_name(name) for name in ("Dr. O'Neil-Smith", "Ludwig van Beek", "the plan is", "Date")]
    [True, True, False, False]
    """
    text = text.strip()
    words = re.sub(r"\([^()]*\)", " ", text).split()
    if not 0 < len(text) <= LONGEST_NAME or not 0 < len(words) <= _WORDS:
        return False
    if not _NAME.fullmatch(text) or not any(letter.isalpha() for letter in text):
        return False
    if words[0].casefold() in _NO_NAMES or " ".join(words).casefold() in _NO_NAMES:
        return False
    if small and len(words) == 1:
        return True
    return all(_begins_a_name(word) for word in words)


def clean_name(text: str) -> str:
    r"""A speaker's name on one line, without what no message may hold and without control characters.

    >>> clean_name(" Ann\tLee\x00 ")
    'Ann Lee'
    """
    kept = (
        letter
        for letter in " ".join(text.split())
        if unicodedata.category(letter) not in {"Cc", "Cs"}
    )
    return "".join(kept).strip()[:LONGEST_NAME]


def _begins_a_name(word: str) -> bool:
    plain = word.strip(".,'\u2019\"()&/-+#@")
    return not plain or not plain[0].islower() or plain in _PARTICLES
