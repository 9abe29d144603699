"""Real Postgres and Redis behind a `FaultProxy`: what their own clients see of each fault."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.proxy import FaultProxy
from tests.stores.servers import PostgresServer, RedisServer, Server

LOST = (redis.ConnectionError, psycopg.OperationalError)


class InRedis:
    """A number that is written and read over one connection."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(
            port=port,
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=5,
            socket_connect_timeout=0.3,
        )

    def write(self, value: int) -> None:
        self._client.set("number", value)

    def read(self) -> int:
        return int(self._client.get("number") or 0)

    def close(self) -> None:
        self._client.close()


class InPostgres:
    """The same in a table."""

    def __init__(self, port: int) -> None:
        self._client = psycopg.connect(
            f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True
        )

    def write(self, value: int) -> None:
        self._client.execute("UPDATE numbers SET number = %s", [value])

    def read(self) -> int:
        row = self._client.execute("SELECT number FROM numbers").fetchone()
        return row[0] if row else 0

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE numbers AS SELECT 0 AS number")
        yield server


@pytest.fixture(params=["redis", "postgres"])
def engine(request) -> tuple[Server, Any]:
    kind = {"redis": InRedis, "postgres": InPostgres}[request.param]
    return request.getfixturevalue(f"{request.param}_server"), kind


@pytest.fixture
def proxy(engine) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", engine[0].port) as opened:
        yield opened


@pytest.fixture
def straight(engine) -> Iterator[Any]:
    """A client with nothing before the server, whose number is 1."""
    with contextlib.closing(engine[1](engine[0].port)) as client:
        client.write(1)
        yield client


@pytest.fixture
def client(engine, proxy, straight) -> Iterator[Any]:
    with contextlib.closing(engine[1](proxy.port)) as opened:
        assert opened.read() == 1
        yield opened


def test_what_is_written_through_the_proxy_is_written(client, straight, proxy) -> None:
    client.write(7)
    assert straight.read() == client.read() == 7
    assert proxy.counts.answer_bytes > 0


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_a_connection_that_is_lost_is_an_error_and_the_next_one_answers(
    engine, client, straight, proxy, fault
) -> None:
    proxy.fault(fault, connections="open")
    with pytest.raises(LOST):
        client.write(7)
    assert straight.read() == 1
    with contextlib.closing(engine[1](proxy.port)) as another:
        assert another.read() == 1


def test_a_write_whose_request_was_cut_is_not_done(client, straight, proxy) -> None:
    proxy.fault("reset", after_bytes=5, direction="request")
    with pytest.raises(LOST):
        client.write(7)
    assert straight.read() == 1


@pytest.mark.parametrize("after", [0, 3])
def test_a_write_whose_answer_was_cut_is_done_and_is_an_error(
    client, straight, proxy, after
) -> None:
    proxy.fault("reset", after_bytes=after)
    with pytest.raises(LOST):
        client.write(7)
    assert straight.read() == 7


def test_a_server_that_is_not_there_refuses(engine, proxy) -> None:
    proxy.fault("refuse")
    with pytest.raises(LOST, match="refused"):
        engine[1](proxy.port).read()


def test_a_server_that_stops_and_starts_again_is_found_at_its_place(engine, client, proxy) -> None:
    server, kind = engine
    server.stop()
    with pytest.raises(LOST):
        client.write(7)
    with pytest.raises(LOST):
        kind(proxy.port).read()
    server.start()
    with contextlib.closing(kind(proxy.port)) as another:
        assert another.read() in {0, 1}  # Redis keeps nothing here


def test_a_server_may_be_behind_its_unix_socket(engine, straight) -> None:
    with FaultProxy(engine[0].socket_path) as proxy:
        with contextlib.closing(engine[1](proxy.port)) as client:
            assert client.read() == 1


def test_a_slow_server_answers(client, proxy) -> None:
    proxy.fault("slow", bytes_per_second=3_000)
    assert client.read() == 1


@pytest.mark.parametrize("fault", ["stall", "swallow"])
def test_redis_gives_up_on_silence_when_its_time_is_over(redis_server, fault) -> None:
    with FaultProxy("127.0.0.1", redis_server.port) as proxy:
        proxy.fault(fault)
        client = redis.Redis(port=proxy.port, socket_timeout=0.1, retry=Retry(NoBackoff(), 0))
        with contextlib.closing(client), pytest.raises(redis.TimeoutError):
            client.set("number", 2)
        proxy.wait_for(lambda counts: (counts.connections, counts.open) == (1, 0))
        proxy.heal()
        with contextlib.closing(InRedis(proxy.port)) as another:
            assert another.read() != 2


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone drops what a full queue gets")
def test_redis_gives_up_on_connecting_when_its_time_is_over(redis_server) -> None:
    with FaultProxy("127.0.0.1", redis_server.port) as proxy:
        proxy.fault("ignore")
        with pytest.raises(redis.TimeoutError):
            InRedis(proxy.port).read()


async def test_a_deadline_over_psycopg_is_kept_by_leaving_the_query_and_not_by_cancelling_it(
    postgres_server,
) -> None:
    with FaultProxy("127.0.0.1", postgres_server.port) as proxy:
        url = postgres_server.url(port=proxy.port)
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        proxy.fault("swallow")
        asking = asyncio.ensure_future(connection.execute("SELECT 1"))
        # wait_for would cancel it: psycopg then asks the silent server to, for 10 seconds.
        done, _ = await asyncio.wait({asking}, timeout=0.1)
        assert not done
        proxy.close()
        with pytest.raises(psycopg.OperationalError):
            await asking
        await connection.close()


def test_an_http_answer_that_is_cut_is_not_taken_for_whole() -> None:
    with FaultServer() as server, FaultProxy(*server.address) as proxy:
        proxy.fault("close", after_bytes=120)
        client = http.client.HTTPConnection(*proxy.address, timeout=5)
        client.request("POST", "/v1/chat/completions", json.dumps({"model": "small"}))
        with contextlib.closing(client), pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
