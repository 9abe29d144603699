"""What can be decided: values of each kind, and the words that fill sentences and code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Final

from benchmarks.scenarios.vocabulary import vocabulary

__all__ = ["fields", "names_of", "value"]

MONTHS: Final = (
    "January February March April May June July August September October November December"
).split()
SURNAMES: Final = (
    "Abel Brandt Castellan Drummond Eklund Ferrante Gallagher Hovland Iversen Jarrow Kowalczyk "
    "Lindqvist Moreau Nakamura Oyelaran Petrov Quigley Rasmussen Santoro Thorne Ueda Vanterpool "
    "Whitlock Xu Ylonen Zamora Achebe Bellweather Corrigan Duval"
).split()


@cache
def words(section: str) -> list[str]:
    """Entries of a shared section: words on a line, or several parted by bars."""
    text = "|".join(vocabulary("ui").sections[section])
    return text.split("|") if "|" in text else text.split()


def _of(section: str) -> Callable[[Random], str]:
    return lambda random: random.choice(words(section))


def _number(low: int, high: int, text: str, step: int = 1) -> Callable[[Random], str]:
    return lambda random: text.format(random.randrange(low, high, step))


def _words(text: str) -> Callable[[Random], str]:
    def made(random: Random) -> str:
        noun, verb = random.choice(words("nouns")), random.choice(words("verbs"))
        adjective = random.choice(words("adjs"))
        return text.format(
            noun=noun,
            Noun=noun.title(),
            NOUN=noun.upper(),
            adj=adjective,
            Adj=adjective.title(),
            ADJ=adjective.upper(),
            verb=verb,
            other=random.choice(words("nouns")),
            number=random.randrange(100, 1000),
        )

    return made


KINDS: Final[Mapping[str, Callable[[Random], str]]] = {
    "px": _number(5, 90, "{}px"),
    "width": _number(480, 1_280, "{}px", 4),
    "hex": lambda random: f"#{random.randrange(2**24):06X}",
    "font": _of("fonts"),
    "milliseconds": _number(90, 990, "{} ms", 10),
    "label": _of("labels"),
    "package": _words("{adj}-{noun}-kit"),
    "person": lambda random: f"{random.choice(words('persons'))} {random.choice(SURNAMES)}",
    "date": lambda random: f"{random.randrange(1, 29)} {random.choice(MONTHS)}",
    "entries": _number(11, 140, "{} entries"),
    "icon": _of("icons"),
    "route": _words("/{adj}-{noun}"),
    "flag": _words("ff-{adj}-{noun}"),
    "seconds": lambda random: f"{random.randrange(2, 90)}.{random.randrange(1, 10)} seconds",
    "attempts": _number(4, 60, "{} attempts"),
    "module": _words("{adj}{noun}"),
    "exception": _words("{Adj}{Noun}Error"),
    "path": _words("src/{noun}/{verb}_{other}.py"),
    "variable": _words("{ADJ}_{NOUN}_KEY"),
    "port": _number(2_001, 9_990, "port {}"),
    "clock": lambda random: f"{random.randrange(24):02}:{random.randrange(5, 60, 5):02}",
    "rows": _number(110, 4_990, "{} rows", 10),
    "format": _of("formats"),
    "branch": _words("feat/{adj}-{noun}-{number}"),
    "money": lambda random: f"${random.randrange(19, 960)}.{random.randrange(10, 100)}",
    "sku": lambda random: (
        f"{random.choice('QRTVX')}{random.choice('BKXZ')}-{random.randrange(1_000, 9_999)}"
    ),
    "carrier": _of("carriers"),
    "percent": _number(6, 48, "{} %"),
    "plan": _of("plans"),
    "city": _of("cities"),
    "cause": lambda random: f"{random.choice(words('flaws'))} {random.choice(words('parts'))}",
    "invoice": _number(10_200, 98_000, "INV-{}", 7),
    "seats": _number(12, 240, "{} seats"),
}


def value(random: Random, kind: str) -> str:
    """One value of a kind."""
    return KINDS[kind](random)


def names_of(subject: str) -> dict[str, str]:
    """How code writes a subject: `the sign-in form` is `sign-in-form`, `SignInForm` and so on."""
    parts = re.findall(r"\w+", subject.removeprefix("the "))
    return {
        "kebab": "-".join(parts).lower(),
        "snake": "_".join(parts).lower(),
        "UPPER": "_".join(parts).upper(),
        "Camel": "".join(part.title() for part in parts),
        "name": subject,
    }


def fields(random: Random) -> dict[str, str]:
    """A filling for every field but the subject and the value: drawn anew for each sentence."""
    noun, second = random.sample(words("nouns"), 2)
    verb, other = random.sample(words("verbs"), 2)
    adjective, further = random.sample(words("adjs"), 2)
    return {
        "noun": noun,
        "nouns": f"{noun}s",
        "noun1": noun,
        "nouns1": f"{noun}s",
        "Noun1": noun.title(),
        "noun2": second,
        "nouns2": f"{second}s",
        "Noun2": second.title(),
        "adj": adjective,
        "adj1": adjective,
        "adj2": further,
        "verb": verb,
        "verb1": verb,
        "verb2": other,
        "Verb": verb.title(),
        "person": random.choice(words("persons")),
        "city": random.choice(words("cities")),
        "num": str(random.randrange(11, 99)),
        "digit": str(random.randrange(2, 10)),
        "big": str(random.randrange(1_000, 100_000)),
        "hash": f"{random.randrange(16**7):07x}",
        "day": f"2026-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}T"
        f"{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}Z",
        "camel": f"{verb}{noun.title()}",
        "Camel": f"{adjective.title()}{noun.title()}",
        "@": "@",
    }
