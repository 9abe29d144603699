"""Rolling summaries of real sessions: folded behind the turns, kept, rebuilt, erased."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins import Event, SummaryLine
from rag_memory_plugins.errors import ChatModelError
from rag_memory_plugins.memory import folding
from rag_memory_plugins.ports import Folded

TURN = "We settle that room {n} is painted in shade {n}, and that it gets a lamp. " * 3


class Scribe:
    """A summarizer that keeps one line a message, the newest, and notes what it was given."""

    name = "scribe"
    every = 300

    def __init__(self, error: Exception | None = None) -> None:
        self.folds: list[tuple[int, list[str]]] = []
        self.error = error
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def afold(self, lines, messages, limit):
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.folds.append((len(lines), [message.id for message in messages]))
        new = [SummaryLine(f"{m.id} was said", m.time, (m.id,)) for m in messages]
        return Folded((*lines, *new)[-limit // 10 :])

    async def aclose(self):
        """Nothing to free."""


def filled(conversation, first, last):
    for n in range(first, last):
        conversation.add(TURN.format(n=n), id=f"m{n}")
    conversation.memory.settle()


def test_only_what_left_the_recent_turns_is_folded_and_each_turn_once(opened):
    scribe = Scribe()
    ann = opened(embedder=None, summarizer=scribe).conversation("acme", "ann", "monday")
    filled(ann, 0, 60)
    assert ann.summary() is None  # under four fifths of what mode full shows anyway
    filled(ann, 60, 140)
    first = ann.summary()
    assert first is not None
    filled(ann, 140, 200)
    second = ann.summary()
    folded = [key for _, ids in scribe.folds for key in ids]
    assert folded == [f"m{n}" for n in range(len(folded))]  # in order, none twice, none missing
    assert second.version > first.version
    newest = {message.id for message in ann.recent(6)}
    assert newest.isdisjoint(folded)
    assert 170 < len(folded) < 200
    assert second.by == "scribe"


def test_a_context_shows_the_summary_before_the_recent_turns(opened):
    ann = opened(embedder=None, summarizer=Scribe()).conversation("acme", "ann", "monday")
    filled(ann, 0, 200)
    context = ann.context("shade of room 7", mode="safe")
    names = [part.name for part in context.parts]
    assert names == ["anchors", "summary", "recent", "retrieved"]
    block = context.messages[names.index("summary")]
    assert "Summary of what was said before" in block.content
    assert context.parts[1].tokens <= 1_200 + 3
    cited = {key for p in context.explain() for key in p.message.metadata.get("sources", ())}
    assert cited <= {f"m{n}" for n in range(200)}
    assert cited


def test_a_slow_summarizer_is_skipped_and_not_waited_for(opened):
    scribe = Scribe()
    memory = opened(embedder=None, summarizer=scribe, background=True)
    ann = memory.conversation("acme", "ann", "monday")

    async def slow():
        scribe.gate = asyncio.Event()

    memory.portal.call(slow())
    ann.add([TURN.format(n=n) for n in range(150)])
    memory.portal.call(scribe.begun.wait())
    context = ann.context("shade of room 7", mode="safe")
    assert "summary" not in [part.name for part in context.parts]
    assert context.tokens > 1_000

    async def go():
        scribe.gate.set()

    memory.portal.call(go())
    memory.settle()
    assert "summary" in [part.name for part in ann.context("room 7", mode="safe").parts]


def test_a_summarizer_that_fails_costs_no_turn_and_is_tried_again(opened):
    events: list[Event] = []
    scribe = Scribe(ChatModelError("the model is down"))
    memory = opened(embedder=None, summarizer=scribe, hooks=[events.append], background=False)
    ann = memory.conversation("acme", "ann", "monday")
    filled(ann, 0, 150)
    assert "ChatModelError" in str(next(e for e in events if e.name == "summary.failed").data)
    assert ann.context("shade of room 7", mode="safe").tokens > 1_000
    scribe.error = None
    assert ann.resummarize() is not None


def test_of_so_many_sessions_that_fail_the_last_say_why(opened, monkeypatch):
    monkeypatch.setattr(folding, "FAILURES", 2)
    monkeypatch.setattr(folding, "FIRST_RETRY", 3600.0)  # none comes again within the test
    monkeypatch.setattr(folding, "LAST_RETRY", 3600.0)
    memory = opened(embedder=None, summarizer=Scribe(ChatModelError("the model is down")))
    days = [memory.conversation("acme", "ann", day) for day in ("monday", "tuesday", "friday")]
    for day in days:
        filled(day, 0, 150)
    reasons = [day.context("room 7", mode="safe").degraded for day in days]
    assert reasons == [(), *[("summary: scribe: ChatModelError('the model is down')",)] * 2]


@pytest.mark.parametrize("level", ["session", "user"])
def test_why_a_fold_failed_is_forgotten_with_what_was_said(opened, level):
    scribe = Scribe(ChatModelError("cannot read: the gate has the code 4821"))
    memory = opened(embedder=None, summarizer=scribe)
    ann = memory.conversation("acme", "ann", "monday")
    for conversation in (ann, memory.conversation("acme", "ann2", "monday")):
        filled(conversation, 0, 150)
        assert memory.summary_failed(conversation.namespace)
    ann.erase(level)
    assert not memory.summary_failed(ann.namespace)
    assert memory.summary_failed(conversation.namespace)


def test_a_summary_is_made_anew_from_the_log(opened):
    scribe = Scribe()
    ann = opened(embedder=None, summarizer=scribe).conversation("acme", "ann", "monday")
    filled(ann, 0, 200)
    before = ann.summary()
    scribe.folds.clear()
    after = ann.resummarize()
    assert after.lines == before.lines
    assert after.version > before.version
    assert scribe.folds[0][1][0] == "m0"


@pytest.mark.parametrize("level", ["session", "user"])
def test_an_erase_takes_the_summary_too(opened, tmp_path, level):
    memory = opened(embedder=None, summarizer=Scribe())
    ann = memory.conversation("acme", "ann", "monday")
    filled(ann, 0, 150)
    assert ann.summary() is not None
    assert ann.erase(level).complete
    assert ann.summary() is None
    memory.close()
    for file in tmp_path.rglob("*.db*"):
        assert b"was said" not in file.read_bytes()
    assert list(tmp_path.rglob("*.db"))


def test_forgetting_a_message_drops_the_summary_that_may_hold_it(opened):
    ann = opened(embedder=None, summarizer=Scribe(), background=False).conversation(
        "acme", "ann", "monday"
    )
    filled(ann, 0, 150)
    assert any("m3" in line.ids for line in ann.resummarize().lines) or ann.summary().lines
    ann.forget("m3")
    assert ann.summary() is None
    ann.memory.settle()
    assert all("m3" not in line.ids for line in ann.summary().lines)


def test_a_fold_that_an_erase_overtook_is_thrown_away(opened):
    scribe = Scribe()
    memory = opened(embedder=None, summarizer=scribe, background=False)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add([TURN.format(n=n) for n in range(150)])

    async def overtaken():
        scribe.gate = asyncio.Event()
        folding = asyncio.create_task(memory.afold())
        await scribe.begun.wait()
        await ann.aforget([message.id for message in await ann.arecent(1)])
        scribe.gate.set()
        await folding

    memory.portal.call(overtaken())
    assert scribe.folds[0][0] == scribe.folds[1][0] == 0  # the first was not kept: begun anew
    assert ann.summary() is not None


def test_no_summary_crosses_from_one_tenant_to_another(opened):
    memory = opened(embedder=None, summarizer=Scribe())
    ann = memory.conversation("acme", "ann", "monday")
    filled(ann, 0, 150)
    for other in [
        memory.conversation("acme", "bob", "monday"),
        memory.conversation("evil", "ann", "monday"),
        memory.conversation("acme", "ann", "tuesday"),
    ]:
        assert other.summary() is None
        assert "summary" not in [p.name for p in other.context("room", mode="safe").parts]
