"""`rag-memory doctor`: what is installed, how large it is, and whether it is sound."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from rag_memory_plugins.cli.options import Debug, Json

__all__ = ["doctor"]


def doctor(
    db: Annotated[
        str | None, typer.Option("--db", metavar="PATH", help="Also check it; else memory.db.")
    ] = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check what is installed.

    Versions, every extra with its size or the command to install it, the model file, and a
    database. Exits with 1 when something is broken.
    """
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.cli.examining import examine

    report = examine(db)
    if json:
        output.print_json(report)
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    from rag_memory_plugins.cli import output

    out = output.console()
    base = report["base_mb"]
    size = f"{base} MB with all it requires" if base else "not installed: run from its sources"
    python = f"{report['python']} ({sys.executable})"
    system = {"python": python, "platform": report["platform"], "sqlite": report["sqlite"]}
    out.print(output.facts({"rag-memory-plugins": f"{report['package']}, {size}", **system}), "")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("extra", "state", "adds MB", "packages", "to install"):
        table.add_column(name, justify="right" if name in ("adds MB", "packages") else "left")
    for name, extra in report["extras"].items():
        state = "[green]installed[/]" if extra["installed"] else "[dim]not installed[/]"
        figures = ["" if extra[key] is None else str(extra[key]) for key in ("mb", "packages")]
        command = "" if extra["installed"] else output.printable(extra["command"])
        table.add_row(name, state, *figures, command)
    if report["extras"]:
        out.print(table, "")
    model, database = report["model"], report["database"]
    if model.get("installed"):
        state = "sha256 is right" if not model["problems"] else "WRONG sha256"
        out.print(output.facts({"model": f"{model['path']} ({state})"}))
    else:
        out.print("model: none; searches use keywords alone")
    if database:
        out.print(output.facts({k: _flat(v) for k, v in database.items() if k != "problems"}))
    for problem in report["problems"]:
        out.print(f"[red]broken[/] {output.printable(problem)}")
    if not report["problems"]:
        out.print("[green]all sound[/]")


def _flat(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return value
