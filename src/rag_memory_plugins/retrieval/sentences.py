"""A text as sentences: spans that, put together, are the text again.

Boundaries are those of sentencex (Wikimedia) by its English rules, which know the full stops of
other scripts too. What it leaves long is cut further: inside quotes and brackets, where it cuts
nothing and one missing bracket can swallow a page; then at line breaks (code, tables, lists); then
between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from rag_memory_plugins.forgetting import keeps_texts

__all__ = ["LONGEST", "passages", "sentences"]

LONGEST: Final = 400
"""Characters of the longest sentence, blanks at its end apart: about 100 tokens of English.

Of every hundred sentences of prose 97 are shorter (scientific articles, encyclopedia), so prose is
seldom cut, and what is cut is still read whole by an embedder of 256 tokens, in dense scripts too.
"""
SHORT: Final = 160
"""Characters up to which a text is one passage: its own vector says as much as its sentences'."""
MOST_PASSAGES: Final = 48
"""Of a longer text neighbouring sentences are taken together."""
KEPT: Final = 10_000
"""Characters of the longest text whose passages are remembered: 20 MB for 2,048 of them."""
BLOCK: Final = 8_000
"""Characters given to sentencex at a time: it compares every sentence with every quote of its
paragraph, 0.5 s for a paragraph of 118,000 characters and 5 s for four times as many."""

# sentencex panics at a blank of several bytes before an initial and refuses half a surrogate pair.
# One plain character for each keeps all places where they are.
_BLANK: Final = re.compile(r"[^\S\n]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_PAIRED: Final = re.compile("[\"'`‘’“”„«»‹›()\\[\\]{}<>「」『』《》（）]")  # noqa: RUF001 -- look-alikes are meant
_BLANKS: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"\w")


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence, in order and without a gap; [] for an empty text.

    None is longer than `LONGEST`, blanks at its end apart. Blanks, and signs without a letter or
    digit, belong to the sentence before them.

    >>> text = "Dr. Ames said so. Did she? Yes!"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Dr. Ames said so. ', 'Did she? ', 'Yes!']
    """
    if not text:
        return []
    plain = _HALF.sub("x", _BLANK.sub(" ", text))
    boundaries = {0, len(plain)}
    for start, end in _cut(plain, 0, len(plain), BLOCK):
        boundaries |= _boundaries(plain, start, end)
    return [
        piece
        for start, end in _worded(plain, sorted(boundaries))
        for piece in _cut(plain, start, end, LONGEST)
    ]


def passages(text: str) -> tuple[tuple[int, int], ...]:
    """(start, end) of what a text is searched by: its sentences, or all of it if it is short.

    At most `MOST_PASSAGES`; blanks around them are left out, and there are none of a blank text.

    >>> passages("Short. And whole.")
    ((0, 17),)
    """
    if len(text) <= SHORT:
        return ((0, len(text)),) if text.strip() else ()
    return _known_passages(text) if len(text) <= KEPT else _passages(text)


def _passages(text: str) -> tuple[tuple[int, int], ...]:
    spans = [_stripped(text, start, end) for start, end in sentences(text)]
    spans = [(start, end) for start, end in spans if start < end]
    if len(spans) > MOST_PASSAGES:
        edges = [len(spans) * n // MOST_PASSAGES for n in range(MOST_PASSAGES + 1)]
        spans = [(spans[low][0], spans[high - 1][1]) for low, high in pairwise(edges)]
    return tuple(spans)


# A conversation's contexts show the same messages turn after turn.
_known_passages: Final = keeps_texts(lru_cache(maxsize=2048)(_passages))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return end - len(part.lstrip()), start + len(part.rstrip())


def _boundaries(plain: str, start: int, end: int) -> set[int]:
    """Where sentences of plain[start:end] begin and end."""
    coarse = _breaks(plain[start:end], start)
    found = set(coarse)
    for low, high in pairwise(sorted(coarse)):
        if high - low > LONGEST:
            found |= _breaks(_PAIRED.sub(" ", plain[low:high]), low)
    return found


def _breaks(block: str, offset: int) -> set[int]:
    from sentencex import get_sentence_boundaries

    found = {offset, offset + len(block)}
    try:
        # Starts and ends both: they leave gaps where paragraphs part.
        for item in get_sentence_boundaries("en", block):
            found |= {offset + item["start_index"], offset + item["end_index"]}
    except BaseException as error:
        # A panic in Rust is no Exception, and its class cannot be imported. The block is then cut
        # by length alone: an index that cannot be built over one odd text would be worse.
        if type(error).__name__ != "PanicException":
            raise
    return found


def _worded(plain: str, boundaries: list[int]) -> Iterator[tuple[int, int]]:
    """Spans between boundaries; one without a letter or digit joins the one before it."""
    start = boundaries[0]
    held = False
    for low, high in pairwise(boundaries):
        worded = _WORD.search(plain, low, high) is not None
        if held and worded:
            yield start, low
            start = low
        held = held or worded
    yield start, boundaries[-1]


def _cut(plain: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """The span in pieces of at most `longest` characters, blanks at the end of each apart."""
    last = start + len(plain[start:end].rstrip())
    while last - start > longest:
        first, limit = _blanks_end(plain, start), start + longest
        # A mark ends its piece; the blank after a full piece is not counted.
        found = (plain.rfind(mark, first, limit + 1) + len(mark) for mark in ("\n", ". ", " "))
        at = _blanks_end(plain, next((at for at in found if at > first + 1), limit))
        yield start, at
        start = at
    yield start, end


def _blanks_end(plain: str, at: int) -> int:
    blanks = _BLANKS.match(plain, at)
    return blanks.end() if blanks else at
