"""Conversations of many shapes with questions, and documents cut into turns.

`talks` reads a file of JSON lines: a line with `shape` opens a conversation (`talk`, `language`),
one with `content` is a message as `Message.to_dict` writes it, with `talk` and `session`, and one
with `text` is a question with its `evidence` (ids of messages) and `kind`. Evidence is every
message that is needed to answer, and none that only repeats one.

`documents` reads a folder of `corpora/NAME.md` and `questions.csv` (`question`, `corpus_id`,
`references`: JSON spans with `start_index` and `end_index`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import BadData
from rag_memory_plugins import Message
from rag_memory_plugins.errors import RagMemoryError
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["Asked", "Chat", "documents", "talks"]

COUNTER: Final = "cl100k_base"
MOST_TOKENS: Final = 120
MOST_SENTENCES: Final = 4
SENTENCE: Final = re.compile(r"[^.!?\n]*(?:[.!?]+(?=\s|$)\s*|[.!?]|\n\s*|$)")
START: Final = datetime(2025, 1, 6, 9, tzinfo=timezone.utc)
SECONDS_APART: Final = 20

Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True)
class Asked:
    """A question, its kind, and the ids of the messages that answer it; at least one."""

    text: str
    kind: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Chat:
    """One conversation: its sessions' messages in order, and what is asked about them."""

    name: str
    language: str
    shape: str
    sessions: dict[str, list[Message]] = field(default_factory=dict)
    questions: list[Asked] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """Every message, session by session."""
        return [message for messages in self.sessions.values() for message in messages]


def talks(path: str | Path) -> list[Chat]:
    """The conversations of a file of JSON lines. Raises `BadData`, naming the line."""
    chats: dict[str, Chat] = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"--data: {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            _put(chats, json.loads(line))
        except KeyError as error:
            raise BadData(f"--data: {path} line {number}: no field or talk {error}") from error
        except (TypeError, ValueError, AttributeError, RagMemoryError) as error:
            raise BadData(f"--data: {path} line {number}: {error}") from error
    return list(chats.values())


def _put(chats: dict[str, Chat], item: dict[str, Any]) -> None:
    name = item.pop("talk")
    if "shape" in item:
        chats[name] = Chat(name, item["language"], item["shape"])
    elif "text" in item:
        asked = Asked(item["text"], item["kind"], frozenset(item["evidence"]))
        chats[name].questions.append(asked)
    else:
        session = item.pop("session")
        chats[name].sessions.setdefault(session, []).append(Message.from_dict(item))


def documents(folder: str | Path) -> list[Chat]:
    """Each corpus as one session of turns, with the questions that have a gold span in it."""
    counter = make_counter(COUNTER)
    if not counter.exact:
        raise BadData(f"{COUNTER} is not here: install the extra `llama-index`")
    asked = _questions(Path(folder))
    try:
        corpora = sorted(Path(folder, "corpora").glob("*.md"))
        texts = {path.stem: path.read_text(encoding="utf-8") for path in corpora}
    except OSError as error:
        raise BadData(f"--chunking: {folder} cannot be read: {error.strerror}") from error
    return [_document(name, text, asked.get(name, []), counter) for name, text in texts.items()]


def _questions(folder: Path) -> dict[str, list[tuple[str, list[Span]]]]:
    """By corpus: questions with their gold spans."""
    found: dict[str, list[tuple[str, list[Span]]]] = {}
    try:
        with (folder / "questions.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                golds = json.loads(row["references"])
                spans = [(int(gold["start_index"]), int(gold["end_index"])) for gold in golds]
                found.setdefault(row["corpus_id"], []).append((row["question"], spans))
    except OSError as error:
        raise BadData(f"--chunking: {error.filename} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"--chunking: questions.csv is not of that shape: {error}") from error
    return found


def _document(
    name: str, text: str, questions: list[tuple[str, list[Span]]], counter: TokenCounter
) -> Chat:
    turns = {f"{name}-{at:05}": span for at, span in enumerate(_turns(text, counter))}
    messages = [
        Message(
            "user",
            text[start:end].strip(),
            id=key,
            time=START + timedelta(seconds=SECONDS_APART * at),
        )
        for at, (key, (start, end)) in enumerate(turns.items())
    ]
    asked = [Asked(question, name, _holding(text, spans, turns)) for question, spans in questions]
    return Chat(name, "en", "document", {"reading": messages}, [q for q in asked if q.evidence])


def _holding(text: str, golds: list[Span], turns: Mapping[str, Span]) -> frozenset[str]:
    """The turns that share more than white space with a gold span."""
    return frozenset(
        key
        for key, (start, end) in turns.items()
        for first, last in golds
        if text[max(start, first) : min(end, last)].strip()
    )


def _turns(text: str, counter: TokenCounter) -> Iterator[Span]:
    """Spans of up to four sentences and 120 tokens that follow each other; none is blank."""
    start = end = tokens = sentences = 0
    for first, last in _sentences(text, counter):
        size = counter.count(text[first:last])
        if sentences and (sentences == MOST_SENTENCES or tokens + size > MOST_TOKENS):
            yield start, end
            start, tokens, sentences = first, 0, 0
        end, tokens, sentences = last, tokens + size, sentences + 1
    if sentences:
        yield start, end


def _sentences(text: str, counter: TokenCounter) -> Iterator[Span]:
    """Spans of sentences that are not blank, the longest cut at a space near their middle."""
    for match in SENTENCE.finditer(text):
        waiting = [match.span()]
        while waiting:
            start, end = waiting.pop()
            piece = text[start:end]
            cut = piece.find(" ", len(piece) // 2) + 1
            if cut and cut < len(piece) and counter.count(piece) > MOST_TOKENS:
                waiting += [(start + cut, end), (start, start + cut)]
            elif piece.strip():
                yield start, end
