"""`rag-memory demo`: a long conversation remembered, recalled in a budget, used by two agents."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rag_memory_plugins.cli.options import Debug, Json
from rag_memory_plugins.errors import InvalidFile, MissingExtra

if TYPE_CHECKING:
    from rag_memory_plugins.cli.showing import Screen
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.results import Context

__all__ = ["Answer", "Question", "Tenant", "demo"]

TODAY: Final = "today"  # a new session: nothing of it is recent, all is recalled
_PICKED: Final = 5


@dataclass(frozen=True)
class Question:
    """A question, and by tenant the ids of the messages that answer it, where they are known."""

    text: str
    evidence: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tenant:
    """A loaded conversation: whose it is, its size in messages and tokens."""

    tenant: str
    user: str
    messages: int
    sessions: int
    tokens: int


@dataclass(frozen=True)
class Answer:
    """What one tenant gets for a question; `recalled` is best first, `evidence` was to be found."""

    tenant: Tenant
    question: Question
    context: Context
    quote: str
    seconds: float

    @property
    def saved(self) -> float:
        """The share of the history's tokens that the model need not read, 0 to 1."""
        return max(0.0, 1 - self.context.tokens / max(1, self.tenant.tokens))

    @property
    def evidence(self) -> Sequence[str]:
        return self.question.evidence.get(self.tenant.tenant, ())

    @property
    def recalled(self) -> list[Any]:
        found = [piece for piece in self.context.pieces if piece.included]
        return sorted(found, key=lambda piece: -(piece.score or 0.0))


