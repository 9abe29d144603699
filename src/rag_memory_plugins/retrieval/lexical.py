"""Words of a text as stemmed terms, and BM25 over one scope's terms.

Terms are 64-bit hashes of stems, so that a scope's postings are flat numpy arrays: 8 bytes a
word on disk, no strings in memory, and a cold scope loads without tokenising anything again.

BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009. Term frequencies of a
turn are its own plus those of its neighbours in the session, faded: an answer is found by the
words of the question before it.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import Stemmer
from numpy.typing import NDArray

__all__ = ["ANALYZER", "Postings", "Spread", "bm25", "term_hashes", "terms_of", "word_hashes"]

ANALYZER: Final = "snowball-english+bigrams/2"
"""Changes whenever what is derived of a text changes: rows of another analyzer are made again."""

K1: Final = 0.9
B: Final = 0.4

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# Scripts written without spaces: Thai to Myanmar, Khmer, kana, CJK with extensions. (Hangul has
# spaces, but its words carry endings no English stemmer removes: bigrams serve it better.)
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af]+"
)
# Words of talk that say nothing about a topic.
_STOP: Final = frozenset(
    "a about above after again against ain't all also always am an and any are aren't as at be "
    "because been before being below between both but by bye can can't cannot could couldn't did "
    "didn't do does doesn't doing don't done down during each either else ever every few for from "
    "further get gets getting go goes going gonna good got great had hadn't has hasn't have "
    "haven't having he he'd he'll he's hello her here here's hers herself hey hi him himself his "
    "how how's i i'd i'll i'm i've if in into is isn't it it'd it'll it's its itself just know let "
    "let's like lot lots made make many maybe me might more most much must my myself nice no "
    "nor not now of off oh ok okay on once one only or other our ours ourselves out over own "
    "please quite really right said same say says she she'd she'll she's should shouldn't since so "
    "some something still such sure tell than thank thanks that that'd that's the their theirs "
    "them themselves then there there's these they they'd they'll they're they've thing things "
    "this those though through to too under until up upon us very was wasn't we we'd we'll we're "
    "we've well were weren't what what's when when's where where's which while who who's whom "
    "whose why why's will with won't would wouldn't wow yeah yes yet you you'd you'll you're "
    "you've your yours yourself yourselves".split()
)


class _Stems(threading.local):
    """A stemmer holds a buffer, so each thread has its own."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english")


_stems = _Stems()


@lru_cache(maxsize=65_536)
def _term(word: str) -> int | None:
    """The hash of a word's stem, or None for a stop word."""
    if word in _STOP:
        return None
    stem = _stems.stemmer.stemWord(word.removesuffix("'s"))
    return _hash(stem)


