"""The log: durable, in order, nothing twice, nothing by halves."""

from __future__ import annotations

import pytest

from rag_memory_plugins import Message, ToolCall
from rag_memory_plugins.errors import (
    InvalidMessage,
    MessageConflict,
    StoreClosed,
    UnknownArgument,
)


def test_equal_texts_are_separate_messages_and_retries_are_not(opened):
    ann = opened().conversation("acme", "ann", "monday")
    said = [Message("user", "yes") for _ in range(5)]
    for _ in range(3):
        for message in said:
            ann.add(message)
    assert [m.id for m in ann.messages()] == [m.id for m in said]


def test_a_retry_inside_one_batch_stores_once(opened):
    ann = opened().conversation("acme", "ann", "monday")
    message = Message("user", "yes")
    ann.add([message, message])
    assert len(ann.messages()) == 1


def test_an_id_that_is_taken_by_other_content_stores_nothing_of_the_batch(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add("first", id="m1")
    with pytest.raises(MessageConflict, match="m1"):
        ann.add([Message("user", "new"), Message("user", "second", id="m1")])
    assert [m.content for m in ann.messages()] == ["first"]


def test_the_same_id_is_free_in_every_other_namespace(opened):
    memory = opened()
    places = [
        ("acme", "ann", "monday"),
        ("acme", "ann", "tuesday"),
        ("acme", "bob", "monday"),
        ("evil", "ann", "monday"),
    ]
    for place in places:
        memory.conversation(*place).add(f"said in {place}", id="m1")
    for place in places:
        assert [m.content for m in memory.conversation(*place).messages()] == [f"said in {place}"]


@pytest.mark.parametrize(
    "bad", [5, None, [], {"role": "user"}, [Message("user", "ok"), 5], [{"content": "x"}], b"x"]
)
def test_a_malformed_message_stores_nothing(opened, bad):
    ann = opened().conversation("acme", "ann", "monday")
    with pytest.raises(InvalidMessage):
        ann.add(bad)
    assert ann.stats().messages == 0


def test_fields_of_a_text_are_refused_beside_a_message(opened):
    ann = opened().conversation("acme", "ann", "monday")
    with pytest.raises(InvalidMessage, match="role"):
        ann.add(Message("user", "x"), role="assistant")


def test_a_misspelt_argument_names_the_nearest(opened):
    ann = opened().conversation("acme", "ann", "monday")
    with pytest.raises(
        UnknownArgument, match=r"^Conversation.search\(limt=\): .*did you mean 'limit'"
    ):
        ann.search("x", limt=3)


def test_messages_survive_closing_and_opening_unchanged(opened):
    said = [
        Message(
            "user", "What is the weather? \u2603 \U0001f600", name="Ann", metadata={"a": [1, None]}
        ),
        Message("assistant", "", tool_calls=(ToolCall("c1", "weather", '{"city": "Lisbon"}'),)),
        Message("tool", "sunny", tool_call_id="c1", name="weather"),
        Message("system", "Be brief."),
    ]
    memory = opened()
    memory.conversation("acme", "ann", "monday").add(said)
    memory.close()
    again = opened().conversation("acme", "ann", "monday")
    assert list(again.messages()) == said
    assert [m.digest for m in again.messages()] == [m.digest for m in said]
    assert again.add(said)
    assert len(again.messages()) == len(said)


def test_recent_turns_are_the_last_ones_oldest_first(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add([f"turn {n}" for n in range(50)])
    assert [m.content for m in ann.recent(3)] == ["turn 47", "turn 48", "turn 49"]


def test_export_holds_everything_and_reads_back(opened):
    memory = opened()
    for session in ("monday", "tuesday"):
        memory.conversation("acme", "ann", session).add([f"{session} {n}" for n in range(600)])
    rows = memory.conversation("acme", "ann", "monday").export(level="user")
    assert len(rows) == 1200
    other = memory.conversation("acme", "copy", "monday")
    other.add([{k: v for k, v in row.items() if k != "session"} for row in rows])
    assert [m.content for m in other.messages()] == [row["content"] for row in rows]


def test_a_closed_memory_says_so(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    memory.close()
    memory.close()
    with pytest.raises(StoreClosed, match="open the memory again"):
        ann.add("x")


def test_an_unpinned_message_needs_no_error_and_an_unknown_pin_gets_one(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.unpin("nothing")
    with pytest.raises(InvalidMessage, match="message_id"):
        ann.pin("nothing")
