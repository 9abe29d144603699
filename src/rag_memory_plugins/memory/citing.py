"""Citation marks: what stands for a source in a text, and what of an answer's marks is true."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from rag_memory_plugins.ports import Fact, Said

__all__ = ["Cited", "Source", "checked_marks", "mark_of", "unmarked"]

Source = Said | Fact
"""What a mark stands for: a message, or a fact."""

# Several marks between two brackets are common in what models write.
_MARKS: Final = re.compile(r"([ \t]*)\[\s*([mf]:[^\[\]]*)\]")
_PARTS: Final = re.compile(r"[,;\s]+")
_SPACED: Final = re.compile(r"\b([mf]):\s+")
_FORGED: Final = re.compile(r"\[(?=\s*[mf]:)")


class Cited(NamedTuple):
    """A text with true marks alone, the sources that they stand for, and the marks taken out."""

    text: str
    citations: dict[str, Source]
    removed: tuple[str, ...]


def mark_of(source: Source) -> str:
    """The mark of a message or a fact: no blank and no bracket in it, whatever its ids are.

    >>> mark_of(Said("monday", "m/1"))
    '[m:monday/m%2F1]'
    """
    if isinstance(source, Fact):
        return f"[f:{quote(source.id, safe='')}]"
    return f"[m:{quote(source.session, safe='')}/{quote(source.id, safe='')}]"


def unmarked(text: str) -> str:
    """Text that may come from anybody, so that nothing in it passes for a mark.

    >>> unmarked("as in [f:1]")
    'as in (f:1]'
    """
    return _FORGED.sub("(", text)


def checked_marks(text: str, known: Mapping[str, Source]) -> Cited:
    """A model's answer without the marks that stand for nothing it was shown.

    >>> checked_marks("In Porto [m:a/1, m:a/9].", {"[m:a/1]": Said("a", "1")}).text
    'In Porto [m:a/1].'
    """
    citations: dict[str, Source] = {}
    removed: dict[str, None] = {}

    def true_marks(found: re.Match[str]) -> str:
        parts = _PARTS.split(_SPACED.sub(r"\1:", found[2]).strip(" ,;"))
        marks = dict.fromkeys(f"[{part}]" for part in parts)
        kept = [mark for mark in marks if mark in known]
        citations.update((mark, known[mark]) for mark in kept)
        removed.update((mark, None) for mark in marks if mark not in known)
        return f"{found[1]}{''.join(kept)}" if kept else ""

    made = _MARKS.sub(true_marks, text)
    return Cited(made.strip(), citations, tuple(removed))
