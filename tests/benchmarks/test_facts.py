"""`python -m benchmarks facts`: the truth, the time lines, and that wrong facts are found out."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import facts
from benchmarks.facts_files import NOW, read, story_of
from benchmarks.facts_judge import Tally, facts_after, judge, judge_texts, our_facts, put, state
from benchmarks.facts_lines import lines
from benchmarks.facts_truth import Told, day_by_day, holding
from benchmarks.facts_values import KINDS, fresh, near
from benchmarks.report import BadData, Report, progress_bar
from rag_memory_plugins import open_memory
from rag_memory_plugins.memory.facts import Facts
from rag_memory_plugins.stores import fact_reading, fact_rows

MADE = list(lines(3, 2, 20))
STORIES = [story_of(line, 3) for line in MADE]


def judged(path, facts_of=our_facts, stories=STORIES):
    tally = Tally()
    with (
        open_memory(path, embedder=None, background=False) as memory,
        progress_bar() as progress,
    ):
        state(memory, stories, tally, progress, facts_of)
        judge(memory, stories, tally, progress, facts_of)
        judge_texts(memory, stories[:20], tally, progress, "keywords", facts_of)
    return tally


def compare_by(monkeypatch, same, normal=None):
    for module in (fact_rows, fact_reading):
        monkeypatch.setattr(module, "same_value", same)
    if normal is not None:
        monkeypatch.setattr(fact_rows, "normal", normal)


def value_keys():
    """The value that each wording of the time lines says."""
    return {
        " ".join(wording.text.split()): str((value.kind, value.key))
        for line in MADE
        for value in line.values.values()
        for wording in value.wordings
    }


# the truth


def told(value, start, recorded, **more):
    return Told(value, start, recorded, **more)


def test_a_value_holds_until_the_next_and_what_is_told_late_changes_the_past_alone():
    said = [told("a", 1, 1), told("c", 6, 6), told("b", 3, 8)]
    assert day_by_day(said, 8) == [None, "a", "a", "b", "b", "b", "c", "c"]
    assert day_by_day(said, 8, known=7) == [None, *"aaaaa", *"cc"]


def test_an_end_and_a_value_for_a_while():
    assert day_by_day([told("a", 0, 0), told(None, 2, 2)], 4) == ["a", "a", None, None]
    passing = [told("a", 0, 0), told("b", 1, 1, end=3), told("c", 4, 4)]
    assert day_by_day(passing, 5) == ["a", "b", "b", "a", "c"]


def test_a_correction_is_of_all_the_time_that_was_stated():
    said = [told("a", 0, 0), told("x", 2, 2), told("b", 3, 3, corrects=True)]
    assert day_by_day(said, 5) == ["a", "a", "b", "b", "b"]
    assert holding(said, 2) == {"b"}
    assert holding(said, 2, known=2) == {"x"}


def test_tracks_hold_beside_each_other():
    said = [told("a", 0, 0, track="a"), told("b", 1, 1, track="b"), told(None, 2, 2, track="a")]
    assert [holding(said, day) for day in range(3)] == [{"a"}, {"a", "b"}, {"b"}]


# what is made


@given(st.sampled_from(KINDS), st.randoms(use_true_random=False))
def test_no_wording_of_a_value_is_one_of_a_value_that_looks_like_it(kind, random):
    value = fresh(kind, random)
    other, family = near(value, random)
    assert value.key != other.key
    assert family
    assert not {each.text for each in value.wordings} & {each.text for each in other.wordings}


def test_time_lines_are_the_same_for_a_seed_and_have_every_kind_of_event():
    assert list(lines(3, 2, 20)) == MADE
    kinds = {event.kind for line in MADE for event in line.events}
    assert kinds == {"new", "same", "change", "correct", "end", "return", "late"}
    assert any(event.differs for line in MADE for event in line.events)


def test_some_questions_have_no_answer_and_some_are_about_what_was_known():
    asked = [question for story in STORIES for question in story.asked]
    assert any(not question.answers for question in asked)
    assert any(question.answers and question.known_at for question in asked)


# who is judged


def test_facts_that_know_which_wordings_are_one_value_make_no_mistake(tmp_path, monkeypatch):
    keys = value_keys()
    compare_by(monkeypatch, lambda a, b: keys[a] == keys[b], lambda text: keys.get(text, text))
    tally = judged(tmp_path / "m.db")
    for name in ("current@1", "as_of@1", "known_at@1", "current_all", "as_of_all/many"):
        assert tally.share(name) == 1, name
    assert tally.of["false_merge"] > 100
    assert tally.of["duplicates_kept"] > 200
    assert (tally.hits["false_merge"], tally.hits["duplicates_kept"]) == (0, 0)
    assert 0.8 < tally.share("current_text@1/keywords/near") <= 1
    report = Report("facts")
    put(report, tally)
    assert report.figures["false_merge_cases"] == tally.of["false_merge"]


def test_facts_that_merge_everything_are_found_out(tmp_path, monkeypatch):
    compare_by(monkeypatch, lambda *_: True)
    tally = judged(tmp_path / "m.db")
    assert tally.share("false_merge") > 0.9
    assert tally.share("duplicates_kept") < 0.1
    assert tally.share("current@1") < 0.6
    assert tally.share("as_of@1") < 0.8


def test_facts_that_merge_nothing_are_found_out(tmp_path, monkeypatch):
    compare_by(monkeypatch, lambda *_: False)
    tally = judged(tmp_path / "m.db")
    assert tally.share("duplicates_kept") == 1
    assert tally.share("false_merge") == 0


class Heap(Facts):
    """Facts none of which gives way to another."""

    async def astate(self, claims, **more):
        kept = [
            replace(claim, many=bool(claim.object), valid_to=None)
            for claim in claims  # an end of many values would have to name one
        ]
        return await super().astate(kept, **more)


class Now(Facts):
    """Facts that know the present alone."""

    async def aquery(self, text=None, **asked):
        return await super().aquery(text, **{**asked, "as_of": None, "known_at": None})


class Silent(Facts):
    """Facts that never answer."""

    async def aquery(self, text=None, **asked):
        return []


@pytest.mark.parametrize(
    ("wrong", "most"),
    [
        (Heap, {"current_all": 0.5, "as_of_all": 0.9}),
        (Now, {"as_of@1": 0.75, "known_at@1": 0.75}),
        (Silent, {"current@1": 0.3, "current_text@1/keywords": 0.3}),
    ],
)
def test_facts_that_forget_time_are_found_out(tmp_path, monkeypatch, wrong, most):
    keys = value_keys()
    compare_by(monkeypatch, lambda a, b: keys[a] == keys[b], lambda text: keys.get(text, text))
    tally = judged(tmp_path / "m.db", lambda conversation: wrong(conversation, lambda: NOW))
    for name, share in most.items():
        assert tally.share(name) < share, name


# time lines of others


def written(path, **changed):
    event = {"object": "Porto", "valid_from": "2026-01-02T00:00:00Z", "kind": "new"}
    item = {
        "user": "ann",
        "subject": "Ann",
        "predicate": "lives in",
        "events": [
            {**event, "recorded_at": "2026-01-02T10:00:00+00:00"},
            {**event, "recorded_at": "2026-01-03T10:00:00Z", "object": "porto", "kind": "same"},
            {
                "object": "Faro",
                "valid_from": "2026-02-01T00:00:00Z",
                "recorded_at": "2026-02-02T10:00:00Z",
                "kind": "change",
            },
        ],
        "questions": [
            {"as_of": None, "answers": ["Faro", "the city of Faro"]},
            {"as_of": "2026-01-20T00:00:00Z", "answers": ["Porto"]},
            {
                "as_of": "2026-02-01T12:00:00Z",
                "known_at": "2026-02-01T12:00:00Z",
                "answers": ["Porto"],
            },
            {"as_of": "2025-12-01T00:00:00Z", "answers": []},
        ],
        **changed,
    }
    path.write_text(json.dumps({key: each for key, each in item.items() if each}) + "\n\n")
    return str(path)


def test_time_lines_of_a_file_are_judged(tmp_path):
    stories = read(written(tmp_path / "lines.jsonl"))
    tally = judged(tmp_path / "m.db", facts_after(stories), stories)
    assert {name: tally.share(name) for name in tally.of} == {
        "current@1": 1,
        "as_of@1": 1,
        "known_at@1": 1,
        "current_all": 1,
        "as_of_all": 1,
        "known_at_all": 1,
        "current_text@1/keywords": 1,
        "current_text@1/keywords/near": 1,
        "false_merge": 0,
        "false_merge/change": 0,
        "duplicates_kept": 0,
        "duplicates_kept/same": 0,
    }
    assert (tally.of["as_of@1"], tally.of["known_at@1"]) == (2, 1)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"events": None}, "no field 'events'"),
        ({"user": " "}, "user is"),
        ({"events": [{"object": "x", "kind": "odd", "recorded_at": "2026-01-01"}]}, "no kind"),
        ({"events": [{"object": "x", "kind": "new"}]}, "no recorded_at"),
        ({"events": [{"object": "x", "kind": "new", "recorded_at": "2026-01-01"}]}, "time zone"),
        ({"questions": [{"answers": [1]}]}, "line 1"),
    ],
)
def test_a_file_that_cannot_be_judged_is_named(tmp_path, changed, reason):
    with pytest.raises(BadData, match=reason):
        read(written(tmp_path / "lines.jsonl", **changed))
    with pytest.raises(BadData, match="cannot be read"):
        read(str(tmp_path / "nothing"))


# the command


def options(**given):
    parser = argparse.ArgumentParser()
    facts.arguments(parser)
    return argparse.Namespace(
        **{**vars(parser.parse_args([])), "quick": True, "dir": None, **given}
    )


def test_calls_of_a_model_and_rules_that_are_not_there():
    pytest.importorskip("openai", reason="the extra `openai` is not installed")
    with progress_bar() as progress:
        asked = options(only=["calls", "rules"], keywords=True, extractor="no.module:Here")
        report = facts.run(asked, progress)
    figures = report.figures
    assert figures["llm_calls_per_100/compare"] == figures["llm_calls_per_100/extract"] == 5
    assert figures["llm_calls_repeat/compare"] == figures["llm_calls_repeat/extract"] == 0
    for fault in ("down", "late", "short", "malformed"):
        for name in ("compare", "extract"):
            assert figures[f"llm_completed/{name}/{fault}"] == 1
            assert figures[f"llm_unexplained/{name}/{fault}"] == 0
    assert figures["llm_instead/compare/short"] == 0.5
    assert any("rules left out: no.module:Here" in note for note in report.notes)


def test_time_lines_of_a_file_are_measured_by_the_command(tmp_path):
    data = written(tmp_path / "lines.jsonl")
    with progress_bar() as progress:
        report = facts.run(options(only=["lines"], keywords=True, data=data), progress)
    assert report.figures["current@1"] == report.figures["as_of@1"] == 1
    assert report.figures["statements"] == 3
