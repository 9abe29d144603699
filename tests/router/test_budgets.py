"""Budgets: nothing is overspent, whoever calls at once, in one process or several."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import BudgetSpent, InvalidInput, StoreClosed, StoreLocked
from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.portal import at_once, get_portal
from rag_memory_plugins.router.accounts import window
from rag_memory_plugins.router.budgets import Budget, Budgets, Reservation, Spent
from rag_memory_plugins.router.money import NANO, nano_dollars
from rag_memory_plugins.router.outage import _undoing
from rag_memory_plugins.stores.local_state import LocalState

ANN, BEN, ELSE = Scope("acme", "ann"), Scope("acme", "ben"), Scope("else", "ann")
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc).timestamp()
TEN = Budget(Decimal(10) / NANO, per=None)  # ten nano-dollars


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reserve(budgets, scope=ANN, amount=1):
    return at_once(budgets.areserve(scope, amount))


def settle(budgets, held, amount):
    at_once(budgets.asettle(held, amount))


def level(budgets, scope=ANN):
    return at_once(budgets.alevel(scope))


class State(LocalState):
    """Shared numbers that can be cut off, and can keep their callers waiting."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.down: bool | str = False  # or what of it is
        self.error: Exception = ConnectionRefusedError()
        self.asked = 0
        self.hold: asyncio.Event | None = None
        self.entered = threading.Event()

    def _ask(self, key: str) -> None:
        self.asked += 1
        if self.down is True or (self.down and self.down in key):
            raise self.error

    async def aadd(self, key, amounts, seconds):
        self._ask(key)
        await asyncio.sleep(0)
        await super().aadd(key, amounts, seconds)

    async def aget(self, key):
        self._ask(key)
        await asyncio.sleep(0)  # somebody else may come between reading and writing
        return await super().aget(key)

    async def aswap(self, key, expected, numbers, seconds):
        self._ask(key)
        done = await super().aswap(key, expected, numbers, seconds)
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        return done

    def of(self, whose) -> dict[str, int]:
        """The numbers of the account whose key holds `whose`, without what is zero."""
        (key,) = [key for key in at_once(self.akeys("budget/")) if f"/{whose}/" in key]
        return {name: number for name, number in self._entries[key][0].items() if number}


# Budgets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("usd", [-1, math.nan, math.inf, "much", None])
def test_a_limit_that_is_no_money_is_refused(usd) -> None:
    with pytest.raises(InvalidInput, match="usd: "):
        Budget(usd)


@pytest.mark.parametrize("per", ["week", 0, -5, math.nan, math.inf, True])
def test_a_period_that_is_no_time_is_refused(per) -> None:
    with pytest.raises(InvalidInput, match=r"^per: "):
        Budget(1.0, per=per)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "half"])
def test_a_share_that_is_none_is_refused(share) -> None:
    with pytest.raises(InvalidInput, match=r"^cheaper_from: "):
        Budget(1.0, cheaper_from=share)


@given(st.lists(st.decimals(0, 100, places=9), max_size=50))
def test_nano_dollars_add_up_to_the_last_digit(amounts) -> None:
    assert sum(map(nano_dollars, amounts)) == nano_dollars(sum(amounts, Decimal(0)))


def test_less_than_a_nano_dollar_is_one() -> None:
    assert nano_dollars("0.0000000001") == 1