def demo(
    input_file: Annotated[
        Path | None, typer.Option("--input", help="Your own file, as `import` takes it.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="A JSON list of questions to ask.")
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option("--ask", help="A question to ask; may be given again.")
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Tokens of a context.")] = 600,
    db: Annotated[
        str | None, typer.Option("--db", metavar="PATH", help="Keep the database; else temporary.")
    ] = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Watch it work: two tenants, two agents.

    Loads a long conversation for each tenant, asks both the same questions, and lets a LlamaIndex
    and a LangChain agent answer from the memory. Needs no network, key or model server.
    """
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.cli.showing import Screen

    started = time.perf_counter()
    asked = [Question(text) for text in ask or ()] or _read_questions(questions, input_file)
    screen = Screen(None if json else output.console())
    with ExitStack() as stack:
        if db is None:
            # On Windows a file that is still open cannot be removed; a demo need not fail for it.
            folder = tempfile.TemporaryDirectory(prefix="rag-memory-", ignore_cleanup_errors=True)
            db = str(Path(stack.enter_context(folder)) / "demo.db")
        report = _run(db, input_file, asked, budget, screen, progress=not json)
    report["seconds"] = time.perf_counter() - started
    screen.end(report["seconds"])
    if json:
        output.print_json(report)


def _run(
    db: str,
    input_file: Path | None,
    questions: list[Question],
    budget: int,
    screen: Screen,
    *,
    progress: bool,
) -> dict[str, Any]:
    from rag_memory_plugins.opening import open_memory

    with open_memory(db, background=False) as memory:
        tenants, pending = _load(memory, input_file, progress=progress)
        screen.loaded(memory, tenants, pending, budget)
        questions = questions or _picked(memory, tenants[0])
        answers = [
            [_answer(memory, tenant, question, budget) for tenant in tenants]
            for question in questions
        ]
        for both in answers:
            screen.answers(both)
        agents = _agents(memory, tenants[0], [question.text for question in questions][:2], budget)
        screen.agents(agents)
    return {
        "tenants": [asdict(tenant) for tenant in tenants],
        "pending": pending,
        "budget": budget,
        "questions": [[_answer_json(answer) for answer in both] for both in answers],
        "agents": agents,
    }


def _load(memory: Memory, input_file: Path | None, *, progress: bool) -> tuple[list[Tenant], int]:
    """Two tenants whose conversations contradict each other; `input_file` takes the first's place."""
    from rag_memory_plugins.cli import output
    from rag_memory_plugins.cli.importing import Target, import_file
    from rag_memory_plugins.cli.writing import settle

    with output.progress_bar(shown=progress) as bar, _data("demo_other.jsonl") as other:
        with _data("demo.jsonl") if input_file is None else _given(input_file) as first:
            mine = Target("acme", "ann") if input_file is None else Target("you", "me", "imported")
            import_file(memory, first, mine)
        theirs = Target("globex", "ann")
        import_file(memory, other, theirs)
        pending = settle(memory, bar)
    return [_tenant(memory, target) for target in (mine, theirs)], pending


@contextmanager
def _data(name: str) -> Iterator[Path]:
    from importlib.resources import as_file, files

    with as_file(files("rag_memory_plugins.cli") / "data" / name) as path:
        yield path


@contextmanager
def _given(path: Path) -> Iterator[Path]:
    yield path


def _tenant(memory: Memory, target: Any) -> Tenant:
    conversation = memory.conversation(target.tenant, target.user, TODAY)
    scope = conversation.namespace.scope
    spaces = [space for space in memory.namespaces() if space.scope == scope]
    sessions = [memory.conversation(space).messages() for space in spaces]
    return Tenant(
        target.tenant,
        target.user,
        messages=sum(map(len, sessions)),
        sessions=len(sessions),
        tokens=sum(map(memory.counter.count_messages, sessions)),
    )


def _answer(memory: Memory, tenant: Tenant, question: Question, budget: int) -> Answer:
    from rag_memory_plugins.cli.quoting import answer

    conversation = memory.conversation(tenant.tenant, tenant.user, TODAY)
    started = time.perf_counter()
    context = conversation.context(question.text, budget)
    seconds = time.perf_counter() - started
    return Answer(tenant, question, context, answer(question.text, context.text), seconds)


def _agents(
    memory: Memory, tenant: Tenant, questions: Sequence[str], budget: int
) -> dict[str, dict[str, Any]]:
    """By extra: the agent's title and replies, or why it was skipped."""
    from rag_memory_plugins.cli.agents import AGENTS

    found: dict[str, dict[str, Any]] = {}
    for extra, (title, ask) in AGENTS.items():
        conversation = memory.conversation(tenant.tenant, tenant.user, f"{extra}-agent")
        conversation.erase()  # with --db: what it said in the demo before
        try:
            replies = ask(conversation, questions, budget)
        except MissingExtra as error:
            found[extra] = {"title": title, "skipped": str(error), "replies": []}
        else:
            found[extra] = {"title": title, "replies": [asdict(reply) for reply in replies]}
    return found


def _read_questions(path: Path | None, input_file: Path | None) -> list[Question]:
    """The shipped questions, or those of a file: strings, or objects with `question`."""
    if path is None and input_file is not None:
        return []
    name = str(path or "questions.json")
    try:
        with _given(path) if path is not None else _data("questions.json") as source:
            items = loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidFile("--questions", name, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidFile("--questions", name, f"it is not JSON ({error})") from error
    if not isinstance(items, list) or not items:
        raise InvalidFile("--questions", name, "write a JSON list of questions")
    return [_question(name, item) for item in items]


def _question(name: str, item: object) -> Question:
    text = item.get("question") if isinstance(item, dict) else item
    evidence = item.get("evidence", {}) if isinstance(item, dict) else {}
    if not isinstance(text, str) or not text.strip() or not isinstance(evidence, dict):
        remedy = f"in {name}: write a string, or an object with a string under 'question'"
        raise InvalidFile("--questions", item, remedy)
    return Question(text, evidence)


def _picked(memory: Memory, tenant: Tenant) -> list[Question]:
    """Questions for a file that came without: some that were asked in it, else how it began."""
    conversation = memory.conversation(tenant.tenant, tenant.user, TODAY)
    scope = conversation.namespace.scope
    spaces = [space for space in memory.namespaces() if space.scope == scope]
    said = [message for space in spaces for message in memory.conversation(space).recent(200)]
    texts = [" ".join(message.content.split())[:300] for message in said if message.role == "user"]
    asked = [text for text in texts if text.endswith("?") and len(text) > 20]
    asked = asked or [text for text in texts if text] or [" ".join(said[0].content.split())[:300]]
    step = max(1, len(asked) // _PICKED)
    return [Question(text) for text in asked[::step][:_PICKED] if text]


def _answer_json(answer: Answer) -> dict[str, Any]:
    from rag_memory_plugins.cli.output import as_json

    return {
        "tenant": answer.tenant.tenant,
        "question": answer.question.text,
        "answer": answer.quote,
        "history_tokens": answer.tenant.tokens,
        "context_tokens": answer.context.tokens,
        "saved": answer.saved,
        "seconds": answer.seconds,
        "evidence": list(answer.evidence),
        "recalled": [as_json(piece.message, piece.session) for piece in answer.recalled],
        "lanes": dict(answer.context.lanes),
        "degraded": list(answer.context.degraded),
    }
