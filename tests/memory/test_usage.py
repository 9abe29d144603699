"""The token tracker: what is counted, for whom, and that counting never costs a turn."""

from __future__ import annotations

import asyncio
import json
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag_memory_plugins import SHARED, Namespace, Scope, TokenBudget
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.memory.tallies import Tally, Usage
from rag_memory_plugins.memory.usage import TokenTracker
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.results import Context, ContextPart
from rag_memory_plugins.stores.local_state import LocalState
from rag_memory_plugins.types import Messages

DAY = 86_400
MONDAY = Namespace("acme", "ann", "monday")


def context(sent=300, history=1_000, mode="balanced", **parts):
    parts = tuple(ContextPart(name, Messages(), tokens) for name, tokens in parts.items())
    return Context(
        "q",
        TokenBudget(4_000),
        Messages(),
        "",
        sent,
        tokens_exact=True,
        parts=parts,
        pieces=(),
        lanes={},
        mode=mode,
        history_tokens=history,
    )


class Watched(LocalState):
    """A state that tells what it was told; `gate` holds it up and `down` breaks it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.added: list[str] = []
        self.gate: asyncio.Event | None = None
        self.down = False

    async def aadd(self, key, amounts, seconds):
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise ConnectionError("the state is down")
        self.added.append(key)
        await super().aadd(key, amounts, seconds)


@pytest.fixture
def events():
    return []


@pytest.fixture
def state():
    return Watched()


@pytest.fixture
def tracker(state, events):
    return TokenTracker(state, (events.append,))


def on_the_portal(function):
    """Run a plain function on the portal's loop, where contexts are made."""

    async def run():
        return function()

    return get_portal().call(run())


# what is counted


def test_a_context_counts_for_its_conversation_its_tenant_and_in_all(tracker):
    tracker.record(MONDAY, context(sent=300, history=1_000))
    for usage in (tracker.conversation(MONDAY), tracker.tenant("acme"), tracker.total()):
        assert (usage.contexts, usage.sent, usage.history) == (1, 300, 1_000)
        assert (usage.saved, usage.share_saved) == (700, 0.7)


def test_totals_are_the_sum_over_conversations(tracker):
    for tenant, session, sent in (("acme", "a", 1), ("acme", "b", 10), ("globex", "a", 100)):
        tracker.record(Namespace(tenant, "ann", session), context(sent=sent))
    assert tracker.conversation(Namespace("acme", "ann", "b")).sent == 10
    assert tracker.tenant("acme").sent == 11
    assert tracker.total().sent == 111
    assert tracker.tenants() == ["acme", "globex"]


def test_modes_parts_and_models_are_told_apart(tracker):
    tracker.record(MONDAY, context(100, 100, "full", recent=100), "small")
    tracker.record(MONDAY, context(300, 900, "safe", recent=100, retrieved=200), "large")
    tracker.record(MONDAY, context(300, 950, "safe", recent=90, retrieved=210))
    usage = tracker.tenant("acme")
    assert usage.by_mode == {"full": Tally(1, 100, 100), "safe": Tally(2, 600, 1_850)}
    assert usage.by_part == {"recent": 290, "retrieved": 410}
    assert usage.by_model == {"small": Tally(1, 100, 100), "large": Tally(1, 300, 900)}


def test_what_contexts_add_counts_against_what_they_save(tracker):
    tracker.record(MONDAY, context(sent=150, history=100))
    assert tracker.total().saved == 0
    assert tracker.total().share_saved == 0.0
    tracker.record(MONDAY, context(sent=150, history=300))
    assert tracker.total().saved == 100


def test_nothing_was_counted_where_nobody_spoke(tracker):
    assert tracker.conversation(MONDAY) == Usage()
    assert tracker.tenants() == []


def test_the_context_of_a_real_conversation_is_counted(opened, tracker):
    talk = opened().conversation(MONDAY)
    talk.add([f"turn {number} about the harbour" for number in range(5)])
    made = talk.context("harbour", 400)
    tracker.record(MONDAY, made)
    usage = tracker.conversation(MONDAY)
    assert usage.sent == made.tokens
    assert usage.by_part == {part.name: part.tokens for part in made.parts}


def test_the_last_day_is_kept(state):
    now = 20_000.0 * DAY
    tracker = TokenTracker(state, clock=lambda: now)
    tracker.record(MONDAY, context())
    now += 3 * DAY
    tracker.record(MONDAY, context())
    assert tracker.conversation(MONDAY).last_day == date(2024, 10, 7)


