"""What a router holds for a request is given back, whatever is raised and whoever goes away."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from time import process_time

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta, Gathered, ToolPiece, ToolSpec
from rag_memory_plugins.errors import (
    AllModelsFailed,
    InvalidInput,
    NoModelFits,
    ProviderError,
    ProviderLimited,
    ProviderUnavailable,
    RequestCancelled,
    StreamInterrupted,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.budgets import Budgets
from rag_memory_plugins.router.decisions import Decision, Decisions
from rag_memory_plugins.router.models import Capabilities, Model, Price
from rag_memory_plugins.router.money import Budget
from rag_memory_plugins.router.outage import Outage
from rag_memory_plugins.router.policy import Ask
from rag_memory_plugins.router.rate_rules import RateLimit
from rag_memory_plugins.router.rates import RateLimits
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.router.seen import Seen
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)
END = Delta(finish="stop")
ANN = Scope("acme", "ann")


def ask(**values):
    return ChatRequest(HELLO, scope=ANN, **values)


class Held(ScriptedModel):
    """Gives its pieces and waits until it is let on; `gone` is set when it is left."""

    def __init__(self, *pieces, name="a"):
        super().__init__(name=name)
        self.pieces = pieces
        self.waits = asyncio.Event()
        self.on = asyncio.Event()
        self.gone = asyncio.Event()

    async def astream(self, request):
        self.requests.append(request)
        try:
            for piece in self.pieces:
                yield piece
            self.waits.set()
            await self.on.wait()
            yield Delta("done", finish="stop")
        finally:
            self.gone.set()


class Gate:
    """A method of `of` that waits, once, before or after its work, until it is let on."""

    def __init__(self, of, name, *, before=True):
        self.reached, self.on = asyncio.Event(), asyncio.Event()
        real = getattr(of, name)

        async def gated(*args):
            if before:
                self.reached.set()
                await self.on.wait()
                return await real(*args)
            got = await real(*args)
            self.reached.set()
            await self.on.wait()
            return got

        setattr(of, name, gated)


def limits():
    return RateLimits([RateLimit("1000/hour")])


def budgets():
    return Budgets(tenant=Budget(10.0))


def held_money(router):
    """Nano-dollars that are held, and not spent."""
    windows = router._parts.budgets._here._windows.values()
    return sum(
        amount
        for accounts in windows
        for numbers in accounts.values()
        for name, amount in numbers.items()
        if name.startswith("held ")
    )


def routed(chat, **values):
    return Router([Model(chat, "a", price=Price(1.0, 1.0), concurrency=1)], **values)


async def test_a_request_that_is_cancelled_while_it_settles_gives_all_back():
    router = routed(ScriptedModel("hi"), rates=limits(), budgets=budgets())
    gate = Gate(router._parts.rates, "asettle")
    task = asyncio.create_task(router.aanswer(ask()))
    await gate.reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    gate.on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held_money(router) == 0
    assert router._parts.seen["a"].taken == 0


async def test_a_request_that_is_cancelled_while_money_is_reserved_gives_its_count_back():
    router = routed(ScriptedModel("hi"), rates=limits(), budgets=budgets())
    gate = Gate(router._parts.budgets, "areserve")
    released = []
    real = router._parts.rates.arelease

    async def arelease(taken):
        released.append(taken)
        await real(taken)

    router._parts.rates.arelease = arelease
    task = asyncio.create_task(router.aanswer(ask()))
    await gate.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(released) == 1
    assert router._parts.seen["a"].taken == 0


class Broken:
    """A ledger that takes nothing."""

    def record(self, entry):
        raise OSError("the disk is full")

    async def aclose(self):
        pass


@pytest.mark.parametrize("stream", [False, True])
def test_a_ledger_that_raises_costs_no_answer_and_is_told_of(stream):
    events = []
    router = routed(
        ScriptedModel("hi"), ledger=Broken(), rates=limits(), budgets=budgets(),
        hooks=[events.append],
    )  # fmt: skip
    if stream:
        assert [piece.text for piece in router.stream(ask())] == ["hi"]
    else:
        assert router.answer(ask()).message.content == "hi"
    assert held_money(router) == 0
    assert [dict(each.data) for each in events if each.name == "router.not_recorded"] == [
        {"model": "a", "outcome": "ok", "error": "OSError('the disk is full')"}
    ]


class Forgetful:
    """A cache that knows nothing and cannot keep anything."""

    async def alook(self, request):
        return None

    async def akeep(self, request, answer):
        raise OSError("no room")

    async def acompare(self, request, found, answer):
        pass


@pytest.mark.parametrize("stream", [False, True])
def test_a_cache_that_cannot_keep_costs_no_answer_and_is_told_of(stream):
    events = []
    router = routed(ScriptedModel("hi"), cache=Forgetful(), hooks=[events.append])
    request = ask()
    if stream:
        assert [piece.text for piece in router.stream(request)] == ["hi"]
    else:
        assert router.answer(request).message.content == "hi"
    assert [each.data["error"] for each in events if each.name == "router.not_kept"] == [
        "OSError('no room')"
    ]
    assert router.explain(request.id).outcome == "answered"


def test_a_hook_a_policy_or_a_counter_that_raises_leaves_nothing_held():
    class Odd:
        estimates = False

        def rank(self, ask, candidates):
            raise ZeroDivisionError

    def hook(event):
        raise KeyError(event.name)

    assert routed(ScriptedModel("hi"), hooks=[hook]).answer(ask()).model == "a"
    router = routed(ScriptedModel("hi"), policy=Odd(), budgets=budgets())
    with pytest.raises(ZeroDivisionError):
        router.answer(ask())
    assert (len(router._running), router._parts.seen["a"].taken) == (0, 0)


def test_what_cannot_be_counted_leaves_nothing_held():
    def count(text):
        raise ZeroDivisionError

    router = routed(ScriptedModel([Delta("hi", finish="stop")]), budgets=budgets(), rates=limits())
    object.__setattr__(router._parts, "count", count)
    with pytest.raises(ProviderError, match="ZeroDivisionError"):
        router.answer(ask())
    assert held_money(router) == 0


async def test_an_abandoned_stream_is_closed_when_it_is_collected(ledger):
    chat = Held(Delta("Hel"), Delta("lo"))
    router = routed(chat, ledger=ledger)

    async def leave():
        async for piece in router.astream(ask()):
            assert piece.text == "Hel"
            break

    await leave()
    gc.collect()
    await asyncio.wait_for(chat.gone.wait(), 5)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [each.outcome for each in ledger.entries] == ["cancelled"]
    assert router._parts.seen["a"].taken == 0
    assert len(router._running) == 0


async def test_cancel_by_id_frees_what_a_reader_holds_that_never_comes_back(ledger):
    chat = Held(Delta("Hel"), Delta("lo"))
    router = routed(chat, ledger=ledger)
    request = ask()
    stream = router.astream(request)
    await anext(stream)
    router.cancel(request.id)
    await asyncio.wait_for(chat.gone.wait(), 5)
    for _ in range(5):
        await asyncio.sleep(0)
    assert router._parts.seen["a"].taken == 0
    assert [(each.outcome, each.error) for each in ledger.entries] == [
        ("cancelled", "RequestCancelled")
    ]
    with pytest.raises(RequestCancelled):
        await anext(stream)
    assert len(ledger.entries) == 1


async def test_cancel_by_id_while_the_reader_closes_the_stream_closes_it_once():
    closing, on = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedModel):
        async def astream(self, request):
            try:
                yield Delta("Hel")
                yield Delta("lo")
            finally:
                closing.set()
                await on.wait()

    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    router = Router([Slow(name="a")])
    request = ask()
    stream = router.astream(request)
    await anext(stream)
    task = asyncio.create_task(stream.aclose())
    await closing.wait()
    router.cancel(request.id)
    for _ in range(3):
        await asyncio.sleep(0)
    on.set()
    await task
    gc.collect()
    assert failed == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 counts no cancellations")
async def test_a_task_that_was_cancelled_before_is_told_that_its_request_is_now():
    chat = Held()
    router = Router([chat])
    request = ask()

    async def cleaning_up():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await router.aanswer(request)  # what it still has to say

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    await chat.waits.wait()
    router.cancel(request.id)
    with pytest.raises(RequestCancelled):
        await task


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
async def test_a_time_out_around_a_request_stays_one_and_leaves_nothing():
    chat = Held(Delta("Hel"))
    router = Router([chat])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await router.aanswer(ask())
    assert chat.gone.is_set()
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with 3.11")
async def test_one_of_a_group_that_fails_ends_the_others_requests(ledger):
    chat = Held(Delta("Hel"))
    router = Router([chat], ledger=ledger)

    async def fails():
        await chat.waits.wait()
        raise ValueError("no")

    async def both():
        async with asyncio.TaskGroup() as group:
            group.create_task(router.aanswer(ask()))
            group.create_task(fails())

    with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):
        await both()
    assert [each.outcome for each in ledger.entries] == ["cancelled"]


async def test_a_second_request_of_a_running_id_leaves_the_first_ones_decision():
    chat = Held(Delta("Hel"))
    router = Router([chat])
    request = ask()
    task = asyncio.create_task(router.aanswer(request))
    await chat.waits.wait()
    decision = router.explain(request.id)
    with pytest.raises(InvalidInput, match="a request of this id runs"):
        await router.aanswer(request)
    assert router.explain(request.id) is decision
    chat.on.set()
    await task
    assert decision.outcome == "answered"


def test_a_decision_can_be_read_while_it_is_made():
    decision = Decision("x", asks=[Ask("local-first", 3)])
    assert str(decision) == "request x: running"


def test_an_id_that_is_used_again_is_as_young_as_its_last_request():
    decisions = Decisions(kept=2)
    decisions.begin("a")
    decisions.begin("b")
    again = decisions.begin("a")
    decisions.begin("c")
    assert decisions.of("a") is again


async def test_places_are_given_in_turn_and_nobody_fails_for_want_of_one():
    class Takes(ScriptedModel):
        async def astream(self, request):
            await asyncio.sleep(0)
            yield Delta("hi", finish="stop")

    router = routed(Takes(name="a"))
    turns = []

    async def worker(name):
        for _ in range(10):
            await router.aanswer(ask())
            turns.append(name)

    await asyncio.gather(*(worker(name) for name in range(6)))
    assert len(turns) == 60
    assert max(turns[:12].count(name) for name in range(6)) <= 3  # nobody has it all
    assert router._parts.seen["a"].taken == 0


async def test_two_places_that_come_free_at_once_wake_two():
    first, second = Seen(1), Seen(1)
    assert first.take()
    assert second.take()
    waiting = [asyncio.create_task(_place(first, second)) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    first.give_back()
    second.give_back()
    got = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert sorted(map(id, got)) == sorted(map(id, (first, second)))


async def _place(*seen):
    from rag_memory_plugins.router.seen import aplace

    return await aplace(seen, None)


def test_one_who_waited_on_a_loop_that_is_closed_is_passed_over():
    seen = Seen(1)
    assert seen.take()
    dead = asyncio.new_event_loop()
    task = dead.create_task(_place(seen))
    dead.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    dead.close()
    waits = threading.Event()

    async def live():
        task = asyncio.create_task(_place(seen))
        await asyncio.sleep(0)
        waits.set()
        return await asyncio.wait_for(task, 5)

    got = []
    thread = threading.Thread(target=lambda: got.append(asyncio.run(live())))
    thread.start()
    waits.wait()
    seen.give_back()
    thread.join()
    assert got == [seen]


async def test_one_who_waits_for_a_place_looks_again_when_another_model_recovers(time):
    busy = Held(name="a")
    other = ScriptedModel(ProviderLimited("429", retry_after=0.05), "b is back", name="b")
    router = Router([Model(busy, "a", concurrency=1), other], rounds=4)
    first = asyncio.create_task(router.aanswer(ask()))
    await busy.waits.wait()
    answer = await asyncio.wait_for(router.aanswer(ask()), 5)
    assert answer.message.content == "b is back"
    busy.on.set()
    await first


async def test_whoever_waits_for_a_probe_does_not_fail_before_it_is_back(time):
    slow = Held(name="a")
    router = Router([slow], clock=time, now=time, sleep=time.sleep, patience=60.0)
    permit = await router._parts.breakers.aallow(router.models[0].key)
    router._parts.breakers.failed(permit, at_once=True, cool_down=1.0)
    time.seconds += 2
    probe = asyncio.create_task(router.aanswer(ask()))
    await slow.waits.wait()
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        time.seconds += seconds
        if sum(slept) > 15:  # a model that is loaded from a disk
            slow.on.set()
            await probe

    object.__setattr__(router._parts, "sleep", sleep)
    assert (await router.aanswer(ask())).message.content == "done"


def test_a_limit_that_is_nearly_used_up_is_waited_for(time):
    chat = ScriptedModel("hi", name="a")
    chat.tokens_left, chat.tokens_back = 0, 2.0

    async def sleep(seconds):
        time.slept.append(seconds)
        chat.tokens_left = None

    router = Router([chat], clock=time, now=time, sleep=sleep)
    assert router.answer(ask()).model == "a"
    assert time.slept == [2.0]


def test_a_limit_that_is_used_up_for_long_is_no_want_of_ability():
    chat = ScriptedModel("hi", name="a")
    chat.tokens_left, chat.tokens_back = 0, 500.0
    with pytest.raises(AllModelsFailed, match="limit has 0 tokens left") as caught:
        Router([chat]).answer(ask())
    assert not isinstance(caught.value, NoModelFits)
    assert caught.value.retry_after == 500.0


def test_nonsense_that_nests_without_end_is_rejected_like_any_other():
    deep = ScriptedModel("[" * 200_000, name="a")
    router = Router([deep, ScriptedModel("{}", name="b")])
    assert router.answer(ask(schema={"type": "object"})).model == "b"


def test_closing_goes_on_after_a_model_that_cannot_be_closed():
    class Stuck(ScriptedModel):
        async def aclose(self):
            raise OSError("stuck")

    second = ScriptedModel(name="b")
    with pytest.raises(OSError, match="stuck"):
        Router([Stuck(name="a"), second]).close()
    assert second.closed


def test_a_router_within_a_router_answers_and_streams(ledger):
    inner = Router(
        [ScriptedModel(ProviderUnavailable("503"), name="a"), ScriptedModel("hi", name="b")]
    )
    router = Router([Model(inner, "both"), ScriptedModel("last", name="last")], ledger=ledger)
    assert router.answer(ask()).message.content == "hi"
    assert [piece.text for piece in router.stream(ask())] == ["hi"]
    assert [each.outcome for each in ledger.entries] == ["ok", "ok"]


def test_a_router_within_a_router_that_breaks_off_breaks_off():
    cut = [Delta("Hel"), ProviderUnavailable("cut")]
    inner = Router([ScriptedModel(cut, name="a")])
    router = Router([Model(inner, "inner"), ScriptedModel("hi", name="b")])
    with pytest.raises(StreamInterrupted, match="cut") as caught:
        list(router.stream(ask()))
    assert caught.value.text == "Hel"
    assert router.answer(ask()).model == "b"  # nobody saw any of it


async def test_nobody_waits_for_a_place_at_a_model_that_could_not_answer():
    unable = Held(name="a")
    router = Router([Model(unable, "a", concurrency=1, capabilities=Capabilities(tools=False))])
    first = asyncio.create_task(router.aanswer(ask()))
    await unable.waits.wait()
    with pytest.raises(NoModelFits, match="it cannot call tools"):
        await asyncio.wait_for(router.aanswer(ask(tools=(ToolSpec("weather"),))), 5)
    unable.on.set()
    await first


async def test_what_a_store_granted_just_before_a_cancellation_is_taken_back():
    """The portal is done, and its answer is on its way to a caller that is cancelled by then."""
    undone = threading.Event()
    granted = threading.Event()

    async def grant():
        granted.set()
        return "granted"

    async def undo(got):
        assert got == "granted"
        undone.set()

    outage = Outage("rates", "local", lambda: 0.0)
    task = asyncio.create_task(outage.ask(grant, undo))
    await asyncio.sleep(0)
    portal = get_portal()
    granted.wait(5)
    for _ in range(5):  # this loop is held up until the portal has nothing more to do
        portal.call(asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(undone.wait, 5)


def test_a_sync_stream_that_is_dropped_on_the_portals_thread_is_closed():
    """As the collector may do, which runs on any thread; a warning would fail this test."""
    let_go = threading.Event()

    class Endless(ScriptedModel):
        async def astream(self, request):
            try:
                while True:
                    yield Delta("more ")
            finally:
                let_go.set()

    router = routed(Endless(name="a"))
    held = [router.stream(ask())]
    assert next(held[0]).text == "more "
    router.portal.loop.call_soon_threadsafe(held.clear)
    assert let_go.wait(5)
    router.portal.call(asyncio.sleep(0))
    router.portal.call(asyncio.sleep(0))
    assert router._parts.seen["a"].taken == 0


def test_a_call_of_many_pieces_is_joined_once():
    gathered = Gathered()
    began = process_time()
    for _ in range(300_000):  # six seconds where each piece copies what came before
        gathered.add(Delta(tools=(ToolPiece(0, "1", "write", "abcd"),)))
    assert len(gathered.tool_calls[0].arguments) == 1_200_000
    assert process_time() - began < 3
