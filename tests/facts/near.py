"""Values made up: other ways to write one, and others that differ in what matters."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.router.edits import in_words

MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FIRST = (
    "Ann Anna Jon Joan John Maria Mario Marie Marta Bob Rob Erik Erika Eric Daniel Daniela Paul "
    "Paula Julia Julian Julie Louis Louise Carla Carlo Simon Simone Martin Martina Hanna Hannah"
).split()
LAST = "Lee Li Kim Kimm Anderson Andersen Silva Silver Brown Browne Meyer Meier Stone Storm".split()
CITIES = (
    "Lisbon Oslo Porto Leeds Turin Graz Perth Dakar Austria Australia Slovakia Slovenia".split()
)
THINGS = "car house bike table lamp jacket phone laptop garden kitchen project contract".split()
COLOURS = "red blue green yellow black white brown purple".split()
SIZES = "big small old new tall round cheap expensive".split()
UNITS = [
    ("km", "kilometers", "kilometres"), ("kg", "kilograms", "kilos"), ("h", "hours", "hrs"),
    ("GB", "gigabytes", "gb"), ("miles", "mile", "miles"), ("min", "minutes", "mins"),
    ("lbs", "pounds", "lb"), ("weeks", "week", "weeks"), ("cm", "centimeters", "centimetres"),
]  # fmt: skip
OPPOSITES = [
    pair.split()
    for pair in (
        "before after", "open closed", "on off", "left right", "enabled disabled", "hot cold",
        "approved unapproved", "married unmarried", "legal illegal", "paid unpaid", "more less",
        "increase decrease", "first last", "public private", "upper lower", "visible invisible",
        "likes dislikes", "complete incomplete", "maximum minimum", "accepted rejected",
        "happy unhappy", "employed unemployed", "secure insecure", "connected disconnected",
        "employer employee", "trainer trainee", "hypertension hypotension", "import export",
        "maternal paternal", "internal external", "overweight underweight", "inbound outbound",
        "older younger", "senior junior", "marital martial", "contacted contracted",
        "stationary stationery", "conservation conversation", "singing signing", "morning evening",
    )
]  # fmt: skip
BRITISH = "colour color, centre center, grey gray, favourite favorite, organised organized"
MISTYPED = (
    "accommodation accomodation, government goverment, environment enviroment, definitely "
    "definately, separately seperately, recommendation recomendation, professional profesional, "
    "photography photograhpy, apartment apratment, receiving recieving, committee comittee, "
    "occurrence occurence, independent independant, successful succesful, restaurant restaraunt"
)


def nth(number: int) -> str:
    ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def same_pairs(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(what was done, a value, the same value in other words), `count` of them."""
    rng = random.Random(seed)
    ways = [
        _number, _scaled, _percent, _money, _date, _clock, _unit, _spelling, _list, _adjectives,
        _plural, _filler, _typo, _initials, _case, _hyphen, _of, _phrases, _contraction, _name,
    ]  # fmt: skip
    for at in range(count):
        way = ways[at % len(ways)]
        a, b = way(rng)
        if rng.random() < 0.5:
            a, b = b, a
        yield way.__name__.strip("_"), a, b


def _number(rng):
    number, thing = rng.randint(2, 9_999), rng.choice(THINGS)
    ways = [f"{number}", f"{number:,}", in_words(number)]
    a, b = rng.sample(ways, 2)
    return f"{a} {thing}s", f"{b} {thing}s"


def _scaled(rng):
    number = rng.randint(2, 99)
    a, b = rng.sample(
        [f"{number}k", f"{number},000", f"{number * 1000}", f"{in_words(number)} thousand"], 2
    )
    return a, b


def _percent(rng):
    number = rng.randint(2, 99)
    return tuple(
        rng.sample(
            [f"{number}%", f"{number} percent", f"{in_words(number)} percent", f"{number} %"], 2
        )
    )


def _money(rng):
    tenths = rng.randint(11, 99)
    number = f"{tenths // 10}.{tenths % 10}"
    full = f"{tenths * 100_000:,}"
    ways = [
        f"${number}M",
        f"{number} million dollars",
        f"USD {full}",
        f"${full}",
        f"${number} million",
    ]
    return tuple(rng.sample(ways, 2))


def _date(rng):
    year, month, day = rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28)
    name = MONTHS[month - 1]
    ways = [
        f"{name} {day}, {year}", f"{day} {name} {year}", f"{year}-{month:02}-{day:02}",
        f"{name[:3]} {day}, {year}", f"{name} {nth(day)}, {year}", f"the {nth(day)} of {name} {year}",
    ]  # fmt: skip
    return tuple(rng.sample(ways, 2))


def _clock(rng):
    hour, minute = rng.randint(1, 11), rng.choice([0, 15, 30, 45])
    ways = [f"{hour}:{minute:02} pm", f"{hour + 12}:{minute:02}", f"{hour}:{minute:02}pm"]
    if not minute:
        ways += [f"{hour} pm", f"{hour}pm"]
    return tuple(rng.sample(ways, 2))


