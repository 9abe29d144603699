"""Messages and the other values: checked, comparable, safe to show."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Image, Message, Messages, TokenBudget, ToolCall
from rag_memory_plugins.errors import InvalidBudget, InvalidMessage, UnknownArgument

WHEN = datetime(2026, 5, 8, 14, 30, tzinfo=timezone.utc)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(texts, st.dictionaries(texts, texts | st.integers() | st.none(), max_size=3))
def test_a_message_reads_back_from_its_dict(content, metadata):
    message = Message("user", content, name="Ann", time=WHEN, metadata=metadata)
    assert Message.from_dict(message.to_dict()) == message
    assert pickle.loads(pickle.dumps(message)) == message


def test_tool_calls_and_images_read_back():
    call = Message("assistant", "", tool_calls=(ToolCall("c1", "add", '{"a": 1}'),))
    result = Message("tool", "2", tool_call_id="c1", images=(Image("http://x/y.png", 10, 20),))
    for message in (call, result):
        assert Message.from_dict(message.to_dict()) == message


def test_an_id_is_minted_once_and_differs_from_message_to_message():
    one, two = Message("user", "yes"), Message("user", "yes")
    assert one.id == one.id
    assert one.id != two.id


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("role", {"role": "human"}),
        ("content", {"content": None}),
        ("content", {"content": "a\x00b"}),
        ("content", {"content": "\ud800"}),
        ("id", {"id": 7}),
        ("id", {"id": "x" * 257}),
        ("time", {"time": "yesterday"}),
        ("time", {"time": datetime(2026, 1, 1)}),  # noqa: DTZ001  # naive on purpose
        ("tool_calls", {"tool_calls": ["x"], "role": "assistant"}),
        ("tool_calls", {"tool_calls": (ToolCall("a", "b"),)}),
        ("tool_call_id", {"role": "tool"}),
        ("tool_call_id", {"tool_call_id": "c1"}),
        ("images", {"images": "x"}),
        ("metadata", {"metadata": {"a": object()}}),
        ("metadata", {"metadata": {"a": float("nan")}}),
        ("metadata", {"metadata": [1]}),
    ],
)
def test_a_malformed_field_is_refused_and_named(field, values):
    with pytest.raises(InvalidMessage, match=f"^{field}: got "):
        Message(**{"role": "user", "content": "hello", **values})


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(UnknownArgument, match="did you mean 'content'"):
        Message.from_dict({"role": "user", "contnt": "hello"})


def test_time_is_kept_in_utc():
    summer = timezone(timedelta(hours=2))
    message = Message("user", "x", time=datetime(2026, 5, 8, 16, 30, tzinfo=summer))
    assert message.time == WHEN
    assert message.time.utcoffset() == timedelta(0)


def test_what_a_notebook_shows_is_escaped():
    message = Message("user", "<script>alert(1)</script>", id="<b>")
    for value in (message, Messages([message])):
        assert "<script>" not in value._repr_html_()
        assert "&lt;script&gt;" in value._repr_html_()
        assert "\n" not in repr(value)


@pytest.mark.parametrize(
    "values",
    [
        {"total": 0},
        {"total": -1},
        {"total": 1.5},
        {"total": "9"},
        {"total": True},
        {"total": 9, "recent": -1},
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(values):
    with pytest.raises(InvalidBudget):
        TokenBudget(**values)


@pytest.mark.parametrize("text", [r"\u0000", r"a\\u0000", r"C:\\u0000x"])
def test_metadata_may_hold_what_only_looks_like_a_nul_in_json(text):
    message = Message("user", "hello", time=WHEN, metadata={"a": text, text: 1})
    assert Message.from_dict(message.to_dict()).metadata == {"a": text, text: 1}


@pytest.mark.parametrize("text", ["\0", "\\\0", "a\0b"])
def test_metadata_holds_no_nul(text):
    with pytest.raises(InvalidMessage, match="NUL"):
        Message("user", "hello", time=WHEN, metadata={"a": text})
