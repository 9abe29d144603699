"""Remote engines behind a proxy that breaks them: the chat goes on, in time, and says what is off.

Stores of vectors and Redis cost a turn `PATIENCE` once and then nothing; a Postgres log that is
gone is a `StoreError` in time. Nothing is acknowledged that is not there afterwards.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from llama_index.core.base.llms.types import ChatMessage

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import StoreError, StoreUnreachable
from rag_memory_plugins.langchain import LogChatMessageHistory
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.stores.pgvector import PgvectorStore
from rag_memory_plugins.stores.pinecone import PineconeStore
from rag_memory_plugins.stores.qdrant import QdrantStore
from rag_memory_plugins.testing.pinecone_server import PineconeServer
from rag_memory_plugins.testing.proxy import FaultProxy
from rag_memory_plugins.testing.qdrant_server import QdrantServer
from rag_memory_plugins.testing.redis_server import RedisServer

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

KEY = "hunter2-secret"
ANN = Scope("acme", "ann")
PATIENCE = 0.2
DEADLINE = 1.5
"""Seconds of a turn (add, search, context) that meets the fault; its search waits `PATIENCE`."""
AT_ONCE = 0.8
"""Seconds of the turns after it, on a busy machine: less than a search would wait in each."""
UNHURRIED = 2.0
"""Seconds that a search waits for a healthy server here."""
POOLED = 5
"""Turns after the fault: a client may have kept so many connections that died in it."""
LOG_DEADLINE = 5.0
"""Seconds until a call is refused whose log is silent: 3 (connecting takes 2) and a little."""
SAID = [f"In city {number} I bought a piano." for number in range(25)]
FAULTS = {
    "reset": {"fault": "reset"},
    "close": {"fault": "close"},
    "stall": {"fault": "stall"},
    "swallow": {"fault": "swallow"},
    "question cut": {"fault": "reset", "after_bytes": 30, "direction": "request"},
    "answer cut": {"fault": "reset", "after_bytes": 30, "direction": "answer"},
}
LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
TRIED = tuple(FAULTS) if LONG else ("reset", "swallow", "answer cut")
SILENT = ("stall", "swallow")
ENGINES = ("pgvector", "qdrant", "pinecone")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def qdrant() -> Iterator[QdrantServer]:
    with QdrantServer(api_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def pinecone() -> Iterator[PineconeServer]:
    with PineconeServer(dimension=64, api_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer("--requirepass", KEY) as server:
        yield server


@pytest.fixture
def proxy(engine, request) -> Iterator[FaultProxy]:
    server = request.getfixturevalue(
        {"pgvector": "postgres", "log": "postgres"}.get(engine, engine)
    )
    port = server.address[1] if hasattr(server, "address") else server.port
    with FaultProxy("127.0.0.1", port) as opened:
        yield opened


@pytest.fixture
def store(engine, proxy):
    address = f"127.0.0.1:{proxy.port}"
    if engine == "pgvector":
        return PgvectorStore(f"postgresql://postgres:{KEY}@{address}/postgres")
    made = {"qdrant": QdrantStore, "pinecone": PineconeStore}[engine]
    return made(f"http://{address}", api_key=KEY)


@pytest.fixture
def told():
    """Events, as text: what a log would show of them."""
    return []


@pytest.fixture
def memory(opened, store, told, monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 10)
    monkeypatch.setattr(mirrored, "PATIENCE", PATIENCE)
    monkeypatch.setattr(mirrored, "PUT_SECONDS", 5.0)
    made = opened(index=store, hooks=[lambda event: told.append(repr(event))])
    clock = made.index._resting._clock = Clock()
    yield made
    clock.ahead = 0.0
    made.close()
    asyncio.run(store.aclose())


def turn(ann, number, most):
    """What the turn's search and context say is off; it takes no longer than `most` seconds."""
    started = time.perf_counter()
    ann.add(f"And in city {number} a violin.", id=f"turn {number}")
    found = ann.search("which piano?", 3)
    context = ann.context("which violin?")
    assert time.perf_counter() - started < most
    assert len(found) == 3
    assert f"city {number} a violin" in context.text
    return [*found.degraded, *context.degraded]


def held(memory, store):
    """Numbers of messages that the store has."""
    asking = store.anearest(ANN, "", np.ones(64, np.float32) / 8, 1_000)
    return sorted(memory.portal.call(asking))


def in_log(memory):
    unit = "SELECT seq FROM messages ORDER BY seq"
    reading = memory.log.database.aread(lambda c: c.exec_driver_sql(unit).scalars().all())
    return list(memory.portal.call(reading))


@pytest.mark.parametrize("fault", TRIED)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_chat_goes_on_without_its_vector_store_and_says_so(
    engine, memory, store, proxy, told, fault, monkeypatch
):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(SAID)
    memory.settle()
    with monkeypatch.context() as patched:  # a healthy server on a busy machine is not late
        patched.setattr(mirrored, "PATIENCE", UNHURRIED)
        assert turn(ann, 100, 10.0) == []
    proxy.fault(**FAULTS[fault])
    off = turn(ann, 101, DEADLINE)
    assert off
    assert all(engine in reason for reason in off)
    for number in (102, 103):
        assert turn(ann, number, AT_ONCE)
    with suppress(StoreError):
        memory.settle(0.3)
    assert any("mirror.failed" in event for event in told)
    said = "".join((*off, *told, repr(memory), repr(store)))
    assert KEY not in said
    proxy.heal()
    monkeypatch.setattr(mirrored, "PATIENCE", UNHURRIED)
    off = []
    for number in range(104, 104 + POOLED):
        memory.index._resting._clock.ahead += 60
        with suppress(StoreError):  # of a connection that was lost before
            memory.settle(5)
        off.append(turn(ann, number, 10.0))
        if off[-1] == []:
            break
    assert off[-1] == [], off
    memory.settle(5)
    assert held(memory, store) == in_log(memory)


