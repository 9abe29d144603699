"""How much a model reads at once: `context_window("gpt-4o")`, from a kept table.

The table is `data/context_windows.json`, with its sources and date. A name stands for its family:
`openai/gpt-4o-2024-08-06` is `gpt-4o`. What may follow a name is listed here and nothing else is
passed over, because a word nobody knows ("-32k", "-realtime") may well change the window.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag_memory_plugins.errors import InvalidInput

__all__ = ["Window", "context_window"]

TABLE: Final = Path(__file__).with_name("data") / "context_windows.json"

# Words that may follow any family, and words that only a host (after a colon) or a size makes safe:
# "gpt-5.2-chat" reads a third of what "gpt-5.2" does, "llama2:7b-chat" the same as "llama2".
_VARIANT: Final = r"""
    \d{4}-\d\d-\d\d | \d\d-\d{4} | \d\d-\d\d | \d{8} | \d{6} | \d{3,4}     # 2024-08-06, 0613, 001
  | latest|preview|exp|experimental|stable|default|instruct(?:-turbo)?|it|hf|maas
  | (?<=:)(?:free|nitro|floor|online|beta|thinking|instruct|text|chat|cloud)
  | (?<=b-)(?:chat|text|thinking|cloud)
  | v\d+(?:\.\d+)? | v?\d+:\d+                                                 # v0.3, v1:0
  | e?\d+(?:\.\d+)?b | \d\d+m | a\d+(?:\.\d+)?b | \d+x\d+b | \d+e             # 8b, a22b, 16e
  | i?q\d(?:_\w+)? | bf16 | fp?(?:8|16|32) | int[48] | mxfp4 | awq | gptq | gguf | qat
"""
_TAIL: Final = rf"(?:[-:@](?:{_VARIANT}))*"
_REGION: Final = re.compile(r"^(?:[a-z-]+\.)+(?=[a-z])")  # Bedrock: us.anthropic.claude-...


@dataclass(frozen=True)
class Window:
    """Tokens a model reads and writes at once, and the most it writes; `output` None if unknown.

    >>> context_window("openai/gpt-4o-2024-08-06")
    Window(tokens=128000, output=16384)
    """

    tokens: int
    output: int | None = None


def context_window(name: str) -> Window:
    """The window of a model by the name its provider, a router or Ollama gives it.

    The host may serve less: Ollama gives any model 4,096 tokens by default on a small machine, and
    cuts the prompt without a word. Raises `InvalidInput` for a name that is not in the table.
    """
    if not isinstance(name, str):
        raise InvalidInput("model", name, "pass the model's name, a str")
    row = _found(name.strip().lower())
    if row is None:
        close = difflib.get_close_matches(name.strip().lower(), _table(), n=3, cutoff=0.5)
        hint = f"the nearest known are {', '.join(map(repr, close))}; " if close else ""
        remedy = f"it is not in the table of context windows; {hint}pass window=TOKENS"
        raise InvalidInput("model", name, remedy)
    return _table()[row]


@functools.lru_cache(maxsize=256)
def _found(name: str) -> str | None:
    """The row of a name, as it is or with less before it: a host, a region, `ft:`."""
    parts = name.split("/")
    for start in range(len(parts)):
        rest = "/".join(parts[start:])
        tries = (rest, _REGION.sub("", rest, count=1)) if start == len(parts) - 1 else (rest,)
        for text in (part for rest in tries for part in (rest, _tuned(rest))):
            match = _pattern().fullmatch(text)
            if match and match.lastindex:
                return list(_table())[match.lastindex - 1]
    return None


def _tuned(name: str) -> str:
    """`ft:gpt-4o-2024-08-06:org::id` without what is not the model's."""
    return name.split(":")[1] if name.startswith("ft:") else name


@functools.cache
def _table() -> dict[str, Window]:
    """Rows, longest name first, so that the first that matches is the nearest."""
    groups = json.loads(TABLE.read_text(encoding="utf-8"))["models"].values()
    rows = [(name, Window(*numbers)) for group in groups for name, numbers in group.items()]
    return dict(sorted(rows, key=lambda row: (-len(row[0]), row[0])))


@functools.cache
def _pattern() -> re.Pattern[str]:
    """One group for each row of the table, then what may follow."""
    names = "|".join(f"({_flexible(name)})" for name in _table())
    return re.compile(rf"(?:{names}){_TAIL}", re.VERBOSE)


def _flexible(name: str) -> str:
    """llama-3.1, llama3.1 and llama3-1 are one name; so are gemma3:1b and gemma-3-1b."""
    spaced = re.sub(r"(?<=[a-z])-?(?=\d)", "~", name)
    spaced = re.sub(r"(?<=\d)-(?=\d)", "^", spaced)
    table = {"~": "[-:]?", "^": r"[-.:]", "-": "[-:]", ".": r"[-.]"}
    return "".join(table.get(sign, re.escape(sign)) for sign in spaced)
