"""Commands that show what holds: facts, entities, timeline."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_memory_plugins.cli.options import Db, Debug, Json, Tenant, User, open_existing
from rag_memory_plugins.errors import InvalidFilter

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Fact, FactChange

__all__ = ["change_json", "entities", "fact_json", "facts", "timeline"]

_ANY = "any"  # a namespace's session when only its user matters; nothing is stored under it
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="WHEN", help="As it held then: 2026-05-08.")
]


def facts(
    tenant: Tenant,
    user: User,
    query: Annotated[
        str | None, typer.Argument(help="What to look for, in words; without it the latest.")
    ] = None,
    db: Db = "memory.db",
    subject: Annotated[str | None, typer.Option("--subject", help="About whom or what.")] = None,
    predicate: Annotated[
        str | None, typer.Option("--predicate", help='Which relation: "lives in".')
    ] = None,
    as_of: AsOf = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0.0, max=1.0, help="Only what is as sure.")
    ] = 0.8,
    history: Annotated[
        bool, typer.Option("--history", help="Every statement, and what became of it.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.")] = 100,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show what holds for a user, and where it was said.

    Now, or as of a date; with --history every statement, in the order it was learned.
    """
    from rag_memory_plugins.cli import output

    if history and (query is not None or as_of is not None):
        raise typer.BadParameter("a history takes --subject and --predicate alone")
    embedder: Any = "default" if query else None
    with open_existing(db, embedder=embedder) as memory:
        known = memory.conversation(tenant, user, _ANY).facts
        changes = known.history(subject, predicate, limit) if history else ()
        found = (
            ()
            if history
            else known.query(
                query,
                subject=subject,
                predicate=predicate,
                as_of=_when(as_of),
                min_confidence=min_confidence,
                limit=limit,
            )
        )
    if json:
        rows = [change_json(each) for each in changes] or [fact_json(fact) for fact in found]
        output.print_json(rows)
        return
    out = output.console()
    if not changes and not found:
        out.print("no facts: none is stated, or none is as sure as --min-confidence")
        return
    if changes:
        columns = ("recorded", "fact", "instead of", "decision", "why")
        out.print(output.plain_table(columns, [_change_row(each) for each in changes]))
    else:
        columns = ("since", "until", "fact", "sure", "said in")
        out.print(output.plain_table(columns, [_fact_row(fact) for fact in found]))


def entities(
    tenant: Tenant,
    user: User,
    db: Db = "memory.db",
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="FORM", help="Relations, as json or graphml.")
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show whom and what a user's facts are about.

    With --graph the relations between them, for other programs.
    """
    from rag_memory_plugins.cli import output

    if graph not in (None, "json", "graphml"):
        raise typer.BadParameter("pass json or graphml", param_hint="--graph")
    with open_existing(db, embedder=None) as memory:
        known = memory.conversation(tenant, user, _ANY).entities
        if graph is not None:
            made = known.graph(_when(as_of))
            typer.echo(made.to_json() if graph == "json" else made.to_graphml())
            return
        found = known.all()
    if json:
        output.print_json(
            [{"name": e.name, "names": list(e.names), "facts": e.facts} for e in found]
        )
        return
    rows = [(e.name, ", ".join(e.names[1:]), str(e.facts)) for e in found]
    out = output.console()
    out.print(output.plain_table(("entity", "also", "facts"), rows) if rows else "no entities")


def timeline(
    entity: Annotated[str, typer.Argument(help="A name of it.")],
    tenant: Tenant,
    user: User,
    db: Db = "memory.db",
    key: Annotated[str | None, typer.Option("--key", help="One state of it alone.")] = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Draw what held of an entity, from when to when."""
    from rag_memory_plugins.cli import output

    with open_existing(db, embedder=None) as memory:
        shown = memory.conversation(tenant, user, _ANY).entities.timeline(entity, key)
    if json:
        output.print_json(shown.to_dict())
        return
    out = output.console()
    out.print(output.printable(shown.drawn(max(40, out.width))), soft_wrap=True)


def _when(text: str | None) -> datetime | None:
    """A date, or a time, in UTC unless it says otherwise; a date is its end."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidFilter("--as-of", text, "write it as 2026-05-08") from error
    if len(text) <= len("2026-05-08"):
        when = when.replace(hour=23, minute=59, second=59)
    return when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)


def fact_json(fact: Fact) -> dict[str, Any]:
    """A fact as plain values."""
    return {
        "id": fact.id,
        "subject": fact.subject,
        "predicate": fact.predicate,
        "object": fact.object,
        "confidence": fact.confidence,
        "valid_from": fact.valid_from.isoformat(),
        "valid_to": None if fact.valid_to is None else fact.valid_to.isoformat(),
        "recorded_at": fact.recorded_at.isoformat(),
        "by": fact.by,
        "conflict": fact.conflict,
        "sources": [source._asdict() for source in fact.sources],
    }


def change_json(change: FactChange) -> dict[str, Any]:
    """A statement as plain values."""
    return {
        "id": change.id,
        "subject": change.subject,
        "predicate": change.predicate,
        "old": list(change.old),
        "new": change.new,
        "negated": change.negated,
        "decision": change.decision,
        "reason": change.reason,
        "confidence": change.confidence,
        "valid_from": change.valid_from.isoformat(),
        "valid_to": None if change.valid_to is None else change.valid_to.isoformat(),
        "recorded_at": change.recorded_at.isoformat(),
        "by": change.by,
        "undone": change.undone,
        "sources": [source._asdict() for source in change.sources],
    }


def _fact_row(fact: Fact) -> tuple[str, ...]:
    end = "" if fact.valid_to is None else f"{fact.valid_to:%Y-%m-%d}"
    said = ", ".join(f"{source.session} #{source.id}" for source in fact.sources[:3])
    flag = " (conflict)" if fact.conflict else ""
    row = (f"{fact.valid_from:%Y-%m-%d}", end, f"{fact.text}{flag}")
    return (*row, f"{fact.confidence:.2f}", said)


def _change_row(change: FactChange) -> tuple[str, ...]:
    ends = " no longer" if change.negated else ""
    text = f"{change.subject}{ends} {change.predicate} {change.new}"
    undone = ", undone" if change.undone else ""
    when = f"{change.recorded_at:%Y-%m-%d %H:%M}"
    return (when, text, ", ".join(change.old), f"{change.decision}{undone}", change.reason)
