"""What a chat message costs: every kind of block."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
)

from rag_memory_plugins.llama_index.convert import to_chat, to_message
from rag_memory_plugins.llama_index.counting import (
    as_counted,
    uncounted,
    with_content,
)
from rag_memory_plugins.memory.media import BlockCounter
from rag_memory_plugins.tokens import make_counter

WORDS = make_counter("words")
COUNTER = BlockCounter(WORDS)
TEN = "one two three four five six seven eight nine ten"  # 13 tokens of the counter


def sound(seconds: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<h", 0) * 8000 * seconds)
    return buffer.getvalue()


def newer(kind: str, **fields: Any) -> Any:
    """A block that not every version of LlamaIndex has."""
    return getattr(types, kind)(**fields) if hasattr(types, kind) else None


def cost(*blocks: Any) -> int:
    """Tokens of blocks, without the frame of their message."""
    chat = ChatMessage(role="user", blocks=list(blocks))
    return COUNTER.count_messages([as_counted(chat, COUNTER)]) - 7


PICTURE = ImageBlock(url="https://example.invalid/crane.png")
# Core before 0.14.15 cannot tell how long a sound is, and takes each for the same.
MINUTE = 1952 if hasattr(AudioBlock, "aestimate_tokens") else 256

every_block = pytest.mark.parametrize(
    ("block", "tokens"),
    [
        (TextBlock(text=TEN), 13),
        (PICTURE, 1445),
        (ImageBlock(url="https://example.invalid/crane.png", detail="low"), 85),
        (newer("ThinkingBlock", content=TEN), 13),
        (newer("ThinkingBlock", content=TEN, num_tokens=400), 400),
        (CitableBlock(title="a", source="b", content=[TextBlock(text=TEN), PICTURE]), 1462),
        (
            CitationBlock(
                cited_content=TextBlock(text=TEN),
                source="a",
                title="b",
                additional_location_info={},
            ),
            17,
        ),
        (DocumentBlock(data=(TEN * 500).encode(), document_mimetype="text/plain"), 5852),
        (DocumentBlock(data=b"%PDF" + b"x" * 79996, document_mimetype="application/pdf"), 10000),
        (DocumentBlock(data=b"%PDF", document_mimetype="application/pdf"), 512),
        (DocumentBlock(url="https://example.invalid/crane.pdf"), 512),
        (AudioBlock(audio=sound(60)), MINUTE),
        (AudioBlock(url="https://example.invalid/crane.mp3"), 256),
        (newer("VideoBlock", video=b"not a video"), 2048),
    ],
    ids="text image low thinking told citable citation plain pdf short far audio stream video".split(),
)


@every_block
def test_a_block_costs(block: Any, tokens: int) -> None:
    if block is None:
        pytest.skip("this version has no such block")
    assert cost(block) == tokens


@every_block
def test_a_block_costs_the_same_in_a_request_and_in_the_log(block: Any, tokens: int) -> None:
    if block is None:
        pytest.skip("this version has no such block")
    message = to_message(ChatMessage(role="user", blocks=[block]))
    told = WORDS.count_messages([message]) + uncounted(message, WORDS)
    assert told == COUNTER.count_messages([as_counted(to_chat(message), COUNTER)])
    assert told == cost(block) + 7


def test_a_mark_for_a_cache_costs_nothing() -> None:
    assert cost(TextBlock(text=TEN), CachePoint(cache_control={"type": "ephemeral"})) == 13


def test_a_document_whose_file_is_gone_costs_the_least(tmp_path: Path) -> None:
    file = tmp_path / "crane.pdf"
    file.write_bytes(b"%PDF")
    block = DocumentBlock(path=file)
    file.unlink()
    assert cost(block) == 512


def test_a_plain_message_costs_what_the_memory_counts() -> None:
    chat = ChatMessage(
        "it is green",
        role="assistant",
        additional_kwargs={
            "name": "crane",
            "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": '{"a": 1}'}}],
        },
    )
    counted = COUNTER.count_messages([as_counted(chat, COUNTER)])
    assert counted == WORDS.count_messages([to_message(chat)])


def test_another_text_leaves_the_other_blocks_and_the_message_as_they_were() -> None:
    chat = ChatMessage(
        role="tool",
        blocks=[TextBlock(text="a"), PICTURE, TextBlock(text="b")],
        additional_kwargs={"tool_call_id": "c"},
    )
    made = with_content(chat, "short")
    assert [block.block_type for block in made.blocks] == ["text", "image"]
    assert (made.content, made.additional_kwargs) == ("short", {"tool_call_id": "c"})
    assert chat.content == "a\nb"
