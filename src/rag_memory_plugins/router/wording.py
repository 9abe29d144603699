"""A prompt taken apart: numbers, units, ids, names and what else its meaning hangs on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rag_memory_plugins.router import guard_words as known
from rag_memory_plugins.router.spoken import ROMAN, counted, roman, spoken

__all__ = ["KEYS", "LONGEST", "Guarded", "is_slot", "read"]

LONGEST: Final = 2_000
"""Characters; an embedder sees no more of a prompt in one vector."""

# Quotation marks and dashes as a keyboard has them.
KEYS: Final = str.maketrans(
    {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"', 0xAB: '"'}
    | {0xBB: '"', 0x2212: "-", 0x2013: "-", 0x2010: "-", 0x2011: "-", 0x2026: " "}
)
_SPAN: Final = re.compile(
    r"```.*?```|`[^`\n]+`|\"[^\"\n]+\"|(?<![\w'])'[^'\n]+'(?!\w)|\S+", re.DOTALL
)
_DASH: Final = re.compile(r"(?<=[^\W\d_])\u2014(?=[^\W\d_])|\.\.\.")
_BEFORE: Final = "([{\"',;:?!\u2014"
_AFTER: Final = ")]}\"',;:?!.\u2014"
_NUMBER: Final = re.compile(
    r"(?P<money>[$€£¥₹])?(?P<sign>[-+])?(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
    r"(?P<part>\.[0-9]+)?(?:(?P<nth>st|nd|rd|th)|(?P<unit>%|°?[A-Za-z]+|°))?"
)
_CONTRACTED: Final = re.compile(r"'(?:s|re|ve|ll|d|m)$")
_SENTENCE_END: Final = re.compile(r"[.!?:]['\")\]]*$")


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a prompt holds besides its wording.

    `order` are its telling words and slots as they come; slots begin with a sign, and must be equal
    in two prompts, in order. `words` are all words, `known` is False where the guards cannot read
    the language.
    """

    order: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    words: tuple[tuple[str, bool], ...] = ()
    maybe_names: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ()
    tense: frozenset[str] = frozenset()
    persons: frozenset[str] = frozenset()
    known: bool = False


def read(text: str, longest: int = LONGEST) -> Guarded:
    """Everything of a prompt that `differ` compares; nothing of one over `longest` characters."""
    if len(text) > longest:
        return Guarded()
    text = unicodedata.normalize("NFC", text).translate(KEYS)
    polite = known.POLITE.match(text)
    reader = _Reader()
    for span, first in _spans(text[polite.end() :] if polite else text):
        reader.take(span, first=first)
    return reader.done()


