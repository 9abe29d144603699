"""`Turn`: what one speaker says; and turns made of the cues of captions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["LONGEST", "Cue", "Turn", "ends_sentence", "joined"]

LONGEST: Final = 1_000
"""Characters of a turn that is joined: some 250 tokens, about what a sentence model reads at once and
what a hit may cost in a context. Cues of captions alone, five words each, say too little to be
found; a monologue of ten minutes says too much to be shown."""
_PAUSE: Final = 2.0
_SENTENCE_PAUSE: Final = 30.0  # captions without any full stop must not become one sentence
_END: Final = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\u061f\u0964][\"'\u201d\u2019\u00bb)\]]*$")


@dataclass(frozen=True)
class Turn:
    """What one speaker says in one go.

    `speaker` is None where the transcript names nobody, `offset` in seconds from the beginning,
    None where it tells no time, `place` the number of the line it begins on.

    >>> Turn("Ann", "We ship on Friday.", 62.0, 3)
    Turn(speaker='Ann', text='We ship on Friday.', offset=62.0, place=3)
    """

    speaker: str | None
    text: str
    offset: float | None
    place: int


@dataclass(frozen=True)
class Cue:
    """A piece of a transcript: a caption, or a paragraph. Only one with an `end` may be joined.

    `new` says that somebody else speaks than before, though nobody says who.
    """

    speaker: str | None
    text: str
    start: float | None
    end: float | None
    place: int
    new: bool = False


def ends_sentence(text: str) -> bool:
    """Whether a text ends where a sentence may.

    >>> ends_sentence('He said "stop."'), ends_sentence("and then")
    (True, False)
    """
    return _END.search(text) is not None


def joined(cues: Iterable[Cue]) -> Iterator[Turn]:
    """Turns of cues: those of one speaker that follow each other, or are of one sentence, are one.

    >>> cues = [Cue("Ann", "We ship", 0, 1, 1), Cue("Ann", "on Friday.", 5, 6, 4)]
    >>> [turn.text for turn in joined(cues)]
    ['We ship on Friday.']
    """
    first: Cue | None = None
    texts: list[str] = []
    size = 0
    end: float | None = None
    for cue in cues:
        if not cue.text:
            continue
        if first is not None and not (
            cue.speaker == first.speaker
            and not cue.new
            and size + 1 + len(cue.text) <= LONGEST
            and _goes_on(texts[-1], end, cue.start)
        ):
            yield _turn(first, texts)
            first = None
        if first is None:
            first, texts, size = cue, [], -1
        texts.append(cue.text)
        size += 1 + len(cue.text)
        end = cue.end
        if end is None:  # nothing can join it, so it need not wait for what comes
            yield _turn(first, texts)
            first = None
    if first is not None:
        yield _turn(first, texts)


def _turn(first: Cue, texts: Iterable[str]) -> Turn:
    return Turn(first.speaker, " ".join(texts), first.start, first.place)


def _goes_on(text: str, end: float | None, start: float | None) -> bool:
    if end is None or start is None:
        return False
    return start - end < (_PAUSE if ends_sentence(text) else _SENTENCE_PAUSE)
