"""Documents with questions about them, and where in them the answers stand.

A folder with `corpora/NAME.md` and `questions.csv`: `question`, `corpus_id` (NAME) and `references`,
a JSON list of `{"start_index", "end_index", ...}`: characters of the document.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.report import BadData

__all__ = ["Document", "Gold", "Span", "merged", "overlap", "read", "size", "split"]

Span = tuple[int, int]
"""First character and the one after the last."""
SEPARATORS: Final = ("\n\n", "\n", ". ", "? ", "! ", " ")


@dataclass(frozen=True)
class Gold:
    """A question and the spans that answer it, merged; at least one character."""

    text: str
    spans: list[Span]


@dataclass(frozen=True)
class Document:
    """A text and what is asked about it."""

    name: str
    text: str
    questions: list[Gold] = field(default_factory=list)


def read(folder: str) -> list[Document]:
    """The documents that questions are asked about. Raises `BadData`, naming the file."""
    path = Path(folder, "questions.csv")
    found: dict[str, Document] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                name = row["corpus_id"]
                if name not in found:
                    found[name] = _document(folder, name)
                found[name].questions.append(_gold(row, found[name].text, f"{path} row {number}"))
    except OSError as error:
        raise BadData(f"--data: {error.filename} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise BadData(f"--data: {path} is not of that shape: no column {error}") from error
    except (TypeError, ValueError) as error:
        raise BadData(f"--data: {path} is not of that shape: {error}") from error
    if not found:
        raise BadData(f"--data: {path} has no questions")
    return list(found.values())


def _document(folder: str, name: str) -> Document:
    path = Path(folder, "corpora", f"{name}.md")
    # Places count characters as they are: no line end may be changed.
    with path.open(encoding="utf-8", newline="") as file:
        return Document(name, file.read())


def _gold(row: dict[str, str], text: str, where: str) -> Gold:
    references = json.loads(row["references"])
    spans = merged((int(item["start_index"]), int(item["end_index"])) for item in references)
    if not spans or spans[0][0] < 0 or spans[-1][1] > len(text):
        raise BadData(f"--data: {where}: its references are not places in {row['corpus_id']}.md")
    return Gold(row["question"], spans)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same characters in order, none twice."""
    result: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def size(spans: Sequence[Span]) -> int:
    """Characters of merged spans."""
    return sum(end - start for start, end in spans)


def overlap(some: Sequence[Span], others: Sequence[Span]) -> int:
    """Characters that stand in both; each merged."""
    return sum(
        max(0, min(end, last) - max(start, first)) for start, end in some for first, last in others
    )


def split(text: str, most: int, count: Callable[[str], int]) -> list[Span]:
    """Chunks of at most `most` tokens without overlap, by the usual recursive splitter.

    Cut at the first separator that makes parts small enough (paragraph, line, sentence, word), the
    parts joined again while they fit.
    """
    return list(_split(text, 0, most, count, SEPARATORS))


def _split(
    text: str, start: int, most: int, count: Callable[[str], int], separators: Sequence[str]
) -> Iterator[Span]:
    held = start
    for at, part in _parts(text, start, separators):
        end = at + len(part)
        if count(text[held - start : end - start]) <= most:
            continue
        if held < at:
            yield held, at
        held = at
        if count(part) > most and len(part) > 1:
            yield from _split(part, at, most, count, separators[1:])
            held = end
    if held < start + len(text):
        yield held, start + len(text)


def _parts(text: str, start: int, separators: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(place, part), each part with the separator that ends it; halves when there is none left."""
    if not separators:
        middle = max(1, len(text) // 2)
        parts = [text[:middle], text[middle:]]
    else:
        pieces = text.split(separators[0])
        parts = [piece + separators[0] for piece in pieces[:-1]] + pieces[-1:]
    for part in filter(None, parts):
        yield start, part
        start += len(part)