def _hash(stem: str) -> int:
    digest = hashlib.blake2b(stem.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def terms_of(text: str) -> list[int]:
    """Hashes of the stems in `text`, in order, with repeats; stop words are left out.

    Runs of scripts without spaces give character bigrams (a single character stands for itself).
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    found: list[int] = []
    for word in _WORD.findall(folded):
        if word.isascii() or _UNSPACED.search(word) is None:
            term = _term(word)
            if term is not None:
                found.append(term)
        else:
            found.extend(_unspaced(word))
    return found


def word_hashes(text: str) -> list[int]:
    """Hashes of the words in `text` as they are, unstemmed: to tell whose name stands in it."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return [_hash(word.removesuffix("'s")) for word in _WORD.findall(folded)]


def _unspaced(word: str) -> Iterable[int]:
    end = 0
    for run in _UNSPACED.finditer(word):
        yield from terms_of(word[end : run.start()])
        text = run.group()
        yield from (_hash(text[i : i + 2]) for i in range(max(1, len(text) - 1)))
        end = run.end()
    yield from terms_of(word[end:])


def term_hashes(text: str) -> NDArray[np.uint64]:
    """`terms_of` as an array, the form that is stored: shape (words,), little-endian uint64."""
    return np.array(terms_of(text), dtype="<u8")


@dataclass
class Postings:
    """Which rows of a scope hold a term, and how often.

    A sorted base (all rows up to the last merge) and an unsorted tail of newer rows; the tail is
    merged when it is larger than an eighth of the base, so that adding a row costs O(1) amortised
    and a look-up O(log terms + rows found + tail).
    """

    terms: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    tail: list[tuple[int, NDArray[np.uint64]]] = field(default_factory=list)
    tail_size: int = 0
    count: int = 0
    _flat_tail: tuple[NDArray[np.uint64], NDArray[np.int32]] | None = None

    def extend(self, batch: list[NDArray[np.uint64]]) -> None:
        """Add the terms of the next rows."""
        for terms in batch:
            self.tail.append((self.count, terms))
            self.tail_size += len(terms)
            self.count += 1
        self._flat_tail = None
        if self.tail_size > max(2_048, len(self.terms) // 8):
            self._merge()

    def _tail(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        if self._flat_tail is None:
            terms = [terms for _, terms in self.tail]
            rows = [row for row, _ in self.tail]
            sizes = [len(item) for item in terms]
            self._flat_tail = (
                np.concatenate(terms) if terms else np.empty(0, np.uint64),
                np.repeat(np.array(rows, np.int32), sizes),
            )
        return self._flat_tail

    def _merge(self) -> None:
        terms, rows = self._tail()
        terms = np.concatenate([self.terms, terms])
        rows = np.concatenate([self.rows, rows])
        order = np.argsort(terms, kind="stable")  # stable keeps rows ascending inside a term
        self.terms, self.rows = terms[order], rows[order]
        self.tail, self.tail_size, self._flat_tail = [], 0, None

    def find(self, term: int) -> NDArray[np.int32]:
        """Rows of a term, ascending, each as often as the term stands in it."""
        key = np.uint64(term)
        low = np.searchsorted(self.terms, key, "left")
        high = np.searchsorted(self.terms, key, "right")
        rows = self.rows[low:high]
        if self.tail_size:
            terms, tail_rows = self._tail()
            rows = np.concatenate([rows, tail_rows[terms == key]])
        return rows

    def idf(self, term: int) -> float:
        """Inverse document frequency of a term over single rows; the most for an unknown one."""
        return _idf(_distinct(self.find(term)), self.count)

    @property
    def nbytes(self) -> int:
        return self.terms.nbytes + self.rows.nbytes + 8 * self.tail_size


@dataclass(frozen=True)
class Spread:
    """How a row's terms reach its neighbours in the session.

    `before` and `after` hold for each row the row said just before and after it, -1 for none. The
    d-th row after a term takes `FORWARD ** d` of its frequency, the d-th row before it
    `BACKWARD ** d`, up to `REACH` rows.
    """

    before: NDArray[np.int32]
    after: NDArray[np.int32]

    FORWARD: ClassVar[float] = 0.6
    BACKWARD: ClassVar[float] = 0.4
    REACH: ClassVar[int] = 4

    def of(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """The spread frequency of a term in every row, from the rows it stands in (repeats count).

        A count over all rows, not a sort of those found: frequent terms make sorting dearer.
        """
        reached, spread = [rows], [np.ones(len(rows))]
        for step, fade in ((self.after, self.FORWARD), (self.before, self.BACKWARD)):
            at, weight = rows, 1.0
            for _ in range(self.REACH):
                at = step[at]
                at = at[at >= 0]
                weight *= fade
                reached.append(at)
                spread.append(np.full(len(at), weight))
        flat, weights = np.concatenate(reached), np.concatenate(spread)
        return np.asarray(np.bincount(flat, weights, minlength=len(self.before)), np.float64)

    def lengths(self, lengths: NDArray[np.float64], rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """The spread length of `rows`: their own plus what reaches them from their neighbours."""
        total = lengths[rows].copy()
        for step, fade in ((self.before, self.FORWARD), (self.after, self.BACKWARD)):
            at = rows
            weight = np.ones(len(rows))
            for _ in range(self.REACH):
                at = np.where(at >= 0, step[at], -1)
                weight = weight * fade
                total += np.where(at >= 0, lengths[at] * weight, 0.0)
        return total


def _distinct(rows: NDArray[np.int32]) -> int:
    return 1 + int(np.count_nonzero(np.diff(rows))) if len(rows) else 0


def _idf(holding: int, count: int) -> float:
    return float(np.log1p((count - holding + 0.5) / (holding + 0.5)))


def bm25(
    postings: Postings, query: list[int], lengths: NDArray[np.float64], spread: Spread
) -> NDArray[np.float64]:
    """Scores of every row for the query's terms; shape (rows,), higher is better, 0 for no match.

    `lengths` are the rows' spread lengths; IDF counts single rows, not spread ones.
    """
    count = len(lengths)
    scores = np.zeros(count)
    if not count:
        return scores
    norm = K1 * (1 - B + B * lengths / (lengths.mean() or 1.0))
    for term in dict.fromkeys(query):
        rows = postings.find(term)
        if not len(rows):
            continue
        idf = _idf(_distinct(rows), count)
        spread_out = spread.of(rows)
        near = np.flatnonzero(spread_out)
        frequency = spread_out[near]
        scores[near] += idf * frequency * (K1 + 1) / (frequency + norm[near])
    return scores
