"""A server for each test, and clients as users have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from rag_memory_plugins.testing.fault_server import FaultServer

# Loading certificates takes 30 ms of CPU a client, and loopback is plain HTTP.
PLAIN = {"verify": False, "trust_env": False}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[httpx.AsyncClient]:
    """httpx at the server's address."""
    async with httpx.AsyncClient(base_url=server.url, timeout=20.0, **PLAIN) as client:
        yield client


@pytest.fixture
async def sdk(server: FaultServer) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client, which tries once."""
    http = DefaultAsyncHttpxClient(**PLAIN)
    async with AsyncOpenAI(
        base_url=server.openai_url, api_key="x", max_retries=0, http_client=http
    ) as sdk:
        yield sdk
