"""Files of the three formats, read and stored through `import_file`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from rag_memory_plugins import Memory, Message, open_memory
from rag_memory_plugins.cli import formats
from rag_memory_plugins.cli.formats import detect
from rag_memory_plugins.cli.importing import Target, import_file, records
from rag_memory_plugins.errors import InvalidFile

ANN = Target("acme", "ann", "s")
Write = Callable[..., Path]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(tmp_path / "memory.db", embedder=None) as opened:
        yield opened


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: object, name: str = "file") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return make


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **fields}


def texts(memory: Memory, session: str = "s", user: str = "ann") -> list[str]:
    return [message.content for message in memory.conversation("acme", user, session).messages()]


# JSON Lines


def test_messages_of_a_line_each_are_stored_in_order(memory, write) -> None:
    done = import_file(memory, write(lines(said("one"), said("two"))), ANN)
    assert (done.format, done.messages, done.new) == ("jsonl", 2, 2)
    assert texts(memory) == ["one", "two"]


def test_a_line_may_name_its_session(memory, write) -> None:
    done = import_file(memory, write(lines(said("a", session="x"), said("b"))), ANN)
    assert done.sessions == 2
    assert (texts(memory, "x"), texts(memory, "s")) == (["a"], ["b"])


def test_importing_twice_stores_nothing_twice(memory, write) -> None:
    path = write(lines(said("one"), said("two", id="m2")))
    import_file(memory, path, ANN)
    assert import_file(memory, path, ANN).new == 0
    assert texts(memory) == ["one", "two"]


def test_the_same_words_on_five_lines_are_five_messages(memory, write) -> None:
    assert import_file(memory, write(lines(*[said("yes")] * 5)), ANN).new == 5


def test_a_file_that_has_grown_adds_only_its_new_lines(memory, write) -> None:
    import_file(memory, write(lines(said("one"), said("two"))), ANN)
    grown = write(lines(said("one"), said("two"), said("three")))
    assert import_file(memory, grown, ANN).new == 1


def test_an_export_is_imported_as_the_same_messages(memory, write) -> None:
    call = {"id": "c1", "name": "look", "arguments": '{"x": 1}'}
    rows = [
        said("hi", id="1", name="Ann", time="2026-01-02T03:04:05+00:00", session="s"),
        {"id": "2", "role": "assistant", "content": "", "tool_calls": [call], "session": "s"},
        {"id": "3", "role": "tool", "content": "9", "tool_call_id": "c1", "session": "s"},
        said("ärger ✓", id="4", metadata={"a": [1, None]}, session="t"),
    ]
    import_file(memory, write(lines(*rows)), ANN)
    first = memory.conversation("acme", "ann", "s").export("user")
    import_file(memory, write(lines(*first)), Target("acme", "bob"))
    assert memory.conversation("acme", "bob", "s").export("user") == first


def test_blank_lines_and_a_byte_order_mark_are_passed_over(memory, write) -> None:
    path = write(b"\xef\xbb\xbf" + b"\n" + lines(said("one")).encode() + b"\n  \n")
    assert import_file(memory, path, ANN).messages == 1


def test_a_line_without_a_session_needs_one_from_the_caller(memory, write) -> None:
    with pytest.raises(InvalidFile, match=r"line 1, session: .*--session"):
        import_file(memory, write(lines(said("one"))), Target("acme", "ann"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{not json}", "line 2: .*one JSON object a line"),
        (b'{"role": "user", "content": "cut off', "line 2: .*one JSON object a line"),
        (b"[1]", "line 2: .*object with role and content"),
        (b'{"role": "user", "content": "\xff"}', "line 2: .*UTF-8"),
        (b'{"role": "user", "content": "\\ud83d"}', "line 2, content: .*lone surrogate"),
        (b'{"role": "user", "content": "a\\u0000b"}', "line 2, content: .*NUL"),
        (b'{"role": "usr", "content": "a"}', "line 2, role: .*did you mean 'user'"),
        (b'{"role": "user", "text": "a"}', "line 2, message field 'text'"),
        (b'{"role": "user", "content": "a", "session": 5}', "line 2: got 5; session must"),
        (b'{"role": "user", "content": "a", "session": ""}', "line 2, session: .*empty"),
        (b'{"role": "user", "content": "a", "time": "noon"}', "line 2, time: .*2026-05-08"),
        (b"[" * 200_000, "line 2: "),
    ],
)
def test_a_bad_line_is_named_with_its_remedy(memory, write, line: bytes, words: str) -> None:
    path = write(lines(said("one")).encode() + line + b"\n")
    with pytest.raises(InvalidFile, match=words):
        import_file(memory, path, ANN)


def test_nothing_of_a_bad_lines_batch_is_stored_and_the_error_says_what_was(memory, write) -> None:
    good = [said(f"turn {number}") for number in range(250)]
    with pytest.raises(InvalidFile, match=r"line 251.*200 messages before it are stored"):
        import_file(memory, write(lines(*good) + "{}\n"), ANN)
    assert len(texts(memory)) == 200


def test_a_repaired_file_continues_where_the_bad_one_stopped(memory, write) -> None:
    good = [said(f"turn {number}") for number in range(250)]
    with pytest.raises(InvalidFile):
        import_file(memory, write(lines(*good) + "{}\n"), ANN)
    assert import_file(memory, write(lines(*good, said("end"))), ANN).new == 51


def test_an_id_that_is_taken_by_other_words_names_the_lines(memory, write) -> None:
    memory.conversation("acme", "ann", "s").add("first", id="m1")
    with pytest.raises(InvalidFile, match=r"line 1 to line 2, .*m1") as caught:
        import_file(memory, write(lines(said("new"), said("other", id="m1"))), ANN)
    assert caught.value.__cause__ is not None
    assert texts(memory) == ["first"]


def test_a_line_larger_than_any_message_is_refused(memory, write, monkeypatch) -> None:
    monkeypatch.setattr(formats, "MAX_LINE", 100)
    with pytest.raises(InvalidFile, match=r"line 2: .*a line over"):
        import_file(memory, write(lines(said("one"), said("x" * 200))), ANN)


def test_a_tool_result_stays_in_the_batch_of_its_call(memory, write, monkeypatch) -> None:
    monkeypatch.setattr("rag_memory_plugins.cli.importing.BATCH", 1)
    call = {"id": "c", "name": "f", "arguments": "{}"}
    rows = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "done", "tool_call_id": "c"},
        {"role": "usr", "content": "bad"},
    ]
    with pytest.raises(InvalidFile, match="0 messages before it"):
        import_file(memory, write(lines(*rows)), ANN)


def test_progress_ends_at_the_size_of_the_file(memory, write) -> None:
    path = write(lines(*[said(f"{number}") for number in range(300)]))
    steps: list[tuple[int, int]] = []
    import_file(memory, path, ANN, progress=lambda *step: steps.append(step))
    assert steps[-1] == (path.stat().st_size, 300)


# LoCoMo


def sample(name: str, **conversation: Any) -> dict[str, Any]:
    turn = {"speaker": "Kim", "dia_id": "D1:1", "text": "I planted garlic."}
    reply = {"speaker": "Lee", "dia_id": "D1:2", "text": "Look!", "blip_caption": "a red barn"}
    return {
        "sample_id": name,
        "conversation": {
            "speaker_a": "Kim",
            "speaker_b": "Lee",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [turn, reply],
            **conversation,
        },
        "qa": [],
    }


def test_each_sample_becomes_a_user_of_its_own(memory, write) -> None:
    done = import_file(memory, write([sample("p1"), sample("p2")]), Target("acme"))
    assert (done.format, done.users, done.sessions, done.new) == ("locomo", 2, 2, 4)
    assert len(texts(memory, "p1/session_1", "p1")) == 2


def test_all_samples_go_to_a_user_that_is_named(memory, write) -> None:
    done = import_file(memory, write([sample("p1"), sample("p2")]), Target("acme", "ann"))
    assert (done.users, done.sessions) == (1, 2)


def test_a_turn_keeps_speaker_date_caption_and_a_prefixed_id(memory, write) -> None:
    import_file(memory, write([sample("p1")]), Target("acme"))
    first, second = memory.conversation("acme", "p1", "p1/session_1").messages()
    assert (first.id, first.role, first.name) == ("p1/D1:1", "user", "Kim")
    assert first.time == datetime(2023, 5, 8, 13, 56, tzinfo=timezone.utc)
    assert (second.role, second.content) == ("assistant", "Look! [image: a red barn]")


def test_sessions_are_read_in_the_order_of_their_numbers(write) -> None:
    later = {
        f"session_{number}": [{"speaker": "Kim", "dia_id": f"D{number}:1", "text": "hi"}]
        for number in (10, 2)
    }
    dates = {f"{name}_date_time": "9:00 am on 1 June, 2023" for name in later}
    found = [record.session for record, _ in records(write([sample("p", **later, **dates)]))]
    assert list(dict.fromkeys(found)) == ["p/session_1", "p/session_2", "p/session_10"]


def test_a_date_without_a_session_is_passed_over(memory, write) -> None:
    path = write([sample("p", session_2_date_time="9:00 am on 1 June, 2023")])
    assert import_file(memory, path, Target("acme")).sessions == 1


@pytest.mark.parametrize(
    ("conversation", "words"),
    [
        ({"session_1_date_time": "yesterday"}, "session_1_date_time: .*1:56 pm on 8 May, 2023"),
        ({"session_1": {}}, "session_1: .*a session is a list"),
        ({"session_1": [{"speaker": "Kim", "text": 1}]}, "turn 1: .*dia_id, text: must be"),
    ],
)
def test_a_bad_sample_is_named_with_its_remedy(memory, write, conversation, words) -> None:
    with pytest.raises(InvalidFile, match=rf"sample 2 \(p2\).*{words}"):
        import_file(memory, write([sample("p1"), sample("p2", **conversation)]), Target("acme"))


# ChatGPT


def node(
    parent: str | None, role: str = "user", text: object = "hi", **fields: Any
) -> dict[str, Any]:
    parts = text if isinstance(text, list) else [text]
    message = {
        "author": {"role": role, "name": fields.pop("name", None)},
        "content": fields.pop("content", {"content_type": "text", "parts": parts}),
        "create_time": 1_750_000_000.5,
        **fields,
    }
    return {"parent": parent, "children": [], "message": message}


def chat(mapping: dict[str, Any], current: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "conversation_id": "c1",
        "title": "T",
        "mapping": mapping,
        "current_node": current,
    } | fields


def test_the_branch_that_was_seen_last_is_read_from_root_to_leaf(memory, write) -> None:
    mapping = {
        "root": {"parent": None, "children": ["q"], "message": None},
        "q": node("root", text="name a tree"),
        "old": node("q", "assistant", "oak"),
        "new": node("q", "assistant", "elm"),
    }
    done = import_file(memory, write([chat(mapping, "new")]), Target("acme", "ann"))
    found = memory.conversation("acme", "ann", "c1").messages()
    assert done.format == "chatgpt"
    assert [(m.id, m.content) for m in found] == [("q", "name a tree"), ("new", "elm")]
    assert found[0].time == datetime.fromtimestamp(1_750_000_000.5, timezone.utc)


def read_chat(write: Write, mapping: dict[str, Any], current: str | None) -> list[Message]:
    return [record.message for record, _ in records(write([chat(mapping, current)]))]


def test_hidden_empty_and_thinking_nodes_are_left_out(write) -> None:
    mapping = {
        "a": node(None, "system", ""),
        "b": node(
            "a", "system", "be nice", metadata={"is_visually_hidden_from_conversation": True}
        ),
        "c": node("b", "assistant", content={"content_type": "thoughts", "thoughts": []}),
        "d": node("c", text="hello"),
    }
    assert [message.id for message in read_chat(write, mapping, "d")] == ["d"]


def test_a_call_to_a_tool_is_kept_with_its_result(write) -> None:
    code = {"content_type": "code", "text": "1+1"}
    result = {"content_type": "execution_output", "text": "2"}
    mapping = {
        "ask": node(None, text="add"),
        "call": node("ask", "assistant", content=code, recipient="python"),
        "out": node("call", "tool", content=result, name="python"),
    }
    call, out = read_chat(write, mapping, "out")[1:]
    assert call.tool_calls[0].name == "python"
    assert json.loads(call.tool_calls[0].arguments) == {"input": "1+1"}
    assert (out.role, out.tool_call_id, out.content) == ("tool", call.tool_calls[0].id, "2")


def test_a_call_without_result_and_a_result_without_call_become_plain_turns(write) -> None:
    mapping = {
        "out": node(None, "tool", "found it", name="browser"),
        "call": node("out", "assistant", "search()", recipient="browser"),
        "end": node("call", text="stop"),
    }
    found = read_chat(write, mapping, "end")
    assert [(m.role, bool(m.tool_calls)) for m in found[:2]] == [("assistant", False)] * 2


def test_pictures_and_spoken_words_become_text(write) -> None:
    parts = [
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"},
        {"content_type": "audio_transcription", "text": "what is this"},
        "please",
    ]
    assert read_chat(write, {"a": node(None, text=parts)}, "a")[0].content == (
        "[image]\nwhat is this\nplease"
    )


def test_without_a_current_node_the_newest_leaf_is_read(write) -> None:
    mapping = {"a": node(None, text="one"), "b": node("a", text="two")}
    assert [message.id for message in read_chat(write, mapping, None)] == ["a", "b"]


@pytest.mark.parametrize(
    ("mapping", "current", "words"),
    [
        ({"a": node("b"), "b": node("a")}, "a", "node a: .*its own ancestor"),
        ({"a": node(None)}, "z", "current_node: .*a node of the mapping"),
        ({"a": 5}, "a", "node a: .*a node is an object"),
        ({"a": node(["x"])}, "a", "node a: .*a node is an object"),  # type: ignore[arg-type]
        ({"a": node(None, create_time="noon")}, "a", "create_time: .*seconds since 1970"),
        ({"a": node(None, create_time=1e300)}, "a", "create_time: .*seconds since 1970"),
        ({"a": node(None, role="critic")}, "a", "role: .*valid: "),
        ([], None, "mapping: .*an object of nodes"),
    ],
)
def test_a_bad_conversation_is_named_with_its_remedy(write, mapping, current, words) -> None:
    with pytest.raises(InvalidFile, match=rf"conversation 1 \(T\).*{words}"):
        read_chat(write, mapping, current)


def test_a_file_that_is_cut_off_says_where_and_how_much_of_it_is_stored(memory, write) -> None:
    chats = [chat({name: node(None)}, name, conversation_id=name) for name in "abc"]
    path = write(json.dumps(chats)[:-20])
    with pytest.raises(InvalidFile, match=r"conversation 3: .*cut off.*1 messages before"):
        import_file(memory, path, Target("acme", "ann"))
    assert len(texts(memory, "a")) == 1


# What a file is


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b" \n ", "an empty file"),
        (b"PK\x03\x04rest", "unpack it and pass conversations.json"),
        (b"SQLite format 3\x00", "pass JSON Lines"),
        (b"hello", "pass JSON Lines"),
        (b"[]", "a JSON list whose first item"),
        (b"[1, 2]", "a JSON list whose first item"),
        (b'[{"role": "user", "content": "a"}]', "one message a line"),
        (b'[{"a": 1', "it is not JSON"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_with_what_to_pass(write, content, words) -> None:
    with pytest.raises(InvalidFile, match=words):
        detect(write(content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidFile, match="a file that you may read"):
            detect(path)


def test_the_format_is_what_the_content_says_or_what_is_asked_for(memory, write) -> None:
    path = write(b"\xef\xbb\xbf" + json.dumps([sample("p1")]).encode(), "misleading.jsonl")
    assert detect(path) == "locomo"
    with pytest.raises(InvalidFile, match=r"sample 1: .*sample_id"):
        import_file(memory, write([chat({}, None)]), ANN, "locomo")


def test_a_file_without_a_message_is_refused(memory, write) -> None:
    with pytest.raises(InvalidFile, match="no message"):
        import_file(memory, write([chat({}, None)]), Target("acme", "ann"))


# Memory does not grow with the file

_MEASURE = """
import resource, sys
from pathlib import Path
from rag_memory_plugins.cli.importing import Target, batches, records

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def read(path):
    target = Target("acme", "ann", "s")
    return sum(len(batch) for _, batch, _ in batches(records(Path(path)), target.namespace))

