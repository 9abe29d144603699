"""What the demo puts on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rag_memory_plugins.cli.output import lanes_line, printable, source

if TYPE_CHECKING:
    from rag_memory_plugins.cli.demo import Answer, Tenant
    from rag_memory_plugins.memory.memory import Memory

__all__ = ["Screen"]

_TURNS: Final = (4, 2)  # recalled turns shown of the first tenant, and of the other
_BAR: Final = 40


class Screen:
    """Prints each step as it is done; nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console

    def _print(self, *values: Any) -> None:
        if self._console is not None:
            self._console.print(*values)

    def loaded(self, memory: Memory, tenants: Sequence[Tenant], pending: int, budget: int) -> None:
        """Who is loaded, and how it will be searched."""
        table = Table(box=None, header_style="dim", pad_edge=False)
        tokens = "tokens" if memory.counter.exact else "tokens (an upper estimate)"
        for name in ("tenant", "user", "messages", "sessions", tokens):
            table.add_column(name, justify="left" if name in ("tenant", "user") else "right")
        for tenant in tenants:
            counts = (tenant.messages, tenant.sessions, tenant.tokens)
            names = (printable(tenant.tenant), printable(tenant.user))
            table.add_row(*names, *(f"{count:,}" for count in counts))
        if memory.embedder is None:
            how = "[yellow]by keywords alone[/]; with vectors: " + printable(
                "pip install 'rag-memory-plugins[local]'"
            )
        else:
            how = f"by keywords and vectors ({printable(memory.embedder.fingerprint)})"
        waiting = f"; {pending} wait for their vector" if pending else ""
        note = Text.from_markup(f"\nsearched {how}{waiting}; {budget} tokens for a context")
        self._print(Panel(Group(table, note), title="[bold]loaded, on disk[/]", title_align="left"))

    def answers(self, answers: Sequence[Answer]) -> None:
        """One question, and what every tenant gets for it."""
        body: list[Any] = []
        for answer, turns in zip(answers, _TURNS, strict=False):
            body += [*([Text()] if body else []), *self._answer(answer, turns)]
        title = f"[bold]{printable(answers[0].question.text[:90])}[/]"
        self._print(Panel(Group(*body), title=title, title_align="left", border_style="cyan"))

    def _answer(self, answer: Answer, turns: int) -> list[Any]:
        tenant, context = answer.tenant, answer.context
        table = Table(box=None, show_header=False, pad_edge=False, expand=True)
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(ratio=1)
        table.add_column(style="dim", overflow="fold", max_width=24)
        for piece in answer.recalled[:turns]:
            message = piece.message
            said = " ".join(message.content.split())
            cut = f"{said[:170]}…" if len(said) > 170 else said
            style = "bold" if message.id in answer.evidence else ""
            who = f"{printable(message.speaker)}: {printable(cut)}"
            where = printable(source(piece.session, message))
            table.add_row(f"{message.time:%Y-%m-%d}", Text.from_markup(who, style=style), where)
        more = len(answer.recalled) - turns
        ids = {piece.message.id for piece in answer.recalled}
        evidence = ""
        if answer.evidence:
            found = sum(item in ids for item in answer.evidence)
            evidence = f"; evidence recalled: {found} of {len(answer.evidence)}"
        full = round(_BAR * context.tokens / max(1, tenant.tokens, context.tokens))
        bar = f"[green]{'━' * max(1, full)}[/][dim]{'─' * (_BAR - max(1, full))}[/]"
        figures = (
            f"{bar} {tenant.tokens:,} tokens of history, [green]{context.tokens}[/] in the context: "
            f"[bold]{answer.saved:.0%} saved[/], {answer.seconds * 1000:.1f} ms{evidence}"
        )
        who = f"{printable(tenant.tenant)}/{printable(tenant.user)}"
        rest = f" [dim](and {more} more turns)[/]" if more > 0 else ""
        degraded = [Text.from_markup(lanes_line(context))] if context.degraded else []
        return [
            Text.from_markup(f"[bold magenta]{who}[/]  {printable(answer.quote)}"),
            table,
            Text.from_markup(figures + rest),
            *degraded,
        ]

    def agents(self, agents: Mapping[str, Mapping[str, Any]]) -> None:
        """What each agent answered, or how to install it."""
        for agent in agents.values():
            body: list[Any] = []
            for reply in agent["replies"]:
                seconds = f"[dim]({reply['seconds'] * 1000:.0f} ms)[/]"
                body.append(Text.from_markup(f"[dim]asked[/]    {printable(reply['question'])}"))
                body.append(
                    Text.from_markup(f"[dim]answered[/] {printable(reply['answer'])} {seconds}")
                )
            if "skipped" in agent:
                body.append(Text.from_markup(f"[yellow]skipped:[/] {printable(agent['skipped'])}"))
            title = f"[bold]{agent['title']}[/] (scripted local model)"
            panel = Panel(Group(*body), title=title, title_align="left", border_style="green")
            self._print(panel)

    def end(self, seconds: float) -> None:
        """How long it all took."""
        self._print(Rule(f"done in {seconds:.1f} s, without a network", style="dim"))
