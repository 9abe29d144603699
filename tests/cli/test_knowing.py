"""`rag-memory facts`, `entities` and `timeline`: what holds, shown in a terminal and to programs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from rag_memory_plugins import open_memory
from rag_memory_plugins.cli.main import app

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
ANN = ["--tenant", "acme", "--user", "ann"]


def day(number):
    return START + timedelta(days=number)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def stored(tmp_path, run):
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("Atlas is planned", id="m1", time=day(3))
        facts = ann.facts
        facts.insert("Atlas", "status", "planned", sources="m1", recorded_at=day(3))
        facts.insert("Atlas", "status", "shipped", valid_from=day(40), recorded_at=day(40))
        facts.insert("Atlas", "lead", "Robert Lee", valid_from=day(5), recorded_at=day(5))
        facts.insert("Bob", "works at", "Acme \x1b[31m", valid_from=day(6), recorded_at=day(6))
        memory.conversation("other", "ann", "s").facts.insert("Atlas", "status", "SECRET")


def test_facts_show_what_holds_and_where_it_was_said(run, stored):
    text = run("facts", *ANN).stdout
    assert "Atlas status shipped" in text
    assert "planned" not in text
    assert "SECRET" not in text
    assert "\x1b" not in text
    before = run("facts", *ANN, "--subject", "atlas", "--as-of", "2026-01-10").stdout
    assert "Atlas status planned" in before
    assert "monday #m1" in before


def test_facts_as_json_and_by_words(run, stored):
    found = json.loads(run("facts", "what is the status of Atlas", *ANN, "--json").stdout)
    assert found[0]["object"] == "shipped"
    past = json.loads(run("facts", *ANN, "--as-of", "2026-01-10", "--json").stdout)
    (said,) = [row for row in past if row["object"] == "planned"]
    assert said["sources"] == [{"session": "monday", "id": "m1"}]


def test_a_history_shows_every_statement(run, stored):
    rows = json.loads(run("facts", *ANN, "--history", "--predicate", "status", "--json").stdout)
    assert [(row["old"], row["new"], row["decision"]) for row in rows] == [
        ([], "planned", "ADD"),
        (["planned"], "shipped", "UPDATE"),
    ]
    assert "it changed" in run("facts", *ANN, "--history").stdout
    wrong = run("facts", "words", *ANN, "--history", code=2)
    assert "--subject" in wrong.output


def test_entities_and_their_graph(run, stored):
    text = run("entities", *ANN).stdout
    assert "Robert Lee" in text
    assert "Bob" in text
    found = json.loads(run("entities", *ANN, "--json").stdout)
    assert {"name": "Robert Lee", "names": ["Robert Lee", "Bob"], "facts": 1} in found
    graph = json.loads(run("entities", *ANN, "--graph", "json").stdout)
    assert ("Atlas", "lead", "Robert Lee") in {
        (edge["source"], edge["predicate"], edge["target"]) for edge in graph["edges"]
    }
    assert "<graphml" in run("entities", *ANN, "--graph", "graphml").stdout
    assert "--graph" in run("entities", *ANN, "--graph", "dot", code=2).output


def test_a_timeline_is_drawn(run, stored):
    lines = run("timeline", "atlas", *ANN).stdout.splitlines()
    assert lines[0] == "Atlas"
    (bar,) = [line for line in lines if line.startswith("status")]
    assert bar.index("├") < bar.rindex("├") < bar.index("→")
    assert any("2026-01-04 to 2026-02-10  status: planned" in line for line in lines)
    assert max(map(len, lines)) <= 110
    told = json.loads(run("timeline", "atlas", *ANN, "--key", "status", "--json").stdout)
    assert [value["value"] for value in told["values"]] == ["planned", "shipped"]
    assert "nothing is known" in run("timeline", "nobody", *ANN).stdout


def test_nothing_stored_and_bad_dates_are_said(run, stored):
    nobody = ["--tenant", "acme", "--user", "nobody"]
    assert "no facts" in run("facts", *nobody).stdout
    assert "no entities" in run("entities", *nobody).stdout
    assert "--as-of" in run("facts", *ANN, "--as-of", "soon", code=1).output


def test_a_transcript_is_ingested_with_its_facts(run, tmp_path):
    talk = tmp_path / "standup.txt"
    talk.write_text(
        "Ann Lee: I live in Porto.\nBob: The deadline is June 3.\n"
        "Ann Lee: Actually, I moved to Faro last week.\n"
    )
    told = json.loads(run("ingest", str(talk), *ANN, "--facts", "--no-embed", "--json").stdout)
    assert told["facts"] >= 2
    again = json.loads(run("ingest", str(talk), *ANN, "--facts", "--no-embed", "--json").stdout)
    assert (again["facts"], again["files"][0]["new"]) == (0, 0)
    (home,) = json.loads(
        run("facts", *ANN, "--subject", "Ann", "--predicate", "lives in", "--json").stdout
    )
    assert (home["object"], home["by"]) == ("Faro", "extracted")
