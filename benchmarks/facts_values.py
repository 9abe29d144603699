"""Values of states with their wordings, and values that look alike but are others.

A `Value` has several wordings, each of a family ("case", "number", "date", ...): the same value said
in another way. `near` makes another value of almost the same letters: another number, date, name,
unit, or its negation. Both are made from a seed and by none of the code that is judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

__all__ = ["KINDS", "Value", "Wording", "fresh", "near"]

CITIES: Final = (
    "Lisbon Porto Faro Oslo Bergen Turin Milan Ghent Bruges Leeds York Cork Galway Vienna Graz Basel "
    "Bern Berlin Munich Lyon Lille Nantes Riga Tartu Vilnius Kaunas Gdansk Krakow Malmo Uppsala"
).split()
FIRST: Final = (
    "Mara Mark Anna Anne Ines Igor Omar Olga Tomas Tanya Lena Leon Priya Pavel Nina Noor Hugo Hana"
).split()
LAST: Final = (
    "Lindqvist Lindgren Berg Berger Costa Castro Novak Nowak Okafor Okoro Silva Salgado Haas Haase"
).split()
FIRMS: Final = "Acme Borealis Cobalt Delphi Everline Fjord Granite Halcyon Ironwood Juniper".split()
FORMS: Final = ("Labs", "Group", "Foods", "Systems", "Partners")
SHADES: Final = ("dark", "light", "pale", "bright")
COLOURS: Final = "green blue red grey purple orange brown pink yellow".split()
WAITING: Final = ("waiting for", "blocked by", "delayed by", "approved by", "rejected by")
BODIES: Final = "legal review|design review|security team|finance team|data team|board".split("|")
THINGS: Final = (
    "olive|fig|red apple|green tea cup|jazz record|crime novel|board game|long walk".split("|")
)
MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)
COINS: Final = {"EUR": ("euros", "\u20ac"), "USD": ("dollars", "$")}
UNITS: Final = {"km": "kilometres", "kg": "kilograms", "GB": "gigabytes", "mi": "miles"}
NUMBERS: Final = "two three four five six seven eight nine ten eleven twelve".split()


@dataclass(frozen=True)
class Wording:
    """One way to say a value, and what it does to the plain one."""

    text: str
    family: str


@dataclass(frozen=True)
class Value:
    """What holds: `key` is equal for equal values alone; the first wording is the plain one."""

    kind: str
    key: tuple[object, ...]
    wordings: tuple[Wording, ...]

    @property
    def plain(self) -> str:
        """The plain wording."""
        return self.wordings[0].text


def fresh(kind: str, random: random.Random) -> Value:
    """A value of a kind."""
    return MAKERS[kind](DRAWS[kind](random))


def near(value: Value, random: random.Random) -> tuple[Value, str]:
    """(a value that only looks like the other one, in what they differ)."""
    chances = list(NEAR[value.kind](value.key, random))
    key, family = random.choice([item for item in chances if item[0] != value.key])
    return MAKERS[value.kind](key), family


Key = tuple[object, ...]


def _value(kind: str, key: Key, plain: str, *more: tuple[str, str]) -> Value:
    said = {plain: "plain"}
    for text, family in (
        *more,
        (plain.lower(), "case"),
        (plain.upper(), "case"),
        (f" {plain}. ", "signs"),
        (f'"{plain}"', "signs"),
    ):
        said.setdefault(text, family)
    return Value(kind, key, tuple(Wording(*item) for item in said.items()))


def _place(key: Key) -> Value:
    city = str(key[0])
    return _value("place", key, city, (f"now {city}", "filler"), (f"the city of {city}", "filler"))


def _person(key: Key) -> Value:
    first, last = map(str, key)
    return _value("person", key, f"{first} {last}", (f"{last}, {first}", "order"))


def _firm(key: Key) -> Value:
    plain = f"{key[0]} {key[1]}"
    return _value("firm", key, plain, (f"the {plain}", "articles"), (f"{plain} now", "filler"))


def _money(key: Key) -> Value:
    amount, coin = int(str(key[0])), str(key[1])
    name, sign = COINS[coin]
    return _value(
        "money",
        key,
        f"{amount:,} {coin}",
        (f"{amount} {coin}", "number"),
        (f"{amount / 1000:g}k {coin}", "number"),
        (f"{amount:,} {name}", "units"),
        (f"{sign}{amount:,}", "units"),
        (f"{coin} {amount:,}", "order"),
    )


def _date(key: Key) -> Value:
    day = date.fromisoformat(str(key[0]))
    month = MONTHS[day.month - 1]
    ending = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return _value(
        "date",
        key,
        f"{day.day} {month} {day.year}",
        (f"{month} {day.day}, {day.year}", "date"),
        (day.isoformat(), "date"),
        (f"the {day.day}{ending} of {month} {day.year}", "date"),
        (f"{day.day} {month[:3]} {day.year}", "date"),
    )


def _amount(key: Key) -> Value:
    number, unit = int(str(key[0])), str(key[1])
    return _value(
        "amount",
        key,
        f"{number} {unit}",
        (f"{number}{unit}", "units"),
        (f"{number} {UNITS[unit]}", "units"),
        (f"exactly {number} {unit}", "filler"),
    )


def _version(key: Key) -> Value:
    plain = str(key[0])
    return _value("version", key, plain, (f"v{plain}", "version"), (f"version {plain}", "version"))


def _state(key: Key) -> Value:
    negated, verb, body = key
    plain = f"{'not ' if negated else ''}{verb} {body}"
    with_article = f"{'not ' if negated else ''}{verb} the {body}"
    return _value(
        "state",
        key,
        plain,
        (with_article, "articles"),
        (f"currently {plain}", "filler"),
        (f"{plain} at the moment", "filler"),
    )


def _colour(key: Key) -> Value:
    shade, colour = map(str, key)
    plain = f"{shade} {colour}"
    return _value("colour", key, plain, (f"{shade}-{colour}", "signs"), (f"a {plain}", "articles"))


def _count(key: Key) -> Value:
    number, thing = int(str(key[0])), str(key[1])
    return _value(
        "count",
        key,
        f"{number} {thing}s",
        (f"{NUMBERS[number - 2]} {thing}s", "number"),
        (f"the {number} {thing}s", "articles"),
    )


def _thing(key: Key) -> Value:
    plain = str(key[0])
    return _value("thing", key, f"{plain}s", (plain, "plural"), (f"the {plain}s", "articles"))


MAKERS: Final[dict[str, Callable[[Key], Value]]] = {
    "amount": _amount,
    "colour": _colour,
    "count": _count,
    "date": _date,
    "firm": _firm,
    "money": _money,
    "person": _person,
    "place": _place,
    "state": _state,
    "thing": _thing,
    "version": _version,
}
KINDS: Final = tuple(MAKERS)

DRAWS: Final[dict[str, Callable[[random.Random], Key]]] = {
    "amount": lambda r: (r.randint(11, 98), r.choice(list(UNITS))),
    "colour": lambda r: (r.choice(SHADES), r.choice(COLOURS)),
    "count": lambda r: (r.randint(2, 12), r.choice(("seat", "licence", "cat"))),
    "date": lambda r: ((date(2026, 1, 1) + timedelta(r.randrange(700))).isoformat(),),
    "firm": lambda r: (r.choice(FIRMS), r.choice(FORMS)),
    "money": lambda r: (500 * r.randint(3, 199), r.choice(list(COINS))),
    "person": lambda r: (r.choice(FIRST), r.choice(LAST)),
    "place": lambda r: (r.choice(CITIES),),
    "state": lambda r: (False, r.choice(WAITING), r.choice(BODIES)),
    "thing": lambda r: (r.choice(THINGS),),
    "version": lambda r: (f"{r.randint(1, 9)}.{r.randint(1, 19)}.{r.randint(1, 9)}",),
}

Chances = Iterator[tuple[Key, str]]


def _near_amount(key: Key, _: random.Random) -> Chances:
    number = int(str(key[0]))
    yield (number + 1, key[1]), "number"
    yield (number * 10, key[1]), "number"
    yield (int(str(number)[::-1]), key[1]), "number"
    for unit in UNITS:
        yield (number, unit), "unit"


def _near_date(key: Key, _: random.Random) -> Chances:
    day = date.fromisoformat(str(key[0]))
    for days in (1, 7, 10):
        yield ((day + timedelta(days)).isoformat(),), "date"
    yield (day.replace(month=day.month % 12 + 1, day=min(day.day, 28)).isoformat(),), "date"
    yield (day.replace(year=day.year + 1, day=min(day.day, 28)).isoformat(),), "date"


def _near_money(key: Key, _: random.Random) -> Chances:
    amount = int(str(key[0]))
    for other in (amount * 10, amount + 500, amount + 50):
        yield (other, key[1]), "number"
    yield (amount, "USD" if key[1] == "EUR" else "EUR"), "unit"


def _near_state(key: Key, r: random.Random) -> Chances:
    yield (not key[0], key[1], key[2]), "negation"
    yield (key[0], r.choice(WAITING), key[2]), "words"
    yield (key[0], key[1], r.choice(BODIES)), "words"


def _near_version(key: Key, _: random.Random) -> Chances:
    first, second, third = (int(part) for part in str(key[0]).split("."))
    for parts in ((first, second, third + 1), (first, second + 1, third), (first + 1, second, 0)):
        yield (".".join(map(str, parts)),), "version"
    yield (f"{first}.{second}{third}.0",), "version"


def _near_count(key: Key, r: random.Random) -> Chances:
    number = int(str(key[0]))
    yield (number % 11 + 2, key[1]), "number"
    yield (
        (number, r.choice([thing for thing in ("seat", "licence", "cat") if thing != key[1]])),
        ("unit"),
    )


def _near_words(choices: tuple[tuple[str, ...], ...], family: str) -> Callable[..., Chances]:
    """One of the words is another one; where there is one word, the likest of all others."""

    def chances(key: Key, _: random.Random) -> Chances:
        for at, words in enumerate(choices):
            likest = sorted(words, key=lambda word: (-_common(word, str(key[at])), word))
            for word in likest[:4]:
                yield (*key[:at], word, *key[at + 1 :]), family

    return chances


def _common(one: str, other: str) -> int:
    """Letters that two words begin with alike."""
    pairs = list(zip(one, other, strict=False))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))


NEAR: Final[dict[str, Callable[..., Chances]]] = {
    "amount": _near_amount,
    "colour": _near_words((SHADES, tuple(COLOURS)), "words"),
    "count": _near_count,
    "date": _near_date,
    "firm": _near_words((tuple(FIRMS), FORMS), "name"),
    "money": _near_money,
    "person": _near_words((tuple(FIRST), tuple(LAST)), "name"),
    "place": _near_words((tuple(CITIES),), "name"),
    "state": _near_state,
    "thing": _near_words((tuple(THINGS),), "words"),
    "version": _near_version,
}
