"""What a filter means, and what it refuses."""

from __future__ import annotations

import enum
import pickle
from datetime import date, datetime, timedelta, timezone
from functools import reduce
from operator import or_

import pytest

from rag_memory_plugins import Filter, Message
from rag_memory_plugins.errors import InvalidFilter
from rag_memory_plugins.filters import AllOf, AnyOf, Comparison, Not, combined

NOON = datetime(2026, 5, 8, 12, tzinfo=timezone.utc)
SOON = timedelta(microseconds=1)
LISBON = timezone(timedelta(hours=1))


def said(metadata=None, **fields):
    values = {"role": "user", "content": "x", "id": "m1", "time": NOON, **fields}
    return Message(**values, metadata=metadata or {})


def matches(where, message, session="monday"):
    return where.matches(message, session)


# What is compared how


@pytest.mark.parametrize(
    ("given", "moment", "expected"),
    [
        ({"since": NOON}, NOON, True),
        ({"since": NOON}, NOON - SOON, False),
        ({"until": NOON}, NOON, False),
        ({"until": NOON}, NOON - SOON, True),
        ({"since": NOON.astimezone(LISBON)}, NOON, True),
        ({"since": date(2026, 5, 8)}, datetime(2026, 5, 8, tzinfo=timezone.utc), True),
        ({"since": date(2026, 5, 8)}, datetime(2026, 5, 8, tzinfo=timezone.utc) - SOON, False),
        ({"until": date(2026, 5, 8)}, datetime(2026, 5, 9, tzinfo=timezone.utc) - SOON, True),
        ({"until": date(2026, 5, 8)}, datetime(2026, 5, 9, tzinfo=timezone.utc), False),
        ({"until": "2026-05-08"}, NOON, True),
        ({"until": "2026-05-07"}, NOON, False),
        ({"since": "2026-05-08T12:00:00Z"}, NOON, True),
        ({"since": "2026-05-08T13:00:00+01:00"}, NOON, True),
        ({"since": "2026-05-08T12:00:00.000001+00:00"}, NOON, False),
        ({"until": date.max}, datetime.max.replace(tzinfo=timezone.utc), True),
        ({"since": date.min}, datetime.min.replace(tzinfo=timezone.utc), True),
        ({"since": NOON, "until": NOON + SOON}, NOON, True),
        ({"since": NOON, "until": NOON}, NOON, False),
    ],
)
def test_since_counts_in_and_until_does_not_but_a_date_is_its_whole_day(given, moment, expected):
    assert matches(Filter(**given), said(time=moment)) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"roles": "user"}, True),
        ({"roles": ["tool", "assistant"]}, False),
        ({"roles": {"tool", "user"}}, True),
        ({"names": "Ann"}, True),
        ({"names": "ann"}, False),
        ({"names": "Ann "}, False),
        ({"sessions": ("monday", "tuesday")}, True),
        ({"sessions": "Monday"}, False),
        ({"ids": "m1"}, True),
        ({"ids": ["m", "m11"]}, False),
        ({"ids": []}, False),
        ({"roles": "user", "names": "Eve"}, False),
    ],
)
def test_texts_are_compared_whole_and_as_written_and_all_given_hold(given, expected):
    assert matches(Filter(**given), said(name="Ann")) is expected


def test_one_letter_in_two_spellings_is_two_names():
    assert not matches(Filter(names="cafe\u0301"), said(name="caf\u00e9"))


BIG = 2**63 + 1

