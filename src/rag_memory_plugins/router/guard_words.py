"""The words that the guards of a semantic cache know: English, and signs of time in others."""

from __future__ import annotations

import re
from typing import Final


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _grouped(text: str) -> dict[str, str]:
    """`name: word word` a line, as the name of each word."""
    pairs = (line.split(":") for line in text.strip().splitlines())
    return {word: name.strip() for name, words in pairs for word in words.split()}


SMALL: Final = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
TENS: Final = {
    word: 10 * number
    for number, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
SCALES: Final = {
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
}
ORDINALS: Final = {
    word: number
    for number, word in enumerate(
        "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
        "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split()
    )
} | {
    word: 10 * number
    for number, word in enumerate(
        "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth "
        "hundredth".split(),
        start=2,
    )
}

UNITS: Final = _grouped("""
    km: km kms kilometer kilometers kilometre kilometres
    mile: mile miles
    meter: meter meters metre metres
    cm: cm centimeter centimeters centimetre centimetres
    mm: mm millimeter millimeters millimetre millimetres
    foot: foot feet ft
    inch: inch inches
    yard: yard yards yd yds
    kg: kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes
    gram: gram grams gramme grammes
    mg: mg milligram milligrams
    mcg: mcg microgram micrograms
    pound: lb lbs pound pounds
    ounce: oz ounce ounces
    ton: ton tons tonne tonnes
    stone: stone stones
    liter: liter liters litre litres
    ml: ml milliliter milliliters millilitre millilitres
    gallon: gallon gallons
    pint: pint pints
    cup: cup cups
    tablespoon: tbsp tablespoon tablespoons
    teaspoon: tsp teaspoon teaspoons
    ms: ms millisecond milliseconds
    secs: seconds sec secs
    min: minute minutes mins
    hour: hour hours hr hrs
    day: day days
    week: week weeks
    month: month months
    year: year years yr yrs
    decade: decade decades
    century: century centuries
    byte: byte bytes
    bit: bit bits
    kb: kb kilobyte kilobytes
    mb: mb megabyte megabytes
    gb: gb gigabyte gigabytes
    tb: tb terabyte terabytes
    watt: watt watts
    kw: kw kilowatt kilowatts
    kwh: kwh
    volt: volt volts
    amp: amp amps ampere amperes
    hz: hz hertz
    mph: mph
    kph: kph kmh
    knot: knot knots
    celsius: celsius centigrade
    fahrenheit: fahrenheit
    kelvin: kelvin kelvins
    degree: degree degrees
    acre: acre acres
    hectare: hectare hectares
    square: square squared sq
    cubic: cubic cubed
    calorie: calorie calories kcal
    joule: joule joules
    percent: percent percentage pct
    dollar: dollar dollars
    cent: cent cents
    euro: euro euros
    usd: usd
    eur: eur
    gbp: gbp
    yen: yen jpy
    rupee: rupee rupees inr
""")
SIGNS: Final = {
    "%": "percent", "$": "dollar", "€": "euro", "£": "gbp", "¥": "yen", "₹": "rupee",
    "°C": "celsius", "°F": "fahrenheit", "°": "degree", "m": "meter", "g": "gram", "l": "liter",
    "h": "hour", "s": "secs", "d": "day", "w": "watt", "v": "volt",
}  # fmt: skip
"""Units that are units only where they touch a number."""

MONTHS: Final = _grouped("""
    month-1: january jan
    month-2: february feb
    month-4: april apr
    month-6: june jun
    month-7: july jul
    month-8: august aug
    month-9: september sept sep
    month-10: october oct
    month-11: november nov
    month-12: december dec
""")
DAYS: Final = _listed(
    "monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays "
    "thursdays fridays saturdays sundays weekday weekdays weekend weekends spring summer autumn "
    "fall winter morning afternoon evening night noon midnight pm"
)

NEGATIONS: Final = _listed(
    "not no never none nobody nothing nowhere neither nor cannot without except excluding exclude "
    "excludes excluded unless lacking lack lacks minus non hardly barely rarely seldom"
)
# Each must stand in both prompts: the other end of it makes another question.
POLES: Final = _listed("""
    before after since until during between among prior following previous next last latest earliest
    ago early late earlier later former latter past future
    more less fewer most least greater smaller larger bigger better worse best worst higher lower
    highest lowest longer shorter longest shortest faster slower fastest slowest older younger oldest
    youngest cheaper cheapest expensive cheap max min maximum minimum maximal minimal largest
    smallest biggest above below over under up down off out inside outside within beyond left right
    top bottom front back north south east west northern southern eastern western
    increase decrease increases decreases increasing decreasing raise lower rise fall grow shrink
    enable disable enabled disabled activate deactivate allow deny permit forbid include includes
    including add remove insert delete create destroy open close opened closed start stop begin end
    started stopped first final lock unlock install uninstall buy sell win lose give take send
    receive push pull accept reject pass fail hire fire lend borrow join leave import export upload
    download encrypt decrypt encode decode compress decompress arrive depart arrival departure entry
    exit input output source target hot cold warm cool wet dry hard soft heavy light full empty fast
    slow high low big small large tall short long wide narrow thick thin deep shallow old new young
    good bad safe dangerous easy difficult simple complex true false yes positive negative public
    private male female man woman men women boy girl husband wife mother father son daughter brother
    sister king queen legal illegal free paid gain loss profit debit credit income expense asset
    liability gross net buyer seller import importer exporter same different equal similar opposite
    all every each both only few several enough too half double triple twice once thrice single pair
    couple dozen dozens hundreds thousands millions quarter quarters halves thirds
    pros cons advantage disadvantage advantages disadvantages benefit benefits risk risks cause
    causes effect effects symptom symptoms treatment treatments side why
    from than by against versus vs or instead rather still already yet again alone together
    pro contra even odd prime sum difference product quotient plus times divided
    multiplied ratio average mean median mode total sunrise sunset day night birth death born died
    alive dead begin beginning ascending descending oldest newest strong weak strongest weakest
    always sometimes often usually
    """)
STOP: Final = _listed("""
    a an the this that these those there here it its it's of in on at to into onto for with as about
    around and but so then also just really very quite even any some is are am be been being was were
    do does did doing done have has had having will would shall should can could may might must ought
    i me my mine myself we us our ours ourselves you your yours yourself he him his she her hers they
    them their theirs please kindly tell explain describe show give know knows want wants like likes
    need needs help let lets us wondering wonder curious hi hello hey thanks thank ok okay well what
    which who whom whose when where how if whether way ways get got u one's s m re ve ll d t many
    much exactly actually briefly quickly basically simply called s' such via per upon find
    """)
STARTERS: Final = _listed("""
    write list name convert calculate compute translate summarize summarise compare define make find
    provide suggest recommend generate outline solve get reset change set use create cook count say
    return state discuss identify choose pick
    """)
"""Verbs that often begin a prompt: a capital there makes no name of them."""
WONDERS: Final = {
    "what": "what", "which": "what", "who": "who", "whom": "who", "whose": "whose", "when": "when",
    "where": "where", "why": "why", "how": "how",
}  # fmt: skip
MEASURES: Final = _listed("many much long often far old big tall fast deep high wide soon late")
YES_NO: Final = _grouped("""
    is: is are am was were do does did have has had will would
    can: can could may might
    should: should ought shall
    must: must need
""")
PAST: Final = _listed("was were did had")
FUTURE: Final = _listed("will shall")
PERSONS: Final = _grouped("""
    i: i me my mine myself we our ours ourselves
    you: you your yours yourself u
    he: he him his himself
    she: she her hers herself
    they: they them their theirs themselves
""")
POLITE: Final = re.compile(
    r"(?:[\s,:]|(?:please|kindly|hi|hello|hey|ok|okay|so|well|thanks)\b[ ,!]*"
    r"|(?:can|could|would|will) (?:you|u|someone|anyone|somebody|anybody)\b"
    r"|do you (?:happen to )?know\b|i(?:'d| would) (?:like|love) to (?:know|ask|learn)\b"
    r"|i (?:want|need|wanted) to (?:know|ask|learn)\b|i (?:was|am) wondering\b|i'm wondering\b"
    r"|i wonder\b|(?:tell|show|give) me\b|let me know\b|(?:explain|describe)(?: to me)?\b"
    r"|(?:may|can|could) i (?:know|ask)\b|i have a(?: quick)? question\b[ :,.]*)*",
    re.IGNORECASE,
)

# No word of a neighbouring language is among the English, and the other way round.
ENGLISH: Final = _listed("""
    the what how which who whom whose why where when does did are can could would should my your and
    with this that there from have has it you they their please about without has were between than
    many much to of
    """)
MAYBE_ENGLISH: Final = _listed(
    "a an is of in for on at do be or by if me was not i am its make get need after before all"
)
"""In other languages too: two of them, and nothing foreign, are English."""
FOREIGN: Final = _listed("""
    der das und ist nicht kein keine ohne mit von wie wo wann warum wer ich sie wir ein eine einen el
    los las que con sin para por una como cómo qué cuál dónde cuándo le les des est pas avec sans et
    un une du comment quel quelle où quand het een niet geen met zonder voor van hoe wat waar och inte
    utan är jag hur vad il che di senza per come quale dove é é não sem com uma ou qual onde nie bez
    jest jak gdzie kiedy ile och på ikke uden uten og hvordan hvad hva
    """)
