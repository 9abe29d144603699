"""A text without what its author did not state: code, quotations, text pasted for a task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["HIDDEN", "own_words"]

HIDDEN: Final = "\ufffc"
"""Stands where a quotation or code was: a claim whose object holds it is not made."""

_KEYS: Final = str.maketrans(
    {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"', 0xAB: '"'}
    | {0xBB: '"', 0x2212: "-", 0x2013: "-", 0x2010: "-", 0xFF1F: "?", 0xFF01: "!", 0x3002: "."}
)
_CONTROL: Final = re.compile(r"[^\S\n]+|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]+")
_QUOTED_LINE: Final = re.compile(r"\s*(?:>|\||\$ |# |\+\+\+|@@|https?://)")
_LABEL: Final = re.compile(
    r"[\[(]?[A-Z][\w.]{0,20}(?: [A-Z][\w.]{0,20})?[\])]?(?: \([^)\n]{1,40}\))?: "
)
_OWN_LABEL: Final = re.compile(
    r"(?:correction|update|fyi|note|ps|p\.s\.|edit|status|deadline|budget|reminder|fact|decision"
    r"|also|btw|me|decided|agreed|news|summary): ",
    re.IGNORECASE,
)
_CODE_LINE: Final = re.compile(
    r"\s*(?:def|class|import|from \w+ import|return|function|var|let \w+ =|const|public|private|SELECT"
    r"|INSERT|UPDATE \w+ SET|#include|print\()\b|.*(?:[{};]|=>|\)\:)\s*$"
)
_ANNOUNCES: Final = re.compile(
    r"\b(?:wrote|writes|said|says|replied|asked):\s*$|^\s*-{3,}\s*(?:forwarded|original)"
    r"|^\s*(?:hi|dear|hello) [A-Z]\w+,\s*$",
    re.IGNORECASE,
)
_TASK: Final = re.compile(
    r"\b(?:translat(?:e|ion)|rewrite|rephrase|paraphrase|summari[sz]e|proofread|correct (?:this|the)"
    r"|fix (?:the|my|this) (?:grammar|text|sentence|english)|edit (?:this|my)|write|draft|say in \w+"
    r"|the following|sentence|example|template|story|poem|essay|letter|e-?mail|lyrics|dialogue|prompt"
    r"|script|quote|text|message)\b[^:\n]{0,80}:(?:\s|$)",
    re.IGNORECASE,
)
_MAKE_BELIEVE: Final = re.compile(
    r"\b(?:imagine|pretend|suppose|role-?play|let's say|hypothetically|act as|acting as|assume"
    r"|in (?:my|the|a) (?:story|novel|dream|game|book|scenario|script|film|movie|play|sketch)"
    r"|for (?:the sake of argument|argument's sake)|hypothetical|thought experiment|my (?:character|protagonist|persona|player)|picture (?:this|a)"
    r"|let us say|in (?:a|an) (?:perfect|ideal) world|in (?:another|a past) life|lorem|made-up|fictional"
    r"|(?<![^.!?] )\bsay,? (?:that )?(?:an?|my|your|our|the|i|we|there|someone|somebody|you))\b",
    re.IGNORECASE,
)
_TITLE_WORDS: Final = 6
_STATES: Final = re.compile(r"^(?:I|I'm|I've|we|my|our|the)\b", re.IGNORECASE)
_SPEAKS: Final = re.compile(
    r"(?:[,:]|\b(?:said|says|say|told|tells|wrote|writes|asked|asks|replied|goes|like))\s*$"
)


def own_words(text: str) -> str:
    """What the author of `text` states: one line for each of theirs, signs as a keyboard has them.

    >>> own_words("> I live in Rome" + chr(10) + "Me too. She said \u201cI'm a nurse\u201d.")
    'Me too. She said \ufffc.'
    """
    text = text.translate(_KEYS).replace("\r", "\n")
    return "\n".join(_lines(_CONTROL.sub(" ", text)))


def _lines(text: str) -> Iterator[str]:
    code = False
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(("```", "~~~")):
            # A block that opens and closes on one line leaves the state as it is.
            code ^= line.count(line[:3]) % 2 == 1
            continue
        if code or not line or _QUOTED_LINE.match(line) or _CODE_LINE.match(raw):
            continue
        if _ANNOUNCES.search(line):
            return
        task = _TASK.search(line) or _MAKE_BELIEVE.search(line)
        if task:
            # What stands before may still be about the author; what follows is made up or pasted.
            before = _last_end(line, task.start())
            if before:
                yield _dequoted(line[:before])
            return
        label = _LABEL.match(line)
        if label and not _OWN_LABEL.match(line):
            continue
        yield _dequoted(line.lstrip("*-•0123456789.) ") if line[0] in "*-•" else line)


def _last_end(line: str, before: int) -> int:
    return max(line.rfind(mark, 0, before) + 1 for mark in (". ", "! ", "? "))


def _dequoted(line: str) -> str:
    """A line with titles out of their quotes, and the mark where somebody is quoted."""
    for mark in ('"', "`"):
        if mark in line:
            line = _unquote(line, mark)
    return line


def _unquote(line: str, mark: str) -> str:
    parts = line.split(mark)
    if len(parts) % 2 == 0:
        # A quote that is never closed: all of it is somebody's.
        return parts[0] + HIDDEN
    for at in range(1, len(parts), 2):
        inner, before = parts[at].strip(), parts[at - 1]
        titled = 0 < len(inner.split()) <= _TITLE_WORDS and not _STATES.match(inner)
        if not titled or (mark == '"' and _SPEAKS.search(before)) or inner[-1:] in ".!?":
            parts[at] = HIDDEN
    return "".join(parts)
