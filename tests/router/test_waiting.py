"""How long a provider asks to be left alone, in every form it is said."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_memory_plugins.router.waiting import retry_after, tokens_left

NOW = 1_767_225_600.0  # the first second of 2026
DAY = 86_400.0


def wait(headers=None, text=""):
    return retry_after(headers or {}, text, lambda: NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:30 +0100"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30"}, 30.0),
        ({"retry-after": "2026-01-01T00:00:30Z"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:59:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2099 00:00:00 GMT"}, DAY),
        ({"retry-after": "1e9"}, DAY),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "7.66s"}, 7.66),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "12ms"}, 0.012),
        ({"x-ratelimit-reset-tokens": "250µs"}, 0.00025),
        ({"x-ratelimit-reset": "33.5"}, 33.5),
        ({"x-ratelimit-reset": "1767225630"}, 30.0),
        ({"x-ratelimit-reset": "1767225630000"}, 30.0),
        ({"x-ratelimit-reset": "2026-01-01T00:00:30+00:00"}, 30.0),
    ],
)
def test_a_header_tells_the_seconds(headers, seconds):
    assert wait(headers) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 5.289s. Visit the console", 5.289),
        ("Please try again in 1m2.5s.", 62.5),
        ("try again in 59.56ms", 0.05956),
        ("Please retry after 20 seconds.", 20.0),
        ("Please wait 2 minutes, 3 seconds", 123.0),
        ("Please retry in 43.2s", 43.2),
        ("try again in 1 day", DAY),
    ],
)
def test_a_text_tells_the_seconds(text, seconds):
    assert wait(text=text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "soon",
        "NaN",
        "-NaN",
        "inf",
        "-3",
        "-5s",
        "1e999",
        "9" * 5_000,
        "Mon, 01 Jan 99999999999999999999 00:00:00",
        "Mon, 99 Foo 2026 00:00:00 GMT",
    ],
)
def test_what_makes_no_sense_in_a_header_is_as_good_as_not_said(said):
    for name in ("retry-after-ms", "retry-after", "x-ratelimit-reset"):
        assert wait({name: said}) is None


@pytest.mark.parametrize(
    "text",
    ["", "retry 2 models", "wait 5 million years", "limit 10s is over", "retry after 1.2.3.4s"],
)
def test_a_text_without_a_time_tells_nothing(text):
    assert wait(text=text) is None


def test_milliseconds_come_before_seconds_before_resets_before_the_text():
    headers = {
        "retry-after-ms": "1000",
        "retry-after": "2",
        "x-ratelimit-reset-tokens": "3s",
    }
    for seconds, name in enumerate((*headers, ""), start=1):
        assert wait(headers, "try again in 4s") == seconds
        headers.pop(name, None)


def test_a_later_form_is_read_where_the_earlier_makes_no_sense():
    assert wait({"retry-after-ms": "x", "retry-after": "nan"}, "try again in 4s") == 4.0


def test_only_the_reset_of_what_is_used_up_counts_and_the_longest_of_those():
    headers = {
        "x-ratelimit-remaining-requests": "14399",
        "x-ratelimit-reset-requests": "2h",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "3s",
        "x-ratelimit-remaining-tokens-day": "0",
        "x-ratelimit-reset-tokens-day": "9s",
    }
    assert wait(headers) == 9.0


def test_what_is_left_of_tokens_is_told_with_its_reset():
    headers = {"x-ratelimit-remaining-tokens": "5999", "x-ratelimit-reset-tokens": "7.5s"}
    assert tokens_left(headers, lambda: NOW) == (5999, 7.5)
    assert tokens_left({"x-ratelimit-remaining-tokens": "0"}, lambda: NOW) == (0, 60.0)
    assert tokens_left({"x-ratelimit-remaining-tokens": "many"}, lambda: NOW) is None
    assert tokens_left({}, lambda: NOW) is None


TIMES = st.one_of(
    st.text(max_size=40),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda when: when.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.lists(st.tuples(st.floats(0, 1e20), st.sampled_from(["ns", "ms", "s", "m", "h", "d"]))).map(
        lambda parts: "".join(f"{value}{unit}" for value, unit in parts)
    ),
)
NAMES = st.sampled_from(
    ["retry-after-ms", "retry-after", "x-ratelimit-reset", "x-ratelimit-reset-tokens"]
)


@given(st.dictionaries(NAMES, TIMES), TIMES, st.floats(-1e12, 1e12))
@example({"retry-after": "Mon, 01 Jan 0001 00:00:00 GMT"}, "", 0.0)
@example({"retry-after": "Mon, 01 Jan 2026 00:00:00 +9999"}, "", 0.0)
def test_it_never_raises_and_is_never_negative_and_at_most_a_day(headers, text, now):
    for said in (text, f"try again in {text}"):
        found = retry_after(headers, said, lambda: now)
        assert found is None or 0 <= found <= DAY
    left = tokens_left({**headers, "x-ratelimit-remaining-tokens": text}, lambda: now)
    assert left is None or (left[0] >= 0 and 0 <= left[1] <= DAY)
