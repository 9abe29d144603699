"""What the commands share: their options, and opening a memory for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from rag_memory_plugins.errors import InvalidURL

if TYPE_CHECKING:
    from rag_memory_plugins.memory.memory import Memory

__all__ = ["DEBUG", "Db", "Debug", "Json", "Level", "Session", "Tenant", "User", "open_existing"]

DEBUG: Final = "rag_memory_plugins.debug"


def _remember_debug(context: typer.Context, value: bool) -> None:
    # Before or after the command's name: either way it is for this run.
    if value:
        context.meta[DEBUG] = True


Level = Literal["session", "user"]
Db = Annotated[
    str, typer.Option("--db", metavar="PATH", help="A path, sqlite:/// or postgresql:// URL.")
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose memory: the tenant.")]
User = Annotated[str, typer.Option("--user", help="Whose memory: the user inside the tenant.")]
Session = Annotated[str, typer.Option("--session", help="The conversation of that user.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for programs.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember_debug, help="Show the traceback of an error."),
]


def open_existing(
    db: str, *, embedder: Literal["default"] | None = "default", index: str | None = None
) -> Memory:
    """A memory whose file is there already: a misspelt path must not make an empty one.

    Nothing is embedded in the background: a command ends when its answer is there.
    """
    from rag_memory_plugins.opening import open_memory
    from rag_memory_plugins.options import POSTGRES, parse_url

    path: Path | None = None if db.startswith(POSTGRES) else parse_url(db)[0]
    if path is not None and not path.exists():
        raise InvalidURL("--db", db, "there is no such file; `rag-memory import FILE` makes one")
    return open_memory(db, embedder=embedder, index=index, background=False, drain_seconds=0.0)
