"""#21950: tool calls, tool results, images and thinking cost tokens, and no `get` is over its budget.

What was sent is counted here by LlamaIndex's own tokenizer, text by text, without our conversion.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.utils import get_tokenizer

from rag_memory_plugins import Memory
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.llama_index import ScopedMemory
from tests.llama_index.scripted import calling, result

LOW_DETAIL = 85
"""Tokens of an image of low detail, by OpenAI's rule."""
thinks = pytest.mark.skipif(
    not hasattr(types, "ThinkingBlock"), reason="this version has no thinking blocks"
)


def true_tokens(chats: list[ChatMessage]) -> int:
    """Tokens of every text that is sent, and of images; without any framing."""
    count = get_tokenizer()
    total = 0
    for chat in chats:
        for block in chat.blocks:
            kind = block.block_type
            if kind == "image":
                total += LOW_DETAIL
            elif kind == "tool_call":
                given = block.tool_kwargs
                text = given if isinstance(given, str) else json.dumps(given)
                total += len(count(block.tool_name)) + len(count(text))
            else:
                text = block.text if kind == "text" else block.content
                total += len(count(text or ""))
        for call in chat.additional_kwargs.get("tool_calls", ()):
            total += len(count(call["function"]["arguments"]))
    return total


def scoped(memory: Memory, budget: int) -> ScopedMemory:
    return ScopedMemory(memory.conversation("acme", "ann", "tuesday"), budget)


def thinking(text: str, answer: str, **more: Any) -> ChatMessage:
    block = types.ThinkingBlock(content=text, **more)
    return ChatMessage(role="assistant", blocks=[block, TextBlock(text=answer)])


def test_21950_long_arguments_of_tool_calls_are_counted(memory: Memory) -> None:
    chat = scoped(memory, 1000)
    for number in range(20):
        chat.put_messages(
            [
                ChatMessage(f"write part {number}"),
                calling((f"c{number}", "write", {"text": "the crane is green " * 125})),
                result(f"c{number}", "written"),
                ChatMessage("done", role="assistant"),
            ]
        )
        assert true_tokens(chat.get()) <= 1000


def test_21950_a_turn_of_many_tool_rounds_is_within_the_budget(memory: Memory) -> None:
    chat = scoped(memory, 1000)
    chat.put(ChatMessage("look at every crane"))
    for number in range(22):
        chat.put_messages(
            [
                calling((f"c{number}", "look", {"crane": number, "why": "it is green " * 20})),
                result(f"c{number}", "the crane is green " * 30),
            ]
        )
        assert 0 < true_tokens(chat.get()) <= 1000


def test_21950_images_are_counted(memory: Memory) -> None:
    chat = scoped(memory, 600)
    for number in range(20):
        image = ImageBlock(url=f"https://example.org/{number}.png", detail="low")
        chat.put(ChatMessage(role="user", blocks=[TextBlock(text=f"see {number}"), image]))
        chat.put(ChatMessage("a crane", role="assistant"))
    chat.put(ChatMessage("what did you see?"))
    sent = chat.get()
    assert true_tokens(sent) <= 600
    assert 1 <= sum(block.block_type == "image" for m in sent for block in m.blocks) <= 6


@thinks
def test_21950_thinking_of_this_turn_is_shown_and_counted(memory: Memory) -> None:
    chat = scoped(memory, 600)
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(60)])
    chat.put(ChatMessage("which crane?"))
    chat.put(thinking("it may be the seventh. " * 30, "the seventh"))
    sent = chat.get(input="are you sure?")
    assert [block.block_type for block in sent[-1].blocks] == ["thinking", "text"]
    assert 400 < true_tokens(sent) <= 600


@thinks
def test_21950_thinking_that_says_its_tokens_is_believed(memory: Memory) -> None:
    chat = scoped(memory, 600)
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(60)])
    chat.put(ChatMessage("which crane?"))
    chat.put(thinking("hm", "the seventh", num_tokens=200))
    assert true_tokens(chat.get(input="are you sure?")) <= 400


@thinks
def test_21950_thinking_of_earlier_turns_is_not_sent(memory: Memory) -> None:
    chat = scoped(memory, 600)
    chat.put_messages([ChatMessage("which crane?"), thinking("it may be " * 50, "the seventh")])
    chat.put(ChatMessage("are you sure?"))
    kinds = {block.block_type for message in chat.get() for block in message.blocks}
    assert kinds == {"text"}


@thinks
def test_21950_thinking_larger_than_half_of_the_budget_is_left_out(memory: Memory) -> None:
    chat = scoped(memory, 600)
    chat.put(ChatMessage("which crane?"))
    chat.get()
    chat.put(thinking("it may be the seventh. " * 100, "the seventh"))
    sent = chat.get()
    assert sent[-1].content == "the seventh"
    assert [block.block_type for block in sent[-1].blocks] == ["text"]


WORD = st.sampled_from("crane pier green harbour ship berth moved Lisbon May seven".split())
TEXT = st.lists(WORD, min_size=1, max_size=120).map(" ".join)


@st.composite
def turns(draw: st.DrawFn) -> list[ChatMessage]:
    """A question, up to three tool rounds, an answer."""
    made = [ChatMessage(draw(TEXT))]
    for number in range(draw(st.integers(0, 3))):
        made += [
            calling((f"c{number}", "look", {"at": draw(TEXT)})),
            result(f"c{number}", draw(TEXT)),
        ]
    return [*made, ChatMessage(draw(TEXT), role="assistant")]


@given(talk=st.lists(turns(), max_size=6), question=TEXT, budget=st.integers(60, 900))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_7765_no_get_is_over_its_budget(
    memory: Memory, talk: list[list[ChatMessage]], question: str, budget: int
) -> None:
    chat = scoped(memory, budget)
    chat.reset()
    chat.put_messages([message for turn in talk for message in turn])
    chat.put(ChatMessage(question))
    try:
        sent = chat.get()
    except BudgetTooSmall:
        assert true_tokens([ChatMessage(question)]) + 8 > budget
    else:
        assert true_tokens(sent) <= budget
        assert (sent[-1].content or "").endswith(question)
