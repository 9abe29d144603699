"""Numbers, amounts, times and dates of a short text, each in one spelling.

```text
5,000  5k  five thousand           -> 5000
$1.2M  1.2 million dollars         -> 1200000 usd
May 3, 2026  3 May 2026            -> 2026-05-03
May 3  the 3rd of May              -> --05-03
3 pm  15:00                        -> 15:00
```

What could be read in two ways is left as it stands: 03/05/2026, version 3.10, apartment 5B.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from rag_memory_plugins.router import guard_words as known
from rag_memory_plugins.router.spoken import counted, spoken

__all__ = ["Token", "joined_numbers", "number_of", "with_dates"]

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH: Final = (
    r"\b(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_YEAR: Final = r"((?:1[5-9]|20|21)\d\d)(?![\d:.%/-])"
_DAY: Final = r"(\d{1,2})(?:st|nd|rd|th)?"
_END: Final = r"(?![\w:%/]|[.,]\d)"
_DAY_MONTH: Final = re.compile(
    rf"(?<![\w.,:/$-])(?:the )?{_DAY}(?: of)?[ -]{_MONTH}(?:,?[ -]{_YEAR})?", re.IGNORECASE
)
_MONTH_DAY: Final = re.compile(rf"{_MONTH} (?:the )?{_DAY}{_END}(?:,? {_YEAR})?", re.IGNORECASE)
_MONTH_YEAR: Final = re.compile(rf"(?<!\d ){_MONTH},?(?: of)? {_YEAR}", re.IGNORECASE)
_NUMERIC: Final = re.compile(r"(?<![\w./-])(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?![\w/-]|\.\d)")
_CLOCK: Final = re.compile(
    r"(?<![\w.:,])(\d{1,2})(?:[:.](\d\d))? ?([ap])(?:\.m\.|\.?m\b)|(?<![\w.:,])(\d{1,2}):(\d\d)(?![\w:.]\d|\d)",
    re.IGNORECASE,
)

_NUMBER: Final = re.compile(
    r"(?P<money>US\$|us\$|[$€£¥₹]|USD|EUR|GBP|usd|eur|gbp)?(?P<sign>[-+])?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?P<part>\.[0-9]+)?"
    r"(?:(?P<nth>st|nd|rd|th|ST|ND|RD|TH)|(?P<unit>%|°?[A-Za-z]+|[€£$°]))?"
)
_SCALES: Final = {
    "k": 3, "m": 6, "mn": 6, "mio": 6, "mm": 6, "b": 9, "bn": 9, "t": 12, "tn": 12,
    "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "hundred": 2,
}  # fmt: skip
_MONEY: Final = {
    "us$": "usd", "$": "usd", "usd": "usd", "dollar": "usd", "dollars": "usd", "buck": "usd",
    "bucks": "usd", "€": "eur", "eur": "eur", "euro": "eur", "euros": "eur", "£": "gbp",
    "gbp": "gbp", "¥": "yen", "yen": "yen", "jpy": "yen", "₹": "inr", "inr": "inr",
    "rupee": "inr", "rupees": "inr",
}  # fmt: skip
_ALONE: Final = {"second": "secs", "h": "hour", "%": "percent", "kcal": "kilocalorie", "mi": "mile"}
_UNIT_NAMES: Final = frozenset(known.UNITS.values()) | frozenset(_MONEY.values())
_BITS: Final = re.compile(r"[KMGT]b(?:ps)?")


class Token(NamedTuple):
    """A word of a value: as it is compared, as it was written, and whether nothing may bend it.

    `hard` are numbers, units, dates, ids. `text` is "," where a list goes on.
    """

    text: str
    shown: str
    hard: bool = False


def with_dates(text: str) -> str:
    """`text` with every date and time of day that can be read in one way only in one spelling.

    >>> with_dates("due May 3rd, 2026 at 3:30 pm")
    'due 2026-05-03 at 15:30'
    """
    low = text.lower()
    if any(month in low for month in _MONTHS):
        text = _DAY_MONTH.sub(lambda m: _date(m, m[3], m[2], m[1]), text)
        text = _MONTH_DAY.sub(lambda m: _date(m, m[3], m[1], m[2]), text)
        text = _MONTH_YEAR.sub(lambda m: _date(m, m[2], m[1], ""), text)
    text = _NUMERIC.sub(_numeric, text)
    return _CLOCK.sub(_clock, text)


def _date(found: re.Match[str], year: str | None, month: str, day: str) -> str:
    number = _MONTHS.index(month[:3].lower()) + 1
    if day and not 1 <= int(day) <= monthrange(int(year or 2024), number)[1]:
        return found[0]
    return (f"{year}-" if year else "--") + f"{number:02}" + (f"-{int(day):02}" if day else "")


def _numeric(found: re.Match[str]) -> str:
    first, second, third = found[1], int(found[3]), found[4]
    if len(first) == 4 and len(third) <= 2:
        year, month, day = int(first), second, int(third)
    elif len(third) == 4 and len(first) <= 2:
        year, month, day = int(third), second, int(first)
        if month > 12 or day == month:
            month, day = day, month
        elif day <= 12 and found[2] != ".":  # the third of May, or the fifth of March
            return found[0]
    else:
        return found[0]
    if (
        not 1500 <= year < 2200
        or not 1 <= month <= 12
        or not 1 <= day <= monthrange(year, month)[1]
    ):
        return found[0]
    return f"{year}-{month:02}-{day:02}"


def _clock(found: re.Match[str]) -> str:
    half = (found[3] or "").lower()
    hour, minute = int(found[1] or found[4]), int(found[2] or found[5] or 0)
    if minute > 59 or not (1 <= hour <= 12 if half else hour < 24):
        return found[0]
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour:02}:{minute:02}"


def number_of(chunk: str, after: str = "") -> list[Token] | None:
    """The tokens of a chunk that is a number with its currency, scale or unit, or None.

    `after` is the next word: "4B parameters" are four billion, in "flat 4B" it is a name.

    >>> [token.text for token in number_of("$1.20k") or []]
    ['1200', 'usd']
    >>> number_of("B52") is None
    True
    """
    found = _NUMBER.fullmatch(chunk)
    if found is None or not (found["whole"] or found["part"]):
        return None
    whole = (found["whole"] or "0").replace(",", "")
    part, unit, sign = found["part"] or "", found["unit"] or "", found["sign"] or ""
    if len(whole) > 1 and whole[0] == "0":
        return None
    if found["nth"]:
        return [_hard(_nth(f"{sign}{whole}{part}"), chunk)]
    money = _MONEY.get((found["money"] or "").lower(), "")
    scale = _scale(unit, money=bool(money), part=bool(part), after=after)
    amount = whole + part
    if scale:
        unit, amount = "", _scaled(amount, scale)
    money, unit = (_MONEY[unit], "") if unit and unit in "€£$" else (money, unit)
    named = _unit(unit)
    if unit and not named:
        return None
    if named or money:
        amount = _scaled(amount, 0)
    tokens = [_hard(sign + amount, chunk)]
    tokens += [_hard(each, chunk) for each in (named, money) if each]
    return tokens


def _scale(unit: str, *, money: bool, part: bool, after: str) -> int:
    """The power of ten that a letter behind a number stands for, 0 if it is a unit or a name."""
    low = unit.lower()
    if low not in _SCALES:
        return 0
    if money or low in {"k", "bn", "mn", "mio"}:
        return _SCALES[low]
    counts = after.islower() and (after.endswith("s") or after == "people")
    return _SCALES[low] if unit in {"M", "B"} and (part or counts) else 0


def _unit(unit: str) -> str:
    if not unit or unit in known.SIGNS:
        return known.SIGNS.get(unit, "")
    if _BITS.fullmatch(unit):
        return f"{unit[0].lower()}bit"
    low = unit.lower()
    return _MONEY.get(low) or _ALONE.get(low) or known.UNITS.get(low, "")


def _scaled(amount: str, power: int) -> str:
    """`amount` times ten to the `power`, without zeros that say nothing."""
    exact = Decimal(amount).scaleb(power) if len(amount) < 25 else Decimal(amount)
    plain = f"{exact:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _hard(text: str, shown: str) -> Token:
    return Token(text, shown, hard=True)


def joined_numbers(tokens: Sequence[Token]) -> list[Token]:
    """`tokens` with numbers in words as figures, and with scales, currencies and units joined.

    >>> words = [Token(word, word) for word in "one cat or two hundred euros".split()]
    >>> [token.text for token in joined_numbers(words)]
    ['1', 'cat', 'or', '200', 'eur']
    """
    found = list(_figures(tokens))
    at = 0
    while at < len(found):
        if found[at].hard and _is_amount(found[at].text):
            at = _join(found, at)
        at += 1
    return found


def _is_amount(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal()


def _figures(tokens: Sequence[Token]) -> Iterator[Token]:
    """Numbers in words as one figure each; a scale behind a figure waits for `_join`."""
    kinds = ["" if token.hard else spoken(token.text)[1] for token in tokens]
    at = 0
    while at < len(tokens):
        behind_figure = (
            at > 0
            and tokens[at - 1].hard
            and (kinds[at] in {"hundred", "scale"} or tokens[at].text in _ALONE)
        )
        if kinds[at] in {"", "and"} or behind_figure:
            yield tokens[at]
            at += 1
            continue
        end = at + 1
        while end < len(tokens) and (
            kinds[end] not in {"", "and"}
            or (
                kinds[end] == "and"
                and kinds[end - 1] in {"hundred", "scale"}
                and kinds[end + 1 : end + 2] in (["small"], ["nth"])
            )
        ):
            end += 1
        run = [("and" if each.text == "and" else f"+{each.text}", False) for each in tokens[at:end]]
        yield from (_hard(_figure(slot[1:]), "") for slot, _ in counted(run))
        at = end


def _figure(text: str) -> str:
    return _nth(text[:-2]) if text.endswith("th") else text


def _nth(number: str) -> str:
    teens = number[-2:-1] == "1"
    return number + ("th" if teens else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th"))


def _join(found: list[Token], at: int) -> int:
    """Give the amount at `at` its scale, currency or unit as words behind it; return its place."""
    amount, money = found[at].text, ""
    if at and found[at - 1].text in {"$", "€", "£", "usd", "eur", "gbp"} and not found[at - 1].hard:
        money = _MONEY[found[at - 1].text]
        at -= 1
        del found[at]
    after = _text(found, at + 1)
    if after in _MONEY.values() and found[at + 1].hard and _text(found, at + 2) in _SCALES:
        money = after
        del found[at + 1]
        after = _text(found, at + 1)
    while after in _SCALES and len(after) > 2:
        amount = _scaled(amount, _SCALES[after])
        del found[at + 1]
        after = _text(found, at + 1)
    if (after, _text(found, at + 2)) in {("us", "dollar"), ("us", "dollars"), ("per", "cent")}:
        del found[at + 1]
        after = "percent" if after == "per" else "usd"
        found[at + 1] = Token(after, after)
    shown = found[at + 1].shown if after else ""
    unit = _MONEY.get(after) or _ALONE.get(after)
    if not unit and (after in known.UNITS or _BITS.fullmatch(shown)):
        unit = _unit(shown)
    if unit:
        found[at + 1] = _hard(unit, after)
    if money and unit != money:
        found.insert(at + 1, _hard(money, money))
    if unit or money or (after in _UNIT_NAMES and found[at + 1].hard):
        amount = _scaled(amount, 0)
    found[at] = _hard(amount, found[at].shown)
    return at


def _text(found: Sequence[Token], at: int) -> str:
    return found[at].text if at < len(found) else ""
