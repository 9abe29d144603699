"""A proxy that fails as it is told to, before a server that sends back what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.testing.proxy import FaultProxy

GRACE = 0.05
"""Seconds in which nothing may happen."""


def echo(listener: socket.socket) -> None:
    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    threads = []
    with contextlib.suppress(OSError):  # the listener was shut
        while True:
            threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
            threads[-1].start()
    for thread in threads:
        thread.join(10)


@contextlib.contextmanager
def echoing(listener: socket.socket) -> Iterator[socket.socket]:
    thread = threading.Thread(target=echo, args=(listener,))
    thread.start()
    try:
        with listener:
            yield listener
            listener.shutdown(socket.SHUT_RDWR)
    finally:
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with echoing(socket.create_server(("127.0.0.1", 0))) as server:
        with FaultProxy(*server.getsockname()) as opened:
            yield opened


@pytest.fixture
def connect(proxy: FaultProxy) -> Iterator[Callable[[], socket.socket]]:
    """A client whose connection the proxy has taken."""
    with contextlib.ExitStack() as stack:

        def make() -> socket.socket:
            before = proxy.counts.connections
            client = stack.enter_context(socket.create_connection(proxy.address, timeout=5))
            proxy.wait_for(lambda counts: counts.connections > before)
            return client

        yield make


def said(client: socket.socket, data: bytes) -> bytes:
    """What comes back of `data`."""
    client.sendall(data)
    return heard(client, len(data))


def heard(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := client.recv(count - len(data))):
        data += more
    return data


def silent(client: socket.socket) -> bool:
    client.settimeout(GRACE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def test_without_a_fault_every_byte_passes_both_ways_and_is_counted(proxy, connect) -> None:
    client, data = connect(), bytes(range(256)) * 4096
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    assert heard(client, len(data)) == data
    sender.join()
    counts = proxy.wait_for(lambda counts: counts.answer_bytes == len(data))
    assert (counts.connections, counts.open, counts.request_bytes) == (1, 1, len(data))
    assert counts.strikes == 0


def test_a_side_that_ends_is_passed_on_behind_what_it_sent(proxy, connect) -> None:
    client = connect()
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert heard(client, 100) == b"last words"
    proxy.wait_for(lambda counts: counts.open == 0)


def test_a_client_that_goes_leaves_no_connection(proxy, connect) -> None:
    client = connect()
    said(client, b"a")
    client.close()
    proxy.wait_for(lambda counts: counts.open == 0)


def test_reset_strikes_open_connections_and_new_ones(proxy, connect) -> None:
    client = connect()
    assert said(client, b"a") == b"a"
    proxy.fault("reset")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):  # of connecting, when the reset is quick
        connect().recv(1)
    assert proxy.wait_for(lambda counts: counts.open == 0).strikes == 2
    proxy.heal()
    assert said(connect(), b"b") == b"b"


@pytest.mark.parametrize(("which", "old", "new"), [("open", b"", b"n"), ("new", b"o", b"")])
def test_a_fault_may_be_for_open_or_for_new_connections_alone(
    proxy, connect, which, old, new
) -> None:
    first = connect()
    said(first, b"a")
    proxy.fault("close", connections=which)
    assert said(first, b"o") == old
    assert said(connect(), b"n") == new


def test_close_is_an_end_and_no_reset_whatever_was_unread(proxy, connect) -> None:
    client = connect()
    proxy.fault("close")
    client.sendall(b"x" * 100_000)
    assert client.recv(1) == b""
    client.sendall(b"more")
    assert client.recv(1) == b""
    client.close()
    proxy.wait_for(lambda counts: counts.open == 0)


def test_what_waits_at_a_stalled_connection_passes_when_it_is_healed(proxy, connect) -> None:
    client = connect()
    assert said(client, b"a") == b"a"
    proxy.fault("stall")
    client.sendall(b"bc")
    assert silent(client)
    assert proxy.counts.request_bytes == 1
    proxy.heal()
    assert heard(client, 2) == b"bc"


def test_what_a_black_hole_swallowed_is_gone_and_its_connection_stays_silent(
    proxy, connect
) -> None:
    client = connect()
    proxy.fault("swallow")
    client.sendall(b"x" * 3_000_000)  # more than a side that reads nothing would take
    assert silent(client)
    proxy.heal()
    client.sendall(b"b")
    assert silent(client)
    assert said(connect(), b"c") == b"c"
    assert proxy.counts.request_bytes == 1


@pytest.mark.parametrize("fault", ["stall", "swallow"])
def test_a_client_that_gives_up_on_silence_is_noticed(proxy, connect, fault) -> None:
    proxy.fault(fault)
    client = connect()
    client.sendall(b"anybody?")
    assert silent(client)
    client.close()
    proxy.wait_for(lambda counts: counts.open == 0)


def test_an_answer_is_cut_at_the_byte_that_was_named(proxy, connect) -> None:
    client = connect()
    assert said(client, b"before") == b"before"
    proxy.fault("reset", after_bytes=4)
    client.sendall(b"0123456789")
    assert heard(client, 4) == b"0123"
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    counts = proxy.counts
    assert (counts.request_bytes, counts.answer_bytes) == (16, 10)


def test_a_request_that_was_done_is_not_acknowledged(proxy, connect) -> None:
    client = connect()
    proxy.fault("close", after_bytes=0, direction="answer")
    assert said(client, b"write this") == b""
    assert proxy.counts.request_bytes == 10


def test_a_request_is_cut_before_the_server_has_all_of_it(proxy, connect) -> None:
    client = connect()
    proxy.fault("stall", after_bytes=3, direction="request")
    client.sendall(b"0123456789")
    proxy.wait_for(lambda counts: counts.strikes == 1)
    assert silent(client)
    assert proxy.counts.request_bytes == 3
    proxy.heal()
    assert heard(client, 10) == b"0123456789"


def test_an_answer_of_just_as_many_bytes_is_whole(proxy, connect) -> None:
    client = connect()
    proxy.fault("reset", after_bytes=4)
    assert said(client, b"0123") == b"0123"
    assert silent(client)
    assert proxy.counts.strikes == 0


def test_a_fault_strikes_as_often_as_it_was_told(proxy, connect) -> None:
    proxy.fault("reset", times=2)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            connect().recv(1)
    assert said(connect(), b"c") == b"c"
    assert proxy.counts.strikes == 2


def test_a_slow_connection_passes_so_many_bytes_a_second(proxy, connect) -> None:
    client = connect()
    proxy.fault("slow", bytes_per_second=20_000)
    began = time.monotonic()
    assert said(client, b"x" * 2_000) == b"x" * 2_000
    assert time.monotonic() - began > 0.15  # 4,000 bytes, both ways, without the first pieces
    proxy.heal()
    assert said(client, b"y" * 100_000) == b"y" * 100_000


def test_who_connects_is_refused_and_open_connections_go_on(proxy, connect) -> None:
    client = connect()
    proxy.fault("refuse")
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(proxy.address, timeout=5)
    assert said(client, b"a") == b"a"
    proxy.heal()
    assert said(connect(), b"b") == b"b"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone drops what a full queue gets")
def test_connecting_never_ends_and_open_connections_go_on(proxy, connect) -> None:
    client = connect()
    proxy.fault("ignore")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            socket.create_connection(proxy.address, timeout=GRACE)
    assert said(client, b"a") == b"a"
    proxy.heal()
    assert said(connect(), b"b") == b"b"


def test_a_client_is_reset_when_there_is_no_server(connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with FaultProxy(*address) as proxy:
        with pytest.raises(ConnectionResetError):
            with socket.create_connection(proxy.address, timeout=5) as client:
                client.recv(1)


def test_nothing_is_asked_of_the_server_while_nothing_may_pass(connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with FaultProxy(*address) as proxy:
        proxy.fault("stall")
        with socket.create_connection(proxy.address, timeout=5) as client:
            assert silent(client)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
def test_a_server_may_be_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        path = str(Path(folder) / "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        with echoing(listener), FaultProxy(path) as proxy:
            with socket.create_connection(proxy.address, timeout=5) as client:
                assert said(client, b"a") == b"a"


@pytest.mark.parametrize("fault", [None, "stall", "swallow", "close", "ignore", "refuse"])
def test_the_end_of_the_block_ends_connections_and_threads(fault) -> None:
    with echoing(socket.create_server(("127.0.0.1", 0))) as server:
        before = threading.active_count()
        with FaultProxy(*server.getsockname()) as proxy:
            client = socket.create_connection(proxy.address, timeout=5)
            assert said(client, b"a") == b"a"
            inside = threading.active_count()
            if fault:
                proxy.fault(fault)
        with client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert proxy.counts.open == 0
        assert inside - threading.active_count() >= 2 - (fault in {"ignore", "refuse"})
        assert threading.active_count() <= before + 1  # the server's, which is about to end
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(proxy.address, timeout=5)


async def test_a_loop_waits_for_what_the_proxy_has_seen(proxy) -> None:
    proxy.fault("stall")
    waiting = asyncio.create_task(proxy.await_for(lambda counts: counts.strikes == 1))
    _, writer = await asyncio.open_connection(*proxy.address)
    assert (await waiting).connections == 1
    writer.close()


def test_what_does_not_come_is_told_with_the_counts(proxy) -> None:
    with pytest.raises(TimeoutError, match=r"Counts\(connections=0"):
        proxy.wait_for(lambda counts: counts.connections == 1, timeout=0.01)


def test_many_connections_live_through_changing_faults(proxy) -> None:
    ended = threading.Event()
    wrong: list[bytes] = []

    def chat(number: int) -> None:
        word = f"{number:04d}".encode() * 50
        while not ended.is_set():
            with contextlib.suppress(OSError):
                with socket.create_connection(proxy.address, timeout=1) as client:
                    while not ended.is_set() and (back := said(client, word)):
                        if not word.startswith(back):
                            wrong.append(back)

    threads = [threading.Thread(target=chat, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for number in range(60):
        fault = ("reset", "close", "stall", "refuse")[number % 4]
        proxy.fault(fault, after_bytes=number if number % 4 < 3 else None)
        proxy.heal()
        passed = proxy.counts.answer_bytes
        proxy.wait_for(lambda counts, passed=passed: counts.answer_bytes > passed + 1000)
    ended.set()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    proxy.wait_for(lambda counts: counts.open == 0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"fault": "break"}, "fault"),
        ({"fault": "reset", "after_bytes": -1}, "after_bytes"),
        ({"fault": "reset", "direction": "up"}, "direction"),
        ({"fault": "reset", "connections": "some"}, "connections"),
        ({"fault": "reset", "times": 0}, "times"),
        ({"fault": "reset", "bytes_per_second": 5}, "bytes_per_second"),
        ({"fault": "slow"}, "bytes_per_second"),
        ({"fault": "slow", "bytes_per_second": 0}, "bytes_per_second"),
        ({"fault": "slow", "bytes_per_second": 9, "times": 1}, "fault"),
        ({"fault": "refuse", "after_bytes": 1}, "fault"),
        ({"fault": "ignore", "connections": "open"}, "connections"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_and_changes_nothing(
    proxy, connect, given, named
) -> None:
    with pytest.raises(InvalidInput, match=named):
        proxy.fault(**given)
    assert said(connect(), b"a") == b"a"
