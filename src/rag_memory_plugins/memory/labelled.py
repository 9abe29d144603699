"""What a model was shown under labels, and the lines of a summary that it wrote of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rag_memory_plugins.llm.asking import MayPass, sendable
from rag_memory_plugins.llm.reading import json_values
from rag_memory_plugins.memory.statements import united
from rag_memory_plugins.results import SummaryLine

__all__ = ["Source", "flat", "read"]

WEIGHT: Final = 3.0
"""Of a line without one, in the middle of 1 to 5."""
_LABEL: Final = re.compile(r"\b[SM]\d+\b")


@dataclass(frozen=True)
class Source:
    """What a label of the prompt stands for."""

    ids: tuple[str, ...]
    time: datetime
    speaker: str
    text: str


def flat(text: str) -> str:
    """In one line, without what a `Message` refuses."""
    return " ".join(sendable(text).split())


def read(
    answer: str, sources: Mapping[str, Source], name: str, *, may_be_empty: bool
) -> list[tuple[SummaryLine, float]]:
    """The lines of an answer. Raises `MayPass`, without the answer: it may quote what was said."""
    items = _items(answer)
    if items is None:
        raise MayPass(f"{name} gave no summary, but {len(answer)} characters of something else")
    found = [line for item in items if (line := _line(item, sources)) is not None]
    if not found and (items or not may_be_empty):
        raise MayPass(f"{name} gave {len(items)} lines, none of which rests on what it was shown")
    return found


def _items(answer: str) -> list[Any] | None:
    """The entries of the answer's list, None when there is no whole list.

    One that was cut off is no list: its end, which is lost, may be what matters most.
    """
    values = json_values(answer)
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("lines"), list):
            return list(value["lines"])
    if len(values) == 1 and isinstance(values[0], list):
        return values[0]
    one_a_line = answer.strip().strip("`").removeprefix("json").strip()
    if values and one_a_line.startswith("{") and one_a_line.endswith("}"):
        whole = [value for value in values if isinstance(value, dict) and "text" in value]
        return whole if len(whole) == len(values) and '"lines"' not in answer else None
    return None


def _line(item: Any, sources: Mapping[str, Source]) -> tuple[SummaryLine, float] | None:
    """(line, weight) of an entry; None when it says nothing or rests on nothing."""
    if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
        return None
    known = set(_LABEL.findall(str(item.get("refs")).upper()))
    rests_on = [source for label, source in sources.items() if label in known]
    text = flat(item["text"])
    if not text or not rests_on:
        return None
    newest = max(rests_on, key=lambda source: source.time)
    speakers = {source.speaker for source in sources.values()} - {""}
    if newest.speaker and not any(text.startswith(f"{speaker}: ") for speaker in speakers):
        text = f"{newest.speaker}: {text}"
    ids = united(*(source.ids for source in rests_on))
    return SummaryLine(text, newest.time, ids), _weight(item.get("weight"))


def _weight(value: object) -> float:
    try:
        weight = float(str(value))
    except ValueError:
        return WEIGHT
    return weight if math.isfinite(weight) else WEIGHT
