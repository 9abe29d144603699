"""The time that a question names: one day, month or year, and the moment in it that is meant."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.asof import asked_interval, moment_of

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("Where did Ann live in 2024?", date(2024, 1, 1), date(2024, 12, 31)),
        ("Where did Ann live in May 2024?", date(2024, 5, 1), date(2024, 5, 31)),
        ("Where was Ann on 3 May 2024?", date(2024, 5, 3), date(2024, 5, 3)),
        ("What held on 2024-02-29?", date(2024, 2, 29), date(2024, 2, 29)),
        ("Where did I live last May?", date(2026, 5, 1), date(2026, 5, 31)),
        ("where did i live last may?", date(2026, 5, 1), date(2026, 5, 31)),
        ("Who led the team last November?", date(2025, 11, 1), date(2025, 11, 30)),
        ("Who led the team last December?", date(2025, 12, 1), date(2025, 12, 31)),
        ("Who led the team in may?", date(2026, 5, 1), date(2026, 5, 31)),
        ("What did I plan yesterday?", date(2026, 11, 21), date(2026, 11, 21)),
        ("Who will lead in 2031?", date(2031, 1, 1), date(2031, 12, 31)),
    ],
)
def test_a_question_names_a_day_a_month_or_a_year(question: str, start: date, end: date) -> None:
    found = asked_interval(question, NOW)
    assert found is not None
    assert (found.start.date(), found.end.date()) == (start, end)
    assert found.start.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What is planned for 3 June?", date(2026, 6, 3)),
        ("Where was I on 3 June?", date(2025, 6, 3)),
        ("Where was I on 3 March?", date(2026, 3, 3)),
        ("Where am I in December?", date(2026, 12, 1)),
        ("Where did I live in December?", date(2025, 12, 1)),
    ],
)
def test_without_a_year_the_question_tells_whether_it_is_to_come(
    question: str, found: date
) -> None:
    interval = asked_interval(question, datetime(2026, 5, 10, tzinfo=timezone.utc))
    assert interval is not None
    assert interval.start.date() == found


@pytest.mark.parametrize(
    "question",
    [
        "Where does Ann live?",
        "Since when, since 2024, has Ann lived in Porto?",
        "Where did Ann live before 2024?",
        "Was it in 2023 or in 2024?",
        "What happened between May and June 2024?",
        "Who is May?",
        "Does April like tea?",
        "May I ask who leads?",
        "What was on 31 June 2024?",
        "What is invoice 20240531 about?",
        "",
    ],
)
def test_a_question_that_names_no_time_or_several_has_none(question: str) -> None:
    assert asked_interval(question, NOW) is None


@pytest.mark.parametrize(
    ("question", "moment"),
    [
        ("in 2024?", datetime(2024, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)),
        ("in 2026?", NOW),
        ("today?", NOW),
        ("in 2031?", datetime(2031, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)),
    ],
)
def test_its_moment_is_its_last_or_now_while_it_lasts(question: str, moment: datetime) -> None:
    found = asked_interval(question, NOW)
    assert found is not None
    assert found.moment(NOW) == moment


@given(st.text(max_size=80), st.integers(1, 9_998))
def test_any_question_in_any_year_has_an_interval_in_order_or_none(text: str, year: int) -> None:
    now = datetime(year, 12, 31, tzinfo=timezone.utc)
    for question in (text, f"last december {text}", f"in {year:04} {text}"):
        found = asked_interval(question, now)
        assert found is None or found.start < found.end


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-31", "2024-05-31T23:59:59.999999+00:00"),
        (" 2024-05-31T09:00:00+02:00 ", "2024-05-31T09:00:00+02:00"),
        ("2024-05-31T09:00:00Z", "2024-05-31T09:00:00+00:00"),
        ("2024-05-31T09:00:00", "2024-05-31T09:00:00+00:00"),
    ],
)
def test_a_written_day_is_read_to_its_end(text: str, moment: str) -> None:
    assert moment_of(text).isoformat() == moment


@pytest.mark.parametrize("text", ["", "last May", "2024-13-01", "31.5.2024"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="as_of"):
        moment_of(text)