def test_usage_is_plain_data_and_an_escaped_table(tracker):
    tracker.record(MONDAY, context(recent=300), "<script>alert(1)</script>")
    usage = tracker.total()
    data = json.loads(json.dumps(usage.to_dict()))
    assert data["saved"] == 700
    assert data["by_mode"]["balanced"]["share_saved"] == 0.7
    assert "<script>" not in usage._repr_html_()
    assert "700 (70%)" in usage._repr_html_()


# names

NAMES = st.text(st.sampled_from("aA/:%*~ é中😀.2F"), min_size=1, max_size=4)
SPACES = st.builds(Namespace, NAMES, st.one_of(NAMES, st.just(SHARED)), NAMES)


@given(SPACES, SPACES)
def test_no_name_reaches_into_anothers_figures(one, other):
    assume(one != other)
    tracker = TokenTracker(LocalState())
    tracker.record(one, context(sent=1))
    tracker.record(other, context(sent=10))
    assert tracker.conversation(one).sent == 1
    assert tracker.tenant(one.tenant).sent == (11 if one.tenant == other.tenant else 1)
    assert tracker.tenants() == sorted({one.tenant, other.tenant})


@given(SPACES, SPACES)
def test_forgetting_a_user_or_a_tenant_forgets_nobody_else(one, other):
    assume(one.scope != other.scope)
    tracker = TokenTracker(LocalState())
    tracker.record(one, context(sent=1))
    tracker.record(other, context(sent=10))
    assert tracker.forget(one.scope) == 1
    assert tracker.conversation(one) == Usage()
    assert tracker.conversation(other).sent == 10
    tracker.forget(one.tenant)
    assert tracker.conversation(other).sent == (0 if one.tenant == other.tenant else 10)


@given(st.lists(st.text(max_size=6) | st.text(st.characters(categories=["Cs"])), unique=True))
def test_a_model_may_have_any_name(models):
    tracker = TokenTracker(LocalState())
    for number, model in enumerate(models, 1):
        tracker.record(MONDAY, context(sent=number), model)
    found = {model: tally.sent for model, tally in tracker.total().by_model.items()}
    assert found == {model: number for number, model in enumerate(models, 1)}


def test_long_model_names_that_begin_alike_are_two(tracker):
    for end in "ab":
        tracker.record(MONDAY, context(), 5_000 * "x" + end)
    assert len(tracker.total().by_model) == 2


def test_models_beyond_a_thousand_are_counted_as_others(tracker, state):
    for number in range(1_005):
        tracker.record(MONDAY, context(sent=1), f"request {number}")
    by_model = tracker.total().by_model
    assert len(by_model) == 1_001
    assert by_model["(other)"].sent == 5


@pytest.mark.parametrize("wrong", ["acme/ann/monday", Scope("acme", "ann"), None])
def test_a_conversation_is_asked_for_by_its_namespace(tracker, wrong):
    with pytest.raises(InvalidNamespace, match="pass a Namespace"):
        tracker.conversation(wrong)


def test_a_tenant_that_cannot_be_is_refused(tracker):
    with pytest.raises(InvalidNamespace, match="tenant"):
        tracker.tenant("")


# never in the way


def test_an_update_is_three_adds_whatever_was_counted_before(tracker, state):
    for number in range(500):
        tracker.record(Namespace("acme", "ann", str(number)), context(recent=9), "m")
        tracker.drain()
    assert len(state.added) == 1_500
    names = asyncio.run(state.aget("usage/total"))
    assert len(names) == 3 + 3 + 3 + 1 + 1  # tally, mode, model, part, day


def test_a_state_that_is_down_costs_figures_and_no_turn(tracker, state, events):
    state.down = True
    tracker.record(MONDAY, context())
    assert tracker.drain()
    assert [event.name for event in events] == ["usage.failed"]
    assert events[0].data == {"error": "ConnectionError('the state is down')", "keys": 3}
    state.down = False
    tracker.record(MONDAY, context(sent=5))
    assert tracker.total().sent == 5


def test_a_closed_state_costs_no_turn(events):
    state = LocalState()
    asyncio.run(state.aclose())
    tracker = TokenTracker(state, (events.append,))
    tracker.record(MONDAY, context())
    assert tracker.drain()
    assert "StoreClosed" in events[0].data["error"]


@pytest.mark.parametrize("broken", [None, object(), "text"])
def test_what_cannot_be_counted_is_told_and_raises_nothing(tracker, events, broken):
    tracker.record(MONDAY, broken)
    tracker.record(broken, context())
    assert [event.name for event in events] == ["usage.failed", "usage.failed"]
    assert tracker.total() == Usage()


