"""A model's part, played without one: it answers with the remembered sentence that fits best.

It knows nothing but the text it is given, so its answer shows what the memory put there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["answer", "question_in"]

_FENCE: Final = re.compile(r"<(memory-[0-9a-f]+)>\n(.*?)\n</\1>\s*", re.DOTALL)
_DAY: Final = re.compile(r"\[(\d+ \w+ \d{4})\]")
_SPEAKER: Final = re.compile(r"^[^:\n]{1,40}: ")
_PREFIX: Final = "From memory, "
_COMMON: Final = frozenset(
    "a an and are as at be by did do does for from get has have how i in is it its let like me my "
    "now of on or our should so that the their there they this to too up us use used using was we "
    "what when where which who why will with would you your".split()
)


def question_in(text: str) -> str:
    """What the user asked, without the fences around remembered text."""
    return _FENCE.sub("", text).strip()


def answer(question: str, text: str) -> str:
    """The sentence inside the fences of `text` that shares most words with `question`, dated.

    Of two that fit as well the later one is taken: a decision replaces the one before it.
    """
    asked = _stems(question)
    best, best_fit = "", 0
    for day, sentence in _sentences(text):
        fit = len(asked & _stems(sentence))
        if fit and fit >= best_fit:
            best, best_fit = f"{_PREFIX}{day}: “{sentence}”", fit
    return best or "Nothing that I remember answers this."


def _sentences(text: str) -> Iterator[tuple[str, str]]:
    """(day, sentence) of remembered prose; questions, code and answers of ours are left out."""
    for fence in _FENCE.finditer(text):
        day, in_code = "an unknown day", False
        for line in fence[2].splitlines():
            if match := _DAY.fullmatch(line):
                day, in_code = match[1], False
            elif "```" in line:
                in_code = not in_code
            elif not in_code and _PREFIX not in line:
                for sentence in re.split(r"(?<=[.!?])\s+", _SPEAKER.sub("", line).strip()):
                    if sentence and not sentence.endswith("?"):
                        yield day, sentence


def _stems(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", text.lower())
    return {word.rstrip("s")[:6] for word in words if word not in _COMMON}
