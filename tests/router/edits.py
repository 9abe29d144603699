"""Prompts made up, each with an edit that changes its answer, and ways to ask the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NAMES = (
    "Alice Boris Chandra Dmitri Elena Farid Grace Hiro Ines Jakob Kofi Lucia Marek Nadia".split()
)
CITIES = "Lisbon Oslo Nairobi Quito Hanoi Tallinn Bogota Dakar Perth Leeds Turin Graz".split()
LENGTHS = "km miles meters feet yards cm inches".split()
WEIGHTS = "kg pounds grams ounces tons".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth twelfth".split()
OPPOSITES = [
    line.split()
    for line in (
        "before after", "more less", "increase decrease", "enable disable", "open close",
        "maximum minimum", "highest lowest", "over under", "import export", "legal illegal",
        "paid unpaid", "upload download", "cheapest priciest", "include exclude", "first last",
        "left right", "buy sell", "start stop", "install uninstall", "oldest newest",
    )
]  # fmt: skip


def in_words(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    rest = f" {in_words(number % 1000)}" if number % 1000 else ""
    return f"{in_words(number // 1000)} thousand{rest}"


def roman(number: int) -> str:
    text = ""
    for value, sign in zip(
        (50, 40, 10, 9, 5, 4, 1), ("L", "XL", "X", "IX", "V", "IV", "I"), strict=True
    ):
        while number >= value:
            text, number = text + sign, number - value
    return text


def code(rng: random.Random) -> str:
    letters = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=rng.randint(1, 3)))
    return f"{letters}{rng.choice(['-', '', '_'])}{rng.randint(10, 99999)}"


def instant(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2035)
    return rng.choice(
        [
            f"{year}-{month:02}-{day:02}",
            f"{month}/{day}/{year}",
            f"{day} {MONTHS[month - 1]} {year}",
            f"{MONTHS[month - 1]} {day}, {year}",
            f"{MONTHS[month - 1]} {year}",
            f"the {day}th of {MONTHS[month - 1]}",
        ]
    )


VALUES: dict[str, Callable[[random.Random], str]] = {
    "digits": lambda rng: str(rng.randint(2, 9999)),
    "words": lambda rng: in_words(rng.choice([rng.randint(2, 99), rng.randint(100, 99_999)])),
    "thousands": lambda rng: f"{rng.randint(1_000, 9_999_999):,}",
    "decimal": lambda rng: f"{rng.randint(0, 99)}.{rng.randint(1, 99)}",
    "percent": lambda rng: f"{rng.randint(1, 99)}{rng.choice(['%', ' percent'])}",
    "money": lambda rng: f"{rng.choice('$€£')}{rng.randint(2, 9_999):,}",
    "fraction": lambda rng: f"{rng.randint(1, 8)}/{rng.randint(9, 17)}",
    "roman": lambda rng: roman(rng.randint(2, 39)),
    "ordinal": lambda rng: rng.choice(ORDINALS),
    "nth": lambda rng: f"{rng.randint(4, 20)}th",
    "code": code,
    "date": instant,
    "time": lambda rng: f"{rng.randint(1, 12)}:{rng.randint(0, 59):02} {rng.choice(['am', 'pm'])}",
    "day": lambda rng: rng.choice(DAYS),
    "month": lambda rng: rng.choice(MONTHS),
    "name": lambda rng: rng.choice(NAMES),
    "city": lambda rng: rng.choice(CITIES),
    "length": lambda rng: rng.choice(LENGTHS),
    "weight": lambda rng: rng.choice(WEIGHTS),
    "version": lambda rng: f"{rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
    "minor": lambda rng: f"{rng.randint(1, 3)}.{rng.randint(0, 20)}",
    "address": lambda rng: ".".join(str(rng.randint(0, 255)) for _ in range(4)),
    "phone": lambda rng: f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}",
    "mail": lambda rng: f"{rng.choice(NAMES).lower()}{rng.randint(1, 99)}@example.org",
    "url": lambda rng: f"https://example.org/{rng.choice(CITIES).lower()}/{rng.randint(1, 999)}",
    "quoted": lambda rng: f'"{rng.choice(CITIES).lower()} {rng.choice(NAMES).lower()}"',
    "span": lambda rng: f"`{rng.choice(NAMES).lower()}_{rng.choice(['get', 'put', 'cut'])}()`",
    "letter": lambda rng: rng.choice("xyznkt"),
}
NUMBERS = ("digits", "words", "thousands", "decimal", "money", "percent", "fraction")

# In braces: a kind of value; "number" is any of NUMBERS.
TEMPLATES = """
What is {number} divided by {number}?
How many apples are left when {number} of {number} are eaten?
A train goes {number} {length} in {number} hours, what is its speed?
Is account {code} still open for {name}?
Where is my order {code} and when does it arrive?
Please show me the status of ticket {code}.
How do I convert {digits} {length} to {length}?
What is {number} {weight} in {weight}?
How far is it from {city} to {city} by car?
Who flew from {city} to {city} on {date}?
Which day of the week was {date}?
What happened on {date} in {city}?
Is the office in {city} open on {day} at {time}?
Can I book a table for {words} on {day}?
When does the {nth} edition of the book appear?
Who was the {ordinal} person to sign the contract with {name}?
What did {name} say to {name} about the {ordinal} draft?
Who was the father of King Henry {roman}?
Summarize chapter {roman} of the book for {name}.
What changed in version {version} of the library?
Does Python {minor} have the feature that I need?
Which host has the address {address} in our network?
Who can I call at {phone} about the bill?
Is {mail} the address of {name}?
What does the page {url} say about prices?
Translate {quoted} into the language of the people there.
What does {span} return when it is called with {letter}?
How do I solve the equation for {letter} when the total is {number}?
What interest do I pay on {money} at {percent} over {words} years?
How much is a discount of {percent} on {money}?
How many days are there between {date} and {date}?
What is the rent in {city} for {number} rooms in {month}?
Does {name} owe {name} more than {money}?
Is {number} greater than {number} when both are rounded?
What is the sum of {words} and {words}?
How long do I cook {digits} grams of rice in {words} cups of water?
Which of my {words} flights leaves from {city} in {month}?
Give me the {ordinal} row and the {ordinal} column of the table.
Should I take {number} mg of it at {time}?
What is the capital of the country that {city} is in?
""".strip().splitlines()

POLAR = """
How do I {} the setting for all users?
Is it {} to park there without a permit?
What is the {} price for a ticket in {city}?
Tell me what happens {} the meeting with {name}.
Does it cost {} with a student card?
Which button is on the {} of the screen?
Can I {} the files of {name} at once?
""".strip().splitlines()


@dataclass(frozen=True)
class Case:
    prompt: str
    edited: str
    kind: str


def fill(template: str, rng: random.Random) -> list[tuple[str, str]]:
    """(kind, text) of a template's pieces; kind "" for what stands between."""
    pieces = []
    for part in template.replace("{", "\0{").replace("}", "}\0").split("\0"):
        if not part.startswith("{"):
            pieces.append(("", part))
            continue
        kind = part[1:-1]
        kind = rng.choice(NUMBERS) if kind == "number" else kind
        pieces.append((kind, VALUES[kind](rng)))
    return pieces