def test_a_hook_that_raises_costs_no_turn(state, caplog):
    def hook(event):
        raise RuntimeError("broken hook")

    state.down = True
    tracker = TokenTracker(state, (hook,))
    tracker.record(MONDAY, context())
    assert tracker.drain()
    assert "broken hook" in caplog.text


def test_updates_are_added_up_while_the_state_is_slow(tracker, state):
    state.gate = asyncio.Event()

    def turns():
        for _ in range(100):
            tracker.record(MONDAY, context(sent=1))

    on_the_portal(turns)
    assert state.added == []
    get_portal().loop.call_soon_threadsafe(state.gate.set)
    assert tracker.drain()
    assert tracker.total().sent == 100
    assert len(state.added) <= 6


def test_a_turn_on_the_portal_does_not_wait_for_a_state_that_hangs(tracker, state, events):
    state.gate = asyncio.Event()
    on_the_portal(lambda: tracker.record(MONDAY, context()))
    assert not tracker.drain(0.01)
    assert [event.data["keys"] for event in events] == [3]
    state.gate = None
    tracker.record(MONDAY, context(sent=7))
    assert tracker.total().sent == 7


def test_a_drain_that_gives_up_before_anything_began_leaves_the_tracker_usable(tracker):
    async def at_once():
        tracker.record(MONDAY, context())
        tracker._task.cancel()
        await asyncio.sleep(0)
        tracker.record(MONDAY, context())
        await asyncio.sleep(0)

    get_portal().call(at_once())
    tracker.record(MONDAY, context())
    assert tracker.total().contexts == 3


def test_who_reads_sees_the_contexts_made_before(tracker):
    async def turn():
        tracker.record(MONDAY, context(sent=3))
        return await tracker.aconversation(MONDAY)

    assert get_portal().call(turn()).sent == 3


def test_a_state_that_hangs_holds_a_bounded_number_of_keys(tracker, state, events):
    state.gate = asyncio.Event()

    def turns():
        for number in range(10_500):
            tracker.record(Namespace("acme", "ann", str(number)), context())

    on_the_portal(turns)
    assert {event.name for event in events} == {"usage.failed"}
    assert len(tracker._waiting) <= 10_000
    assert not tracker.drain(0.01)


# forgetting


def test_forgetting_a_conversation_leaves_the_sums(tracker):
    tracker.record(MONDAY, context(sent=3))
    assert tracker.forget(MONDAY) == 1
    assert tracker.forget(MONDAY) == 0
    assert tracker.conversation(MONDAY) == Usage()
    assert (tracker.tenant("acme").sent, tracker.total().sent) == (3, 3)


def test_forgetting_a_tenant_forgets_its_conversations_and_its_sum(tracker):
    tracker.record(MONDAY, context(sent=3))
    tracker.record(Namespace("acme", SHARED, "s"), context(sent=4))
    tracker.record(Namespace("acme2", "ann", "s"), context(sent=5))
    assert tracker.forget("acme") == 3
    assert tracker.tenant("acme") == Usage()
    assert tracker.tenants() == ["acme2"]


def test_forgetting_a_user_leaves_one_whose_name_goes_on(tracker):
    for user in ("ann", "ann2", "anna/b"):
        tracker.record(Namespace("acme", user, "s"), context())
    assert tracker.forget(Scope("acme", "ann")) == 1
    assert tracker.conversation(Namespace("acme", "ann2", "s")).contexts == 1


def test_cleaning_up_forgets_what_was_last_counted_long_ago():
    now = 20_000.0 * DAY
    tracker = TokenTracker(LocalState(clock=lambda: now), clock=lambda: now)
    tracker.record(Namespace("acme", "ann", "old"), context())
    tracker.record(Namespace("globex", "ann", "old"), context())
    now += 10 * DAY
    tracker.record(Namespace("acme", "ann", "new"), context())
    assert tracker.cleanup(10) == 0
    assert tracker.cleanup(9) == 3  # two conversations, and the tenant globex
    assert tracker.tenants() == ["acme"]
    assert tracker.conversation(Namespace("acme", "ann", "new")).contexts == 1
    assert tracker.total().contexts == 3


def test_figures_end_by_themselves():
    now = 0.0
    tracker = TokenTracker(LocalState(clock=lambda: now), keep_seconds=60)
    tracker.record(MONDAY, context())
    assert tracker.total().contexts == 1
    now = 61.0
    assert tracker.total() == Usage()


@pytest.mark.parametrize("days", [-1, 1.5, True, None])
def test_an_age_that_is_none_is_refused(tracker, days):
    with pytest.raises(InvalidInput, match=r"^days: got"):
        tracker.cleanup(days)
