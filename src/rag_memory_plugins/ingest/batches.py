"""A transcript in batches of turns, for whoever stores them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from rag_memory_plugins.errors import InvalidFile
from rag_memory_plugins.ingest.lines import TextLines
from rag_memory_plugins.ingest.transcripts import (
    Kind,
    Turn,
    detect_transcript,
    read_transcript,
    told_start,
)

__all__ = ["Batch", "Source"]

BATCH: Final = 200
_BATCH_CHARACTERS: Final = 2_000_000  # 200 turns of a megabyte must not be held at once


@dataclass
class Batch:
    """The next turns of a file.

    `first` is the position of the first of them, from 0, `read` the bytes read so far, `error` what
    ended the file before its end.
    """

    first: int
    turns: list[Turn]
    read: int
    error: InvalidFile | None = None


class Source:
    r"""A transcript that is read a batch at a time; it blocks, and belongs into a thread.

    `told` is when the talk began as the file says, `changed` when the file was. Raises
    `InvalidFile` for what is no transcript.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "talk.txt")
    >>> _ = path.write_text("Ann: Hello\nBob: Hi")
    >>> source = Source(path, None)
    >>> [turn.speaker for turn in source.next().turns], source.next().turns
    (['Ann', 'Bob'], [])
    >>> source.close(); folder.cleanup()
    """

    def __init__(self, path: Path, kind: Kind | None) -> None:
        self.path = path
        self.kind = kind or detect_transcript(path)
        self.told = told_start(path, self.kind)
        self._lines = TextLines(path)
        self.size = self._lines.size
        self.changed = datetime.fromtimestamp(self._lines.changed, timezone.utc)
        self._turns: Iterator[Turn] = read_transcript(self._lines, self.kind, str(path))
        self._count = 0

    def next(self) -> Batch:
        """The next batch; what is good before an error is in it. No turns: the end."""
        batch = Batch(self._count, [], self._lines.read)
        size = 0
        try:
            for turn in self._turns:
                batch.turns.append(turn)
                size += len(turn.text)
                if len(batch.turns) >= BATCH or size >= _BATCH_CHARACTERS:
                    break
        except InvalidFile as error:
            batch.error = error
        self._count += len(batch.turns)
        batch.read = self._lines.read
        return batch

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._lines.close()
