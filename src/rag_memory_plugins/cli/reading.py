"""Commands that read: search, context, stats, export."""

from __future__ import annotations

from json import JSONDecodeError, dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from rag_memory_plugins.cli.options import (
    Db,
    Debug,
    Json,
    Level,
    Session,
    Tenant,
    User,
    open_existing,
)
from rag_memory_plugins.errors import InvalidFile, InvalidFilter

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter

__all__ = ["context", "export", "search", "stats"]

_ANY = "any"  # a namespace's session when only its user matters; nothing is stored under it

Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="Said then or later: 2026-05-08.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Said before; a date is included.")
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", help="Said by: user, assistant, tool, system.")
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="JSON", help='Filter: {"metadata": {"stars": {"gte": 4}}}.'),
]


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    tenant: Tenant,
    user: User,
    db: Db = "memory.db",
    session: Annotated[
        str | None, typer.Option("--session", help="Search this conversation alone.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many hits.")] = 10,
    since: Since = None,
    until: Until = None,
    role: Roles = None,
    where: Where = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Find what was said, best first.

    Looks through all the user's conversations, or with --session through one.
    """
    from rag_memory_plugins.cli import output

    wanted = _filter(since, until, role, where)
    with open_existing(db) as memory:
        conversation = memory.conversation(tenant, user, session if session is not None else _ANY)
        level: Level = "user" if session is None else "session"
        result = conversation.search(query, limit, level=level, where=wanted)
    if json:
        output.print_json(output.search_json(result))
        return
    out = output.console()
    if result.hits:
        out.print(output.hits_table(result.hits))
    else:
        why = "no word of the query occurs, or nothing is stored here"
        out.print(f"nothing found: {why if wanted is None else 'nothing matches the filter'}")
    out.print(output.lanes_line(result))


def context(
    query: Annotated[str, typer.Argument(help="The question that the model will get.")],
    tenant: Tenant,
    user: User,
    session: Session,
    db: Db = "memory.db",
    budget: Annotated[int, typer.Option("--budget", min=1, help="Tokens, never exceeded.")] = 4000,
    mode: Annotated[
        Literal["auto", "full", "balanced", "safe"],
        typer.Option("--mode", help="How much of the history, or auto: by its size."),
    ] = "auto",
    level: Annotated[
        Level, typer.Option("--level", help="Recall from all the user's sessions, or this one.")
    ] = "user",
    since: Since = None,
    until: Until = None,
    role: Roles = None,
    where: Where = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also list every piece, in or out, and why.")
    ] = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show what a model would get.

    Anchors, summary, recent turns and what is recalled for the question, within a token budget.
    """
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.explaining import Explanation

    wanted = _filter(since, until, role, where)
    with open_existing(db) as memory:
        conversation = memory.conversation(tenant, user, session)
        made = conversation.context(query, budget, mode=mode, level=level, where=wanted)
    if json:
        output.print_json(output.context_json(made))
        return
    out = output.console()
    out.print(output.printable(made.text) or "[dim](empty)[/]", soft_wrap=True)
    out.print()
    out.print(Explanation(made).drawn(pieces=explain))


def stats(
    tenant: Annotated[str | None, typer.Option("--tenant", help="With --user: this user.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="With --tenant: this user.")] = None,
    db: Db = "memory.db",
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Count what is stored.

    Of one user, with --tenant alone of a tenant, or of everybody in the file.
    """
    from rag_memory_plugins.admin.admin import Admin, stats_json
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.namespace import Scope

    if tenant is None and user is not None:
        raise typer.BadParameter("a user is one of a tenant: name it", param_hint="--tenant")
    if tenant is not None and user is None:
        with open_existing(db, embedder=None) as memory:
            told = stats_json(Admin(memory).tenant(tenant))
        if json:
            output.print_json(told)
        else:
            output.console().print(output.facts(told), "")
        return
    with open_existing(db, embedder=None) as memory:
        if tenant is not None and user is not None:
            scopes = {Scope(tenant, user).key: memory.conversation(tenant, user, _ANY)}
        else:
            scopes = {space.scope.key: memory.conversation(space) for space in memory.namespaces()}
        counts = [output.stats_json(scopes[key].stats()) for key in sorted(scopes)]
    if json:
        output.print_json(counts[0] if tenant is not None else counts)
        return
    out = output.console()
    for count in counts:
        out.print(output.facts(count), "")
    if not counts:
        out.print("the file holds no conversation")


def export(
    tenant: Tenant,
    user: Annotated[
        str | None, typer.Option("--user", help="Of this user; without it of the whole tenant.")
    ] = None,
    db: Db = "memory.db",
    session: Annotated[
        str | None, typer.Option("--session", help="Only this conversation.")
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here instead of stdout.")
    ] = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Write out what a user stored.

    As JSON Lines, which `import` reads back; with --json as one list.
    """
    from rag_memory_plugins.cli import output

    if user is None:
        if session is not None:
            raise typer.BadParameter("a session is one of a user: name it", param_hint="--user")
        _export_tenant(tenant, db, output_file, json=json)
        return
    with open_existing(db, embedder=None) as memory:
        conversation = memory.conversation(tenant, user, session if session is not None else _ANY)
        rows = conversation.export("user" if session is None else "session")
    if output_file is not None:
        try:
            with output_file.open("w", encoding="utf-8") as stream:
                _write(stream, rows, as_list=json)
        except OSError as error:
            got = error.strerror or str(error)
            raise InvalidFile("--output", str(output_file), f"cannot be written: {got}") from error
        output.console(stderr=True).print(f"{len(rows)} messages written to {output_file}")
    elif json:
        output.print_json(rows)
    else:
        for row in rows:
            output.print_json(row)


def _export_tenant(tenant: str, db: str, output_file: Path | None, *, json: bool) -> None:
    """Write out a whole tenant line by line, however much that is."""
    from rag_memory_plugins.admin.admin import Admin
    from rag_memory_plugins.cli import output

    if json:
        raise typer.BadParameter("a whole tenant comes line by line", param_hint="--json")
    with open_existing(db, embedder=None) as memory:
        rows = Admin(memory).export(tenant)
        if output_file is None:
            for row in rows:
                output.print_json(row)
            return
        count = 0
        try:
            with output_file.open("w", encoding="utf-8") as stream:
                for count, row in enumerate(rows, 1):  # noqa: B007  # how many there were
                    _write(stream, [row], as_list=False)
        except OSError as error:
            got = error.strerror or str(error)
            raise InvalidFile("--output", str(output_file), f"cannot be written: {got}") from error
    output.console(stderr=True).print(f"{count} messages and items written to {output_file}")


def _filter(
    since: str | None, until: str | None, roles: list[str] | None, where: str | None
) -> Filter | None:
    """What the filter options state together, or None."""
    from rag_memory_plugins.filters import Filter, combined

    stated = None
    if where is not None:
        try:
            stated = Filter.from_dict(loads(where, object_pairs_hook=_distinct))
        except (JSONDecodeError, RecursionError) as error:
            raise InvalidFilter("--where", where, f"write it as JSON ({error})") from error
    return combined(stated, since=since, until=until, roles=roles or None)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):  # JSON keeps the last one: half of the filter would be lost
        raise InvalidFilter("--where", [name for name, _ in pairs], "write each name once")
    return values


def _write(stream: TextIO, rows: list[dict[str, object]], *, as_list: bool) -> None:
    values: list[object] = [rows] if as_list else [*rows]
    stream.writelines(dumps(value, ensure_ascii=False) + "\n" for value in values)
