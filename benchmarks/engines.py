"""Engines of vectors side by side: 100,000 vectors of 1,000 tenants, and of one tenant.

Ours as a memory uses them: `flat` (the index in the log's file, exact), `edge` (qdrant-edge) and
`pgvector` (in a real Postgres). Beside them LanceDB and Chroma by their plain clients, each in an
environment that uv makes of the versions in the group `peers`. Every engine is filled by one process
and asked by another, one after the other, always for one tenant's ten nearest. --quick takes 5,000
vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.progress import Progress

from benchmarks import servers
from benchmarks.engine_vectors import Asked, ask, exact, make
from benchmarks.engine_work import ENGINES, LIMIT
from benchmarks.processes import MEASURES
from benchmarks.report import BadData, Report
from benchmarks.volume import workplace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

PEERS: Final = {"lancedb": "lancedb", "chroma": "chromadb"}
"""Engine by package; the version is what pyproject.toml pins in the group `peers`."""
ROOT: Final = Path(__file__).resolve().parents[1]
TENANTS: Final = 1_000
QUICK: Final = 5_000
ASKED: Final = 200
"""Tenants that are asked, each once before anything counts as warm."""
QUESTIONS: Final = 500
SEED: Final = 8


class _Missing(Exception):
    """A peer that cannot run here, with the reason."""


@dataclass(frozen=True)
class Layout:
    """How the vectors are spread, and what is asked: `first` questions are asked to warm it."""

    name: str
    tenants: int
    asked: Asked
    first: int
    best: list[set[int]]


@dataclass(frozen=True)
class Place:
    """Where an engine keeps its vectors."""

    at: str
    pids: Sequence[int]
    size: Any
    """A function without arguments: bytes on the disk."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--vectors", type=int, default=100_000, help="how many (100,000)")
    parser.add_argument("--tenants", type=int, default=TENANTS, help="who share them (1,000)")
    parser.add_argument("--only", choices=tuple(ENGINES), help="one of the engines")


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure every engine. Raises `BadData`."""
    count = QUICK if options.quick else options.vectors
    if not MEASURES:
        raise BadData("engines: it measures processes by /proc, which this system does not have")
    if options.tenants < 2 or count < LIMIT * options.tenants or count % options.tenants:
        raise BadData(
            f"--vectors: got {count}; pass a multiple of --tenants, {LIMIT} times or more"
        )
    report = Report("engines")
    report.put("vectors", count)
    report.put("tenants", options.tenants)
    names = [options.only] if options.only else list(ENGINES)
    task = progress.add_task("engines", total=4 * len(names))
    with workplace(options.dir) as folder:
        data = folder / "data"
        data.mkdir()
        layouts = prepared(data, make(count, SEED), options.tenants)
        for name in names:
            for layout in layouts:
                progress.update(task, description=f"{name} {layout.name}")
                try:
                    measure(report, name, layout, count, folder, lambda: progress.advance(task))
                except _Missing as missing:
                    report.notes.append(f"{name} was not measured: {missing}")
                    break
    report.notes.append("rss and disk without a row: 100k_1; more in benchmarks/README.md")
    return report


def prepared(data: Path, vectors: Vectors, tenants: int) -> list[Layout]:
    """Write the vectors and both layouts' questions down for the other processes."""
    np.save(data / "vectors.npy", vectors)
    layouts = []
    for name, among in ((_row(len(vectors), tenants), tenants), (_row(len(vectors), 1), 1)):
        first = min(ASKED, among)
        asked = ask(vectors, among, first, first + QUESTIONS, SEED)
        np.save(data / f"questions_{among}.npy", asked.vectors)
        layouts.append(Layout(name, among, asked, first, exact(vectors, among, asked, LIMIT)))
    return layouts


def _row(count: int, tenants: int) -> str:
    """`100k_1000`."""
    return f"{count // 1000}k_{tenants}" if count % 1000 == 0 else f"{count}_{tenants}"


