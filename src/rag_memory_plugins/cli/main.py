"""The `rag-memory` command: one line on stderr and exit code 1 for an error of this package."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rag_memory_plugins.cli import demo, doctor, ingesting, knowing, moving, reading, writing
from rag_memory_plugins.cli.options import DEBUG, Debug
from rag_memory_plugins.errors import RagMemoryError

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Commands whose typed errors become one line for people."""

    def invoke(self, ctx: Any) -> Any:  # click's Context, or typer's own copy of it
        try:
            return super().invoke(ctx)
        except RagMemoryError as error:
            if ctx.meta.get(DEBUG):
                import traceback

                traceback.print_exc()
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="rag-memory",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # drawing help with rich takes 0.3 s
    pretty_exceptions_enable=False,  # its pages of locals would show what users stored
)


def _version(value: bool) -> None:
    if value:
        from rag_memory_plugins import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _debug: Debug = False,
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    """Durable, tenant-isolated memory for agents: load it, ask it, look after it.

    Exit codes: 0 done, 1 an error of this package, 2 wrong usage.
    """


app.command("demo")(demo.demo)
app.command("import")(writing.import_)
app.command("ingest")(ingesting.ingest)
app.command("search")(reading.search)
app.command("context")(reading.context)
app.command("facts")(knowing.facts)
app.command("entities")(knowing.entities)
app.command("timeline")(knowing.timeline)
app.command("stats")(reading.stats)
app.command("export")(reading.export)
app.command("erase")(writing.erase)
app.command("rebuild")(writing.rebuild)
app.command("migrate")(moving.migrate)
app.command("reembed")(moving.reembed)
app.command("drop-index")(moving.drop_index)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line of this process."""
    app()


if __name__ == "__main__":
    main()
