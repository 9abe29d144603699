"""A name taken apart: what two ways to write one person's or company's name have in common."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final

from rag_memory_plugins.facts import nicknames as known
from rag_memory_plugins.facts.words import LETTERED
from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.router.wording import KEYS

__all__ = ["Form", "form_of"]

_DOTTED: Final = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]\. ?){2,}(?=$|\s)")
_INITIALS: Final = re.compile(r"(?<=\b[^\W\d_]\.)(?=[^\W\d_])")
_SPLIT: Final = re.compile(r"[\s\-_/]+")
_EDGES: Final = ",;:!?()[]{}\"'`*\u00ab\u00bb"
_BRANDS: Final = frozenset(
    "mcdonald's levi's wendy's macy's denny's lowe's kohl's sotheby's christie's domino's "
    "sainsbury's moody's lay's kellogg's hershey's joe's arby's chili's applebee's".split()
)
_LEADING: Final = frozenset({"the"})


@dataclass(frozen=True)
class Form:
    """A name taken apart; equal `key`s are one name.

    `first` and `last` are "" where they are not told, an initial ends in a dot. `person` is 2 for
    a person, 1 for what may be one, 0 for anything else. `acronym` is "" unless it may be one;
    `letters` are the acronyms that it may be written as. `bare` is it without what a company's
    name ends in (`company`).
    """

    key: str
    first: str = ""
    middle: tuple[str, ...] = ()
    last: str = ""
    gender: str = ""
    suffix: str = ""
    titled: bool = False
    person: int = 0
    company: str = ""
    bare: str = ""
    words: tuple[str, ...] = ()
    acronym: str = ""
    letters: frozenset[str] = frozenset()

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """How much a name tells: among names that fit, one joins those that tell more."""
        parts = [part for part in (self.first, *self.middle, self.last) if part]
        if not self.person:
            parts = list(self.words)
        full = sum(not part.endswith(".") for part in parts)
        formal = self.first in known.FORMAL.get(self.first, ())
        extra = bool(self.gender) + bool(self.company) + (bool(self.last) and not self.first)
        alone = bool(self.acronym) and full < 2
        return (not alone, full, len(parts) - full, formal, extra, len(self.words))


@keeps_texts
@lru_cache(maxsize=16_384)
def form_of(name: str) -> Form:
    """What a name is made of.

    >>> form = form_of("Dr. Ann M. Lee")
    >>> form.first, form.middle, form.last, form.person
    ('ann', ('m.',), 'lee', 2)
    >>> form_of("IBM").acronym, sorted(form_of("New York City").letters)
    ('ibm', ['nyc'])
    """
    text = " ".join(unicodedata.normalize("NFKC", name).translate(KEYS).split())
    if text.casefold().rstrip(".") not in known.COMPANIES:
        text = re.sub(r"(?<=\w)'s$|(?<=s)'$", _possessive(text), text.strip(_EDGES))
    shown = _shown(text)
    low = [_folded(word) for word in shown]
    if not low:
        return Form(key=f"={unicodedata.normalize('NFKC', name).strip().casefold() or name}")
    return _made(shown, low)


def _possessive(text: str) -> str:
    return "'s" if text.casefold().split()[-1:] and text.casefold().split()[-1] in _BRANDS else ""


def _shown(text: str) -> list[str]:
    """The words as written, initials with their dot; "Lee, Ann" turned round."""
    last, comma, first = text.partition(",")
    bare = first.strip().rstrip(".").casefold()
    if comma and "," not in first and bare not in known.COMPANIES and bare not in known.SUFFIXES:
        head = re.split(r"[ -]", first.strip())[0].rstrip(".").casefold()
        if len(last.split()) == 1 and (len(head) == 1 or _folded(head) in known.FIRST):
            text = f"{first.strip()} {last}"
    if _DOTTED.fullmatch(text):
        text = re.sub(r"[. ]", "", text).upper() if len(text) > 3 else text
    text = _INITIALS.sub(" ", text)
    words = [word.strip(_EDGES) for word in _SPLIT.split(text.replace("&", " and "))]
    return [word for word in words if word.strip(".")]


def _folded(word: str) -> str:
    """Small letters without accents; a letter with a dot is an initial, any other dot goes."""
    low = word.casefold()
    if not low.isascii():
        low = unicodedata.normalize("NFKD", low)
        low = "".join([sign for sign in low if not unicodedata.combining(sign)])
        low = low.replace("\u00f8", "o").replace("\u0142", "l").replace("\u2019", "")
    low = low.replace("'", "")
    return low if len(low) == 2 and low[1] == "." and low[0].isalpha() else low.strip(".") or low


def _made(shown: list[str], low: list[str]) -> Form:
    if len(low) > 1 and low[0] in _LEADING:
        shown, low = shown[1:], low[1:]
    titles = 0
    while titles < len(low) - 1 and low[titles] in known.TITLES:
        titles += 1
    told = set(low[:titles])
    gender = "m" if told & known.MALE else "f" if told & known.FEMALE else ""
    shown, low = shown[titles:], low[titles:]
    company = suffix = ""
    while len(low) > 1 and low[-1] in known.COMPANIES and not titles:
        company, low, shown = known.COMPANIES[low[-1]], low[:-1], shown[:-1]
    if len(low) > 1 and low[-1] in known.SUFFIXES:
        suffix, low, shown = known.SUFFIXES[low[-1]], low[:-1], shown[:-1]
    person = 0 if company else _person(shown, low, titled=bool(titles))
    bare = _compact(low)
    if suffix:
        bare += f" {suffix}"
    single = bool(titles) and len(low) == 1
    parts = _parts(low, titled=single) if person else ("", (), "")
    return Form(
        key="|".join([bare, gender, "t" if single else "", company]),
        first=parts[0],
        middle=parts[1],
        last=parts[2],
        gender=gender,
        suffix=suffix,
        titled=bool(titles),
        person=person,
        company=company,
        bare=bare,
        words=tuple(low),
        acronym=_acronym(shown) if not titles else "",
        letters=_letters(shown, low) if not titles else frozenset(),
    )


def _compact(low: list[str]) -> str:
    """The words with a blank between them only where a letter, an initial or a figure stands alone."""
    text = low[0]
    for before, word in pairwise(low):
        whole = len(before) > 1 and len(word) > 1 and (before + word).isalpha()
        text += word if whole else f" {word}"
    return text


def _person(shown: list[str], low: list[str], *, titled: bool) -> int:
    """2 for the name of a person, 1 for what may be one, 0 for another name."""
    initials = [len(word) == 2 and word.endswith(".") for word in low]
    alone = [len(word) == 1 for word in low]
    plain = all(word.rstrip(".").isalpha() for word in low) and len(low) <= 5
    things = known.NOT_NAMES.intersection(low)
    told = titled or low[0] in known.FIRST or initials[0]
    if (
        things
        and told
        and (len(low) > 1 or titled)
        and things <= known.SURNAMES.intersection(low[-1:])
    ):
        things = frozenset()
    if not plain or things or (len(low) > 1 and low[0] in LETTERED):
        return 0
    if all(initials) or all(alone):
        return 0
    if any(alone) and low[0] not in known.FIRST and not (alone[0] and shown[0].isupper()):
        return 0
    if titled or low[0] in known.FIRST or any(initials):
        return 2
    if not known.PARTICLES.isdisjoint(low[1:-1]) and low[1] in {"van", "von"}:
        return 2
    return 1 if len(low) > 1 or len(low[0]) > 1 else 0


def _parts(low: list[str], *, titled: bool) -> tuple[str, tuple[str, ...], str]:
    """First name, what stands between, and last name; of one word with a title, the last."""
    marked = [word + "." if len(word) == 1 else word for word in low]
    if len(marked) == 1:
        return ("", (), marked[0]) if titled else (marked[0], (), "")
    between = tuple([word for word in marked[1:-1] if word not in known.PARTICLES])
    return marked[0], between, marked[-1]


def _acronym(shown: list[str]) -> str:
    if len(shown) != 1:
        return ""
    word = shown[0].replace(".", "")
    long = 3 <= len(word) <= 6 and word.isupper() and word.isalpha()
    return word.casefold() if long or word in {"UK", "EU", "UN"} else ""


def _letters(shown: list[str], low: list[str]) -> frozenset[str]:
    """The acronyms of consecutive words with capitals; small words count or do not."""
    small = {"of", "and", "the", "for", "de", "in"}
    telling = [word for word, plain in zip(shown, low, strict=True) if plain not in small]
    proper = all(word[0].isupper() and len(word) > 1 for word in telling)
    if len(telling) < 2 or not proper or any(word.isupper() and len(word) > 2 for word in telling):
        return frozenset()
    found = {"".join(word[0] for word in words).casefold() for words in (telling, shown)}
    return frozenset(letters for letters in found if len(letters) > 1 and letters.isalpha())
