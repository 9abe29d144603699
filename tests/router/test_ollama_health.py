"""Whether an Ollama server can be asked: looked at seldom, and never waited for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rag_memory_plugins.errors import ProviderUnavailable
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.ollama_health import FIRST_SECONDS, YOUNG
from rag_memory_plugins.testing.fault_replies import Answer, Slow, hang, html_page
from rag_memory_plugins.testing.fault_server import FaultServer
from tests.router.ollama_server import Q4, Asked, serving


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(Q4) as server:
        yield server


def looks(server: FaultServer) -> int:
    return sum(request.path == "/api/tags" for request in server.requests)


async def settled(asked: Asked) -> None:
    """Every look that is under way is over."""
    looking = asked.chat._inventory._looking
    assert looking is not None

    async def wait() -> None:
        await asyncio.wait([looking[1]])

    await get_portal().acall(wait())


async def later(asked: Asked, seconds: float) -> str:
    """What is said once the look that old news set off is over."""
    asked.clock.now += seconds
    await asked.chat.ahealth()
    await get_portal().acall(asyncio.sleep(0))  # what was handed to the portal has begun
    await settled(asked)
    return await asked.chat.ahealth()


async def test_a_server_with_the_model_is_well(server: FaultServer) -> None:
    assert await Asked(server).chat.ahealth() == ""


async def test_a_server_without_the_model_says_what_to_do(server: FaultServer) -> None:
    said = await Asked(server, "qwen3:8b").chat.ahealth()
    assert said == f"model 'qwen3:8b' is not installed at {server.url}; ollama pull qwen3:8b"


async def test_a_server_that_does_not_run_is_named() -> None:
    with FaultServer() as server:
        url = server.url
    assert await Asked(url).chat.ahealth() == f"Ollama is not running at {url}; ollama serve"


async def test_what_is_no_ollama_is_said_to_be_none(server: FaultServer) -> None:
    server.script(html_page(), path="/api/tags")
    assert "is it Ollama?" in await Asked(server).chat.ahealth()


async def test_a_server_is_looked_at_once_for_many_requests(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(Slow(reply=Answer()), path="/api/tags")
    asking = [asyncio.create_task(asked.chat.ahealth()) for _ in range(20)]
    await server.await_for(1, path="/api/tags")
    server.release()
    assert await asyncio.gather(*asking) == [""] * 20
    assert [await asked.chat.ahealth() for _ in range(20)] == [""] * 20
    assert looks(server) == 1


async def test_old_news_are_given_at_once_while_one_look_goes_on(server: FaultServer) -> None:
    asked = Asked(server)
    await asked.chat.ahealth()
    server.models = []
    server.script(Slow(reply=Answer()), path="/api/tags")
    asked.clock.now += 10.1
    assert [await asked.chat.ahealth() for _ in range(20)] == [""] * 20
    await server.await_for(2, path="/api/tags")
    assert await asked.chat.ahealth() == ""
    server.release()
    await settled(asked)
    assert "not installed" in await asked.chat.ahealth()
    assert looks(server) == 2


async def test_news_are_not_looked_for_before_their_time(server: FaultServer) -> None:
    asked = Asked(server)
    await asked.chat.ahealth()
    asked.clock.now += 9.9
    await asked.chat.ahealth()
    assert looks(server) == 1


async def test_the_first_look_is_short(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert YOUNG > FIRST_SECONDS == 1.0
    monkeypatch.setattr("rag_memory_plugins.router.ollama_health.FIRST_SECONDS", 0.2)
    server.script(hang(), path="/api/tags")
    said = await Asked(server).chat.ahealth()
    assert said == f"Ollama at {server.url}: no first piece within 0.2 s"


async def test_one_who_stops_waiting_does_not_take_the_look_from_the_others(
    server: FaultServer,
) -> None:
    asked = Asked(server)
    server.script(Slow(reply=Answer()), path="/api/tags")
    first, second = (asyncio.create_task(asked.chat.ahealth()) for _ in range(2))
    await server.await_for(1, path="/api/tags")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.release()
    assert await second == ""


async def test_a_server_that_is_down_is_looked_at_more_and_more_seldom(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(*[html_page()] * 4, path="/api/tags")
    assert await asked.chat.ahealth()
    for wait in (0.5, 1.0, 2.0):
        seen = looks(server)
        asked.clock.now += wait - 0.01
        await asked.chat.ahealth()
        assert looks(server) == seen
        assert await later(asked, 0.02)
        assert looks(server) == seen + 1
    assert await later(asked, 4.1) == ""


async def test_a_request_that_found_nobody_tells_the_others() -> None:
    with serving(Q4) as server:
        asked = Asked(server)
        assert await asked.chat.ahealth() == ""
    with pytest.raises(ProviderUnavailable):
        await asked.pieces()
    assert "not running" in await asked.chat.ahealth()


async def test_a_model_pulled_a_moment_ago_is_found_by_a_request(server: FaultServer) -> None:
    server.models = []
    asked = Asked(server)
    assert "not installed" in await asked.chat.ahealth()
    server.models = [Q4]
    assert await asked.pieces()
    assert await asked.chat.ahealth() == ""


async def test_a_cached_answer_takes_microseconds(server: FaultServer) -> None:
    """It goes nowhere near the portal: 100 us would be a hop there and back."""
    asked = Asked(server)
    await asked.chat.ahealth()
    ahealth = asked.chat.ahealth()
    with pytest.raises(StopIteration):  # the coroutine ends without waiting for anything
        ahealth.send(None)
