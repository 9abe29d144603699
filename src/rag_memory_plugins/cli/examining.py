"""What `rag-memory doctor` finds out: versions, extras and sizes, the model's files, a database."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import platform
import re
import sqlite3
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.cli.options import open_existing
from rag_memory_plugins.errors import RagMemoryError

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder

__all__ = ["closure", "examine"]

_PACKAGE: Final = "rag-memory-plugins"
_MB: Final = 2**20


def examine(db: str | None) -> dict[str, Any]:
    """Every finding as plain values; `problems` is empty when all is sound. Sizes in MB (2**20)."""
    from rag_memory_plugins import __version__

    base, extras = _extras()
    model = _model(installed=extras.get("local", {}).get("installed", False))
    database = _database(db)
    return {
        "package": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "base_mb": base,
        "extras": extras,
        "model": model,
        "database": database,
        "problems": [*model.get("problems", ()), *database.get("problems", ())],
    }


def _extras() -> tuple[float | None, dict[str, dict[str, Any]]]:
    """(MB of the base with all it requires, each extra); (None, {}) for sources not installed."""
    try:
        own = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None, {}
    base = closure(_PACKAGE, ())
    found = {}
    for extra in sorted(own.metadata.get_all("Provides-Extra") or ()):
        missing = sorted(
            name
            for name, _ in _requirements(own, {extra})
            if name != _PACKAGE and _distribution(name) is None
        )
        added = closure(_PACKAGE, (extra,)) - base
        if not missing and extra == "all":
            missing = sorted(_missing_of(own, extra))
        found[extra] = {
            "installed": not missing,
            "missing": missing,
            "mb": None if missing else _megabytes(added),
            "packages": None if missing else len(added),
            "command": f"pip install '{_PACKAGE}[{extra}]'",
        }
    return _megabytes(base), found


def _missing_of(own: metadata.Distribution, extra: str) -> set[str]:
    """What the extras that `extra` is made of lack."""
    parts = {
        part for name, asked in _requirements(own, {extra}) if name == _PACKAGE for part in asked
    }
    return {name for name, _ in _requirements(own, parts) if _distribution(name) is None}


def closure(package: str, extras: Iterable[str]) -> set[str]:
    """The installed distributions that `package` with these extras brings in, itself too."""
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    waiting = [(package, frozenset(extras))]
    while waiting:
        name, asked = waiting.pop()
        distribution = _distribution(name)
        todo = {(name, extra) for extra in asked | {""}} - seen
        if distribution is None or not todo:
            continue
        seen |= todo
        found.add(name)
        waiting.extend(_requirements(distribution, {extra for _, extra in todo}))
    return found


def _requirements(
    distribution: metadata.Distribution, extras: Iterable[str]
) -> list[tuple[str, frozenset[str]]]:
    """(name, extras) of what it requires, with these extras of its own.

    Markers about the platform are not evaluated: what they rule out is not installed, and what is
    not installed is not counted.
    """
    wanted = {_normal(extra) for extra in extras}
    found = []
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        of = {_normal(name) for name in re.findall(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)}
        match = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?", requirement)
        if match and (not of or of & wanted):
            asked = frozenset(part.strip() for part in (match[2] or "").split(",") if part.strip())
            found.append((_normal(match[1]), asked))
    return found


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _megabytes(names: Iterable[str]) -> float:
    """What the files of these distributions take, in MB."""
    return round(sum(_bytes(name) for name in names) / _MB, 1)


def _bytes(name: str) -> int:
    if name == _PACKAGE:  # an editable install lists no source file
        files: Iterable[Path] = Path(__file__).parents[1].rglob("*.*")
        return sum(file.stat().st_size for file in files if file.suffix != ".pyc")
    distribution = _distribution(name)
    listed = (distribution.files or ()) if distribution else ()
    paths = [Path(str(file.locate())) for file in listed]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _model(*, installed: bool) -> dict[str, Any]:
    """The embedder's files, if its extra is there, and whether they load and give a vector."""
    if not installed:
        return {"installed": False, "problems": []}
    from rag_memory_plugins.retrieval import embedding

    wheel = importlib.util.find_spec(embedding.WHEEL)
    path = Path(str(wheel and wheel.origin)).with_name("model.onnx")
    problems = []
    try:
        asyncio.run(_try(embedding.MiniLM(threads=1)))
    except RagMemoryError as error:
        problems.append(f"model: {error}")
    return {
        "installed": True,
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
        "expected": embedding.MODEL_SHA256,
        "problems": problems,
    }


async def _try(embedder: Embedder) -> None:
    try:
        await embedder.aembed_query("Is it ready?")
    finally:
        await embedder.aclose()


def _database(db: str | None) -> dict[str, Any]:
    """Health of a database, and why it could not be opened."""
    if db is None and not Path("memory.db").exists():
        return {}
    try:
        with open_existing(db or "memory.db", embedder=None) as memory:
            health = memory.health()
            problems = health["problems"]
    except RagMemoryError as error:
        health, problems = {"path": db or "memory.db"}, [str(error)]
    assert isinstance(problems, list)  # as `Memory.ahealth` promises
    return {**health, "problems": [f"database: {problem}" for problem in problems]}