read(sys.argv[1])
before = peak()
print(read(sys.argv[2]), peak() - before)
"""


def repeated(kind: str, count: int) -> Iterator[str]:
    """A file of `count` times twenty messages, about 50 kB, written in pieces."""
    text = "The bed by the fence gets beans this year. " * 60
    if kind == "jsonl":
        item = lines(*[said(f"NUMBER {text}")] * 20)
    elif kind == "locomo":
        turns = [{"speaker": "Kim", "dia_id": f"D1:{turn}", "text": text} for turn in range(20)]
        item = json.dumps(sample("NUMBER", session_1=turns))
    else:
        mapping = {f"{turn}": node(f"{turn - 1}", text=text) for turn in range(20)}
        item = json.dumps(chat(mapping, "19", conversation_id="NUMBER"))
    start, between, end = ("", "", "") if kind == "jsonl" else ("[", ",", "]")
    yield start
    for number in range(count):
        yield (between if number else "") + item.replace("NUMBER", f"{number}")
    yield end


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
@pytest.mark.parametrize("kind", ["jsonl", "locomo", "chatgpt"])
def test_a_file_of_50_megabytes_takes_no_more_memory_than_a_small_one(tmp_path, kind) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for path, count in ((small, 20), (large, 1_000)):
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(repeated(kind, count))
    assert large.stat().st_size > 50e6
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(small), str(large)],
        check=True,
        capture_output=True,
        text=True,
    )
    messages, grown = run.stdout.split()
    assert int(messages) == 20_000
    assert float(grown) <= 30
