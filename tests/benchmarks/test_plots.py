"""`--plot`: a file that is a picture, or one sentence before anything is measured."""

from __future__ import annotations

import subprocess
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import plots, recall_picture
from benchmarks.__main__ import main
from benchmarks.report import BadData, Goal, Report
from benchmarks.scores import KEYS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def report() -> Report:
    goals = {"add_ms": Goal("<=", 1.0), "R@10": Goal(">=", 0.8), "not_measured": Goal("<=", 1)}
    return Report("demo", goals, {"add_ms": 2.5, "R@10": 0.9, "turns": 12.0})


def recall_report(*peers: str) -> Report:
    report = Report("recall")
    for of, share in zip(("", *(f"/{peer}" for peer in peers)), (0.9, 0.5, 0.4), strict=False):
        for key in KEYS:
            report.put(f"{key}{of}", share)
            report.put(f"{key}{of}/low", share - 0.05)
            report.put(f"{key}{of}/high", share + 0.05)
    return report


def texts(path: Path) -> set[str]:
    """What an SVG says; matplotlib leaves each text beside its glyphs as a comment."""
    builder = ET.TreeBuilder(insert_comments=True)
    tree = ET.parse(path, ET.XMLParser(target=builder))
    found = (node.text for node in tree.iter() if node.tag is ET.Comment)
    return {unescape(text).strip() for text in found if text}


def test_a_png_is_one(report: Report, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    plots.save(report, str(tmp_path / "a.png"), plots.bars)
    height, width, _ = image.imread(tmp_path / "a.png").shape
    assert (height > 100, width > 500) == (True, True)


def test_bars_name_each_figure_that_has_a_goal_with_both(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots.save(report, str(tmp_path / "a.svg"), plots.bars)
    said = texts(tmp_path / "a.svg")
    assert {"add_ms", "R@10", "2.500  (goal <= 1)", "0.900  (goal >= 0.8)"} <= said
    assert said & {"turns", "not_measured"} == set()


def test_bars_without_goals_show_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = Report("demo", figures={"turns": 12.0, "seconds": 9000.0})
    plots.save(report, str(tmp_path / "a.svg"), plots.bars)
    assert {"turns", "12", "seconds", "9,000"} <= texts(tmp_path / "a.svg")


def test_the_picture_of_a_recall_run_has_a_bar_for_each_key(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots.save(recall_report(), str(tmp_path / "a.svg"), recall_picture.draw)
    assert set(KEYS) <= texts(tmp_path / "a.svg")


def test_peers_stand_in_the_picture_and_equal_curves_share_a_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = recall_report("mem0", "langgraph")
    for key in KEYS:
        report.figures[f"{key}/langgraph"] = report.figures[f"{key}/mem0"]
    plots.save(report, str(tmp_path / "a.svg"), recall_picture.draw)
    said = texts(tmp_path / "a.svg")
    assert {"LangGraph InMemoryStore = mem0, infer=False", "mem0, infer=False"} <= said


@pytest.mark.parametrize(
    ("path", "reason"),
    [("run.jpeg", "must end in .svg or .png"), ("no/such/folder/run.png", "is no folder")],
)
def test_a_place_for_no_picture_is_refused_before_measuring(
    path: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The data is not read: it does not exist.
    done = main(["recall", "--data", "missing.json", "--plot", str(tmp_path / path)])
    assert done == 2
    assert reason in capsys.readouterr().err


def test_without_matplotlib_the_group_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadData, match=r"pip install --group bench"):
        plots.check(str(tmp_path / "run.png"))


def test_a_benchmark_writes_its_picture_when_asked(talk_file: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "recall.svg"
    command = [sys.executable, "-W", "error", "-m", "benchmarks", "recall", "--keywords"]
    subprocess.run(
        [*command, "--data", talk_file, "--plot", str(picture), "--json"],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    assert "evidence that stands whole in a context" in texts(picture)
