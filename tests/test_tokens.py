"""Token counters: exact counts, estimates, messages, the cache, and life without tiktoken's file."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import tokens
from rag_memory_plugins.errors import InvalidInput, MissingExtra
from rag_memory_plugins.tokens import (
    COUNTERS,
    REPLY_TOKENS,
    CharEstimate,
    TiktokenCounter,
    UpperEstimate,
    WordEstimate,
    image_tokens,
    make_counter,
    message_tokens,
)
from rag_memory_plugins.types import Image, Message, ToolCall

ENCODINGS = ("cl100k_base", "o200k_base")
WORDS = """the a deploy failed because token expired and we moved to Lisbon in spring it is raining
database migration settings page colour dark blue please remember my birthday in October""".split()
PROSE = (
    "I moved to Lisbon last spring, and I like the weather there.",
    "Letzten Monat bin ich nach Lissabon gezogen; das Wetter ist großartig.",
    "Москва далеко, но погода отличная.",
    "我上个月搬到了里斯本。天气很好。食物也很便宜。",
    "先月リスボンに引っ越しました。天気がとても良いです。",
    "지난달에 리스본으로 이사했어요. 날씨가 정말 좋아요.",
    "انتقلت إلى لشبونة الشهر الماضي والطقس جميل جدا",
    "मैं पिछले महीने लिस्बन चला गया और मौसम बहुत अच्छा है",
)

hostile_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
code_text = st.text("abcXYZ_019(){}[]<>=+-*/.,:;'\"\\ \t\n", max_size=200)
chinese_text = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=100)
emoji_text = st.text(
    st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF) | st.sampled_from("\u200d\ufe0f"),
    max_size=50,
)
any_text = st.one_of(hostile_text, code_text, chinese_text, emoji_text)
any_message = st.builds(
    lambda role, content, name: Message(role, content.replace("\0", ""), name=name or None),
    st.sampled_from(["system", "user", "assistant"]),
    any_text,
    st.sampled_from(["", "ann", "José"]),
)


@pytest.fixture(scope="module", params=ENCODINGS)
def exact(request: pytest.FixtureRequest) -> TiktokenCounter:
    return TiktokenCounter(request.param)


@pytest.fixture(scope="module", params=sorted(COUNTERS))
def counter(request: pytest.FixtureRequest):
    return make_counter(request.param)


@pytest.fixture(scope="module")
def folder() -> Path:
    """The folder of llama-index-core that holds tiktoken's files."""
    (location,) = find_spec("llama_index").submodule_search_locations
    return Path(location, "core", "_static", "tiktoken_cache")


@pytest.fixture(scope="module")
def peer(exact: TiktokenCounter, folder: Path) -> tiktoken.Encoding:
    """The same encoding, loaded by tiktoken itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        return tiktoken.get_encoding(exact.name)


def run(code: str, *arguments: str) -> dict:
    """What the code prints as JSON, run in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- exact counts


@pytest.mark.parametrize(
    ("text", "cl100k", "o200k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("お誕生日おめでとう", 9, 8),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
    ],
)
def test_known_texts_have_their_published_counts(text, cl100k, o200k):
    assert [TiktokenCounter(name).count(text) for name in ENCODINGS] == [cl100k, o200k]


@given(text=any_text)
def test_a_count_is_the_one_tiktoken_gives(exact, peer, text):
    assert exact.count(text) == len(peer.encode(text, disallowed_special=()))


MEETING_LINE_ENDS = (
    *("\n", "\r\n", "\r", " ", "\t", "\u2028", "/", "!", ".\n", "'s", "'", "a", "Zoo"),
    *("1", "12", "é", "中", "\u0301", "the end", "\n\n", "#", "_", "a" * 1_000),
)


@given(
    parts=st.lists(
        st.sampled_from(MEETING_LINE_ENDS),
        max_size=40,
    )
)
def test_lines_counted_one_by_one_cost_what_their_text_does(exact, peer, parts):
    text = "".join(parts)
    assert exact.count(text) == len(peer.encode_ordinary(text))


@pytest.mark.parametrize("text", ["<|endoftext|>", "a<|fim_prefix|>b", "<|endofprompt|>"])
def test_text_that_looks_like_a_special_token_is_ordinary_text(exact, text):
    assert exact.count(text) > 3


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_every_role_is_one_token(exact, role):
    assert exact.count(role) == 1


