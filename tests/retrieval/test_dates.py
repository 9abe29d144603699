"""Dates of texts: told from when the message was said, asked from when the question is."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.retrieval.cues import tells_time
from rag_memory_plugins.retrieval.dates import TIME, asked_days, day_of, days_of

WEDNESDAY = datetime(2023, 5, 10, 9, 30, tzinfo=timezone.utc)


def at(*numbers):
    return datetime(*numbers, tzinfo=timezone.utc)


UNITS = ["day", "week", "weekend", "month", "year"]
MONTHS = (
    "january february march april may june july august september october november december".split()
)
WORDS = [
    *MONTHS,
    *(month.capitalize() for month in MONTHS),
    *(f"{unit}s" for unit in UNITS),
    *UNITS,
    *"last next this past in on since of during the a an few couple ago back two ten".split(),
    *"yesterday today tonight tomorrow friday Sunday 1st 3rd 31 0 99 999 2023 1999 2100".split(),
    *"2023-02-31 2023-13-40 2023-05 2023-05-08 0000-00-00 20230508 may May , . ? \n".split(" "),
    "augu\u017ft", "\u0130", "\u0131", "apr\u0131l", "\u0663", "\u00b2", "\U0001f600", "\ud800",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("I ran a race yesterday", 20230509),
        ("We ate out last night", 20230509),
        ("I slept badly, the day before yesterday too", 20230508),
        ("Today it rains", 20230510),
        ("This morning the bus was late", 20230510),
        ("Tonight we sing", 20230510),
        ("The plumber comes tomorrow", 20230511),
        ("It broke two days ago", 20230508),
        ("It broke a few days ago", 20230507),
        ("It broke a couple of days back", 20230508),
        ("She lands in 3 days", 20230513),
        ("We played last week", 20230500),
        ("We played this past weekend", 20230500),
        ("We play this weekend", 20230500),
        ("We rest next week", 20230500),
        ("I left a couple of weeks ago", 20230400),
        ("I left last month", 20230400),
        ("We move next month", 20230600),
        ("We move in a month", 20230600),
        ("This month is dull", 20230500),
        ("I graduated last year", 20220000),
        ("I graduated 3 years ago", 20200000),
        ("This year is dull", 20230000),
        ("We marry next year", 20240000),
    ],
)
def test_what_is_told_from_today_is_told_from_the_day_of_the_message(text, day):
    assert days_of(text, WEDNESDAY) == [day]
    assert asked_days(f"What of this: {text}?", WEDNESDAY) == [day]


def test_the_same_words_said_on_another_day_mean_another_day():
    assert days_of("I ran a race yesterday", at(2020, 8, 2)) == [20200801]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("last Friday", 20230505),
        ("on Friday", 20230505),
        ("this past Friday", 20230505),
        ("last Wednesday", 20230503),
        ("next Friday", 20230512),
        ("this Friday", 20230512),
        ("on SUNDAY", 20230507),
    ],
)
def test_a_weekday_is_the_one_before_unless_it_says_otherwise(text, day):
    assert days_of(f"We met {text}.", WEDNESDAY) == [day]


@pytest.mark.parametrize("text", ["we sat down", "Fri and Sat", "a friday-ish mood", "wednesday"])
def test_a_weekday_alone_and_pieces_of_words_are_no_date(text):
    assert days_of(text, WEDNESDAY) == []


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("on 8 May 2022", 20220508),
        ("on May 8, 2022", 20220508),
        ("on the 8th of May, 2022", 20220508),
        ("on may 8th 2022", 20220508),
        ("in May 2022", 20220500),
        ("in December 1999", 19991200),
        ("since 2021", 20210000),
        ("during 1999", 19990000),
        ("on 2022-05-08", 20220508),
        ("by 2022-05", 20220500),
        ("(2022-05-08)", 20220508),
    ],
)
def test_a_date_with_its_year_is_the_same_told_and_asked(text, day):
    assert days_of(f"We met {text}", WEDNESDAY) == [day]
    assert asked_days(f"Did we meet {text}?", WEDNESDAY) == [day]


@pytest.mark.parametrize("text", ["in 2022-05-08", "since 2022-05-08", "of 2022-05-08"])
def test_a_numeric_day_does_not_stand_for_its_whole_year_too(text):
    assert asked_days(f"What happened {text}?", WEDNESDAY) == [20220508]


@pytest.mark.parametrize("text", ["in May of 2022", "in May, of 2022"])
def test_a_month_of_a_year_does_not_stand_for_the_whole_year_too(text):
    assert asked_days(f"What happened {text}?", WEDNESDAY) == [20220500]


@pytest.mark.parametrize(
    ("text", "told", "asked"),
    [
        ("in March", 20230300, 300),
        ("in May", 20230500, 500),
        ("on 8 May", 20230508, 508),
        ("on May 31st", 20230531, 531),
        ("in June", 20220600, 600),
        ("on 24 December", 20221224, 1224),
    ],
)
def test_a_month_without_a_year_is_told_of_the_past_and_asked_of_any_year(text, told, asked):
    assert days_of(f"We met {text}", WEDNESDAY) == [told]
    assert asked_days(f"What did we do {text}?", WEDNESDAY) == [asked]


def test_several_dates_are_sorted_and_none_is_twice():
    text = "On 8 May 2022, not in June 2021 or 2022-05-08; yesterday, and yesterday again"
    assert days_of(text, WEDNESDAY) == [20210600, 20220508, 20230509]


@pytest.mark.parametrize(
    "text",
    [
        "it may rain",
        "you may go now",
        "may we go",
        "maybe",
        "the mayor",
        "marching on",
        "a 2023 car",
    ],
)
def test_the_verb_may_and_words_that_hold_a_month_are_no_date(text):
    assert days_of(text, WEDNESDAY) == []
    assert asked_days(text, WEDNESDAY) == []


@pytest.mark.parametrize("text", ["May I ask what we ate?", "May we go now?", "May she come?"])
def test_the_verb_may_is_no_month_at_the_start_of_a_sentence(text):
    assert asked_days(text, WEDNESDAY) == []


@pytest.mark.parametrize(
    "text", ["2023-00-08", "2023-13-01", "2023-05-32", "2023-05-00", "1899-05"]
)
def test_numbers_that_are_no_date_are_none(text):
    assert days_of(f"part {text} broke", WEDNESDAY) == []


@pytest.mark.parametrize("text", ["May 40", "40 May", "0 May", "May 99"])
def test_a_day_that_no_month_has_leaves_the_month(text):
    assert asked_days(text, WEDNESDAY) == [500]


@pytest.mark.parametrize(
    ("text", "said", "day"),
    [
        ("yesterday", at(2024, 3, 1), 20240229),
        ("yesterday", at(2023, 3, 1), 20230228),
        ("tomorrow", at(2024, 2, 28), 20240229),
        ("last year", at(2024, 2, 29), 20230000),
        ("next month", at(2024, 1, 31), 20240200),
        ("last month", at(2024, 3, 31), 20240200),
        ("29 February", at(2024, 3, 1), 20240229),
        ("2024-02-29", at(2024, 3, 1), 20240229),
    ],
)
def test_leap_days_and_short_months_are_counted(text, said, day):
    assert days_of(text, said) == [day]


@pytest.mark.parametrize(
    ("text", "said", "day"),
    [
        ("yesterday", at(2024, 1, 1), 20231231),
        ("tomorrow", at(2023, 12, 31, 23, 59), 20240101),
        ("last month", at(2024, 1, 15), 20231200),
        ("next week", at(2023, 12, 31), 20240100),
        ("last Friday", at(2024, 1, 1), 20231229),
        ("in December", at(2024, 1, 1), 20231200),
        ("in January", at(2023, 12, 31), 20230100),
        ("on 31 December", at(2023, 12, 31), 20231231),
    ],
)
def test_the_year_turns(text, said, day):
    assert days_of(text, said) == [day]


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_the_hour_of_a_message_moves_no_day(hour):
    assert days_of("yesterday", at(2023, 5, 10, hour, 59)) == [20230509]
    assert days_of("a few days ago", at(2023, 5, 10, hour, 59)) == [20230507]


@given(st.dates())
def test_a_day_written_in_numbers_is_itself(day):
    number = day.year * 10_000 + day.month * 100 + day.day
    assert day_of(at(day.year, day.month, day.day)) == number
    expected = [number] if 1900 <= day.year < 2100 else []
    assert days_of(f"done on {day.isoformat()}", WEDNESDAY) == expected


@given(st.dates(date(2, 1, 1), date(9998, 12, 1)), st.integers(1, 300))
def test_days_ago_are_counted_as_the_calendar_does(day, days):
    said = at(day.year, day.month, day.day, 23)
    assert days_of(f"{days} days ago", said) == [day_of(said - timedelta(days))]


@given(TEXTS)
def test_no_text_makes_it_raise_and_every_day_is_a_number_in_order(text):
    told, asked = days_of(text, WEDNESDAY), asked_days(text, WEDNESDAY)
    for days in (told, asked):
        assert days == sorted(set(days))
        assert all(day % 10_000 // 100 <= 12 and day % 100 <= 31 for day in days)
    assert all(day >= 10_000 for day in told)
    assert all(day > 0 for day in asked)


@given(TEXTS)
def test_a_quick_look_misses_nothing_that_a_thorough_one_finds(text):
    assert tells_time(text) == (TIME.search(text) is not None)
    with_a_digit = f"{text}\n(0)"  # which is no date, and makes everything be looked for
    assert days_of(text, WEDNESDAY) == days_of(with_a_digit, WEDNESDAY)


@pytest.mark.parametrize("month", ["augu\u017ft", "apr\u0131l", "APR\u0130L"])
def test_a_letter_that_only_looks_like_one_of_a_month_keeps_no_message_out(opened, month):
    ann = opened(embedder=None).conversation("acme", "ann", "monday")
    ann.add(f"We met in {month} 2022")
    assert len(ann.search(f"Did we meet in {month} 2022?")) == 1


@pytest.mark.parametrize("said", [at(1, 1, 1), at(9999, 12, 31, 23, 59)])
@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "tomorrow",
        "next week",
        "last Friday",
        "next Friday",
        "in 999 years",
        "10 months ago",
    ],
)
def test_the_first_and_the_last_day_there_is_raise_nothing(said, text):
    days_of(text, said)
    asked_days(text, said)
