"""Words of a text as stemmed terms.

Terms are 64-bit hashes of stems, so that a scope's postings are flat numpy arrays: 8 bytes a
word on disk, no strings in memory, and a cold scope loads without tokenising anything again.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
import Stemmer
from numpy.typing import NDArray

from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.retrieval.postings import Postings, Spread, bm25

__all__ = ["ANALYZER", "Postings", "Spread", "bm25", "term_hashes", "terms_of", "word_hashes"]

ANALYZER: Final = "snowball-english+bigrams/2"
"""Changes whenever what is derived of a text changes: rows of another analyzer are made again."""

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


@keeps_texts
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