def test_a_lone_surrogate_in_a_query_can_be_counted(counter):
    assert counter.count("a\ud800b") >= 1


@pytest.mark.parametrize("gap", ["\t", " ", "\n", "\u3000", " \n"])
def test_a_gap_that_would_make_tiktoken_panic_is_counted_byte_by_byte(exact, gap):
    text = f"before{gap * (1_100_000 // len(gap))}after"
    assert exact.count(text) == pytest.approx(len(text.encode()), abs=12)


@given(before=any_text, gap=st.text(" \t\n\r\u3000", min_size=9, max_size=60), after=any_text)
def test_a_gap_counted_byte_by_byte_is_never_counted_too_low(exact, peer, before, gap, after):
    text = before + gap + after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_LONG_GAP", 8)
        patch.setattr(tokens, "_GAP", tokens.re.compile(r"(?<!\s)\s{9,}"))
        assert exact.count(text) >= len(peer.encode_ordinary(text))


# --- estimates


@given(text=any_text)
def test_an_upper_estimate_is_never_less_than_055_of_the_true_count(exact, text):
    assert UpperEstimate().count(text) >= 0.55 * exact.count(text)


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
def test_an_upper_estimate_is_above_the_true_count_of_english(exact, words):
    text = " ".join(words)
    assert UpperEstimate().count(text) >= exact.count(text)


@pytest.mark.parametrize("text", PROSE)
def test_an_upper_estimate_is_above_the_true_count_of_prose(exact, text):
    assert UpperEstimate().count(text) >= exact.count(text)


def test_an_upper_estimate_is_above_the_true_count_of_source_files(exact):
    for path in sorted(Path(tokens.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert UpperEstimate().count(text) >= exact.count(text), path.name


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (json.dumps({"a": 0, "b": [1, 2, 3], "ok": True}), 1.2),
        ("x=1;y=2", 1.5),
        (" ".join(str(uuid.UUID(int=random.Random(n).getrandbits(128))) for n in range(9)), 1.5),
        ("ባለፈው ወር ወደ ሊዝበን ተዛወርኩ", 1.8),
    ],
)
def test_where_an_upper_estimate_is_too_low_it_is_so_by_what_its_page_says(text, most):
    ratio = TiktokenCounter("cl100k_base").count(text) / UpperEstimate().count(text)
    assert 1 < ratio <= most


@pytest.mark.parametrize(
    ("estimate", "text", "expected"),
    [
        (UpperEstimate(), "", 0),
        (UpperEstimate(), "a", 2),  # 1.3 tokens a word, plus 10 % = 1.43
        (UpperEstimate(), "hello world", 7),  # 11 bytes / 2, plus 10 % = 6.05
        (UpperEstimate(), "a " * 100, 143),
        (UpperEstimate(), "x" * 200, 110),
        (UpperEstimate(), "漢字", 4),  # 6 bytes / 2, plus 10 % = 3.3
        (WordEstimate(), "", 0),
        (WordEstimate(), " one\ttwo\nthree ", 4),
        (WordEstimate(), "a " * 10, 13),
        (CharEstimate(), "", 0),
        (CharEstimate(), "abcd", 1),
        (CharEstimate(), "abcde", 2),
    ],
)
def test_an_estimate_follows_its_rule(estimate, text, expected):
    assert estimate.count(text) == expected


def test_only_tiktoken_counts_exactly(counter):
    assert counter.exact == (counter.name in ENCODINGS)


# --- batches and messages


@given(texts=st.lists(any_text, max_size=5))
def test_a_batch_is_counted_as_its_texts_are(counter, texts):
    assert counter.count_batch(texts) == [counter.count(text) for text in texts]


@given(messages=st.lists(any_message, max_size=6))
def test_every_message_adds_its_own_tokens_and_at_least_four(counter, messages):
    totals = [counter.count_messages(messages[:n]) for n in range(1, len(messages) + 1)]
    for message, total, before in zip(messages, totals, [REPLY_TOKENS, *totals], strict=False):
        assert total - before == message_tokens(message, counter.count) >= 4


