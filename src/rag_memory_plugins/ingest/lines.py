"""Lines of a text file, decoded as they are read."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator
from io import IncrementalNewlineDecoder
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidFile

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Numbered", "TextLines", "numbered"]

MAX_LINE: Final = 2**20  # characters; a longer line is no speech, and would fill the memory
CHUNK: Final = 2**16
_ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_BINARY: Final = (
    (b"PK\x03\x04", "a zip archive or an Office document", "save the transcript as text or WebVTT"),
    (b"%PDF", "a PDF", "save the transcript as text or WebVTT"),
)

Numbered = tuple[int, str]
"""A line's number, from 1, and the line without its end."""


class TextLines:
    r"""The lines of a file without their ends: UTF-8, or UTF-16 with a byte order mark.

    Iterated once; one chunk is held at a time. `read` counts bytes so far, `size` is the file's,
    `changed` when it was, in seconds since 1970.
    Raises `InvalidFile`, with the line, for what is no such text.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "talk.txt")
    >>> _ = path.write_bytes("Ann: hi\r\nBob: ho".encode("utf-16"))
    >>> with TextLines(path) as lines: list(lines)
    ['Ann: hi', 'Bob: ho']
    >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self._number = 1
        try:
            if path.is_dir() or (path.exists() and not path.is_file()):
                raise InvalidFile(str(path), "no regular file", "pass the path of a file")
            self._file = path.open("rb")
            state = os.fstat(self._file.fileno())
            self.size, self.changed = state.st_size, state.st_mtime
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if isinstance(error, InvalidFile):
                raise
            remedy = "pass the path of a file that you may read"
            got = error.strerror if isinstance(error, OSError) else None
            raise InvalidFile(str(path), got or str(error), remedy) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def __iter__(self) -> Iterator[str]:
        chunk = self._bytes()
        name, shown = self._encoding(chunk)
        decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder(name)(), translate=True)
        rest = ""
        while True:
            text = rest + self._decoded(decoder, chunk, shown)
            if not chunk:
                break
            *lines, rest = text.split("\n")
            if len(rest) > MAX_LINE:
                self._refuse(f"a line over {MAX_LINE} characters", "break it into lines")
            for line in lines:
                yield line
                self._number += 1
            chunk = self._bytes()
        if text:
            yield from text.split("\n")

    def _bytes(self) -> bytes:
        try:
            chunk = self._file.read(CHUNK)
        except OSError as error:
            raise InvalidFile(
                str(self.path), error.strerror or str(error), "the file cannot be read on"
            ) from error
        self.read += len(chunk)
        return chunk

    def _encoding(self, head: bytes) -> tuple[str, str]:
        for mark, what, remedy in _BINARY:
            if head.startswith(mark):
                self._refuse(what, remedy)
        for mark, name, shown in _ENCODINGS:
            if head.startswith(mark):
                return name, shown
        return "utf-8", "UTF-8"

    def _decoded(self, decoder: IncrementalNewlineDecoder, chunk: bytes, shown: str) -> str:
        try:
            text: str = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good = error.object[: error.start]
            self._number += good.count(b"\n")
            got = f"bytes that are not {shown} ({error.reason})"
            self._refuse(got, "save it as UTF-8, or as UTF-16 with a byte order mark", error)
        if "\x00" in text:
            self._number += text[: text.index("\x00")].count("\n")
            self._refuse("a NUL character", "it is no text; save the transcript as UTF-8 text")
        return text

    def _refuse(self, got: str, remedy: str, cause: Exception | None = None) -> None:
        raise InvalidFile(f"{self.path}, line {self._number}", got, remedy) from cause


def numbered(lines: Iterable[str]) -> Iterator[tuple[Numbered, str | None]]:
    r"""Each line with its number, and the line behind it, None behind the last.

    >>> list(numbered(["a\n", "b"]))
    [((1, 'a'), 'b'), ((2, 'b'), None)]
    """
    before: Numbered | None = None
    for number, line in enumerate(lines, 1):
        plain = line.rstrip("\r\n")
        if number == 1:
            plain = plain.removeprefix("\ufeff")
        if before is not None:
            yield before, plain
        before = (number, plain)
    if before is not None:
        yield before, None
