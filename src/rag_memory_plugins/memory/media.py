"""What a message costs beside text, images and tool calls: blocks that no rule is published for.

A sound or film costs by its bytes where nobody knows its length, a document by its text, else by
its bytes; nothing costs less than `LEAST`. Adapters of frameworks say what a block holds; the
numbers are here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.types import Message

__all__ = ["EXTRA", "LEAST", "BlockCounter", "cleaned", "media_tokens", "medium_of", "sized"]

EXTRA: Final = "rag_memory_blocks"
"""Metadata key: tokens of a message's blocks that a `Message` has no field for."""
LEAST: Final = {"audio": 256, "video": 2048, "document": 512}
"""Tokens of a medium of which nothing is known: what LlamaIndex takes it for."""
_BYTES: Final = {"audio": 500, "video": 500, "document": 8}
"""Bytes a token: 128 kbit/s at 32 tokens a second, 1 Mbit/s at 263; pages of text as a file."""
_TEXTS: Final = ("json", "xml", "yaml")
"""How the MIME types of texts end that do not begin with text/."""


class BlockCounter:
    """A counter that also counts the blocks which `sized` wrote beside a message.

    >>> from rag_memory_plugins.tokens import make_counter
    >>> from rag_memory_plugins.types import Message
    >>> counter = BlockCounter(make_counter("words"))
    >>> counter.count_messages([sized(Message("user", ""), "", media_tokens("audio", counter))])
    263
    """

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self.name = counter.name
        self.exact = counter.exact

    def count(self, text: str) -> int:
        """Tokens of one text."""
        return self._counter.count(text)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order."""
        return self._counter.count_batch(texts)

    def count_messages(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages as a chat request."""
        extra: int = sum(message.metadata.get(EXTRA, 0) for message in messages)
        return self._counter.count_messages(messages) + extra


def sized(message: Message, text: str, extra: int) -> Message:
    """`message` with `text` and the tokens of its other blocks: for counting, never for storing.

    The text is as it stands in the request: a log's rules do not hold for it.
    """
    return message.shown_as(cleaned(text), {EXTRA: extra} if extra else {})


def medium_of(kind: str, mime: str) -> str:
    """The key of `LEAST`: by the MIME type, or else by what a framework calls the block."""
    names = (mime.partition("/")[0], kind, kind.removeprefix("input_"))
    return next((name for name in names if name in LEAST), "document")


def media_tokens(
    medium: str,
    counter: TokenCounter,
    *,
    mime: str = "",
    size: int = 0,
    text: Callable[[], str] | None = None,
    known: int = 0,
) -> int:
    """Tokens of a medium: `known` ones, else those of its text, else by its `size` in bytes.

    `text` is called only if the MIME type is one of texts.
    """
    tokens = known or size // _BYTES[medium]
    if text is not None and (mime.startswith("text/") or mime.endswith(_TEXTS)):
        tokens = counter.count(text())
    return max(LEAST[medium], tokens)


def cleaned(text: str) -> str:
    """`text` with a space for every NUL and a question mark for what cannot be encoded."""
    if "\x00" in text:
        text = text.replace("\x00", " ")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
