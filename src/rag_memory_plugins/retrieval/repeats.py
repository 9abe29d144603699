"""Which text repeats one that is kept already: told without a model, and never at a fact's cost.

Three ways to repeat, each checked against every text kept so far:

- equal: the same words in the same order; case, blanks and plain punctuation do not count;
- contained: eight words or more that stand in the other as whole sentences, and not beside one of
  a word or two ("Not so.");
- alike: the word 3-shingles of both have a Jaccard likeness of `LIKENESS` or more, no word is new
  (articles and fillers apart), and the marks are the same, in the same order. Given vectors, a
  cosine of `COSINE` takes the place of shingles and words, and words of order and degree may differ.

Marks are what turns a meaning round with one word: numbers with the word after them, negations,
capitalised words, signs, every character of scripts without spaces, and words of order and degree
(before, more, must). Only texts that hold the rarest word are compared and, where those are many, that
share several of the rarest shingles (prefix filtering, Chaudhuri et al., ICDE 2006; Wang et al.,
SIGMOD 2012): none is missed by that.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.retrieval.lexical import terms_of

__all__ = ["Kept", "Reading"]

Shingle = tuple[str, ...]

LIKENESS: Final = 0.9
"""One changed word costs up to six shingles of both texts, so that nothing under 59 words is alike
to a text with one word less or more; short texts are equal, contained or different."""
COSINE: Final = 0.95
FEW, SHARED = 16, 4
CONTAINED: Final = 8
"""Words from which a contained text repeats: a "Yes." stands in many texts and answers another."""

_UNSPACED: Final = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U000323af]"
)
_TOKEN: Final = re.compile(
    rf"""
      {_UNSPACED}
    | [^\W\d]{{0,24}}\d\w*(?:[.,:]\d+)*(?:[ ]?[^\W\d_]+)?   # a number; its unit, in its own case
    | [^\W\d]+(?:['\u2019][^\W\d]+)*
    | [.!?]+["'\u201d\u2019)\]]*\s | [。！？]+ | \n\s*\n    # where a sentence ends
    | [^\w\s]
    """,  # noqa: RUF001 -- the wide signs are meant
    re.VERBOSE,
)
_PLAIN: Final = frozenset(".,;:\"'`*#_()…“”‘’„«»。、，；：「」『』（）")  # noqa: RUF001 -- as above
_FILLERS: Final = frozenset("a an the also just please quite really so very well".split())
_FACTS: Final = frozenset(
    # No. Where a language is missing, a text that leaves its "no" out of more than fifty words can
    # be taken for the other; one that adds it cannot, for that word is new.
    "no not nor never none nobody nothing nowhere neither cannot without hardly barely non nicht "
    "nichts nie niemals kein keine keinen keinem keiner ohne ne pas jamais rien aucun aucune sans "
    "nunca jamás nada nadie ningún ninguno ninguna sin não nem sem nenhum nenhuma mai niente senza "
    "nessuno nessuna niet geen nooit zonder inte ikke aldrig ei ingen utan uden uten nie bez není "
    "nejsou не нет ни никогда без δεν μην όχι değil yok لا ليس لم لن לא אין नहीं मत tidak bukan "
    "jangan không chưa nem nu "
    # Numbers in words.
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion half double twice first second third once".split()
)
_TURNS: Final = frozenset(  # order, degree, direction, duty, who
    "before after above below over under more less most least only all some any both either every "
    "up down in out on off from to until since with against instead if unless but than can could "
    "may might must should shall will would was were is are he she his her they their i you we".split()
)
_WORD, _TURN, _FACT, _END, _NONE = range(5)


@dataclass(frozen=True, eq=False)
class Reading:
    """A text as it is compared: its words, its marks, and where its sentences end.

    `facts` are the marks without words of order and degree: what a paraphrase keeps too.
    """

    words: tuple[str, ...]
    marks: tuple[str, ...]
    facts: tuple[str, ...]
    line: str
    vector: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, text: str, vector: NDArray[np.float64] | None = None) -> Reading:
        words: list[str] = []
        marks: list[str] = []
        facts: list[str] = []
        line = ["|"]
        for raw in _TOKEN.findall(unicodedata.normalize("NFC", f"{text}\n")):
            word, kind = _sorted_out(raw)
            if word:
                words.append(word)
                line.append(word)
                if kind != _WORD:
                    marks.append(word)
                if kind not in (_WORD, _TURN):
                    facts.append(word)
            if kind == _END and line[-1] != "|":
                line.append("|")
        if line[-1] != "|":
            line.append("|")
        joined = f" {' '.join(line)} "
        return cls(tuple(words), tuple(marks), tuple(facts), joined, vector)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Its words, each once, without fillers."""
        return frozenset(self.words) - _FILLERS

    @cached_property
    def shingles(self) -> frozenset[Shingle]:
        return frozenset(zip(self.words, self.words[1:], self.words[2:], strict=False))


class Kept:
    """The texts that are kept; asked of a next one whether it repeats one of them.

    >>> kept = Kept()
    >>> kept.add(Reading.of("The boat is green, and it was never sold to Ann in Porto."))
    >>> kept.repeated(Reading.of("the boat is GREEN and it was never sold to Ann in Porto"))
    (0, 'equal to')
    >>> kept.repeated(Reading.of("The boat is green, and it was sold to Ann in Porto."))
    """

    def __init__(self) -> None:
        self._readings: list[Reading] = []
        self._by_words: dict[tuple[str, ...], int] = {}
        self._by_word: defaultdict[str, list[int]] = defaultdict(list)
        self._by_shingle: defaultdict[Shingle, list[int]] = defaultdict(list)
        self._shingled = 0
        self._vectors: list[tuple[int, NDArray[np.float64]]] = []

    def add(self, reading: Reading) -> None:
        place = len(self._readings)
        self._readings.append(reading)
        self._by_words.setdefault(reading.words, place)
        for word in reading.kinds:
            self._by_word[word].append(place)
        if reading.vector is not None:
            self._vectors.append((place, reading.vector))

    def repeated(self, reading: Reading) -> tuple[int, str] | None:
        """(which kept text it repeats, by the order they were added; how), or None."""
        if not reading.words:
            return None
        if reading.words in self._by_words:
            return self._by_words[reading.words], "equal to"
        places = min((self._by_word.get(word, []) for word in reading.kinds), key=len, default=[])
        if len(reading.words) >= CONTAINED:
            for place in places:
                if _contained(reading, self._readings[place]):
                    return place, "contained in"
        for place in self._candidates(reading, places):
            if _alike(reading, self._readings[place]):
                return place, "alike to"
        return self._near(reading)

    def _candidates(self, reading: Reading, places: Sequence[int]) -> Iterable[int]:
        """Those of `places` that share the marks and, where they are many, rare shingles."""
        marked = [place for place in places if self._readings[place].marks == reading.marks]
        if len(marked) <= FEW:
            return marked
        while self._shingled < len(self._readings):
            for shingle in self._readings[self._shingled].shingles:
                self._by_shingle[shingle].append(self._shingled)
            self._shingled += 1
        # All but a tenth of the shingles are shared, so of a tenth and SHARED more at least SHARED.
        rarest = sorted(reading.shingles, key=lambda shingle: len(self._by_shingle[shingle]))
        most = len(rarest) - ceil(LIKENESS * len(rarest)) + SHARED
        shared = Counter(place for shingle in rarest[:most] for place in self._by_shingle[shingle])
        enough = min(SHARED, len(rarest))
        return [place for place in marked if shared[place] >= enough]

    def _near(self, reading: Reading) -> tuple[int, str] | None:
        if reading.vector is None:
            return None
        for place, vector in self._vectors:
            if self._readings[place].facts == reading.facts and vector @ reading.vector >= COSINE:
                return place, "near to"
        return None


def _contained(part: Reading, whole: Reading) -> bool:
    """Whether it stands there as whole sentences, and none beside it is as short as "Not so."."""
    start = whole.line.find(part.line)
    if start < 0:
        return False
    before = whole.line[:start].rpartition("|")[2]
    after = whole.line[start + len(part.line) :].partition("|")[0]
    return all(len(beside.split()) not in (1, 2) for beside in (before, after))


def _alike(one: Reading, other: Reading) -> bool:
    if not one.kinds <= other.kinds:
        return False
    few, many = sorted((len(one.shingles), len(other.shingles)))
    if not few or few < LIKENESS * many:
        return False
    both = len(one.shingles & other.shingles)
    return both >= LIKENESS * (few + many - both)


@keeps_texts
@lru_cache(maxsize=65_536)
def _sorted_out(raw: str) -> tuple[str, int]:
    """(the word as it is compared, "" for none; what it is)."""
    if raw[-1].isspace() or raw[0] in "。！？":  # noqa: RUF001 -- the wide signs are meant
        return ("?" if "?" in raw or "？" in raw else ""), _END  # noqa: RUF001 -- as above
    if any(sign.isdigit() for sign in raw):
        return raw.replace(" ", ""), _FACT
    if raw in _PLAIN:
        return "", _NONE
    word = raw.strip("_").replace("\u2019", "'").lower()
    told = word in _FACTS or not word.isalpha() or re.search(_UNSPACED, word)
    named = raw != word and bool(terms_of(raw))
    return word, _FACT if told or named else _TURN if word in _TURNS else _WORD
