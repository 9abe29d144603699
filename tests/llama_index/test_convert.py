from __future__ import annotations

import json
import re
from typing import Any

import pytest
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.llms.llm import ToolSelection

from rag_memory_plugins import Message, ToolCall
from rag_memory_plugins.errors import InvalidMessage
from rag_memory_plugins.llama_index.compat import HAS_TOOL_CALL_BLOCK
from rag_memory_plugins.llama_index.convert import render, to_chat, to_message, to_messages

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40
NO_FENCE = re.compile(r"(?!)")
OPENAI_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Porto"}'},
}

SHAPES = {
    "text": ChatMessage("I moved to Lisbon"),
    "empty text": ChatMessage("", role="assistant"),
    "no content": ChatMessage(role="assistant"),
    "two texts": ChatMessage(role="user", blocks=[TextBlock(text="a"), TextBlock(text="b")]),
    "name": ChatMessage("hi", additional_kwargs={"name": "Ann"}),
    "developer": ChatMessage("be brief", role="developer"),
    "chatbot": ChatMessage("hello", role="chatbot"),
    "OpenAI tool calls": ChatMessage(
        role="assistant", additional_kwargs={"tool_calls": [OPENAI_CALL], "refusal": "no"}
    ),
    "tool result": ChatMessage("sunny", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    "function result": ChatMessage("sunny", role="function", additional_kwargs={"name": "weather"}),
    "direct answer": ChatMessage(
        "sunny", role="assistant", additional_kwargs={"tool_call_id": "c1"}
    ),
    "image bytes": ChatMessage(role="user", blocks=[TextBlock(text="see"), ImageBlock(image=PNG)]),
    "image url": ChatMessage(
        role="user", blocks=[ImageBlock(url="https://example.org/a.png", detail="low")]
    ),
    "document": ChatMessage(
        role="user", blocks=[TextBlock(text="read"), DocumentBlock(data=b"%PDF-1.4", title="a")]
    ),
}


if hasattr(types, "ToolCallBlock"):
    SHAPES |= {
        "tool calls": ChatMessage(
            role="assistant",
            blocks=[
                TextBlock(text="let me look"),
                types.ToolCallBlock(
                    tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Évora"}
                ),
                types.ToolCallBlock(tool_call_id="c2", tool_name="time", tool_kwargs={}),
            ],
        ),
        "tool call before text": ChatMessage(
            role="assistant",
            blocks=[
                types.ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={}),
                TextBlock(text="done"),
            ],
        ),
        "tool call without id, broken JSON": ChatMessage(
            role="assistant",
            blocks=[types.ToolCallBlock(tool_name="weather", tool_kwargs='{"city": ')],
        ),
    }
if hasattr(types, "ThinkingBlock"):
    SHAPES |= {
        "thinking": ChatMessage(
            role="assistant",
            blocks=[
                types.ThinkingBlock(content="hm", additional_information={"signature": "s"}),
                TextBlock(text="yes"),
            ],
        ),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_a_chat_message_comes_back_as_it_was_after_storage(shape: str) -> None:
    chat = SHAPES[shape]
    stored = Message.from_dict(json.loads(json.dumps(to_message(chat).to_dict())))
    assert to_chat(stored).model_dump(mode="json") == chat.model_dump(mode="json")


@pytest.mark.parametrize(
    "shape", sorted({"text", "name", "tool calls", "tool result", "image url"} & SHAPES.keys())
)
def test_a_usual_message_is_stored_without_metadata(shape: str) -> None:
    assert dict(to_message(SHAPES[shape]).metadata) == {}


@pytest.mark.parametrize(
    "call",
    [
        OPENAI_CALL,
        ToolSelection(tool_id="call_1", tool_name="weather", tool_kwargs={"city": "Porto"}),
        {"id": "call_1", "type": "tool_use", "name": "weather", "input": {"city": "Porto"}},
    ],
    ids=["openai", "selection", "anthropic"],
)
def test_tool_calls_of_every_provider_shape_are_understood(call: Any) -> None:
    message = to_message(ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]}))
    assert message.tool_calls == (ToolCall("call_1", "weather", '{"city": "Porto"}'),)


@pytest.mark.skipif(not HAS_TOOL_CALL_BLOCK, reason="this version has no blocks of tool calls")
def test_tool_calls_stored_elsewhere_become_blocks() -> None:
    chat = to_chat(Message("assistant", "", tool_calls=(ToolCall("c1", "f", '{"a": 1}'),)))
    assert chat.blocks == [
        types.ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={"a": 1})
    ]


@pytest.mark.skipif(HAS_TOOL_CALL_BLOCK, reason="this version has blocks of tool calls")
def test_tool_calls_stored_elsewhere_become_additional_kwargs() -> None:
    call = ToolCall("call_1", "weather", '{"city": "Porto"}')
    chat = to_chat(Message("assistant", "", tool_calls=(call,)))
    assert chat.additional_kwargs == {"tool_calls": [OPENAI_CALL]}


def test_a_block_that_this_version_does_not_know_leaves_what_was_said() -> None:
    blocks = [{"block_type": "smell", "scent": "tar"}, {"block_type": "text", "text": "the pier"}]
    message = Message("user", "the pier", metadata={"llama_index": {"blocks": blocks}})
    assert to_chat(message).content == "the pier"


def test_the_text_of_a_message_is_what_its_text_blocks_say() -> None:
    assert to_message(SHAPES["two texts"]).content == "a\nb"


def test_additional_kwargs_without_a_json_form_are_left_out() -> None:
    message = to_message(ChatMessage("hi", additional_kwargs={"raw": object(), "kept": 1}))
    assert message.metadata["llama_index"] == {"additional_kwargs": {"kept": 1}}


def test_a_tool_result_that_names_no_call_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="tool_call_id"):
        to_message(ChatMessage("sunny", role="tool"))


def test_the_same_object_is_the_same_message() -> None:
    chat = ChatMessage("yes")
    assert to_messages([chat], NO_FENCE)[0].id == to_messages([chat], NO_FENCE)[0].id


def test_equal_objects_are_different_messages() -> None:
    first, second = to_messages([ChatMessage("yes"), ChatMessage("yes")], NO_FENCE)
    assert first.id != second.id


def test_an_object_edited_since_is_another_message() -> None:
    chat = ChatMessage("yes")
    before = to_messages([chat], NO_FENCE)[0].id
    chat.content = "no"
    assert to_messages([chat], NO_FENCE)[0].id != before


def test_what_a_provider_gets_holds_no_id_of_ours() -> None:
    assert to_chat(Message("user", "hi", id="m1")).additional_kwargs == {}


def test_blocks_that_budgets_do_not_count_go_only_with_the_last_question() -> None:
    document = to_message(SHAPES["document"])
    old, _, new = render([document, Message("assistant", "read it"), document])
    assert [block.block_type for block in old.blocks] == ["text"]
    assert [block.block_type for block in new.blocks] == ["text", "document"]