def _unit(rng):
    number, units = rng.randint(2, 90), rng.choice(UNITS)
    ways = [
        f"{number} {units[0]}",
        f"{number} {units[1]}",
        f"{number} {units[2]}",
        f"{in_words(number)} {units[1]}",
    ]
    if len(units[0]) < 3:
        ways.append(f"{number}{units[0]}")
    return tuple(rng.sample(ways, 2))


def _spelling(rng):
    british, american = rng.choice(BRITISH.split(", ")).split()
    thing = rng.choice(THINGS)
    return f"{british} {thing}", f"{american} {thing}"


def _list(rng):
    words = rng.sample(THINGS, rng.randint(2, 4))
    other = rng.sample(words, len(words))
    return f"{', '.join(words[:-1])} and {words[-1]}", rng.choice(
        [", ".join(other), " and ".join(other)]
    )


def _adjectives(rng):
    size, colour, thing = rng.choice(SIZES), rng.choice(COLOURS), rng.choice(THINGS)
    return f"{size} {colour} {thing}", rng.choice(
        [f"{colour} {size} {thing}", f"{thing}, {size} {colour}"]
    )


def _plural(rng):
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    return f"{colour} {thing}", f"{colour} {thing}s"


def _filler(rng):
    city, thing = rng.choice(CITIES), rng.choice(THINGS)
    return rng.choice([
        (f"in {city}", f"currently in {city}"), (f"in {city}", f"now in {city}"),
        (f"a {thing}", f"just a {thing}"), (city, f"the city of {city}"),
        (f"in {city}", f"in {city} at the moment"), (f"the {thing}", thing),
    ])  # fmt: skip


def _typo(rng):
    right, wrong = rng.choice(MISTYPED.split(", ")).split()
    word = rng.choice(COLOURS)
    return rng.choice([(f"{right} {word}", f"{wrong} {word}"), (right, wrong)])


def _initials(rng):
    words = [
        rng.choice(CITIES),
        rng.choice(LAST),
        rng.choice(["Company", "Group", "Museum", "Bank"]),
    ]
    thing = rng.choice(THINGS)
    short = "".join(word[0] for word in words)
    return rng.choice(
        [(short, " ".join(words)), (f"{short} {thing}", f"{' '.join(words)} {thing}")]
    )


def _case(rng):
    text = f"{rng.choice(COLOURS)} {rng.choice(THINGS)} in {rng.choice(CITIES)}"
    return text, rng.choice(
        [text.upper(), text.title(), f" {text}. ", f'"{text}"', text.replace(" ", "  ")]
    )


def _hyphen(rng):
    pair = rng.choice(
        ["full time", "part time", "left handed", "gluten free", "long term", "well known"]
    )
    thing = rng.choice(THINGS)
    return f"{pair} {thing}", f"{pair.replace(' ', '-')} {thing}"


def _of(rng):
    a, b = (
        rng.sample(["sales", "marketing", "finance", "design", "research"], 1)[0],
        rng.choice(["head", "director"]),
    )
    return f"{b} of {a}", f"{a} {b}"


def _phrases(rng):
    thing, city, year = rng.choice(THINGS), rng.choice(CITIES), rng.randint(1990, 2030)
    return f"{thing} in {city} since {year}", f"{thing} since {year} in {city}"


def _contraction(rng):
    thing = rng.choice(THINGS)
    short, full = rng.choice(
        [("doesn't", "does not"), ("can't", "cannot"), ("isn't", "is not"), ("won't", "will not")]
    )
    return f"{short} need a {thing}", f"{full} need a {thing}"


def _name(rng):
    first, last = rng.choice(FIRST), rng.choice(LAST)
    return f"{first} {last}", rng.choice([f"{last}, {first}", f"{first}  {last}".lower()])