TABLE = [
    # stored, operator, value, expected
    (5, "eq", 5, True),
    (5, "eq", 5.0, True),
    (5.0, "eq", 5, True),
    (BIG, "eq", BIG, True),
    (BIG, "eq", float(BIG), False),
    (BIG, "gt", BIG - 1, True),
    (0.1, "eq", 0.1, True),
    (0.1 + 0.2, "eq", 0.3, False),
    (True, "eq", 1, False),
    (1, "eq", True, False),
    (True, "eq", True, True),
    (False, "eq", 0, False),
    ("5", "eq", 5, False),
    ("a", "eq", "a", True),
    ("a", "eq", "A", False),
    ("", "eq", "", True),
    (None, "eq", None, True),
    (0, "eq", None, False),
    (5, "ne", 5, False),
    (5, "ne", 6, True),
    (5, "ne", "5", True),
    ([5], "eq", 5, False),
    ([5], "ne", 5, True),
    ({"eq": 5}, "eq", 5, False),
    (5, "gt", 4.5, True),
    (5, "gt", 5, False),
    (5, "gte", 5, True),
    (5, "lt", 5, False),
    (5, "lte", 5, True),
    (5, "lt", 5.5, True),
    ("b", "gt", "a", True),
    ("Z", "lt", "a", True),
    ("\U0001f600", "gt", "\uffff", True),
    ("2026-05-08", "gte", "2026-05", True),
    (5, "gt", "4", False),
    ("5", "gt", 4, False),
    (True, "gt", 0, False),
    (None, "lt", 1, False),
    ([9], "gt", 1, False),
    (5, "in", [4, 5], True),
    (5, "in", {4.0, 5.0}, True),
    (True, "in", [1], False),
    (5, "in", [], False),
    (None, "in", [None, "a"], True),
    ([5], "in", [5], False),
    (5, "not_in", [4], True),
    (5, "not_in", [5], False),
    (5, "not_in", [], True),
    (None, "exists", True, True),
    ([], "exists", True, True),
    (5, "exists", False, False),
]


@pytest.mark.parametrize(("stored", "operator", "value", "expected"), TABLE, ids=repr)
def test_metadata_compares_by_kind_and_value(stored, operator, value, expected):
    where = Filter(metadata={"k": {operator: value}})
    assert matches(where, said({"k": stored})) is expected
    assert matches(~where, said({"k": stored})) is not expected


@pytest.mark.parametrize("value", [5, "a", True, None])
def test_a_bare_value_is_equality(value):
    assert Filter(metadata={"k": value}) == Filter(metadata={"k": {"eq": value}})


@pytest.mark.parametrize(
    ("operator", "value"),
    [("eq", None), ("ne", 5), ("gt", 0), ("lte", "z"), ("in", [None]), ("not_in", [])],
)
def test_a_comparison_of_a_missing_field_is_false_and_its_negation_true(operator, value):
    where = Filter(metadata={"k": {operator: value}})
    assert not matches(where, said({"K": 5, "l": None}))
    assert matches(~where, said({"K": 5, "l": None}))


def test_only_exists_can_ask_for_what_is_missing():
    assert matches(Filter(metadata={"k": {"exists": False}}), said())
    assert not matches(Filter(metadata={"k": {"exists": True}}), said())


def test_a_missing_name_is_a_missing_field():
    assert not matches(Filter(names="user"), said())
    assert matches(~Filter(names="user"), said())


def test_two_operators_of_a_field_are_a_range():
    where = Filter(metadata={"stars": {"gte": 2, "lt": 4}})
    assert [n for n in range(6) if matches(where, said({"stars": n}))] == [2, 3]


@pytest.mark.parametrize(
    "key", ["a.b", "$", "$.a", 'a"b', "a\\", "a[0]", "", "eq", "\u00e9", "a b"]
)
def test_a_key_is_compared_whole_whatever_is_in_it(key):
    assert matches(Filter(metadata={key: 1}), said({key: 1, "a": {"b": 2}}))
    assert not matches(Filter(metadata={key: 1}), said({key + "x": 1, "a": {"b": 1}}))


# and, or, not

A, B, C = (Filter(metadata={key: 1}) for key in "abc")


@pytest.mark.parametrize("bits", range(8))
def test_filters_combine_as_python_does(bits):
    a, b, c = (bool(bits & 1 << n) for n in range(3))
    message = said({key: 1 for key, there in zip("abc", (a, b, c), strict=True) if there})
    assert matches((A & B) | ~C, message) is ((a and b) or not c)
    assert matches(~(A | B) & C, message) is (not (a or b) and c)
    assert matches(~(A & ~(B | ~C)), message) is (not (a and not (b or not c)))


def test_nothing_stated_is_every_message_and_its_negation_none():
    assert Filter().states_nothing
    assert matches(Filter(), said())
    assert not matches(~Filter(), said())
    assert not (~Filter()).states_nothing
    assert ~~Filter() == Filter()


def test_what_holds_of_everything_is_known_as_stating_nothing():
    assert (Filter() & Filter()).states_nothing
    assert (A | Filter()).states_nothing
    assert Filter() & A == A
    assert Filter(metadata={}).states_nothing