def measure(report: Report, name: str, layout: Layout, count: int, folder: Path, step: Any) -> None:
    """Fill an engine, ask it, and keep its figures. Raises `BadData`, `_Missing`."""
    row = f"{name}/{layout.name}"
    with placed(name, folder / f"{name}-{layout.tenants}") as place:
        job = {
            "engine": name,
            "place": place.at,
            "pids": list(place.pids),
            "data": str(folder / "data"),
            "tenants": layout.tenants,
        }
        filled = worked({**job, "step": "fill"})
        step()
        asking = {"tenants_asked": layout.asked.tenants, "first": layout.first}
        asked = worked({**job, **asking, "step": "ask"})
        step()
        size = place.size() / 1e6
    report.put_times("search", asked["warm_s"], row)
    report.put(f"search_cpu_ms/{row}", 1_000 * asked["cpu_s"])
    report.put_times("cold_search", asked["cold_s"], row)
    best = layout.best[layout.first :]
    right = [len(set(f) & b) for f, b in zip(asked["found"], best, strict=True)]
    report.put(f"recall@10/{row}", sum(right) / (LIMIT * len(right)))
    report.put(f"adds_per_s/{row}", count / filled["add_s"])
    report.put(f"add_cpu_ms/{row}", 1_000 * filled["cpu_s"] / count)
    report.put(f"finish_s/{row}", filled["finish_s"])
    for key, figure in (("rss_mb", asked["rss_mb"]), ("disk_mb", size)):
        report.put(f"{key}/{name}" if layout.tenants == 1 else f"{key}/{row}", figure)


def worked(job: dict[str, Any]) -> dict[str, Any]:
    """What a fresh process measured. Raises `BadData`, or `_Missing` for a peer."""
    peer = PEERS.get(job["engine"])
    source = ROOT if peer else os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    # Where the packages of this environment are must not lead there.
    beside = "" if peer else os.environ.get("PYTHONPATH", "")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(source), beside]))}
    done = subprocess.run(
        [*command(peer), "-m", "benchmarks.engine_work", json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=env,
    )
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
    reason = " ".join(done.stderr.strip().splitlines()[-3:])
    if peer:
        raise _Missing(reason)
    raise BadData(f"{job['engine']} {job['step']}: {reason}")


def command(peer: str | None) -> list[str]:
    """The interpreter: this one, or for a peer one whose environment uv makes."""
    if peer is None:
        return [sys.executable]
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise _Missing("there is no uv; pip install uv")
    made = [uv, "run", "--no-project", "--quiet", "--python", sys.executable, "--isolated"]
    return [*made, "--with", pinned(peer), "--with", f"numpy=={np.__version__}", "python"]


def pinned(package: str) -> str:
    """The requirement of a package in the group `peers`."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    group = re.search(r"^peers = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    found = re.search(rf'"({package}==[^"]+)"', group.group(1)) if group else None
    if found is None:
        raise BadData(f"pyproject.toml: the group `peers` does not pin {package}")
    return found.group(1)


@contextmanager
def placed(name: str, folder: Path) -> Iterator[Place]:
    """A folder, or a database of a server that is started for it; removed afterwards."""
    if name == "pgvector":
        import psycopg

        with servers.postgres() as server:
            url = server.url(server.create_database())
            pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])

            def size() -> int:
                with psycopg.connect(url, autocommit=True) as connection:
                    row = connection.execute(SCHEMA_BYTES).fetchone()
                return int(row[0]) if row else 0

            yield Place(url, [pid], size)
        return
    folder.mkdir()
    yield Place(str(folder), [], lambda: bytes_of(folder))
    shutil.rmtree(folder)


SCHEMA_BYTES: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname LIKE 'rag\\_memory%' AND c.relkind = 'r'"
)
"""Tables, indexes and long values of our schemas; the server's log of writes is its own."""


def bytes_of(folder: Path) -> int:
    """What the files of a folder take of the disk."""
    files = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum(512 * status.st_blocks for status in files)