def _spans(text: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether it begins a sentence): a quotation, a code span, or what spaces part."""
    first = True
    for found in _SPAN.finditer(_DASH.sub(" ", text)):
        yield found[0], first
        first = _SENTENCE_END.search(found[0]) is not None


class _Reader:
    """Reads a prompt piece by piece.

    Signs of slots: # number, = id, % unit or date, ^ name, ! not, ~ another word that must be in
    both. A + stands before a number word until `counted` has joined them.
    """

    def __init__(self) -> None:
        self._items: list[tuple[str, bool]] = []  # (word or slot, whether it holds others together)
        self._maybe: set[str] = set()
        self._english = self._maybe_english = self._foreign = self._letters = self._strange = 0

    def take(self, span: str, *, first: bool) -> None:
        if span[0] in "`\"'" and len(span) > 2 and span[-1] == span[0]:
            self._slot(f"={span[1:-1]}")
            return
        core = span.lstrip(_BEFORE).rstrip(_AFTER)
        if not core:
            if any(sign not in _BEFORE + _AFTER for sign in span):
                self._slot(f"={span}")
            return
        after = span[span.index(core) + len(core) :]
        if after.startswith("!") and core[-1].isdigit() and after.rstrip("!") != "":
            core += "!"
        core = re.sub(r"(?<=[\w)])'s$", "", core) if not core[0].isalpha() else core
        if core[0] != "-" and all(
            sign.isalpha() or sign in "'-" or unicodedata.combining(sign) for sign in core
        ):
            self._words(core, first=first)
        else:
            self._mixed(core)

    def _mixed(self, core: str) -> None:
        """A piece with digits or signs in it: a number with its unit, or an id as it stands."""
        found = _NUMBER.fullmatch(core)
        unit = (found["unit"] or "") if found else ""
        named = known.SIGNS.get(unit, "")
        if not named and (len(unit) > 2 or not unit.istitle()):  # 5Mb are not 5 MB
            named = known.UNITS.get(unit.lower(), "")
        whole = found["whole"].replace(",", "") if found else ""
        if found is None or (unit and not named) or (len(whole) > 1 and whole[0] == "0"):
            self._slot(f"={core}")
            return
        sign = found["sign"] or ""
        nth = "th" if found["nth"] else ""
        self._slot(f"#{sign}{whole}{found['part'] or ''}{nth}")
        if found["money"]:
            self._slot(f"%{known.SIGNS[found['money']]}")
        if named:
            self._slot(f"%{named}")

    def _words(self, core: str, *, first: bool) -> None:
        for number, part in enumerate(core.split("-")):
            if part.strip("'"):
                self._word(part.strip("'"), first=first and number == 0)

    def _word(self, word: str, *, first: bool) -> None:
        low = word.casefold()
        self._letters += 1
        self._strange += not low.replace("'", "").isascii()
        if low.endswith("n't"):
            self._plain({"won't": "will", "can't": "can"}.get(low, low[:-3]))
            self._slot("!")
            return
        if low.endswith("'ll"):
            self._items.append(("will", True))
        low, shown = _CONTRACTED.sub("", low), _CONTRACTED.sub("", word)
        if not low:
            return
        self._english += low in known.ENGLISH
        self._maybe_english += low in known.MAYBE_ENGLISH
        self._foreign += low in known.FOREIGN
        if low in known.NEGATIONS:
            self._slot("!")
        elif _is_sign(shown):
            self._slot(f"={shown}")
        elif ROMAN.fullmatch(shown) and low not in known.UNITS:
            self._slot(f"#{roman(shown)}")
        elif shown in {"May", "March", "Mar"} and not first:
            self._slot("%month-5" if shown == "May" else "%month-3")
        elif self._is_name(shown, low, first=first):
            self._slot(f"^{low}")
        else:
            if shown[0].isupper() and first and not _common(low) and not _plain_slot(low):
                self._maybe.add(low)
                self._items.append((low, False))
                return
            self._plain(low)

    def _is_name(self, shown: str, low: str, *, first: bool) -> bool:
        if low in known.MONTHS or low in known.DAYS or low in known.UNITS or shown == "I":
            return False
        if any(sign.isupper() for sign in shown[1:]) and not (shown.isupper() and _common(low)):
            return True
        if shown.isupper() and len(shown) == 2 and low == "us":
            return True
        return shown[0].isupper() and not first

    def _plain(self, low: str) -> None:
        after_number = bool(self._items) and self._items[-1][0].startswith("#")
        if low in known.UNITS:
            self._slot(f"%{known.UNITS[low]}")
        elif low in known.MONTHS:
            self._slot(f"%{known.MONTHS[low]}")
        elif low in known.DAYS or (low == "am" and after_number):
            self._slot(f"%{low.removesuffix('s')}")
        elif spoken(low)[1] not in {"", "and"}:
            self._items.append((f"+{low}", False))
        elif low in known.STOP or low in known.WONDERS:
            self._items.append((low, True))
        elif low in known.POLES or _stem(low) in _POLE_STEMS:
            self._slot(f"~{low if low in known.POLES else _POLE_STEMS[_stem(low)]}")
        elif low != "mix" and ROMAN.fullmatch(low.upper()):
            self._slot(f"#{roman(low.upper())}")
        else:
            self._items.append((_stem(low), False))

    def _slot(self, slot: str) -> None:
        self._items.append((slot, False))

    def done(self) -> Guarded:
        items = list(counted(self._items))
        plain = [word for word, holds in items if holds]
        order = tuple([word for word, holds in items if not holds])
        return Guarded(
            order,
            tuple([each for each in order if is_slot(each)]),
            tuple(items),
            frozenset(self._maybe),
            _asked([word for word, _ in items]),
            _tense(plain),
            frozenset([known.PERSONS[word] for word in plain if word in known.PERSONS]),
            self._is_known(),
        )

    def _is_known(self) -> bool:
        if self._strange * 5 > self._letters:
            return False
        if self._foreign:
            return self._english > 2 * self._foreign
        return self._english > 0 or self._maybe_english > 1


def _tense(words: Sequence[str]) -> frozenset[str]:
    told = {"past": known.PAST, "future": known.FUTURE}
    return frozenset([name for name, of in told.items() if not of.isdisjoint(words)])


def is_slot(word: str) -> bool:
    """Whether a word of `Guarded.order` must be equal in two prompts."""
    return word[0] in "#=%^!~"


def _common(low: str) -> bool:
    return low in known.STOP or low in known.WONDERS or low in known.POLES or low in known.STARTERS


def _is_sign(shown: str) -> bool:
    """A letter that stands alone; a unit as it is not written: Mb are not MB."""
    if len(shown) == 1:
        return shown not in "aAiI"
    return len(shown) == 2 and shown.istitle() and shown.lower() in known.UNITS


def _plain_slot(low: str) -> bool:
    """Whether `_plain` makes a slot of it, so that a capital adds nothing."""
    return low in known.UNITS or low in known.MONTHS or low in known.DAYS or bool(spoken(low)[1])


def _stem(low: str) -> str:
    """A word without its commonest endings: cook, cooks, cooked, cooking."""
    if (
        low.endswith("s")
        and len(low) > 3
        and low != "news"
        and not low.endswith(("ss", "us", "is"))
    ):
        low = low[:-1]
    for ending in ("ing", "ed"):
        if low.endswith(ending) and len(low) > len(ending) + 3:
            low = low[: -len(ending)]
            return low[:-1] if low[-1] == low[-2] and low[-1] not in "ls" else low
    return low[:-1] if low.endswith("e") and low[-2:] != "ee" and len(low) > 4 else low


_POLE_STEMS: Final = {_stem(pole): pole for pole in known.POLES}


def _asked(words: Sequence[str]) -> tuple[str, ...]:
    """Who, when, where ... in order; and of a yes-or-no question its kind. "What" is the default."""
    asked = []
    if words and words[0] in known.YES_NO:
        asked.append(f"{known.YES_NO[words[0]]}?")
    for number, word in enumerate(words):
        wonder = known.WONDERS.get(word.removeprefix("~"), "")
        after = words[number + 1].removeprefix("~") if number + 1 < len(words) else ""
        if wonder == "how" and after in known.MEASURES:
            asked.append(f"how {after}")
        elif wonder and wonder != "what":
            asked.append(wonder)
    return tuple(asked)
