"""From nothing to the first recalled memory: a new environment, the install, three statements.

Each row makes its own virtual environment, installs a wheel of this checkout with cold caches, and
runs a program that opens a memory, adds a message and searches for it. Needs the package index.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

from rich.progress import Progress

from benchmarks.report import Goal, Report

GOALS: Final = {
    "first_recall_s/keywords/uv": Goal("<=", 10.0),
    "first_recall_s/local/uv": Goal("<=", 30.0),
    "first_recall_s/keywords/pip": Goal("<=", 10.0),
    "first_recall_s/local/pip": Goal("<=", 30.0),
}
PROGRAM: Final = """
from rag_memory_plugins import open_memory
ann = open_memory("memory.db").conversation("acme", "ann", "monday")
ann.add("I moved to Lisbon in May", id="m1")
found = ann.search("where did I move?")
assert found[0].message.id == "m1"
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--python", default=sys.executable, help="the interpreter to start from")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure both installers, without and with the local model."""
    report = Report("first_contact", GOALS)
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        place = Path(folder)
        _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], root)
        wheel = next(place.glob("*.whl"))
        rows = [(extra, tool) for extra in ("keywords", "local") for tool in ("uv", "pip")]
        for extra, tool in progress.track(rows, description="environments"):
            what = f"{wheel}[local]" if extra == "local" else str(wheel)
            home = place / f"{extra}-{tool}"
            started = perf_counter()
            _install(options.python, home, what, tool)
            installed = perf_counter()
            python = home / "bin" / "python"
            _run([str(python), "-c", PROGRAM], home)
            report.put(f"first_recall_s/{extra}/{tool}", perf_counter() - started)
            report.put(f"program_s/{extra}/{tool}", perf_counter() - installed)
    report.notes.append(
        "environment, installer (uv is itself installed by pip), package and program; cold caches"
    )
    return report


def _install(python: str, home: Path, what: str, tool: str) -> None:
    _run([python, "-m", "venv", str(home)], None)
    own = str(home / "bin" / "python")
    if tool == "pip":
        _run([own, "-m", "pip", "install", "--quiet", "--no-cache-dir", what], home)
        return
    _run([own, "-m", "pip", "install", "--quiet", "--no-cache-dir", "uv"], home)
    uv = str(home / "bin" / "uv")
    _run([uv, "pip", "install", "--quiet", "--no-cache", "--python", own, what], home)


def _run(command: list[str], folder: Path | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
