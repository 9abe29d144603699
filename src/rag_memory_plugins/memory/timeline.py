"""`Timeline`: what held of an entity from when to when, drawn as text and in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidInput

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Fact

__all__ = ["Timeline"]

_NARROWEST: Final = 40
_LABEL: Final = 24
"""Columns of a key at most."""
_COLOURS: Final = ("#0f766e", "#1d4ed8", "#a16207", "#9333ea", "#b91c1c", "#0369a1")


@dataclass(frozen=True, repr=False)
class Timeline:
    """What held of `entity`, each value with its time, the earliest first; `until` is the present.

    `str()` draws it, `drawn(width)` in so many columns; a notebook shows it as bars.

    >>> print(Timeline("Atlas", (), datetime(2026, 5, 1)))
    Atlas: nothing is known
    """

    entity: str
    facts: tuple[Fact, ...]
    until: datetime

    def drawn(self, width: int = 80) -> str:
        """Bars of at most `width` columns, 40 at least, and a line for each value."""
        if isinstance(width, bool) or not isinstance(width, int) or width < _NARROWEST:
            raise InvalidInput("width", width, f"pass a whole number from {_NARROWEST}")
        if not self.facts:
            return f"{_plain(self.entity)}: nothing is known"
        start, end = self._span()
        rows = self._rows()
        label = min(_LABEL, max(len(_plain(key)) for key, _ in rows))
        room = width - label - 2
        dates = f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}"
        axis = dates[0] + " " * max(1, room - len(dates[0]) - len(dates[1])) + dates[1]
        lines = [_plain(self.entity)[:width], f"{'':{label}}  {axis}"[:width].rstrip()]
        for key, some in rows:
            bar = self._bar(some, room, start, end)
            lines.append(f"{_plain(key)[:label]:{label}}  {bar}".rstrip())
        lines += ["", *[self._line(fact)[:width].rstrip() for fact in self.facts]]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The values as plain data."""
        return {
            "entity": self.entity,
            "until": self.until.isoformat(),
            "values": [
                {
                    "key": fact.predicate,
                    "value": fact.object,
                    "from": fact.valid_from.isoformat(),
                    "to": None if fact.valid_to is None else fact.valid_to.isoformat(),
                    "confidence": fact.confidence,
                    "sources": [source._asdict() for source in fact.sources],
                    "fact": fact.id,
                }
                for fact in self.facts
            ],
        }

    def __str__(self) -> str:
        return self.drawn()

    def __repr__(self) -> str:
        return f"Timeline({self.entity!r}, {len(self.facts)} values)"

    def _repr_html_(self) -> str:
        if not self.facts:
            return f"<p>{escape(self.entity)}: nothing is known</p>"
        start, end = self._span()
        whole = (end - start).total_seconds() or 1.0
        rows = []
        for number, (key, some) in enumerate(self._rows()):
            colour = _COLOURS[number % len(_COLOURS)]
            bars = "".join(self._html(fact, start, end, whole, colour) for fact in some)
            rows.append(
                f'<tr><td style="white-space:nowrap">{escape(key)}</td><td style="width:100%">'
                f'<div style="position:relative;height:1.6em">{bars}</div></td></tr>'
            )
        head = f"{escape(self.entity)}: {start:%Y-%m-%d} to {end:%Y-%m-%d}"
        body = "".join(rows)
        return f'<table style="width:100%"><caption>{head}</caption><tbody>{body}</tbody></table>'

    def _html(self, fact: Fact, start: datetime, end: datetime, whole: float, colour: str) -> str:
        left = 100 * (fact.valid_from - start).total_seconds() / whole
        last = min(fact.valid_to or end, end)
        width = max(0.5, 100 * (last - fact.valid_from).total_seconds() / whole)
        said = ", ".join(f"{source.session}/{source.id}" for source in fact.sources)
        style = (
            f"position:absolute;left:{left:.2f}%;width:{width:.2f}%;overflow:hidden;"
            f"white-space:nowrap;background:{colour};color:white;border-left:2px solid white"
        )
        title = escape(f"{self._line(fact)} {said}".strip(), quote=True)
        return f'<div style="{style}" title="{title}">{escape(fact.object)}</div>'

    def _span(self) -> tuple[datetime, datetime]:
        start = min(fact.valid_from for fact in self.facts)
        return start, max(self.until, *(fact.valid_to or fact.valid_from for fact in self.facts))

    def _rows(self) -> list[tuple[str, list[Fact]]]:
        """(key, its values): values that stand beside each other have a row each."""
        rows: dict[tuple[str, str], list[Fact]] = {}
        for fact in self.facts:
            place = (fact.predicate.casefold(), fact.object if fact.many else "")
            rows.setdefault(place, []).append(fact)
        return [(some[0].predicate, some) for some in rows.values()]

    def _bar(self, some: Sequence[Fact], room: int, start: datetime, end: datetime) -> str:
        whole = (end - start).total_seconds() or 1.0
        cells = [" "] * room
        for fact in some:
            first = int((fact.valid_from - start).total_seconds() / whole * (room - 1))
            open_end = fact.valid_to is None or fact.valid_to > self.until
            last = room - 1
            if fact.valid_to is not None:
                last = int((fact.valid_to - start).total_seconds() / whole * (room - 1))
            last = max(first, min(last, room - 1))
            cells[first : last + 1] = ["\u2500"] * (last - first + 1)
            cells[first] = "\u251c"
            if open_end:
                cells[last] = "\u2192"
            text = _plain(fact.object)[: max(0, last - first - 1)]
            cells[first + 1 : first + 1 + len(text)] = list(text)
        return "".join(cells)

    def _line(self, fact: Fact) -> str:
        end = "..." if fact.valid_to is None else f"{fact.valid_to:%Y-%m-%d}"
        flag = " (another value is stated too)" if fact.conflict else ""
        value = f"{_plain(fact.predicate)}: {_plain(fact.object)}"
        return f"{fact.valid_from:%Y-%m-%d} to {end:10}  {value}{flag}"


def _plain(text: str) -> str:
    """On one line, without what steers a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
