"""Wordings of one relation brought to one key: "lives in", "is residing in", "home"."""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import Final

import Stemmer

from rag_memory_plugins.facts import words
from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.router.wording import KEYS

__all__ = ["predicate_key"]

_LONGEST: Final = 200
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_AUXILIARIES: Final = frozenset(
    "is are am was were be been being has have had having do does did will would shall should can "
    "could may might must gets get got getting".split()
)
_DROPPED: Final = frozenset(
    "the a an his her their its my your our user's users currently now presently nowadays just "
    "still already also really actually usually recently".split()
)
_IDLE: Final = _AUXILIARIES | _DROPPED
_SYNONYMS: Final = {
    "live in": "lives at, resides in, resides at, dwells in, based in, located in, living at, "
    "home, home city, current city, city of residence, residence, place of residence, "
    "residing place, lives, resides, living place, current residence, home is in, home location, "
    "current location, stays in, makes home in, location",
    "work at": "works for, works in company, employed by, employed at, employer, employed with, "
    "company, workplace, place of work, job at, current employer, works with company, staff at",
    "job": "works as, occupation, profession, job title, employed as, role, position, job role, "
    "current role, title, current job, work role, serves as, current position",
    "status": "state, current state, current status, condition, remains, stands at, status of",
    "like": "loves, enjoys, fond of, likes to, loves to, enjoys doing, into, keen on",
    "dislike": "hates, not like, can not stand, dislikes, detests, not enjoy, not fond of",
    "prefer": "preference, preferred, prefers to, favors",
    "favorite": "favorite thing, favourite",
    "name": "called, named, full name, goes by, name of",
    "own": "possesses, owner of, owns",
    "birthday": "born on, birth date, date of birth, birthdate, dob, birth day",
    "birthplace": "born in, place of birth, born at, birth place",
    "origin": "from, comes from, came from, hails from, hometown, home town, native of, grew up in, "
    "originally from, place of origin",
    "move to": "relocated to, moves to, relocating to",
    "marry": "married to, spouse, spouse of, husband, wife, weds, wedded to, husband of, wife of",
    "age": "years old, aged, age of, age in years",
    "study at": "attends, enrolled at, enrolled in, student at, studies in school, school, "
    "university, college, goes to school at",
    "study": "majors in, major, field of study, subject of study",
    "graduate from": "alma mater, graduated at, degree from",
    "deadline": "due, due date, due on, due by, due at",
    "cost": "price, costs, priced at, cost of, price of, amount",
    "use": "uses, utilizes, relies on, using",
    "email": "email address, e mail, e mail address, contact email",
    "phone": "phone number, telephone, telephone number, mobile, mobile number, cell phone, "
    "cell number, contact number",
    "address": "postal address, mailing address, home address, street address",
    "speak": "languages, language, speaks language, spoken language, fluent in, languages spoken",
    "allergic to": "allergy, allergies, allergy to, has allergy to",
    "manage": "manager of, leads, in charge of, heads, head of, team lead of, responsible for",
    "report to": "manager, boss, supervisor, managed by, reports directly to, line manager",
    "start on": "starts, begins, begins on, start date, starting on, starts at, begin date",
    "end on": "ends, finishes, finishes on, end date, ends at, ending on",
    "hobby": "hobbies, pastime, pastimes, hobby of, interest, interests, interested in",
    "assign to": "assignee, assigned, owner, assigned owner",
    "version": "version number, runs version, at version, release",
    "goal": "aims to, aim, objective, goal of, wants to achieve, target",
    "plan": "plans to, intends to, planning to, going to, plans on",
    "want": "wants to, wishes to, wish",
    "need": "needs to, requires, require",
}
"""Each key, and what else is said for it; compared when auxiliaries and filler are gone."""


class _Stems(threading.local):
    """A stemmer holds a buffer, so each thread has its own."""

    def __init__(self) -> None:
        self.stemmer = Stemmer.Stemmer("english")


_stems: Final = _Stems()


def predicate_key(text: str) -> str:
    """One key for the wordings of one relation; tense, auxiliaries, case and filler do not count.

    Prepositions do: who works with somebody does not work for them. A negation stays.

    >>> {predicate_key(said) for said in ("lives in", "is residing in", "livesIn", "Home")}
    {'live in'}
    >>> predicate_key("is currently"), predicate_key("works with"), predicate_key("not likes")
    ('status', 'work with', 'dislike')
    """
    return _kept(text) if len(text) <= _LONGEST else _key(text)


def _key(text: str) -> str:
    plain = _HUMP.sub(" ", unicodedata.normalize("NFKC", text).translate(KEYS)).casefold()
    plain = " ".join(_WORD.findall(plain.replace("_", " ")))
    said = [part for word in plain.split() for part in _spelt(word)]
    if not said:
        return text.strip().casefold()
    telling = [word for word in said if word not in _IDLE]
    if not telling:
        return _idle(said)
    stems = " ".join(map(_stem, telling))
    return _AS_SAID.get(" ".join(telling)) or _STEMMED.get(stems, stems)


_kept: Final = keeps_texts(lru_cache(maxsize=8_192)(_key))


def _spelt(word: str) -> list[str]:
    if word in words.WHOLE:
        return words.WHOLE[word].split()
    for ending, full in words.ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return [word[: -len(ending)], full]
    return [words.SPELLING.get(word, word)]


def _idle(said: list[str]) -> str:
    """The key of a predicate that is nothing but auxiliaries: is, is a, has, will be."""
    if not _HAS.isdisjoint(said) and _BE.isdisjoint(said):
        return "have"
    if said[-1] in {"a", "an"} and not _BE.isdisjoint(said):
        return "kind"
    return "status" if not _BE.isdisjoint(said) else " ".join(said)


_BE: Final = frozenset("is are am was were be been being".split())
_HAS: Final = frozenset("has have had having".split())


def _stem(word: str) -> str:
    stem: str = _stems.stemmer.stemWord(_IRREGULAR.get(word, word))
    return stem


_IRREGULAR: Final = {
    "lived": "live", "living": "live", "drank": "drink", "drunk": "drink", "ate": "eat",
    "eaten": "eat", "wrote": "write", "written": "write", "spoke": "speak", "spoken": "speak",
    "bought": "buy", "sold": "sell", "met": "meet", "taught": "teach", "went": "go", "gone": "go",
    "goes": "go", "knew": "know", "known": "know", "made": "make", "ran": "run", "sang": "sing",
    "took": "take", "taken": "take", "drove": "drive", "driven": "drive", "led": "lead",
    "held": "hold", "kept": "keep", "built": "build", "began": "begin", "begun": "begin",
    "paid": "pay", "wore": "wear", "grew": "grow", "grown": "grow", "came": "come", "saw": "see",
    "seen": "see", "gave": "give", "given": "give", "studies": "study", "left": "leave",
    "felt": "feel", "won": "win", "chose": "choose", "chosen": "choose", "played": "play",
}  # fmt: skip


def _telling(wording: str) -> list[str]:
    said = [part for word in wording.split() for part in _spelt(word)]
    return [word for word in said if word not in _IDLE] or said


_WORDINGS: Final = [
    (_telling(wording), key)
    for key, said in _SYNONYMS.items()
    for wording in (key, *said.split(", "))
]
# Somebody's manager is not whom they manage, though both have one stem.
_AS_SAID: Final = {" ".join(telling): key for telling, key in _WORDINGS}
_STEMMED: Final = {" ".join(map(_stem, telling)): key for telling, key in reversed(_WORDINGS)}
