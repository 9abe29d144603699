"""Context windows: a name finds its family and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.windows import TABLE, Window, context_window

DATA = json.loads(TABLE.read_text(encoding="utf-8"))
ROWS = {name: Window(*row) for group in DATA["models"].values() for name, row in group.items()}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106-preview", "gpt-4-1106"),
        ("gpt-4-turbo-2024-04-09", "gpt-4-turbo"),
        ("gpt-4-32k-0613", "gpt-4-32k"),
        ("gpt-5.2-chat-latest", "gpt-5.2-chat"),
        ("azure/gpt-35-turbo", "gpt-3.5-turbo"),
        ("o1-2024-12-17", "o1"),
        ("o1-mini-2024-09-12", "o1-mini"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("anthropic/claude-3.5-sonnet:beta", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-4.1", "claude-opus-4-1"),
        ("models/gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("google/gemma-2-9b-it", "gemma2"),
        ("gemma3:27b-it-qat", "gemma3"),
        ("gemma3:1b", "gemma3-1b"),
        ("llama3.1", "llama3.1"),
        ("llama3.1:8b", "llama3.1"),
        ("llama3:8b-instruct-q4_K_M", "llama3"),
        ("llama2:7b-chat", "llama2"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3.1"),
        ("meta.llama3-1-8b-instruct-v1:0", "llama3.1"),
        ("hf.co/someone/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama3.2"),
        ("groq/llama-3.1-8b-instant", "llama-3.1-8b-instant"),
        ("groq/meta-llama/llama-4-scout-17b-16e-instruct", "groq/meta-llama/llama-4-scout"),
        ("meta-llama/llama-4-scout-17b-16e-instruct", "llama-4-scout"),
        ("phi3", "phi3"),
        ("phi3:14b", "phi3"),
        ("microsoft/Phi-3-mini-4k-instruct", "phi3-mini-4k"),
        ("mistral:7b", "mistral"),
        ("mixtral:8x7b", "mixtral-8x7b"),
        ("mistral-large-2402", "mistral-large-2402"),
        ("command-r-08-2024", "command-r"),
        ("qwen2.5:7b-instruct", "qwen2.5"),
        ("qwen3:30b-a3b-instruct-2507-q4_K_M", "qwen3-30b-a3b-instruct-2507"),
        ("deepseek-r1:8b", "deepseek-r1"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss"),
        ("gpt-oss:120b-cloud", "gpt-oss"),
    ],
)
def test_a_name_as_providers_routers_and_ollama_write_it_finds_its_row(name, row):
    assert context_window(name) == ROWS[row]


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4-foo",
        "gpt-4-64k",
        "gpt-4-5",
        "gpt-44",
        "gpt-4omni",
        "gpt-4o-realtime-preview",
        "gpt-5.4-chat-latest",
        "claude-opus-4-9",
        "claude-2.1",
        "gemini-2.5-flash-preview-tts",
        "llama3-gradient:8b",
        "Llama-3-8B-Instruct-262k",
        "Qwen2.5-7B-Instruct-1M",
        "mistral-7b-openorca",
        "phi4-reasoning",
        "text-embedding-3-small",
        "gpt-4o/other",
        "",
        "/",
        "8b",
    ],
)
def test_a_word_nobody_knows_may_change_the_window_and_is_no_match(name):
    with pytest.raises(InvalidInput):
        context_window(name)


def test_the_error_names_the_nearest_and_the_way_out():
    with pytest.raises(InvalidInput, match=r"'gpt-4o'.*pass window=TOKENS") as caught:
        context_window("gpt-4p")
    assert caught.value.field == "model"


@pytest.mark.parametrize("name", [None, 4, b"gpt-4o"])
def test_a_name_is_a_str(name):
    with pytest.raises(InvalidInput, match="model"):
        context_window(name)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_found_by_its_own_name_and_with_a_date(name):
    assert context_window(name) == ROWS[name]
    assert context_window(name.upper()) == ROWS[name]
    assert context_window(f"host/{name}-20260131") == ROWS[name]


@given(name=st.text(alphabet="gpt-4o.3:/@", max_size=14) | st.text(max_size=20))
def test_any_text_is_a_row_or_a_typed_error(name):
    try:
        assert context_window(name) in ROWS.values()
    except InvalidInput as error:
        assert error.got == name  # noqa: PT017 -- either outcome is right


def test_a_long_name_is_refused_without_trying_for_long():
    with pytest.raises(InvalidInput):
        context_window("gpt-4" + "-q4_k_m:7b" * 500 + "!")


def test_the_rows_are_plausible_and_each_name_is_there_once():
    count = sum(len(group) for group in DATA["models"].values())
    assert count == len(ROWS) >= 80
    for name, row in ROWS.items():
        assert name == name.lower()
        assert 1_000 <= row.tokens <= 20_000_000
        assert row.output is None or 1_000 <= row.output <= row.tokens
    assert date.fromisoformat(DATA["date"])
    assert DATA["sources"]


def test_the_table_is_read_once_and_only_when_it_is_asked():
    code = (
        "import sys, pathlib; from rag_memory_plugins import windows\n"
        "reads = []; read = pathlib.Path.read_text\n"
        "pathlib.Path.read_text = lambda *a, **k: (reads.append(a), read(*a, **k))[1]\n"
        "assert reads == []\n"
        "windows.context_window('gpt-4o'); windows.context_window('phi3'); print(len(reads))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "1"