@pytest.mark.parametrize("wrong", ["A and B", "A or B", "not A"])
def test_pythons_own_words_are_refused_since_they_would_drop_a_filter(wrong):
    with pytest.raises(InvalidFilter, match="&"):
        eval(wrong, {"A": A, "B": B})


def test_a_filter_combines_with_filters_alone():
    with pytest.raises(TypeError):
        A & None
    with pytest.raises(TypeError):
        {"a": 1} | B


def test_a_very_wide_filter_is_fine_and_a_very_deep_one_is_refused():
    wide = reduce(or_, (Filter(metadata={"n": n}) for n in range(2000)))
    assert matches(wide, said({"n": 1999}))
    with pytest.raises(InvalidFilter, match="flatten"):
        reduce(lambda inner, _: ~(inner & A) | B, range(30), A)
    deep = {"not": {"roles": "user"}}
    for _ in range(5000):
        deep = {"and": [deep, {"roles": "user"}]}
    with pytest.raises(InvalidFilter, match="flatten"):
        Filter.from_dict(deep)


# Values


def test_equal_filters_are_equal_and_hash_alike():
    assert Filter(roles=["user", "tool"]) == Filter(roles={"tool", "user"})
    assert hash(Filter(metadata={"a": {"in": [1, 2.0]}})) == hash(
        Filter(metadata={"a": {"in": [2, 1.0, 1]}})
    )


def test_true_and_one_make_two_filters():
    assert len({Filter(metadata={"a": 1}), Filter(metadata={"a": True})}) == 2


def test_a_filter_cannot_be_changed():
    with pytest.raises(AttributeError):
        A.expression = B.expression


def test_a_callers_later_change_is_not_seen():
    values, conditions, roles = [1], {"a": {"in": None}}, ["user"]
    conditions["a"]["in"] = values
    where = Filter(metadata=conditions, roles=roles)
    before = repr(where)
    values.append(2)
    conditions["b"] = 3
    roles.append("tool")
    assert repr(where) == before


def test_a_filter_survives_pickling():
    where = (A | ~B) & Filter(since=NOON, roles="user", metadata={"c": {"gt": 1.5}})
    again = pickle.loads(pickle.dumps(where))
    assert (again, hash(again), repr(again)) == (where, hash(where), repr(where))


def test_a_filter_reads_as_what_it_says():
    assert repr(Filter()) == "Filter()"
    assert repr(~Filter()) == "Filter(~(anything))"
    assert repr(A | ~(B & C)) == (
        "Filter(metadata['a'] eq 1 | ~(metadata['b'] eq 1 & metadata['c'] eq 1))"
    )


def test_an_enum_is_the_value_that_metadata_stores():
    class Colour(str, enum.Enum):
        RED = "red"

    class Size(enum.IntEnum):
        BIG = 3

    message = said({"colour": Colour.RED, "size": Size.BIG})
    assert matches(Filter(metadata={"colour": Colour.RED, "size": {"in": [Size.BIG]}}), message)


def test_the_tree_is_four_kinds_of_nodes():
    where = ~Filter(roles="user") & (A | B)
    assert isinstance(where.expression, AllOf)
    no, either = where.expression.parts
    assert isinstance(no, Not)
    assert no.part == Comparison("role", "in", ("user",))
    assert isinstance(either, AnyOf)
    assert either.parts == (A.expression, B.expression)


# From plain values


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({}, Filter()),
        ({"since": "2026-05-08", "roles": ["user"]}, Filter(since="2026-05-08", roles="user")),
        ({"metadata": {"a": 1}}, A),
        ({"metadata": {"a": None}}, Filter(metadata={"a": None})),
        ({"and": [{"metadata": {"a": 1}}, {"metadata": {"b": 1}}]}, A & B),
        ({"or": [{"metadata": {"a": 1}}, {"metadata": {"b": 1}}]}, A | B),
        ({"not": {"metadata": {"a": 1}}}, ~A),
        ({"metadata": {"a": 1}, "not": {"metadata": {"b": 1}}}, A & ~B),
        ({"or": [{"metadata": {"a": 1}}], "metadata": {"b": 1}}, A & B),
    ],
)
def test_plain_values_make_the_same_filter(plain, expected):
    assert Filter.from_dict(plain) == expected


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"role": "user"}, "did you mean 'roles'"),
        ({"AND": []}, "valid: and"),
        ({"$and": []}, "did you mean 'and'"),
        ({"and": []}, "at least one"),
        ({"or": {}}, "at least one"),
        ({"or": [5]}, "object"),
        ({"not": []}, "object"),
        ({"not": None}, "leave it out"),
        ({"roles": None}, "leave it out"),
        ({"metadata": None}, "leave it out"),
        ({"metadata": {"a": {"$gt": 1}}}, "did you mean 'gt'"),
        ([], "object"),
        (None, "object"),
        ("roles", "object"),
        ({5: 1}, "got 5"),
    ],
)
def test_plain_values_are_held_as_strictly(plain, words):
    with pytest.raises(InvalidFilter, match=r".*") as error:
        Filter.from_dict(plain)
    assert words in str(error.value)


