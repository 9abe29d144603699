"""The adapters on other versions of the frameworks: the oldest we say we work with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITES = ["tests/llama_index", "tests/langchain", "tests/test_both_frameworks.py"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_adapters_work_on_the_oldest_versions_we_name(tmp_path):
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, tmp_path / "venv"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, "--resolution", "lowest-direct"]
    what = ["--group", "dev", "-e", ".[local,llama-index,langchain]"]
    subprocess.run([*install, *what], check=True, cwd=ROOT)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *SUITES],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
