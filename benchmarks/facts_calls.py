"""What facts cost in calls of a model over loopback, and what is left when it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rag_memory_plugins.facts.comparing import StatePair, compare_states_batch, comparing_batcher
from rag_memory_plugins.facts.llm_extractor import LLMExtractor
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Claim
from rag_memory_plugins.router.openai_protocol import OpenAIChat
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Answer, Reply, hang
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from benchmarks.report import Report
    from rag_memory_plugins.events import Event

__all__ = ["measure"]

SCOPE: Final = Scope("benchmark", "ann")
COUNT: Final = 100
PATIENT, IMPATIENT = 30.0, 0.3
ITEM: Final = re.compile(r"^<item ([a-z]+)>\n(.*?)\n</item \1>\n", re.MULTILINE | re.DOTALL)
Items = Sequence[tuple[str, Any]]
Said = Callable[[Items], "str | Reply"]


def measure(report: Report) -> None:
    """Calls for 100 pairs of states and for 100 messages, twice; then with a model that fails."""
    for name, made in (("compare", _compare), ("extract", _extract)):
        good = _changes if name == "compare" else _claims
        with _wired(good) as (server, model):
            ask = made(model, PATIENT)
            _put(report, name, ask())
            report.put(f"llm_calls_per_100/{name}", len(server.chats))
            before = len(server.chats)
            ask()
            report.put(f"llm_calls_repeat/{name}", len(server.chats) - before)
        for fault, said in _faults(good).items():
            with _wired(said) as (_, model):
                done = made(model, IMPATIENT if fault == "late" else PATIENT)()
            _put(report, f"{name}/{fault}", done)
            report.notes.append(f"{name}, {fault}: {'; '.join(done.reasons) or 'no reason said'}")


class Done(NamedTuple):
    """How many of the 100 were answered, how many without the model, and the reasons said."""

    answered: int
    instead: int
    reasons: list[str]


def _put(report: Report, name: str, done: Done) -> None:
    report.put(f"llm_completed/{name}", done.answered / COUNT)
    report.put(f"llm_instead/{name}", done.instead / COUNT)
    report.put(f"llm_unexplained/{name}", float(done.instead > 0 and not done.reasons))


def _faults(good: Said) -> dict[str, Said]:
    return {
        "down": lambda _: refusals.server_error(),
        "late": lambda _: hang(),
        "short": lambda items: good(items[::2]),
        "malformed": lambda _: "Certainly! Here is what you asked for.",
    }


Ask = Callable[[], Done]


def _compare(model: OpenAIChat, timeout: float) -> Ask:
    """Asks about 100 pairs, each of which should get a difference."""
    batcher = comparing_batcher(model, counter="words", timeout=timeout)
    pairs = [
        StatePair(f"project {number}", "status", "waiting for the lawyers", f"in review {number}")
        for number in range(COUNT)
    ]

    def ask() -> Done:
        result = compare_states_batch(pairs, model=batcher, scope=SCOPE)
        answered = sum(bool(difference.reason) for difference in result)
        instead = sum(difference.source == "fallback" for difference in result)
        return Done(answered, instead, list(result.degraded))

    return ask


class _Plain:
    """Reads "NAME lives in PLACE" and nothing else: stands behind a model that fails."""

    name = "plain"

    async def aextract(self, scope: Scope, messages: Sequence[Message]) -> list[list[Claim]]:
        return [[_claim(message.content)] for message in messages]

    async def aclose(self) -> None:
        return


def _extract(model: OpenAIChat, timeout: float) -> Ask:
    """Reads 100 messages, each of which should get its claim."""
    told: list[Event] = []
    extractor = LLMExtractor(
        model,
        fallback=_Plain(),
        counter="words",
        tries=2,
        timeout=timeout,
        hooks=(told.append,),
        sleep=_at_once,
    )
    said = [
        Message("user", f"Ann{number} lives in Porto", name=f"Ann{number}")
        for number in range(COUNT)
    ]

    def ask() -> Done:
        told.clear()
        found: list[list[Claim]] = get_portal().call(extractor.aextract(SCOPE, said))
        right = sum(
            [claim.object for claim in claims] == ["Porto"] and claims[0].subject == message.name
            for claims, message in zip(found, said, strict=True)
        )
        events: list[Mapping[str, Any]] = [
            event.data for event in told if event.name == "facts.degraded"
        ]
        reasons = [str(reason) for data in events for reason in data["reasons"]]
        return Done(right, sum(data["messages"] for data in events), reasons)

    return ask


async def _at_once(seconds: float) -> None:
    """Wait for nothing: how long a limit lasts is not what is measured."""


def _claim(text: str) -> Claim:
    name, _, place = text.partition(" lives in ")
    return Claim(name, "lives in", place)


def _changes(items: Items) -> str:
    return _lines((label, {"change": "changed", "reason": "so"}) for label, _ in items)


def _claims(items: Items) -> str:
    def read(item: Any) -> list[dict[str, str]]:
        claim = _claim(item["text"])
        found = {"subject": claim.subject, "predicate": claim.predicate, "object": claim.object}
        return [found]

    return _lines((label, read(item)) for label, item in items)


def _lines(pairs: Iterator[tuple[str, Any]]) -> str:
    return "\n".join(json.dumps({label: value}) for label, value in pairs)


@contextmanager
def _wired(said: Said) -> Iterator[tuple[FaultServer, OpenAIChat]]:
    """A server on loopback whose answers `said` makes, and a model that asks it."""

    def reply(request: Any) -> Reply:
        shown = request.messages[1]["content"]
        answer = said([(label, json.loads(text)) for label, text in ITEM.findall(shown)])
        return Answer(answer) if isinstance(answer, str) else answer

    with FaultServer(reply=reply) as server:
        model = OpenAIChat(server.openai_url, "small")
        try:
            yield server, model
        finally:
            get_portal().call(model.aclose())