def test_the_cookbooks_example_is_counted_as_the_provider_billed_it():
    texts = [
        (
            "system",
            None,
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
        ),
        ("system", "example_user", "New synergies will help drive top-line growth."),
        ("system", "example_assistant", "Things working well together will increase revenue."),
        (
            "system",
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        (
            "system",
            "example_assistant",
            "Let's talk later when we're less busy about how to do better.",
        ),
        (
            "user",
            None,
            "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        ),
    ]
    messages = [Message(role, content, name=name) for role, name, content in texts]
    assert TiktokenCounter("cl100k_base").count_messages(messages) == 129
    assert TiktokenCounter("o200k_base").count_messages(messages) == 124


def test_no_messages_cost_nothing(counter):
    assert counter.count_messages([]) == 0


def test_a_tool_calls_name_and_arguments_count(exact):
    arguments = json.dumps({"city": "Lisbon", "days": list(range(50))})
    plain = Message("assistant", "let me see")
    calling = Message("assistant", "let me see", tool_calls=(ToolCall("c1", "weather", arguments),))
    more = exact.count_messages([calling]) - exact.count_messages([plain])
    assert more == 3 + exact.count("weather") + exact.count(arguments)


def test_a_tool_calls_id_does_not_count(exact):
    calls = [(ToolCall(id_, "weather"),) for id_ in ("c", "call_" + "9" * 90)]
    one, other = (exact.count_messages([Message("assistant", "", tool_calls=c)]) for c in calls)
    assert one == other


def test_a_tool_result_counts_its_content_and_name(exact):
    result = Message("tool", "18 degrees and sunny", tool_call_id="c1", name="weather")
    expected = REPLY_TOKENS + 4 + exact.count("18 degrees and sunny") + 1 + exact.count("weather")
    assert exact.count_messages([result]) == expected


def test_an_image_adds_its_tokens(counter):
    image = Image("https://example.com/a.png", 1024, 1024)
    plain, pictured = Message("user", "look"), Message("user", "look", images=(image, image))
    assert counter.count_messages([pictured]) - counter.count_messages([plain]) == 2 * 765


@pytest.mark.parametrize(
    ("width", "height", "detail", "expected"),
    [
        (1024, 1024, "high", 765),  # OpenAI's three published examples
        (2048, 4096, "high", 1105),
        (4096, 8192, "low", 85),
        (512, 512, "high", 255),
        (100, 20, "auto", 255),  # never enlarged
        (2048, 768, "high", 1445),
        (0, 0, "auto", 1445),
        (1024, 0, "high", 1445),
        (0, 0, "low", 85),
    ],
)
def test_an_image_costs_what_the_providers_rule_says(width, height, detail, expected):
    assert image_tokens(Image("a.png", width, height, detail)) == expected


@given(width=st.integers(1, 40_000), height=st.integers(1, 40_000))
def test_no_image_costs_more_than_one_of_unknown_size(width, height):
    assert 255 <= image_tokens(Image("a.png", width, height)) <= image_tokens(Image("a.png"))


# --- the cache


def test_equal_ids_of_two_tenants_keep_their_own_counts(counter):
    short, long = Message("user", "yes", id="m1"), Message("user", "yes " * 200, id="m1")
    counts = [counter.count_messages([message]) for message in (short, long, short, long)]
    assert counts[:2] == counts[2:]
    assert counts[0] + 100 < counts[1]


def counting(monkeypatch, counter) -> list[str]:
    """The texts that the counter is asked for from now on."""
    asked: list[str] = []
    count = counter.count
    monkeypatch.setattr(counter, "count", lambda text: asked.append(text) or count(text))
    return asked


def test_a_message_is_counted_once(monkeypatch):
    counter = WordEstimate()
    asked = counting(monkeypatch, counter)
    for _ in range(3):
        counter.count_messages([Message("user", "good morning", id="m1")])
    assert asked == ["good morning"]


def test_the_cache_forgets_the_message_that_was_used_longest_ago(monkeypatch):
    monkeypatch.setattr(tokens, "_CACHED_MESSAGES", 2)
    counter = WordEstimate()
    asked = counting(monkeypatch, counter)
    one, two, three = (Message("user", text) for text in ("one", "two", "three"))
    for message in (one, two, one, three, one, two):
        counter.count_messages([message])
    assert asked == ["one", "two", "three", "two"]


def test_threads_may_share_a_counter(monkeypatch):
    monkeypatch.setattr(tokens, "_CACHED_MESSAGES", 8)
    counter = TiktokenCounter("cl100k_base")
    messages = [Message("user", "word " * n, id=f"m{n}") for n in range(40)]
    expected = [counter.count_messages([message]) for message in messages]
    together = threading.Barrier(8)

    def count_all(_: int) -> list[int]:
        together.wait()
        return [counter.count_messages([message]) for message in messages]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count_all, range(8))) == [expected] * 8


