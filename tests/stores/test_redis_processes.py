"""Four processes over one Redis: one probe, no more calls than a rate, no more money than a budget."""

from __future__ import annotations

import json
import os
import time

import pytest

from rag_memory_plugins.testing.redis_server import RedisServer
from tests.stores.forks import said_by

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PROCESSES = 4

# Each waits for the others at the server, so that they ask at once; then says what it got.
IMPORTS = """
import asyncio, json, sys, time
import limits.aio.storage, redis.asyncio
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router import Budget, Budgets, RateLimit, RateLimits
from rag_memory_plugins.router.breaker import Permit
from rag_memory_plugins.router.breakers import Breakers
from rag_memory_plugins.router.budgets import Spent
from rag_memory_plugins.router.rates import Taken
from rag_memory_plugins.stores.redis import RedisState
"""

BEGIN = """
url, start = sys.argv[2], float(sys.argv[3])
state = RedisState(url, timeout=30)
async def together(name):
    client = redis.asyncio.Redis.from_url(url)
    await client.incr(name)
    async def all_there():
        while int(await client.get(name)) < 4:
            await asyncio.sleep(0.001)
    await asyncio.wait_for(all_there(), 30)
    await client.aclose()
"""

PROBES = (
    BEGIN
    + """
async def run():
    now = start
    breakers = Breakers(state, clock=lambda: now, patience=30)
    first = await breakers.aallow("groq/llama")
    await together("known")
    if number == 0:
        breakers.failed(first, at_once=True, cool_down=10)
        await breakers.adrain()
    await together("opened")
    now = start + 2
    await breakers.aallow("groq/llama")  # while it was closed here, the look is behind the call
    await breakers.adrain()
    await together("all know")
    probes = 0
    for turn in range(20):
        now = start + 20 + 3 * turn
        answers = await asyncio.gather(*(breakers.aallow("groq/llama", lease=1) for _ in range(5)))
        got = [answer for answer in answers if isinstance(answer, Permit)]
        assert all(permit.probe for permit in got), got
        print(json.dumps([turn, len(got)]))
        await together(f"asked {turn}")
asyncio.run(run())
"""
)

BUDGETS = (
    BEGIN
    + """
async def run():
    budgets = Budgets(tenant=Budget(0.001, per=None), shared=state, timeout=30, clock=lambda: start)
    ann = Scope("acme", "ann")
    await together("ready")
    async def spend():
        held = await budgets.areserve(ann, 10_000)
        if isinstance(held, Spent):
            return 0
        await budgets.asettle(held, 10_000)
        return 1
    spent = sum(await asyncio.gather(*(spend() for _ in range(50))))
    print(json.dumps(spent))
asyncio.run(run())
"""
)

RATES = (
    BEGIN
    + """
async def run():
    limits = RateLimits([RateLimit("60/minute", per="tenant")], storage=url, timeout=30,
                        wall=lambda: start)
    ann = Scope("acme", "ann")
    await together("ready")
    taken = [await limits.aacquire(ann, "m") for _ in range(30)]
    assert not any(each.degraded for each in taken)
    print(json.dumps(sum(isinstance(each, Taken) for each in taken)))
asyncio.run(run())
"""
)

ADDS = (
    BEGIN
    + """
async def run():
    await together("ready")
    await asyncio.gather(*(state.aadd(f"key {turn % 7}", {"x": 1, str(number): 1}, 600)
                           for turn in range(350)))
asyncio.run(run())
"""
)


@pytest.fixture(scope="module")
def running():
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(running):
    running.stop()
    running.start()
    return running


@pytest.fixture
def told(server, tmp_path):
    """`told(program)`: what four processes print, a list of values each."""

    def run(program):
        arguments = (server.url, str(time.time()))
        said = said_by(PROCESSES, program, *arguments, imports=IMPORTS, folder=tmp_path)
        return [[json.loads(line) for line in out.splitlines()] for out in said]

    return run


def test_of_four_processes_one_gets_the_probe_each_time(told):
    answers = [turn for lines in told(PROBES) for turn in lines]
    for turn in range(20):
        assert sum(got for number, got in answers if number == turn) == 1


def test_four_processes_spend_no_more_than_their_budget(told):
    assert sum(spent for (spent,) in told(BUDGETS)) == 100


def test_four_processes_take_no_more_calls_than_a_rate(told):
    taken = sum(taken for (taken,) in told(RATES))
    assert 45 <= taken <= 60  # calls that are refused at once are counted for a moment


def test_no_amount_of_four_processes_is_lost(server, told):
    told(ADDS)
    import asyncio

    from rag_memory_plugins.stores.redis import RedisState

    async def story():
        state = RedisState(server.url, timeout=30)
        for turn in range(7):
            numbers = await state.aget(f"key {turn}")
            assert numbers == {"x": 200, **{str(number): 50 for number in range(PROCESSES)}}
        await state.aclose()

    asyncio.run(story())
