"""What the tests of a router through real HTTP share: two models of a `FaultServer`, and their end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.router.models import Price
from rag_memory_plugins.router.providers import groq, ollama, openai_compatible, openrouter
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)
CLOUDS = ("groq", "openrouter", "openai_compatible")
PRESETS = (*CLOUDS, "ollama")
PRICE = Price(1.0, 2.0)


def entry(server, preset, name, **values):
    """The model `name` of `server`, which is asked by the words of `preset`."""
    if preset == "ollama":
        return ollama(name, server.url, name=name, price=PRICE, **values)
    values = {"price": PRICE, "name": name, **values}
    if preset == "openai_compatible":
        return openai_compatible(server.openai_url, name, always_streams=True, **values)
    make = {"groq": groq, "openrouter": openrouter}[preset]
    return make(name, "key", base_url=server.openai_url, **values)


@contextmanager
def serving(*names: str) -> Iterator[FaultServer]:
    """A server that has `names` installed; a test that leaves a connection open fails."""
    with FaultServer(models=[Installed(f"{name}:latest") for name in names or "ab"]) as server:
        yield server


def says(server, name, *replies):
    """What the model of this name answers next, whichever protocol asks."""
    server.script(*replies, model=name, path="/v1")
    server.script(*replies, model=f"{name}:latest", path="/api")


def asked(server):
    """The models that were asked, in order."""
    return [request.model.removesuffix(":latest") for request in server.chats]


def wait_for_chats(server, count=1):
    """Return once so many were asked."""
    with server._changed:
        came = server._changed.wait_for(
            lambda: sum(each.chat for each in server._requests) >= count, timeout=5
        )
    assert came, f"{len(server.chats)} of {count} chats"


def ask(**values):
    return ChatRequest(values.pop("messages", HELLO), **values)


def two(make, server, preset, **values):
    """A router of `a`, then `b`; `a` with the values that begin with `a_`."""
    own = {name[2:]: values.pop(name) for name in list(values) if name.startswith("a_")}
    return make([entry(server, preset, "a", **own), entry(server, preset, "b")], **values)


def outcomes(ledger):
    return [(each.model, each.outcome) for each in ledger.entries]


async def until(true):
    """Let others run until it is so."""
    for _ in range(5_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never was")


def nothing_held(router):
    """No request runs, and every place is free."""
    assert len(router._running) == 0
    assert {name: seen.taken for name, seen in router._parts.seen.items()} == dict.fromkeys(
        router._parts.seen, 0
    )


async def no_task_left():
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@contextmanager
def nobody_there() -> Iterator[str]:
    """An address where connections are refused: its port stays taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def never_accepted() -> Iterator[str]:
    """An address where connecting takes for ever: what waits to be accepted is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                waiting.append(one)
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            yield f"http://127.0.0.1:{full.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()
