"""Every block of a message costs something, and a shortened one holds its text nowhere else."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from rag_memory_plugins.langchain.counting import BlockCounter, schema_tokens
from rag_memory_plugins.langchain.slimming import lean, with_text
from rag_memory_plugins.tokens import make_counter

WORDS = make_counter("words")
TEXT = "the crane is green " * 20


def size(message: BaseMessage) -> int:
    return BlockCounter(WORDS).request([message])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BLOCKS: dict[str, dict[str, Any]] = {
    "thinking": {"type": "thinking", "thinking": TEXT, "signature": "s" * 900},
    "reasoning": {"type": "reasoning", "reasoning": TEXT},
    "text file": {"type": "text-plain", "text": TEXT, "mime_type": "text/plain"},
    "encoded text": {"type": "file", "base64": encoded(TEXT), "mime_type": "text/plain"},
    "Anthropic document": {"type": "document", "source": {"type": "text", "data": TEXT}},
    "server tool": {"type": "server_tool_result", "output": [{"text": TEXT}]},
    "of no known kind": {"type": "hologram", "words": TEXT},
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_text_in_any_block_counts(kind: str) -> None:
    bare = size(AIMessage("yes"))
    counted = size(AIMessage([{"type": "text", "text": "yes"}, BLOCKS[kind]]))
    assert WORDS.count(TEXT) <= counted - bare < 2 * WORDS.count(TEXT) + 600


MEDIA: dict[str, tuple[dict[str, Any], int]] = {
    "image": ({"type": "image", "url": "https://example.org/a.png"}, 1445),
    "image of low detail": (
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        85,
    ),
    "image by id": ({"type": "image", "file_id": "f1"}, 1445),
    "short sound": ({"type": "audio", "base64": encoded("a" * 3000)}, 256),
    "long sound": ({"type": "audio", "base64": encoded("a" * 300_000)}, 600),
    "film by address": ({"type": "video", "url": "https://example.org/a.mp4"}, 2048),
    "sound in a file": ({"type": "file", "base64": "aaaa", "mime_type": "audio/mp3"}, 256),
    "paper": ({"type": "file", "base64": encoded("a" * 24_000), "mime_type": "x/pdf"}, 3000),
    "list of words": (
        {"type": "file", "base64": encoded("word " * 1000), "mime_type": "application/json"},
        1300,
    ),
    "paper by id": ({"type": "file", "file_id": "f1"}, 512),
}


@pytest.mark.parametrize("kind", MEDIA)
def test_media_count_by_rule_or_by_their_bytes(kind: str) -> None:
    block, tokens = MEDIA[kind]
    assert size(HumanMessage([{"type": "text", "text": "see"}, block])) == (
        size(HumanMessage("see")) + tokens
    )


def test_a_call_that_stands_in_two_places_counts_once() -> None:
    call = {"name": "look", "args": {"city": "Porto"}, "id": "c1", "type": "tool_call"}
    twice = [{"type": "tool_use", "name": "look", "input": {"city": "Porto"}, "id": "c1"}]
    plain, doubled = AIMessage("", tool_calls=[call]), AIMessage(twice, tool_calls=[call])
    assert size(plain) == size(doubled) > size(AIMessage("")) + WORDS.count("Porto")


RESULTS: dict[str, Any] = {
    "text": TEXT,
    "texts": [{"type": "text", "text": TEXT}, TEXT],
    "search result": [{"type": "search_result", "content": [{"type": "text", "text": TEXT}]}],
    "JSON": [{"type": "json", "json": {"crane": TEXT}}],
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_shortened_result_holds_its_text_in_no_block(kind: str) -> None:
    short = with_text(ToolMessage(RESULTS[kind], tool_call_id="c1"), "the crane […]")
    assert "is green" not in json.dumps(short.content)
    assert size(short) < 20


def test_a_shortened_result_keeps_its_image() -> None:
    blocks = [{"type": "text", "text": TEXT}, MEDIA["image"][0]]
    short = with_text(ToolMessage(blocks, tool_call_id="c1"), "the crane")
    assert short.content == [{"type": "text", "text": "the crane"}, MEDIA["image"][0]]


def test_a_call_without_its_long_arguments_is_the_same_call() -> None:
    call = {"name": "write", "args": {"path": "a", "texts": [TEXT]}, "id": "c1"}
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "name": "write", "input": call["args"], "id": "c1"},
    ]
    short = lean(AIMessage(blocks, tool_calls=[call]))
    assert isinstance(short, AIMessage)
    assert [(c["id"], c["name"], c["args"]["path"]) for c in short.tool_calls] == [
        ("c1", "write", "a")
    ]
    assert TEXT not in str(short.model_dump())
    assert short.content == blocks[:1]
    assert lean(short) is short


def test_text_that_no_log_would_take_is_counted_all_the_same() -> None:
    assert size(ToolMessage("a\x00b \ud800", tool_call_id="c1")) > 4


class Place(BaseModel):
    """Where it is."""

    city: str


@dataclass
class Road:
    """How to get there."""

    name: str


class Town(TypedDict):
    """A small place."""

    name: str


@tool
def look(city: str) -> str:
    """Look at a city."""
    return city


FORMATS: dict[str, tuple[Any, int]] = {
    "none": (None, 0),
    "class": (Place, 1),
    "auto": (AutoStrategy(Place), 1),
    "tool": (ToolStrategy(Place), 1),
    "provider": (ProviderStrategy(Place), 1),
    "dataclass": (Road, 1),
    "typed dict": (Town, 1),
    "JSON schema": ({"title": "Place", "type": "object", "properties": {}}, 1),
    "one of two": (ToolStrategy(Place | Road), 2),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_response_format_counts_beside_the_tools(kind: str) -> None:
    response_format, schemas = FORMATS[kind]
    alone = WORDS.count(json.dumps(convert_to_openai_tool(look)))
    assert schema_tokens([look], None, WORDS) == alone
    assert schema_tokens([look], response_format, WORDS) >= alone + 4 * schemas


def test_a_tool_of_the_provider_counts_as_it_is_written() -> None:
    built_in = {"type": "web_search_20250305", "name": "web_search"}
    assert schema_tokens([built_in], None, WORDS) == WORDS.count(json.dumps(built_in))
