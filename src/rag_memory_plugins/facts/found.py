"""The parts of a statement that a pattern found: its groups are named as the predicates are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rag_memory_plugins.facts.parts import Part

__all__ = ["parts_found"]

_DATED: Final = re.compile(
    r"(?:the )?\d{1,2}(?:st|nd|rd|th)? (?:of )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)|(?:January|February|March|April|May|June|July|August|September|October|November|December) \d|(?:the )?\d{1,2}(?:st|nd|rd|th)$|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
)


def parts_found(
    subject: str,
    found: re.Match[str],
    family: str,
    *,
    negated: bool,
    ahead: bool = False,
    source: str = "",
) -> Iterator[Part]:
    """A part for each group that was found; `of` is another subject, `old` what gave way.

    >>> found = re.fullmatch(r"in (?P<lives_in>.+)", "in Porto")
    >>> [(part.predicate, part.object) for part in parts_found("", found, "life", negated=False)]
    [('lives in', 'Porto')]
    """
    groups = {name: words for name, words in found.groupdict().items() if words}
    of = groups.pop("of", "")
    old = groups.pop("old", "")
    for name, words in groups.items():
        predicate = name.removeprefix("not_").replace("_", " ")
        away = negated != name.startswith("not_")
        if of and predicate == "uses":
            # "Postgres as our database" says what ours is; "for the ledger" what the ledger uses.
            mine = re.sub(r"^(?:our|my|the) ", "", of) if f" as {of}" in found.string else ""
            chosen = "date" if _DATED.match(words) else "uses"
            whose, what = (subject, mine) if mine else (of, chosen)
            yield Part(whose, what, words, family, negated=away, ahead=ahead)
            continue
        if of:
            yield Part(of, predicate, words, family, negated=away)
            continue
        yield Part(
            subject, predicate, words, family, negated=away, timed=True, ahead=ahead, source=source
        )
    if old and "uses" in groups:
        yield Part(subject, "uses", old, family, negated=True)