# --- make_counter


def test_every_name_makes_the_counter_of_that_name(counter):
    assert make_counter(counter.name).name == counter.name


def test_a_counter_is_taken_as_it_is():
    counter = WordEstimate()
    assert make_counter(counter) is counter


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match=r"counter.*did you mean 'cl100k_base'"):
        make_counter("cl100k")


def test_an_unknown_encoding_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match=r"encoding.*did you mean 'o200k_base'"):
        TiktokenCounter("o200k")


@pytest.mark.parametrize("thing", [len, 3, WordEstimate])
def test_what_is_no_counter_is_refused_with_the_names(thing):
    with pytest.raises(InvalidInput, match="pass a TokenCounter object, or one of cl100k_base"):
        make_counter(thing)


# --- tiktoken's file


def test_the_file_is_found_without_a_socket_and_without_llama_index(monkeypatch, tmp_path):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where tiktoken keeps what it downloads
    seen = run(
        """
        import json, os, sys
        opened = []
        sys.addaudithook(lambda event, _: event.startswith("socket.") and opened.append(event))
        before = dict(os.environ)
        from rag_memory_plugins.tokens import make_counter
        counter = make_counter(None)
        print(json.dumps({
            "name": counter.name,
            "count": counter.count("hello world"),
            "sockets": opened,
            "environment kept": dict(os.environ) == before,
            "imported": [m for m in ("llama_index", "numpy", "requests") if m in sys.modules],
        }))
        """
    )
    assert seen == {
        "name": "cl100k_base",
        "count": 2,
        "sockets": [],
        "environment kept": True,
        "imported": [],
    }


def test_importing_the_module_imports_no_tiktoken():
    code = "import sys, rag_memory_plugins.tokens; print(int('tiktoken' in sys.modules))"
    assert run(code) == 0


WITHOUT_LLAMA_INDEX = """
    import importlib.util, json, sys
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: (
        None if name == "llama_index" else find_spec(name, *rest)
    )
    from rag_memory_plugins.errors import MissingExtra
    from rag_memory_plugins.tokens import make_counter
    counter = make_counter(None)
    try:
        named = make_counter("o200k_base").name
    except MissingExtra as error:
        named = [error.extra, str(error)]
    print(json.dumps({"default": counter.name, "exact": counter.exact, "named": named}))
    """


@pytest.fixture
def no_folders(monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)


@pytest.mark.usefixtures("no_folders")
def test_without_the_file_the_default_is_the_upper_estimate_and_a_name_is_an_error():
    seen = run(WITHOUT_LLAMA_INDEX)
    assert (seen["default"], seen["exact"]) == ("upper", False)
    assert seen["named"][0] == "llama-index"
    assert "pip install 'rag-memory-plugins[llama-index]'" in seen["named"][1]


@pytest.mark.usefixtures("no_folders")
@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"])
def test_the_file_is_also_found_where_tiktokens_variables_point(monkeypatch, folder, variable):
    monkeypatch.setenv(variable, str(folder))
    seen = run(WITHOUT_LLAMA_INDEX)
    assert seen == {"default": "cl100k_base", "exact": True, "named": "o200k_base"}


@pytest.mark.usefixtures("no_folders")
def test_a_damaged_file_is_passed_over_and_left_alone(monkeypatch, folder, tmp_path):
    for path in folder.glob("[0-9a-f]*"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-1])
    before = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert run(WITHOUT_LLAMA_INDEX)["default"] == "upper"
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == before


def test_a_missing_file_is_looked_for_again_at_the_next_call(monkeypatch):
    tokens._load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_folders", lambda: iter(()))
        with pytest.raises(MissingExtra, match="llama-index"):
            TiktokenCounter("cl100k_base")
    assert TiktokenCounter("cl100k_base").count("hello world") == 2
