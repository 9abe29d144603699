"""Keys and names in few bytes: a `Codebook` says frequent pieces in one byte, and UUIDs in 17.

Read back exactly. Pieces, once released, keep their place: what is in a server was written by it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from rag_memory_plugins.forgetting import keeps_texts

__all__ = ["KEYS", "NAMES", "Codebook"]

_ESCAPE: Final = 0x01  # what follows is one byte as it is
_UUID: Final = 0x02  # what follows are its 16 bytes
_FIRST: Final = 0x03
_UUID_FORM: Final = rb"(?:\A|(?<=/))[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|\Z)"


class Codebook:
    r"""Texts as bytes and back. With `at_start`, a piece is said in one byte at a text's start alone.

    >>> book = Codebook(("model/", "/sent"))
    >>> book.encode("model/small/sent")
    b'\x03small\x04'
    >>> book.decode(b"\x03small\x04")
    'model/small/sent'
    """

    def __init__(self, pieces: Sequence[str], *, at_start: bool = False) -> None:
        if len(pieces) > 0x20 - _FIRST:
            raise ValueError(f"{len(pieces)} pieces: a control character stands for each")
        self._pieces = [piece.encode() for piece in pieces]
        self._codes = {piece: bytes([_FIRST + n]) for n, piece in enumerate(self._pieces)}
        longest_first = sorted(self._pieces, key=len, reverse=True)
        known = b"|".join(map(re.escape, longest_first)) or rb"(?!)"
        start = rb"\A" if at_start else b""
        self._long = re.compile(
            b"|".join((_UUID_FORM, start + b"(?:" + known + b")", rb"[\x00-\x1f]"))
        )
        self._short = re.compile(rb"\x01([\x00-\xff])|\x02([\x00-\xff]{16})|[\x03-\x1f]")
        # Names are few and asked for at every turn; keys are many, and told twice at most.
        self.encode = (
            self._encode if at_start else keeps_texts(functools.lru_cache(4096)(self._encode))
        )

    def _encode(self, text: str) -> bytes:
        return self._long.sub(self._shorter, text.encode(errors="surrogatepass"))

    def decode(self, short: bytes) -> str:
        return self._short.sub(self._longer, short).decode(errors="surrogatepass")

    def beginnings(self, prefix: str) -> list[bytes]:
        """Bytes with one of which every encoded text begins that begins with `prefix`.

        Others may too. For a codebook with `at_start`.
        """
        whole = prefix[: prefix.rfind("/") + 1]  # a part that ends is encoded by itself
        pieces = [code for piece, code in self._codes.items() if piece.startswith(whole.encode())]
        return [b""] if not whole else list({*pieces, self.encode(whole)})

    def _shorter(self, found: re.Match[bytes]) -> bytes:
        piece = found[0]
        if piece in self._codes:
            return self._codes[piece]
        return bytes([_ESCAPE, *piece]) if len(piece) == 1 else b"\x02" + UUID(piece.decode()).bytes

    def _longer(self, found: re.Match[bytes]) -> bytes:
        if found[1] is not None:
            return found[1]
        if found[2] is not None:
            return str(UUID(bytes=found[2])).encode()
        return self._pieces[found[0][0] - _FIRST]


KEYS: Final = Codebook(("usage/conversation/", "usage/tenant/"), at_start=True)
"""Keys of a `SharedState`."""

NAMES: Final = Codebook(
    (
        "contexts",
        "sent",
        "history",
        "/contexts",
        "/sent",
        "/history",
        "day/",
        "mode/",
        "part/",
        "model/",
        "mode/full/",
        "mode/balanced/",
        "mode/safe/",
        "part/anchors",
        "part/facts",
        "part/summary",
        "part/recent",
        "part/retrieved",
        "part/system",
        "part/question",
        "held ",
    )
)
"""Names of numbers."""
