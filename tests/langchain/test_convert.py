from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from rag_memory_plugins import Image, Message, ToolCall
from rag_memory_plugins.errors import InvalidMessage
from rag_memory_plugins.langchain.convert import to_langchain, to_message
from rag_memory_plugins.memory.units import SHORTENED

CALL = {"name": "weather", "args": {"city": "Évora"}, "id": "c1", "type": "tool_call"}
BROKEN = {
    "name": "weather",
    "args": '{"city": ',
    "id": "c1",
    "error": "not JSON",
    "type": "invalid_tool_call",
}
TEXT = {"type": "text", "text": "see"}

SHAPES: dict[str, BaseMessage] = {
    "text": HumanMessage("I moved to Lisbon", id="m1"),
    "empty text": AIMessage("", id="m1"),
    "system": SystemMessage("be brief", id="m1"),
    "name": HumanMessage("hi", name="Ann", id="m1"),
    "tool calls": AIMessage("let me look", tool_calls=[CALL], id="m1"),
    "broken tool call": AIMessage("", invalid_tool_calls=[BROKEN], id="m1"),
    "tool result": ToolMessage("sunny", tool_call_id="c1", name="weather", id="m1"),
    "failed tool": ToolMessage("no", tool_call_id="c1", status="error", id="m1"),
    "function result": FunctionMessage("sunny", name="weather", id="m1"),
    "other role": ChatMessage("hi", role="critic", id="m1"),
    "additional kwargs": AIMessage("hi", additional_kwargs={"reasoning_content": "hm"}, id="m1"),
    "blocks": HumanMessage([TEXT, {"type": "text", "text": "b"}], id="m1"),
    "image": HumanMessage(
        [TEXT, {"type": "image", "base64": "aaaa", "mime_type": "image/png"}], id="m1"
    ),
    "OpenAI image": HumanMessage(
        [TEXT, {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}], id="m1"
    ),
    "Anthropic blocks": AIMessage(
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "yes"},
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {}},
        ],
        tool_calls=[{**CALL, "args": {}}],
        response_metadata={"model_provider": "anthropic"},
        id="m1",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_comes_back_as_it_was_after_storage(shape: str) -> None:
    stored = Message.from_dict(json.loads(json.dumps(to_message(SHAPES[shape]).to_dict())))
    assert to_langchain(stored) == SHAPES[shape]


@pytest.mark.parametrize("shape", ["text", "name", "system", "tool calls", "tool result", "image"])
def test_a_usual_message_is_stored_without_metadata(shape: str) -> None:
    assert dict(to_message(SHAPES[shape]).metadata) == {}


@pytest.mark.parametrize(
    ("block", "image"),
    [
        ({"type": "image_url", "image_url": "https://e.org/a.png"}, Image("https://e.org/a.png")),
        (
            {"type": "image_url", "image_url": {"url": "https://e.org/a.png", "detail": "low"}},
            Image("https://e.org/a.png", detail="low"),
        ),
        ({"type": "image", "url": "https://e.org/a.png"}, Image("https://e.org/a.png")),
        (
            {"type": "image", "source_type": "base64", "data": "aa", "mime_type": "image/gif"},
            Image("data:image/gif;base64,aa"),
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/gif", "data": "aa"},
            },
            Image("data:image/gif;base64,aa"),
        ),
    ],
    ids=["bare url", "openai", "url", "langchain 0.3", "anthropic"],
)
def test_images_of_every_dialect_are_understood(block: dict[str, Any], image: Image) -> None:
    assert to_message(HumanMessage([block])).images == (image,)


def test_an_image_known_by_a_file_id_alone_is_kept_in_the_metadata() -> None:
    message = to_message(HumanMessage([{"type": "image", "file_id": "f1"}]))
    assert (message.images, "langchain" in message.metadata) == ((), True)


def test_a_streamed_message_is_stored_as_a_whole_one() -> None:
    assert to_langchain(to_message(AIMessageChunk("yes", id="m1"))) == AIMessage("yes", id="m1")


def test_what_the_provider_said_about_the_call_is_not_stored() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    answer = AIMessage("hi", response_metadata={"id": "x"}, usage_metadata=usage)  # type: ignore[arg-type]
    assert dict(to_message(answer).metadata) == {}


def test_tool_calls_stored_elsewhere_become_tool_calls() -> None:
    message = Message("assistant", "", tool_calls=(ToolCall("c1", "f", '{"a": 1}'),))
    (call,) = AIMessage.model_validate(to_langchain(message)).tool_calls
    assert call == {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


def test_arguments_that_are_no_json_object_become_an_invalid_tool_call() -> None:
    message = Message("assistant", "", tool_calls=(ToolCall("c1", "f", "[1"),))
    (call,) = AIMessage.model_validate(to_langchain(message)).invalid_tool_calls
    assert (call["id"], call["args"]) == ("c1", "[1")


def test_only_what_budgets_count_is_left_without_whole() -> None:
    message = to_message(SHAPES["Anthropic blocks"])
    assert to_langchain(message, whole=False).content == "yes"


def test_a_nul_character_is_refused_by_name() -> None:
    with pytest.raises(InvalidMessage, match="content"):
        to_message(HumanMessage("a\x00b"))


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "text", "text": "a long result"}, {"type": "text", "text": "of a tool"}],
        [{"type": "search_result", "content": [{"type": "text", "text": "a long result"}]}],
        [
            "a long result",
            {"type": "text-plain", "text": "a long result", "mime_type": "text/plain"},
        ],
    ],
    ids=["texts", "search result", "text file"],
)
def test_a_shortened_message_holds_its_whole_text_in_no_block(blocks: list[Any]) -> None:
    message = to_message(ToolMessage(blocks, tool_call_id="c1", name="look", id="m1"))
    short = message.shown_as("a […]", {**message.metadata, SHORTENED: 9})
    assert "long result" not in str(to_langchain(short).content)


def test_a_shortened_message_keeps_its_images() -> None:
    message = to_message(SHAPES["image"])
    short = message.shown_as("s", {**message.metadata, SHORTENED: 9})
    assert [part["type"] for part in to_langchain(short).content] == ["text", "image"]  # type: ignore[index]
