"""Token counters that never touch the network.

| name | what counts | exact |
|---|---|---|
| `cl100k_base`, `o200k_base` | tiktoken, with the file that llama-index-core ships | yes |
| `upper` | UTF-8 bytes / 2 or 1.3 tokens a word, the larger, plus 10 % | no |
| `words` | 1.3 tokens a word | no |
| `characters` | 4 characters a token; four times too low for Chinese or Japanese | no |

A message costs what OpenAI's cookbook says ("How to count tokens with tiktoken"): 3 tokens of
framing, 1 for its role, 1 and its text for a name, and 3 once for the reply that follows. No rule
is published for tool calls: each counts as name and arguments with 3 tokens of framing, without
its id. `exact` is about text: other providers frame messages with a few tokens more or less.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import os
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput, MissingExtra, nearest
from rag_memory_plugins.forgetting import keeps_texts

if TYPE_CHECKING:
    import tiktoken

    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.types import Image, Message

__all__ = [
    "COUNTERS",
    "REPLY_TOKENS",
    "CharEstimate",
    "TiktokenCounter",
    "UpperEstimate",
    "WordEstimate",
    "image_tokens",
    "make_counter",
    "message_tokens",
]

REPLY_TOKENS: Final = 3  # what the start of the model's reply costs, once a request
_FRAME_TOKENS: Final = 3
_ROLE_TOKENS: Final = 1  # each of the four is one token in both encodings
_MOST_TILES: Final = 8  # 4 along at most 2048 pixels, 2 along at most 768
_CACHED_MESSAGES: Final = 16_384
_LONG_GAP: Final = 500_000  # of whitespace; tiktoken 0.14 panics past 999,523 characters
_KNOWN_LINES: Final = 4_096
_LONGEST_LINE: Final = 1_000  # characters of a line whose count is remembered: 4 MB of ASCII in all
_GAP: Final = re.compile(rf"(?<!\s)\s{{{_LONG_GAP + 1},}}")  # tried only where a gap begins
# Both encodings cut a text after a line break that a letter or digit follows, whatever stands around
# it, and merge nothing across a cut: the counts of the parts add up to that of the whole.
_LINE_END: Final = re.compile(r"\n(?=[A-Za-z0-9])")


# The file's name in a cache folder (tiktoken takes the sha1 of its address), its sha256, and the
# pattern of tiktoken's openai_public (MIT), which tiktoken hands out only after loading the file
# its own way: by a download when it is not there.
_VOCABULARIES: Final = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
            r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
    ),
}


def image_tokens(image: Image) -> int:
    """Tokens of an image by OpenAI's rule for gpt-4o and gpt-4.1 (its guide "Images and vision").

    `low` detail: 85. Otherwise the image is shrunk, never enlarged, into 2048 x 2048 and then to
    a short side of 768, and costs 85 and 170 for each tile of 512 x 512 that it touches. Unknown
    size: the most this rule can give, 85 + 8 * 170 = 1,445. `auto` counts as `high`. Other models
    and providers have rules of their own.
    """
    if image.detail == "low":
        return 85
    if not (image.width and image.height):
        return 85 + _MOST_TILES * 170
    short, long = sorted((image.width, image.height))
    from fractions import Fraction  # exact, and rarely needed

    scale = min(Fraction(1), Fraction(2048, long), Fraction(768, short))
    return 85 + ceil(short * scale / 512) * ceil(long * scale / 512) * 170


def message_tokens(message: Message, count: Callable[[str], int]) -> int:
    """Tokens of one message in a chat request, its texts counted by `count`."""
    tokens = _FRAME_TOKENS + _ROLE_TOKENS + count(message.content)
    if message.name:
        tokens += 1 + count(message.name)
    for call in message.tool_calls:
        tokens += _FRAME_TOKENS + count(call.name) + count(call.arguments)
    return tokens + sum(map(image_tokens, message.images))


class _Counter(ABC):
    """The port's batch and message methods on top of `count`."""

    name: str
    exact: bool = False

    def __init__(self) -> None:
        # An id is the caller's and comes again in other namespaces: only with the digest of the
        # content does it say what was counted.
        self._counted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = Lock()

    @abstractmethod
    def count(self, text: str) -> int: ...

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def count_messages(self, messages: Sequence[Message]) -> int:
        """The sum of `message_tokens`, and `REPLY_TOKENS` unless there are no messages."""
        return sum(map(self._count_message, messages)) + (REPLY_TOKENS if messages else 0)

    def _count_message(self, message: Message) -> int:
        key = (message.id, message.digest)
        with self._lock:
            known = self._counted.get(key)
            if known is not None:
                self._counted.move_to_end(key)
                return known
        # Outside the lock: two threads may count one message twice, none waits for a long text.
        tokens = message_tokens(message, self.count)
        with self._lock:
            self._counted[key] = tokens
            if len(self._counted) > _CACHED_MESSAGES:
                self._counted.popitem(last=False)
        return tokens

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})" if self.exact else f"{type(self).__name__}()"


