"""Statements condensed: what is corrected or repeated goes, and of the rest the worthiest stay.

Pure functions. Likeness is cosine, of vectors or of keywords. It never decides alone: embedders
differ in what they call near, so words must agree too before a statement is dropped for another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.memory import cues
from rag_memory_plugins.memory.statement import GENERIC, Statement
from rag_memory_plugins.memory.statements import clipped, united
from rag_memory_plugins.results import SummaryLine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import TokenCounter

    Floats = NDArray[np.float64]
    Likeness = NDArray[np.floating[Any]]

__all__ = ["KEYWORDS", "VECTORS", "Scale", "condensed", "keyword_likeness"]


@dataclass(frozen=True)
class Scale:
    """From which likeness on two statements may be the same, near, or about the same thing."""

    same: float
    near: float
    about: float


VECTORS: Final = Scale(0.88, 0.65, 0.45)
KEYWORDS: Final = Scale(0.8, 0.5, 0.2)

CENTRAL, RECENT, LENGTH = 1.0, 0.4, 0.25
REPEATED, REPEATED_TELLING, TELLING = 3.0, 1.0, 2.5
"""What telling the same costs at most; less from a worth of 2.5 on: two decisions in the same words
are two decisions, the tenth late train is not worth its tokens."""
ALIKE: Final = 0.5
"""Likeness above which statements begin to tell the same."""
ENOUGH: Final = 0.5
"""Value below which room is left empty: what says little costs tokens in every prompt."""
NEAREST: Final = 8
"""Statements whose mean likeness says how central one is: all would favour the biggest topic."""
BACK: Final = 8
"""How many statements back "make it blue instead" may reach."""
NOTE_TOKENS: Final = 16


def keyword_likeness(terms: Sequence[frozenset[int]]) -> Floats:
    """Cosine of keyword sets weighted by their rarity here; shape (statements, statements)."""
    import numpy as np

    column = {term: at for at, term in enumerate(sorted(frozenset().union(*terms)))}
    found = np.zeros((len(terms), len(column)))
    for row, of_one in enumerate(terms):
        found[row, [column[term] for term in of_one]] = 1.0
    found *= np.log1p(len(terms) / np.maximum(found.sum(axis=0), 1.0))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found = np.divide(found, length, out=found, where=length > 0)
    likeness: Floats = found @ found.T
    return likeness


def condensed(
    pool: Sequence[Statement],
    likeness: Likeness,
    scale: Scale,
    limit: int,
    counter: TokenCounter,
) -> tuple[SummaryLine, ...]:
    """Lines in the order of time, at most `limit` tokens; `pool` is in the order it was said."""
    current = _current(list(pool), likeness, scale, counter)
    places = [at for at, item in enumerate(current) if item is not None]
    items = [item for item in current if item is not None]
    if not items:
        return ()
    chosen = _chosen(items, likeness[places][:, places], limit, counter)
    lines = [(items[at].time, at) for at in chosen]
    return tuple(
        SummaryLine(items[at].text, items[at].time, items[at].ids) for _, at in sorted(lines)
    )


def _current(
    pool: list[Statement], likeness: Likeness, scale: Scale, counter: TokenCounter
) -> list[Statement | None]:
    """The pool with None for what is repeated or holds no more."""
    alive: list[Statement | None] = list(pool)
    for at, item in enumerate(pool):
        newer = item
        if newer.old and all(older is None or older.old for older in alive[:at]):
            continue  # old lines were compared with each other when they came in
        near: list[float] = likeness[at, :at].tolist()
        for place, older in enumerate(alive[:at]):
            if older is None or near[place] < scale.about:
                continue
            if near[place] >= scale.same and repeats(newer, older):
                alive[at] = newer = _merged(older, newer)
                alive[place] = None
            elif any(restates(part, older) for part in newer.clauses):
                alive[place] = None
        for place in _corrected(newer, alive[:at], near, scale):
            alive[place] = None
        meant = _meant(newer, alive[:at])
        if meant is not None and (older := alive[meant]) is not None:
            alive[at] = _explained(newer, older, counter)
            alive[meant] = None
    return alive


def _same_voice(one: Statement, other: Statement) -> bool:
    return one.speaker == other.speaker or not (one.personal or other.personal)


def repeats(one: Statement, other: Statement) -> bool:
    """Whether two near statements say the same: no number, name or "not" tells them apart."""
    return (
        _same_voice(one, other)
        and one.numbers == other.numbers
        and one.names == other.names
        and one.negated == other.negated
        and not apart(one, other)
        and _jaccard(one.terms, other.terms) >= 0.5
    )


def _merged(older: Statement, newer: Statement) -> Statement:
    """The worthier wording, at its own time, resting on both."""
    kept = older if older.worth > newer.worth else newer
    return replace(kept, ids=united(older.ids, newer.ids), old=False)


def restates(newer: Statement, older: Statement) -> bool:
    """Whether the newer gives the same thing another number, date or name, or denies it.

    What happened is not outdated by what happened later, and "room 4" is not "room 5".
    """
    rest, other = (item.terms - item.values - GENERIC for item in (newer, older))
    if not rest or _jaccard(rest, other) < 0.75 or not _same_voice(newer, older):
        return False
    past = newer.english and cues.PAST.search(newer.folded) is not None
    if past or newer.body.endswith("?") or apart(newer, older):
        return False
    if _differ(newer.numbers, older.numbers):
        return True
    if newer.negated != older.negated:
        return newer.values == older.values
    being = newer.english and cues.BEING.search(newer.folded) is not None
    return being and _differ(newer.names, older.names)


def apart(one: Statement, other: Statement) -> bool:
    """Whether two statements in like words are about two things: of Ann and of Bob, of two rooms."""
    if _subject(one) != _subject(other):
        return True
    # Where no verb tells subject and value apart, one of two that differ is the subject.
    verb = cues.VERB.search(one.folded) or cues.VERB.search(other.folded)
    if not verb and _differ(one.names, other.names) and _differ(one.numbers, other.numbers):
        return True
    if not (one.first and other.first):
        return False
    return not (one.first & other.terms or other.first & one.terms)


def _differ(some: frozenset[str], others: frozenset[str]) -> bool:
    return bool(some and others) and some != others


def _subject(item: Statement) -> tuple[str, ...]:
    """Numbers and names before the verb: they say what it is about, and are no value."""
    found = cues.VERB.search(item.folded) if item.english else None
    lead = cues.LEAD.match(item.folded)
    before = item.folded[: found.start()] if found else lead.group() if lead else ""
    labels = (f"{word} {number}" for word, number in cues.LABEL.findall(before))
    named = (*item.names, *(number for number in item.numbers if number.isalpha()))
    return (*labels, *sorted(name for name in named if name in before))


def _corrected(
    newer: Statement, before: Sequence[Statement | None], near: Sequence[float], scale: Scale
) -> list[int]:
    """Places of what a correction corrects: the nearest statement about it, and its echoes."""
    if not newer.may_correct or newer.body.endswith("?"):
        return []
    meant = {
        place: older
        for place, older in enumerate(before)
        if older is not None and _corrects(newer, older, near[place], scale)
    }
    if not meant:
        return []
    nearest = max(meant, key=lambda place: (near[place], place))
    wrong = newer.outdates or (meant[nearest].terms - newer.terms)
    return [place for place, older in meant.items() if place == nearest or older.terms & wrong]


def _corrects(newer: Statement, older: Statement, likeness: float, scale: Scale) -> bool:
    if not _same_voice(newer, older) or older.body.endswith("?"):
        return False
    if newer.outdates and newer.outdates <= older.terms and likeness >= scale.about * 0.8:
        return True
    # The very same subject needs less likeness: "Kestrel" is not at all like "Merlin".
    least = scale.about * (0.5 if any(part.topic == older.topic for part in newer.clauses) else 1.0)
    if likeness < least or bool(newer.numbers) != bool(older.numbers):
        return False
    enough = 0.5 if likeness >= scale.near else 0.51
    return (
        _covered(older.topic, newer.terms) >= 0.6
        and max(_covered(part.topic, older.terms) for part in newer.clauses) >= enough
    )


def _meant(newer: Statement, before: Sequence[Statement | None]) -> int | None:
    """Where the statement stands that "make it blue instead" is about: the last that decides."""
    if not newer.corrects or newer.old or newer.body.endswith("?"):
        return None
    if newer.says_about or cues.ANAPHOR.search(newer.folded) is None:
        return None
    for place in range(len(before) - 1, max(-1, len(before) - 1 - BACK), -1):
        item = before[place]
        if item is not None and item.worth >= 2.0 and item.by == newer.by:
            return place
    return None


def _explained(newer: Statement, older: Statement, counter: TokenCounter) -> Statement:
    """The correction with what it is about, which it does not say itself."""
    before = clipped(older.body, NOTE_TOKENS, counter).replace("[", "(").replace("]", ")")
    text = f"{newer.text} [was: {before}]"
    return replace(newer, text=text, note=("was", before), ids=united(older.ids, newer.ids))


def _chosen(
    items: Sequence[Statement],
    likeness: Likeness,
    limit: int,
    counter: TokenCounter,
) -> list[int]:
    """Places by worth, centrality, freshness and length, each less what is said already."""
    import numpy as np

    tokens = np.array(counter.count_batch([f"{item.text}\n" for item in items]))
    worth = np.array([item.worth for item in items])
    costs = np.where(worth >= TELLING, REPEATED_TELLING, REPEATED)
    score = worth + CENTRAL * _centrality(items, likeness)
    score += RECENT * np.linspace(0, 1, len(items)) - LENGTH * np.log(np.maximum(tokens, 1) / 20)
    said = np.zeros(len(items))
    chosen: list[int] = []
    room = limit
    open_ = tokens <= room
    while open_.any():
        value = np.where(open_, score - costs * np.minimum(said, 1.0), -math.inf)
        at = int(np.argmax(value))
        if value[at] < ENOUGH:
            break
        chosen.append(at)
        room -= int(tokens[at])
        open_[at] = False
        open_ &= tokens <= room
        said += np.maximum(0.0, likeness[at] - ALIKE)
    while counter.count("".join(f"{items[at].text}\n" for at in sorted(chosen))) > limit:
        chosen.pop()  # an estimate may count the whole higher than its parts
    return chosen


def _centrality(items: Sequence[Statement], likeness: Likeness) -> Floats:
    """How near each statement is to those nearest to it, and to the summary so far; 0 to 1."""
    import numpy as np

    count = len(items)
    if count < 3:
        return np.zeros(count)
    near = likeness.astype(np.float64)
    np.fill_diagonal(near, 0.0)
    most = min(NEAREST, count - 1)
    central = np.partition(near, count - most, axis=1)[:, count - most :].mean(axis=1)
    old = np.array([item.old for item in items])
    if old.any():
        central = central + near[:, old].mean(axis=1)
    low, high = central.min(), central.max()
    scaled: Floats = (central - low) / (high - low) if high > low else np.zeros(count)
    return scaled


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / (len(one | other) or 1)


def _covered(part: frozenset[int], whole: frozenset[int]) -> float:
    return len(part & whole) / len(part) if part else 0.0
