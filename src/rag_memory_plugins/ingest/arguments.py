"""The arguments of `Memory.ingest` and `ingest_files`, checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.ingest.results import Progress
from rag_memory_plugins.ingest.transcripts import Kind, checked_kind

__all__ = ["Options", "checked_path", "checked_paths"]


@dataclass(frozen=True)
class Options:
    """How files are read. Raises `InvalidInput` for a kind, start or progress that cannot be used."""

    kind: Kind | None = None
    start: datetime | None = None
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            checked_kind(self.kind)
        start = self.start
        if start is not None and (not isinstance(start, datetime) or start.utcoffset() is None):
            raise InvalidInput("start", start, "pass a datetime with a timezone, as tzinfo=UTC")
        if self.progress is not None and not callable(self.progress):
            raise InvalidInput("progress", self.progress, "pass a function of one Progress")


def checked_paths(paths: object, concurrency: object) -> list[Path]:
    """The files, each under a name of its own. Raises `InvalidInput`."""
    if isinstance(paths, (str, bytes, os.PathLike)) or not isinstance(paths, Iterable):
        raise InvalidInput("paths", paths, "pass a list of paths; ingest() takes one")
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise InvalidInput("concurrency", concurrency, "pass how many files at a time, from 1")
    found = [checked_path(path) for path in paths]
    names = Counter(path.name for path in found)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        remedy = "two files of one name would share a session: ingest each into one you name"
        raise InvalidInput("paths", twice[0], remedy)
    return found


def checked_path(path: object) -> Path:
    """A path. Raises `InvalidInput`."""
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise InvalidInput("path", path, "pass the path of a file")
    return Path(path)