@pytest.mark.parametrize(
    ("per", "now", "name", "until"),
    [
        ("hour", "2026-11-21T12:34:56", "hour/498684", "2026-11-21T13:00:00"),
        ("day", "2026-12-31T23:59:59.900", "day/20818", "2027-01-01T00:00:00"),
        ("month", "2026-12-31T23:59:59.900", "month/2026-12", "2027-01-01T00:00:00"),
        ("month", "2028-02-01T00:00:00", "month/2028-02", "2028-03-01T00:00:00"),
        (90, "1970-01-01T00:01:31", "90/1", "1970-01-01T00:03:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(per, now, name, until) -> None:
    def at(text):
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()

    assert window(per, at(now)) == (name, at(until))


@pytest.mark.parametrize("per", ["hour", "day", "month"])
@given(now=st.floats(0, 4e9))
def test_a_window_begins_where_the_one_before_it_ends(per, now) -> None:
    name, until = window(per, now)
    assert now < until
    assert window(per, until - 1e-3)[0] == name
    assert window(per, until)[0] != name


# Holding and spending ---------------------------------------------------------------------------


def test_what_is_held_cannot_be_spent_by_another(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    reserve(budgets, amount=7)
    spent = reserve(budgets, BEN, amount=4)
    assert (spent.whose, spent.limit, spent.used, spent.left) == ("acme", 10, 7, 3)
    assert isinstance(reserve(budgets, BEN, amount=3), Reservation)


def test_what_a_call_did_not_cost_is_given_back(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    settle(budgets, reserve(budgets, amount=10), 4)
    assert isinstance(reserve(budgets, amount=7), Spent)
    assert isinstance(reserve(budgets, amount=6), Reservation)


def test_a_call_that_was_released_cost_nothing(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    at_once(budgets.arelease(reserve(budgets, amount=10)))
    assert isinstance(reserve(budgets, amount=10), Reservation)


def test_after_a_call_dearer_than_held_the_next_is_refused(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    settle(budgets, reserve(budgets, amount=2), 25)
    spent = reserve(budgets, amount=1)
    assert (spent.used, spent.left) == (25, 0)


def test_what_costs_nothing_is_never_refused(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    settle(budgets, reserve(budgets, amount=2), 25)
    assert isinstance(reserve(budgets, amount=0), Reservation)


def test_only_the_first_of_settle_and_release_counts(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    held = reserve(budgets, amount=5)
    for _ in range(3):
        settle(budgets, held, 4)
        at_once(budgets.arelease(held))
    assert reserve(budgets, amount=7).used == 4


def test_a_user_s_budget_stands_beside_the_tenant_s(clock) -> None:
    budgets = Budgets(tenant=TEN, user=Budget("0.000000004", per=None), clock=clock)
    reserve(budgets, ANN, 3)
    assert reserve(budgets, ANN, 2).whose == "acme/ann"
    reserve(budgets, BEN, 4)
    reserve(budgets, Scope("acme", SHARED), 3)
    assert reserve(budgets, Scope("acme", "cay"), 1).whose == "acme"
    assert isinstance(reserve(budgets, ELSE, 4), Reservation)


def test_a_call_refused_by_one_budget_is_held_in_none(clock) -> None:
    budgets = Budgets(tenant=TEN, user=Budget("0.000000004", per=None), clock=clock)
    assert [type(reserve(budgets, ANN, 5)) for _ in range(3)] == [Spent] * 3
    assert [type(reserve(budgets, who, 4)) for who in (ANN, BEN)] == [Reservation] * 2


def test_who_is_named_has_a_budget_of_their_own(clock) -> None:
    named = {"else": Budget("0.00000002"), ANN: Budget("0.000000001"), "free": None}
    budgets = Budgets(tenant=TEN, named=named, clock=clock)
    assert reserve(budgets, ELSE, 21).limit == 20
    assert reserve(budgets, ANN, 2).limit == 1
    assert reserve(budgets, BEN, 11).limit == 10
    assert isinstance(reserve(budgets, Scope("free", "ann"), NANO), Reservation)


def test_names_that_look_alike_joined_have_money_of_their_own(clock) -> None:
    budgets = Budgets(user=TEN, clock=clock)
    scopes = [
        Scope("a/b", "c"), Scope("a", "b/c"), Scope("a", "*"), Scope("a", SHARED), Scope("a", "SHARED"),
    ]  # fmt: skip
    assert [type(reserve(budgets, scope, 10)) for scope in scopes] == [Reservation] * 5


def test_a_user_s_items_spend_the_user_s_money(clock) -> None:
    budgets = Budgets(user=TEN, clock=clock)
    reserve(budgets, ANN, 10)
    assert isinstance(reserve(budgets, Scope("acme", "ann", items=True), 1), Spent)


@pytest.mark.parametrize("scope", [None, "acme/ann"])
def test_nobody_has_no_money_where_there_are_budgets(clock, scope) -> None:
    budgets = Budgets(named={"acme": TEN}, clock=clock)
    with pytest.raises(InvalidInput, match=r"^scope: "):
        reserve(budgets, scope)
    with pytest.raises(InvalidInput, match=r"^scope: "):
        level(budgets, scope)


def test_without_budgets_anybody_may_spend(clock) -> None:
    budgets = Budgets(clock=clock)
    settle(budgets, reserve(budgets, None, NANO), NANO)
    assert level(budgets, None) == "free"


@pytest.mark.parametrize("amount", [-1, 0.5, True, None])
def test_an_amount_that_is_no_money_changes_nothing(clock, amount) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    with pytest.raises(InvalidInput, match=r"^amount: "):
        reserve(budgets, ANN, amount)
    held = reserve(budgets, ANN, 1)
    with pytest.raises(InvalidInput, match=r"^amount: "):
        settle(budgets, held, amount)
    assert held.is_open


def test_the_next_day_begins_with_all_of_its_money(clock) -> None:
    budgets = Budgets(tenant=Budget(TEN.limit_usd, per="day"), clock=clock)
    settle(budgets, reserve(budgets, amount=10), 10)
    spent = reserve(budgets)
    assert spent.until == datetime(2026, 11, 22, tzinfo=timezone.utc)
    clock.now = spent.until.timestamp() - 1
    assert isinstance(reserve(budgets), Spent)
    clock.now += 1
    assert isinstance(reserve(budgets, amount=10), Reservation)


def test_a_call_over_midnight_is_paid_by_the_day_it_began(clock) -> None:
    budgets = Budgets(tenant=Budget(TEN.limit_usd, per="day"), clock=clock)
    held = reserve(budgets, amount=10)
    clock.now += 86_400
    settle(budgets, held, 10)
    assert isinstance(reserve(budgets, amount=10), Reservation)


def test_money_of_a_call_that_never_ended_comes_back_with_its_lease(clock) -> None:
    budgets = Budgets(tenant=TEN, lease=80, clock=clock)
    lost = reserve(budgets, amount=10)
    clock.now += 80
    assert isinstance(reserve(budgets), Spent)
    clock.now += 11  # leases end together, in steps of an eighth
    assert isinstance(reserve(budgets, amount=9), Reservation)
    settle(budgets, lost, 6)  # it was alive after all: what it cost is spent
    assert reserve(budgets).used == 15


def test_accounts_of_windows_that_ended_are_dropped(clock) -> None:
    budgets = Budgets(user=Budget(1.0, per="hour"), tenant=Budget(1.0, per=None), clock=clock)
    for number in range(300):
        clock.now += 600
        reserve(budgets, Scope("acme", f"user {number}"))
    assert len(budgets._here) <= 7


def test_the_level_goes_from_free_to_cheaper_to_spent(clock) -> None:
    budgets = Budgets(tenant=TEN, clock=clock)
    levels = [level(budgets)]
    for _ in range(10):
        reserve(budgets)
        levels.append(level(budgets))
    assert levels == ["free"] * 8 + ["cheaper"] * 2 + ["spent"]
    assert level(budgets, ELSE) == "free"


def test_the_level_is_that_of_the_budget_nearest_its_end(clock) -> None:
    budgets = Budgets(tenant=Budget(1.0), user=TEN, clock=clock)
    reserve(budgets, ANN, 8)
    assert (level(budgets, ANN), level(budgets, BEN)) == ("cheaper", "free")


def test_a_refusal_is_an_event_and_a_typed_error(clock) -> None:
    seen = []
    budgets = Budgets(tenant=Budget(0.5, per="month"), hooks=(seen.append,), clock=clock)
    error = reserve(budgets, amount=NANO).error()
    (event,) = seen
    assert (event.name, event.scope, event.data["amount"]) == ("budgets.refused", ANN.key, NANO)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, BudgetSpent)
    assert (copy.limit_usd, copy.spent_usd, copy.left_usd) == (0.5, 0.0, 0.5)
    assert copy.until == datetime(2026, 12, 1, tzinfo=timezone.utc)


# At once ----------------------------------------------------------------------------------------

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "settle", "release", "wait"]),
        st.integers(0, 6),
        st.integers(0, 6),
    ),
    max_size=80,
)


@pytest.mark.parametrize("in_common", [False, True])
@given(steps=CALLS)
def test_held_and_spent_never_pass_the_limit_but_by_what_a_call_was_dearer(in_common, steps):
    clock = Clock()
    state = LocalState(clock) if in_common else None
    budgets = Budgets(tenant=TEN, lease=1e6, clock=clock, shared=state)
    running, spent, dearer = [], 0, 0

    async def all_steps():
        nonlocal spent, dearer
        for kind, amount, other in steps:
            held = sum(item.amount for item in running)
            if kind == "wait":
                clock.now += other
            elif kind == "reserve":
                got = await budgets.areserve(ANN, amount)
                fits = not amount or held + spent + amount <= 10
                assert isinstance(got, Reservation if fits else Spent)
                if fits:
                    running.append(got)
            elif running:
                item = running.pop(other % len(running))
                if kind == "release":
                    await budgets.arelease(item)
                else:
                    await budgets.asettle(item, other)
                    spent += other
                    dearer += max(other - item.amount, 0)
            assert sum(item.amount for item in running) + spent <= 10 + dearer

    if in_common:
        get_portal().call(all_steps())
    else:
        at_once(all_steps())


def test_a_hundred_calls_at_once_from_threads_and_tasks_overspend_nothing(clock) -> None:
    budgets = Budgets(tenant=Budget("0.000001", per=None), clock=clock)  # 1,000 nano-dollars
    most = []

    async def call(number):
        held = await budgets.areserve(ANN, 90)
        if isinstance(held, Spent):
            return 0
        await asyncio.sleep(0)
        most.append(budgets._here.used(held.accounts[0]))
        await budgets.asettle(held, 40 + number % 50)
        return 40 + number % 50

    def some(_):
        async def calls():
            return sum(await asyncio.gather(*(call(number) for number in range(100))))

        return asyncio.run(calls())

    with ThreadPoolExecutor(8) as threads:
        total = sum(threads.map(some, range(8)))
    assert max(most) <= 1_000
    assert budgets._here.used(budgets._accounts(ANN, clock.now)[0]) == total <= 1_000


# Shared by processes ----------------------------------------------------------------------------


def shared(clock, state, **options) -> Budgets:
    return Budgets(shared=state, clock=clock, timeout=60.0, **{"tenant": TEN, **options})


def test_processes_that_share_their_accounts_overspend_nothing(clock) -> None:
    state = State(clock)
    four = [shared(clock, state, user=TEN) for _ in range(4)]

    def process(budgets):
        async def calls():
            got = await asyncio.gather(*(budgets.areserve(ANN, 1) for _ in range(25)))
            held = [item for item in got if isinstance(item, Reservation)]
            await asyncio.gather(*(budgets.asettle(item, 1) for item in held))
            return len(held)

        return asyncio.run(calls())

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(process, four)) == 10
    assert (state.of("tenant/acme"), state.of("acme/ann")) == ({"spent": 10}, {"spent": 10})


def test_who_read_an_account_before_another_wrote_it_reads_it_again(clock) -> None:
    state = State(clock)
    four = [shared(clock, state) for _ in range(4)]

    async def calls(budgets):
        return [isinstance(await budgets.areserve(ANN, 1), Reservation) for _ in range(25)]

    async def all_of_them():  # on the portal itself: they take turns in the same order every time
        return await asyncio.gather(*map(calls, four))

    got = get_portal().call(all_of_them())
    assert sum(map(sum, got)) == 10
    assert sum(map(any, got)) > 1
    assert sum(state.of("tenant/acme").values()) == 10


async def test_calls_at_once_wait_for_one_swap_and_not_for_each_other(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state, tenant=Budget(1.0))
    await asyncio.gather(*(budgets.areserve(ANN, 1) for _ in range(500)))
    (held,) = state.of("tenant/acme").values()
    assert (held, state.asked < 100) == (500, True)


async def test_who_waited_too_long_for_a_swap_holds_nothing(clock) -> None:
    state = State(clock)
    state.hold = asyncio.Event()
    budgets = Budgets(tenant=TEN, shared=state, clock=clock, timeout=0.01)
    assert (await budgets.areserve(ANN, 2)).degraded
    state.hold = None
    clock.now += 2_000  # its swap may have been made all the same: the lease ends that
    assert isinstance(await shared(clock, state).areserve(ANN, 10), Reservation)


async def test_a_call_refused_by_the_user_s_budget_gives_the_tenant_s_back(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state, user=Budget("0.000000004", per=None))
    assert isinstance(await budgets.areserve(ANN, 5), Spent)
    assert state.of("tenant/acme") == {}


async def test_a_process_that_crashed_gives_its_money_back_to_the_others(clock) -> None:
    state = State(clock)
    await shared(clock, state, lease=80).areserve(ANN, 10)
    other = shared(clock, state, lease=80)
    assert isinstance(await other.areserve(ANN, 1), Spent)
    clock.now += 91
    assert isinstance(await other.areserve(ANN, 10), Reservation)


async def test_a_window_s_account_is_not_kept_for_ever(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state, tenant=Budget(1.0, per="hour"), lease=60)
    await budgets.asettle(await budgets.areserve(ANN, 5), 5)
    assert state.of("tenant/acme") == {"spent": 5}
    clock.now += 2 * 3_600
    assert await state.akeys("budget/") == []


async def test_a_caller_that_is_cancelled_holds_nothing_in_common_accounts(clock) -> None:
    state = State(clock)
    state.hold = asyncio.Event()
    call = asyncio.create_task(shared(clock, state).areserve(ANN, 10))
    await asyncio.to_thread(state.entered.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async def let_go():
        state.hold.set()
        while _undoing:
            await asyncio.gather(*_undoing)

    await get_portal().acall(let_go())
    assert state.of("tenant/acme") == {}


async def test_the_level_is_that_of_all_processes(clock) -> None:
    state = State(clock)
    await shared(clock, state).areserve(ANN, 8)
    assert await shared(clock, state).alevel(ANN) == "cheaper"


# Shared numbers that are down -------------------------------------------------------------------


async def test_without_its_state_a_process_spends_its_part_of_what_was_left(clock) -> None:
    state, seen = State(clock), []
    budgets = shared(clock, state, processes=2, hooks=(seen.append,))
    await budgets.asettle(await budgets.areserve(ANN, 4), 4)
    state.down = True
    got = [await budgets.areserve(ANN, 1) for _ in range(4)]
    assert [type(item) for item in got] == [Reservation] * 3 + [Spent]
    assert all(item.degraded for item in got)
    assert await budgets.alevel(ANN) == "spent"
    assert [event.name for event in seen] == ["budgets.store_down", "budgets.refused"]


@pytest.mark.parametrize(("when_down", "kind", "stand"), [("refuse", Spent, "spent"), ("allow", Reservation, "free")])  # fmt: skip
async def test_without_its_state_all_may_be_refused_or_let_through(clock, when_down, kind, stand):
    state = State(clock)
    state.down = True
    budgets = shared(clock, state, when_down=when_down)
    got = await budgets.areserve(ANN, 100)
    assert (type(got), got.degraded, await budgets.alevel(ANN)) == (kind, True, stand)


async def test_who_is_refused_without_the_state_may_come_back_in_a_second(clock) -> None:
    state = State(clock)
    state.down = True
    spent = await shared(clock, state, when_down="refuse").areserve(ANN, 1)
    assert spent.until == datetime.fromtimestamp(NOON + 1, timezone.utc)


async def test_a_state_that_is_down_is_asked_once_a_second(clock) -> None:
    state = State(clock)
    state.down = True
    budgets = shared(clock, state)
    for _ in range(10):
        await budgets.areserve(ANN, 0)
    assert state.asked == 1


async def test_money_spent_without_the_state_is_written_when_it_is_back(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state, when_down="allow")
    before = await budgets.areserve(ANN, 2)
    state.down = True
    await budgets.asettle(before, 1)
    await budgets.asettle(await budgets.areserve(ANN, 5), 3)
    running = await budgets.areserve(ANN, 4)
    state.down, clock.now = False, NOON + 1
    assert (await budgets.areserve(ANN, 3)).used == 8  # 1 and 3 spent, 4 held
    await budgets.asettle(running, 0)
    assert state.of("tenant/acme") == {"spent": 4}


async def test_what_was_spent_in_one_outage_is_not_counted_twice_in_the_next(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state, processes=2)
    state.down = True
    await budgets.asettle(await budgets.areserve(ANN, 5), 5)
    state.down, clock.now = False, NOON + 1
    await budgets.asettle(await budgets.areserve(ANN, 1), 1)
    state.down = True
    assert isinstance(await budgets.areserve(ANN, 2), Reservation)  # half of 10 - 6
    assert isinstance(await budgets.areserve(ANN, 1), Spent)


async def test_a_tenant_s_money_is_held_once_when_the_user_s_account_does_not_answer(clock):
    state = State(clock)
    state.down = "budget/user/"
    budgets = shared(clock, state, user=TEN, when_down="allow")
    held = await budgets.areserve(ANN, 4)
    state.down, clock.now = False, NOON + 1
    await budgets.aclose()
    assert sum(state.of("tenant/acme").values()) == 4
    await budgets.asettle(held, 1)
    assert (state.of("tenant/acme"), state.of("acme/ann")) == ({"spent": 1}, {"spent": 1})


@pytest.mark.parametrize("error", [StoreLocked("busy"), OSError("gone"), asyncio.TimeoutError()])
async def test_whatever_the_state_raises_it_is_down(clock, error) -> None:
    state = State(clock)
    state.down, state.error = True, error
    assert (await shared(clock, state).areserve(ANN, 1)).degraded


async def test_a_state_that_was_closed_is_a_mistake_and_not_an_outage(clock) -> None:
    state = State(clock)
    await state.aclose()
    with pytest.raises(StoreClosed):
        await shared(clock, state).areserve(ANN, 1)


async def test_what_is_owed_is_written_at_the_end(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state)
    held = await budgets.areserve(ANN, 2)
    state.down = True
    await budgets.asettle(held, 2)
    state.down = False
    await budgets.aclose()
    assert state.of("tenant/acme") == {"spent": 2}


async def test_a_caller_cancelled_while_it_settles_has_settled(clock) -> None:
    state = State(clock)
    budgets = shared(clock, state)
    held = await budgets.areserve(ANN, 5)
    task = asyncio.create_task(budgets.asettle(held, 3))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await budgets.aclose()
    assert (await budgets.areserve(ANN, 8)).used == 3


@pytest.mark.parametrize(
    "options", [{"when_down": "ignore"}, {"processes": 0}, {"timeout": 0}, {"lease": 0.5}]
)
def test_settings_are_checked(options) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(options))}: "):
        Budgets(**options)
