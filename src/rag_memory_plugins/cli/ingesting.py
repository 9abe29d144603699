"""The command that stores transcripts of talk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rag_memory_plugins.cli.options import Db, Debug, Json, Tenant, User
from rag_memory_plugins.cli.writing import settle

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from rag_memory_plugins.ingest.results import Ingested, Progress

__all__ = ["ingest"]


def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Plain text, WebVTT, SRT or JSON Lines."),
    ],
    tenant: Tenant,
    user: User,
    session: Annotated[
        str | None, typer.Option("--session", help="Of one file; else each file's name.")
    ] = None,
    db: Db = "memory.db",
    kind: Annotated[
        Literal["text", "vtt", "srt", "jsonl"] | None,
        typer.Option("--format", help="Instead of what the content says."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="DATE",
            help="When the talk began, as 2026-05-08T14:30 (UTC); else what the file says.",
        ),
    ] = None,
    embed: Annotated[
        bool, typer.Option(help="Make the vectors now, or leave them to the next opener.")
    ] = True,
    facts: Annotated[
        bool, typer.Option("--facts", help="Read what holds out of it too, by rules for English.")
    ] = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Store transcripts of meetings, a message a turn.

    Ingesting a file again stores nothing twice; one that has grown goes on where it was.
    """
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.ingest.clock import date_of
    from rag_memory_plugins.ingest.transcripts import detect_transcript
    from rag_memory_plugins.opening import open_memory

    if session is not None and len(files) > 1:
        raise typer.BadParameter("several files would share it", param_hint="--session")
    began = None if start is None else date_of(start)
    if start is not None and began is None:
        raise typer.BadParameter("write it as 2026-05-08T14:30", param_hint="--start")
    for path in files if kind is None else []:
        detect_transcript(path)  # a misspelt path must not make an empty memory
    started = time.perf_counter()
    with (
        open_memory(
            db, background=False, drain_seconds=0.0, facts="rules" if facts else None
        ) as memory,
        output.progress_bar(shown=not json) as bars,
    ):
        options: dict[str, Any] = {"kind": kind, "start": began, "progress": _moved(bars, files)}
        done = (
            [memory.ingest(files[0], tenant, user, session, **options)]
            if len(files) == 1
            else memory.ingest_files(files, tenant, user, **options)
        )
        read = memory.read_facts() if facts else 0
        pending = settle(memory, bars) if embed else memory.backlog()
    seconds = time.perf_counter() - started
    if json:
        told = [_as_json(path, one) for path, one in zip(files, done, strict=True)]
        more = {"facts": read} if facts else {}
        output.print_json({"files": told, "pending": pending, "seconds": seconds, **more})
        return
    out = output.console()
    for one in done:
        out.print(
            f"[green]{one.new} new[/] of {one.turns} turns ({one.kind}), "
            f"{len(one.speakers)} speaker(s), session {output.printable(repr(one.session))}, "
            f"from {one.start:%Y-%m-%d %H:%M} UTC, in {one.seconds:.1f} s"
        )
    if facts:
        out.print(f"{read} facts read: rag-memory facts, entities and timeline show them")
    if pending:
        out.print(f"{pending} wait for their vector; keywords find them already")


def _moved(bars: Bars, files: list[Path]) -> Callable[[Progress], None]:
    """What moves the bar of each file."""
    tasks = {path: bars.add_task(f"reading {path.name}", total=None) for path in files}

    def move(now: Progress) -> None:
        bars.update(tasks[now.path], completed=now.read, total=now.size)

    return move


def _as_json(path: Path, done: Ingested) -> dict[str, Any]:
    return {"file": str(path), **asdict(done), "start": done.start.isoformat()}