def other(kind: str, value: str, rng: random.Random) -> str:
    """A value near it: a digit more or less where there is one, else another of its kind."""
    digits = [at for at, sign in enumerate(value) if sign.isdigit()]
    if digits and rng.random() < 0.7:
        at = rng.choice(digits)
        digit = rng.choice([sign for sign in "123456789" if sign != value[at]])
        return value[:at] + digit + value[at + 1 :]
    for _ in range(100):
        new = VALUES[kind](rng)
        if new.casefold() != value.casefold():
            return new
    raise AssertionError(kind)


def joined(pieces: list[tuple[str, str]]) -> str:
    return "".join(text for _, text in pieces)


def cases(count: int, seed: int = 7, each: int = 1) -> Iterator[Case]:
    """`count` edits, up to `each` of one prompt: a value changed, two swapped, a word's opposite."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        some = [polar(rng)] if rng.random() < 0.1 else valued(rng, each)
        for case in some:
            if made < count and told(case.prompt) != told(case.edited):
                made += 1
                yield case


def told(prompt: str) -> str:
    """Equal for two ways to write one thing, which is no edit."""
    return prompt.casefold().replace(" percent", "%")


def valued(rng: random.Random, each: int) -> list[Case]:
    pieces = fill(rng.choice(TEMPLATES), rng)
    return [edit(pieces, rng) for _ in range(each)]


def edit(pieces: list[tuple[str, str]], rng: random.Random) -> Case:
    values = [at for at, (kind, _) in enumerate(pieces) if kind]
    edited = list(pieces)
    if len(values) > 1 and rng.random() < 0.25:
        one, two = rng.sample(values, 2)
        (kind, text), (kind_2, text_2) = pieces[one], pieces[two]
        edited[one], edited[two] = (kind, text_2), (kind_2, text)
        return Case(joined(pieces), joined(edited), "swapped")
    at = rng.choice(values)
    kind, text = pieces[at]
    edited[at] = (kind, other(kind, text, rng))
    return Case(joined(pieces), joined(edited), kind)


def polar(rng: random.Random) -> Case:
    template, pair = rng.choice(POLAR), list(rng.choice(OPPOSITES))
    rng.shuffle(pair)
    state = rng.getstate()
    prompt = joined(fill(template.replace("{}", pair[0]), rng))
    if rng.random() < 0.4:
        plain, without = (" with ", " without ") if " with " in prompt else ("?", " or not?")
        return Case(prompt, prompt.replace(plain, without, 1), "negation")
    rng.setstate(state)
    return Case(prompt, joined(fill(template.replace("{}", pair[1]), rng)), "opposite")


def asked_again(prompt: str, rng: random.Random) -> str:
    """The same question with what people put around it, or contracted."""
    small = prompt[0].lower() + prompt[1:] if not prompt.startswith("I ") else prompt
    ways = [
        f"Please tell me: {small}",
        f"Hi, {small}",
        f"{prompt} Thanks",
        f"So, {small}",
        prompt.replace("What is", "What's").replace("Who was", "So who was"),
        prompt.replace("How do I", "How can I").replace("What is", "Can you tell me what is"),
        prompt.replace("do I", "should I").replace("Give me", "Please show me"),
    ]
    return rng.choice([way for way in ways if way != prompt])


PARAPHRASES = [
    tuple(line.split(" | "))
    for line in """