def different_pairs(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(what was changed, a value, one that is near and another), `count` of them."""
    rng = random.Random(seed)
    ways = [
        _digit, _swapped, _negated, _other_name, _other_unit, _other_month, _opposite, _subset,
        _letter, _version, _identifier, _currency, _weekday, _turned, _spoken_number, _ordinal,
    ]  # fmt: skip
    for at in range(count):
        way = ways[at % len(ways)]
        a, b = way(rng)
        if rng.random() < 0.5:
            a, b = b, a
        yield way.__name__.strip("_"), a, b


def _other(rng, among, one):
    return rng.choice([each for each in among if each != one])


def _digit(rng):
    digits = str(rng.randint(10, 999_999))
    at = rng.randrange(len(digits))
    changed = digits[:at] + _other(rng, "123456789", digits[at]) + digits[at + 1 :]
    text = rng.choice(["{}", "{} euros", "order {}", "about {} people", "{} kg", "${}"])
    return text.format(digits), text.format(changed)


def _swapped(rng):
    a, b = rng.sample(range(1, 99), 2)
    one, two = rng.sample(THINGS, 2)
    return f"{a} {one}s and {b} {two}s", f"{b} {one}s and {a} {two}s"


def _negated(rng):
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    return rng.choice([
        (f"{colour} {thing}", f"not a {colour} {thing}"), (f"has a {thing}", f"has no {thing}"),
        (f"with a {thing}", f"without a {thing}"), (f"needs a {thing}", f"doesn't need a {thing}"),
        (f"{thing}, not {colour}", f"{colour}, not {thing}"), (f"just a {thing}", f"not just a {thing}"),
    ])  # fmt: skip


def _other_name(rng):
    first, last = rng.choice(FIRST), rng.choice(LAST)
    if rng.random() < 0.5:
        return f"{first} {last}", f"{_other(rng, FIRST, first)} {last}"
    return rng.choice([f"{first} {last}", last]), f"{first} {_other(rng, LAST, last)}"


def _other_unit(rng):
    a, b = rng.sample(range(len(UNITS)), 2)
    number = rng.randint(2, 90)
    return f"{number} {UNITS[a][rng.randrange(3)]}", f"{number} {UNITS[b][rng.randrange(3)]}"


def _other_month(rng):
    a, b = rng.sample(MONTHS, 2)
    day, year = rng.randint(1, 28), rng.randint(1990, 2030)
    text = rng.choice(["{} {day}, {year}", "{day} {} {year}", "{} {day}", "in {}", "{} {year}"])
    return text.format(a, day=day, year=year), text.format(b, day=day, year=year)


def _opposite(rng):
    a, b = rng.choice(OPPOSITES)
    thing = rng.choice(THINGS)
    text = rng.choice(["{}", "{} {thing}", "{thing} is {}", "the {thing} was {}"])
    return text.format(a, thing=thing), text.format(b, thing=thing)


def _subset(rng):
    colour, thing, city = rng.choice(COLOURS), rng.choice(THINGS), rng.choice(CITIES)
    return rng.choice([
        (f"{colour} {thing}", thing), (f"{thing} in {city}", thing), (f"{thing}, {colour}", f"{thing}"),
        (f"{rng.choice(FIRST)} {rng.choice(LAST)}", rng.choice(CITIES)),
        (f"{colour} {thing} in {city}", f"{colour} {thing}"),
    ])  # fmt: skip


def _letter(rng):
    a, b = rng.sample("ABCDEFGHK", 2)
    noun = rng.choice(["Team", "Plan", "vitamin", "group", "Option", "Room 4", "building", "Type"])
    return f"{noun} {a}", f"{noun} {b}"


def _version(rng):
    major, minor, other = rng.randint(1, 20), *rng.sample(range(20), 2)
    text = rng.choice(["v{}.{}", "Python {}.{}", "version {}.{}", "release {}.{}.1"])
    return text.format(major, minor), text.format(major, other)


def _identifier(rng):
    letters = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=rng.randint(2, 4)))
    a, b = rng.sample(range(10, 99_999), 2)
    sign = rng.choice(["-", "", "_", "#"])
    return f"{letters}{sign}{a}", f"{letters}{sign}{b}"


def _currency(rng):
    number = rng.randint(2, 900)
    a, b = rng.sample(["${}", "€{}", "£{}", "{} yen", "{} percent", "{}"], 2)
    return a.format(number), b.format(number)


def _weekday(rng):
    a, b = rng.sample(DAYS, 2)
    text = rng.choice(["{}", "on {}", "every {}", "{} at 9:00", "from {} on"])
    return text.format(a), text.format(b)


def _turned(rng):
    a, b = rng.sample(CITIES, 2)
    one, two = rng.sample(FIRST, 2)
    thing, other = rng.sample(THINGS, 2)
    return rng.choice([
        (f"from {a} to {b}", f"from {b} to {a}"), (f"{one} loves {two}", f"{two} loves {one}"),
        (f"{thing} {other}", f"{other} {thing}"), (f"born in {a} and lives in {b}", f"born in {b} and lives in {a}"),
        (f"{thing} with a {other}", f"{other} with a {thing}"), (f"{one} in {a}, {two} in {b}", f"{one} in {b}, {two} in {a}"),
    ])  # fmt: skip


def _spoken_number(rng):
    a, b = rng.sample(range(2, 999), 2)
    return (
        f"{in_words(a)} {rng.choice(THINGS)}s",
        f"{rng.choice([in_words(b), str(b)])} {rng.choice(THINGS)}s",
    )


def _ordinal(rng):
    a, b = rng.sample(range(1, 40), 2)
    return (
        f"{nth(a)} {rng.choice(['floor', 'place', 'attempt'])}",
        f"{nth(b)} {rng.choice(['floor', 'place'])}",
    )
