"""Commands for the owner of a store: migrate, reembed, drop-index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_memory_plugins.cli.options import Debug, Json

if TYPE_CHECKING:
    from rag_memory_plugins.admin.checking import Comparison, Progress
    from rag_memory_plugins.admin.migrating import Migration

__all__ = ["drop_index", "migrate", "reembed"]

Index = Annotated[
    str | None, typer.Option("--index", metavar="URL", help="The vector store: qdrant://, edge://.")
]
Url = Annotated[str, typer.Argument(metavar="URL", help="The memory: a path or a URL.")]


def migrate(
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="What is copied; only read.")
    ],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="An empty place.")],
    index: Index = None,
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing: compare what is there.")
    ] = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Copy a memory to another place.

    Paths, sqlite:/// or postgresql://. Stopped in between, it goes on when it is run again. Let
    nobody write to the source meanwhile. At the end both are compared; exits with 1 when they differ.
    """
    from rag_memory_plugins.admin.checking import compare
    from rag_memory_plugins.admin.migrating import migrate as move
    from rag_memory_plugins.cli import output

    done: Migration | None = None
    compared: Comparison | None = None
    with _told(shown=not json) as progress:
        if check:
            compared = compare(source, target, progress=progress)
        else:
            done = move(source, target, index=index, progress=progress)
            compared = done.compared
    sound = done.complete if done is not None else compared is not None and compared.alike
    if json:
        told: Any = done or compared
        output.print_json({**asdict(told), "sound": sound})
    else:
        out = output.console()
        if done is not None:
            out.print(
                output.facts({"copied": ", ".join(f"{n} {t}" for t, n in done.rows.items() if n)})
            )
            if done.pending or done.unmirrored:
                out.print(f"{done.pending} wait for their vector; run it again")
            for name in done.left_behind:
                out.print(f"{output.printable(name)} follows the source still")
        if compared is not None:
            out.print(_words(compared))
    if not sound:
        raise typer.Exit(1)


def reembed(
    url: Url,
    embedder: Annotated[
        str, typer.Option("--embedder", help="default, or module:name of a ports.Embedder.")
    ] = "default",
    index: Index = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Make vectors of another embedder.

    Beside those that serve, which stay whole. Then open the memory with the new embedder.
    """
    from rag_memory_plugins.admin.reembedding import reembed as fill
    from rag_memory_plugins.cli import output

    with _told(shown=not json) as progress:
        done = fill(url, _embedder(embedder), index=index, progress=progress)
    if json:
        output.print_json({**asdict(done), "whole": done.whole})
    elif done.whole:
        text = f"{done.fingerprint} is whole: open the memory with it"
        output.console().print(output.printable(text))
    else:
        output.console().print(f"{done.pending} messages wait for their vector; run it again")
    if not done.whole:
        raise typer.Exit(1)


def drop_index(
    url: Url,
    fingerprint: Annotated[str, typer.Argument(help="The embedder, as `doctor` lists it.")],
    index: Index = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Remove an embedder's vectors.

    Of one that was replaced; never of the last one that serves searches. Asks first.
    """
    from rag_memory_plugins.admin.reembedding import drop_index as drop
    from rag_memory_plugins.cli import output

    if not yes:
        typer.confirm(f"Remove all vectors of {fingerprint!r}?", abort=True, err=True)
    with _told(shown=not json) as progress:
        done = drop(url, fingerprint, index=index, progress=progress)
    if json:
        output.print_json(asdict(done))
        return
    still = f"; still in {', '.join(done.still_in)}" if done.still_in else ""
    output.console().print(output.printable(f"removed {done.vectors} vectors{still}"))


def _embedder(name: str) -> Any:
    """What `module:name` stands for, called if it can be. Raises `InvalidInput`."""
    import importlib

    from rag_memory_plugins.errors import InvalidInput
    from rag_memory_plugins.ports import Embedder

    if name == "default":
        return name
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput("--embedder", name, f"write module:name ({error})") from error
    made = made() if isinstance(made, type) or not isinstance(made, Embedder) else made
    if not isinstance(made, Embedder):
        raise InvalidInput("--embedder", name, "it is no ports.Embedder, and makes none")
    return made


@contextmanager
def _told(*, shown: bool) -> Iterator[Progress]:
    """A bar for each thing that is being done."""
    from rag_memory_plugins.cli import output

    with output.progress_bar(shown=shown) as bars:
        known: dict[str, object] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=of or None)
            bars.update(known[what], completed=done, total=of or None)  # type: ignore[arg-type]

        yield progress


def _words(found: Comparison) -> str:
    from rag_memory_plugins.cli.output import printable

    text = (
        f"compared {found.messages} messages of {found.scopes} users, {found.searches} searches "
        f"({found.dense} with vectors): "
    )
    if found.alike:
        return f"{text}[green]alike[/]"
    wrong = [
        *(f"messages of {key} differ" for key in found.different[:10]),
        *(f"table {name} differs" for name in found.tables),
        *(f"other hits: {said}" for said in found.unlike[:10]),
    ]
    return f"{text}[red]not alike[/]\n" + printable("\n".join(wrong))