How do I reset my password? | Could you tell me how to reset my password?
How do I reset my password? | What are the steps for resetting my password?
How do I reset my password? | I forgot my login, how can I recover it?
What is the capital of Canada? | What's Canada's capital?
What is the capital of Canada? | Can you tell me the capital of Canada?
What is the capital of Canada? | Which city is the capital of Canada?
How do I cook rice? | What is a good method to cook rice?
How do I cook rice? | Tell me how to cook rice.
How do I cook rice? | How is rice cooked?
What is 25 times 4? | What is twenty-five times four?
What is 25 times 4? | How much is 25 times 4?
Who wrote Hamlet? | Can you tell me who wrote Hamlet?
Who wrote Hamlet? | Who is the author of Hamlet?
Why is the sky blue? | What makes the sky blue?
Why is the sky blue? | I wonder why the sky is blue.
What does HTTP stand for? | What is the meaning of HTTP?
What does HTTP stand for? | Please tell me what HTTP stands for.
How many people live in Norway? | What is the population of Norway?
How many people live in Norway? | How many people are living in Norway?
Explain recursion. | What is recursion?
Explain recursion. | Can you explain recursion to me?
How long does shipping to Spain take? | How long will it take to ship to Spain?
How long does shipping to Spain take? | How long does it take for shipping to Spain?
Can I return shoes after 30 days? | May I return shoes after 30 days?
Can I return shoes after 30 days? | Can shoes be returned after thirty days?
Do you ship to Iceland? | Is shipping to Iceland possible?
How do I install Docker on Ubuntu? | What are the steps to install Docker on Ubuntu?
How do I install Docker on Ubuntu? | How can I install Docker on Ubuntu?
How do I install Docker on Ubuntu? | How can Docker be installed on Ubuntu?
What is the boiling point of water? | At what temperature does water boil?
What is the boiling point of water? | What's the boiling point of water, please?
What is the return policy? | What's your return policy?
What is the return policy? | Tell me about the return policy.
How do I delete my account? | What is the way to delete my account?
How do I delete my account? | How can I close and delete my account?
Where can I find my invoices? | Where are my invoices?
Where can I find my invoices? | Where do I find my invoices?
How do I change the language of the app? | How can I change the app language?
What is the difference between TCP and UDP? | What's the difference between TCP and UDP?
What is the difference between TCP and UDP? | How do TCP and UDP differ?
""".strip().splitlines()
]
