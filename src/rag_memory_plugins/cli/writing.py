"""Commands that change the file: import, erase, rebuild."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rag_memory_plugins.cli.options import Db, Debug, Json, Tenant, open_existing

if TYPE_CHECKING:
    from rich.progress import Progress

    from rag_memory_plugins.memory.memory import Memory

__all__ = ["erase", "import_", "rebuild", "settle"]

_SLICE = 0.5  # seconds between two moves of the bar


def import_(
    file: Annotated[Path, typer.Argument(help="JSON Lines, LoCoMo JSON or ChatGPT's export.")],
    tenant: Tenant,
    user: Annotated[
        str | None, typer.Option("--user", help="LoCoMo without it: each sample is a user.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="JSON Lines: where a line names none.")
    ] = None,
    db: Db = "memory.db",
    kind: Annotated[
        Literal["jsonl", "locomo", "chatgpt"] | None,
        typer.Option("--format", help="Instead of what the content says."),
    ] = None,
    embed: Annotated[
        bool, typer.Option(help="Make the vectors now, or leave them to the next opener.")
    ] = True,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Store the messages of a file.

    Importing it again stores nothing twice. A file with a bad line is stored up to the batch of
    that line.
    """
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.cli.formats import detect
    from rag_memory_plugins.cli.importing import Target, import_file
    from rag_memory_plugins.opening import open_memory

    found = kind or detect(file)
    if user is None and found != "locomo":
        raise typer.BadParameter("is required for this format", param_hint="--user")
    if session is not None and found != "jsonl":
        raise typer.BadParameter(f"{found} files name their sessions", param_hint="--session")
    started = time.perf_counter()
    with (
        open_memory(db, background=False, drain_seconds=0.0) as memory,
        output.progress_bar(shown=not json) as progress,
    ):
        bar = progress.add_task(f"reading {file.name}", total=file.stat().st_size)
        done = import_file(
            memory,
            file,
            Target(tenant, user, session),
            found,
            lambda position, _count: progress.update(bar, completed=position),
        )
        pending = settle(memory, progress) if embed else memory.backlog()
    seconds = time.perf_counter() - started
    if json:
        output.print_json({**asdict(done), "pending": pending, "seconds": seconds})
        return
    out = output.console()
    out.print(
        f"[green]{done.new} new[/] of {done.messages} messages ({done.format}), "
        f"{done.users} user(s), {done.sessions} session(s), in {seconds:.1f} s"
    )
    if pending:
        out.print(f"{pending} wait for their vector; keywords find them already")


def erase(
    tenant: Tenant,
    user: Annotated[
        str | None, typer.Option("--user", help="The user; with --level tenant nobody.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="The conversation, with --level session.")
    ] = None,
    level: Annotated[
        Literal["session", "user", "tenant"],
        typer.Option("--level", help="One session, all of the user, or all of the tenant."),
    ] = "session",
    index: Annotated[
        str | None, typer.Option("--index", help="Vector store the memory is opened with.")
    ] = None,
    db: Db = "memory.db",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Erase a conversation for good.

    Or, with --level user, all that the user stored, with --level tenant all of the tenant; from
    every file. Asks first.
    """
    from rag_memory_plugins.admin.admin import Admin
    from rag_memory_plugins.cli import output

    if level == "tenant" and (user is not None or session is not None):
        raise typer.BadParameter("--level tenant erases all of them", param_hint="--user")
    if level != "tenant" and user is None:
        raise typer.BadParameter("name the user, or pass --level tenant", param_hint="--user")
    if level == "session" and session is None:
        raise typer.BadParameter("name it, or pass --level user", param_hint="--session")
    if level == "user" and session is not None:
        raise typer.BadParameter("--level user erases all of them", param_hint="--session")
    with open_existing(db, embedder=None if index is None else "default", index=index) as memory:
        what = f"everything of {user!r}" if session is None else f"session {session!r} of {user!r}"
        if not yes:
            what = "everything" if level == "tenant" else what
            typer.confirm(f"Erase {what}, tenant {tenant!r}, for good?", abort=True, err=True)
        if level == "tenant" or user is None:
            receipt = Admin(memory).erase(tenant)
        else:
            place = memory.conversation(tenant, user, "all" if session is None else session)
            receipt = place.erase("user" if session is None else "session")
    if json:
        output.print_json(output.stats_json(receipt))
        return
    done = (
        ("no row is left" if receipt.note else "no byte is left")
        if receipt.complete
        else f"pending: {receipt.pending}"
    )
    output.console().print(
        f"erased {receipt.messages} messages, {receipt.vectors} vectors, {receipt.pins} pins; "
        f"{output.printable(done)}"
    )
    if receipt.note:
        output.console().print(output.printable(receipt.note))


def rebuild(db: Db = "memory.db", json: Json = False, _debug: Debug = False) -> None:
    """Make the search index again.

    Keywords and vectors of everybody in the file, from the messages.
    """
    from rag_memory_plugins.cli import output

    started = time.perf_counter()
    with open_existing(db) as memory, output.progress_bar(shown=not json) as progress:
        count = memory.rebuild()
        pending = settle(memory, progress)
    seconds = time.perf_counter() - started
    if json:
        output.print_json({"messages": count, "pending": pending, "seconds": seconds})
    else:
        output.console().print(
            f"{count} messages indexed again in {seconds:.1f} s"
            + (f"; {pending} wait for their vector" if pending else "")
        )


def settle(memory: Memory, progress: Progress) -> int:
    """Make every vector that waits, moving a bar; returns how many cannot be made."""
    left = memory.backlog()
    if memory.embedder is None or not left:
        return left
    bar = progress.add_task("making vectors", total=left)
    total, stuck = left, 0
    while left and stuck < 4:  # an embedder that fails must not hold the command for ever
        now = memory.settle(_SLICE)
        stuck = stuck + 1 if now >= left else 0
        left = now
        progress.update(bar, completed=total - left)
    return left