class TiktokenCounter(_Counter):
    """tiktoken's count, from a local file: "cl100k_base" (GPT-4) or "o200k_base" (GPT-4o and later).

    The file is looked for in llama-index-core, which is not imported, then in TIKTOKEN_CACHE_DIR
    and DATA_GYM_CACHE_DIR, and its sha256 is checked. Text like `<|endoftext|>` is ordinary text.
    The first counter of an encoding reads it in 0.2 to 0.3 s. Counting time grows in step with
    the text: 0.4 s for a word of a million letters. In a gap of more than 500,000 characters,
    which can make tiktoken panic, every UTF-8 byte counts as a token: too many, never too few.
    Raises `MissingExtra` without an intact file, `InvalidInput` for an unknown encoding.

    >>> TiktokenCounter("cl100k_base").count("hello world")
    2
    """

    exact = True

    def __init__(self, encoding: str = "cl100k_base") -> None:
        super().__init__()
        if encoding not in _VOCABULARIES:
            raise InvalidInput("encoding", encoding, nearest(str(encoding), _VOCABULARIES))
        self.name = encoding
        self._encoding = _load(encoding)

    def count(self, text: str) -> int:
        tokens = start = 0
        for gap in _GAP.finditer(text) if len(text) > _LONG_GAP else ():
            # The last character is left to what follows: the encodings cut there too, since a
            # word takes one space along, so that the words around count as they would.
            end = gap.end() - 1
            tokens += self._count(text[start : gap.start()])
            tokens += len(text[gap.start() : end].encode())
            start = end
        return tokens + self._count(text[start:])

    def _count(self, text: str) -> int:
        if "\n" not in text:
            return self._line(text)
        *lines, last = _LINE_END.split(text)
        return sum(map(self._line, [f"{line}\n" for line in lines])) + self._line(last)

    def _line(self, line: str) -> int:
        if len(line) <= _LONGEST_LINE:
            return _line_tokens(self.name, line)
        return len(self._encoding.encode_ordinary(line))


class UpperEstimate(_Counter):
    """The larger of UTF-8 bytes / 2 and 1.3 tokens a word, plus 10 %, rounded up.

    The count for want of tiktoken's file. It is above the true one for prose in most languages
    and for files of source code, where it is about twice as high. It is below where tokens are
    short: the true count was up to 1.2 times as high in JSON and lines of code, 1.3 in emoji, 1.5
    in UUIDs, base64 and formulas, 1.8 in Amharic, rare Chinese and random characters. It cannot
    be more than 1.82 times as high, a token being a byte at least.

    >>> UpperEstimate().count("hello world")
    7
    """

    name = "upper"

    def count(self, text: str) -> int:
        tenths = max(5 * len(text.encode(errors="surrogatepass")), 13 * len(text.split()))
        return -(-11 * tenths // 100)


class WordEstimate(_Counter):
    """1.3 tokens a word, rounded up: for prose in Latin letters; a text without spaces is a word.

    >>> WordEstimate().count("hello world")
    3
    """

    name = "words"

    def count(self, text: str) -> int:
        return -(-13 * len(text.split()) // 10)


class CharEstimate(_Counter):
    """Four characters a token, rounded up: for English; four times too low for Chinese.

    >>> CharEstimate().count("hello world")
    3
    """

    name = "characters"

    def count(self, text: str) -> int:
        return -(-len(text) // 4)


COUNTERS: Final[dict[str, Callable[[], TokenCounter]]] = {
    **{name: functools.partial(TiktokenCounter, name) for name in _VOCABULARIES},
    **{estimate.name: estimate for estimate in (UpperEstimate, WordEstimate, CharEstimate)},
}
"""What `make_counter` makes, by name."""


def make_counter(spec: str | TokenCounter | None = None) -> TokenCounter:
    """A counter by its name, or the one that is given.

    None means cl100k_base, or the upper estimate where tiktoken's file is not to be had. Raises
    `InvalidInput` for an unknown name, `MissingExtra` for a named encoding without its file.

    >>> make_counter("upper")
    UpperEstimate()
    """
    if spec is None:
        try:
            return TiktokenCounter("cl100k_base")
        except MissingExtra:
            return UpperEstimate()
    if isinstance(spec, str):
        if spec not in COUNTERS:
            raise InvalidInput("counter", spec, nearest(spec, COUNTERS))
        return COUNTERS[spec]()
    members = ("name", "exact", "count", "count_batch", "count_messages")
    if isinstance(spec, type) or not all(hasattr(spec, member) for member in members):
        remedy = f"pass a TokenCounter object, or one of {', '.join(COUNTERS)}"
        raise InvalidInput("counter", spec, remedy)
    return spec


@keeps_texts
@functools.lru_cache(maxsize=_KNOWN_LINES)
def _line_tokens(encoding: str, line: str) -> int:
    """Tokens of a line. Contexts show the same lines again: counting one takes fifty times longer."""
    return len(_load(encoding).encode_ordinary(line))


@functools.cache
def _load(name: str) -> tiktoken.Encoding:
    """The encoding, read once a process; a file that is missing is looked for again next time."""
    import tiktoken

    ranks = {}
    for line in _read(name).splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    pattern = _VOCABULARIES[name][2]
    # No special tokens: what looks like one in a remembered text is text.
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _read(name: str) -> bytes:
    file, sha256, _ = _VOCABULARIES[name]
    for folder in _folders():
        with suppress(OSError):
            data = (folder / file).read_bytes()
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
    raise MissingExtra("llama-index", f"counter {name!r} (no intact tiktoken file was found)")


def _folders() -> Iterator[Path]:
    """Where tiktoken's files may lie; nothing of LlamaIndex is imported to find out."""
    with suppress(ValueError):  # a stand-in in sys.modules has no __spec__
        spec = importlib.util.find_spec("llama_index")
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location, "core", "_static", "tiktoken_cache")
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if folder := os.environ.get(variable):
            yield Path(folder)
