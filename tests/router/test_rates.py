"""Rate limits: who shares a window, all rules or none, what is given back, a store that is down."""

from __future__ import annotations

import asyncio
import math
import pickle
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage

from rag_memory_plugins.errors import InvalidInput, InvalidURL, MissingExtra, TooManyRequests
from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.portal import at_once
from rag_memory_plugins.router.rate_windows import PARTS, Mark, Rate, Short, Windows
from rag_memory_plugins.router.rates import RateLimit, RateLimits, Refused, Taken

ANN, BEN = Scope("acme", "ann"), Scope("acme", "ben")


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock, *rules, **options) -> RateLimits:
    return RateLimits(rules, clock=clock, wall=clock, **options)


def take(limits, scope=ANN, model="m", tokens=0):
    return at_once(limits.aacquire(scope, model, tokens))


class Store(MemoryStorage):
    """The store of `limits`, which can be cut off, and can keep its callers waiting."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.asked = 0
        self.read = 0
        self.hold: asyncio.Event | None = None
        self.entered = threading.Event()

    async def incr(self, key, expiry, amount=1):
        self.asked += 1
        if self.down:
            raise ConnectionRefusedError
        result = await super().incr(key, expiry, amount)
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        return result

    async def get(self, key):
        self.read += 1  # `incr` reads too
        return await super().get(key)

    @property
    def counted(self) -> int:
        return sum(self.storage.values())


# Rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["", "30", "30/fortnight", "0/minute", 7, None])
def test_a_rate_that_cannot_be_read_is_refused(rate) -> None:
    with pytest.raises(InvalidInput, match=r"^rate: "):
        RateLimit(rate)


@pytest.mark.parametrize("per", ["tennant", (), ("all", "user"), ("user", "sessions")])
def test_a_rule_per_something_unknown_is_refused(per) -> None:
    with pytest.raises(InvalidInput, match=r"^per: "):
        RateLimit("1/minute", per=per)


def test_a_name_of_one_tenant_is_not_taken_for_many_of_one_letter() -> None:
    with pytest.raises(InvalidInput, match=r"^tenants: "):
        RateLimit("1/minute", tenants="acme")


def test_a_rule_that_is_stated_twice_would_count_twice_and_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^rules: "):
        RateLimits([RateLimit("1/minute"), RateLimit("1/minute")])


# Whose window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "others"),
    [
        ("all", []),
        ("tenant", [(Scope("else", "ann"), "m")]),
        ("user", [(Scope("else", "ann"), "m"), (BEN, "m")]),
        ("model", [(ANN, "other")]),
        (("tenant", "model"), [(Scope("else", "ann"), "m"), (ANN, "other")]),
    ],
)
def test_a_rule_tells_apart_what_it_is_per_and_nothing_else(clock, per, others) -> None:
    calls = [(ANN, "m"), (BEN, "m"), (Scope("else", "ann"), "m"), (ANN, "other")]
    limits = made(clock, RateLimit("1/minute", per=per))
    take(limits)
    free = [call for call in calls[1:] if isinstance(take(limits, *call), Taken)]
    assert sorted(map(repr, free)) == sorted(map(repr, others))


@pytest.mark.parametrize("storage", [False, True])
def test_names_that_look_alike_joined_have_windows_of_their_own(clock, storage) -> None:
    limits = made(
        clock,
        RateLimit("1/minute", per=("user", "model")),
        storage=MemoryStorage() if storage else None,
    )
    scopes = [
        Scope("a/b", "c"), Scope("a", "b/c"), Scope("a", "SHARED"), Scope("a", "*"),
        Scope("a", "SharedUser.SHARED"),
        Scope("a", "null"), Scope("a", SHARED), Scope('a", "b', "c"),
    ]  # fmt: skip

    async def all_of_them():
        return [await limits.aacquire(scope, "m") for scope in scopes]

    assert [type(got) for got in asyncio.run(all_of_them())] == [Taken] * len(scopes)


def test_a_user_s_items_are_the_same_user_s(clock) -> None:
    limits = made(clock, RateLimit("1/minute", per="user"))
    take(limits)
    assert isinstance(take(limits, Scope("acme", "ann", items=True)), Refused)


@pytest.mark.parametrize("rule", [{"per": "tenant"}, {"per": "user"}, {"tenants": ("acme",)}])
@pytest.mark.parametrize("scope", [None, "acme/ann"])
def test_nobody_is_not_let_past_a_rule_about_somebody(clock, rule, scope) -> None:
    limits = made(clock, RateLimit("5/minute"), RateLimit("1/minute", **rule))
    with pytest.raises(InvalidInput, match=r"^scope: "):
        take(limits, scope)
    assert len(limits._here) == 0


def test_a_rule_per_model_needs_nobody(clock) -> None:
    assert isinstance(take(made(clock, RateLimit("1/minute", per="model")), None), Taken)


def test_a_rule_for_named_tenants_and_models_is_not_asked_for_others(clock) -> None:
    limits = made(clock, RateLimit("1/minute", tenants=("acme",), models=("dear",)))
    calls = [(ANN, "dear"), (ANN, "cheap"), (Scope("else", "ann"), "dear"), (BEN, "dear")]
    assert [type(take(limits, *call)) for call in calls] == [Taken, Taken, Taken, Refused]


# Windows ----------------------------------------------------------------------------------------


def test_the_window_moves_with_each_call(clock) -> None:
    limits = made(clock, RateLimit("2/minute"))
    times = []
    for clock.now in (0.0, 40.0, 59.9, 61.0, 62.0, 101.0):
        if isinstance(take(limits), Taken):
            times.append(clock.now)
    assert times == [0.0, 40.0, 61.0, 101.0]


def test_who_waits_as_long_as_told_gets_in_and_not_before(clock) -> None:
    limits = made(clock, RateLimit("100/minute", of="tokens"))
    take(limits, tokens=60)
    clock.now = 20.0
    take(limits, tokens=40)
    wait = take(limits, tokens=70).retry_after  # needs both to leave
    assert 60.0 <= wait < 61.0
    clock.now += wait - 0.01
    assert isinstance(take(limits, tokens=70), Refused)
    clock.now += 0.01
    assert isinstance(take(limits, tokens=70), Taken)


def test_a_call_larger_than_the_rule_is_told_that_waiting_is_in_vain(clock) -> None:
    refused = take(made(clock, RateLimit("100/minute", of="tokens")), tokens=101)
    assert refused.retry_after == math.inf
    assert "larger than the limit" in str(refused.error())


def test_a_refused_call_is_counted_in_no_rule(clock) -> None:
    limits = made(clock, RateLimit("2/minute"), RateLimit("100/minute", of="tokens"))
    take(limits, tokens=100)
    assert [take(limits, tokens=50).rule.of for _ in range(5)] == ["tokens"] * 5
    assert isinstance(take(limits, tokens=0), Taken)


def test_of_two_rules_without_room_the_longer_wait_is_told(clock) -> None:
    limits = made(clock, RateLimit("1/minute"), RateLimit("1/hour"))
    take(limits)
    refused = take(limits)
    assert (refused.rule.rate, refused.retry_after > 3_600) == ("1/hour", True)


def test_settling_counts_what_was_used_and_not_what_was_guessed(clock) -> None:
    limits = made(clock, RateLimit("100/minute", of="tokens"))
    first = take(limits, tokens=90)
    at_once(limits.asettle(first, 30))
    second = take(limits, tokens=70)
    at_once(limits.asettle(second, 170))
    assert isinstance(take(limits, tokens=0), Refused)


def test_settling_gives_no_request_back(clock) -> None:
    limits = made(clock, RateLimit("1/minute"))
    at_once(limits.asettle(take(limits, tokens=5), 0))
    assert isinstance(take(limits), Refused)


def test_a_call_that_was_released_was_never_made(clock) -> None:
    limits = made(clock, RateLimit("1/minute"), RateLimit("9/minute", of="tokens"))
    at_once(limits.arelease(take(limits, tokens=9)))
    assert isinstance(take(limits, tokens=9), Taken)


def test_only_the_first_of_settle_and_release_counts(clock) -> None:
    limits = made(clock, RateLimit("100/minute", of="tokens"))
    taken = take(limits, tokens=50)
    for _ in range(3):
        at_once(limits.asettle(taken, 40))
        at_once(limits.arelease(taken))
    assert isinstance(take(limits, tokens=61), Refused)


def test_settling_after_the_window_has_passed_takes_nothing_from_the_next(clock) -> None:
    limits = made(clock, RateLimit("100/minute", of="tokens"))
    taken = take(limits, tokens=100)
    clock.now = 70.0
    take(limits, tokens=100)
    at_once(limits.asettle(taken, 0))
    assert isinstance(take(limits, tokens=1), Refused)


@pytest.mark.parametrize("tokens", [-1, 1.5, True, None])
def test_tokens_that_are_no_number_change_nothing(clock, tokens) -> None:
    limits = made(clock, RateLimit("1/minute", of="tokens"))
    with pytest.raises(InvalidInput, match=r"^tokens: "):
        take(limits, tokens=tokens)
    taken = take(limits, tokens=1)
    with pytest.raises(InvalidInput, match=r"^tokens: "):
        at_once(limits.asettle(taken, tokens))
    assert taken.is_open


STEP = st.tuples(st.integers(0, 9_000), st.integers(0, 6))


@given(st.lists(STEP, max_size=60))
def test_no_stretch_of_a_window_s_length_holds_more_than_the_amount(steps) -> None:
    clock = Clock()
    windows, taken, refused = Windows([Rate(10, 60)], clock), deque(), 0
    for milliseconds, cost in steps:
        clock.now += milliseconds / 1_000
        got = windows.take([Mark(0, (), cost)])
        recent = sum(amount for at, amount in taken if at > clock.now - 60)
        longer = sum(amount for at, amount in taken if at > clock.now - 60 * (1 + 1.01 / PARTS))
        if isinstance(got, Short):
            refused += 1
            assert longer + cost > 10  # at most one part too strict
        else:
            assert recent + cost <= 10
            taken.append((clock.now, cost))


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 5), st.integers(0, 8))))
def test_whatever_is_settled_a_window_s_total_is_that_of_its_parts(steps) -> None:
    clock = Clock()
    windows, open_marks = Windows([Rate(10, 60)], clock), []
    for milliseconds, cost, other in steps:
        clock.now += milliseconds / 1_000
        got = windows.take([Mark(0, (), cost)])
        if not isinstance(got, Short):
            open_marks += got
        if open_marks and other % 2:
            mark = open_marks.pop(other % len(open_marks))
            windows.correct([(mark, other - mark.cost)])
        (window,) = windows._windows[0].values()
        assert window.total == sum(window.parts.values())
        assert min(window.parts.values(), default=0) >= 0


def test_threads_and_loops_at_once_take_exactly_the_amount(clock) -> None:
    limits = made(clock, RateLimit("100/minute"), RateLimit("500/minute", per="user"))

    def some(_):
        async def calls():
            return await asyncio.gather(*(limits.aacquire(ANN, "m") for _ in range(50)))

        return sum(isinstance(got, Taken) for got in asyncio.run(calls()))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(some, range(8))) == 100


def test_users_who_left_are_forgotten_and_no_thread_is_started(clock) -> None:
    before = threading.active_count()
    limits = made(clock, RateLimit("5/second", per="user"), most_keys=50)
    for number in range(500):
        clock.now = number / 10
        take(limits, Scope("acme", f"user {number}"))
    assert len(limits._here) < 15
    for number in range(500):
        take(limits, Scope("acme", f"other {number}"))
    assert len(limits._here) <= 50
    assert threading.active_count() == before


def test_over_most_keys_who_was_longest_idle_is_forgotten(clock) -> None:
    limits = made(clock, RateLimit("2/minute", per="user"), most_keys=2)
    for scope in (ANN, BEN, ANN, Scope("acme", "cay")):
        clock.now += 1
        take(limits, scope)
    assert isinstance(take(limits, ANN), Refused)


def test_a_busy_window_costs_no_more_memory_than_its_parts(clock) -> None:
    limits = made(clock, RateLimit("1000000/minute"))
    for number in range(5_000):
        clock.now = number / 10
        take(limits)
    (window,) = limits._here._windows[0].values()
    assert len(window.parts) <= PARTS + 1


def test_a_refusal_is_an_event_and_a_typed_error(clock) -> None:
    seen = []
    limits = made(clock, RateLimit("1/minute", per="tenant"), hooks=(seen.append,))
    take(limits)
    error = take(limits).error()
    (event,) = seen
    assert (event.name, event.scope) == ("rates.refused", "acme/ann")
    assert event.data["rule"] == error.rule == "1/minute of requests per tenant"
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, TooManyRequests)
    assert (copy.rule, copy.retry_after, str(copy)) == (error.rule, error.retry_after, str(error))


# A store that processes share -------------------------------------------------------------------


@pytest.mark.parametrize("url", ["nowhere://host", "memcached+nothing://host"])
def test_a_store_that_limits_does_not_know_is_refused_at_once(clock, url) -> None:
    with pytest.raises(InvalidURL, match=r"^storage: "):
        made(clock, RateLimit("1/minute"), storage=url)


def test_a_store_whose_client_is_missing_names_the_extra(clock, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[redis\]"):
        made(clock, RateLimit("1/minute"), storage="redis://host")


def test_nothing_of_limits_is_loaded_before_a_rule_is_stated() -> None:
    code = "import sys, rag_memory_plugins.router.rates; print('limits' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"


def test_a_password_in_a_store_s_url_is_not_in_the_error(clock) -> None:
    with pytest.raises(InvalidURL) as error:
        made(clock, RateLimit("1/minute"), storage="nowhere://ann:secret@host")
    assert "secret" not in str(error.value)


def test_a_store_may_be_named_by_its_url(clock) -> None:
    limits = made(clock, RateLimit("1/minute"), storage="memory://")

    async def two():
        return [type(await limits.aacquire(ANN, "m")) for _ in range(2)]

    assert asyncio.run(two()) == [Taken, Refused]


def shared(clock, store, *rules, **options) -> RateLimits:
    return made(clock, *rules, storage=store, timeout=60.0, **options)


async def test_two_that_share_a_store_take_the_amount_between_them(clock) -> None:
    store = Store()
    rules = (RateLimit("10/minute"), RateLimit("9/minute", per="user"))
    both = [shared(clock, store, *order) for order in (rules, rules[::-1])]
    got = await asyncio.gather(*(both[n % 2].aacquire(ANN, "m") for n in range(40)))
    assert 1 <= sum(isinstance(item, Taken) for item in got) <= 9
    while isinstance(await both[0].aacquire(ANN, "m"), Taken):
        pass
    assert store.counted == 18  # nine of each rule: what was refused is counted nowhere


async def test_a_shared_window_moves_and_who_waits_gets_in(clock) -> None:
    limits = shared(clock, Store(), RateLimit("2/minute"))
    for clock.now in (0.0, 30.0):
        await limits.aacquire(ANN, "m")
    clock.now = 59.0
    refused = await limits.aacquire(ANN, "m")
    assert refused.retry_after == 16.0  # the first part, of 15 s, leaves 60 s after its end
    clock.now += refused.retry_after
    assert isinstance(await limits.aacquire(ANN, "m"), Taken)


async def test_what_was_settled_or_released_is_given_back_to_a_store(clock) -> None:
    store = Store()
    limits = shared(clock, store, RateLimit("100/minute", of="tokens"))
    await limits.asettle(await limits.aacquire(ANN, "m", 90), 30)
    await limits.arelease(await limits.aacquire(ANN, "m", 70))
    assert store.counted == 30


async def test_a_call_larger_than_a_shared_rule_is_told_that_waiting_is_in_vain(clock) -> None:
    limits = shared(clock, Store(), RateLimit("100/minute", of="tokens"))
    assert (await limits.aacquire(ANN, "m", 101)).retry_after == math.inf


async def test_what_is_settled_later_is_given_back_while_its_part_counts(clock) -> None:
    store = Store()
    limits = shared(clock, store, RateLimit("100/minute", of="tokens"))
    early, late = await limits.aacquire(ANN, "m", 40), await limits.aacquire(ANN, "m", 40)
    clock.now = 74.0
    await limits.asettle(early, 10)
    assert isinstance(await limits.aacquire(ANN, "m", 51), Refused)
    assert isinstance(await limits.aacquire(ANN, "m", 50), Taken)
    clock.now = 75.0
    await limits.asettle(late, 0)
    assert store.counted == 100


async def test_ended_parts_are_read_once_a_second(clock) -> None:
    store = Store()
    limits = shared(clock, store, RateLimit("100/minute"))
    for _ in range(10):
        await limits.aacquire(ANN, "m")
    assert (store.asked, store.read - store.asked) == (10, 4)
    clock.now = 1.0
    await limits.aacquire(ANN, "m")
    assert (store.asked, store.read - store.asked) == (11, 8)


async def test_no_user_s_name_is_written_into_a_store(clock) -> None:
    store = Store()
    await shared(clock, store, RateLimit("9/minute", per="user")).aacquire(ANN, "m")
    assert [key for key in store.storage if "ann" in key or "acme" in key] == []


async def test_a_caller_that_is_cancelled_leaves_nothing_counted_in_a_store(clock) -> None:
    store = Store()
    store.hold = asyncio.Event()
    limits = shared(clock, store, RateLimit("9/minute"))
    call = asyncio.create_task(limits.aacquire(ANN, "m"))
    await asyncio.to_thread(store.entered.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    from rag_memory_plugins.portal import get_portal
    from rag_memory_plugins.router.outage import _undoing

    async def let_go():
        store.hold.set()
        while _undoing:
            await asyncio.gather(*_undoing)

    await get_portal().acall(let_go())
    assert store.counted == 0


# A store that is down ---------------------------------------------------------------------------


def down(clock, *rules, **options) -> tuple[RateLimits, Store, list]:
    store, seen = Store(), []
    store.down = True
    return shared(clock, store, *rules, hooks=(seen.append,), **options), store, seen


async def test_without_its_store_a_process_takes_its_part_of_the_amount(clock) -> None:
    limits, _, _ = down(clock, RateLimit("12/minute"), processes=4)
    got = [await limits.aacquire(ANN, "m") for _ in range(5)]
    assert [type(item) for item in got] == [Taken] * 3 + [Refused] * 2
    assert all(item.degraded for item in got)


async def test_without_its_store_all_may_be_refused_for_a_second(clock) -> None:
    limits, _, _ = down(clock, RateLimit("12/minute"), when_down="refuse")
    refused = await limits.aacquire(ANN, "m")
    assert (refused.retry_after, refused.degraded) == (1.0, True)


async def test_without_its_store_all_may_be_let_through(clock) -> None:
    limits, _, _ = down(clock, RateLimit("1/minute"), when_down="allow")
    got = [await limits.aacquire(ANN, "m") for _ in range(5)]
    assert all(isinstance(item, Taken) and item.degraded for item in got)


async def test_a_call_too_large_for_a_process_s_part_may_come_back_when_the_store_does(clock):
    limits, _, _ = down(clock, RateLimit("100/minute", of="tokens"), processes=4)
    assert (await limits.aacquire(ANN, "m", 60)).retry_after == 1.0
    assert (await limits.aacquire(ANN, "m", 101)).retry_after == math.inf


async def test_a_store_that_is_down_is_asked_once_a_second(clock) -> None:
    limits, store, seen = down(clock, RateLimit("100/minute"))
    for _ in range(10):
        await limits.aacquire(ANN, "m")
    assert store.asked == 1
    clock.now = 1.0
    await limits.aacquire(ANN, "m")
    assert store.asked == 2
    assert [event.name for event in seen] == ["rates.store_down"] * 2
    assert seen[0].data == {"error": "ConnectionRefusedError", "when_down": "local"}


async def test_a_store_that_is_back_counts_again(clock) -> None:
    limits, store, seen = down(clock, RateLimit("8/minute"))
    lost = await limits.aacquire(ANN, "m")
    store.down, clock.now = False, 1.0
    assert not (await limits.aacquire(ANN, "m")).degraded
    assert seen[-1].name == "rates.store_back"
    await limits.arelease(lost)  # it was counted here and is given back here
    assert store.counted == 1


async def test_a_store_that_goes_down_in_mid_call_keeps_the_estimate(clock) -> None:
    limits, store, seen = down(clock, RateLimit("100/minute", of="tokens"))
    store.down = False
    taken = await limits.aacquire(ANN, "m", 60)
    store.down = True
    await limits.asettle(taken, 10)
    assert (store.counted, seen[-1].name) == (60, "rates.store_down")


async def test_a_store_that_hangs_is_down(clock) -> None:
    store, seen = Store(), []
    store.hold = asyncio.Event()
    limits = RateLimits(
        [RateLimit("9/minute")], storage=store, timeout=0.01, clock=clock, hooks=(seen.append,)
    )
    assert (await limits.aacquire(ANN, "m")).degraded
    assert seen[0].name == "rates.store_down"


@pytest.mark.parametrize(
    "options", [{"when_down": "ignore"}, {"processes": 0}, {"timeout": 0}, {"timeout": math.nan}]
)
def test_settings_of_an_outage_are_checked(clock, options) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(options))}: "):
        made(clock, RateLimit("1/minute"), **options)
