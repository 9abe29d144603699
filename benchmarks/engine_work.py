"""One engine, filled or asked in a process of its own: `python -m benchmarks.engine_work JOB`.

JOB is a JSON object, as `engines.py` writes it; the answer is the last line of stdout. Peers run it
in an environment that has numpy and their client alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from benchmarks.processes import cpu_seconds, resident_mb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

ENGINES: Final = {
    "flat": "engine_ours:Flat",
    "edge": "engine_ours:Edge",
    "pgvector": "engine_ours:Pgvector",
    "lancedb": "engine_peers:Lance",
    "chroma": "engine_peers:Chroma",
}
LIMIT: Final = 10


class Engine(Protocol):
    """What is filled and asked; `place` is a folder, or a server's URL."""

    batch: int

    def __init__(self, place: str) -> None: ...

    def add(self, tenants: Sequence[int], numbers: Sequence[int], vectors: Vectors) -> None:
        """Keep a batch, durably as the engine understands it."""

    def finish(self) -> None:
        """Return when all that was added is searched as it will be."""

    def nearest(self, tenant: int, vector: Vectors, limit: int) -> list[int]:
        """Numbers of the tenant's nearest vectors, best first."""

    def close(self) -> None:
        """Let go of it."""


def main() -> None:
    """Do what the argument says and print what was measured."""
    job = json.loads(sys.argv[1])
    module, _, name = ENGINES[job["engine"]].partition(":")
    engine: Engine = getattr(importlib.import_module(f"benchmarks.{module}"), name)(job["place"])
    try:
        answer = {"fill": fill, "ask": ask}[job["step"]](engine, job)
    finally:
        engine.close()
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def fill(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Add every vector, tenant by tenant."""
    vectors = np.load(Path(job["data"]) / "vectors.npy", mmap_mode="r")
    each = len(vectors) // job["tenants"]
    pids = [os.getpid(), *job["pids"]]
    cpu, adding = cpu_seconds(pids), 0.0
    for start in range(0, len(vectors), engine.batch):
        some = np.array(vectors[start : start + engine.batch])
        numbers = list(range(start, start + len(some)))
        tenants = [number // each for number in numbers]
        began = perf_counter()
        engine.add(tenants, numbers, some)
        adding += perf_counter() - began
    began = perf_counter()
    engine.finish()
    finishing = perf_counter() - began
    return {"add_s": adding, "finish_s": finishing, "cpu_s": cpu_seconds(pids) - cpu}


def ask(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Ask the first questions, which warm it, and then the others."""
    pids = [os.getpid(), *job["pids"]]
    questions = np.load(Path(job["data"]) / f"questions_{job['tenants']}.npy")
    cold = _timed(engine, job["tenants_asked"], questions, range(job["first"]))[0]
    cpu = cpu_seconds(pids)
    rest = range(job["first"], len(questions))
    warm, found = _timed(engine, job["tenants_asked"], questions, rest)
    cpu = cpu_seconds(pids) - cpu
    return {
        "cold_s": cold,
        "warm_s": warm,
        "found": found,
        "cpu_s": cpu / len(warm),
        "rss_mb": resident_mb(pids),
    }


def _timed(
    engine: Engine, tenants: Sequence[int], questions: Vectors, which: range
) -> tuple[list[float], list[list[int]]]:
    seconds, found = [], []
    for number in which:
        began = perf_counter()
        found.append(engine.nearest(tenants[number], questions[number], LIMIT))
        seconds.append(perf_counter() - began)
    return seconds, found


if __name__ == "__main__":
    main()
