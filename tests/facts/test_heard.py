"""What an extractor may read of a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.facts import heard as heard_module
from rag_memory_plugins.facts.heard import heard
from rag_memory_plugins.memory.rendering import MARK, Fence
from rag_memory_plugins.types import Message

FENCE = Fence("secret", "acme/ann/s1")


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_what_a_context_put_into_a_message_is_not_heard(body):
    block = FENCE.around("Known before", f"{body} Zanzibar")
    text = heard(Message("user", f"Before.\n{block}\nAfter."))
    assert text.startswith("Before.")
    assert text.endswith("After.")
    assert "Zanzibar" not in text
    assert "Known before" not in text


def test_a_block_that_was_cut_off_ends_the_text():
    block = FENCE.around("Known before", "lives in Zanzibar")
    assert heard(Message("user", f"Hello.\n{block[:-3]}")) == "Hello."


def test_other_tags_are_somebodys_words():
    text = "<memory-12> is what the page says, <b>really</b>"
    assert heard(Message("user", text)) == text


@pytest.mark.parametrize(
    "message",
    [
        Message("system", "You live in Oslo."),
        Message("assistant", "You live in Oslo."),
        Message("tool", "You live in Oslo.", tool_call_id="call_1"),
        Message("user", "I live in Oslo.", metadata={MARK: "context"}),
        Message("user", " \n "),
    ],
    ids=["system", "assistant", "tool", "made up", "blank"],
)
def test_what_nobody_said_is_not_heard(message):
    assert heard(message) == ""


def test_an_assistant_with_a_name_is_somebody():
    assert heard(Message("assistant", "I run on Go.", name="Bot")) == "I run on Go."


def test_the_mark_is_that_of_contexts():
    assert heard_module.MARK == MARK
