"""Names that a question and what was found for it may mean entities by, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Fact
    from rag_memory_plugins.results import Hit

__all__ = ["SPEAKER", "candidate_names"]

SPEAKER: Final = "user"
"""The subject of facts about a speaker who has no name."""
_WORD: Final = re.compile(r"[^\W_][\w'\u2019&.-]*")
_OWN: Final = re.compile(r"\b(?:i|i'm|me|my|mine|myself|we|our|us)\b", re.IGNORECASE)
_OWNER: Final = re.compile(r"['\u2019]s?$")
# A capital at the beginning of these says that a sentence begins, or that "I" is always written so.
_PLAIN: Final = frozenset(
    "who whom whose what which when where why how is are was were am be do does did has have had can"
    " could will would shall should may might must tell show list give find i i'm i've i'd i'll my we our"
    " the a an and or of in on at for to from with about if please since until before after as it"
    " he she they his her their you your this that these those not no yes any all".split()
)


def candidate_names(question: str, facts: Sequence[Fact], hits: Sequence[Hit]) -> list[str]:
    """Capitalised words of the question, its speaker, and whom what was found is about or by.

    >>> candidate_names("Where does Ann Lee work, and what is my role?", [], [])
    ['Ann Lee', 'Ann', 'Lee', 'user']
    """
    names = _spans(question)
    if _OWN.search(question):
        names.append(SPEAKER)
    names += [fact.subject for fact in facts]
    names += [fact.object for fact in facts if fact.object[:1].isupper()]
    names += [hit.message.name for hit in hits if hit.message.name]
    return _once(names)


def _spans(text: str) -> list[str]:
    """Runs of capitalised words, each followed by its words: only part of it may be a name."""
    names: list[str] = []
    run: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        word = _OWNER.sub("", found.group().rstrip(".-"))
        if run and text[end : found.start()] != " ":
            names += _run(run)
            run = []
        end = found.end()
        if word[:1].isupper() and word.lower() not in _PLAIN:
            run.append(word)
        else:
            names += _run(run)
            run = []
    return [*names, *_run(run)]


def _run(words: list[str]) -> list[str]:
    return [" ".join(words), *words] if len(words) > 1 else list(words)


def _once(names: Iterable[str]) -> list[str]:
    """Every name once, whatever its case; the first stands."""
    kept: dict[str, str] = {}
    for name in names:
        if name.strip():
            kept.setdefault(name.casefold(), name)
    return list(kept.values())