@pytest.mark.parametrize("engine", ["pgvector"])
def test_llama_index_and_langchain_memories_go_on_without_the_vector_store(memory, proxy):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(SAID)
    memory.settle()
    proxy.fault("swallow")
    started = time.perf_counter()
    theirs = ScopedMemory(conversation=ann)
    theirs.put(ChatMessage("which city had the piano?"))
    assert "piano" in str(theirs.get()[-1].content)
    history = LogChatMessageHistory(ann, budget=400)
    history.add_user_message("and the violin?")
    assert history.messages[-1].content == "and the violin?"
    assert time.perf_counter() - started < DEADLINE


@pytest.mark.parametrize("fault", TRIED)
@pytest.mark.parametrize("engine", ["redis"])
def test_a_chat_goes_on_without_redis_and_counts_what_was_sent_meanwhile(
    engine, opened, proxy, told, fault
):
    url = f"redis://:{KEY}@127.0.0.1:{proxy.port}"
    memory = opened(shared=url, hooks=[lambda event: told.append(repr(event))])
    clock = memory.usage._state._outage._clock = Clock()
    ann = memory.conversation("acme", "ann", f"monday {fault}")
    ann.add(SAID)
    assert turn(ann, 100, 10.0) == []
    assert memory.usage.conversation(ann.namespace).contexts == 1
    proxy.fault(**FAULTS[fault])
    for number in (101, 102, 103):
        assert turn(ann, number, AT_ONCE) == []  # nothing of the turn is worse
    assert memory.usage.drain(2.0)
    assert memory.usage._state.degraded
    assert any("shared.store_down" in event for event in told)
    assert KEY not in "".join((*told, repr(memory), repr(memory.usage._state)))
    proxy.heal()
    clock.ahead += 60
    assert turn(ann, 104, AT_ONCE) == []
    counted = memory.usage.conversation(ann.namespace).contexts
    # An answer that was lost: what it answered was done, and is sent again.
    assert counted in ((5, 6) if fault in ("answer cut", *SILENT) else (5,))
    assert not memory.usage._state._outage.is_down


@pytest.fixture
def behind(postgres, proxy):
    """The URL of an empty database behind the proxy."""
    url = postgres.url(postgres.create_database(), proxy.port)
    return url.replace("postgres@", f"postgres:{KEY}@")


def refused(work):
    """`work` is a typed error in time, which tells no secret."""
    started = time.perf_counter()
    with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1/test_") as caught:
        work()
    assert time.perf_counter() - started < LOG_DEADLINE
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("fault", TRIED)
@pytest.mark.parametrize("engine", ["log"])
def test_without_its_log_a_chat_is_refused_in_time_and_nothing_is_acknowledged_that_is_not_there(
    behind, proxy, told, fault
):
    hooks = [lambda event: told.append(repr(event))]
    with open_memory(
        behind, embedder=None, background=False, hooks=hooks, busy_timeout=0.2
    ) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("before", id="m0")
        proxy.fault(**FAULTS[fault])
        # At once: each waits for the same silence.
        with ThreadPoolExecutor() as pool:
            for waiting in [
                pool.submit(refused, work)
                for work in (
                    lambda: ann.add("turn 1", id="m1"),
                    lambda: ann.add("turn 2", id="m2"),
                    lambda: ann.search("before"),
                    lambda: ann.context("before?"),
                    lambda: ScopedMemory(conversation=ann).put(ChatMessage("hello")),
                    lambda: ScopedMemory(conversation=ann).get("before?"),
                    lambda: LogChatMessageHistory(ann).add_user_message("hello"),
                )
            ]:
                waiting.result()
        proxy.heal()
        assert ann.messages()[0].id == "m0"
        ann.add("turn 1", id="m1")
        ann.add("turn 2", id="m2")
        ids = [message.id for message in ann.messages()]
        assert len(set(ids)) == len(ids)
        assert {"m0", "m1", "m2"} <= set(ids)
        assert KEY not in "".join((*told, repr(memory), memory.name))


@pytest.mark.parametrize("engine", [*ENGINES, "redis", "log"])
def test_closing_takes_no_longer_than_its_time_while_an_engine_hangs(
    engine, opened, proxy, request, monkeypatch
):
    monkeypatch.setattr("rag_memory_plugins.memory.memory._STOPPING", 0.5)
    if engine == "log":
        memory = open_memory(
            request.getfixturevalue("behind"),
            embedder=request.getfixturevalue("words"),
            drain_seconds=0.1,
            busy_timeout=0.2,
        )
    else:
        shared = f"redis://:{KEY}@127.0.0.1:{proxy.port}" if engine == "redis" else None
        index = None if engine == "redis" else request.getfixturevalue("store")
        memory = opened(index=index, shared=shared, background=True, drain_seconds=0.1)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(SAID)
    proxy.fault("swallow")
    if engine != "log":
        ann.add("more", id="more")
        assert "more" in ann.context("more").text
    started = time.perf_counter()
    with suppress(StoreError):
        memory.close()
    if engine in ENGINES:
        asyncio.run(request.getfixturevalue("store").aclose())
    assert time.perf_counter() - started < LOG_DEADLINE