# What is refused


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"role": "user"}, ["role", "did you mean 'roles'"]),
        ({"sinse": NOON}, ["sinse", "did you mean 'since'"]),
        ({"user": "ann"}, ["user", "valid:"]),
        ({"since": NOON.replace(tzinfo=None)}, ["since", "timezone"]),
        ({"until": "2026-05-08T12:00"}, ["until", "timezone"]),
        ({"since": "last week"}, ["since", "last week", "2026-05-08"]),
        ({"since": ""}, ["since"]),
        ({"since": 1_700_000_000}, ["since", "datetime"]),
        ({"until": datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))}, ["range"]),
        ({"roles": "usr"}, ["roles", "did you mean 'user'"]),
        ({"roles": ["user", "bot"]}, ["roles", "bot"]),
        ({"roles": [None]}, ["roles", "None"]),
        ({"roles": 5}, ["roles", "5"]),
        ({"names": {"Ann": 1}}, ["names"]),
        ({"names": b"Ann"}, ["names"]),
        ({"ids": (part for part in "ab")}, ["ids"]),
        ({"ids": "a\x00"}, ["ids", "NUL"]),
        ({"sessions": "\ud800"}, ["sessions", "surrogate"]),
        ({"metadata": ["a"]}, ["metadata"]),
        ({"metadata": {("a", "b"): 1}}, ["metadata", "top-level"]),
        ({"metadata": {1: 1}}, ["metadata"]),
        ({"metadata": {"stars": {"gtt": 1}}}, ["stars", "gtt", "did you mean 'gt'"]),
        ({"metadata": {"stars": {"contains": 1}}}, ["stars", "contains", "valid:"]),
        ({"metadata": {"stars": {}}}, ["stars", "operator"]),
        ({"metadata": {"stars": [1, 2]}}, ["stars", '"in"']),
        ({"metadata": {"stars": {"in": "abc"}}}, ["stars", "in", "list"]),
        ({"metadata": {"stars": {"in": 5}}}, ["stars", "in", "list"]),
        ({"metadata": {"stars": {"in": [[1]]}}}, ["stars", "in"]),
        ({"metadata": {"stars": {"eq": [1]}}}, ["stars", "eq"]),
        ({"metadata": {"stars": {"eq": {}}}}, ["stars", "eq"]),
        ({"metadata": {"stars": {"gt": True}}}, ["stars", "gt", "order"]),
        ({"metadata": {"stars": {"lt": None}}}, ["stars", "lt", "order"]),
        ({"metadata": {"stars": {"exists": 1}}}, ["stars", "exists"]),
        ({"metadata": {"stars": float("nan")}}, ["stars", "finite"]),
        ({"metadata": {"stars": {"lt": float("inf")}}}, ["stars", "finite"]),
        ({"metadata": {"when": NOON}}, ["when", "str"]),
        ({"metadata": {"what": object()}}, ["what"]),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(given, words):
    with pytest.raises(InvalidFilter) as error:
        Filter(**given)
    assert [word for word in words if word not in str(error.value)] == []


def test_a_call_that_states_nothing_has_no_filter():
    assert combined(None) is None
    assert combined(Filter()) is None
    assert combined(A, roles="user") == A & Filter(roles="user")


@pytest.mark.parametrize("where", [{"roles": "user"}, "user", 5, [A]])
def test_anything_but_a_filter_is_refused_as_where(where):
    with pytest.raises(InvalidFilter, match="from_dict"):
        combined(where)
