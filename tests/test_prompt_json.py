"""JSON for prompts: the smallest form by measure, never larger, and the same value again."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import minify, restore
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.tokens import make_counter

EXACT = make_counter("cl100k_base")
COUNTERS = [make_counter(name) for name in ("cl100k_base", "words", "characters", "upper")]

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            *(
                "",
                "1",
                "1.0",
                "null",
                "true",
                "NaN",
                "Infinity",
                "@1",
                "@1[1] a",
                "a,b",
                'say "no"',
            ),
            *(
                "a\nb",
                "a\tb",
                "|",
                "\\",
                "\\u0041",
                "\u2028",
                "\x85",
                "\x00",
                "\ud83d",
                "🙂",
                "天气",
            ),
        ]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1.0, 1e300, 5e-324, 0.1]),
    TEXTS,
)


def rows(cells: st.SearchStrategy) -> st.SearchStrategy:
    """Uniform rows, some with keys left out."""
    return st.lists(TEXTS, min_size=1, max_size=4, unique=True).flatmap(
        lambda keys: st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(keys, cells))
            | st.fixed_dictionaries(dict.fromkeys(keys, cells)),
            max_size=6,
        )
    )


JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4) | rows(inner)
    ),
    max_leaves=25,
)
TABLE = [{"id": n, "name": f"item {n}", "price": n / 4, "sold": n % 2 == 0} for n in range(20)]


# A str alone is a JSON text.
@given(
    value=JSON.filter(lambda value: not isinstance(value, str)), counter=st.sampled_from(COUNTERS)
)
def test_a_value_comes_back_equal_in_types_and_order_and_never_costs_more(value, counter):
    small = minify(value, counter)
    assert repr(small.value()) == repr(restore(small.text)) == repr(value)
    assert small.tokens == counter.count(small.text) <= small.before
    assert small.before == counter.count(json.dumps(value))
    assert small.saved == small.before - small.tokens
    assert minify(value, counter) == small


@given(
    value=JSON,
    counter=st.sampled_from(COUNTERS),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_a_text_comes_back_as_the_value_it_stands_for(value, counter, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    small = minify(text, counter)
    assert repr(small.value()) == repr(json.loads(text))
    assert small.tokens <= counter.count(text) == small.before


@given(value=rows(SCALARS), counter=st.sampled_from(COUNTERS))
def test_rows_come_back_whichever_form_they_take(value, counter):
    assert repr(minify(value, counter).value()) == repr(value)


@given(text=st.text(alphabet='@1[2] a,"\n{}:nul\\', max_size=30))
def test_a_text_that_is_neither_form_is_refused(text):
    try:
        value = restore(text)
    except InvalidInput:
        return
    assert minify([value], EXACT).value() == [value]


def test_uniform_rows_stand_as_a_table_with_a_header_and_a_row_a_line():
    small = minify(TABLE[:3], EXACT)
    assert small.form == "table"
    assert small.text.split("\n") == [
        "@1[3] id,name,price,sold",
        '0,"item 0",0.0,true',
        '1,"item 1",0.25,false',
        '2,"item 2",0.5,true',
    ]


def test_rows_inside_an_object_stand_as_tables_after_it():
    value = {"shop": "North", "items": TABLE, "note": None, "staff": TABLE[:10]}
    small = minify(value, EXACT)
    assert small.form == "table"
    assert small.text.startswith('{"shop":"North","items":@1,"note":null,"staff":@2}\n@1[20] id,')
    assert "\n@2[10] id,name,price,sold\n" in small.text
    assert small.value() == value


def test_tables_stand_inside_rows_where_that_is_smaller():
    value = [{"shop": "North", "items": TABLE}, {"shop": "South", "items": TABLE}]
    small = minify(value, EXACT)
    assert small.text.startswith('[{"shop":"North","items":@1},{"shop":"South","items":@2}]\n@1[')
    assert small.value() == value


def test_a_key_that_a_row_lacks_leaves_its_cell_empty_unlike_null_and_an_empty_text():
    value = [{"a": 1, "b": None}, {"a": 2}, {"a": 3, "b": ""}] * 5
    small = minify(value, EXACT)
    assert small.text.startswith('@1[15] a,b\n1,null\n2,\n3,""\n')
    assert repr(small.value()) == repr(value)


def test_names_that_are_no_plain_words_are_quoted_in_the_header():
    value = [{"a,b": 1, 'say "x"': 2, "": 3, "first name": 4}] * 8
    small = minify(value, EXACT)
    assert small.text.startswith('@1[8] "a,b","say \\"x\\"","",first name\n1,2,3,4\n')
    assert small.value() == value


def test_what_differs_from_row_to_row_stays_json():
    value = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"minimum": 1}}}
    assert minify(value, EXACT).form == "compact"


def test_a_text_that_cannot_shrink_is_given_back():
    assert minify('{"a":1}', EXACT).text == '{"a":1}'
    assert minify('{"a":1}', EXACT).form == "given"
    assert minify("3", EXACT).saved == 0


def test_the_counter_decides():
    class Commas:
        """Loves spaces after commas, and nothing else counts."""

        name, exact = "commas", True

        def count(self, text: str) -> int:
            return text.count(",") - text.count(", ")

    assert minify(TABLE, Commas()).form == "given"


def test_digits_that_a_float_would_round_stay_as_they_were_written():
    text = '{"pi": 3.14159265358979323846, "n": 1}'
    small = minify(text, EXACT)
    assert (small.text, small.form, small.saved) == (text, "given", 0)
    assert minify('{"pi": 3.140, "n": 1e2}', EXACT).form == "compact"


def test_half_a_pair_can_be_sent():
    small = minify({"a": ["\ud83d" + "x" * 40, 1, 2]}, EXACT)
    assert small.form == "compact"
    assert small.text.encode()
    assert small.value() == {"a": ["\ud83d" + "x" * 40, 1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{'a': 1}",
        '{"a": 1, "a": 1}',
        '[{"a": {"b": 1, "b": 2}}]',
        "NaN",
        "[1, Infinity]",
        "-Infinity",
        "1e400",
        "[" * 100_000,
        "9" * 5_000,
        "[1,]",
    ],
)
def test_a_text_that_is_no_faithful_json_is_refused(text):
    with pytest.raises(InvalidInput):
        minify(text, EXACT)
    with pytest.raises(InvalidInput):
        restore(text)


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (math.nan, "value"),
        ({"a": [1, math.inf]}, "value['a'][1]"),
        ((1, 2), "value"),
        ({"a": {1: 2}}, "value['a']"),
        ({"a": {1}}, "value['a']"),
        (b"{}", "value"),
        (["\ud83d\ude42"], "value[0]"),
        (10**5000, "value"),
        (LOOP, "value"),
    ],
    ids=["NaN", "inf", "tuple", "key", "set", "bytes", "halves", "digits", "loop"],
)
def test_a_value_that_would_not_come_back_is_refused_by_its_place(value, field):
    with pytest.raises(InvalidInput) as caught:
        minify(value, EXACT)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "text",
    [
        "@1[2] a,b\n1,2",
        "@1[1] a,b\n1,2\n3,4",
        "@1[1] a,b\n1",
        "@1[1] a,b\n1,2,3",
        "@1[1] a,b\n1 2",
        "@1[1] a,b\n1,x",
        "@1[1] a\nNaN",
        "@2[1] a\n1",
        "{}\n@1[1] a\n1",
        "[@1,@1]\n@1[1] a\n1",
        "[@2]\n@1[1] a\n1",
        "[@1,NaN]\n@1[1] a\n1",
        '{"x":@1,"x":2}\n@1[1] a\n1',
        "@1[1] a,a\n1,2",
    ],
)
def test_a_damaged_table_is_refused(text):
    with pytest.raises(InvalidInput):
        restore(text)


def test_a_reference_inside_a_string_is_text():
    assert restore('["@1",@1,"NaN"]\n@1[1] a\n"@1"') == ["@1", [{"a": "@1"}], "NaN"]


def test_thousands_of_rows_with_rows_inside_come_back():
    big = [{"id": n, "name": f"item {n}", "parts": [{"k": 1}, {"k": 2}]} for n in range(3000)]
    small = minify(big, EXACT)
    assert small.form == "table"
    assert small.value() == big
