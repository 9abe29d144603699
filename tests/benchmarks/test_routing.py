"""`python -m benchmarks routing`: on prompts of its own, whose labels follow from their topic."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import BadData
from benchmarks.routing import STRONG, WAYS, WEAK, quality, read, table
from rag_memory_plugins.testing.fakes import WordEmbedder

ROOT = Path(__file__).resolve().parents[2]
# The weak model fails at the second of each; lengths say nothing.
TOPICS = {
    "gsm8k": ("apples pears counted baskets", "trains speed meet stations"),
    "mmlu": ("kings wars treaties dates", "cells enzymes proteins bonds"),
}


def fill(folder: Path, name: str, count: int = 500) -> None:
    """A set of that many prompts and two that are contaminated."""
    random = np.random.default_rng(len(name))
    (folder / name).mkdir(parents=True)
    rows = [("Contaminated one", True, False), ("Contaminated two", True, False)]
    for at in range(count):
        fails = at % 2 == 1 and random.random() < 0.9
        words = [*TOPICS[name][at % 2].split(), f"n{at}", *["and"] * int(random.integers(0, 30))]
        rows.append((" ".join(words), not fails, True))
    with (folder / name / f"{name}_all.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", WEAK, STRONG), *rows])
    bad = [{"eval_prompt": row[0], "train_prompt": "?"} for row in rows[:2]]
    lines = "".join(json.dumps(line) + "\n" for line in bad)
    (folder / name / "contaminated_prompts.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routellm")
    for name in TOPICS:
        fill(path, name)
    return path


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, float]:
    return quality(folder, embedder=WordEmbedder())


@pytest.mark.parametrize("name", TOPICS)
def test_outcomes_tell_what_length_does_not(figures, name) -> None:
    assert figures[f"apgr/{name}/ours/low"] > figures[f"apgr/{name}/length/high"]
    assert figures[f"apgr/{name}/ours"] > 0.6
    assert figures[f"abstained/{name}/ours"] < 0.2
    assert figures[f"cpt80/{name}/ours"] < figures[f"cpt80/{name}/random"]


@pytest.mark.parametrize("name", TOPICS)
def test_without_a_history_it_is_length(figures, name) -> None:
    for measure in ("apgr", "cpt50", "cpt80"):
        assert figures[f"{measure}/{name}/ours_no_history"] == figures[f"{measure}/{name}/length"]
    assert figures[f"abstained/{name}/ours_no_history"] == 1


@pytest.mark.parametrize("name", TOPICS)
def test_with_a_history_of_another_kind_it_abstains(figures, name) -> None:
    assert figures[f"abstained/{name}/ours_transfer"] > 0.95
    assert figures[f"apgr/{name}/ours_transfer"] == pytest.approx(
        figures[f"apgr/{name}/length"], abs=0.01
    )


def test_every_router_has_bounds_around_it(figures) -> None:
    for key in (f"{name}/{way}" for name in TOPICS for way in WAYS):
        apgr = figures[f"apgr/{key}"]
        assert figures[f"apgr/{key}/low"] <= apgr <= figures[f"apgr/{key}/high"]
        assert 0 <= figures[f"cpt50/{key}"] <= figures[f"cpt80/{key}"] <= 100


def test_the_table_names_every_router_and_how_many_prompts(figures) -> None:
    lines = table(figures).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["gsm8k:", *WAYS, "mmlu:", *WAYS]
    assert "500 of 500 prompts" in lines[1]
    assert max(map(len, lines)) < 100


def test_contaminated_prompts_are_left_out(folder: Path) -> None:
    questions = read(folder / "gsm8k")
    assert len(questions.texts) == 500
    assert not any(text.startswith("Contaminated") for text in questions.texts)


def test_a_sample_is_drawn_from_a_fixed_seed(folder: Path) -> None:
    questions = read(folder / "mmlu")
    drawn = questions.drawn(50)
    assert drawn.texts == questions.drawn(50).texts
    at = [questions.texts.index(text) for text in drawn.texts]
    assert len(set(at)) == 50
    assert drawn.weak.tolist() == questions.weak[at].tolist()
    assert max(at) > 400


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("contaminated_prompts.jsonl", None, "cannot be read"),
        ("contaminated_prompts.jsonl", '{"prompt": "x"}\n', "not an eval_prompt"),
        ("contaminated_prompts.jsonl", "[", "not an eval_prompt"),
        ("gsm8k_all.csv", None, "no prompts"),
        (
            "gsm8k_all.csv",
            f"prompt,{WEAK}\nWhy?,True\n",
            "row 2 has no prompt, or no True or False",
        ),
        ("gsm8k_all.csv", f"prompt,{WEAK},{STRONG}\nWhy?,True,yes\n", "row 2 has no prompt, or no"),
        ("gsm8k_all.csv", f"prompt,{WEAK},{STRONG}\na,True,True\nb,True,True\n", "no gap"),
    ],
)
def test_what_cannot_be_measured_names_the_file(tmp_path: Path, name, content, reason) -> None:
    fill(tmp_path, "gsm8k", 10)
    path = tmp_path / "gsm8k" / name
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match=reason) as caught:
        read(tmp_path / "gsm8k")
    assert str(path.parent) in str(caught.value)


def test_bad_data_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "routing", "--data", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    # Without the local embedder there is nothing to measure either.
    assert done.stderr.strip().splitlines()[-1].startswith(("--data: ", "routing: "))
    assert "Traceback" not in done.stderr
