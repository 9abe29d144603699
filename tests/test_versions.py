"""The adapters on other versions of the frameworks: the oldest we say we work with, and the newest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LLAMA_INDEX = ["tests/llama_index", "src/rag_memory_plugins/llama_index"]
LANGCHAIN = ["tests/langchain", "src/rag_memory_plugins/langchain"]
TOGETHER = [*LLAMA_INDEX, "tests/test_both_frameworks.py"]
# llama-index-core brings the file of OpenAI's token counts, which some tests of budgets know.
WITH_COUNTS = "local,llama-index,langchain"
OLDEST = ["--resolution", "lowest-direct"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def check(folder: Path, extras: str, how: Sequence[str], suites: Sequence[str]) -> None:
    """Run `suites` in a venv of their own, into which `how` chose the versions of `extras`."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder / "venv"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, *how]
    subprocess.run([*install, "--group", "dev", "-e", f".[{extras}]"], check=True, cwd=ROOT)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5_000:]


def test_both_adapters_work_together_on_the_oldest_versions_we_name(tmp_path):
    check(tmp_path, WITH_COUNTS, OLDEST, TOGETHER)


def test_llama_index_works_on_the_oldest_version_we_name_with_pydantic_2_11(tmp_path):
    constraint = tmp_path / "constraints.txt"
    constraint.write_text("pydantic>=2.11,<2.12\n", encoding="utf-8")
    check(tmp_path, "local,llama-index", [*OLDEST, "--constraint", str(constraint)], LLAMA_INDEX)


def test_llama_index_works_on_the_newest_version_we_name(tmp_path):
    check(tmp_path, "local,llama-index", ["--upgrade"], LLAMA_INDEX)


def test_langchain_works_on_the_oldest_versions_we_name(tmp_path):
    check(tmp_path, WITH_COUNTS, OLDEST, LANGCHAIN)


def test_langchain_works_on_the_newest_versions_we_name(tmp_path):
    check(tmp_path, WITH_COUNTS, ["--upgrade"], LANGCHAIN)
